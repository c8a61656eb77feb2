/**
 * A frame that has come, read in place. One object is reused for all frames of a session.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import { decodeHeaders, HEADER_BYTES } from "./envelope.ts";
import type { Sender } from "./sender.ts";

/** A frame that has come. Valid until the next one: whoever keeps something copies it. */
export class Frame {
  /** What it is. */
  kind = 0;
  /** Bits. */
  flags = 0;
  /** The index of its codec. */
  codec = 0;
  /** 0–255. */
  priority = 0;
  /** Hops left. */
  ttl = 0;
  /** Of the request, subscription or job. */
  id = 0;
  /** The address's number. */
  route = 0;
  /** Remaining ms, sequence, or credit, by kind. */
  number = 0;
  #buffer: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#buffer.buffer);
  #headersAt = 0;
  #bodyAt = 0;
  #end = 0;

  /** The size of the body, in bytes. */
  get bodyBytes(): number {
    return this.#end - this.#bodyAt;
  }

  /**
   * Reads the header.
   *
   * @param buffer Where the frame lies.
   * @param start Its first byte.
   * @param end Behind its last byte.
   * @throws {PatchbayError} `protocol`: too short.
   */
  read(buffer: Uint8Array, start: number, end: number): void {
    if (end - start < HEADER_BYTES) {
      throw new PatchbayError("protocol", `a frame of ${end - start} bytes`);
    }
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    const view = this.#view;
    const first = view.getUint32(start, true);
    this.kind = first & 0xff;
    this.flags = (first >>> 8) & 0xff;
    this.codec = (first >>> 16) & 0xff;
    this.priority = first >>> 24;
    const second = view.getUint32(start + 4, true);
    this.ttl = second & 0xff;
    this.id = view.getUint32(start + 8, true);
    this.route = view.getUint32(start + 12, true);
    this.number = view.getFloat64(start + 16, true);
    this.#headersAt = start + HEADER_BYTES;
    this.#bodyAt = this.#headersAt + (second >>> 16);
    this.#end = end;
    if (this.#bodyAt > end) {
      throw new PatchbayError("protocol", "a frame's header block is longer than the frame");
    }
  }

  /**
   * What was sent along; `undefined` if nothing.
   *
   * @throws {PatchbayError} `protocol`.
   */
  headers(): Readonly<Record<string, string>> | undefined {
    if (this.#bodyAt === this.#headersAt) return undefined;
    return decodeHeaders(this.#buffer.subarray(this.#headersAt, this.#bodyAt));
  }

  /** The body, in place. */
  body(): Uint8Array {
    return this.#buffer.subarray(this.#bodyAt, this.#end);
  }

  /**
   * The value in the body.
   *
   * @param sender Knows the codecs.
   * @param skip Bytes before the value.
   * @throws {PatchbayError} `protocol`, `too_large`.
   */
  value(sender: Sender, skip = 0): unknown {
    if (this.#end - this.#bodyAt < skip) {
      throw new PatchbayError("protocol", "a frame's body is too short");
    }
    const body = this.#buffer.subarray(this.#bodyAt + skip, this.#end);
    return sender.decode(this.codec, this.flags, body);
  }
}
