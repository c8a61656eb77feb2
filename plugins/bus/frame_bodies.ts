/**
 * The memory in which frames are written and read: one piece for many of them, since a piece of
 * memory for each would take longer than all else.
 *
 * @module
 */

import type { BytesView } from "@patchbay/core";
import { MAX_FRAME_BYTES } from "./frames/definitions.ts";
import type { FrameClass, FrameValue } from "./frames/frame.ts";
import { decodeBody, encodeBodyInto } from "./received_frame.ts";

/** So much is taken at once: what is kept of it, as a last value is, keeps all of it. */
const PIECE_BYTES = 4096;
/** The largest body: one byte of flags, and a frame. */
const MAX_BODY_BYTES = 1 + MAX_FRAME_BYTES;

/** Writes the bodies of frames. What was written is never written over. */
export class BodyWriter {
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /**
   * The body of a message that carries a frame.
   *
   * @param frame The frame; `undefined` asks for one.
   * @throws `invalid` or `too_large`, naming the field.
   */
  write(frame: FrameValue | undefined): Uint8Array {
    if (this.#bytes.length - this.#at < MAX_BODY_BYTES) {
      this.#bytes = new Uint8Array(PIECE_BYTES);
      this.#view = new DataView(this.#bytes.buffer);
      this.#at = 0;
    }
    const start = this.#at;
    // If it throws, half a frame lies here: it begins anew behind it.
    this.#at += MAX_BODY_BYTES;
    const end = this.#at = encodeBodyInto(frame, this.#view, this.#bytes, start);
    return this.#bytes.subarray(start, end);
  }
}

/** Reads the bodies of frames, out of views that are lent. */
export class BodyReader {
  readonly #bytes = new Uint8Array(MAX_BODY_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  /**
   * Reads a body.
   *
   * @param frame Its class.
   * @param body The body; nothing of it is kept.
   * @returns The frame, or `undefined` for a request.
   * @throws `protocol`: it is no such frame.
   */
  read(frame: FrameClass, body: BytesView): FrameValue | undefined {
    if (body.length > MAX_BODY_BYTES) return decodeBody(frame, body.copy());
    body.copyTo(this.#bytes);
    return decodeBody(frame, this.#bytes, body.length, this.#view);
  }
}
