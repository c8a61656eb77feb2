/**
 * MessagePack, strictly: every portable value there and back, and nothing else.
 *
 * The format is https://github.com/msgpack/msgpack/blob/master/spec.md; section names below are
 * the spec's. Why this is written here instead of taken from a library:
 * docs/decisions/0003-messagepack-library.md.
 *
 * @module
 */

import type { Codec } from "./codec.ts";
import { PatchbayError } from "./errors.ts";
import { checkPortable, isPlainObject, MAX_DEPTH } from "./values.ts";

const textEncoder = new TextEncoder();
// ignoreBOM: a string that begins with U+FEFF keeps it.
const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Strings up to this length are read and written by a loop: below it, that beats the text API. */
const SHORT_STRING = 64;

/** One 64-bit number on its way to or from the bytes; network byte order is DataView's default. */
const scratch64 = new Uint8Array(8);
const view64 = new DataView(scratch64.buffer);

/** The value cannot be encoded; `checkPortable` then says where and why. */
class Unencodable extends Error {}

// ── encode: each function returns the position after what it wrote, or −1 if it did not fit ──

function write(value: unknown, target: Uint8Array, at: number, depth: number): number {
  switch (typeof value) {
    case "string":
      return writeString(value, target, at);
    case "number":
      return writeNumber(value, target, at);
    case "boolean":
      if (at >= target.length) return -1;
      target[at] = value ? 0xc3 : 0xc2;
      return at + 1;
    case "bigint":
      return writeBigint(value, target, at);
    case "object":
      if (value === null) {
        if (at >= target.length) return -1;
        target[at] = 0xc0;
        return at + 1;
      }
      if (value instanceof Uint8Array) return writeBytes(value, target, at);
      if (depth === MAX_DEPTH) throw new Unencodable();
      if (Array.isArray(value)) return writeArray(value, target, at, depth + 1);
      if (isPlainObject(value)) return writeObject(value, target, at, depth + 1);
  }
  throw new Unencodable();
}

function writeNumber(value: number, target: Uint8Array, at: number): number {
  const room = target.length - at;
  if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
    if (value >= -0x20 && value < 0x80) {
      if (room < 1) return -1;
      target[at] = value;
      return at + 1;
    }
    if (value >= -0x80 && value < 0x100) {
      if (room < 2) return -1;
      target[at] = value < 0 ? 0xd0 : 0xcc;
      target[at + 1] = value;
      return at + 2;
    }
    if (value >= -0x8000 && value < 0x10000) {
      if (room < 3) return -1;
      target[at] = value < 0 ? 0xd1 : 0xcd;
      target[at + 1] = value >> 8;
      target[at + 2] = value;
      return at + 3;
    }
    if (room < 5) return -1;
    target[at] = value < 0 ? 0xd2 : 0xce;
    write32(value, target, at + 1);
    return at + 5;
  }
  if (value >>> 0 === value && value !== 0) { // 2³¹ to 2³² − 1
    if (room < 5) return -1;
    target[at] = 0xce;
    write32(value, target, at + 1);
    return at + 5;
  }
  // Everything else, −0 and larger integers too: the 64-bit integer forms mean bigint here.
  if (!Number.isFinite(value)) throw new Unencodable();
  if (room < 9) return -1;
  target[at] = 0xcb;
  view64.setFloat64(0, value);
  write64(target, at + 1);
  return at + 9;
}

function writeBigint(value: bigint, target: Uint8Array, at: number): number {
  const unsigned = value >= 0n;
  if ((unsigned ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value)) !== value) {
    throw new Unencodable();
  }
  if (target.length - at < 9) return -1;
  target[at] = unsigned ? 0xcf : 0xd3;
  view64.setBigUint64(0, value);
  write64(target, at + 1);
  return at + 9;
}

function write32(value: number, target: Uint8Array, at: number): void {
  target[at] = value >> 24;
  target[at + 1] = value >> 16;
  target[at + 2] = value >> 8;
  target[at + 3] = value;
}

function write64(target: Uint8Array, at: number): void {
  for (let index = 0; index < 8; index++) target[at + index] = scratch64[index];
}

function writeString(text: string, target: Uint8Array, at: number): number {
  const { length } = text;
  if (length <= SHORT_STRING) {
    const start = at + stringHeaderSize(length);
    if (start + length > target.length) return -1;
    let index = 0;
    for (; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code >= 0x80) break;
      target[start + index] = code;
    }
    if (index === length) {
      writeStringHeader(length, target, at);
      return start + length;
    }
  }
  if (!text.isWellFormed()) throw new Unencodable();
  // The header for as many bytes as there are UTF-16 units; non-ASCII text may need a longer one.
  let body = at + stringHeaderSize(length);
  if (body + length > target.length) return -1;
  const { read, written } = textEncoder.encodeInto(text, target.subarray(body));
  if (read < length) return -1;
  const needed = at + stringHeaderSize(written);
  if (needed !== body) {
    if (needed + written > target.length) return -1;
    target.copyWithin(needed, body, body + written);
    body = needed;
  }
  writeStringHeader(written, target, at);
  return body + written;
}

function writeStringHeader(length: number, target: Uint8Array, at: number): void {
  if (length < 0x20) target[at] = 0xa0 | length;
  else writeHeader(length, target, at, 0xd9, 0xda, 0xdb);
}

function stringHeaderSize(length: number): number {
  return length < 0x20 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 5;
}

/** Writes a header with the length in 1, 2 or 4 bytes; returns the position after it, or −1. */
function writeHeader(
  length: number,
  target: Uint8Array,
  at: number,
  form8: number,
  form16: number,
  form32: number,
): number {
  const room = target.length - at;
  if (length < 0x100 && form8 !== 0) {
    if (room < 2) return -1;
    target[at] = form8;
    target[at + 1] = length;
    return at + 2;
  }
  if (length < 0x10000) {
    if (room < 3) return -1;
    target[at] = form16;
    target[at + 1] = length >> 8;
    target[at + 2] = length;
    return at + 3;
  }
  if (length > 0xffffffff) throw new Unencodable();
  if (room < 5) return -1;
  target[at] = form32;
  write32(length, target, at + 1);
  return at + 5;
}

function writeBytes(bytes: Uint8Array, target: Uint8Array, at: number): number {
  const { length } = bytes;
  at = writeHeader(length, target, at, 0xc4, 0xc5, 0xc6);
  if (at < 0 || at + length > target.length) return -1;
  target.set(bytes, at);
  return at + length;
}

function writeArray(array: unknown[], target: Uint8Array, at: number, depth: number): number {
  const { length } = array;
  if (length < 0x10) {
    if (at >= target.length) return -1;
    target[at++] = 0x90 | length;
  } else {
    at = writeHeader(length, target, at, 0, 0xdc, 0xdd);
  }
  for (let index = 0; index < length && at >= 0; index++) {
    at = write(array[index], target, at, depth);
  }
  return at;
}

function writeObject(
  object: Record<string, unknown>,
  target: Uint8Array,
  at: number,
  depth: number,
): number {
  let size = 0;
  for (const key in object) if (object[key] !== undefined) size++;
  if (size < 0x10) {
    if (at >= target.length) return -1;
    target[at++] = 0x80 | size;
  } else {
    at = writeHeader(size, target, at, 0, 0xde, 0xdf);
    if (at < 0) return -1;
  }
  for (const key in object) {
    const property = object[key];
    if (property === undefined) continue;
    if (key === "__proto__") throw new Unencodable();
    at = writeString(key, target, at);
    if (at < 0) return -1;
    at = write(property, target, at, depth);
    if (at < 0) return -1;
  }
  return at;
}

// ── decode ──

/** A key seen before: most messages repeat the keys of the last one. */
interface KnownKey {
  readonly bytes: Uint8Array;
  readonly text: string;
}

const KNOWN_KEYS = 512;
const NO_BYTES: Uint8Array = new Uint8Array(0);

class Reader {
  #bytes = NO_BYTES;
  #at = 0;
  readonly #keys: (KnownKey | undefined)[] = new Array(KNOWN_KEYS).fill(undefined);

  /** Reads the one value that `bytes` hold. */
  readAll(bytes: Uint8Array): unknown {
    this.#bytes = bytes;
    this.#at = 0;
    try {
      const value = this.#read(0);
      if (this.#at !== bytes.length) {
        throw this.#broken(`${bytes.length - this.#at} bytes follow the value`);
      }
      return value;
    } finally {
      this.#bytes = NO_BYTES; // else the caller's buffer would live as long as the codec
    }
  }

  #read(depth: number): unknown {
    const head = this.#byte();
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head < 0x90) return this.#map(head & 0x0f, depth);
    if (head < 0xa0) return this.#array(head & 0x0f, depth);
    if (head < 0xc0) return this.#string(head & 0x1f);
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#byte());
      case 0xc5:
        return this.#binary(this.#uint16());
      case 0xc6:
        return this.#binary(this.#uint32());
      case 0xca:
        this.#load(4);
        return this.#finite(view64.getFloat32(0));
      case 0xcb:
        this.#load(8);
        return this.#finite(view64.getFloat64(0));
      case 0xcc:
        return this.#byte();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        this.#load(8);
        return view64.getBigUint64(0);
      case 0xd0:
        return this.#byte() << 24 >> 24;
      case 0xd1:
        return this.#uint16() << 16 >> 16;
      case 0xd2:
        return this.#uint32() | 0;
      case 0xd3:
        this.#load(8);
        return view64.getBigInt64(0);
      case 0xd9:
        return this.#string(this.#byte());
      case 0xda:
        return this.#string(this.#uint16());
      case 0xdb:
        return this.#string(this.#uint32());
      case 0xdc:
        return this.#array(this.#uint16(), depth);
      case 0xdd:
        return this.#array(this.#uint32(), depth);
      case 0xde:
        return this.#map(this.#uint16(), depth);
      case 0xdf:
        return this.#map(this.#uint32(), depth);
      case 0xc1:
        throw this.#broken("0xc1 is never used");
      default: // c7 to c9 and d4 to d8: ext, fixext; −1 is the timestamp
        throw this.#broken("extension types are not portable (timestamps neither: send a number)");
    }
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw this.#truncated();
    return this.#bytes[this.#at++];
  }

  #uint16(): number {
    const at = this.#skip(2);
    return this.#bytes[at] << 8 | this.#bytes[at + 1];
  }

  #uint32(): number {
    const at = this.#skip(4);
    const bytes = this.#bytes;
    return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
  }

  #load(size: number): void {
    const at = this.#skip(size);
    for (let index = 0; index < size; index++) scratch64[index] = this.#bytes[at + index];
  }

  /** Moves over `size` bytes that must be there; returns where they begin. */
  #skip(size: number): number {
    const at = this.#at;
    if (size > this.#bytes.length - at) throw this.#truncated();
    this.#at = at + size;
    return at;
  }

  #finite(value: number): number {
    if (!Number.isFinite(value)) throw this.#broken(`${value} is not portable`);
    return value;
  }

  #binary(length: number): Uint8Array {
    const at = this.#skip(length);
    const copy = new Uint8Array(length);
    copy.set(this.#bytes.subarray(at, at + length));
    return copy;
  }

  #string(length: number): string {
    const at = this.#skip(length);
    if (length <= SHORT_STRING) {
      const text = asciiOf(this.#bytes, at, at + length);
      if (text !== undefined) return text;
    }
    try {
      return textDecoder.decode(this.#bytes.subarray(at, at + length));
    } catch (cause) {
      throw this.#broken("a string is not valid UTF-8", cause);
    }
  }

  #array(length: number, depth: number): unknown[] {
    this.#enter(length, depth);
    // No allocation by the announced length: nested announcements would multiply.
    const array: unknown[] = [];
    for (let index = 0; index < length; index++) array.push(this.#read(depth + 1));
    return array;
  }

  #map(size: number, depth: number): Record<string, unknown> {
    this.#enter(size * 2, depth);
    const object: Record<string, unknown> = {};
    for (let index = 0; index < size; index++) {
      const key = this.#key();
      object[key] = this.#read(depth + 1);
    }
    return object;
  }

  #enter(items: number, depth: number): void {
    if (depth >= MAX_DEPTH) throw this.#broken(`values are nested deeper than ${MAX_DEPTH}`);
    if (items > this.#bytes.length - this.#at) throw this.#truncated();
  }

  #key(): string {
    const head = this.#byte();
    let key: string;
    if (head >= 0xa0 && head < 0xc0) return this.#shortKey(head & 0x1f);
    if (head === 0xd9) key = this.#string(this.#byte());
    else if (head === 0xda) key = this.#string(this.#uint16());
    else if (head === 0xdb) key = this.#string(this.#uint32());
    else throw this.#broken("a map key is not a string");
    return this.#safeKey(key);
  }

  #shortKey(length: number): string {
    const bytes = this.#bytes;
    const at = this.#at;
    if (length === 0) return "";
    if (length > bytes.length - at) throw this.#truncated();
    const slot = (length + bytes[at] * 7 + bytes[at + (length >> 1)] * 31 +
      bytes[at + length - 1] * 131) & (KNOWN_KEYS - 1);
    const known = this.#keys[slot];
    if (known !== undefined && known.bytes.length === length) {
      let index = 0;
      while (index < length && known.bytes[index] === bytes[at + index]) index++;
      if (index === length) {
        this.#at = at + length;
        return known.text;
      }
    }
    const text = this.#safeKey(this.#string(length));
    const copy = new Uint8Array(length);
    for (let index = 0; index < length; index++) copy[index] = bytes[at + index];
    this.#keys[slot] = { bytes: copy, text };
    return text;
  }

  #safeKey(key: string): string {
    if (key === "__proto__") throw this.#broken("the key __proto__ is not portable");
    return key;
  }

  #truncated(): PatchbayError {
    return this.#broken("it ends in the middle of a value");
  }

  #broken(why: string, cause?: unknown): PatchbayError {
    return new PatchbayError("protocol", `the MessagePack body is not acceptable: ${why}`, {
      details: { offset: this.#at },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** Four letters at a time; `undefined` when a byte is not ASCII. */
function asciiOf(bytes: Uint8Array, at: number, end: number): string | undefined {
  let text = "";
  for (; at + 4 <= end; at += 4) {
    const a = bytes[at], b = bytes[at + 1], c = bytes[at + 2], d = bytes[at + 3];
    if ((a | b | c | d) >= 0x80) return undefined;
    text += String.fromCharCode(a, b, c, d);
  }
  for (; at < end; at++) {
    if (bytes[at] >= 0x80) return undefined;
    text += String.fromCharCode(bytes[at]);
  }
  return text;
}

/** The first try of `encode`; most values fit, and larger ones try again with four times as much. */
const FIRST_SIZE = 4096;

class Msgpack implements Codec {
  readonly name = "msgpack";
  readonly contentType = "application/vnd.msgpack";
  readonly #reader = new Reader();
  /** Lent to one `encode` at a time: a getter in a value may itself encode. */
  #spare: Uint8Array | undefined;

  encode(value: unknown): Uint8Array {
    let target = this.#spare ?? new Uint8Array(FIRST_SIZE);
    this.#spare = undefined;
    let written = this.encodeInto(value, target, 0);
    while (written < 0) {
      target = new Uint8Array(target.length * 4);
      written = this.encodeInto(value, target, 0);
    }
    if (target.length === FIRST_SIZE) this.#spare = target;
    const bytes = new Uint8Array(written);
    bytes.set(target.subarray(0, written)); // half the cost of slice
    return bytes;
  }

  encodeInto(value: unknown, target: Uint8Array, offset: number): number {
    if (value === undefined) return 0;
    try {
      const end = write(value, target, offset, 0);
      return end < 0 ? -1 : end - offset;
    } catch (error) {
      if (!(error instanceof Unencodable)) throw error;
      checkPortable(value, "value", { bigint: "int64", wellFormed: true });
      throw new PatchbayError("internal", "MessagePack refused a value that is portable");
    }
  }

  encodeBehind(value: unknown, headroom: number, likelyBytes: number): Uint8Array {
    let target = new Uint8Array(headroom + Math.max(FIRST_SIZE, likelyBytes));
    let written = this.encodeInto(value, target, headroom);
    while (written < 0) {
      target = new Uint8Array(target.length * 4);
      written = this.encodeInto(value, target, headroom);
    }
    const used = target.subarray(0, headroom + written);
    // It may wait in a queue that counts bytes: it must not hold much more than it says.
    return used.length * 1.25 >= target.length ? used : new Uint8Array(used);
  }

  decode(bytes: Uint8Array): unknown {
    return bytes.length === 0 ? undefined : this.#reader.readAll(bytes);
  }
}

/**
 * MessagePack. Load it with `loadMsgpack()` or from a `CodecTable`.
 *
 * Numbers come back as numbers and bigints as bigints: a bigint (−2⁶³ to 2⁶⁴ − 1, else `invalid`)
 * is always written as a 64-bit integer, and a number never is (integers outside −2³¹ to 2³² − 1
 * travel as float 64). So a foreign program's 64-bit integer is a bigint here. −0 is kept.
 *
 * Refused on both sides, as `invalid` or `protocol`: lone surrogates (UTF-8 cannot carry them),
 * NaN and infinities, the key `__proto__`, keys that are not strings, nesting deeper than
 * {@link MAX_DEPTH}, and every extension type, timestamps included. Of a repeated key the last
 * value counts, as in JSON.
 *
 * @example
 * ```ts
 * import { loadMsgpack } from "@patchbay/core";
 *
 * const msgpack = await loadMsgpack();
 * const target = new Uint8Array(256);
 * const written = msgpack.encodeInto({ frame: "map", stamp: 12n }, target, 0);
 * const value = msgpack.decode(target.subarray(0, written)) as { stamp: bigint };
 * if (value.stamp !== 12n) throw new Error("unexpected");
 * ```
 */
export const msgpack: Codec = Object.freeze(new Msgpack());
