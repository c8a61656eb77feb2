/**
 * Shouts through Streams, the receiving side: one consumer group reads the logs of some addresses,
 * hands their entries to listeners, and acknowledges each when all of them are done with it.
 *
 * @module
 */

import {
  isPattern,
  matches,
  PatchbayError,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import type { Buffer } from "node:buffer";
import { type Client, type Connections, inBytes } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { LogEntry, type LogSeat, type Topic } from "./log_entry.ts";
import { moduleOf, type Names } from "./names.ts";
import { isAfter, LastText, numberOf, type Read, readFields, textOf } from "./payload.ts";
import { type Dependent, type Presence, readerOf } from "./presence.ts";
import { ReadLoop } from "./read_loop.ts";

/** How many entries are read at once. */
const BATCH = 512;
/** How many speakers of an address are remembered, to know what comes twice. */
const MAX_ORIGINS = 1024;
/** How often it is seen what other consumers hold, in milliseconds. */
const SWEEP_MS = 1000;

interface Reader {
  readonly loop: ReadLoop;
  readonly topics: Set<Topic>;
  readonly wake: string;
}

/** How a consumption reads. */
export interface ConsumptionOptions {
  /** The consumer group. */
  readonly group: string;
  /** Whether the group is kept when this consumption ends, so that others go on. */
  readonly kept: boolean;
  /** Where a new group begins; default: with what comes from now on. */
  readonly from?: string;
}

/** A consumer group as one bay takes part in it. */
export class Consumption extends TimerEntry implements Dependent {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #presence: Presence;
  readonly #options: ConsumptionOptions;
  readonly #patterns = new Map<LogSeat, string>();
  readonly #seats = new Set<LogSeat>();
  /** Who is about to be added. */
  readonly #reserved = new Set<LogSeat>();
  readonly #topics = new Map<string, Topic>();
  /** Logs that are being joined, by address. */
  readonly #joining = new Map<string, Promise<void>>();
  readonly #readers = new Map<string, Promise<Reader>>();
  /** Other consumers of the group that hold something. */
  #others = new Set<string>();
  readonly #origin = new LastText();
  readonly #soon = () => this.#flushSoon();
  #flushing = false;
  #closed = false;

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    presence: Presence,
    options: ConsumptionOptions,
  ) {
    super();
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#presence = presence;
    this.#options = options;
    if (options.kept) presence.depend(this);
  }

  /** Whether nobody takes anything. */
  get idle(): boolean {
    return this.#seats.size === 0 && this.#reserved.size === 0;
  }

  /** Somebody will be added. */
  reserve(seat: LogSeat): void {
    this.#reserved.add(seat);
  }

  /**
   * Adds somebody who takes entries; resolves when every entry from now on is theirs.
   *
   * @param seat Who.
   * @param pattern The addresses.
   */
  async add(seat: LogSeat, pattern: string): Promise<void> {
    this.#patterns.set(seat, pattern);
    this.#reserved.delete(seat);
    this.#seats.add(seat);
    for (const topic of this.#topics.values()) topic.seats = undefined;
    const addresses = isPattern(pattern)
      ? (await this.#connections.main.smembers(this.#names.logs)).filter((each) =>
        matches(pattern, each)
      )
      : [pattern];
    for (const address of addresses) await this.#join(address, undefined);
    if (this.#options.kept && this.wheelList === undefined) this.#armSweep();
  }

  /** Takes somebody out; what it is not done with is given to another consumer of the group. */
  remove(seat: LogSeat): void {
    this.#reserved.delete(seat);
    this.#seats.delete(seat);
    this.#patterns.delete(seat);
    for (const topic of this.#topics.values()) topic.seats = undefined;
  }

  /** A speaker has told of its log. */
  async told(address: string, last: string): Promise<void> {
    const wanted = [...this.#patterns.values()].some((pattern) => matches(pattern, address));
    if (wanted && !this.#topics.has(address)) await this.#join(address, last);
  }

  /** Somebody can take more. */
  wake(): void {
    for (const reader of this.#readers.values()) {
      reader.then(({ loop }) => loop.wake()).catch(() => {});
    }
  }

  /** As {@link Dependent.dependsOn}. */
  dependsOn(): Iterable<string> {
    return this.#others;
  }

  /** As {@link Dependent.died}. */
  died(bay: string): void {
    if (!this.#others.delete(bay)) return;
    for (const topic of this.#topics.values()) {
      void this.#claim(topic, bay, 0).catch((error) => this.#trouble(error, topic));
    }
  }

  /** Time to see what others hold for too long. */
  override expire(): void {
    void this.#sweep().catch(() => {
      // The connection was lost: later.
    }).finally(() => {
      if (!this.#closed) this.#armSweep();
    });
  }

  /** Ends it; the group goes, too, unless it is kept. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.timers.disarm(this);
    this.#presence.release(this);
    const readers = await Promise.allSettled(this.#readers.values());
    for (const each of readers) if (each.status === "fulfilled") await each.value.loop.stop();
    if (!this.#connections.up) return;
    await this.#flush();
    const { main } = this.#connections;
    const { group, kept } = this.#options;
    const work: Promise<unknown>[] = [];
    for (const each of readers) {
      if (each.status === "fulfilled") work.push(main.del(each.value.wake));
    }
    if (!kept) {
      for (const { key } of this.#topics.values()) work.push(main.xgroup("DESTROY", key, group));
    }
    await Promise.allSettled(work);
  }

  /** Reads a log from now on; whoever asks for the same meanwhile waits for the same. */
  #join(address: string, from: string | undefined): Promise<void> {
    const under = this.#joining.get(address);
    if (under !== undefined) return under;
    if (this.#topics.has(address)) return Promise.resolve();
    const joining = this.#joinNow(address, from).finally(() => this.#joining.delete(address));
    this.#joining.set(address, joining);
    return joining;
  }

  async #joinNow(address: string, from: string | undefined): Promise<void> {
    const key = this.#names.log(address);
    const { main } = this.#connections;
    let start = from ?? this.#options.from ?? "$";
    if (start === "$") {
      const [last] = await main.xrevrange(key, "+", "-", "COUNT", 1);
      start = last?.[0] ?? "0-0";
    }
    const topic: Topic = {
      address,
      key,
      start,
      handed: "0-0",
      open: new Set(),
      failed: new Set(),
      acks: [],
      last: new Map(),
      lastOrigin: "",
      lastSequence: 0,
      seats: undefined,
    };
    this.#topics.set(address, topic);
    try {
      await this.#makeGroup(topic);
      await this.#read(topic);
    } catch (error) {
      this.#topics.delete(address);
      throw error;
    }
  }

  async #makeGroup({ key, start, handed }: Topic): Promise<void> {
    // A group that the server has lost goes on behind what was handed over.
    const from = handed === "0-0" ? start : handed;
    try {
      await this.#connections.main.xgroup("CREATE", key, this.#options.group, from, "MKSTREAM");
    } catch (error) {
      if (!String(error).includes("BUSYGROUP")) throw error;
    }
  }

  async #read(topic: Topic): Promise<void> {
    const name = readerOf(topic.address, this.#connections.clustered);
    const known = this.#readers.get(name);
    if (known !== undefined) {
      const { topics, wake, loop } = await known;
      topics.add(topic);
      await this.#connections.main.xadd(wake, "MAXLEN", "=", 1, "*", "wake", "");
      loop.wake();
      return;
    }
    const reader = this.#makeReader(name, topic);
    this.#readers.set(name, reader);
    reader.catch(() => this.#readers.delete(name));
    await reader;
  }

  async #makeReader(name: string, topic: Topic): Promise<Reader> {
    const topics = new Set([topic]);
    const { id } = this.#context.identity;
    const { group } = this.#options;
    const wake = this.#names.wake(moduleOf(topic.address), id, `logs-${name}-${group}`);
    const makeAll = async () => {
      const { main } = this.#connections;
      await main.xgroup("CREATE", wake, group, "$", "MKSTREAM").catch((error) => {
        if (!String(error).includes("BUSYGROUP")) throw error;
      });
      for (const each of topics) await this.#makeGroup(each);
    };
    await makeAll();
    const loop = new ReadLoop(this.#connections, {
      what: "reading shouts",
      verb: "xreadgroup",
      command: () => {
        let room = BATCH;
        for (const seat of this.#seats) room = Math.min(room, seat.room);
        if (room <= 0 || this.#seats.size === 0) return undefined;
        const keys = [...topics].map((each) => each.key);
        keys.push(wake);
        const head = ["GROUP", group, id, "COUNT", String(room), "BLOCK", "0", "STREAMS"];
        return [...head, ...keys, ...keys.map(() => ">")];
      },
      take: (read) => this.#take(read, false),
      recover: (client) => this.#recover(client, topics, makeAll),
      refused: makeAll,
      report: (error) => this.#context.report(error),
    });
    await loop.start();
    return { loop, topics, wake };
  }

  /** What was given to this consumer but lost on the way, and acknowledgements that were lost. */
  async #recover(
    client: Client,
    topics: Iterable<Topic>,
    makeAll: () => Promise<void>,
  ): Promise<void> {
    await makeAll();
    await this.#flush();
    const { id } = this.#context.identity;
    const { group } = this.#options;
    for (const { key } of topics) {
      const args = ["GROUP", group, id, "STREAMS", key, "0"] as const;
      const read = await client.xreadgroupBuffer(
        ...args as unknown as ["GROUP", string, string, "STREAMS", string, string],
      ) as
        | Read
        | null;
      if (read !== null) this.#take(read, true);
    }
  }

  #take(read: Read, again: boolean): void {
    for (const [rawKey, entries] of read) {
      const key = rawKey.toString();
      const topic = this.#topicOf(key);
      if (topic === undefined) {
        const ids = entries.map(([id]) => id.toString());
        this.#connections.main.xack(key, this.#options.group, ...ids).catch(() => {});
        continue;
      }
      for (const [rawId, flat] of entries) {
        const id = textOf(rawId);
        if (topic.open.has(id) || topic.failed.has(id)) continue;
        // Already done with: its acknowledgement was lost. Or trimmed meanwhile.
        if (flat === null || (again && !isAfter(id, topic.handed))) topic.acks.push(id);
        // What was lost on the way here is as new as the rest: nobody has seen it.
        else this.#hand(topic, id, flat, false);
      }
    }
    if (this.#topicsWithAcks()) this.#flushSoon();
  }

  #topicOf(key: string): Topic | undefined {
    for (const topic of this.#topics.values()) if (topic.key === key) return topic;
    return undefined;
  }

  #hand(topic: Topic, id: string, flat: readonly Buffer[], redelivered: boolean): void {
    const fields = readFields(flat);
    topic.failed.delete(id);
    // New entries come in order.
    if (!redelivered || isAfter(id, topic.handed)) topic.handed = id;
    const origin = fields.origin === undefined ? undefined : this.#origin.read(fields.origin);
    const sequence = numberOf(fields.seq);
    if (origin !== undefined && !redelivered) {
      if (topic.lastOrigin !== origin) {
        topic.last.set(topic.lastOrigin, topic.lastSequence);
        if (topic.last.size > MAX_ORIGINS) {
          topic.last.delete(topic.last.keys().next().value as string);
        }
        topic.lastOrigin = origin;
        topic.lastSequence = topic.last.get(origin) ?? 0;
      }
      if (sequence <= topic.lastSequence) {
        // Its speaker has sent it again, because it could not know that it had arrived.
        this.#context.statistics.countDrop("duplicate");
        return void topic.acks.push(id);
      }
      if (sequence > 0) topic.lastSequence = sequence;
    }
    const seats = topic.seats ??= [...this.#seats].filter((seat) => seat.accepts(topic.address));
    const entry = new LogEntry(topic, id, fields, origin, sequence, redelivered, this.#soon);
    if (entry.hand(seats)) topic.acks.push(id);
    else topic.open.add(id);
  }

  #topicsWithAcks(): boolean {
    for (const { acks } of this.#topics.values()) if (acks.length > 0) return true;
    return false;
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      if (this.#connections.up) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const { main } = this.#connections;
    const work: Promise<unknown>[] = [];
    for (const topic of this.#topics.values()) {
      if (topic.acks.length === 0) continue;
      const ids = topic.acks;
      topic.acks = [];
      work.push(
        main.xack(topic.key, this.#options.group, ...ids).catch((error) => {
          // They are acknowledged again when the connection is back.
          topic.acks.push(...ids);
          if (this.#connections.up) this.#trouble(error, topic);
        }),
      );
    }
    await Promise.all(work);
  }

  #armSweep(): void {
    this.#context.timers.arm(this, Math.min(SWEEP_MS, this.#config.claimIdleMs));
  }

  /** Sees who holds what: the dead are noticed, and what is held for too long is taken over. */
  async #sweep(): Promise<void> {
    if (!this.#connections.up) return;
    const { group } = this.#options;
    const others = new Set<string>();
    for (const topic of this.#topics.values()) {
      const [count, , , consumers] = await this.#connections.main.xpending(topic.key, group) as [
        number,
        string,
        string,
        [string, string][] | null,
      ];
      if (count === 0) continue;
      for (const [consumer] of consumers ?? []) {
        if (consumer !== this.#context.identity.id) others.add(consumer);
        await this.#claim(topic, consumer, this.#config.claimIdleMs);
      }
    }
    this.#others = others;
    if (others.size > 0) this.#presence.nudge();
  }

  /** Takes over what a consumer has held for so long. */
  async #claim(topic: Topic, consumer: string, idleMs: number): Promise<void> {
    const { main } = this.#connections;
    const { group } = this.#options;
    const { id: me } = this.#context.identity;
    let after = "-";
    for (;;) {
      const held = await main.xpending(
        topic.key,
        group,
        "IDLE",
        idleMs,
        after,
        "+",
        128,
        consumer,
      ) as [string][];
      const ids = held.map(([id]) => id).filter((id) => !topic.open.has(id));
      if (ids.length > 0) {
        const claimed = await inBytes(main).xclaimBuffer(
          topic.key,
          group,
          me,
          idleMs,
          ...ids,
        ) as (readonly [Buffer, Buffer[]] | null)[];
        for (const each of claimed) {
          if (each === null || this.#closed) continue;
          const id = each[0].toString();
          if (!topic.open.has(id)) this.#hand(topic, id, each[1], true);
        }
        if (this.#topicsWithAcks()) this.#flushSoon();
      }
      if (held.length < 128 || this.#closed) return;
      after = `(${held[held.length - 1][0]}`;
    }
  }

  #trouble(error: unknown, topic: Topic): void {
    const known = this.#connections.explain(error, topic.address);
    if (known.code === "closed") return;
    this.#context.report(
      PatchbayError.fromThrown(known).with({ pattern: "speaker", address: topic.address }),
    );
  }
}
