/**
 * Topics as they are: what only MQTT has, reached through `bay.transport(mqtt)`.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { PatchbayError, type Registration, type TransportContext } from "@patchbay/core";
import { badTopic, type QoS } from "./config.ts";
import type { Connection } from "./connection.ts";
import type { Packet, Properties } from "./packets.ts";
import type { Subscriptions, Wish } from "./subscriptions.ts";
import { headersOf } from "./topics.ts";

/** How a message is published. */
export interface TopicOptions {
  /** The quality of service; default 0. */
  readonly qos?: QoS;
  /** Whether the broker keeps it for later subscribers. */
  readonly retain?: boolean;
  /** The broker forgets it after this time, in milliseconds. MQTT 5. */
  readonly expiryMs?: number;
  /** User properties. MQTT 5. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The content type. MQTT 5. */
  readonly contentType?: string;
}

/** A message at a topic. */
export interface TopicMessage {
  /** Its topic. */
  readonly topic: string;
  /** Its payload, as it is. */
  readonly payload: Uint8Array;
  /** Its quality of service. */
  readonly qos: QoS;
  /** Whether the broker had kept it. */
  readonly retained: boolean;
  /** User properties. MQTT 5. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What only MQTT has. */
export interface MqttExtras {
  /** The version of MQTT that is spoken. */
  readonly version: "5" | "3.1.1";
  /** Where the broker is: host and port. */
  readonly where: string;
  /** Whether this bay itself is the broker. */
  readonly hosting: boolean;
  /**
   * Publishes bytes or text at any topic; resolves with QoS 1 and 2 when the broker has it.
   *
   * @param topic The topic.
   * @param payload The bytes, or the text.
   * @param options How.
   * @throws {PatchbayError} `invalid`; `forbidden`; `closed`; `unavailable`.
   */
  publish(topic: string, payload: string | Uint8Array, options?: TopicOptions): Promise<void>;
  /**
   * Subscribes to a filter, with `+` and `#`; resolves when the broker has granted it.
   *
   * @param filter The filter.
   * @param heard Called with each message; what it throws is reported.
   * @param options The best quality of service.
   * @returns Its `close` unsubscribes.
   * @throws {PatchbayError} `invalid`; `forbidden`; `closed`; `unavailable`.
   */
  subscribe(
    filter: string,
    heard: (message: TopicMessage) => void,
    options?: { readonly qos?: QoS },
  ): Promise<Registration & AsyncDisposable>;
}

interface Ear {
  readonly heard: (message: TopicMessage) => void;
  readonly wish: Wish;
}

/** The extras of one bay. */
export class Extras implements MqttExtras {
  readonly #connection: Connection;
  readonly #context: TransportContext;
  readonly #ears = new Map<string, readonly Ear[]>();
  readonly #subscriptions: Subscriptions;

  constructor(connection: Connection, context: TransportContext, subscriptions: Subscriptions) {
    this.#connection = connection;
    this.#context = context;
    this.#subscriptions = subscriptions;
  }

  get version(): "5" | "3.1.1" {
    return this.#connection.version === 5 ? "5" : "3.1.1";
  }

  get where(): string {
    return this.#connection.where;
  }

  get hosting(): boolean {
    return this.#connection.hosting;
  }

  async publish(
    topic: string,
    payload: string | Uint8Array,
    options: TopicOptions = {},
  ): Promise<void> {
    const problem = badTopic(topic);
    if (problem !== undefined) throw new PatchbayError("invalid", problem);
    this.#needed(topic);
    const { qos = 0, retain = false, expiryMs, headers, contentType } = options;
    const properties: Properties = {};
    if (expiryMs !== undefined) properties.messageExpiryInterval = Math.ceil(expiryMs / 1000);
    if (headers !== undefined) properties.userProperties = { ...headers };
    if (contentType !== undefined) properties.contentType = contentType;
    const data = typeof payload === "string"
      ? payload
      : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    const { outbox } = this.#connection;
    const no = outbox.refusal(topic, topic, data, properties);
    if (no !== undefined) throw no;
    await outbox.deliver(topic, data, { qos, retain, properties }, true);
  }

  async subscribe(
    filter: string,
    heard: (message: TopicMessage) => void,
    { qos = 0 }: { readonly qos?: QoS } = {},
  ): Promise<Registration & AsyncDisposable> {
    this.#needed(filter);
    const ear: Ear = { heard, wish: { qos, marked: true } };
    this.#ears.set(filter, [...this.#ears.get(filter) ?? [], ear]);
    const leave = async () => {
      const left = this.#ears.get(filter)?.filter((each) => each !== ear) ?? [];
      if (left.length > 0) this.#ears.set(filter, left);
      else this.#ears.delete(filter);
      await this.#subscriptions.leave([filter], ear.wish);
    };
    try {
      await this.#subscriptions.enter([filter], ear.wish);
    } catch (error) {
      await leave();
      throw error;
    }
    let closing: Promise<void> | undefined;
    const close = () => closing ??= leave();
    return { close, [Symbol.asyncDispose]: close };
  }

  /** @ignore A message has come; answers whether somebody wanted it. */
  heard(topic: string, payload: Buffer, packet: Packet): boolean {
    if (this.#ears.size === 0) return false;
    let known = false;
    const told = packet.properties?.subscriptionIdentifier;
    for (const [filter, ears] of this.#ears) {
      if (!this.#subscriptions.belongs(filter, topic, told)) continue;
      known = true;
      const headers = headersOf(packet.properties?.userProperties ?? {}) ?? {};
      const { qos, retain: retained } = packet;
      for (const ear of ears) {
        try {
          ear.heard({ topic, payload: new Uint8Array(payload), qos, retained, headers });
        } catch (error) {
          this.#context.report(PatchbayError.fromThrown(error));
        }
      }
    }
    return known;
  }

  #needed(what: string): void {
    if (this.#connection.up) return;
    const { where } = this.#connection;
    throw new PatchbayError("unavailable", `${what}: the broker at ${where} is not connected`, {
      remedy: "it connects by itself: try again",
    });
  }
}
