/**
 * A frame as it arrives at a module: what, from whom, question or answer.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { FrameClass, FrameValue } from "./frames/frame.ts";

/** The flag of a frame that asks for another. */
const REQUEST = 0x01;

/** Where a frame came from, and how. */
export interface FrameOrigin {
  /** The module's name; empty where it is not known. */
  readonly module: string;
  /** The lane, 0 to 255. */
  readonly priority: number;
  /** Whether it is the last value from before this module listened. */
  readonly retained: boolean;
}

/** A frame that has arrived. */
export class ReceivedFrame {
  /** The number of its type. */
  readonly type: number;
  /** The name of its type. */
  readonly name: string;
  /** Whether it asks for such a frame; then it has no value. */
  readonly request: boolean;
  /** Where it came from. */
  readonly origin: FrameOrigin;
  readonly #value: FrameValue | undefined;

  /**
   * Made by a comm.
   *
   * @param frame Its class.
   * @param value The frame; `undefined`: somebody asks for one.
   * @param origin Where it came from.
   */
  constructor(frame: FrameClass, value: FrameValue | undefined, origin: FrameOrigin) {
    this.type = frame.type;
    this.name = frame.frameName;
    this.request = value === undefined;
    this.origin = origin;
    this.#value = value;
  }

  /**
   * The frame.
   *
   * @throws `invalid`: it is a request.
   */
  get value(): FrameValue {
    if (this.#value !== undefined) return this.#value;
    throw new PatchbayError("invalid", `${this.name} is a request: it has no value`, {
      remedy: "look at frame.request first, and answer with comm.send()",
    });
  }

  /**
   * The frame, if it is of a class and no request.
   *
   * @param frame The class.
   */
  as<T extends FrameValue>(frame: FrameClass<T>): T | undefined {
    return this.type === frame.type ? this.#value as T | undefined : undefined;
  }
}

/**
 * Writes the body of a message that carries a frame: one byte of flags, then the frame.
 *
 * @param frame The frame; `undefined` asks for one.
 * @param view Over the whole of `bytes`.
 * @param bytes Where to.
 * @param at The first byte.
 * @returns The byte after the last that was written.
 */
export function encodeBodyInto(
  frame: FrameValue | undefined,
  view: DataView,
  bytes: Uint8Array,
  at: number,
): number {
  if (frame !== undefined) return frame.encodeInto(view, bytes, at + 1);
  bytes[at] = REQUEST;
  return at + 1;
}

/**
 * Reads such a body.
 *
 * @param frame Its class.
 * @param bytes Where the body begins; nothing of it is kept.
 * @param length How long it is.
 * @param view Over the whole of `bytes`.
 * @returns The frame, or `undefined` for a request.
 * @throws `protocol`: it is no such frame.
 */
export function decodeBody(
  frame: FrameClass,
  bytes: Uint8Array,
  length: number = bytes.length,
  view: DataView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
): FrameValue | undefined {
  const flags = length === 0 ? undefined : bytes[0];
  if (flags === REQUEST && length === 1) return undefined;
  if (flags !== 0) {
    throw new PatchbayError("protocol", `${frame.frameName}: the flags are ${flags}`, {
      remedy: "look at the module that sends it: it speaks another version",
    });
  }
  return frame.decode(view, bytes, 1, length);
}
