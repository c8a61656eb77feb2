/**
 * Channels to servers, the client's side: how they are secured, that there is one for each place,
 * and how each of them is doing.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  connectivityState as State,
  type experimental,
  type Metadata,
} from "npm:@grpc/grpc-js@1.14.7";
import { GuardedCredentials, type Secure } from "./guarded_http2.ts";
import { channelTarget, isLocal, readTarget, type Target } from "./targets.ts";
import { secure, type TlsOptions } from "./tls.ts";

/** What channels of one owner share. */
export interface ChannelSettings {
  /** TLS of the client's side. */
  readonly tls: TlsOptions | undefined;
  /** The largest message, in bytes, with what stands round the value. */
  readonly maxReceiveBytes: number;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause. */
  readonly reconnectMaxMs: number;
  /** How often a quiet connection is asked whether it lives; 0: never. */
  readonly keepaliveMs: number;
  /** How long the answer may take. */
  readonly keepaliveTimeoutMs: number;
}

/** What a channel tells. */
export interface ChannelEvents {
  /** It is connected; `again`: after it was before. */
  onConnected(again: boolean): void;
  /** It was connected, and is no more. */
  onDisconnected(): void;
  /** It cannot be connected. */
  onTrouble(): void;
}

/** A call as grpc-js's channel makes it, without the layers of its client. */
export type RawCall = experimental.CallStream;

const same = (bytes: Buffer): Buffer => bytes;
/** The window of a connection and of each stream: enough for a large message not to wait. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** The longest deadline that is told: grpc-js's server has timers of 31 bits, and no more. */
const MAX_DEADLINE_MS = 2 ** 31 - 60_000;

/**
 * A deadline as grpc-js takes it: on a clock of whole milliseconds, and so never too early. The
 * caller's own timer goes first. More than 24 days are told as for ever.
 *
 * @param leftMs How long is left, in milliseconds; `Infinity`: for ever.
 */
export function deadlineAfter(leftMs: number): number {
  return leftMs > MAX_DEADLINE_MS ? Infinity : Date.now() + Math.ceil(leftMs) + 1;
}

/** One channel, to one place or to several that are equals. */
export class Channel {
  /** Where it leads, for messages. */
  readonly where: string;
  /** Whether the other side is on this host. */
  readonly local: boolean;
  readonly #client: Client;
  readonly #credentials: GuardedCredentials;
  readonly #events: ChannelEvents;
  #connected = false;
  #before = false;
  #closed = false;

  /**
   * Dials nothing yet.
   *
   * @param urls Where servers are.
   * @param settings What channels share.
   * @param events Whom it tells.
   * @throws {PatchbayError} `invalid`: an address.
   */
  constructor(urls: readonly string[], settings: ChannelSettings, events: ChannelEvents) {
    const targets = urls.map(readTarget);
    this.where = urls.join(", ");
    this.local = targets.every(isLocal);
    this.#events = events;
    this.#credentials = new GuardedCredentials(securing(targets, settings.tls));
    const options = optionsOf(settings, targets.length > 1);
    this.#client = new Client(channelTarget(targets), this.#credentials, options);
    this.#watch(State.IDLE);
  }

  /** Whether it could not be connected. */
  get failing(): boolean {
    return !this.#closed &&
      this.#client.getChannel().getConnectivityState(false) === State.TRANSIENT_FAILURE;
  }

  /** Whether it is connected. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Begins to connect. */
  connect(): void {
    if (!this.#closed) this.#client.getChannel().getConnectivityState(true);
  }

  /**
   * Begins a call.
   *
   * @param path The method: `/package.Service/Method`.
   * @param deadline When it must be over; `Infinity`: never.
   */
  call(path: string, deadline: number): RawCall {
    return this.#client.getChannel().createCall(path, deadline, undefined, null, undefined);
  }

  /**
   * Begins a call with streams both ways.
   *
   * @param path The method.
   * @param metadata Its metadata.
   * @param deadline When it must be over; absent: never.
   */
  stream(path: string, metadata: Metadata, deadline?: number): ClientDuplexStream<Buffer, Buffer> {
    const options = deadline === undefined ? {} : { deadline };
    return this.#client.makeBidiStreamRequest(path, same, same, metadata, options);
  }

  /**
   * Resolves when it is connected.
   *
   * @param deadline When to give up.
   */
  ready(deadline: number): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#client.waitForReady(deadline, (error) => error ? reject(error) : resolve())
    );
  }

  /** Closes it, and its connections. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#connected) this.#events.onDisconnected();
      this.#client.close();
    }
    await this.#credentials.close();
  }

  #watch(state: State): void {
    this.#client.getChannel().watchConnectivityState(state, Infinity, () => {
      if (this.#closed) return;
      const now = this.#client.getChannel().getConnectivityState(false);
      if (now === State.SHUTDOWN) return;
      this.#watch(now);
      this.#moved(now);
    });
  }

  #moved(state: State): void {
    const connected = state === State.READY;
    if (connected !== this.#connected) {
      this.#connected = connected;
      if (connected) {
        this.#events.onConnected(this.#before);
        this.#before = true;
      } else this.#events.onDisconnected();
    }
    if (state === State.TRANSIENT_FAILURE) this.#events.onTrouble();
  }
}

/** How connections are secured; of several servers all have the name of the first, or `serverName`. */
function securing(
  targets: readonly Target[],
  tls: TlsOptions | undefined,
): Secure | undefined {
  for (const target of targets) {
    if ("host" in target && target.secure) return (socket) => secure(socket, target.host, tls);
  }
  return undefined;
}

function optionsOf(settings: ChannelSettings, several: boolean): ChannelOptions {
  const { reconnectMinMs, reconnectMaxMs, keepaliveMs, keepaliveTimeoutMs } = settings;
  return {
    "grpc.max_receive_message_length": settings.maxReceiveBytes,
    "grpc.max_send_message_length": -1,
    "grpc.initial_reconnect_backoff_ms": reconnectMinMs,
    "grpc.min_reconnect_backoff_ms": reconnectMinMs,
    "grpc.max_reconnect_backoff_ms": reconnectMaxMs,
    ...(keepaliveMs === 0 ? {} : {
      "grpc.keepalive_time_ms": keepaliveMs,
      "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
      "grpc.keepalive_permit_without_calls": 1,
    }),
    // Nothing of one bay is shared with another, nor outlives it.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_channelz": 0,
    "grpc-node.flow_control_window": WINDOW_BYTES,
    ...(several ? { "grpc.service_config": '{"loadBalancingConfig":[{"round_robin":{}}]}' } : {}),
  };
}
