/**
 * Which of the numbers of one sender have come: exact for the last 1,024, so that what was overtaken
 * is not taken for a repetition.
 *
 * @module
 */

/** How far back it knows each number. */
const WINDOW = 1024;

/**
 * Numbers that grow, mostly in order, and which of them have been seen. What is further back than
 * 1,024 counts as seen.
 */
export class SequenceWindow {
  #last = -1;
  /** One bit a number, by its remainder; made when the first one is overtaken. */
  #bits: Uint32Array | undefined;

  /**
   * Notes a number.
   *
   * @param sequence The number.
   * @returns Whether it is new.
   */
  add(sequence: number): boolean {
    const last = this.#last;
    if (sequence > last) {
      if (this.#bits !== undefined) this.#clear(last, sequence);
      else if (sequence !== last + 1 && sequence !== 1) {
        this.#bits = new Uint32Array(WINDOW / 32);
        // At the beginning nothing has come: an urgent one may be the first to arrive.
        if (last !== -1) this.#fill(last);
        this.#clear(last, sequence);
      }
      this.#last = sequence;
      if (this.#bits !== undefined) this.#mark(sequence);
      return true;
    }
    if (this.#bits === undefined || last - sequence >= WINDOW) return false;
    const at = sequence % WINDOW;
    if ((this.#bits[at >>> 5] & (1 << (at & 31))) !== 0) return false;
    this.#mark(sequence);
    return true;
  }

  #mark(sequence: number): void {
    const at = sequence % WINDOW;
    (this.#bits as Uint32Array)[at >>> 5] |= 1 << (at & 31);
  }

  /** All up to this one have come, or were never for this side. */
  #fill(last: number): void {
    for (let n = Math.max(0, last - WINDOW + 1); n <= last; n++) this.#mark(n);
  }

  /** Those between have not come. */
  #clear(last: number, next: number): void {
    const bits = this.#bits as Uint32Array;
    if (next - last >= WINDOW) return void bits.fill(0);
    for (let n = last + 1; n < next; n++) {
      const at = n % WINDOW;
      bits[at >>> 5] &= ~(1 << (at & 31));
    }
  }
}
