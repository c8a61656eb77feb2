/**
 * Whether looking again and again for a message is worth it, and what to do instead: a thread that
 * looks on the core that the other side needs waits for itself.
 *
 * @module
 */

/** A message that wakes a side so soon was on its way while it looked, in milliseconds. */
const SOON_MS = 0.5;
/** So many in a row, and looking is in vain. */
const MISSES = 4;
/** After so long it is tried again, in milliseconds, doubled each time that it fails, up to so long. */
const RETRY_MS = 4;
const LONGEST_RETRY_MS = 256;
/** And then so often, which is some milliseconds: so long a system takes to move a thread. */
const RETRY_MISSES = 24;

/**
 * Whether this thread may wait in `Atomics.wait`: the main thread of a page may not.
 *
 * @param words Memory that is shared.
 */
export function canDoze(words: Int32Array<SharedArrayBuffer>): boolean {
  try {
    // It is never so: the call comes back at once.
    Atomics.wait(words, 0, Atomics.load(words, 0) + 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** Learns whether looking is worth it. */
export class Spins {
  /** With one core it never is. */
  readonly #never = typeof navigator !== "undefined" && navigator.hardwareConcurrency === 1;
  #left = MISSES;
  #retryMs = RETRY_MS;
  #notBefore = -Infinity;

  /**
   * Whether to look now.
   *
   * @param nowMs The time.
   */
  worthwhile(nowMs: number): boolean {
    return !this.#never && nowMs >= this.#notBefore;
  }

  /** A message was seen by looking. */
  seen(): void {
    this.#left = MISSES;
    this.#retryMs = RETRY_MS;
  }

  /**
   * A message came after this side had given up looking, and slept.
   *
   * @param afterMs How long it had slept.
   * @param nowMs The time.
   */
  woken(afterMs: number, nowMs: number): void {
    if (afterMs > SOON_MS || !this.worthwhile(nowMs) || --this.#left > 0) return;
    this.#left = RETRY_MISSES;
    this.#notBefore = nowMs + this.#retryMs;
    this.#retryMs = Math.min(LONGEST_RETRY_MS, 2 * this.#retryMs);
  }
}
