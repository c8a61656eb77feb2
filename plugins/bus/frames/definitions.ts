/**
 * What a set of frame definitions holds, whatever file it came from, and the layout that follows:
 * packed, little-endian, in the order of the fields.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/** Types of one value. `char` is one byte of text. */
export type Scalar =
  | "bool"
  | "char"
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

/** Bytes of each scalar. */
export const SCALAR_BYTES: Readonly<Record<Scalar, number>> = {
  bool: 1,
  char: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
};

/** Smallest and largest value of each integer type. */
export const INTEGER_RANGE: ReadonlyMap<Scalar, readonly [bigint, bigint]> = new Map(
  ([8, 16, 32, 64] as const).flatMap((bits) => {
    const full = 1n << BigInt(bits);
    return [
      [`uint${bits}`, [0n, full - 1n]],
      [`int${bits}`, [-full / 2n, full / 2n - 1n]],
    ] as [Scalar, [bigint, bigint]][];
  }),
);

/** The largest frame, in bytes. Larger values go as ordinary messages. */
export const MAX_FRAME_BYTES = 256;

/** The type of a field: a scalar, or the name of an enum or struct of the same definitions. */
export type FieldType =
  | { readonly kind: "scalar"; readonly scalar: Scalar }
  | { readonly kind: "enum"; readonly name: string }
  | { readonly kind: "struct"; readonly name: string };

/** One field. */
export interface Field {
  /** Its name as in the source. */
  readonly name: string;
  /** What it holds. */
  readonly type: FieldType;
  /** How many of it, if it is an array. */
  readonly length?: number;
  /** What the comment above it says. */
  readonly doc: string;
}

/** A plain structure. */
export interface Struct {
  /** Its name as in the source. */
  readonly name: string;
  /** In the order of the bytes. */
  readonly fields: readonly Field[];
  /** What the comment above it says. */
  readonly doc: string;
}

/** One enumerator. */
export interface EnumValue {
  /** Its name. */
  readonly name: string;
  /** Its number. */
  readonly value: bigint;
  /** What the comment above it says. */
  readonly doc: string;
}

/** An enumeration. */
export interface Enum {
  /** Its name as in the source. */
  readonly name: string;
  /** The integer type that carries it. */
  readonly scalar: Scalar;
  /** In the order of the source. */
  readonly values: readonly EnumValue[];
  /** What the comment above it says. */
  readonly doc: string;
}

/** A frame type. */
export interface Frame {
  /** Its name, such as `BUTTON_STATE`. */
  readonly name: string;
  /** Its number on the wire, 0 to 255. */
  readonly number: number;
  /** The struct it carries; `undefined` for the names that carry nothing, such as `ALL`. */
  readonly struct: string | undefined;
  /** What the comment above it says, else the struct's. */
  readonly doc: string;
}

/** A whole set of definitions. */
export interface FrameDefinitions {
  /** By name. */
  readonly enums: ReadonlyMap<string, Enum>;
  /** By name. */
  readonly structs: ReadonlyMap<string, Struct>;
  /** In the order of their numbers. */
  readonly frames: readonly Frame[];
}

/** Names in a frame enumeration that carry no frame. */
export const RESERVED_FRAMES: ReadonlySet<string> = new Set(["NONE", "ALL", "COUNT"]);

/** The enum of the frame types itself, where a field names one. */
export const FRAME_TYPE_ENUM = "frame_type";

/** Bytes of a struct. */
export function structBytes(definitions: FrameDefinitions, struct: Struct): number {
  return struct.fields.reduce((sum, field) => sum + fieldBytes(definitions, field), 0);
}

/** Bytes of one element of a field. */
export function elementBytes(definitions: FrameDefinitions, type: FieldType): number {
  switch (type.kind) {
    case "scalar":
      return SCALAR_BYTES[type.scalar];
    case "enum":
      return SCALAR_BYTES[known(definitions.enums, type.name).scalar];
    case "struct":
      return structBytes(definitions, known(definitions.structs, type.name));
  }
}

/** Bytes of a field. */
export function fieldBytes(definitions: FrameDefinitions, field: Field): number {
  return elementBytes(definitions, field.type) * (field.length ?? 1);
}

/** What the definitions call by name; the readers have made sure that it is there. */
export function known<T>(map: ReadonlyMap<string, T>, name: string): T {
  const found = map.get(name);
  if (found === undefined) {
    throw new PatchbayError("internal", `the frame definitions name ${name}, which is not there`);
  }
  return found;
}

/**
 * The layout of a struct as text: the same for every language and source that lays out the same
 * bytes under the same names, and for no other.
 */
export function layoutText(definitions: FrameDefinitions, struct: Struct): string {
  return struct.fields.map((field) => {
    const count = field.length === undefined ? "" : `[${field.length}]`;
    return `${field.name}:${typeText(definitions, field.type)}${count}`;
  }).join(";");
}

function typeText(definitions: FrameDefinitions, type: FieldType): string {
  if (type.kind === "scalar") return type.scalar;
  if (type.kind === "struct") {
    return `{${layoutText(definitions, known(definitions.structs, type.name))}}`;
  }
  const { scalar, values } = known(definitions.enums, type.name);
  // Frame numbers are compared one by one; a new frame must not change who names a frame type.
  if (type.name === FRAME_TYPE_ENUM) return `frame ${scalar}`;
  return `${scalar}(${values.map(({ name, value }) => `${name}=${value}`).join(",")})`;
}
