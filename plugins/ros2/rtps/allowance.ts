/**
 * How much one participant may be sent that it asks for by itself: without a bound, a datagram of
 * requests would cost thousands of them in answers.
 *
 * @module
 */

/** What may be sent at once after a pause: a window, and a little. */
const BURST_BYTES = 256 * 1024;
/** How fast it is filled again: more than repairs ever need, less than hurts. */
const BYTES_PER_MS = 32 * 1024;

/** A bucket that fills with time. */
export class Allowance {
  #left = BURST_BYTES;
  #sinceMs = performance.now();

  /** Takes so much if there is any left; what is taken last may go a little beyond. */
  take(bytes: number): boolean {
    if (this.#left <= 0) {
      const now = performance.now();
      this.#left = Math.min(BURST_BYTES, this.#left + (now - this.#sinceMs) * BYTES_PER_MS);
      this.#sinceMs = now;
      if (this.#left <= 0) return false;
    }
    this.#left -= bytes;
    return true;
  }
}
