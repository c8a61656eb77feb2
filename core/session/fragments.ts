/**
 * Puts messages together again that came in fragments. Memory grows with what has arrived, never
 * far beyond it for what was announced, nor with the number of pieces.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import { FRAGMENT_BYTES } from "./envelope.ts";

/** The most messages of one connection that may be in pieces at once. */
export const MAX_PARTIAL = 64;

/** The room of a message whose size is not known begins with one fragment of ours, and doubles. */
const FIRST_BYTES = FRAGMENT_BYTES;
/** What is announced is believed up to this size, and beyond it eight times what has arrived. */
const BELIEVED_BYTES = 1024 * 1024;
const BELIEVED_FACTOR = 8;
/**
 * So much may all messages of one connection have together in room whose bytes have not come: who has
 * announced more gets room as the bytes come, twice what has arrived.
 */
export const MAX_UNEARNED_BYTES = 8 * 1024 * 1024;
/** The largest body that is kept for the next one. */
const MAX_SPARE_BYTES = 4 * 1024 * 1024;

interface Partial {
  /** The first bytes of the message, kept apart. */
  readonly head: Uint8Array;
  /** The rest, and room for more. */
  body: Uint8Array<ArrayBuffer>;
  /** How much of the body has come. */
  used: number;
  /** How large the body will be; 0: not announced. */
  readonly announced: number;
}

/** The messages of one connection that are still in pieces. */
export class Reassembly {
  /** The head of the message that {@link add} gave last. */
  head: Uint8Array = new Uint8Array(0);
  readonly #maxBytes: number;
  readonly #partial = new Map<number, Partial>();
  #bytes = 0;
  /** The room whose bytes have not come, of all bodies together. */
  #unearned = 0;
  #spare: Uint8Array<ArrayBuffer> | undefined;

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
   * How much memory is held for them: at most {@link MAX_UNEARNED_BYTES} over twice what waits, and
   * for each whose size is not known the room of one fragment.
   */
  get roomBytes(): number {
    return this.#unearned + this.#bytes;
  }

  /** Whether a message has begun, and not ended. */
  has(id: number): boolean {
    return this.#partial.has(id);
  }

  /**
   * Adds a fragment.
   *
   * @param id The message's number.
   * @param bytes The fragment; it is copied.
   * @param last Whether it is the last.
   * @param total How large the message will be, as its first fragment says; 0: it does not.
   * @param headBytes How much of a first fragment belongs to the {@link head}.
   * @returns The whole message without its head after its last fragment. If its size was announced,
   * it has a buffer of its own.
   * @throws {PatchbayError} `too_large`: the message; `protocol`: too many messages at once, or
   * another size than announced.
   */
  add(
    id: number,
    bytes: Uint8Array,
    last: boolean,
    total = 0,
    headBytes = 0,
  ): Uint8Array<ArrayBuffer> | undefined {
    let partial = this.#partial.get(id);
    const isFirst = partial === undefined;
    if (isFirst && this.#partial.size >= MAX_PARTIAL) {
      throw new PatchbayError("protocol", `over ${MAX_PARTIAL} messages in fragments at once`);
    }
    const arrived = partial === undefined ? 0 : partial.head.length + partial.used;
    const size = Math.max(arrived + bytes.length, isFirst ? total : 0);
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
    if (partial === undefined) {
      if (bytes.length < headBytes || (total !== 0 && !(total >= headBytes))) {
        throw new PatchbayError("protocol", "a first fragment is too short");
      }
      const announced = total === 0 ? 0 : total - headBytes;
      const room = announced === 0 ? FIRST_BYTES : this.#believed(announced, bytes.length, 0);
      partial = {
        head: bytes.slice(0, headBytes),
        body: this.#room(room),
        used: 0,
        announced,
      };
      this.#unearned += room;
      this.#partial.set(id, partial);
    }
    this.#append(partial, isFirst && headBytes > 0 ? bytes.subarray(headBytes) : bytes);
    this.#bytes += bytes.length;
    if (!last) return undefined;
    this.#partial.delete(id);
    this.#bytes -= arrived + bytes.length;
    this.#unearned -= partial.body.length - partial.used;
    const { body, used, announced } = partial;
    if (announced !== 0 && used !== announced) throw notAsAnnounced(used, announced);
    this.head = partial.head;
    return used === body.length ? body : body.subarray(0, used);
  }

  /**
   * Takes a body back that nobody else has: the next one of its size needs no new memory, which
   * costs more than the copy into it.
   *
   * @param body What {@link add} gave.
   */
  recycle(body: Uint8Array<ArrayBuffer>): void {
    if (body.length <= MAX_SPARE_BYTES) this.#spare = body;
  }

  #room(bytes: number): Uint8Array<ArrayBuffer> {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare?.length === bytes ? spare : new Uint8Array(bytes);
  }

  /**
   * How much room a message gets.
   *
   * @param announced How large it will be.
   * @param arrived How much of it has come.
   * @param unearned How much of the room that all have is its own, and empty.
   */
  #believed(announced: number, arrived: number, unearned: number): number {
    const free = MAX_UNEARNED_BYTES - this.#unearned + unearned;
    const hoped = Math.max(BELIEVED_BYTES, arrived * BELIEVED_FACTOR);
    return Math.min(announced, Math.max(arrived * 2, Math.min(hoped, arrived + free)));
  }

  /** Adds a piece; tiny ones must not cost an object each, nor all be copied again. */
  #append(partial: Partial, bytes: Uint8Array): void {
    const used = partial.used + bytes.length;
    const { announced } = partial;
    const had = partial.body.length;
    if (used > had) {
      if (announced !== 0 && used > announced) throw notAsAnnounced(used, announced);
      const room = announced === 0
        ? Math.max(used, had * 2)
        : Math.max(used, this.#believed(announced, used, had - partial.used));
      partial.body = new Uint8Array(partial.body.buffer.transfer(room));
      this.#unearned += room - had;
    }
    partial.body.set(bytes, partial.used);
    partial.used = used;
    this.#unearned -= bytes.length;
  }
}

function notAsAnnounced(found: number, expected: number): PatchbayError {
  return new PatchbayError("protocol", "a message in fragments has not the size it announced", {
    details: { found, expected },
  });
}
