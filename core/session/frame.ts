/**
 * A frame that has come, read in place. One object is reused for all frames of a session.
 *
 * @module
 */

import { type BytesView, lender } from "../bytes_view.ts";
import { PatchbayError } from "../errors.ts";
import { decodeHeaders, HEADER_BYTES } from "./envelope.ts";
import type { Sender } from "./sender.ts";

const NOTHING = new Uint8Array(0);
/** Bare bytes up to this size find their memory made while nothing came: that takes 200 ns. */
const STOCKED_BYTES = 1024;
/** Copies up to this size go into a buffer that stays. */
const KEPT_BYTES = 64 * 1024;

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
  /** Whether others can still change its bytes: each is then read once. */
  readonly #shared: boolean;
  #head: Uint8Array = NOTHING;
  #view: DataView = new DataView(this.#head.buffer);
  #headersAt = 0;
  #headersEnd = 0;
  #buffer: Uint8Array = NOTHING;
  #bodyAt = 0;
  #end = 0;
  /** The body is all of its buffer, and nobody else has it. */
  #owned = false;
  /** Whether the bytes of this frame can still change. */
  #changing = false;
  #copy: Uint8Array = NOTHING;
  /** For the next bare bytes, if they are as many as the last. */
  #stock: Uint8Array | undefined;
  #stockBytes = 0;

  /** @param shared As {@link import("../link.ts").Link.shared}. */
  constructor(shared = false) {
    this.#shared = shared;
  }

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
    this.#readHeader(buffer, start);
    this.#buffer = buffer;
    this.#bodyAt = this.#headersEnd;
    this.#end = end;
    this.#owned = false;
    this.#changing = this.#shared;
    if (this.#bodyAt > end) throw tooLongBlock();
  }

  /**
   * Reads a frame that was put together from fragments.
   *
   * @param head Its header and header block; empty if they are in the body.
   * @param body The rest; the frame may give it away.
   * @throws {PatchbayError} `protocol`: too short.
   */
  readWhole(head: Uint8Array, body: Uint8Array): void {
    if (head.length === 0) {
      this.read(body, 0, body.length);
      this.#changing = false;
      return;
    }
    this.#readHeader(head, 0);
    if (this.#headersEnd !== head.length) throw tooLongBlock();
    this.#buffer = body;
    this.#bodyAt = 0;
    this.#end = body.length;
    this.#owned = body.length === body.buffer.byteLength;
    this.#changing = false;
  }

  /**
   * How many bytes of a message go before its body, as its first fragment says; 0 if that is too
   * short to tell.
   */
  headBytesOfFirst(): number {
    const { bodyBytes } = this;
    if (bodyBytes < HEADER_BYTES) return 0;
    const at = this.#bodyAt + 6;
    const bytes = HEADER_BYTES + this.#buffer[at] + this.#buffer[at + 1] * 256;
    return bytes > bodyBytes ? 0 : bytes;
  }

  /**
   * What was sent along; `undefined` if nothing.
   *
   * @throws {PatchbayError} `protocol`.
   */
  headers(): Readonly<Record<string, string>> | undefined {
    if (this.#headersEnd === this.#headersAt) return undefined;
    const block = this.#head.subarray(this.#headersAt, this.#headersEnd);
    // A decoder may go over its input twice, and trust what it saw the first time.
    return decodeHeaders(this.#changing ? new Uint8Array(block) : block);
  }

  /** Nothing has come: makes what the next frame is likely to need. */
  stockUp(): void {
    if (this.#stock === undefined && this.#stockBytes > 0) {
      this.#stock = new Uint8Array(this.#stockBytes);
    }
  }

  /** The body: in place, unless somebody could still change it there. */
  body(): Uint8Array {
    if (this.#changing) return this.#copied(this.#bodyAt);
    return this.#buffer.subarray(this.#bodyAt, this.#end);
  }

  /** The body in place, for who reads each byte once. */
  piece(): Uint8Array {
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
    const at = this.#bodyAt + skip;
    const end = this.#end;
    if (end < at) throw new PatchbayError("protocol", "a frame's body is too short");
    if (sender.isBare(this.codec, this.flags)) {
      if (this.#owned && skip === 0) {
        this.#owned = false;
        return this.#buffer;
      }
      const bytes = this.#buffer.subarray(at, end);
      const { length } = bytes;
      if (length <= STOCKED_BYTES) {
        const stocked = this.#stock;
        this.#stock = undefined;
        this.#stockBytes = length;
        if (stocked?.length === length) {
          stocked.set(bytes);
          return stocked;
        }
      }
      // One copy, whoever changes the original. It takes a third of the time of `set` into new
      // memory, which is cleared first.
      return new Uint8Array(bytes);
    }
    const body = this.#changing ? this.#copied(at) : this.#buffer.subarray(at, end);
    return sender.decode(this.codec, this.flags, body);
  }

  /**
   * A view of the body, to be taken back before the next frame; `undefined` if the body is not the
   * value itself.
   *
   * @param sender Knows the codecs.
   */
  lent(sender: Sender): BytesView | undefined {
    if (!sender.isBare(this.codec, this.flags)) return undefined;
    const view = this.#buffer === this.#head ? this.#view : undefined;
    return lender.lend(this.#buffer, this.#bodyAt, this.#end, view);
  }

  /** The buffer of a body that was put together, if nobody was given it. */
  get spare(): Uint8Array<ArrayBuffer> | undefined {
    return this.#owned ? this.#buffer as Uint8Array<ArrayBuffer> : undefined;
  }

  #readHeader(buffer: Uint8Array, start: number): void {
    if (buffer !== this.#head) {
      this.#head = buffer;
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
    this.#headersEnd = this.#headersAt + (second >>> 16);
  }

  #copied(at: number): Uint8Array {
    const bytes = this.#end - at;
    const body = this.#buffer.subarray(at, this.#end);
    if (bytes > KEPT_BYTES) return new Uint8Array(body);
    if (this.#copy.length < bytes) this.#copy = new Uint8Array(KEPT_BYTES);
    this.#copy.set(body);
    return this.#copy.subarray(0, bytes);
  }
}

function tooLongBlock(): PatchbayError {
  return new PatchbayError("protocol", "a frame's header block is longer than the frame");
}
