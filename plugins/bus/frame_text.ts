/**
 * Frames for people: by the names of their types and fields, as tools show and read them.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { BodyWriter } from "./frame_bodies.ts";
import type { FrameClass, FrameSet, FrameValue } from "./frames/frame.ts";
import { decodeBody } from "./received_frame.ts";

/** A frame as it is shown. */
export interface ShownFrame {
  /** The name of its type. */
  readonly frame: string;
  /** Whether it asks for such a frame. */
  readonly request: boolean;
  /** Its fields; of a request `null`. */
  readonly value: Readonly<Record<string, unknown>> | null;
}

/** Shows and reads frames of one set of definitions. */
export class FrameText {
  readonly #byAddress: ReadonlyMap<string, FrameClass>;
  readonly #set: FrameSet;

  /**
   * Made of definitions.
   *
   * @param set The definitions.
   */
  constructor(set: FrameSet) {
    this.#set = set;
    this.#byAddress = new Map(
      [...set.byName.values()].map((each) => [`frame/${each.frameName.toLowerCase()}`, each]),
    );
  }

  /**
   * Where frames of a type are spoken.
   *
   * @param name The type; `ALL` for every one.
   * @throws `not_found`: there is no such type.
   */
  addressOf(name: string): string {
    return name === "ALL" ? "frame/*" : `frame/${this.#named(name).frameName.toLowerCase()}`;
  }

  /**
   * A frame as it is shown; `undefined` if its type is not among the definitions.
   *
   * @param address Where it came.
   * @param body What came.
   * @throws `protocol`: it is no such frame.
   */
  show(address: string, body: unknown): ShownFrame | undefined {
    const known = this.#byAddress.get(address);
    if (known === undefined) return undefined;
    const { frameName: frame } = known;
    if (!(body instanceof Uint8Array)) {
      throw new PatchbayError("protocol", `${frame}: what came are not bare bytes`);
    }
    const value = decodeBody(known, body);
    return {
      frame,
      request: value === undefined,
      value: value === undefined ? null : { ...value },
    };
  }

  /**
   * The body of a frame.
   *
   * @param name Its type.
   * @param fields What differs from zero.
   * @throws `not_found`, `invalid`, `too_large`, naming what is wrong.
   */
  body(name: string, fields: unknown): Uint8Array {
    const known = this.#named(name) as FrameClass & { new (fields?: unknown): FrameValue };
    if (fields !== null && (typeof fields !== "object" || Array.isArray(fields))) {
      throw new PatchbayError("invalid", `${name}: its fields are an object`);
    }
    const names = Object.keys(new known());
    const wrong = Object.keys(fields ?? {}).find((each) => !names.includes(each));
    if (wrong !== undefined) {
      throw new PatchbayError("invalid", `${name} has no field ${wrong}`, {
        remedy: names.length === 0 ? "it has none" : `it has ${names.join(", ")}`,
      });
    }
    return new BodyWriter().write(new known(fields ?? {}));
  }

  #named(name: string): FrameClass {
    const found = this.#set.byName.get(name);
    if (found !== undefined) return found;
    throw new PatchbayError("not_found", `there is no frame type ${name}`, {
      remedy: `the definitions have ${[...this.#set.byName.keys()].slice(0, 32).join(", ")}`,
    });
  }
}
