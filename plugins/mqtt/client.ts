/**
 * Clients of MQTT.js as a connection needs them: how they reach the broker, what they trust, and what
 * the broker is to do when they are gone.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import mqtt, { type IClientOptions, type MqttClient } from "npm:mqtt@5.16.0";
import { readTls } from "@patchbay/core";
import { isSecure, type ResolvedConfig, whereOf, type Will } from "./config.ts";

/** What is written in one turn is put together up to so many bytes. */
const MAX_TOGETHER = 65_536;

/** Who a client is to the broker. */
export interface ClientIdentity {
  /** Its name. */
  readonly clientId: string;
  /** Whether its session goes on when the connection is made anew. */
  readonly persistent: boolean;
  /** What the broker publishes when the connection breaks. */
  readonly will: Will | undefined;
}

/**
 * What TLS needs; nothing where the connection is not encrypted.
 *
 * @param config The configuration.
 * @throws {PatchbayError} `unavailable`: a file cannot be read.
 */
export async function tlsOptions(config: ResolvedConfig): Promise<IClientOptions> {
  if (!isSecure(config)) return {};
  const tls = await readTls("mqtt", whereOf(config), config, Deno.readTextFile);
  return config.protocol === "wss" ? { wsOptions: tls } : tls;
}

/**
 * Makes a client; `connect()` dials.
 *
 * @param config The configuration.
 * @param version Which version of MQTT: 4 is 3.1.1.
 * @param tls What {@link tlsOptions} gave.
 * @param identity Who it is.
 */
export function makeClient(
  config: ResolvedConfig,
  version: 4 | 5,
  tls: IClientOptions,
  { clientId, persistent, will }: ClientIdentity,
): MqttClient {
  const pings = new PingTimer();
  const client = mqtt.connect({
    ...tls,
    protocol: config.protocol,
    host: config.host,
    hostname: config.host,
    port: config.port,
    ...(config.protocol.startsWith("ws") ? { path: config.path } : {}),
    protocolVersion: version,
    clientId,
    clean: !persistent,
    username: config.username,
    password: config.password,
    keepalive: Math.ceil(config.keepaliveMs / 1000),
    connectTimeout: config.connectTimeoutMs,
    // The pauses are the connection's affair, and so is what is subscribed to anew.
    reconnectPeriod: 0,
    resubscribe: false,
    manualConnect: true,
    queueQoSZero: false,
    timerVariant: pings,
    // Several times for each packet; without it, that somebody might debug is asked each time.
    log: () => {},
    ...(will === undefined ? {} : {
      will: {
        topic: will.topic,
        payload: will.payload as Buffer,
        qos: will.qos ?? 0,
        retain: will.retain === true,
      },
    }),
    ...(version === 5 && persistent
      ? { properties: { sessionExpiryInterval: Math.ceil(config.sessionMs / 1000) } }
      : {}),
  });
  client.on("close", () => pings.stop());
  return client;
}

/**
 * Makes the socket of a client quick, after each `connect()`.
 *
 * @param client The client.
 */
export function tuneSocket({ stream }: MqttClient): void {
  if (!(stream instanceof Socket)) return;
  // Small messages would wait for the other side to confirm the ones before.
  stream.setNoDelay(true);
  // MQTT.js writes a packet in many small pieces, and Deno hands on each by itself.
  const inPieces = stream._writev?.bind(stream);
  stream._writev = (pieces, done) => {
    const all = pieces.map(({ chunk, encoding }) =>
      typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk as Buffer
    );
    const bytes = all.reduce((sum, { length }) => sum + length, 0);
    if (bytes > MAX_TOGETHER && inPieces !== undefined) return inPieces(pieces, done);
    stream._write(Buffer.concat(all, bytes), "buffer" as BufferEncoding, done);
  };
}

/**
 * The one interval of a client, for its signs of life. MQTT.js sets it anew with each packet, which
 * here only notes the time.
 */
class PingTimer {
  #tick: (() => void) | undefined;
  #everyMs = 0;
  #sinceMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  set = (tick: () => void, everyMs: number): number => {
    this.#tick = tick;
    this.#sinceMs = performance.now();
    // A timer that is late would be too late for a shorter interval.
    if (everyMs !== this.#everyMs) this.stop();
    this.#everyMs = everyMs;
    this.#timer ??= setTimeout(this.#look, everyMs);
    return 1;
  };

  clear = (): void => {
    this.#tick = undefined;
  };

  /** The connection is closed. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#tick === undefined) return;
    const leftMs = this.#sinceMs + this.#everyMs - performance.now();
    if (leftMs <= 0) {
      this.#sinceMs += this.#everyMs;
      this.#timer = setTimeout(this.#look, this.#everyMs);
      this.#tick();
    } else this.#timer = setTimeout(this.#look, leftMs);
  };
}

/**
 * Makes the broker forget the session of a client that has ended: MQTT 3.1.1 knows no end of a
 * session but a clean beginning.
 *
 * @param ended The client.
 */
export async function eraseSession({ options }: MqttClient): Promise<void> {
  const client = mqtt.connect({ ...options, clean: true, will: undefined, manualConnect: true });
  client.on("error", () => {});
  await new Promise<void>((resolve) => {
    client.once("connect", () => client.end(false, {}, () => resolve()));
    client.once("close", () => resolve());
    client.connect();
  });
  const { stream } = client;
  if (stream.destroyed) return;
  const gone = new Promise<void>((resolve) => stream.once("close", () => resolve()));
  stream.destroy();
  await gone;
}
