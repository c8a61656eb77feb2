/**
 * What a module handles at run time: frames as objects, and the set of classes that it knows.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { MAX_FRAME_BYTES } from "./definitions.ts";
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

  /**
   * Wraps a frame for another robot: an EXTERNAL, which is sent as any frame.
   *
   * @param frame The frame.
   * @param address The robot's two bytes: the third and fourth octet of its address.
   * @throws `invalid`: the address is none, or the definitions have no such EXTERNAL; `too_large`: 252
   * bytes is the most that fits.
   *
   * @example
   * ```ts
   * import { frames, Text } from "@patchbay/bus/example";
   *
   * const wrapped = frames.wrap(new Text({ text: "hello" }), [1, 20]);
   * const { address, frame } = frames.unwrap(wrapped);
   * console.log(address, (frame as Text).text); // [ 1, 20 ] hello
   * ```
   */
  wrap(frame: FrameValue, address: readonly [number, number]): FrameValue {
    const inside = this.encode(frame);
    const { frameName, type } = frame.constructor as unknown as FrameClass;
    if (inside.length > MAX_FRAME_BYTES - WRAPPING_BYTES) {
      const max = MAX_FRAME_BYTES - WRAPPING_BYTES;
      throw new PatchbayError(
        "too_large",
        `${frameName} of ${inside.length} bytes in an EXTERNAL`,
        {
          details: { size: inside.length, max },
          remedy: "send it as an ordinary message over a bridge",
        },
      );
    }
    if (address.length !== 2 || !address.every((n) => Number.isInteger(n) && n >= 0 && n <= 255)) {
      throw new PatchbayError("invalid", `[${address.join(", ")}] is no robot's address`, {
        remedy: "two numbers from 0 to 255",
      });
    }
    const bytes = Uint8Array.of(inside.length, ...address, type, ...inside);
    const wrapped = this.decode(this.#external().type, bytes);
    if (this.encode(wrapped).toHex() === bytes.toHex()) return wrapped;
    throw otherExternal();
  }

  /**
   * Takes a frame out of an EXTERNAL.
   *
   * @param external What {@link wrap} has made, here or elsewhere.
   * @throws `invalid`: it is no EXTERNAL; `not_found`: there is no type of the frame inside;
   * `protocol`: it is no such frame.
   */
  unwrap(external: FrameValue): { readonly address: [number, number]; readonly frame: FrameValue } {
    const { type, frameName } = external.constructor as unknown as FrameClass;
    if (type !== this.#external().type) {
      throw new PatchbayError("invalid", `${frameName} wraps no frame: EXTERNAL does`);
    }
    const bytes = this.encode(external);
    const [length, first, second, inside] = bytes;
    if (bytes.length < WRAPPING_BYTES + length) {
      const there = bytes.length - WRAPPING_BYTES;
      throw new PatchbayError("protocol", `EXTERNAL.length is ${length}, and ${there} bytes came`);
    }
    const data = bytes.subarray(WRAPPING_BYTES, WRAPPING_BYTES + length);
    return { address: [first, second], frame: this.decode(inside, data) };
  }

  #external(): FrameClass {
    const external = this.byName.get("EXTERNAL");
    if (external?.maxBytes === MAX_FRAME_BYTES) return external;
    throw otherExternal();
  }
}

/** Its length, the address of two bytes, and its type stand before the frame inside. */
const WRAPPING_BYTES = 4;

function otherExternal(): PatchbayError {
  return new PatchbayError("invalid", "the definitions have no EXTERNAL that wraps a frame", {
    remedy: "leave its struct out, or write: uint8_t length, two of address, type, data[252]",
  });
}
