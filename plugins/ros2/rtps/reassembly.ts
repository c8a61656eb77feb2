/**
 * Puts a sample together from its fragments. Memory is taken only for what has arrived, whatever
 * size the first fragment claims.
 *
 * @module
 */

import type { Bits } from "./message_reader.ts";

/** What a fragment costs beside its bytes. */
const FRAGMENT_OVERHEAD_BYTES = 128;

/** One sample of which parts have arrived. */
export class Reassembly {
  readonly #parts = new Map<number, Uint8Array>();
  #firstMissing = 1;
  #highest = 0;
  /** How large the sample will be. */
  readonly sampleBytes: number;
  /** How large each fragment but the last is. */
  readonly fragmentBytes: number;
  /** How many fragments it has. */
  readonly count: number;
  /** How many bytes it occupies. */
  heldBytes = 0;
  /** When its last new fragment came, on the clock of `performance.now()`. */
  touchedMs = 0;
  /** When fragments were last asked for again, on the same clock. */
  askedMs = -Infinity;
  /** The last fragment that was asked for; 0: none. */
  askedUpTo = 0;
  /** What came with it. */
  inline: ReadonlyMap<number, Uint8Array> | undefined = undefined;

  /**
   * @param sampleBytes How large the sample will be.
   * @param fragmentBytes How large each fragment but the last is.
   */
  constructor(sampleBytes: number, fragmentBytes: number) {
    this.sampleBytes = sampleBytes;
    this.fragmentBytes = fragmentBytes;
    this.count = Math.ceil(sampleBytes / fragmentBytes);
  }

  /** Whether all of it is there. */
  get complete(): boolean {
    return this.#firstMissing > this.count;
  }

  /** The first fragment that is missing. */
  get firstMissing(): number {
    return this.#firstMissing;
  }

  /** The last fragment that has come. */
  get highest(): number {
    return this.#highest;
  }

  /**
   * Takes fragments that follow each other.
   *
   * @param first The number of the first.
   * @param fragments How many.
   * @param bytes All of their bytes; copied.
   * @returns By how much `heldBytes` has grown.
   */
  add(first: number, fragments: number, bytes: Uint8Array): number {
    const before = this.heldBytes;
    for (let i = 0; i < fragments; i++) {
      const number = first + i;
      if (number < this.#firstMissing || this.#parts.has(number)) continue;
      const part = bytes.slice(i * this.fragmentBytes, (i + 1) * this.fragmentBytes);
      this.#parts.set(number, part);
      this.heldBytes += part.length + FRAGMENT_OVERHEAD_BYTES;
      if (number > this.#highest) this.#highest = number;
    }
    while (this.#parts.has(this.#firstMissing)) this.#firstMissing++;
    return this.heldBytes - before;
  }

  /**
   * What is missing, up to a fragment.
   *
   * @param upTo The last fragment that is asked about.
   * @param into Takes the bits, from `firstMissing` on.
   * @returns Whether anything is.
   */
  missing(upTo: number, into: Bits): boolean {
    const length = Math.min(256, Math.min(upTo, this.count) - this.#firstMissing + 1);
    if (length <= 0) {
      into.reset(0);
      return false;
    }
    into.reset(length);
    for (let i = 0; i < length; i++) if (!this.#parts.has(this.#firstMissing + i)) into.set(i);
    return true;
  }

  /** The whole sample. */
  join(): Uint8Array<ArrayBuffer> {
    const sample = new Uint8Array(this.sampleBytes);
    for (const [number, part] of this.#parts) {
      sample.set(part, (number - 1) * this.fragmentBytes);
    }
    return sample;
  }
}
