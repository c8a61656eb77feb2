/**
 * Puts a sample together from its fragments. Memory is taken only for what has arrived, whatever
 * size the first fragment claims.
 *
 * @module
 */

import type { Bits } from "./message_reader.ts";

/** Smaller fragments cost more than they bring; implementations send 1,000 bytes and more. */
const LEAST_FRAGMENT_BYTES = 256;
/** So many of them are no harm. */
const FEW_FRAGMENTS = 64;

/** Whether a sample is cut into more fragments than anybody has reason to. */
export function isShredded(sampleBytes: number, fragmentBytes: number): boolean {
  return sampleBytes > FEW_FRAGMENTS * fragmentBytes && fragmentBytes < LEAST_FRAGMENT_BYTES;
}

/** What a fragment costs beside its bytes. */
const FRAGMENT_OVERHEAD_BYTES = 128;

/** How many chunks are kept for the next sample: 4 MiB at most. */
const MAX_FREE = 64;
/** A chunk: what participants of ours send as one fragment on one machine, and a little more. */
const CHUNK_BYTES = 61_440;
/** What is much smaller has memory of its own: nothing takes much more than what came. */
const LEAST_BYTES = 55_000;
/** The largest sample that is put together in the same place each time. */
const MAX_SCRATCH_BYTES = 8 * 1024 * 1024;

/**
 * Memory that one reader uses again and again: a fresh megabyte costs four times as much as copying
 * one, and each would be the garbage collector's affair.
 */
export class FragmentMemory {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  #scratch = new Uint8Array(0);
  #lent = false;

  /** A copy of a fragment; give it back. */
  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const { length } = bytes;
    if (length < LEAST_BYTES || length > CHUNK_BYTES) return new Uint8Array(bytes);
    const chunk = this.#free.pop() ?? new Uint8Array(CHUNK_BYTES);
    chunk.set(bytes);
    return chunk.subarray(0, length);
  }

  /** Takes back what `copy` gave. */
  give(part: Uint8Array<ArrayBuffer>): void {
    if (part.buffer.byteLength === CHUNK_BYTES && this.#free.length < MAX_FREE) {
      this.#free.push(new Uint8Array(part.buffer));
    }
  }

  /**
   * Lends the place of an earlier sample, if it is large enough and nobody has it; give it back. So
   * that fragments need not be copied twice, and still what they claim takes no memory.
   */
  lend(bytes: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.#lent || bytes < LEAST_BYTES || this.#scratch.length < bytes) return undefined;
    this.#lent = true;
    return this.#scratch.subarray(0, bytes);
  }

  /** Takes back what `lend` gave: it is good until the next sample. */
  returned(): void {
    this.#lent = false;
  }

  /** A place for a whole sample, good until the next one. */
  place(bytes: number): Uint8Array<ArrayBuffer> {
    if (bytes > MAX_SCRATCH_BYTES || this.#lent) return new Uint8Array(bytes);
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(bytes);
    return this.#scratch.subarray(0, bytes);
  }
}

const NOTHING = new Uint8Array(0);

/** One sample of which parts have arrived. */
export class Reassembly {
  /** What has come; empty where it stands in its place already. */
  readonly #parts = new Map<number, Uint8Array<ArrayBuffer>>();
  readonly #memory: FragmentMemory;
  /** The sample's place, if there was one. */
  #place: Uint8Array<ArrayBuffer> | undefined;
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
   * @param memory What fragments are kept in.
   */
  constructor(sampleBytes: number, fragmentBytes: number, memory: FragmentMemory) {
    this.#memory = memory;
    this.sampleBytes = sampleBytes;
    this.fragmentBytes = fragmentBytes;
    this.count = Math.ceil(sampleBytes / fragmentBytes);
    this.#place = memory.lend(sampleBytes);
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
      const at = i * this.fragmentBytes;
      const part = bytes.subarray(at, at + this.fragmentBytes);
      if (this.#place === undefined) this.#parts.set(number, this.#memory.copy(part));
      else {
        this.#place.set(part, (number - 1) * this.fragmentBytes);
        this.#parts.set(number, NOTHING);
      }
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

  /** The whole sample, good until the next one of the same memory; gives the fragments back. */
  join(): Uint8Array<ArrayBuffer> {
    let sample = this.#place;
    if (sample === undefined) {
      sample = this.#memory.place(this.sampleBytes);
      for (const [number, part] of this.#parts) {
        sample.set(part, (number - 1) * this.fragmentBytes);
      }
    }
    this.release();
    return sample;
  }

  /** Gives the fragments back. */
  release(): void {
    if (this.#place !== undefined) this.#memory.returned();
    this.#place = undefined;
    for (const part of this.#parts.values()) this.#memory.give(part);
    this.#parts.clear();
  }
}
