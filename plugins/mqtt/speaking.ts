/**
 * Shouts on their way out: the plain payload at the topic of the address, with the quality that the
 * configuration says.
 *
 * @module
 */

import {
  contentTypeOf,
  type EventContext,
  PatchbayError,
  type SpeakerEndpoint,
  type SpeakerPort,
  type TransportContext,
  UNKEPT_HEADER,
} from "@patchbay/core";
import { badTopic, type QoS, qosOf, type ResolvedConfig } from "./config.ts";
import type { Connection } from "./connection.ts";
import { nativeTopic } from "./native.ts";
import type { Properties, PublishOptions } from "./packets.ts";
import type { Payload, Payloads } from "./payload.ts";
import type { Presence } from "./presence.ts";
import { addHeaders, type Marks, type Topics } from "./topics.ts";

const NORMAL = 128;

/** A speaker on the wire. */
interface Desk {
  readonly endpoint: SpeakerEndpoint;
  readonly topic: string;
  /** Whether it is a topic of the user's own. */
  readonly native: boolean;
  readonly qos: QoS;
  readonly expiryS: number | undefined;
  /** Whether the broker has taken a shout with QoS 1: it is allowed. */
  proven: boolean;
  /** The number of the shout that asks, while the broker has not confirmed it. */
  asking: number;
}

/** Everything this bay shouts. */
export class Speaking {
  readonly #connection: Connection;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #topics: Topics;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #desks = new Set<Desk>();
  /** How many shouts the broker has not confirmed. */
  #unconfirmed = 0;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(
    connection: Connection,
    config: ResolvedConfig,
    context: TransportContext,
    topics: Topics,
    payloads: Payloads,
    presence: Presence,
  ) {
    this.#connection = connection;
    this.#config = config;
    this.#context = context;
    this.#topics = topics;
    this.#payloads = payloads;
    this.#presence = presence;
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    const { address, contract } = endpoint;
    const native = nativeTopic(contract.native);
    const problem = native === undefined ? undefined : badTopic(native.topic);
    if (problem !== undefined) {
      throw new PatchbayError("invalid", `native.mqtt: ${problem}`, { address });
    }
    const expiryMs = native?.expiryMs ?? this.#config.expiryMs;
    const desk: Desk = {
      endpoint,
      topic: native?.topic ?? this.#topics.shout(address),
      native: native !== undefined,
      // What is kept must have arrived: the broker confirms it.
      qos: native?.qos ?? Math.max(endpoint.retain ? 1 : 0, qosOf(this.#config, address)) as QoS,
      expiryS: expiryMs > 0 ? Math.ceil(expiryMs / 1000) : undefined,
      proven: false,
      asking: 0,
    };
    const retain = endpoint.retain && native === undefined;
    const leave = await this.#presence.speak(address, retain, endpoint.bridged);
    this.#desks.add(desk);
    const presence = this.#presence;
    let closing: Promise<void> | undefined;
    return {
      get listeners() {
        return presence.count(address);
      },
      shout: (value, event) => this.#shout(desk, value, event),
      close: () =>
        closing ??= (async () => {
          this.#desks.delete(desk);
          await leave();
          if (retain) await this.#forget(desk);
        })(),
    };
  }

  /** The connection was lost: whether it may shout is asked again. */
  lost(): void {
    for (const desk of this.#desks) {
      desk.proven = false;
      const { asking } = desk;
      desk.asking = 0;
      // It would be sent again, and perhaps be heard twice.
      if (asking !== 0) this.#connection.outbox.forget(asking);
    }
    this.#makeRoom();
  }

  /** Everything works again. */
  resume(): void {
    this.#makeRoom();
  }

  /** The connection is closed: nobody waits any longer. */
  close(): void {
    this.#makeRoom();
  }

  /** Waits, for a moment, until the broker has confirmed everything. */
  async drain(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    let over = false;
    late.then(() => over = true);
    while (this.#unconfirmed > 0 && this.#connection.up && !over) {
      this.#room ??= Promise.withResolvers();
      await Promise.race([this.#room.promise, late]);
    }
    clearTimeout(timer);
  }

  #shout(desk: Desk, value: unknown, event: EventContext): void | Promise<void> {
    const { endpoint, qos } = desk;
    const { address, contract, statistics } = endpoint;
    const payload = this.#payloads.encode(value, contract.codec);
    const connection = this.#connection;
    if (qos === 0 && !connection.up) return statistics.countDrop("disconnected");
    if (this.#unconfirmed >= 2 * this.#config.maxUnconfirmed) throw this.#overloaded(address);
    const { outbox } = connection;
    const { topic, options } = this.#packet(desk, payload, event);
    const no = outbox.refusal(address, topic, payload.data, options.properties);
    if (no !== undefined) throw no;
    statistics.bytesOut += payload.bytes;
    if (qos === 0 && desk.proven) return outbox.publish(topic, payload.data, options);
    // A broker says nothing about QoS 0: with the first one it is asked whether it may be at all.
    const asked = qos === 0 ? { ...options, qos: 1 as const } : options;
    this.#unconfirmed++;
    outbox.publish(topic, payload.data, asked, (error) => {
      this.#unconfirmed--;
      this.#makeRoom();
      desk.asking = 0;
      if (error === undefined) desk.proven = true;
      else this.#refused(desk, error);
    });
    if (qos === 0) desk.asking = outbox.lastId;
    if (qos > 0 && this.#unconfirmed >= this.#config.maxUnconfirmed) return this.#wait();
  }

  /** The topic, and what goes with the payload. */
  #packet(
    desk: Desk,
    payload: Payload,
    event: EventContext,
  ): { topic: string; options: PublishOptions } {
    const { endpoint, qos, expiryS } = desk;
    const { origin, sequence, headers, priority } = event;
    const type = contentTypeOf(payload);
    const retain = endpoint.retain && headers?.[UNKEPT_HEADER] === undefined;
    const marks: Marks = {};
    if (priority !== NORMAL) marks["pb-priority"] = String(priority);
    if (headers !== undefined) addHeaders(marks, headers);
    if (this.#connection.version === 5) {
      marks["pb-id"] = `${origin}:${sequence}`;
      const properties: Properties = { userProperties: marks };
      if (type !== undefined) properties.contentType = type;
      if (expiryS !== undefined) properties.messageExpiryInterval = expiryS;
      return { topic: desk.topic, options: { qos, retain, properties } };
    }
    if (desk.native) return { topic: desk.topic, options: { qos, retain } };
    if (type !== undefined) marks["pb-type"] = type;
    // What is kept is kept by its topic, which must not change: it says by whom, and no more.
    const topic = retain
      ? this.#topics.withTail(desk.topic, origin, "", type === undefined ? {} : { "pb-type": type })
      : this.#topics.withTail(desk.topic, origin, String(sequence), marks);
    return { topic, options: { qos, retain } };
  }

  #refused(desk: Desk, error: unknown): void {
    const { endpoint } = desk;
    const known = this.#connection.explain(error, endpoint.address);
    endpoint.statistics.countDrop(known.code === "closed" ? "disconnected" : known.code);
    if (known.code !== "closed") this.#context.report(known.with({ pattern: "speaker" }));
  }

  #overloaded(address: string): PatchbayError {
    const { maxUnconfirmed } = this.#config;
    return new PatchbayError("overloaded", `${address}: too much is not confirmed`, {
      details: { maxUnconfirmed },
      remedy: "await speaker.shout()",
    });
  }

  async #wait(): Promise<void> {
    while (
      this.#unconfirmed >= this.#config.maxUnconfirmed && !this.#connection.closing
    ) {
      this.#room ??= Promise.withResolvers();
      await this.#room.promise;
    }
  }

  #makeRoom(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** A speaker has closed: the last value is kept no longer, unless it is another one's, too. */
  async #forget({ endpoint, topic }: Desk): Promise<void> {
    const { up, version, outbox } = this.#connection;
    if (this.#config.keepRetained || !up) return;
    const { origin, address } = endpoint;
    // In MQTT 3.1.1 each bay's own is kept.
    if (this.#presence.retained(address, version === 4)) return;
    const kept = version === 5 ? topic : this.#topics.withTail(topic, origin, "");
    try {
      await outbox.deliver(kept, "", { qos: 1, retain: true }, false);
    } catch (error) {
      // What was lost is sent again; and who may not shout has kept nothing.
      const { code } = error as PatchbayError;
      if (code !== "closed" && code !== "forbidden") throw error;
    }
  }
}
