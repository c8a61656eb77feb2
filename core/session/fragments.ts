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

/** Further room comes in blocks of this size. */
const BLOCK_BYTES = 64 * 1024;

interface Partial {
  /** Blocks that are full. */
  readonly full: Uint8Array[];
  /** The block that is being filled. */
  block: Uint8Array;
  /** How much of it is. */
  used: number;
  /** All that has come. */
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
      this.#partial.set(
        id,
        partial = { full: [], block: new Uint8Array(FIRST_BYTES), used: 0, bytes: 0 },
      );
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
    append(partial, bytes);
    this.#bytes += bytes.length;
    if (!last) return undefined;
    this.#partial.delete(id);
    this.#bytes -= size;
    return joined(partial);
  }
}

/** Gathers pieces in blocks: tiny ones must not cost an object each, nor all be copied again. */
function append(partial: Partial, bytes: Uint8Array): void {
  partial.bytes += bytes.length;
  let rest = bytes;
  while (rest.length > 0) {
    if (partial.used === partial.block.length) {
      partial.full.push(partial.block);
      partial.block = new Uint8Array(BLOCK_BYTES);
      partial.used = 0;
    }
    const part = rest.subarray(0, partial.block.length - partial.used);
    partial.block.set(part, partial.used);
    partial.used += part.length;
    rest = rest.subarray(part.length);
  }
}

function joined(partial: Partial): Uint8Array {
  if (partial.full.length === 0) return partial.block.subarray(0, partial.used);
  const whole = new Uint8Array(partial.bytes);
  let at = 0;
  for (const block of partial.full) {
    whole.set(block, at);
    at += block.length;
  }
  whole.set(partial.block.subarray(0, partial.used), at);
  return whole;
}
