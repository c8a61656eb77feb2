/**
 * Clients of MQTT.js as a connection needs them: how they reach the broker, what they trust, and what
 * the broker is to do when they are gone.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import mqtt, { type IClientOptions, type MqttClient } from "npm:mqtt@5.16.0";
import { readTls } from "@patchbay/core";
import { isSecure, type ResolvedConfig, whereOf, type Will } from "./config.ts";

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
  const tls = await readTls("mqtt", whereOf(config), config);
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
  return mqtt.connect({
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
    timerVariant: "native",
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
