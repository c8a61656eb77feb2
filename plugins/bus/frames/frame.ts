/**
 * What a module handles at run time: frames as objects, and the set of classes that it knows.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { FrameSignature } from "./fingerprint.ts";

/** One frame: an object of a generated class. */
export interface FrameValue {
  /**
   * Writes the fields.
   *
   * @param view Over the whole of `bytes`.
   * @param bytes Where to.
   * @param at The first byte.
   * @returns The byte after the last that was written.
   * @throws `invalid` or `too_large`, naming the field.
   */
  encodeInto(view: DataView, bytes: Uint8Array, at: number): number;
}

/** A generated class. */
export interface FrameClass<T extends FrameValue = FrameValue> {
  /** The number on the wire. */
  readonly type: number;
  /** The name in the definitions, such as `BUTTON_STATE`. */
  readonly frameName: string;
  /** The largest it can be, in bytes. */
  readonly maxBytes: number;
  /** Digest of its layout. */
  readonly layout: string;
  /**
   * Reads a frame.
   *
   * @param view Over the whole of `bytes`.
   * @param bytes Where from; nothing of it is kept.
   * @param at The first byte.
   * @param end The byte after the last.
   * @throws `protocol` where the bytes are no such frame.
   */
  decode(view: DataView, bytes: Uint8Array, at: number, end: number): T;
}

/** All frames of one file of definitions. */
export class FrameSet {
  /** By number; `undefined` where there is none. */
  readonly byNumber: readonly (FrameClass | undefined)[];
  /** By name. */
  readonly byName: ReadonlyMap<string, FrameClass>;
  /** The same on both sides, or they do not understand each other. */
  readonly fingerprint: string;

  /**
   * Made by the generated file.
   *
   * @param fingerprint As the generator has computed it.
   * @param classes Every class of the file.
   */
  constructor(fingerprint: string, classes: readonly FrameClass[]) {
    const byNumber: (FrameClass | undefined)[] = new Array(256).fill(undefined);
    for (const each of classes) byNumber[each.type] = each;
    this.byNumber = byNumber;
    this.byName = new Map(classes.map((each) => [each.frameName, each]));
    this.fingerprint = fingerprint;
  }

  /** What is exchanged when two sides' fingerprints differ. */
  get signatures(): FrameSignature[] {
    return [...this.byName.values()].map(({ frameName, type, layout }) => (
      { name: frameName, number: type, layout }
    ));
  }

  /**
   * The class of a number.
   *
   * @throws `not_found` where there is none.
   */
  classOf(number: number): FrameClass {
    const found = this.byNumber[number];
    if (found) return found;
    throw new PatchbayError("not_found", `there is no frame type ${number}`, {
      remedy: "generate the definitions anew, or look at the sender",
    });
  }

  /** Writes a frame into bytes of its own. */
  encode(frame: FrameValue): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array((frame.constructor as unknown as FrameClass).maxBytes);
    const end = frame.encodeInto(new DataView(bytes.buffer), bytes, 0);
    return bytes.subarray(0, end);
  }

  /**
   * Reads a frame.
   *
   * @param number Its type.
   * @param bytes Exactly the frame; nothing of it is kept.
   * @throws `not_found` where there is no such type, `protocol` where the bytes are no such frame.
   */
  decode(number: number, bytes: Uint8Array): FrameValue {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.classOf(number).decode(view, bytes, 0, bytes.length);
  }
}
