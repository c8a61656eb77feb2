/**
 * Makes a checked set of definitions of what a reader has found: every frame has a struct, every
 * number is used once, nothing is larger than a frame may be.
 *
 * @module
 */

import {
  type Enum,
  type Frame,
  FRAME_TYPE_ENUM,
  type FrameDefinitions,
  MAX_FRAME_BYTES,
  RESERVED_FRAMES,
  type Struct,
  structBytes,
} from "./definitions.ts";
import { type HeaderContents, readHeader, type ReadInclude } from "./cpp_header.ts";
import { type Place, sourceError } from "./source_error.ts";

/** Frames that the bus itself knows, with the struct they have if the definitions give none. */
const BUILT_IN: ReadonlyMap<string, Struct> = new Map([
  ["EXTERNAL", {
    name: "frame_external_s",
    doc: "A frame for another robot.",
    fields: [
      {
        name: "length",
        type: { kind: "scalar", scalar: "uint8" },
        doc: "Bytes of the frame inside.",
      },
      {
        name: "address",
        type: { kind: "scalar", scalar: "uint8" },
        length: 2,
        doc: "The robot it is for: the third and fourth octet of its address.",
      },
      { name: "type", type: { kind: "enum", name: FRAME_TYPE_ENUM }, doc: "The frame inside." },
      {
        name: "data",
        type: { kind: "scalar", scalar: "uint8" },
        length: 252,
        doc: "The bytes of the frame inside.",
      },
    ],
  }],
  ["IDENTITY", {
    name: "frame_identity_s",
    doc: "Who a module is.",
    fields: [
      { name: "name", type: { kind: "scalar", scalar: "char" }, length: 64, doc: "Its name." },
    ],
  }],
]);

/**
 * Reads a C++ header and what it includes.
 *
 * @param file How errors name it.
 * @param text Its content.
 * @param readInclude Finds the files named by `#include "…"`.
 * @throws `invalid`: what stands where that a frame cannot hold, and what to write instead.
 *
 * @example
 * ```ts
 * import { readCppFrames } from "@patchbay/bus/frames";
 *
 * const { frames } = readCppFrames("frames.hpp", `
 *   enum frame_type : uint8_t { NONE = 0, BUTTON_STATE, ALL, COUNT };
 *   struct frame_button_state_s { bool pressed; };
 *   R2D2_INTERNAL_FRAME_HELPER(frame_button_state_s, BUTTON_STATE)
 * `, () => undefined);
 * console.log(frames[1].name, frames[1].number); // BUTTON_STATE 1
 * ```
 */
export function readCppFrames(
  file: string,
  text: string,
  readInclude: ReadInclude,
): FrameDefinitions {
  return assemble(file, readHeader(file, text, readInclude));
}

/** Checks the whole, and ties frames to their structs. */
export function assemble(file: string, contents: HeaderContents): FrameDefinitions {
  const { enums, ties, places, templates } = contents;
  const structs = new Map(contents.structs);
  const top: Place = { file, line: 1, column: 1 };
  const frameType = enums.get(FRAME_TYPE_ENUM);
  if (!frameType) {
    throw sourceError(
      top,
      `there is no enum ${FRAME_TYPE_ENUM}`,
      `write enum ${FRAME_TYPE_ENUM} : uint8_t { NONE = 0, …, ALL, COUNT };`,
    );
  }
  if (frameType.scalar !== "uint8") {
    throw sourceError(
      places.get(FRAME_TYPE_ENUM) ?? top,
      `${FRAME_TYPE_ENUM} is ${frameType.scalar}; the number of a frame is one byte`,
      `write enum ${FRAME_TYPE_ENUM} : uint8_t`,
    );
  }
  const tied = new Map<string, string>();
  for (const { struct, frame, place } of ties) {
    if (!structs.has(struct) && templates.has(struct)) {
      throw sourceError(
        templates.get(struct) as Place,
        `${struct} is a template: a frame has one layout`,
        `write a plain struct ${struct}, with numbers in place of the parameters`,
      );
    }
    if (!structs.has(struct)) {
      throw sourceError(place, `there is no struct ${struct}`, near(struct, structs.keys()));
    }
    if (!frameType.values.some(({ name }) => name === frame)) {
      const names = frameType.values.map(({ name }) => name);
      throw sourceError(place, `${FRAME_TYPE_ENUM} has no ${frame}`, near(frame, names));
    }
    if (RESERVED_FRAMES.has(frame)) {
      throw sourceError(place, `${frame} carries nothing`, "tie the struct to a frame of its own");
    }
    if (tied.has(frame)) {
      throw sourceError(place, `${frame} is tied to ${tied.get(frame)} already`);
    }
    tied.set(frame, struct);
  }
  const frames = frameType.values.map(({ name, value, doc }): Frame => {
    let struct = tied.get(name);
    if (struct === undefined && !RESERVED_FRAMES.has(name)) {
      const own = BUILT_IN.get(name);
      if (!own) {
        throw sourceError(
          places.get(FRAME_TYPE_ENUM) ?? top,
          `the frame type ${name} has no struct`,
          `write R2D2_INTERNAL_FRAME_HELPER(frame_${name.toLowerCase()}_s, ${name})`,
        );
      }
      struct = own.name;
      structs.set(struct, own);
    }
    return { name, number: Number(value), struct, doc: structs.get(struct ?? "")?.doc || doc };
  });
  const definitions = { enums, structs, frames };
  checkNumbers(definitions, frameType, places.get(FRAME_TYPE_ENUM) ?? top);
  for (const { name, struct } of frames) {
    if (struct === undefined) continue;
    const bytes = structBytes(definitions, structs.get(struct)!);
    if (bytes > MAX_FRAME_BYTES) {
      throw sourceError(
        places.get(struct) ?? top,
        `${struct} (${name}) has ${bytes} bytes; a frame has ${MAX_FRAME_BYTES} at most`,
        "shorten its arrays, or send it as an ordinary message: bay.shout",
      );
    }
  }
  return definitions;
}

function checkNumbers(definitions: FrameDefinitions, frameType: Enum, place: Place): void {
  const numbers = new Map<number, string>();
  for (const { name, number } of definitions.frames) {
    const other = numbers.get(number);
    if (other !== undefined) {
      throw sourceError(
        place,
        `${name} and ${other} both have the number ${number}`,
        "give each frame a number of its own",
      );
    }
    numbers.set(number, name);
  }
  if (!frameType.values.some(({ value }) => value === 0n)) return;
  if (numbers.get(0) !== "NONE") {
    throw sourceError(
      place,
      `${numbers.get(0)} has the number 0`,
      "0 is NONE: begin with NONE = 0",
    );
  }
}

/** “did you mean”: the known name that begins or ends alike, else the way to add one. */
function near(name: string, names: Iterable<string>): string {
  for (const each of names) {
    if (each.startsWith(name) || name.startsWith(each)) return `did you mean ${each}?`;
  }
  return `define ${name}, or correct the name`;
}
