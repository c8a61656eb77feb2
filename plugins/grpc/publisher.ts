/**
 * Speakers: `patchbay.v1.Patchbay/Listen`, who has subscribed, and the sending side of a shout.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import {
  checkPattern,
  type EventContext,
  Fifo,
  matches,
  type Overflow,
  PatchbayError,
  type SpeakerEndpoint,
  type SpeakerPort,
} from "@patchbay/core";
import { sizeOf } from "./bodies.ts";
import { type Desk, nothingSaid, type Verdicts } from "./inbound.ts";
import { type ListenRequest, messages, OVERFLOW, PATH } from "./messages.ts";
import { readSender } from "./metadata.ts";
import { type ByteStream, Outflow } from "./outflow.ts";
import { failureOf } from "./statuses.ts";
import type { Unread } from "./unread.ts";

/** How long a new speaker waits for the listeners that the directory names, in milliseconds. */
const READY_MS = 1000;
/** The most events that one client may have waiting, whatever it asks for. */
const MAX_QUEUE = 65_536;
const DEFAULT_QUEUE = 1024;

/** A shout that a full listener holds back. */
interface Held {
  readonly bytes: Buffer;
  readonly resolve: () => void;
}

/** A client that listens. */
class Subscription {
  readonly pattern: string;
  /** The id of the bay behind it; empty for a program without Patchbay. */
  readonly bay: string;
  readonly outflow: Outflow;
  readonly #blocking: boolean;
  readonly #maxQueue: number;
  readonly #held = new Fifo<Held>();
  #credit = 0;

  constructor(request: ListenRequest, bay: string, stream: ByteStream, unread: Unread) {
    this.pattern = request.pattern ?? "";
    this.bay = bay;
    const overflow = overflowOf(request.overflow ?? 0);
    const maxQueue = Math.min(MAX_QUEUE, request.maxQueue || DEFAULT_QUEUE);
    this.#blocking = overflow === "block";
    this.#maxQueue = maxQueue;
    this.#credit = request.credit ?? 0;
    this.outflow = new Outflow(stream, { maxQueue, unread, overflow });
  }

  /** Sends a shout; a promise while the listener is full. */
  send(bytes: Buffer, { address, statistics }: SpeakerEndpoint): void | Promise<void> {
    if (!this.#blocking) return this.outflow.push(bytes, statistics);
    if (this.#credit > 0 && this.#held.length === 0) {
      this.#credit--;
      return this.outflow.push(bytes, statistics);
    }
    if (this.#held.length >= this.#maxQueue) {
      throw new PatchbayError(
        "overloaded",
        `${address}: a blocking listener is full, and ${this.#held.length} shouts wait`,
        {
          pattern: "speaker",
          address,
          details: { maxQueue: this.#maxQueue },
          remedy: "await speaker.shout(), or listen with another overflow policy",
        },
      );
    }
    return new Promise((resolve) => this.#held.push({ bytes, resolve }));
  }

  /** The listener can take so many more. */
  grant(credit: number, counter: { countDrop(reason: string): void }): void {
    this.#credit += credit;
    while (this.#credit > 0) {
      const held = this.#held.shift();
      if (held === undefined) return;
      this.#credit--;
      this.outflow.push(held.bytes, counter);
      held.resolve();
    }
  }

  /** The listener has gone: nobody is held back any longer. */
  drop(counter: { countDrop(reason: string): void }): void {
    this.outflow.drop();
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) {
      counter.countDrop("closed");
      held.resolve();
    }
  }
}

function overflowOf(number: number): Overflow {
  for (const [name, value] of Object.entries(OVERFLOW)) {
    if (value === number) return name as Overflow;
  }
  return "drop_oldest";
}

/** The speakers of one bay and their subscribers. */
export class Publisher {
  readonly #desk: Desk;
  readonly #verdicts: Verdicts;
  readonly #ways = new Set<SpeakWay>();
  readonly #subscriptions = new Set<Subscription>();
  #closed = false;

  /**
   * @param desk What answers share.
   * @param verdicts Who may do what.
   */
  constructor(desk: Desk, verdicts: Verdicts) {
    this.#desk = desk;
    this.#verdicts = verdicts;
    desk.server.stream(`${PATH}Listen`, (stream) => this.#listened(stream));
  }

  /** What is spoken here: one of each address. */
  get spoken(): SpeakerEndpoint[] {
    const spoken = [...this.#ways].map(({ endpoint }) => [endpoint.address, endpoint] as const);
    return [...new Map(spoken).values()];
  }

  /** Opens a speaker. */
  speak(endpoint: SpeakerEndpoint): SpeakerPort {
    const way = new SpeakWay(endpoint, this);
    this.#ways.add(way);
    for (const one of this.#subscriptions) way.join(one);
    return way;
  }

  /** @ignore A speaker has closed. */
  silence(way: SpeakWay): void {
    this.#ways.delete(way);
  }

  /** Ends every stream. */
  close(): void {
    this.#closed = true;
    const error = new PatchbayError("closed", "the speaker's bay is closing");
    for (const { outflow } of this.#subscriptions) outflow.fail(error);
  }

  /** @ignore Sends a shout to who listens. */
  publish(
    endpoint: SpeakerEndpoint,
    value: unknown,
    context: EventContext,
    subscriptions: readonly Subscription[],
  ): void | Promise<void> {
    if (subscriptions.length === 0) return;
    const bytes = this.#event(endpoint, value, context);
    let waits: Promise<void>[] | undefined;
    let refusal: unknown;
    for (const subscription of subscriptions) {
      try {
        const wait = subscription.send(bytes, endpoint);
        if (wait !== undefined) (waits ??= []).push(wait);
      } catch (error) {
        // One listener that is too full must not cost the others their message.
        refusal = error;
      }
    }
    const { statistics } = this.#desk.context;
    statistics.messagesOut += subscriptions.length;
    statistics.bytesOut += bytes.length * subscriptions.length;
    if (refusal !== undefined) throw refusal;
    if (waits !== undefined) return Promise.all(waits).then(() => {});
  }

  /** @ignore How many listeners of an address the directory names, by the ids of their bays. */
  async listenersOf(address: string): Promise<Map<string, number>> {
    const { directory, name } = this.#desk.context;
    const found = new Map<string, number>();
    for (const { id, endpoints } of await directory?.refresh() ?? []) {
      const listeners = endpoints.filter((e) =>
        e.role === "listener" && e.wires.includes(name) && matches(e.address, address)
      );
      if (listeners.length > 0) found.set(id, listeners.length);
    }
    return found;
  }

  #event(
    { contract, statistics }: SpeakerEndpoint,
    value: unknown,
    { address, sequence, origin, headers, priority }: EventContext,
    retained = false,
  ): Buffer {
    const body = this.#desk.bodies.encode(value, contract.codec);
    statistics.bytesOut += sizeOf(body);
    const { json, body: bytes, contentType } = body;
    return messages().event.encode({
      address,
      json,
      body: bytes,
      contentType,
      sequence,
      origin,
      ...(priority === 128 ? {} : { priority }),
      headers: headers ?? {},
      retained,
    });
  }

  #listened(stream: ByteStream): void {
    const { server, context } = this.#desk;
    let subscription: Subscription | undefined;
    const gone = () => {
      if (subscription === undefined) return;
      this.#subscriptions.delete(subscription);
      for (const way of this.#ways) way.leave(subscription);
      subscription.drop(context.statistics);
      subscription = undefined;
    };
    const refuse = (error: unknown) => {
      const known = PatchbayError.fromThrown(error);
      context.statistics.countError(known.code);
      if (subscription !== undefined) subscription.outflow.fail(known);
      else stream.emit("error", failureOf(known));
    };
    stream.on("cancelled", gone);
    stream.on("close", gone);
    stream.on("error", () => {});
    // A client that says nothing more goes on listening; it leaves by cancelling.
    let first = true;
    const read = async (bytes: Buffer) => {
      const request = messages().listenRequest.decode(bytes);
      if (!first) return subscription?.grant(request.credit ?? 0, context.statistics);
      first = false;
      const pattern = checkPattern(request.pattern ?? "");
      if (this.#verdicts.asks) {
        stream.pause();
        await this.#verdicts.check(stream, "listen", pattern);
        stream.resume();
      }
      if (stream.cancelled) return;
      if (this.#closed) throw new PatchbayError("closed", "the speaker's bay is closing");
      const { bay } = readSender(stream.metadata);
      subscription = new Subscription(request, bay, stream, server.unreadOf(stream));
      this.#join(stream, subscription, request.retained === true);
    };
    stream.on("data", (bytes: Buffer) => void read(bytes).catch(refuse));
    stream.on("end", () => first && refuse(nothingSaid("pattern")));
  }

  #join(stream: ByteStream, subscription: Subscription, retained: boolean): void {
    stream.sendMetadata(new Metadata());
    this.#subscriptions.add(subscription);
    for (const way of this.#ways) {
      if (!way.join(subscription) || !retained) continue;
      const { last, statistics } = way.endpoint;
      if (last === undefined) continue;
      try {
        const bytes = this.#event(way.endpoint, last.value, last.context, true);
        subscription.outflow.push(bytes, statistics);
      } catch (error) {
        statistics.countDrop(PatchbayError.fromThrown(error).code);
      }
    }
  }
}

/** The way of one speaker's shouts. */
class SpeakWay implements SpeakerPort {
  readonly endpoint: SpeakerEndpoint;
  readonly #publisher: Publisher;
  #subscriptions: readonly Subscription[] = [];
  #onJoin: (() => void) | undefined;

  constructor(endpoint: SpeakerEndpoint, publisher: Publisher) {
    this.endpoint = endpoint;
    this.#publisher = publisher;
  }

  get listeners(): number {
    return this.#subscriptions.length;
  }

  shout(value: unknown, context: EventContext): void | Promise<void> {
    return this.#publisher.publish(this.endpoint, value, context, this.#subscriptions);
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
    this.#subscriptions = [];
    this.#publisher.silence(this);
    return Promise.resolve();
  }
}
