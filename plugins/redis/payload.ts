/**
 * Values as the payloads of Redis, and the fields of a Stream's entry: written and read here.
 *
 * The payload is the plain encoded value; what else is known stands in fields beside it, so that
 * `redis-cli` can read and write entries.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  type CodecTable,
  contentTypeOf,
  PatchbayError,
  type PlainPayload,
  PlainPayloads,
} from "@patchbay/core";
import { asBuffer } from "./connections.ts";

/** An encoded value. */
export type Payload = PlainPayload<Buffer>;

/** Encodes and decodes the values of one bay. */
export type Payloads = PlainPayloads<Buffer>;

/** The fields of an entry that mean something. */
export interface Fields {
  value?: Buffer;
  type?: Buffer;
  id?: Buffer;
  reply?: Buffer;
  from?: Buffer;
  timeout?: Buffer;
  headers?: Buffer;
  idempotent?: Buffer;
  re?: Buffer;
  error?: Buffer;
  origin?: Buffer;
  seq?: Buffer;
  priority?: Buffer;
}

const FIELD_NAMES: readonly (keyof Fields)[] = [
  "value",
  "type",
  "id",
  "reply",
  "from",
  "timeout",
  "headers",
  "idempotent",
  "re",
  "error",
  "origin",
  "seq",
  "priority",
];

/** Names by length and first letter, which tell them apart. */
const BY_SHAPE: readonly (keyof Fields | undefined)[] = Array.from(
  { length: 16 * 32 },
  (_, shape) => FIELD_NAMES.find((name) => shape === shapeOf(name.length, name.charCodeAt(0))),
);

function shapeOf(length: number, first: number): number {
  return (length & 15) * 32 + (first & 31);
}

/** One entry of a Stream. */
export interface Entry {
  /** Its id: milliseconds and a number. */
  readonly id: string;
  /** Its fields. */
  readonly fields: Fields;
}

/** What a read of Streams gives: the key and its entries. */
export type Read = readonly (readonly [Buffer, readonly (readonly [Buffer, Buffer[] | null])[]])[];

/** The size of a text in UTF-8. */
function byteLength(text: string): number {
  if (text.length > 256) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return Buffer.byteLength(text);
  }
  return text.length;
}

/**
 * Loads what is needed to encode and decode.
 *
 * @param codecs The codecs of the bay.
 * @param preferred The codec of contracts that name none.
 * @param max The largest payload, in bytes.
 */
export function loadPayloads(
  codecs: CodecTable,
  preferred: string,
  max: number,
): Promise<Payloads> {
  return PlainPayloads.load<Buffer>(codecs, preferred, max, { wrap: asBuffer, byteLength });
}

/** The fields of a value: `value`, and `type` unless it is JSON. */
export function valueFields(payload: Payload): (string | Buffer)[] {
  const fields = ["value", payload.data];
  addType(fields, payload);
  return fields;
}

/** Adds the field `type`, unless the value is JSON. */
export function addType(args: (string | Buffer)[], payload: Payload): void {
  const type = contentTypeOf(payload);
  if (type !== undefined) args.push("type", type);
}

/** The fields of an entry as it was read. */
export function readFields(flat: readonly Buffer[]): Fields {
  const fields: Fields = {};
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const key = flat[i];
    const name = BY_SHAPE[shapeOf(key.length, key[0])];
    if (name !== undefined && isText(key, name)) fields[name] = flat[i + 1];
  }
  return fields;
}

function isText(bytes: Uint8Array, text: string): boolean {
  if (bytes.length !== text.length) return false;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Short text is mostly ASCII: a loop is quicker than a call into the runtime. */
const SHORT = 64;

/** Bytes as text. */
export function textOf(bytes: Buffer): string {
  const { length } = bytes;
  if (length > SHORT) return bytes.toString();
  let text = "";
  for (let i = 0; i < length; i++) {
    const byte = bytes[i];
    if (byte >= 0x80) return bytes.toString();
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Reads texts that are mostly the same as the one before: compared as bytes, not read again. */
export class LastText {
  #bytes: Uint8Array | undefined;
  #text = "";

  /** The text. */
  read(bytes: Buffer): string {
    const last = this.#bytes;
    if (last !== undefined && last.length === bytes.length && same(last, bytes)) return this.#text;
    this.#bytes = new Uint8Array(bytes);
    return this.#text = textOf(bytes);
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = a.length - 1; i >= 0; i--) if (a[i] !== b[i]) return false;
  return true;
}

/** A whole number in decimal digits; NaN if it is none. */
export function numberOf(bytes: Buffer | undefined): number {
  if (bytes === undefined || bytes.length === 0 || bytes.length > 15) return NaN;
  let number = 0;
  for (let i = 0; i < bytes.length; i++) {
    const digit = bytes[i] - 48;
    if (digit < 0 || digit > 9) return NaN;
    number = number * 10 + digit;
  }
  return number;
}

/** A field as text; `undefined` if it is not there. */
export function textField(fields: Fields, name: keyof Fields): string | undefined {
  const bytes = fields[name];
  return bytes === undefined ? undefined : textOf(bytes);
}

/** Headers in the field `headers`: a JSON object of strings. */
export function readHeaders(fields: Fields): Readonly<Record<string, string>> | undefined {
  const text = textField(fields, "headers");
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PatchbayError("protocol", "the field `headers` is not JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new PatchbayError("protocol", "the field `headers` is no object of strings");
  }
  const headers: Record<string, string> = {};
  for (const [name, each] of Object.entries(value)) {
    if (typeof each !== "string" || name === "__proto__") {
      throw new PatchbayError("protocol", "the field `headers` is no object of strings");
    }
    headers[name] = each;
  }
  return headers;
}

/** Whether one id of an entry comes after another. */
export function isAfter(a: string, b: string): boolean {
  const [aMs, aNumber] = a.split("-");
  const [bMs, bNumber] = b.split("-");
  if (aMs.length !== bMs.length) return aMs.length > bMs.length;
  if (aMs !== bMs) return aMs > bMs;
  return Number(aNumber ?? 0) > Number(bNumber ?? 0);
}
