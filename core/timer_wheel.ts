/**
 * One timer for all deadlines of a bay.
 *
 * Arming costs a few nanoseconds because it reads no clock: an entry goes to a list of fresh ones,
 * and the next tick (which comes within the entry's tolerance) stamps the whole list with the time
 * it reads once. An entry never fires early, and late by at most {@link toleranceMs}.
 *
 * @module
 */

/** Something with a deadline. Fields belong to the wheel; nobody else touches them. */
export abstract class TimerEntry {
  /** @ignore */
  wheelPrevious: TimerEntry | undefined = undefined;
  /** @ignore */
  wheelNext: TimerEntry | undefined = undefined;
  /** @ignore The list this entry hangs in, or `undefined`. */
  wheelList: EntryList | undefined = undefined;
  /** @ignore The delay it was armed with, in milliseconds. */
  wheelDelayMs = 0;

  /** Called once when the delay has passed, unless the entry was disarmed. */
  abstract expire(): void;

  /** Called instead when the wheel is closed while the entry is armed. */
  discard(): void {}
}

/** A doubly linked list, so that an entry leaves from the middle without a search. */
class EntryList {
  first: TimerEntry | undefined = undefined;
  /** When the entries expire, on the `performance.now()` clock; 0 for the fresh list. */
  readonly atMs: number;

  constructor(atMs: number) {
    this.atMs = atMs;
  }

  add(entry: TimerEntry): void {
    const first = this.first;
    entry.wheelPrevious = undefined;
    entry.wheelNext = first;
    if (first !== undefined) first.wheelPrevious = entry;
    this.first = entry;
    entry.wheelList = this;
  }

  remove(entry: TimerEntry): void {
    const { wheelPrevious: previous, wheelNext: next } = entry;
    if (previous === undefined) this.first = next;
    else previous.wheelNext = next;
    if (next !== undefined) next.wheelPrevious = previous;
    entry.wheelPrevious = entry.wheelNext = undefined;
    entry.wheelList = undefined;
  }
}

/** How late an entry may fire, in milliseconds: 4 ms, or 5 % of its delay if that is more. */
export function toleranceMs(delayMs: number): number {
  return Math.max(4, delayMs * 0.05);
}

/** The longest that `setTimeout` takes without firing at once (2^31 − 1 ms). */
const MAX_TIMEOUT_MS = 2_147_483_647;

/**
 * The wheel: `arm`, `disarm`, and `close` when the bay closes. While nothing is armed, no timer
 * runs, so a program that has finished its calls can end.
 *
 * @example
 * ```ts
 * import { TimerEntry, TimerWheel } from "@patchbay/core";
 *
 * class Reminder extends TimerEntry {
 *   override expire(): void {
 *     console.log("time is up");
 *   }
 * }
 * const wheel = new TimerWheel();
 * const reminder = new Reminder();
 * wheel.arm(reminder, 1_000);
 * wheel.disarm(reminder);
 * wheel.close();
 * ```
 */
export class TimerWheel {
  readonly #fresh = new EntryList(0);
  readonly #stamped = new Map<number, EntryList>();
  /** Entries without a deadline, kept so that closing finds them. */
  readonly #eternal = new EntryList(Infinity);
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the running timer fires; meaningless while none runs. */
  #wakeAtMs = 0;
  /** The smallest tolerance among fresh entries since the last tick. */
  #freshToleranceMs = Infinity;
  #closed = false;

  /**
   * Arms an entry, or arms it anew: the old deadline is forgotten.
   *
   * @param entry What to call when the time has passed.
   * @param delayMs How long to wait, in milliseconds; `Infinity`: until the wheel is closed.
   */
  arm(entry: TimerEntry, delayMs: number): void {
    const list = entry.wheelList;
    if (list !== undefined) list.remove(entry);
    if (this.#closed) return;
    entry.wheelDelayMs = delayMs;
    if (delayMs === Infinity) return this.#eternal.add(entry);
    this.#fresh.add(entry);
    // At most a quarter of a second, so that a long deadline that was met soon keeps no timer.
    const tolerance = delayMs <= 80 ? 2 : delayMs >= 10_000 ? 250 : delayMs * 0.025;
    if (tolerance < this.#freshToleranceMs) this.#hurry(tolerance);
  }

  /**
   * Takes an entry out. Harmless if it is not armed.
   *
   * @param entry The entry.
   */
  disarm(entry: TimerEntry): void {
    const list = entry.wheelList;
    if (list === undefined) return;
    list.remove(entry);
    if (list.first === undefined && list !== this.#fresh) this.#emptied(list);
  }

  /**
   * How long until the entry expires, in milliseconds; `Infinity` if it is not armed.
   *
   * @param entry The entry.
   */
  remainingMs(entry: TimerEntry): number {
    const list = entry.wheelList;
    if (list === undefined) return Infinity;
    if (list === this.#fresh) return entry.wheelDelayMs;
    return Math.max(0, list.atMs - performance.now());
  }

  /** Whether a timer is running: false when nothing is armed. */
  get running(): boolean {
    return this.#timer !== undefined;
  }

  /** Stops the timer, takes all entries out, and tells each by `discard`. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const list of [this.#fresh, this.#eternal, ...this.#stamped.values()]) {
      for (let entry = list.first; entry !== undefined; entry = list.first) {
        list.remove(entry);
        entry.discard();
      }
    }
    this.#stamped.clear();
  }

  /** A list of stamped entries is empty: its time need not be waited for. */
  #emptied(list: EntryList): void {
    if (this.#stamped.get(list.atMs) === list) this.#stamped.delete(list.atMs);
    if (this.#stamped.size > 0 || this.#fresh.first !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#freshToleranceMs = Infinity;
  }

  /** A fresh entry wants a stamp within `tolerance`: makes the timer fire soon enough. */
  #hurry(tolerance: number): void {
    this.#freshToleranceMs = tolerance;
    const now = performance.now();
    if (this.#timer !== undefined && this.#wakeAtMs <= now + tolerance) return;
    this.#sleepUntil(now + tolerance, now);
  }

  #sleepUntil(atMs: number, nowMs: number): void {
    clearTimeout(this.#timer);
    this.#wakeAtMs = atMs;
    this.#timer = setTimeout(this.#tick, Math.min(Math.max(0, atMs - nowMs), MAX_TIMEOUT_MS));
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    this.#freshToleranceMs = Infinity;
    const now = performance.now();
    for (let entry = this.#fresh.first; entry !== undefined; entry = this.#fresh.first) {
      this.#fresh.remove(entry);
      this.#stamp(entry, now + entry.wheelDelayMs);
    }
    let next = Infinity;
    for (const [key, list] of this.#stamped) {
      if (list.atMs <= now || list.first === undefined) {
        this.#stamped.delete(key);
        for (let entry = list.first; entry !== undefined; entry = list.first) {
          list.remove(entry);
          try {
            entry.expire();
          } catch (error) {
            // A defect in one entry must not cost the others their deadlines.
            reportError(error);
          }
        }
      } else if (list.atMs < next) next = list.atMs;
    }
    if (this.#closed) return;
    // An expire() may have armed something that wants an earlier tick: #hurry has seen to it.
    if (next !== Infinity && (this.#timer === undefined || next < this.#wakeAtMs)) {
      this.#sleepUntil(next, performance.now());
    }
  };

  /** Hangs an entry into the list of its time, rounded up by a share of its tolerance. */
  #stamp(entry: TimerEntry, atMs: number): void {
    const grain = Math.max(1, 2 ** Math.floor(Math.log2(Math.max(1, entry.wheelDelayMs * 0.015))));
    const key = Math.ceil(atMs / grain) * grain;
    let list = this.#stamped.get(key);
    if (list === undefined) this.#stamped.set(key, list = new EntryList(key));
    list.add(entry);
  }
}
