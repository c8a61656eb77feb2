/**
 * A slot in memory that two sides share and that holds the newest of many values: one writes, one
 * reads, neither ever waits, and what is read is whole.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

// The layout, version 1. Numbers are 32 bits in the machine's byte order. The first two lines are
// 128 bytes each, as in a ring.
//
//     0  how many values have been written, wrapping at 2^32
//   128  the reader: 0 has read all that was told, 1 has been told of something new, 2 is reading
//   256  four buffers: the value's length, then its bytes, padded to 8
//
// Value n lies in buffer n modulo 4. The writer is at most in the buffer after the newest, so a
// reader that has copied value n got it whole if at most two newer ones were finished meanwhile. A
// writer that dies in the middle of a value has not touched the newest one.
const LINE = 128;
const READ = 0;
const TOLD = 1;
const READING = 2;
const COUNT_AT = 0;
const TOLD_AT = LINE / 4;
const HEADER_BYTES = 2 * LINE;
const BUFFERS = 4;
/** A reader that was overtaken so often meets a writer that breaks the rules. */
const MAX_TRIES = 1000;

/** Where a slot lies. */
export interface SlotPlace {
  /** Where it begins in the buffer, in bytes; divisible by 8, and by 128 to be fast. */
  readonly offset: number;
  /** How many bytes the longest value has; divisible by 8. */
  readonly capacity: number;
}

/**
 * How many bytes a slot takes.
 *
 * @param capacity The longest value, in bytes; divisible by 8.
 */
export function slotBytes(capacity: number): number {
  return HEADER_BYTES + BUFFERS * (8 + capacity);
}

function words(buffer: ArrayBufferLike, { offset, capacity }: SlotPlace): Int32Array {
  const fits = Number.isInteger(offset) && Number.isInteger(capacity) && offset >= 0 &&
    capacity > 0 && offset % 8 === 0 && capacity % 8 === 0 &&
    offset + slotBytes(capacity) <= buffer.byteLength;
  if (fits) return new Int32Array(buffer, offset, slotBytes(capacity) >>> 2);
  throw new PatchbayError(
    "invalid",
    `a slot of ${capacity} bytes at ${offset} does not lie in a buffer of ${buffer.byteLength}`,
    { remedy: "choose numbers divisible by 8; a slot takes slotBytes(capacity)" },
  );
}

/** Where the buffer of a value begins, in bytes from the slot's beginning. */
function bufferAt(count: number, capacity: number): number {
  return HEADER_BYTES + (count & (BUFFERS - 1)) * (8 + capacity);
}

/**
 * The side of a slot that writes. There is one for each slot at any time.
 *
 * @example
 * ```ts
 * import { slotBytes, SlotReader, SlotWriter } from "@patchbay/core";
 *
 * const memory = new SharedArrayBuffer(slotBytes(64));
 * const place = { offset: 0, capacity: 64 };
 * const writer = new SlotWriter(memory, place);
 * const reader = new SlotReader(memory, place); // in a worker or another process, usually
 * writer.write(new Uint8Array([1]));
 * writer.write(new Uint8Array([2]));
 * const value = new Uint8Array(64);
 * if (reader.read(value) !== 1 || value[0] !== 2 || reader.overwritten !== 1) {
 *   throw new Error("unexpected");
 * }
 * if (reader.read(value) !== -1) throw new Error("nothing new");
 * ```
 */
export class SlotWriter {
  /** The longest value, in bytes. */
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #count: number;

  /**
   * Takes a slot: what it held is over.
   *
   * @param buffer Where it lies.
   * @param place Where in it.
   * @throws {PatchbayError} `invalid`: it does not fit there.
   */
  constructor(buffer: ArrayBufferLike, place: SlotPlace) {
    this.capacity = place.capacity;
    this.#words = words(buffer, place);
    this.#bytes = new Uint8Array(buffer, place.offset, slotBytes(place.capacity));
    // Another one may have written here before, and be read still: it goes on counting.
    this.#count = Atomics.load(this.#words, COUNT_AT);
    Atomics.store(this.#words, TOLD_AT, READ);
  }

  /** How many values this slot has seen, wrapping at 2^32. */
  get count(): number {
    return this.#count;
  }

  /**
   * Writes a value; it is the newest from the moment this returns.
   *
   * @param value Its bytes.
   * @throws {PatchbayError} `too_large`.
   */
  write(value: Uint8Array): void {
    const { length } = value;
    if (length > this.capacity) {
      throw new PatchbayError(
        "too_large",
        `the value has ${length} bytes, the slot ${this.capacity}`,
        {
          details: { size: length, max: this.capacity },
          remedy: "make the slot larger",
        },
      );
    }
    const count = (this.#count + 1) | 0;
    const at = bufferAt(count, this.capacity);
    this.#words[at >>> 2] = length;
    this.#bytes.set(value, at + 8);
    this.#count = count;
    Atomics.store(this.#words, COUNT_AT, count);
  }

  /** Whether the reader has to be told that there is something new: once until it has looked. */
  tells(): boolean {
    return Atomics.exchange(this.#words, TOLD_AT, TOLD) !== TOLD;
  }

  /** Whether the reader has read the newest value that it was told of. */
  get wasRead(): boolean {
    return Atomics.load(this.#words, TOLD_AT) === READ;
  }
}

/** The side of a slot that reads. There is one for each slot at any time. */
export class SlotReader {
  /** How many values the last {@link read} has passed over. */
  overwritten = 0;
  readonly #capacity: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #seen: number;

  /**
   * Looks at a slot.
   *
   * @param buffer Where it lies.
   * @param place Where in it.
   * @param seen How many of its values are somebody else's: what {@link SlotWriter.count} said.
   * @throws {PatchbayError} `invalid`: it does not fit there.
   */
  constructor(buffer: ArrayBufferLike, place: SlotPlace, seen = 0) {
    this.#capacity = place.capacity;
    this.#words = words(buffer, place);
    this.#bytes = new Uint8Array(buffer, place.offset, slotBytes(place.capacity));
    this.#seen = seen | 0;
  }

  /** Whether there is something newer than what was read last. */
  get isNewer(): boolean {
    return Atomics.load(this.#words, COUNT_AT) !== this.#seen;
  }

  /** Says that this side is going to read: of what comes from now on it has to be told. */
  listen(): void {
    Atomics.store(this.#words, TOLD_AT, READING);
  }

  /**
   * Copies the newest value.
   *
   * @param target Where to.
   * @returns How many bytes it has; -1 if there is nothing newer than what was read last.
   * @throws {PatchbayError} `protocol`: the other side has broken the slot.
   */
  read(target: Uint8Array): number {
    let count = Atomics.load(this.#words, COUNT_AT);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (count === this.#seen) return this.#done(-1);
      const at = bufferAt(count, this.#capacity);
      const length = this.#words[at >>> 2];
      if (length >= 0 && length <= this.#capacity && length <= target.length) {
        target.set(this.#bytes.subarray(at + 8, at + 8 + length));
      }
      // Not a load: what was copied must have been read before.
      const now = Atomics.add(this.#words, COUNT_AT, 0);
      if (((now - count) >>> 0) <= BUFFERS - 2) {
        if (!(length >= 0 && length <= this.#capacity && length <= target.length)) break;
        this.overwritten = (count - this.#seen - 1) >>> 0;
        this.#seen = count;
        return this.#done(length);
      }
      count = now;
    }
    throw new PatchbayError("protocol", "the slot is broken: no whole value can be read from it", {
      remedy: "close both sides; the other side may be of another version",
    });
  }

  /** What was told before {@link listen} has been read, unless more was told meanwhile. */
  #done(length: number): number {
    Atomics.compareExchange(this.#words, TOLD_AT, READING, READ);
    return length;
  }
}
