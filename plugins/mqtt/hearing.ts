/**
 * Shouts on their way in: what this bay has subscribed to, and which listeners each message is for.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type EventContext,
  type Headers,
  type ListenerEndpoint,
  type ListenerSource,
  PatchbayError,
  type Registration,
  SequenceWindow,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import type { Receipt } from "./acks.ts";
import { listeningQos, type ResolvedConfig } from "./config.ts";
import type { Connection } from "./connection.ts";
import { nativeTopic } from "./native.ts";
import type { Packet } from "./packets.ts";
import type { Payloads } from "./payload.ts";
import type { Presence } from "./presence.ts";
import type { Subscriptions, Wish } from "./subscriptions.ts";
import { headersOf, topicMatches, type Topics, withoutGroup } from "./topics.ts";

/** So many pairs of origin and address are remembered, to tell what has come twice. */
const MAX_ORIGINS = 4096;
/** So many topics are remembered whose kept value a listener has had. */
const MAX_KEPT = 65_536;
/** How long a message of a kept session waits for its listener, in milliseconds. */
const UNCLAIMED_MS = 10_000;
/** How many of them. */
const MAX_UNCLAIMED = 1024;

/** A message, read. */
class Event implements EventContext {
  readonly address: string;
  readonly sequence: number;
  readonly origin: string;
  readonly headers: Headers | undefined;
  readonly priority: number;
  readonly retained: boolean;
  readonly peer = undefined;
  /** What is acknowledged when it is handled. */
  readonly receipt: Receipt | undefined;

  constructor(address: string, read: Read, retained: boolean, receipt: Receipt | undefined) {
    this.address = address;
    this.sequence = read.sequence;
    this.origin = read.origin;
    this.headers = read.headers;
    this.priority = read.priority;
    this.retained = retained;
    this.receipt = receipt;
  }
}

/** What came beside a payload. */
interface Read {
  readonly address: string;
  readonly origin: string;
  readonly sequence: number;
  readonly headers: Headers | undefined;
  readonly priority: number;
  readonly type: string | undefined;
}

/** A listener on its subscriptions. */
interface Seat {
  readonly endpoint: ListenerEndpoint;
  readonly source: ListenerSource;
  /** The user's own filter. */
  readonly native: string | undefined;
  readonly filters: readonly string[];
  /** Its part in the subscriptions to them. */
  readonly wish: Wish;
  /** Topics whose kept value it has had, or does not need any more. */
  readonly had: Set<string> | undefined;
  /** With overflow `block`: what it cannot take yet. */
  readonly backlog: { value: unknown; context: EventContext }[];
  /** Messages that it has and has not handled. */
  readonly open: Set<Receipt>;
  closed: boolean;
}

/** The listeners of one filter. */
interface Row {
  readonly filter: string;
  identifier: number;
  seats: readonly Seat[];
  /** Which pairs of origin and address have sent which numbers. */
  readonly seen: Map<string, SequenceWindow>;
  /** The pair that was looked up last. */
  last?: { readonly origin: string; readonly address: string; readonly window: SequenceWindow };
}

/** A message that came before its listener. */
class Unclaimed extends TimerEntry {
  readonly receipt: Receipt;
  readonly again: () => boolean;
  readonly #late: (self: Unclaimed) => void;

  constructor(receipt: Receipt, again: () => boolean, late: (self: Unclaimed) => void) {
    super();
    this.receipt = receipt;
    this.again = again;
    this.#late = late;
  }

  override expire(): void {
    this.#late(this);
  }
}

/** Everything this bay hears. */
export class Hearing {
  readonly #connection: Connection;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #topics: Topics;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #subscriptions: Subscriptions;
  readonly #rows = new Map<string, Row>();
  readonly #byIdentifier = new Map<number, Row>();
  /** Without identifiers: which rows a topic belongs to. */
  readonly #byTopic = new Map<string, readonly Row[]>();
  readonly #unclaimed = new Set<Unclaimed>();
  /** Whether what a process has not handled comes again to the next one. */
  readonly #kept: boolean;

  constructor(
    connection: Connection,
    config: ResolvedConfig,
    context: TransportContext,
    topics: Topics,
    payloads: Payloads,
    presence: Presence,
    subscriptions: Subscriptions,
  ) {
    this.#connection = connection;
    this.#config = config;
    this.#context = context;
    this.#topics = topics;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#subscriptions = subscriptions;
    this.#kept = config.clientId !== undefined;
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    const native = nativeTopic(endpoint.native);
    const { pattern } = endpoint;
    const plain = native === undefined ? this.#topics.filters(pattern) : [native.topic];
    const { group } = this.#config;
    const seat: Seat = {
      endpoint,
      source: endpoint.attach(),
      native: native?.topic,
      filters: group === undefined ? plain : plain.map((each) => `$share/${group}/${each}`),
      wish: {
        qos: native?.qos ?? listeningQos(this.#config, pattern),
        noLocal: true,
        fresh: !endpoint.retained,
        marked: true,
      },
      had: endpoint.retained ? new Set() : undefined,
      backlog: [],
      open: new Set(),
      closed: false,
    };
    this.#watch(seat);
    // What was shouted before is with the broker then.
    if (endpoint.retained) await this.#presence.acquaint(pattern);
    let leave: () => Promise<void>;
    try {
      const entering = this.#subscriptions.enter(seat.filters, seat.wish);
      for (const filter of seat.filters) this.#sit(seat, filter);
      await entering;
      for (const each of [...this.#unclaimed]) if (each.again()) this.#claimed(each);
      leave = await this.#presence.listen(pattern);
    } catch (error) {
      await this.#leave(seat);
      throw error;
    }
    await this.#presence.acquaint(pattern);
    let closing: Promise<void> | undefined;
    return {
      close: () =>
        closing ??= (async () => {
          await this.#leave(seat);
          await leave();
        })(),
    };
  }

  /** The connection is there again: what was kept meanwhile is news to who wants it. */
  back(): void {
    for (const { seats } of this.#rows.values()) for (const { had } of seats) had?.clear();
  }

  /** Ends the waits. */
  close(): void {
    for (const each of this.#unclaimed) this.#context.timers.disarm(each);
    this.#unclaimed.clear();
  }

  /**
   * A message has come.
   *
   * @param topic Its topic.
   * @param payload The value.
   * @param packet What came with it.
   * @returns Whether somebody listens to it.
   */
  heard(topic: string, payload: Buffer, packet: Packet): boolean {
    const shouted = topic.startsWith(this.#topics.shouts);
    const read = this.#read(topic, packet, shouted);
    // A bay's own shouts come over in_process.
    if (read.origin === this.#context.identity.id) return true;
    // Not a shout: the broker has been told to keep nothing any longer.
    if (payload.length === 0 && read.sequence === 0 && read.type === undefined) return true;
    const receipt = this.#connection.acks.current;
    const deliver = () => this.#deliver(topic, read, payload, packet, shouted, receipt);
    if (deliver()) return true;
    if (receipt === undefined || !this.#kept || packet.retain) return false;
    return this.#keep(receipt, deliver);
  }

  #deliver(
    topic: string,
    read: Read,
    payload: Buffer,
    packet: Packet,
    shouted: boolean,
    receipt: Receipt | undefined,
  ): boolean {
    let known = false;
    for (const row of this.#of(topic, packet)) {
      if (row.seats.length > 0) known = true;
      if (!packet.retain && this.#twice(row, read)) {
        this.#context.statistics.countDrop("duplicate");
        continue;
      }
      for (const seat of row.seats) {
        this.#give(seat, topic, read, payload, packet.retain, shouted, receipt);
      }
    }
    return known;
  }

  #give(
    seat: Seat,
    topic: string,
    read: Read,
    payload: Buffer,
    retained: boolean,
    shouted: boolean,
    receipt: Receipt | undefined,
  ): void {
    const { endpoint, had } = seat;
    let { address } = read;
    if (seat.native !== undefined) {
      // A filter with wildcards has no address of its own: the topic tells what it is about.
      address = /[+#*]/.test(seat.native + endpoint.pattern) ? topic : endpoint.pattern;
    } else if (!shouted || !endpoint.accepts(address)) return;
    if (retained && (had === undefined || had.has(topic))) return;
    if (had !== undefined && had.size < MAX_KEPT) had.add(topic);
    const { statistics } = endpoint;
    statistics.bytesIn += payload.length;
    let value: unknown;
    try {
      value = this.#payloads.decode(payload, read.type ?? endpoint.codec);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countDrop(known.code === "too_large" ? "too_large" : "undecodable");
      return this.#context.report(
        known.with({ pattern: "speaker", transport: this.#context.name, address }),
      );
    }
    const blocks = endpoint.overflow === "block";
    const held = receipt !== undefined && (this.#kept || blocks) ? receipt : undefined;
    const event = new Event(address, read, retained, held);
    if (held !== undefined) {
      held.hold();
      seat.open.add(held);
      if (blocks && (seat.source.full || seat.backlog.length > 0)) {
        // The broker holds back what comes behind what is not acknowledged.
        seat.backlog.push({ value, context: event });
        return;
      }
    }
    seat.source.deliver(value, event);
  }

  #watch(seat: Seat): void {
    const { source, endpoint } = seat;
    source.onHandled = (context) => {
      const { receipt } = context as Event;
      if (receipt !== undefined && seat.open.delete(receipt)) receipt.settle();
    };
    if (endpoint.overflow !== "block") return;
    source.onConsumed = () => {
      while (seat.backlog.length > 0 && !source.full) {
        const { value, context } = seat.backlog.shift() as Seat["backlog"][0];
        source.deliver(value, context);
      }
    };
  }

  /** Whether it has come already: the broker sends again what it does not know to have arrived. */
  #twice(row: Row, { origin, sequence, address }: Read): boolean {
    if (!this.#config.deduplicate || sequence === 0) return false;
    const { seen, last } = row;
    // Most come from where the one before came from.
    if (last !== undefined && last.origin === origin && last.address === address) {
      return !last.window.add(sequence);
    }
    const key = `${origin} ${address}`;
    let window = seen.get(key);
    if (window === undefined) {
      if (seen.size >= MAX_ORIGINS) seen.delete(seen.keys().next().value as string);
      seen.set(key, window = new SequenceWindow());
    }
    row.last = { origin, address, window };
    return !window.add(sequence);
  }

  /** The rows that a message is for. */
  #of(topic: string, { properties }: Packet): readonly Row[] {
    const told = properties?.subscriptionIdentifier;
    if (typeof told === "number") {
      const one = this.#byIdentifier.get(told);
      return one === undefined ? [] : [one];
    } else if (told !== undefined) {
      const all = told.map((each) => this.#byIdentifier.get(each));
      return all.filter((each) => each !== undefined);
    }
    let known = this.#byTopic.get(topic);
    if (known === undefined) {
      known = [...this.#rows.values()].filter(({ filter }) =>
        topicMatches(withoutGroup(filter), topic)
      );
      if (this.#byTopic.size >= MAX_ORIGINS) this.#byTopic.clear();
      this.#byTopic.set(topic, known);
    }
    return known;
  }

  #read(topic: string, { properties }: Packet, shouted: boolean): Read {
    const { address, tail } = shouted
      ? this.#topics.read(topic, this.#topics.shouts)
      : { address: topic, tail: undefined };
    if (tail !== undefined) {
      const { bay, id, marks } = tail;
      return {
        address,
        origin: bay,
        sequence: number(id),
        headers: headersOf(marks),
        priority: priorityOf(marks["pb-priority"]),
        type: marks["pb-type"],
      };
    }
    const marks = properties?.userProperties;
    const type = properties?.contentType;
    if (marks === undefined) {
      return { address, origin: "", sequence: 0, headers: undefined, priority: 128, type };
    }
    const id = marks["pb-id"];
    const colon = typeof id === "string" ? id.lastIndexOf(":") : -1;
    return {
      address,
      origin: colon < 0 ? "" : (id as string).slice(0, colon),
      sequence: colon < 0 ? 0 : number((id as string).slice(colon + 1)),
      headers: headersOf(marks),
      priority: priorityOf(marks["pb-priority"]),
      type,
    };
  }

  #sit(seat: Seat, filter: string): void {
    const identifier = this.#subscriptions.identifier(filter);
    let row = this.#rows.get(filter);
    if (row === undefined) {
      row = { filter, identifier, seats: [], seen: new Map() };
      this.#rows.set(filter, row);
      this.#byTopic.clear();
    }
    // Another one, if who sat here before is just being refused.
    this.#byIdentifier.delete(row.identifier);
    row.identifier = identifier;
    this.#byIdentifier.set(identifier, row);
    row.seats = [...row.seats, seat];
  }

  async #leave(seat: Seat): Promise<void> {
    if (seat.closed) return;
    seat.closed = true;
    for (const filter of seat.filters) {
      const row = this.#rows.get(filter);
      if (row === undefined) continue;
      row.seats = row.seats.filter((each) => each !== seat);
      if (row.seats.length > 0) continue;
      this.#rows.delete(filter);
      this.#byIdentifier.delete(row.identifier);
      this.#byTopic.clear();
    }
    seat.source.close();
    this.#release(seat);
    // A session that is kept goes on hearing for the process that comes next.
    await this.#subscriptions.leave(seat.filters, seat.wish, this.#kept);
  }

  /** What a listener had and has not handled comes to the next process, or to nobody. */
  #release({ open }: Seat): void {
    if (this.#kept) return;
    for (const receipt of open) receipt.settle();
    open.clear();
  }

  #keep(receipt: Receipt, again: () => boolean): boolean {
    if (this.#unclaimed.size >= MAX_UNCLAIMED) return false;
    receipt.hold();
    const one = new Unclaimed(receipt, again, (self) => {
      this.#claimed(self);
      this.#context.statistics.countDrop("unclaimed");
    });
    this.#unclaimed.add(one);
    this.#context.timers.arm(one, UNCLAIMED_MS);
    return true;
  }

  #claimed(one: Unclaimed): void {
    this.#unclaimed.delete(one);
    this.#context.timers.disarm(one);
    one.receipt.settle();
  }
}

function number(text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function priorityOf(text: unknown): number {
  if (typeof text !== "string") return 128;
  const value = Number(text);
  return Number.isInteger(value) && value >= 0 && value <= 255 ? value : 128;
}
