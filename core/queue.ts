/**
 * Bounded queues: a double-ended ring, and an inbox that a consumer awaits or iterates.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/**
 * What happens to a message that finds a listener's queue full.
 * - `block`: the speaker is held back (`await speaker.shout()` waits).
 * - `drop_oldest`: the oldest waiting message gives way; right for states and sensors.
 * - `drop_newest`: the new message is dropped.
 * - `fail`: the listener ends with `overloaded`; right where a gap is worse than an end.
 *
 * Dropped messages are counted, with the reason, on the side that dropped them.
 */
export type Overflow = "block" | "drop_oldest" | "drop_newest" | "fail";

/** Every overflow policy. */
export const OVERFLOWS: readonly Overflow[] = ["block", "drop_oldest", "drop_newest", "fail"];

/** The room of a queue that was never used. */
const NOTHING: undefined[] = [];

/** A first-in-first-out ring that grows by doubling and never shrinks; its user bounds it. */
export class Fifo<T> {
  /** Most queues of a connection are never used: they cost no room until then. */
  #items: (T | undefined)[] = NOTHING;
  #head = 0;
  #length = 0;

  /** How many items wait. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds an item at the end.
   *
   * @param item The item.
   */
  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Takes the first item out; `undefined` if there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** The first item, left where it is. */
  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  /** Drops everything. */
  clear(): void {
    this.#items = NOTHING;
    this.#head = this.#length = 0;
  }

  #grow(): void {
    const bigger: (T | undefined)[] = new Array(this.#items.length * 2 || 8);
    for (let i = 0; i < this.#length; i++) {
      bigger[i] = this.#items[(this.#head + i) & (this.#items.length - 1)];
    }
    this.#items = bigger;
    this.#head = 0;
  }
}

/** How an {@link Inbox} tells its owner what happened to an item. */
export interface InboxOwner<T> {
  /** An item was dropped because the queue was full. */
  dropped(reason: "overflow_oldest" | "overflow_newest" | "overflow_fail", item: T): void;
  /** An item left the queue: it was consumed or dropped, and its source may send one more. */
  left(item: T): void;
}

/**
 * A bounded queue with one consumer, who awaits items or iterates them.
 *
 * Adding never waits: with overflow `block` the sources are held back by credit, and the bound
 * grows with their number; the other policies drop or fail here.
 */
export class Inbox<T> {
  readonly #items = new Fifo<T>();
  readonly #overflow: Overflow;
  readonly #owner: InboxOwner<T>;
  #waiting: ((item: IteratorResult<T, undefined>) => void) | undefined;
  #refuse: ((error: unknown) => void) | undefined;
  #ended = false;
  #error: unknown;
  /** The most items that wait. */
  max: number;

  /**
   * @param max The most items that wait.
   * @param overflow What happens to one more.
   * @param owner Whom to tell.
   */
  constructor(max: number, overflow: Overflow, owner: InboxOwner<T>) {
    this.max = max;
    this.#overflow = overflow;
    this.#owner = owner;
  }

  /** How many items wait. */
  get length(): number {
    return this.#items.length;
  }

  /** Whether no more items will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Adds an item, or applies the overflow policy.
   *
   * @param item The item.
   * @returns False if the queue has just failed: overflow `fail`, or `block` by a source that
   * did not wait for its credit.
   */
  push(item: T): boolean {
    if (this.#ended) {
      this.#owner.left(item);
      return true;
    }
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = this.#refuse = undefined;
      this.#owner.left(item);
      waiting({ value: item, done: false });
      return true;
    }
    if (this.#items.length >= this.max) {
      switch (this.#overflow) {
        case "drop_newest":
          this.#owner.dropped("overflow_newest", item);
          this.#owner.left(item);
          return true;
        case "drop_oldest": {
          const oldest = this.#items.shift() as T;
          this.#owner.left(oldest);
          this.#owner.dropped("overflow_oldest", oldest);
          break;
        }
        case "fail":
        case "block":
          this.#owner.dropped("overflow_fail", item);
          this.end(
            new PatchbayError(
              "overloaded",
              `the listener's queue of ${this.max} messages is full`,
              {
                details: { maxQueue: this.max },
                remedy: "read faster, raise maxQueue, or choose overflow: drop_oldest",
              },
            ),
          );
          return false;
      }
    }
    this.#items.push(item);
    return true;
  }

  /** Takes the first item without waiting; `undefined` if there is none. */
  take(): T | undefined {
    const item = this.#items.shift();
    if (item !== undefined) this.#owner.left(item);
    return item;
  }

  /**
   * The next item; waits for it. After the end, the items that still waited come first, then the
   * error (once), then `done`.
   */
  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.take();
    if (item !== undefined) return Promise.resolve({ value: item, done: false });
    if (this.#ended) {
      const error = this.#error;
      this.#error = undefined;
      if (error !== undefined) return Promise.reject(error);
      return Promise.resolve({ value: undefined, done: true });
    }
    if (this.#waiting !== undefined) {
      return Promise.reject(
        new PatchbayError("invalid", "two consumers await the same listener", {
          remedy: "listen twice: each listener has its own queue",
        }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#refuse = reject;
    });
  }

  /**
   * Ends the queue. Items that wait can still be taken. Idempotent.
   *
   * @param error What the consumer gets after the last item; nothing for an orderly end.
   */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const waiting = this.#waiting;
    const refuse = this.#refuse;
    this.#waiting = this.#refuse = undefined;
    if (waiting === undefined) this.#error = error;
    else if (error !== undefined) refuse?.(error);
    else waiting({ value: undefined, done: true });
  }

  /** Drops all items that wait. */
  clear(): void {
    for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
      this.#owner.left(item);
    }
  }
}
