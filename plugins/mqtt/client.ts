/**
 * Clients of MQTT.js as a connection needs them: how they reach the broker, what they trust, and what
 * the broker is to do when they are gone.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import mqtt, { type IClientOptions, type MqttClient } from "npm:mqtt@5.16.0";
import { PatchbayError } from "@patchbay/core";
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
 * What TLS needs; nothing where the connection is not encrypted. Warns if nothing is verified.
 *
 * @param config The configuration.
 * @throws {PatchbayError} `unavailable`: a file cannot be read.
 */
export async function readTls(config: ResolvedConfig): Promise<IClientOptions> {
  if (!isSecure(config)) return {};
  const { insecureSkipTlsVerification } = config;
  if (insecureSkipTlsVerification) {
    console.warn(
      `patchbay: mqtt: the certificate of ${whereOf(config)} is not verified ` +
        "(config.mqtt.insecureSkipTlsVerification): whoever is between can read and change all",
    );
  }
  const tls = {
    ca: await pem(config.ca, "ca"),
    cert: await pem(config.cert, "cert"),
    key: await pem(config.key, "key"),
    rejectUnauthorized: !insecureSkipTlsVerification,
    ...(config.serverName === undefined ? {} : { servername: config.serverName }),
  };
  return config.protocol === "wss" ? { wsOptions: tls } : tls;
}

async function pem(text: string | undefined, what: string): Promise<string | undefined> {
  if (text === undefined || text.includes("-----BEGIN")) return text;
  try {
    return await Deno.readTextFile(text);
  } catch (error) {
    throw new PatchbayError("unavailable", `config.mqtt.${what}: ${(error as Error).message}`, {
      retryable: false,
      remedy: "give a file that can be read, or the PEM text itself",
      cause: error,
    });
  }
}

/**
 * Makes a client; `connect()` dials.
 *
 * @param config The configuration.
 * @param version Which version of MQTT: 4 is 3.1.1.
 * @param tls What {@link readTls} gave.
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
