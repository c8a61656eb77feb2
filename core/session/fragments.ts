/**
 * Puts messages together again that came in fragments. Memory grows with what has arrived, never
 * with what was announced.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";

/** The most messages of one connection that may be in pieces at once. */
export const MAX_PARTIAL = 64;

interface Partial {
  chunks: Uint8Array[];
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
      this.#partial.set(id, partial = { chunks: [], bytes: 0 });
    }
    partial.bytes += bytes.length;
    if (partial.bytes > this.#maxBytes || this.#bytes + bytes.length > this.#maxBytes * 4) {
      throw new PatchbayError(
        "too_large",
        `a message in fragments is over the limit of ${this.#maxBytes} bytes`,
        { details: { size: partial.bytes, max: this.#maxBytes } },
      );
    }
    if (bytes.length === 0 && !last) {
      throw new PatchbayError("protocol", "an empty fragment");
    }
    this.#bytes += bytes.length;
    partial.chunks.push(bytes.slice());
    if (!last) return undefined;
    this.#partial.delete(id);
    this.#bytes -= partial.bytes;
    const whole = new Uint8Array(partial.bytes);
    let at = 0;
    for (const chunk of partial.chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }
}
