/**
 * The slots for newest values in the segment of a pair: some for each direction, between the rings.
 *
 * @module
 */

import { type LinkSlots, slotBytes, SlotReader, SlotWriter } from "@patchbay/core";

/** How many slots each direction has. */
const SLOTS = 8;
/** The longest frame that one holds, in bytes. */
const CAPACITY = 4096;
/** What one takes, up to a line of the cache. */
const EACH_BYTES = Math.ceil(slotBytes(CAPACITY) / 128) * 128;

/** How many bytes the slots of both directions take. */
export const SLOTS_BYTES: number = 2 * SLOTS * EACH_BYTES;

/** The slots of one side of a pair. */
export class Slots implements LinkSlots {
  /** As {@link LinkSlots.capacity}. */
  readonly capacity: number = CAPACITY;
  readonly #buffer: ArrayBufferLike;
  readonly #mine: number;
  readonly #theirs: number;
  readonly #free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);

  /**
   * @param buffer The segment.
   * @param offset Where the slots begin, in bytes.
   * @param dialler Whether the first half is this side's.
   */
  constructor(buffer: ArrayBufferLike, offset: number, dialler: boolean) {
    this.#buffer = buffer;
    const halves = [offset, offset + SLOTS * EACH_BYTES];
    [this.#mine, this.#theirs] = dialler ? halves : halves.reverse();
  }

  /** As {@link LinkSlots.take}. */
  take(): number | undefined {
    return this.#free.pop();
  }

  /** As {@link LinkSlots.give}. */
  give(index: number): void {
    this.#free.push(index);
  }

  /** As {@link LinkSlots.writer}. */
  writer(index: number): SlotWriter {
    return new SlotWriter(this.#buffer, this.#place(this.#mine, index));
  }

  /** As {@link LinkSlots.reader}. */
  reader(index: number, seen: number): SlotReader | undefined {
    if (!(Number.isInteger(index) && index >= 0 && index < SLOTS)) return undefined;
    return new SlotReader(this.#buffer, this.#place(this.#theirs, index), seen);
  }

  #place(half: number, index: number) {
    return { offset: half + index * EACH_BYTES, capacity: CAPACITY };
  }
}
