/**
 * How many bytes of retained values a hub keeps for one client: what is beyond the bound the
 * client's own speakers keep alone, and are asked for it.
 *
 * @module
 */

import type { Headers } from "../callable.ts";

/** The retained values that a hub keeps for one client. */
export class KeptBytes {
  readonly #maxBytes: number;
  readonly #onFull: (address: string) => void;
  #bytes = 0;
  #full = false;

  /**
   * @param maxBytes The most bytes in all.
   * @param onFull Called with the address whose value is the first that has no room; again when
   * there was room in between.
   */
  constructor(maxBytes: number, onFull: (address: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onFull = onFull;
  }

  /** How many bytes are kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A value takes the place of another.
   *
   * @param address Whose.
   * @param before The size of the one that goes, in bytes; 0: there is none.
   * @param after The size of the one that comes; 0: there is none.
   * @returns False if there is no room: nothing is kept for it then, the old one neither.
   */
  replace(address: string, before: number, after: number): boolean {
    const bytes = this.#bytes - before + after;
    const fits = bytes <= this.#maxBytes;
    this.#bytes = fits ? bytes : this.#bytes - before;
    if (!fits && !this.#full) this.#onFull(address);
    // Values of several sizes must not make it tell of each that is too large.
    this.#full = !fits || (this.#full && this.#bytes > this.#maxBytes / 2);
    return fits;
  }
}

/** What a value holds as long as it is kept, in bytes. */
export function sizeOfKept(body: Uint8Array, headers: Headers | undefined): number {
  // A value of no bytes has an object, too.
  let bytes = 64 + body.length;
  for (const name in headers) bytes += name.length + headers[name].length;
  return bytes;
}
