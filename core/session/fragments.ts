/**
 * Puts messages together again that came in fragments. Memory grows with what has arrived, never
 * with what was announced nor with the number of pieces.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import { FRAGMENT_BYTES } from "./envelope.ts";

/** The most messages of one connection that may be in pieces at once. */
export const MAX_PARTIAL = 64;

/** The room a message begins with: one fragment of ours. */
const FIRST_BYTES = FRAGMENT_BYTES;

interface Partial {
  /** Doubled when full: pieces of one byte must not cost an object each. */
  room: Uint8Array;
  bytes: number;
}

/** The messages of one connection that are still in pieces. */
export class Reassembly {
  readonly #maxBytes: number;
  readonly #partial = new Map<number, Partial>();
  #bytes = 0;

  /**
   * @param maxBytes The largest message, its frame header included.
   */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** How many bytes wait for the rest of their message. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a fragment.
   *
   * @param id The message's number.
   * @param bytes The fragment; it is copied.
   * @param last Whether it is the last.
   * @returns The whole message after its last fragment.
   * @throws {PatchbayError} `too_large`: the message; `protocol`: too many messages at once.
   */
  add(id: number, bytes: Uint8Array, last: boolean): Uint8Array | undefined {
    let partial = this.#partial.get(id);
    if (partial === undefined) {
      if (this.#partial.size >= MAX_PARTIAL) {
        throw new PatchbayError("protocol", `over ${MAX_PARTIAL} messages in fragments at once`);
      }
      this.#partial.set(id, partial = { room: new Uint8Array(FIRST_BYTES), bytes: 0 });
    }
    const size = partial.bytes + bytes.length;
    if (size > this.#maxBytes || this.#bytes + bytes.length > this.#maxBytes * 4) {
      throw new PatchbayError(
        "too_large",
        `a message in fragments is over the limit of ${this.#maxBytes} bytes`,
        { details: { size, max: this.#maxBytes } },
      );
    }
    if (bytes.length === 0 && !last) {
      throw new PatchbayError("protocol", "an empty fragment");
    }
    if (size > partial.room.length) {
      const bigger = new Uint8Array(Math.min(this.#maxBytes, Math.max(size, size * 2)));
      bigger.set(partial.room.subarray(0, partial.bytes));
      partial.room = bigger;
    }
    partial.room.set(bytes, partial.bytes);
    partial.bytes = size;
    this.#bytes += bytes.length;
    if (!last) return undefined;
    this.#partial.delete(id);
    this.#bytes -= size;
    return partial.room.subarray(0, size);
  }
}
