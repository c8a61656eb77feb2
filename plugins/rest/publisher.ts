/**
 * Speakers as event streams: who has subscribed, what is sent again to a client that comes back, and
 * the sending side of a shout.
 *
 * @module
 */

import {
  checkPattern,
  type EventContext,
  isPattern,
  matches,
  PatchbayError,
  type SpeakerEndpoint,
  type SpeakerPort,
  type TransportContext,
} from "@patchbay/core";
import type { RestConfig } from "./config.ts";
import { wholeAnswer } from "./bodies.ts";
import { encodeEvent, encodePosition, type EventFacts } from "./events.ts";
import type { EventStream, StreamOverflow, Streams } from "./event_stream.ts";
import { FROM, readSender } from "./headers.ts";
import { nameOf } from "./names.ts";
import type { Answer, RestContext } from "./router.ts";
import type { RestServer } from "./server.ts";
import { problemResponse } from "./statuses.ts";

/** How long what was shouted is kept when nobody listens any more, in milliseconds. */
const REMEMBER_MS = 60_000;
/** How long a new speaker waits for the listeners that the directory names, in milliseconds. */
const READY_MS = 1000;
/** The most events that one client may have waiting, whatever it asks for. */
const MAX_QUEUE = 65_536;

/** A shout, ready to be sent, and kept for who comes back. */
interface Entry {
  readonly number: number;
  readonly address: string;
  /** For who listens to the address. */
  readonly plain: Uint8Array;
  /** For who listens to a pattern: the event is called by its address. */
  named: Uint8Array | undefined;
  readonly name: (entry: Entry) => Uint8Array;
}

/** A client that listens. */
interface Subscription {
  readonly pattern: string;
  readonly wild: boolean;
  readonly stream: EventStream;
  /** The id of the bay behind it; empty for a program without Patchbay. */
  readonly bay: string;
}

/** What the publisher needs. */
export interface PublisherParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: RestConfig;
  /** The server. */
  readonly server: RestServer;
  /** The open streams. */
  readonly streams: Streams;
}

/** The speakers of one bay and their subscribers. */
export class Publisher {
  readonly #parts: PublisherParts;
  readonly #ways = new Set<SpeakWay>();
  readonly #subscriptions = new Set<Subscription>();
  /** What was shouted lately, oldest first. */
  #log: Entry[] = [];
  #logBytes = 0;
  #number = 0;
  /** Whether there is, or was a short while ago, somebody who may come back. */
  #remembering = false;
  #forgetting: ReturnType<typeof setTimeout> | undefined;

  /** @param parts What it needs. */
  constructor(parts: PublisherParts) {
    this.#parts = parts;
  }

  /** What is spoken here. */
  get speakers(): SpeakerEndpoint[] {
    return [...this.#ways].map((way) => way.endpoint);
  }

  /**
   * Puts a speaker on its route.
   *
   * @param endpoint The speaker.
   * @throws {PatchbayError} `unavailable`: its path is taken.
   */
  speak(endpoint: SpeakerEndpoint): SpeakerPort {
    const { server, config } = this.#parts;
    const { address } = endpoint;
    const removals: (() => void)[] = [];
    if (![...this.#ways].some((way) => way.endpoint.address === address)) {
      const { path } = nameOf(address, endpoint.contract.native?.rest, config.names);
      const own = `/${address}`;
      const answer: Answer = (context) => this.subscribe(context, address);
      try {
        for (const each of path === own ? [own] : [path, own]) {
          removals.push(server.router.add({ method: "GET", path: each, what: address, answer }));
        }
      } catch (error) {
        for (const remove of removals) remove();
        throw error;
      }
    }
    const way = new SpeakWay(endpoint, this, removals);
    this.#ways.add(way);
    for (const one of this.#subscriptions) way.join(one);
    return way;
  }

  /** @ignore A speaker has closed: its route goes over to another of the same address. */
  silence(way: SpeakWay): void {
    this.#ways.delete(way);
    const heir = [...this.#ways].find((one) => one.endpoint.address === way.endpoint.address);
    if (heir === undefined) { for (const remove of way.removals) remove(); }
    else heir.removals.push(...way.removals);
  }

  /** Forgets everything, and ends no stream: {@link Streams.close} does. */
  close(): void {
    clearTimeout(this.#forgetting);
    this.#forget();
  }

  /**
   * Answers a client that listens.
   *
   * @param context The request.
   * @param pattern What it listens to.
   */
  async subscribe(context: RestContext, pattern: string): Promise<Response> {
    const { server } = this.#parts;
    const request = context.req.raw;
    const { headers } = request;
    try {
      if (server.asks) await server.authorize(request, context.env, "listen", pattern);
    } catch (error) {
      return server.refuse(PatchbayError.fromThrown(error));
    }
    if (request.method === "HEAD") {
      return new Response(null, { headers: { "content-type": "text/event-stream" } });
    }
    const accept = headers.get("accept") ?? "*/*";
    if (!/text\/(event-stream|\*)|\*\/\*/.test(accept)) return this.#lastValue(pattern);
    const query = new URL(request.url).searchParams;
    let subscription: Subscription;
    try {
      const { bay } = readSender(headers.get(FROM));
      const bounds = {
        maxBytes: this.#parts.config.maxQueueBytes,
        maxQueue: readQueue(query.get("max_queue")),
        overflow: readOverflow(query.get("overflow")),
        cut: context.env.cut,
      };
      const stream = this.#parts.streams.open(bounds, 200, {}, () => this.#left(subscription));
      subscription = { pattern, wild: isPattern(pattern), stream, bay };
    } catch (error) {
      return server.refuse(PatchbayError.fromThrown(error));
    }
    const { stream } = subscription;
    const resumed = this.#replay(
      subscription,
      headers.get("last-event-id") ?? query.get("last_event_id"),
    );
    stream.push(encodePosition(this.#id(this.#number)));
    this.#subscriptions.add(subscription);
    this.#remember();
    const wants = query.get("retained");
    const retained = !resumed && (wants === "" || wants === "1" || wants === "true");
    for (const way of this.#ways) {
      if (way.join(subscription) && retained) this.#retained(way.endpoint, subscription);
    }
    return stream.response;
  }

  /** @ignore Sends a shout to who listens. */
  publish(
    endpoint: SpeakerEndpoint,
    value: unknown,
    context: EventContext,
    subscriptions: readonly Subscription[],
  ): void {
    if (subscriptions.length === 0 && !this.#remembering) return;
    const { bodies } = this.#parts.server;
    const { address, statistics } = endpoint;
    const body = bodies.encode(value, endpoint.contract.codec);
    const number = ++this.#number;
    const facts = factsOf(context);
    const id = this.#id(number);
    const entry: Entry = {
      number,
      address,
      plain: encodeEvent(undefined, id, body, facts),
      named: undefined,
      name: (one) => one.named ??= encodeEvent(address, id, body, facts),
    };
    for (const { stream, wild } of subscriptions) {
      const bytes = wild ? entry.name(entry) : entry.plain;
      statistics.bytesOut += body.bytes?.length ?? 0;
      stream.push(bytes, statistics);
    }
    this.#keep(entry);
  }

  /** @ignore How many listeners of an address the directory names, by the ids of their bays. */
  async listenersOf(address: string): Promise<Map<string, number>> {
    const { directory, name } = this.#parts.context;
    const found = new Map<string, number>();
    for (const { id, endpoints } of await directory?.refresh() ?? []) {
      const listeners = endpoints.filter((e) =>
        e.role === "listener" && e.wires.includes(name) && matches(e.address, address)
      );
      if (listeners.length > 0) found.set(id, listeners.length);
    }
    return found;
  }

  #id(number: number): string {
    return `${this.#parts.context.identity.id}.${number}`;
  }

  /** Somebody asks for a state, not for a stream. */
  #lastValue(pattern: string): Response {
    const { server } = this.#parts;
    const way = [...this.#ways].find(({ endpoint }) =>
      endpoint.address === pattern && endpoint.last !== undefined
    );
    if (way?.endpoint.last === undefined) {
      const error = new PatchbayError("not_found", `${pattern} keeps no last value`, {
        remedy: "accept text/event-stream, or have the speaker retain",
      });
      return problemResponse(error, 406);
    }
    const { bytes, type } = server.bodies.encode(
      way.endpoint.last.value,
      way.endpoint.contract.codec,
    );
    if (bytes === undefined) return new Response(null, { status: 204 });
    return wholeAnswer(bytes, type, 200, { "cache-control": "no-store" });
  }

  #retained({ last, statistics, contract }: SpeakerEndpoint, { stream, wild }: Subscription): void {
    if (last === undefined) return;
    try {
      const body = this.#parts.server.bodies.encode(last.value, contract.codec);
      const facts: EventFacts = { ...factsOf(last.context), retained: true };
      // Without an id: it stands for no place in the stream.
      const event = wild ? contract.address : undefined;
      stream.push(encodeEvent(event, undefined, body, facts), statistics);
    } catch (error) {
      statistics.countDrop(PatchbayError.fromThrown(error).code);
    }
  }

  #left(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    for (const way of this.#ways) way.leave(subscription);
    if (this.#subscriptions.size > 0 || this.#forgetting !== undefined) return;
    this.#forgetting = setTimeout(() => this.#forget(), REMEMBER_MS);
  }

  #remember(): void {
    this.#remembering = true;
    clearTimeout(this.#forgetting);
    this.#forgetting = undefined;
  }

  #forget(): void {
    this.#forgetting = undefined;
    this.#remembering = false;
    this.#log = [];
    this.#logBytes = 0;
  }

  #keep(entry: Entry): void {
    const { replayEvents, replayBytes } = this.#parts.config;
    this.#log.push(entry);
    this.#logBytes += entry.plain.length;
    while (this.#log.length > replayEvents || this.#logBytes > replayBytes) {
      const oldest = this.#log.shift() as Entry;
      this.#logBytes -= oldest.plain.length;
    }
  }

  /** Sends what a client that comes back has missed; says whether it had been here. */
  #replay({ pattern, wild, stream }: Subscription, lastId: string | null): boolean {
    if (lastId === null || lastId === "") return false;
    const [bay, text] = lastId.split(".");
    const last = Number(text);
    const { identity, statistics } = this.#parts.context;
    // The id of another life of this bay, or of another server: nothing is known of it.
    if (bay !== identity.id || !Number.isInteger(last) || last > this.#number) return false;
    const oldest = this.#log[0]?.number ?? this.#number + 1;
    // How many of them were for this client nobody knows any more: one gap is counted.
    if (last + 1 < oldest) statistics.countDrop("replay_gap");
    for (const entry of this.#log) {
      if (entry.number <= last || !matches(pattern, entry.address)) continue;
      stream.push(wild ? entry.name(entry) : entry.plain, statistics);
    }
    return true;
  }
}

/** The way of one speaker's shouts. */
class SpeakWay implements SpeakerPort {
  readonly endpoint: SpeakerEndpoint;
  /** What takes the routes of its address off. */
  readonly removals: (() => void)[];
  readonly #publisher: Publisher;
  #subscriptions: readonly Subscription[] = [];
  #onJoin: (() => void) | undefined;
  #closed = false;

  constructor(endpoint: SpeakerEndpoint, publisher: Publisher, removals: (() => void)[]) {
    this.endpoint = endpoint;
    this.#publisher = publisher;
    this.removals = removals;
  }

  get listeners(): number {
    return this.#subscriptions.length;
  }

  shout(value: unknown, context: EventContext): void {
    this.#publisher.publish(this.endpoint, value, context, this.#subscriptions);
  }

  /** A client has come; says whether it listens to this. */
  join(subscription: Subscription): boolean {
    if (!matches(subscription.pattern, this.endpoint.address)) return false;
    this.#subscriptions = [...this.#subscriptions, subscription];
    this.#onJoin?.();
    return true;
  }

  leave(subscription: Subscription): void {
    if (!this.#subscriptions.includes(subscription)) return;
    this.#subscriptions = this.#subscriptions.filter((one) => one !== subscription);
  }

  async ready(): Promise<void> {
    const expected = await this.#publisher.listenersOf(this.endpoint.address);
    const missing = () => {
      const there = (id: string) => this.#subscriptions.filter(({ bay }) => bay === id).length;
      return expected.entries().some(([id, count]) => there(id) < count);
    };
    if (!missing()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, READY_MS);
    this.#onJoin = () => {
      if (!missing()) resolve();
    };
    await promise;
    clearTimeout(timer);
    this.#onJoin = undefined;
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#subscriptions = [];
      this.#publisher.silence(this);
    }
    return Promise.resolve();
  }
}

function factsOf({ address, sequence, origin, headers, priority }: EventContext): EventFacts {
  const some = headers !== undefined && Object.keys(headers).length > 0;
  return {
    address,
    sequence,
    origin,
    ...(priority === 128 ? {} : { priority }),
    ...(some ? { headers } : {}),
  };
}

function readQueue(text: string | null): number {
  if (text === null) return 1024;
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return Math.min(number, MAX_QUEUE);
  throw new PatchbayError("invalid", `max_queue: ${text} is no number of events`, {
    details: { path: "max_queue" },
  });
}

function readOverflow(text: string | null): StreamOverflow {
  if (text === null) return "drop_oldest";
  if (text === "drop_oldest" || text === "drop_newest" || text === "fail") return text;
  throw new PatchbayError("invalid", `overflow: ${text} is no policy`, {
    details: { path: "overflow" },
    remedy: "one of drop_oldest, drop_newest, fail",
  });
}

/**
 * Whether a path is a pattern to listen to, such as `/arm/*`.
 *
 * @param path The path.
 */
export function readPattern(path: string): string | undefined {
  const pattern = decodeStars(path.slice(1));
  try {
    return checkPattern(pattern);
  } catch {
    return undefined;
  }
}

function decodeStars(path: string): string {
  return path.replace(/%2a/gi, "*");
}
