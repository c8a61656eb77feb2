/**
 * Shouts through Streams, the sending side: every shout is kept here until Redis has it, and sent
 * again, in order, after a connection that broke.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  PatchbayError,
  type SpeakerEndpoint,
  type SpeakerPort,
  type TransportContext,
} from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import type { Listening } from "./listening.ts";
import type { Names } from "./names.ts";
import { addType, type Payloads } from "./payload.ts";
import type { Presence } from "./presence.ts";
import type { Retained } from "./retained.ts";
import type { Sender } from "./sender.ts";

/** With so many shouts that Redis has not confirmed, a speaker is asked to wait. */
const HOLD_AT = 8192;
/** So many confirmed shouts are kept in the list before it is made shorter. */
const COMPACT_AT = 1024;
/** How long closing waits for what was shouted, in milliseconds. */
const DRAIN_MS = 5000;

interface Shout {
  readonly args: (string | Buffer)[];
  readonly bytes: number;
  readonly endpoint: SpeakerEndpoint;
}

/** What was shouted at one address and is not confirmed yet. */
interface Outbox {
  readonly address: string;
  readonly key: string;
  shouts: Shout[];
  /** The index of the first that is not confirmed. */
  first: number;
  /** The index of the first that is not on its way. */
  sent: number;
  /** Whose answers count: those of the present connection. */
  generation: number;
  /** How many speakers there are. */
  users: number;
}

/** All shouts of this bay that go through Streams. */
export class LogSpeakers {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #listening: Listening;
  readonly #retained: Retained;
  readonly #sender: Sender;
  readonly #outboxes = new Map<string, Outbox>();
  #bytes = 0;
  #count = 0;
  #held: (() => void)[] = [];

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    presence: Presence,
    listening: Listening,
    retained: Retained,
    sender: Sender,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#listening = listening;
    this.#retained = retained;
    this.#sender = sender;
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    const { address } = endpoint;
    let outbox = this.#outboxes.get(address);
    if (outbox === undefined) {
      const key = this.#names.log(address);
      outbox = { address, key, shouts: [], first: 0, sent: 0, generation: 0, users: 0 };
      this.#outboxes.set(address, outbox);
    }
    const mine = outbox;
    mine.users++;
    let close: () => Promise<void>;
    try {
      await this.#announce(address);
      close = await this.#listening.speak(address);
    } catch (error) {
      this.#forget(mine);
      throw error;
    }
    const kept = endpoint.retain ? this.#retained.hold(address) : undefined;
    const listening = this.#listening;
    const { module } = this.#context.identity;
    const { maxAgeMs, maxLength } = this.#config;
    const trim = maxAgeMs > 0 ? "MINID" : "MAXLEN";
    const most = String(maxLength);
    const threshold = () => maxAgeMs > 0 ? String(Date.now() - maxAgeMs) : most;
    return {
      get listeners() {
        return listening.count(address);
      },
      shout: (value, event) => {
        const payload = this.#payloads.encode(value, endpoint.contract.codec);
        const args: (string | Buffer)[] = [
          mine.key,
          trim,
          "~",
          threshold(),
          "*",
          "value",
          payload.data,
        ];
        addType(args, payload);
        args.push("origin", event.origin, "seq", String(event.sequence), "from", module);
        if (event.priority !== 128) args.push("priority", String(event.priority));
        if (event.headers !== undefined) args.push("headers", JSON.stringify(event.headers));
        if (this.#bytes + payload.bytes > this.#config.maxQueueBytes && this.#count > 0) {
          throw new PatchbayError(
            "overloaded",
            `${address}: ${this.#count} shouts wait for Redis`,
            {
              details: { maxQueueBytes: this.#config.maxQueueBytes },
              remedy: "await speaker.shout(), or raise config.redis.maxQueueBytes",
            },
          );
        }
        this.#bytes += payload.bytes;
        this.#count++;
        endpoint.statistics.bytesOut += payload.bytes;
        mine.shouts.push({ args, bytes: payload.bytes, endpoint });
        if (endpoint.retain && this.#connections.up) this.#retained.keep(address, payload, event);
        if (this.#connections.up) this.#send(mine);
        if (this.#count < HOLD_AT) return;
        return new Promise((resolve) => this.#held.push(resolve));
      },
      close: async () => {
        await this.#drained(mine);
        await kept?.();
        await close();
        this.#forget(mine);
      },
    };
  }

  /** The connection was lost: what is not confirmed is sent again. */
  lost(): void {
    for (const outbox of this.#outboxes.values()) {
      outbox.sent = outbox.first;
      outbox.generation++;
    }
  }

  /** The connection is back. */
  async back(): Promise<void> {
    for (const outbox of this.#outboxes.values()) await this.#announce(outbox.address);
  }

  /** Commands get through again. */
  resume(): void {
    for (const outbox of this.#outboxes.values()) this.#send(outbox);
  }

  /** Tells the listeners of patterns that there is this log, and where its new entries begin. */
  async #announce(address: string): Promise<void> {
    const { main } = this.#connections;
    const [last] = await main.xrevrange(this.#names.log(address), "+", "-", "COUNT", 1);
    await main.sadd(this.#names.logs, address);
    await this.#presence.tell("log", address, last?.[0] ?? "0-0");
  }

  #send(outbox: Outbox): void {
    const { generation } = outbox;
    while (outbox.sent < outbox.shouts.length) {
      const shout = outbox.shouts[outbox.sent++];
      this.#sender.send("xadd", shout.args, (error) => {
        if (error === undefined) this.#confirmed(outbox, generation);
        else this.#failed(outbox, generation, error);
      });
    }
  }

  /** Answers come in the order of the commands: it is the first one. */
  #confirmed(outbox: Outbox, generation: number): void {
    if (outbox.generation !== generation) return;
    this.#done(outbox);
  }

  #failed(outbox: Outbox, generation: number, error: unknown): void {
    if (outbox.generation !== generation || this.#connections.closing) return;
    const known = this.#connections.explain(error, outbox.address);
    if (known.code === "closed" || known.code === "unavailable") {
      // In a cluster a node may be lost while the others are there.
      outbox.generation++;
      outbox.sent = outbox.first;
      setTimeout(() => this.#connections.up && this.#send(outbox), 100);
      return;
    }
    outbox.shouts[outbox.first]?.endpoint.statistics.countDrop(known.code);
    this.#context.report(known.with({ pattern: "speaker", address: outbox.address }));
    this.#done(outbox);
  }

  #done(outbox: Outbox): void {
    const shout = outbox.shouts[outbox.first];
    if (shout === undefined) return;
    outbox.first++;
    // Taking one away from the front of many would move all of them.
    if (outbox.first >= COMPACT_AT || outbox.first === outbox.shouts.length) {
      outbox.shouts = outbox.shouts.slice(outbox.first);
      outbox.sent -= outbox.first;
      outbox.first = 0;
    }
    this.#bytes -= shout.bytes;
    this.#count--;
    if (this.#held.length === 0 || this.#count > HOLD_AT / 2) return;
    const held = this.#held;
    this.#held = [];
    for (const resolve of held) resolve();
  }

  /** Waits for what was shouted to be confirmed. */
  async #drained(outbox: Outbox): Promise<void> {
    const untilMs = performance.now() + DRAIN_MS;
    while (outbox.first < outbox.shouts.length && performance.now() < untilMs) {
      if (this.#connections.closing) break;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #forget(outbox: Outbox): void {
    if (--outbox.users > 0) return;
    this.#outboxes.delete(outbox.address);
    outbox.generation++;
    for (const { endpoint, bytes } of outbox.shouts.splice(outbox.first)) {
      endpoint.statistics.countDrop("closed");
      this.#bytes -= bytes;
      this.#count--;
    }
    for (const resolve of this.#held.splice(0)) resolve();
  }
}
