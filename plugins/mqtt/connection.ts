/**
 * The connection of one bay to its broker: made within a deadline, made anew with back-off and
 * jitter, closed at the end.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { IClientOptions, MqttClient } from "npm:mqtt@5.16.0";
import { type Health, PatchbayError, type TransportContext } from "@patchbay/core";
import { Acks } from "./acks.ts";
import { type ClientIdentity, eraseSession, makeClient, tlsOptions, tuneSocket } from "./client.ts";
import { type QoS, type ResolvedConfig, whereOf } from "./config.ts";
import { EmbeddedBroker } from "./embedded.ts";
import { reasonCode, translate, unreachable, wantsOtherVersion } from "./errors.ts";
import { Outbox } from "./outbox.ts";
import type { Packet } from "./packets.ts";

/** How long the goodbye to the broker may take, in milliseconds. */
const GOODBYE_MS = 1000;

/** How a filter is subscribed to. */
export interface SubscribeOptions {
  /** The best quality of service. */
  readonly qos: QoS;
  /** MQTT 5: not what this client itself publishes. */
  readonly noLocal: boolean;
  /** MQTT 5: whether kept messages are wanted. */
  readonly retained: boolean;
  /** MQTT 5: what its messages are marked with. */
  readonly identifier: number | undefined;
}

/** What is told of the connection. */
export interface ConnectionOwner {
  /** A message has come. */
  message(topic: string, payload: Buffer, packet: Packet): void;
  /** The connection was lost. */
  lost(reason: PatchbayError): void;
  /** It is there again: what was subscribed and told is subscribed and told anew. */
  back(): Promise<void>;
  /** Everything works again. */
  resumed(): void;
}

/** The connection of one bay. */
export class Connection {
  /** Where the broker is, in words. */
  readonly where: string;
  /** What is acknowledged when. */
  readonly acks: Acks;
  /** What is sent. */
  readonly outbox: Outbox;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #owner: ConnectionOwner;
  readonly #identity: ClientIdentity;
  #client!: MqttClient;
  #version: 4 | 5 = 5;
  #up = false;
  #opening = true;
  #closing = false;
  #reason: unknown = undefined;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #restoring: Promise<void> | undefined;
  /** Counts how often the connection came back. */
  #turn = 0;
  #wakeUp: (() => void) | undefined;
  #embedded: EmbeddedBroker | undefined;

  /**
   * @param config The configuration, its URL read.
   * @param context What core gave the plugin.
   * @param identity Who it is to the broker.
   * @param owner Who is told.
   */
  constructor(
    config: ResolvedConfig,
    context: TransportContext,
    identity: ClientIdentity,
    owner: ConnectionOwner,
  ) {
    this.#config = config;
    this.#context = context;
    this.#identity = identity;
    this.#owner = owner;
    this.where = whereOf(config);
    this.acks = new Acks(() => context.statistics.countDrop("duplicate"));
    this.outbox = new Outbox(this.where, config.maxQueueBytes);
  }

  /** Whether messages get through now. */
  get up(): boolean {
    return this.#up;
  }

  /** Whether the broker can be told something; perhaps not everything was told anew yet. */
  get connected(): boolean {
    return this.#client.connected;
  }

  /** Whether it is closing or closed. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Which version of MQTT is spoken: 4 is 3.1.1. */
  get version(): 4 | 5 {
    return this.#version;
  }

  /** Whether this bay itself is the broker. */
  get hosting(): boolean {
    return this.#embedded !== undefined;
  }

  /** Whether the broker marks messages with the subscription that they belong to. */
  get identifies(): boolean {
    const known = this.#client.serverProperties?.subscriptionIdentifiersAvailable;
    return this.#version === 5 && known !== false;
  }

  /** Whether the broker shares messages among the members of a group, and says so. */
  get shares(): boolean {
    const known = this.#client.serverProperties?.sharedSubscriptionAvailable;
    return this.#version === 5 && known !== false;
  }

  /** How it does. */
  health(): Health {
    if (this.#up) return { status: "healthy" };
    const { message } = unreachable(this.#reason, this.where, this.#config.connectTimeoutMs);
    return { status: "degraded", reason: `connecting anew: ${message}` };
  }

  /**
   * Connects.
   *
   * @throws {PatchbayError} `unavailable` with host, port and reason; `unauthenticated`.
   */
  async open(): Promise<void> {
    const config = this.#config;
    const tls = await tlsOptions(config);
    await this.#host();
    const versions: (4 | 5)[] = config.version === "5"
      ? [5]
      : config.version === "3.1.1" || config.broker === "embedded"
      ? [4]
      : [5, 4];
    const untilMs = performance.now() + config.connectTimeoutMs;
    for (const version of versions) {
      this.#version = version;
      this.#reason = undefined;
      this.#client = this.#make(version, tls);
      try {
        await this.#first(untilMs - performance.now());
        break;
      } catch (error) {
        const reason = this.#reason ?? error;
        await this.#end(true);
        const last = version === versions.at(-1);
        // Old brokers only close the connection.
        if (last || !(wantsOtherVersion(reason) || reason === undefined)) {
          this.#closing = true;
          await this.#embedded?.[Symbol.asyncDispose]();
          throw unreachable(reason, this.where, config.connectTimeoutMs);
        }
      }
    }
    this.#opening = false;
    this.#up = true;
    this.#context.statistics.connections++;
  }

  /**
   * Subscribes. What is wanted is known in `subscriptions.ts`.
   *
   * @param filter What to.
   * @param options How.
   * @throws {PatchbayError} `forbidden`; `closed`.
   */
  async subscribe(filter: string, options: SubscribeOptions): Promise<void> {
    const { identifier, noLocal, retained, qos } = options;
    const five = this.#version === 5;
    await new Promise<void>((resolve, reject) => {
      this.#client.subscribe(
        [filter],
        {
          qos,
          nl: five && noLocal,
          rh: retained ? 0 : 2,
          ...(identifier !== undefined && this.identifies
            ? { properties: { subscriptionIdentifier: identifier } }
            : {}),
        },
        (error) => {
          if (error === null) return resolve();
          const { packet } = error as { packet?: { granted?: readonly number[] } };
          const code = packet?.granted?.find((each) => each >= 128);
          const refused = code === undefined
            ? error
            : Object.assign(new Error("subscription refused"), { code });
          reject(this.explain(refused, `subscribing to ${filter}`));
        },
      );
    });
  }

  /** Subscribes no longer. Never rejects: with the connection a subscription is gone, too. */
  async unsubscribe(filters: readonly string[]): Promise<void> {
    if (filters.length === 0 || !this.#up) return;
    await new Promise<void>((resolve) => {
      this.#client.unsubscribe([...filters], () => resolve());
    });
  }

  /** An error of MQTT.js, told as Patchbay's. */
  explain(error: unknown, doing: string): PatchbayError {
    return translate(error, this.where, doing);
  }

  /** Closes it. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing) return;
    const wasUp = this.#up;
    this.#closing = true;
    this.#up = false;
    clearTimeout(this.#timer);
    this.#wakeUp?.();
    await this.#end(!wasUp);
    this.outbox.close(
      new PatchbayError("closed", `the connection to the broker at ${this.where} is closed`, {
        retryable: false,
      }),
    );
    await this.#restoring;
    await this.#embedded?.[Symbol.asyncDispose]();
    this.#context.statistics.connections--;
  }

  /** A session that is named is kept; another one is not, once its bay has closed. */
  get #kept(): boolean {
    return this.#config.clientId !== undefined;
  }

  async #host(): Promise<void> {
    if (this.#config.broker !== "embedded" || this.#embedded !== undefined) return;
    const { host, port } = this.#config;
    this.#embedded = await EmbeddedBroker.tryStart({ host, port });
  }

  #make(version: 4 | 5, tls: IClientOptions): MqttClient {
    const client = makeClient(this.#config, version, tls, this.#identity);
    client.on("error", (error) => this.#reason = error);
    client.on("disconnect", ({ reasonCode: code }) => {
      if (code !== undefined && code >= 128) {
        this.#reason = Object.assign(new Error("disconnected"), { code });
      }
    });
    client.on("close", () => this.#client === client && this.#closed());
    client.on("connect", (packet) => {
      if (this.#client === client && !this.#opening) this.#restore(packet.sessionPresent);
    });
    this.outbox.attach(client);
    this.acks.attach(client, (topic, payload, packet) => {
      this.#owner.message(topic, payload, packet);
    });
    return client;
  }

  async #first(leftMs: number): Promise<void> {
    const client = this.#client;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(undefined), Math.max(1, leftMs));
    const connected = ({ sessionPresent }: { sessionPresent: boolean }) => {
      if (!sessionPresent) this.acks.forget();
      resolve();
    };
    const failed = () => reject(this.#reason);
    client.once("connect", connected);
    client.once("error", failed);
    client.once("close", failed);
    this.#dial();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      client.off("connect", connected);
      client.off("error", failed);
      client.off("close", failed);
    }
  }

  #pause(): number {
    const { reconnectMinMs, reconnectMaxMs } = this.#config;
    const doubled = reconnectMinMs * 2 ** Math.min(this.#attempts++, 30);
    return Math.random() * Math.min(reconnectMaxMs, doubled);
  }

  #closed(): void {
    if (this.#closing || this.#opening) return;
    this.acks.lost();
    if (this.#up || this.#restoring !== undefined) {
      this.#up = false;
      const cause = this.#reason;
      const why = reasonCode(cause) === undefined
        ? ""
        : `: ${unreachable(cause, this.where, 0).message}`;
      const reason = new PatchbayError(
        "closed",
        `the connection to the broker at ${this.where} was lost${why}`,
        { cause },
      );
      this.outbox.lost(reason);
      this.#owner.lost(reason);
    }
    this.#wakeUp?.();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#again(), this.#pause());
  }

  async #again(): Promise<void> {
    if (this.#closing) return;
    await this.#host();
    // It may have been closed while the port was tried.
    if (this.#closing) return;
    this.#dial();
  }

  #dial(): void {
    this.#client.connect();
    tuneSocket(this.#client);
  }

  #restore(resumed: boolean): void {
    this.#attempts = 0;
    if (!resumed) this.acks.forget();
    const before = this.#restoring;
    const turn = ++this.#turn;
    this.#restoring = (async () => {
      // One that was cut off in the middle ends first.
      await before;
      await this.#tellBack(turn);
      if (this.#turn === turn) this.#restoring = undefined;
    })();
  }

  async #tellBack(turn: number): Promise<void> {
    const goesOn = () => !this.#closing && this.#client.connected && this.#turn === turn;
    while (goesOn()) {
      try {
        await this.#owner.back();
        if (!goesOn()) return;
        this.#up = true;
        this.#reason = undefined;
        this.#context.statistics.reconnections++;
        return this.#owner.resumed();
      } catch (error) {
        this.#reason = error;
        if (goesOn()) await this.#rest(this.#pause());
      }
    }
  }

  /** A pause that a lost connection or closing ends. */
  async #rest(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #end(force: boolean): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    const { persistent } = this.#identity;
    const stream = client.stream as typeof client.stream | undefined;
    const gone = stream === undefined || stream.destroyed
      ? Promise.resolve()
      : new Promise<void>((resolve) => stream.once("close", () => resolve()));
    const goodbye = this.#version === 5 && persistent && !this.#kept
      ? { properties: { sessionExpiryInterval: 0 } }
      : {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, GOODBYE_MS));
    const ended = new Promise<void>((resolve) => client.end(force, goodbye, () => resolve()));
    await Promise.race([ended, late]);
    if (stream?.destroyed === false) stream.destroy();
    await Promise.race([gone, late]);
    clearTimeout(timer);
    if (!force && this.#version === 4 && persistent && !this.#kept) await eraseSession(client);
  }
}
