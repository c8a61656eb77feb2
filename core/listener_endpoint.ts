/**
 * The receiving side of shouts as transports see it: its queue, its order and its silence watch.
 *
 * @module
 */

import { matches } from "./address.ts";
import { Arrivals } from "./arrivals.ts";
import { BytesView, lender } from "./bytes_view.ts";
import type { NativeNames, SpeakerContract } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import { runHook } from "./hook.ts";
import type { EventContext, ListenCallback, ListenOptions } from "./listener.ts";
import { ListenerSource } from "./listener_source.ts";
import type { BayIdentity } from "./plugin.ts";
import { Inbox, type Overflow } from "./queue.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

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
  readonly #arrivals: Arrivals;
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
    const { latest } = this;
    this.#arrivals = new Arrivals({ bay: host.identity.id, several, latest, statistics });
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
    if ((this.#several || this.latest || stamped) && this.#arrivals.hadAlready(context)) {
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
