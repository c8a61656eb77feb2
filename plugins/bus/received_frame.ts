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
 * The body of a message that carries a frame: one byte of flags, then the frame.
 *
 * @param frame The frame; `undefined` asks for one.
 */
export function encodeBody(frame: FrameValue | undefined): Uint8Array<ArrayBuffer> {
  if (frame === undefined) return Uint8Array.of(REQUEST);
  const { maxBytes } = frame.constructor as unknown as FrameClass;
  const bytes = new Uint8Array(1 + maxBytes);
  const end = frame.encodeInto(new DataView(bytes.buffer), bytes, 1);
  return bytes.subarray(0, end);
}

/**
 * Reads such a body.
 *
 * @param frame Its class.
 * @param bytes The body; nothing of it is kept.
 * @returns The frame, or `undefined` for a request.
 * @throws `protocol`: it is no such frame.
 */
export function decodeBody(frame: FrameClass, bytes: Uint8Array): FrameValue | undefined {
  const flags = bytes[0];
  if (flags === REQUEST && bytes.length === 1) return undefined;
  if (flags !== 0) {
    throw new PatchbayError("protocol", `${frame.frameName}: the flags are ${flags}`, {
      remedy: "look at the module that sends it: it speaks another version",
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return frame.decode(view, bytes, 1, bytes.length);
}
