/**
 * What both codecs share of CDR (XCDR version 1): strings, byte sequences, arrays of numbers, the
 * checks of values, and the errors.
 *
 * Offsets count from behind the four bytes of the header, as alignment does.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { FieldType, Literal, Primitive } from "./definition.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The header of a payload: version 1, little-endian, no options. */
export const LITTLE_ENDIAN_HEADER: readonly number[] = [0x00, 0x01, 0x00, 0x00];
/** Strings up to this length are copied by a loop: shorter than what `TextEncoder` costs. */
const SHORT_STRING = 48;

/** A value that does not fit its field. */
export function badValue(path: string, value: unknown, wanted: string): PatchbayError {
  const got = value === null
    ? "null"
    : typeof value === "object"
    ? value.constructor?.name ?? "object"
    : typeof value === "string"
    ? JSON.stringify(value.slice(0, 40))
    : `${typeof value} ${String(value)}`;
  return new PatchbayError("invalid", `${path} must be ${wanted}, not ${got}`, {
    details: { path },
  });
}

/** Bytes that are no such message. */
export function badBytes(name: string, why: string, cause?: unknown): PatchbayError {
  return new PatchbayError("protocol", `this is no ${name}: ${why}`, {
    cause,
    remedy: "check that both sides mean the same type: compare their definitions",
  });
}

/** An object's fields are asked of this where it is missing: all of them have their defaults. */
const EMPTY: Readonly<Record<string, unknown>> = Object.freeze({});

/** The object of a nested message. */
export function objectOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (value === undefined) return EMPTY;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badValue(path, value, "an object");
  }
  return value as Readonly<Record<string, unknown>>;
}

/** A number that is not one, or is left out. */
export function numberOf(value: unknown, otherwise: number, path: string): number {
  if (value === undefined) return otherwise;
  if (typeof value === "number") return value;
  throw badValue(path, value, "a number");
}

/** An integer that is not one of this width, or is left out. Negative widths are signed. */
export function integerOf(value: unknown, otherwise: number, path: string, bits: number): number {
  if (value === undefined) return otherwise;
  const width = Math.abs(bits);
  const low = bits < 0 ? -(2 ** (width - 1)) : 0;
  const high = bits < 0 ? 2 ** (width - 1) - 1 : 2 ** width - 1;
  if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) {
    return value as number;
  }
  throw badValue(path, value, `an integer from ${low} to ${high}`);
}

/** An integer of 64 bits; a safe number does as well. */
export function bigintOf(
  value: unknown,
  otherwise: bigint,
  path: string,
  signed: boolean,
): bigint {
  if (value === undefined) return otherwise;
  const big = Number.isSafeInteger(value) ? BigInt(value as number) : value;
  if (typeof big === "bigint") {
    if ((signed ? BigInt.asIntN(64, big) : BigInt.asUintN(64, big)) === big) return big;
  }
  throw badValue(path, value, `a bigint of 64 bits, ${signed ? "signed" : "from 0"}`);
}

/** 0 or 1. */
export function booleanOf(value: unknown, otherwise: boolean, path: string): 0 | 1 {
  if (value === undefined) return otherwise ? 1 : 0;
  if (typeof value !== "boolean") throw badValue(path, value, "a boolean");
  return value ? 1 : 0;
}

/** Anything with a length and numbered elements. */
export type List = ArrayLike<unknown>;

/** The elements of an array or sequence, their number checked. */
export function listOf(
  value: unknown,
  otherwise: List,
  path: string,
  kind: "fixed" | "bounded" | "unbounded",
  size: number,
): List {
  if (value === undefined) return otherwise;
  if (!Array.isArray(value) && (!ArrayBuffer.isView(value) || value instanceof DataView)) {
    throw badValue(path, value, "an array");
  }
  const { length } = value as List;
  if (kind === "fixed" ? length !== size : kind === "bounded" && length > size) {
    const wanted = kind === "fixed" ? `${size}` : `at most ${size}`;
    throw badValue(path, length, `an array of ${wanted} elements`);
  }
  return value as List;
}

/** The text of a string field, its length checked. */
export function textOf(value: unknown, otherwise: string, path: string, bound: number): string {
  if (value === undefined) return otherwise;
  if (typeof value !== "string") throw badValue(path, value, "a string");
  if (bound > 0 && value.length > bound) {
    throw badValue(path, value, `a string of at most ${bound} characters`);
  }
  return value;
}

/** The most bytes that a string takes, alignment and length included. */
export function textBytes(text: string): number {
  const { length } = text;
  if (length <= 256) return 8 + 3 * length;
  let bytes = 8;
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    bytes += c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
  }
  return bytes;
}

/** Writes a string: length with its zero, UTF-8, zero. Returns where it ends. */
export function putText(bytes: Uint8Array, view: DataView, at: number, text: string): number {
  const { length } = text;
  // Four bytes of header lie before the origin.
  const from = at + 8;
  let end = from;
  if (length <= SHORT_STRING) {
    let i = 0;
    for (; i < length; i++) {
      const c = text.charCodeAt(i);
      if (c > 127) break;
      bytes[from + i] = c;
    }
    end = i === length ? from + length : -1;
  } else end = -1;
  if (end < 0) end = from + encoder.encodeInto(text, bytes.subarray(from)).written;
  bytes[end] = 0;
  view.setUint32(at, end - from + 1, true);
  return end - 4 + 1;
}

/** Where the last string or sequence that was read ended. */
export const cursor = { at: 0 };

/** Reads a string. */
export function getText(bytes: Uint8Array, view: DataView, at: number, little: boolean): string {
  const length = view.getUint32(at, little);
  const from = at + 8;
  if (from + length > bytes.length) throw new RangeError(`a string of ${length} bytes`);
  cursor.at = at + 4 + length;
  // Some write no zero behind an empty string.
  const end = length > 0 && bytes[from + length - 1] === 0 ? from + length - 1 : from + length;
  if (end - from <= SHORT_STRING) {
    let text = "";
    for (let i = from; i < end; i++) {
      const c = bytes[i];
      if (c > 127) return decoder.decode(bytes.subarray(from, end));
      text += String.fromCharCode(c);
    }
    return text;
  }
  return decoder.decode(bytes.subarray(from, end));
}

/** Writes a wide string: the number of UTF-16 units, each in four bytes, no zero. */
export function putWide(view: DataView, at: number, text: string): number {
  view.setUint32(at, text.length, true);
  for (let i = 0; i < text.length; i++) view.setUint32(at + 4 + 4 * i, text.charCodeAt(i), true);
  return at + 4 + 4 * text.length;
}

/** Reads a wide string. */
export function getWide(view: DataView, at: number, little: boolean): string {
  const length = view.getUint32(at, little);
  if (at + 4 + 4 * length > view.byteLength) throw new RangeError(`a string of ${length} units`);
  let text = "";
  for (let i = 0; i < length; i++) {
    text += String.fromCharCode(view.getUint32(at + 4 + 4 * i, little));
  }
  cursor.at = at + 4 + 4 * length;
  return text;
}

/** Reads the length of a sequence whose elements take at least so many bytes each. */
export function getLength(
  view: DataView,
  at: number,
  little: boolean,
  leastBytes: number,
  bound: number,
): number {
  const length = view.getUint32(at, little);
  if (length * leastBytes > view.byteLength - at - 4) {
    throw new RangeError(`a sequence of ${length} elements`);
  }
  if (bound > 0 && length > bound) throw new RangeError(`${length} elements instead of ${bound}`);
  return length;
}

/** Writes numbers one behind the other; typed arrays of the right kind are copied whole. */
export function putNumbers(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  list: List,
  base: Primitive,
  path: string,
): void {
  const { length } = list;
  if (ArrayBuffer.isView(list) && isRightKind(list, base)) {
    bytes.set(new Uint8Array(list.buffer, list.byteOffset, list.byteLength), at + 4);
    return;
  }
  const put = PUT[base];
  for (let i = 0; i < length; i++) put(view, at, i, list[i], path);
}

type Put = (view: DataView, at: number, i: number, value: unknown, path: string) => void;
const where = (path: string, i: number) => `${path}[${i}]`;

const PUT: Readonly<Record<Primitive, Put>> = {
  bool: (view, at, i, value, path) =>
    view.setUint8(at + i, booleanOf(value ?? null, false, where(path, i))),
  byte: (view, at, i, value, path) => view.setUint8(at + i, whole(value, path, i, 8)),
  char: (view, at, i, value, path) => view.setUint8(at + i, whole(value, path, i, 8)),
  uint8: (view, at, i, value, path) => view.setUint8(at + i, whole(value, path, i, 8)),
  int8: (view, at, i, value, path) => view.setInt8(at + i, whole(value, path, i, -8)),
  uint16: (view, at, i, value, path) => view.setUint16(at + 2 * i, whole(value, path, i, 16), true),
  int16: (view, at, i, value, path) => view.setInt16(at + 2 * i, whole(value, path, i, -16), true),
  uint32: (view, at, i, value, path) => view.setUint32(at + 4 * i, whole(value, path, i, 32), true),
  int32: (view, at, i, value, path) => view.setInt32(at + 4 * i, whole(value, path, i, -32), true),
  uint64: (view, at, i, value, path) =>
    view.setBigUint64(at + 8 * i, bigintOf(value ?? null, 0n, where(path, i), false), true),
  int64: (view, at, i, value, path) =>
    view.setBigInt64(at + 8 * i, bigintOf(value ?? null, 0n, where(path, i), true), true),
  float32: (view, at, i, value, path) => view.setFloat32(at + 4 * i, real(value, path, i), true),
  float64: (view, at, i, value, path) => view.setFloat64(at + 8 * i, real(value, path, i), true),
};

function whole(value: unknown, path: string, i: number, bits: number): number {
  return integerOf(value ?? null, 0, where(path, i), bits);
}

function real(value: unknown, path: string, i: number): number {
  return typeof value === "number" ? value : numberOf(value ?? null, 0, where(path, i));
}

// Typed arrays lie in memory as CDR wants them, on machines that are little-endian like all of
// Deno's.
const KINDS: Readonly<Partial<Record<Primitive, readonly unknown[]>>> = {
  byte: [Uint8Array, Uint8ClampedArray],
  char: [Uint8Array, Uint8ClampedArray],
  uint8: [Uint8Array, Uint8ClampedArray],
  int8: [Int8Array],
  uint16: [Uint16Array],
  int16: [Int16Array],
  uint32: [Uint32Array],
  int32: [Int32Array],
  uint64: [BigUint64Array],
  int64: [BigInt64Array],
  float32: [Float32Array],
  float64: [Float64Array],
};

function isRightKind(list: ArrayBufferView, base: Primitive): boolean {
  return KINDS[base]?.some((kind) => list instanceof (kind as new () => object)) ?? false;
}

/** Reads numbers one behind the other into a plain array. */
export function getNumbers(
  view: DataView,
  at: number,
  length: number,
  base: Primitive,
  little: boolean,
): unknown[] {
  const list: unknown[] = new Array(length);
  switch (base) {
    case "float64":
      for (let i = 0; i < length; i++) list[i] = view.getFloat64(at + 8 * i, little);
      break;
    case "float32":
      for (let i = 0; i < length; i++) list[i] = view.getFloat32(at + 4 * i, little);
      break;
    case "int32":
      for (let i = 0; i < length; i++) list[i] = view.getInt32(at + 4 * i, little);
      break;
    case "uint32":
      for (let i = 0; i < length; i++) list[i] = view.getUint32(at + 4 * i, little);
      break;
    case "int16":
      for (let i = 0; i < length; i++) list[i] = view.getInt16(at + 2 * i, little);
      break;
    case "uint16":
      for (let i = 0; i < length; i++) list[i] = view.getUint16(at + 2 * i, little);
      break;
    case "int8":
      for (let i = 0; i < length; i++) list[i] = view.getInt8(at + i);
      break;
    case "bool":
      for (let i = 0; i < length; i++) list[i] = view.getUint8(at + i) !== 0;
      break;
    case "int64":
      for (let i = 0; i < length; i++) list[i] = view.getBigInt64(at + 8 * i, little);
      break;
    case "uint64":
      for (let i = 0; i < length; i++) list[i] = view.getBigUint64(at + 8 * i, little);
      break;
    default:
      for (let i = 0; i < length; i++) list[i] = view.getUint8(at + i);
  }
  return list;
}

/** Reads bytes: a copy, or a view where the message is the reader's own. */
export function getBytes(
  bytes: Uint8Array,
  at: number,
  length: number,
  owned: boolean,
): Uint8Array {
  const from = at + 4;
  if (from + length > bytes.length) throw new RangeError(`${length} bytes`);
  return owned ? bytes.subarray(from, from + length) : bytes.slice(from, from + length);
}

/** Whether arrays of a type are bytes to JavaScript. */
export function isBytes(base: FieldType["base"]): boolean {
  return base === "uint8" || base === "byte" || base === "char";
}

/** The default of a scalar field. */
export function scalarDefault(type: FieldType, given: Literal | undefined): Literal {
  if (given !== undefined) return given;
  switch (type.base) {
    case "bool":
      return false;
    case "string":
    case "wstring":
      return "";
    case "int64":
    case "uint64":
      return 0n;
    default:
      return 0;
  }
}
