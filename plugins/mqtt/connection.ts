/**
 * The connection of one bay to its broker: made within a deadline, made anew with back-off and
 * jitter, closed at the end.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import mqtt, {
  type IClientOptions,
  type IClientPublishOptions,
  type MqttClient,
} from "npm:mqtt@5.16.0";
import { type Health, PatchbayError, type TransportContext } from "@patchbay/core";
import { Acks } from "./acks.ts";
import { isSecure, type QoS, type ResolvedConfig, whereOf, type Will } from "./config.ts";
import { EmbeddedBroker } from "./embedded.ts";
import { reasonCode, translate, unreachable, wantsOtherVersion } from "./errors.ts";

/** How long the goodbye to the broker may take, in milliseconds. */
const GOODBYE_MS = 1000;
/** "No matching subscribers": MQTT 5, section 3.4.2.1. */
const NOBODY = 16;

/** A message as it arrives. */
export interface Packet {
  /** Its quality of service. */
  readonly qos: QoS;
  /** Whether the broker has kept it. */
  readonly retain: boolean;
  /** Whether it was sent before. */
  readonly dup: boolean;
  /** Its number. */
  readonly messageId?: number;
  /** MQTT 5. */
  readonly properties?: {
    readonly responseTopic?: string;
    readonly correlationData?: Buffer;
    readonly contentType?: string;
    readonly userProperties?: Readonly<Record<string, string | string[]>>;
    readonly subscriptionIdentifier?: number | number[];
  };
}

/** What goes with a message. */
export type Properties = NonNullable<IClientPublishOptions["properties"]>;

/** How a message is sent. */
export interface PublishOptions {
  /** Its quality of service. */
  readonly qos: QoS;
  /** Whether the broker keeps it. */
  readonly retain?: boolean;
  /** MQTT 5. */
  readonly properties?: Properties;
}

/** How a filter is subscribed to. */
export interface SubscribeOptions {
  /** The best quality of service. */
  readonly qos: QoS;
  /** MQTT 5: not what this client itself publishes. */
  readonly noLocal?: boolean;
  /** MQTT 5: whether kept messages are wanted. */
  readonly retained?: boolean;
  /** MQTT 5: what its messages are marked with. */
  readonly identifier?: number;
}

/** What is told of the connection. */
export interface ConnectionOwner {
  /** A message has come. */
  message(topic: string, payload: Buffer, packet: Packet): void;
  /** The connection was lost. */
  lost(reason: PatchbayError): void;
  /** It is there again: what was subscribed and told is subscribed and told anew. */
  back(resumed: boolean): Promise<void>;
  /** Everything works again. */
  resumed(): void;
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

/** The connection of one bay. */
export class Connection {
  /** Where the broker is, in words. */
  readonly where: string;
  /** What is acknowledged when. */
  readonly acks: Acks;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #owner: ConnectionOwner;
  readonly #will: Will | undefined;
  readonly #persistent: boolean;
  readonly #clientId: string;
  #client!: MqttClient;
  #version: 4 | 5 = 5;
  #up = false;
  #opening = true;
  #closing = false;
  #reason: unknown = undefined;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #restoring: Promise<void> | undefined;
  #wakeUp: (() => void) | undefined;
  #embedded: EmbeddedBroker | undefined;
  /** By the number of a message: who wants to know that nobody has subscribed to it. */
  readonly #nobody = new Map<number, () => void>();

  /**
   * @param config The configuration, its URL read.
   * @param context What core gave the plugin.
   * @param will What the broker publishes when the connection breaks.
   * @param persistent Whether the session goes on when it is made anew.
   * @param clientId The client's name.
   * @param owner Who is told.
   */
  constructor(
    config: ResolvedConfig,
    context: TransportContext,
    will: Will | undefined,
    persistent: boolean,
    clientId: string,
    owner: ConnectionOwner,
  ) {
    this.#config = config;
    this.#context = context;
    this.#owner = owner;
    this.#will = will;
    this.#persistent = persistent;
    this.#clientId = clientId;
    this.where = whereOf(config);
    this.acks = new Acks((messageId) => this.#acknowledge(messageId));
  }

  /** Whether messages get through now. */
  get up(): boolean {
    return this.#up;
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

  /** The client of MQTT.js. */
  get client(): MqttClient {
    return this.#client;
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

  /** The largest packet that the broker takes, in bytes. */
  get maxPacketBytes(): number {
    return this.#client.serverProperties?.maximumPacketSize ?? Infinity;
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
    const tls = await this.#tls();
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
   * Sends a message. Never throws.
   *
   * @param topic Where.
   * @param data What.
   * @param options How.
   * @param done For QoS 1 and 2: what came of it.
   * @param nobody MQTT 5, QoS 1: nobody has subscribed to it.
   */
  publish(
    topic: string,
    data: string | Buffer,
    options: PublishOptions,
    done?: (error?: unknown) => void,
    nobody?: () => void,
  ): void {
    const client = this.#client;
    if (done === undefined) return void client.publish(topic, data, options);
    if (nobody === undefined) {
      return void client.publish(topic, data, options, (error) => done(error ?? undefined));
    }
    let messageId = 0;
    client.publish(topic, data, options, (error) => {
      this.#nobody.delete(messageId);
      done(error ?? undefined);
    });
    messageId = client.getLastMessageId();
    this.#nobody.set(messageId, nobody);
  }

  /** The number of the message with QoS 1 that was sent last. */
  get lastId(): number {
    return this.#client.getLastMessageId();
  }

  /** Takes back a message that the broker has not confirmed. */
  forget(messageId: number): void {
    this.#client.removeOutgoingMessage(messageId);
  }

  /** How many bytes wait to be sent. */
  get queuedBytes(): number {
    const { stream } = this.#client;
    return stream.writableLength;
  }

  /**
   * Sends a message, and waits until the broker has it.
   *
   * @throws {PatchbayError} `forbidden`, `closed`, …
   */
  async deliver(topic: string, data: string | Buffer, options: PublishOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.publish(topic, data, options, (error) => {
        if (error === undefined) resolve();
        else reject(this.explain(error, topic));
      });
    });
  }

  /**
   * Subscribes.
   *
   * @param filters What to.
   * @param options How.
   * @throws {PatchbayError} `forbidden`; `closed`.
   */
  async subscribe(filters: readonly string[], options: SubscribeOptions): Promise<void> {
    if (filters.length === 0) return;
    const { identifier } = options;
    const five = this.#version === 5;
    await new Promise<void>((resolve, reject) => {
      this.#client.subscribe(
        [...filters],
        {
          qos: options.qos,
          nl: five && options.noLocal === true,
          rh: options.retained === false ? 2 : 0,
          ...(identifier !== undefined && this.identifies
            ? { properties: { subscriptionIdentifier: identifier } }
            : {}),
        },
        (error) => {
          if (error === null) return resolve();
          const { packet } = error as { packet?: { granted?: readonly number[] } };
          const at = packet?.granted?.findIndex((each) => each >= 128) ?? -1;
          const refused = at < 0
            ? error
            : Object.assign(new Error(`subscription refused`), { code: packet?.granted?.[at] });
          reject(this.explain(refused, `subscribing to ${filters[Math.max(0, at)]}`));
        },
      );
    });
  }

  /** Subscribes no longer. */
  async unsubscribe(filters: readonly string[]): Promise<void> {
    if (filters.length === 0 || !this.#up) return;
    await new Promise<void>((resolve) => {
      // With the connection the subscription is gone, too.
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
    await this.#restoring?.catch(() => {});
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

  async #tls(): Promise<IClientOptions> {
    const config = this.#config;
    if (!isSecure(config)) return {};
    const { insecureSkipTlsVerification } = config;
    if (insecureSkipTlsVerification) {
      console.warn(
        `patchbay: mqtt: the certificate of ${this.where} is not verified ` +
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

  #make(version: 4 | 5, tls: IClientOptions): MqttClient {
    const config = this.#config;
    const will = this.#will;
    const client = mqtt.connect({
      ...tls,
      protocol: config.protocol,
      host: config.host,
      hostname: config.host,
      port: config.port,
      ...(config.protocol.startsWith("ws") ? { path: config.path } : {}),
      protocolVersion: version,
      clientId: this.#clientId,
      clean: !this.#persistent,
      username: config.username,
      password: config.password,
      keepalive: Math.ceil(config.keepaliveMs / 1000),
      connectTimeout: config.connectTimeoutMs,
      // The pauses are this file's affair, and so is what is subscribed to anew.
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
      ...(version === 5 && this.#persistent
        ? { properties: { sessionExpiryInterval: Math.ceil(config.sessionMs / 1000) } }
        : {}),
    });
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
    client.on("packetreceive", (packet) => {
      if (packet.cmd !== "puback" || packet.reasonCode !== NOBODY) return;
      this.#nobody.get(packet.messageId ?? 0)?.();
    });
    this.#listen(client);
    return client;
  }

  #listen(client: MqttClient): void {
    const { acks } = this;
    client.on("message", (topic, payload, packet) => {
      const { messageId } = packet;
      if (packet.qos === 1 && messageId !== undefined && !acks.arrived(messageId)) {
        this.#context.statistics.countDrop("duplicate");
        return;
      }
      this.#owner.message(topic, payload, packet as Packet);
    });
    const inner = client as unknown as {
      _sendPacket(packet: { cmd: string; messageId: number }, done?: () => void, ...rest: []): void;
    };
    const send = inner._sendPacket;
    inner._sendPacket = (packet, done, ...rest) => {
      if (packet.cmd === "puback" && !acks.due(packet.messageId)) return done?.();
      send.call(client, packet, done, ...rest);
    };
  }

  #acknowledge(messageId: number): void {
    if (!this.#client.connected) return;
    const inner = this.#client as unknown as {
      _sendPacket(packet: { cmd: string; messageId: number; reasonCode: number }): void;
    };
    inner._sendPacket({ cmd: "puback", messageId, reasonCode: 0 });
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
    if (this.#up) {
      this.#up = false;
      const cause = this.#reason;
      const why = reasonCode(cause) === undefined
        ? ""
        : `: ${unreachable(cause, this.where, 0).message}`;
      this.#owner.lost(
        new PatchbayError(
          "closed",
          `the connection to the broker at ${this.where} was lost${why}`,
          {
            cause,
          },
        ),
      );
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
    const { stream } = this.#client;
    // Small messages would wait for the other side to confirm the ones before.
    (stream as Partial<Socket>).setNoDelay?.(true);
  }

  #restore(resumed: boolean): void {
    this.#attempts = 0;
    if (!resumed) this.acks.forget();
    this.#restoring = this.#tellBack(resumed).finally(() => this.#restoring = undefined);
  }

  async #tellBack(resumed: boolean): Promise<void> {
    while (!this.#closing && this.#client.connected) {
      try {
        await this.#owner.back(resumed);
        if (!this.#client.connected || this.#closing) return;
        this.#up = true;
        this.#reason = undefined;
        this.#context.statistics.reconnections++;
        this.#owner.resumed();
        return;
      } catch (error) {
        this.#reason = error;
        await this.#rest(this.#pause());
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
    const stream = client.stream as typeof client.stream | undefined;
    const gone = stream === undefined || stream.destroyed
      ? Promise.resolve()
      : new Promise<void>((resolve) => stream.once("close", () => resolve()));
    const goodbye = this.#version === 5 && this.#persistent && !this.#kept
      ? { properties: { sessionExpiryInterval: 0 } }
      : {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, GOODBYE_MS));
    const ended = new Promise<void>((resolve) => client.end(force, goodbye, () => resolve()));
    await Promise.race([ended, late]);
    if (stream?.destroyed === false) stream.destroy();
    await Promise.race([gone, late]);
    clearTimeout(timer);
    if (!force && this.#version === 4 && this.#persistent && !this.#kept) await this.#erase();
  }

  /** MQTT 3.1.1 knows no end of a session but a clean beginning. */
  async #erase(): Promise<void> {
    const { options } = this.#client;
    const client = mqtt.connect({ ...options, clean: true, will: undefined, manualConnect: true });
    client.on("error", () => {});
    await new Promise<void>((resolve) => {
      client.once("connect", () => client.end(false, {}, () => resolve()));
      client.once("close", () => resolve());
      client.connect();
    });
    const { stream } = client;
    if (!stream.destroyed) {
      const gone = new Promise<void>((resolve) => stream.once("close", () => resolve()));
      stream.destroy();
      await gone;
    }
  }
}
