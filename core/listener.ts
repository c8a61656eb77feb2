/**
 * Listeners: the receiving side of speakers, with its queue, its order and its silence watch.
 *
 * @module
 */

import { matches } from "./address.ts";
import { BytesView, lender } from "./bytes_view.ts";
import type { NativeNames, SpeakerContract } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import { runHook } from "./hook.ts";
import type { BayIdentity, Peer, Registration } from "./plugin.ts";
import { Fifo, Inbox, type Overflow } from "./queue.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { readStamp } from "./bridge/stamp.ts";
import { SequenceWindow } from "./sequence_window.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

/** So many pairs of origin and address are remembered, to tell what has come twice. */
const MAX_ORIGINS = 4096;

/** What a listener learns about a shout besides its value. */
export interface EventContext {
  /** The address it was shouted at. */
  readonly address: string;
  /** Counts the speaker's shouts from 1; a gap means that something was dropped on the way. */
  readonly sequence: number;
  /** The id of the bay it comes from; empty where the wire does not tell. */
  readonly origin: string;
  /** What the speaker sent along. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** 0–255. */
  readonly priority: number;
  /** Whether this is the retained last value, not a fresh shout. */
  readonly retained: boolean;
  /** Who shouted, where the wire tells. */
  readonly peer: Peer | undefined;
}

/** What a listener is called with. What it throws is reported, and the listener goes on. */
export type ListenCallback<ValueOut> = (
  value: ValueOut,
  context: EventContext,
) => void | Promise<void>;

/** How to listen. */
export interface ListenOptions {
  /** The wires to listen on, by plugin name; default: all that are open and can. */
  via?: readonly string[];
  /** What happens to a message that finds the queue full. Default `drop_oldest`. */
  overflow?: Overflow;
  /** The most messages that wait for this listener. Default 1024. */
  maxQueue?: number;
  /** Also get the last value of each speaker that retains it. */
  retained?: boolean;
  /**
   * Only the newest value of each address counts, as for a state: one that waits gives way to a newer
   * one, which is counted as `overwritten`, and {@link Listener.latest} looks for what is newest now.
   * Where memory is shared the values go through slots there, and cost the listener nothing until it
   * looks. With overflow `drop_oldest` (the default) only. Default false.
   */
  latest?: boolean;
  /** Ends the listener. */
  signal?: AbortSignal;
  /** Call `onSilent` when nothing came for so long, in milliseconds; default: the contract's. */
  maxSilenceMs?: number;
  /** Called once for each silence. What it throws is reported. */
  onSilent?: () => void;
}

/** How to listen to bytes without a copy of them. */
export interface ViewOptions extends ListenOptions {
  /**
   * Get bytes as a {@link BytesView} on the memory in which they came: with no copy on wires that
   * have the trait `zeroCopy`, and valid until the callback returns. For values that are bare bytes,
   * and contracts without a schema; needs a callback.
   */
  views: true;
}

/** What a listener needs of its bay. */
export interface ListenerHost {
  /** Who the bay is. */
  readonly identity: BayIdentity;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
}

interface Item {
  value: unknown;
  context: EventContext;
  readonly source: ListenerSource;
}

/** One publisher's connection to a listener: the port delivers through it. */
export class ListenerSource {
  /** Set by the port: `count` messages have left the queue, the publisher may send as many more. */
  onConsumed: ((count: number) => void) | undefined = undefined;
  /** Set by the port: delivers at once what is newer than what was delivered last. */
  onPull: (() => void) | undefined = undefined;
  /**
   * Set by the port: the listener is done with the message that was delivered with this context. Its
   * callback has returned or rejected, its reader has asked for the next one, or it was dropped.
   * Not called for what still waits when the listener closes.
   */
  onHandled: ((context: EventContext) => void) | undefined = undefined;
  /** How many messages of this source wait. */
  waiting = 0;
  readonly #endpoint: ListenerEndpoint;
  /** Messages of a speaker in this process that is held back. */
  readonly #held = new Fifo<Held>();

  /** @ignore Made by the endpoint. */
  constructor(endpoint: ListenerEndpoint) {
    this.#endpoint = endpoint;
  }

  /** Whether the listener can take no more from this source. */
  get full(): boolean {
    return this.waiting >= this.#endpoint.maxQueue;
  }

  /**
   * Delivers one message.
   *
   * @param value The decoded value.
   * @param context What came with it.
   */
  deliver(value: unknown, context: EventContext): void {
    this.#endpoint.deliver(value, context, this);
  }

  /**
   * Delivers one message of a speaker in this process. With overflow `block` and a full queue it
   * answers with a promise that resolves when the message has been taken.
   *
   * @param value The value.
   * @param context What came with it.
   * @throws {PatchbayError} `overloaded`: the speaker did not await, and twice the bound is full.
   */
  offer(value: unknown, context: EventContext): void | Promise<void> {
    const endpoint = this.#endpoint;
    if (endpoint.overflow !== "block" || (!this.full && this.#held.length === 0)) {
      return endpoint.deliver(value, context, this);
    }
    if (endpoint.ended) return;
    if (this.#held.length >= endpoint.maxQueue) {
      throw new PatchbayError(
        "overloaded",
        `${context.address}: a blocking listener is full, and ${this.#held.length} shouts wait`,
        {
          pattern: "speaker",
          address: context.address,
          details: { maxQueue: endpoint.maxQueue },
          remedy: "await speaker.shout(), or listen with another overflow policy",
        },
      );
    }
    return new Promise((resolve) => this.#held.push({ value, context, resolve }));
  }

  /** @ignore A message of this source has left the queue. */
  released(): void {
    const held = this.#held.shift();
    if (held !== undefined) {
      this.#endpoint.deliver(held.value, held.context, this);
      held.resolve();
    } else this.onConsumed?.(1);
  }

  /** @ignore The listener has ended: nobody is held back any longer. */
  release(): void {
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) {
      this.#endpoint.statistics.countDrop("closed");
      held.resolve();
    }
  }

  /** The publisher is gone. */
  close(): void {
    this.release();
    this.#endpoint.detach(this);
  }
}

interface Held {
  readonly value: unknown;
  readonly context: EventContext;
  readonly resolve: () => void;
}

function checkViews(
  callback: unknown,
  contract: SpeakerContract<never, unknown> | undefined,
): void {
  const problem = callback === undefined
    ? "a listener that is iterated gets no views: each lasts for one callback"
    : contract?.value === undefined
    ? undefined
    : "a listener whose contract has a schema gets no views: what is validated is a value";
  if (problem === undefined) return;
  throw new PatchbayError("invalid", problem, {
    pattern: "speaker",
    details: { path: "options.views" },
    remedy: "pass a callback, and an address or a contract without a schema; or omit views",
  });
}

function checkLatest(overflow: Overflow, views: boolean): void {
  if (overflow === "drop_oldest" && !views) return;
  const other = views ? "views" : `overflow ${overflow}`;
  throw new PatchbayError("invalid", `latest does not go with ${other}`, {
    pattern: "speaker",
    details: { path: "options.latest" },
    remedy: "a newer value takes the place of an older one, and may be kept: omit the other option",
  });
}

class SilenceWatch extends TimerEntry {
  readonly #onSilent: () => void;
  readonly #threw: (error: unknown) => void;

  constructor(onSilent: () => void, threw: (error: unknown) => void) {
    super();
    this.#onSilent = onSilent;
    this.#threw = threw;
  }

  override expire(): void {
    runHook(this.#onSilent, this.#threw);
  }
}

/** The listening side of one `listen`, as transports see it. */
export class ListenerEndpoint {
  /** The address or pattern. */
  readonly pattern: string;
  /** What happens to a message that finds the queue full. */
  readonly overflow: Overflow;
  /** The most messages that wait; with overflow `block`, for each publisher. */
  readonly maxQueue: number;
  /** Whether it wants retained values. */
  readonly retained: boolean;
  /** Whether only the newest value counts. */
  readonly latest: boolean;
  /** Whether it wants bytes lent, as {@link BytesView}. */
  readonly views: boolean;
  /** The listener's counters. */
  readonly statistics: EndpointStatistics;
  /** Whether events may come twice because several wires lead to one speaker. */
  readonly #several: boolean;
  readonly #contract: SpeakerContract<never, unknown> | undefined;
  #callback: ListenCallback<never> | undefined;
  readonly #host: ListenerHost;
  readonly #inbox: Inbox<Item>;
  /** What has come, by origin and address. */
  readonly #seen = new Map<string, SequenceWindow>();
  /** With `latest`: the number of the newest, by origin and address. */
  readonly #newestOf = new Map<string, number>();
  /** With `latest`: what waits, by address. */
  readonly #waiting = new Map<string, Item>();
  #newest: { value: unknown; context: EventContext } | undefined;
  readonly #silence: SilenceWatch | undefined;
  readonly #maxSilenceMs: number;
  readonly #sources = new Set<ListenerSource>();
  #running = false;
  #validating: Promise<void> | undefined;
  #onEnd: ((error?: PatchbayError) => void) | undefined;
  /** What was given to the reader last. */
  #given: Item | undefined;

  /** @ignore Made by the bay. */
  constructor(
    pattern: string,
    contract: SpeakerContract<never, unknown> | undefined,
    callback: ListenCallback<never> | undefined,
    options: ListenOptions & { readonly views?: boolean },
    host: ListenerHost,
    statistics: EndpointStatistics,
    several: boolean,
  ) {
    this.pattern = pattern;
    this.#contract = contract;
    this.#callback = callback;
    this.overflow = options.overflow ?? "drop_oldest";
    this.maxQueue = options.maxQueue ?? 1024;
    this.retained = options.retained ?? false;
    this.views = options.views ?? false;
    if (this.views) checkViews(callback, contract);
    this.latest = options.latest ?? false;
    if (this.latest) checkLatest(this.overflow, this.views);
    this.statistics = statistics;
    this.#several = several;
    this.#host = host;
    this.#inbox = new Inbox<Item>(this.maxQueue, this.overflow, {
      dropped: (reason, item) => {
        this.statistics.countDrop(reason);
        if (reason !== "overflow_fail") item.source.onHandled?.(item.context);
      },
      left: (item) => {
        if (this.latest && this.#waiting.get(item.context.address) === item) {
          this.#waiting.delete(item.context.address);
        }
        item.source.waiting--;
        item.source.released();
      },
    });
    this.#maxSilenceMs = options.maxSilenceMs ?? contract?.maxSilenceMs ?? Infinity;
    if (options.onSilent !== undefined && this.#maxSilenceMs !== Infinity) {
      this.#silence = new SilenceWatch(
        options.onSilent,
        (error) => this.#threw(error, undefined),
      );
      host.timers.arm(this.#silence, this.#maxSilenceMs);
    }
  }

  /** What wires call the speaker instead of its address, by plugin name. */
  get native(): NativeNames | undefined {
    return this.#contract?.native;
  }

  /** How many messages wait. */
  get queued(): number {
    return this.#inbox.length;
  }

  /** The codec that its contract names, for wires whose messages do not tell theirs. */
  get codec(): string | undefined {
    return this.#contract?.codec;
  }

  /** Whether an address belongs to this listener. */
  accepts(address: string): boolean {
    return matches(this.pattern, address);
  }

  /**
   * Puts something round the callback, as the tracing layer does; a listener that is iterated has
   * none. What is put round it later is further out.
   *
   * @param wrap Takes the callback and returns what is called instead.
   */
  instrument(wrap: (callback: ListenCallback<never>) => ListenCallback<never>): void {
    if (this.#callback !== undefined) this.#callback = wrap(this.#callback);
  }

  /** A publisher has joined. */
  attach(): ListenerSource {
    const source = new ListenerSource(this);
    this.#sources.add(source);
    // Each publisher is held back by its own credit, so all of them together may fill this much.
    if (this.overflow === "block") this.#inbox.max = this.maxQueue * this.#sources.size;
    return source;
  }

  /** @ignore */
  detach(source: ListenerSource): void {
    source.onConsumed = source.onPull = undefined;
    source.onHandled = undefined;
    this.#sources.delete(source);
  }

  /** @ignore Called through {@link ListenerSource.deliver}. */
  deliver(value: unknown, context: EventContext, source: ListenerSource): void {
    this.statistics.messagesIn++;
    if (this.#silence !== undefined) this.#host.timers.arm(this.#silence, this.#maxSilenceMs);
    const stamped = context.headers !== undefined;
    if ((this.#several || this.latest || stamped) && this.#hadAlready(context)) {
      source.onHandled?.(context);
      return source.released();
    }
    if (this.views) return this.#lend(value, context, source);
    const schema = this.#contract?.value;
    if (schema !== undefined) {
      try {
        const checked = applySchema(schema, value, "value");
        if (checked instanceof Promise || this.#validating !== undefined) {
          return this.#deliverLater(checked, context, source);
        }
        value = checked;
      } catch (error) {
        return this.#refuse(error, context, source);
      }
    }
    this.#hand(value, context, source);
  }

  /** Ends the listener: what waits can still be read; nothing more comes. Idempotent. */
  end(error?: PatchbayError): void {
    if (this.#silence !== undefined) this.#host.timers.disarm(this.#silence);
    // An iterator may still read what waits; a callback is not called after close. What waits
    // behind a failed queue is still delivered: it has no gap.
    if (this.#callback !== undefined && !this.#inbox.ended) this.#inbox.clear();
    this.#inbox.end(error);
    for (const source of this.#sources) source.release();
  }

  /**
   * Ends the listener with an error that a publisher has raised (overflow `fail`).
   *
   * @param error What iteration throws after the messages that wait.
   */
  fail(error: PatchbayError): void {
    if (this.ended) return;
    this.statistics.countError(error.code);
    if (this.#callback !== undefined) this.#host.report(error);
    this.end(error);
    this.#onEnd?.(error);
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#inbox.ended;
  }

  /** @ignore Called once when the endpoint ends by itself (overflow `fail`). */
  onEnd(callback: (error?: PatchbayError) => void): void {
    this.#onEnd = callback;
  }

  /** The next message, for iteration. */
  async next(): Promise<IteratorResult<{ value: unknown; context: EventContext }, undefined>> {
    const given = this.#given;
    this.#given = undefined;
    given?.source.onHandled?.(given.context);
    const next = await this.#inbox.next();
    if (!next.done) this.#given = next.value;
    return next;
  }

  /** Hands bytes over as a view that is over when the callback has returned. */
  #lend(value: unknown, context: EventContext, source: ListenerSource): void {
    let view = value;
    if (value instanceof Uint8Array) view = lender.lend(value, 0, value.length);
    if (!(view instanceof BytesView)) {
      const problem = "the value is not bare bytes, and the listener asks for views";
      const remedy = "shout a Uint8Array, or listen without views";
      return this.#refuse(new PatchbayError("invalid", problem, { remedy }), context, source);
    }
    if (this.#running) {
      // What waits for its turn outlives the memory that it lies in.
      lender.keep(view);
      return this.#hand(view, context, source);
    }
    try {
      this.#hand(view, context, source);
    } finally {
      lender.expire(view);
    }
  }

  #hand(value: unknown, context: EventContext, source: ListenerSource): void {
    if (this.latest) this.#newest = { value, context };
    const callback = this.#callback;
    if (callback !== undefined && !this.#running && !this.#inbox.ended) {
      try {
        const done = callback(value as never, context);
        if (done instanceof Promise) {
          this.#running = true;
          source.waiting++;
          this.#drain(done, source, context);
          return;
        }
      } catch (error) {
        this.#threw(error, context);
      }
      source.onHandled?.(context);
      source.onConsumed?.(1);
      return;
    }
    if (this.latest && this.#replaces(value, context)) return source.released();
    source.waiting++;
    const item = { value, context, source };
    if (this.latest) this.#waiting.set(context.address, item);
    if (!this.#inbox.push(item)) this.#overflowed(context);
  }

  /** A newer value takes the place of one that waits. */
  #replaces(value: unknown, context: EventContext): boolean {
    const waiting = this.#waiting.get(context.address);
    if (waiting === undefined) return false;
    this.statistics.countDrop("overwritten");
    waiting.value = value;
    waiting.context = context;
    return true;
  }

  /** @ignore What is newest now. */
  pull(): { value: unknown; context: EventContext } | undefined {
    for (const source of this.#sources) source.onPull?.();
    return this.#newest;
  }

  /** An asynchronous callback runs: the messages that wait go to it one after the other. */
  async #drain(
    done: Promise<void>,
    source: ListenerSource,
    context: EventContext,
  ): Promise<void> {
    const callback = this.#callback as ListenCallback<never>;
    await this.#settle(done, undefined);
    source.onHandled?.(context);
    source.waiting--;
    source.released();
    for (let item = this.#inbox.take(); item !== undefined; item = this.#inbox.take()) {
      try {
        const done = callback(item.value as never, item.context);
        if (this.views) lender.expire(item.value as BytesView);
        await this.#settle(done, item.context);
      } catch (error) {
        if (this.views) lender.expire(item.value as BytesView);
        this.#threw(error, item.context);
      }
      item.source.onHandled?.(item.context);
    }
    this.#running = false;
  }

  async #settle(done: void | Promise<void>, context: EventContext | undefined): Promise<void> {
    try {
      await done;
    } catch (error) {
      this.#threw(error, context);
    }
  }

  /** The schema takes its time: the message waits, and those behind it wait for it. */
  #deliverLater(checked: unknown, context: EventContext, source: ListenerSource): void {
    source.waiting++;
    if (checked instanceof Promise) checked.catch(() => {}); // It is awaited below, but not yet.
    const before = this.#validating ?? Promise.resolve();
    const mine: Promise<void> = before.then(() => checked).then((value) => {
      source.waiting--;
      this.#hand(value, context, source);
    }, (error) => {
      source.waiting--;
      this.#refuse(error, context, source);
    }).then(() => {
      if (this.#validating === mine) this.#validating = undefined;
    });
    this.#validating = mine;
  }

  /** Whether it came before: over another of several wires, or over a bridge besides. */
  #hadAlready(context: EventContext): boolean {
    const stamp = readStamp(context.headers);
    const { origin, sequence } = stamp ?? context;
    if (origin === "") return false;
    const key = `${origin} ${context.address}`;
    // A bay's own shouts come over in_process alone.
    if (this.latest && origin !== this.#host.identity.id) {
      const last = this.#newestOf.get(key) ?? 0;
      if (sequence <= last) {
        // Of states an older one may come after a newer one that was quicker through its slot.
        this.statistics.countDrop(sequence === last ? "duplicate" : "overwritten");
        return true;
      }
      if (this.#newestOf.size >= MAX_ORIGINS) {
        this.#newestOf.delete(this.#newestOf.keys().next().value ?? "");
      }
      this.#newestOf.set(key, sequence);
      return false;
    }
    if (stamp === undefined && !this.#several) return false;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      if (this.#seen.size >= MAX_ORIGINS) this.#seen.delete(this.#seen.keys().next().value ?? "");
      this.#seen.set(key, seen = new SequenceWindow());
    }
    if (seen.add(sequence)) return false;
    // The speaker's last value, once more: after a connection was lost and made anew.
    if (!context.retained) this.statistics.countDrop("duplicate");
    return true;
  }

  #refuse(error: unknown, context: EventContext, source: ListenerSource): void {
    this.statistics.countDrop("invalid");
    source.onHandled?.(context);
    source.released();
    this.#threw(error, context);
  }

  #threw(error: unknown, context: EventContext | undefined): void {
    const known = PatchbayError.fromThrown(error).with({
      pattern: "speaker",
      transport: context?.peer?.transport,
      address: context?.address ?? this.pattern,
    });
    this.statistics.countError(known.code);
    this.#host.report(known);
  }

  #overflowed(context: EventContext): void {
    const error = new PatchbayError(
      "overloaded",
      `${this.pattern}: the listener's queue of ${this.maxQueue} messages is full`,
      { pattern: "speaker", address: context.address, details: { maxQueue: this.maxQueue } },
    );
    this.statistics.countError("overloaded");
    if (this.#callback !== undefined) this.#host.report(error);
    this.#onEnd?.(error);
  }
}

/**
 * A running `listen`. With a callback it only needs to be closed; without one it is iterated.
 * Leaving the loop closes it.
 *
 * @typeParam ValueOut What the value's schema gives.
 */
export class Listener<ValueOut> implements AsyncIterable<ValueOut>, AsyncDisposable {
  readonly #endpoint: ListenerEndpoint;
  readonly #registrations: Promise<readonly Registration[]>;
  readonly #closed: () => void | Promise<void>;
  #closing: Promise<void> | undefined;

  /** @ignore Made by the bay. */
  constructor(
    endpoint: ListenerEndpoint,
    registrations: Promise<readonly Registration[]>,
    closed: () => void | Promise<void>,
  ) {
    this.#endpoint = endpoint;
    this.#registrations = registrations;
    this.#closed = closed;
    endpoint.onEnd(() => void this.close());
  }

  /** The address or pattern it listens to. */
  get pattern(): string {
    return this.#endpoint.pattern;
  }

  /** How many messages wait to be read. */
  get queued(): number {
    return this.#endpoint.queued;
  }

  /**
   * The newest value that there is now, whole, with what came along with it; where the wire has slots
   * in shared memory, also one that no turn of the event loop has brought yet. What it finds is
   * delivered as usual, too. For listeners with `latest: true`.
   *
   * @returns `undefined` if nothing has come yet.
   * @throws {PatchbayError} `invalid`: the listener does not ask for `latest`.
   */
  latest(): { value: ValueOut; context: EventContext } | undefined {
    if (this.#endpoint.latest) {
      return this.#endpoint.pull() as { value: ValueOut; context: EventContext } | undefined;
    }
    throw new PatchbayError("invalid", `${this.pattern}: the listener does not keep the newest`, {
      pattern: "speaker",
      remedy: "listen with latest: true",
    });
  }

  /** How many messages were dropped on this side, for whatever reason. */
  get dropped(): number {
    return this.#endpoint.statistics.drops.values().reduce((sum, n) => sum + n, 0);
  }

  /** The values, in order. Ends when the listener is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ValueOut, void, void> {
    for await (const { value } of this.events()) yield value;
  }

  /** The values with what came along with them. Leaving the loop closes the listener. */
  async *events(): AsyncGenerator<{ value: ValueOut; context: EventContext }, void, void> {
    try {
      for (;;) {
        const next = await this.#endpoint.next();
        if (next.done) return;
        yield next.value as { value: ValueOut; context: EventContext };
      }
    } finally {
      await this.close();
    }
  }

  /** Ends it: speakers are told, nothing more comes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#endpoint.end();
      const told = this.#closed();
      for (const registration of await this.#registrations) await registration.close();
      await told;
    })();
    return this.#closing;
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
