/**
 * What generated classes share: checks of values on their way out, of bytes on their way in.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function refuse(path: string, what: string, instead: string): never {
  throw new PatchbayError("invalid", `${path} ${what}`, { details: { path }, remedy: instead });
}

/** An integer within a range, or `invalid`. */
export function integer(value: number, least: number, most: number, path: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  return refuse(path, `is ${shown(value)}`, `it holds integers from ${least} to ${most}`);
}

/** An integer of 64 bits within a range, or `invalid`. */
export function bigInteger(value: bigint, least: bigint, most: bigint, path: string): bigint {
  if (typeof value === "bigint" && value >= least && value <= most) return value;
  return refuse(path, `is ${shown(value)}`, `it holds a bigint from ${least} to ${most}`);
}

/** A number, or `invalid`. */
export function float(value: number, path: string): number {
  if (typeof value === "number") return value;
  return refuse(path, `is ${shown(value)}`, "it holds a number");
}

/** A boolean as a byte, or `invalid`. */
export function bool(value: boolean, path: string): number {
  if (typeof value === "boolean") return value ? 1 : 0;
  return refuse(path, `is ${shown(value)}`, "it holds true or false");
}

/** One of an enumeration's values, or `invalid`. */
export function enumerated<T>(value: T, values: ReadonlySet<unknown>, path: string): T {
  if (values.has(value)) return value;
  return refuse(path, `is ${shown(value)}`, `it holds one of ${[...values].join(", ")}`);
}

/** An array that is not longer than its field, or `too_large`. */
export function atMost<T extends { readonly length: number }>(
  value: T,
  max: number,
  path: string,
): T {
  const size = value?.length;
  if (typeof size !== "number") return refuse(path, `is ${shown(value)}`, "it holds an array");
  if (size <= max) return value;
  throw new PatchbayError("too_large", `${path} has ${size} elements, it holds ${max}`, {
    details: { path, size, max },
  });
}

/**
 * Writes text as UTF-8, followed by zeros where the field is not the last.
 *
 * @returns The byte after the last.
 */
export function writeText(
  bytes: Uint8Array,
  at: number,
  max: number,
  text: string,
  last: boolean,
  path: string,
): number {
  if (typeof text !== "string") return refuse(path, `is ${shown(text)}`, "it holds a string");
  if (text.includes("\0")) return refuse(path, "holds a NUL", "NUL is the end of a text there");
  const { read, written } = encoder.encodeInto(text, bytes.subarray(at, at + max));
  if (read < text.length) {
    const size = encoder.encode(text).length;
    throw new PatchbayError("too_large", `${path} has ${size} bytes in UTF-8, it holds ${max}`, {
      details: { path, size, max },
    });
  }
  if (last) return at + written;
  bytes.fill(0, at + written, at + max);
  return at + max;
}

/** Reads text up to its end or its first NUL. */
export function readText(bytes: Uint8Array, at: number, end: number): string {
  const nul = bytes.indexOf(0, at);
  return decoder.decode(bytes.subarray(at, nul < 0 || nul > end ? end : nul));
}

/**
 * How many elements the last field, an array, has in a frame; checks the frame's size.
 *
 * @throws `protocol` where the frame cannot be cut into elements.
 */
export function elements(
  at: number,
  end: number,
  elementBytes: number,
  max: number,
  path: string,
): number {
  const count = (end - at) / elementBytes;
  if (Number.isInteger(count) && count >= 0 && count <= max) return count;
  throw new PatchbayError(
    "protocol",
    `${path}: ${end - at} bytes are no array of 0 to ${max} elements of ${elementBytes} bytes`,
    { remedy: "generate the definitions anew on both sides" },
  );
}

/** Checks that a frame has exactly its size. */
export function exactly(length: number, bytes: number, path: string): void {
  if (length === bytes) return;
  throw new PatchbayError("protocol", `${path} has ${length} bytes, ${bytes} came`, {
    remedy: "generate the definitions anew on both sides",
  });
}

/** Checks that a frame has at least the fields that are always there. */
export function atLeast(length: number, bytes: number, path: string): void {
  if (length <= bytes) return;
  throw new PatchbayError("protocol", `${path} has ${length} bytes at least, ${bytes} came`, {
    remedy: "generate the definitions anew on both sides",
  });
}

/** A value of an enumeration that came, or `protocol`. */
export function received<T>(value: T, values: ReadonlySet<unknown>, path: string): T {
  if (values.has(value)) return value;
  throw new PatchbayError("protocol", `${path} came as ${value}, which the enum has not`, {
    remedy: "generate the definitions anew on both sides",
  });
}

function shown(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : JSON.stringify(value) ?? String(value);
}
