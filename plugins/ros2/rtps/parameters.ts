/**
 * Parameter lists (9.4.2.11): what discovery data and inline QoS are made of.
 *
 * @module
 */

import { Pid } from "./constants.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** One parameter's value, in the byte order of its list. Every read is checked against its size. */
export interface ParameterValue {
  /** The bytes that hold it: those of the whole packet. */
  readonly bytes: Uint8Array;
  /** Reads of `bytes`. */
  readonly view: DataView;
  /** Where it begins. */
  readonly at: number;
  /** How long it is. */
  readonly length: number;
  /** Whether numbers are little-endian. */
  readonly little: boolean;
}

/**
 * Goes through a parameter list.
 *
 * @param bytes The packet.
 * @param at Where the list begins.
 * @param end Where it must have ended.
 * @param little Whether its numbers are little-endian.
 * @param visit Called for each parameter.
 * @returns Where it ended, or −1 if it is malformed.
 */
export function readParameters(
  bytes: Uint8Array,
  at: number,
  end: number,
  little: boolean,
  visit: (pid: number, value: ParameterValue) => void,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  while (at + 4 <= end) {
    const pid = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    at += 4;
    if (pid === Pid.sentinel) return at;
    if (at + length > end) return -1;
    if (pid !== Pid.pad) visit(pid, { bytes, view, at, length, little });
    at += length;
  }
  return -1;
}

/** The bytes of a value; a view. */
export function valueBytes(value: ParameterValue): Uint8Array {
  return value.bytes.subarray(value.at, value.at + value.length);
}

/** An unsigned 32-bit number at an offset; `undefined` past its end. */
export function valueUint32(value: ParameterValue, offset = 0): number | undefined {
  if (offset + 4 > value.length) return undefined;
  return value.view.getUint32(value.at + offset, value.little);
}

/** A string (CDR: length with the zero at its end, bytes); `undefined` if it does not fit. */
export function valueString(value: ParameterValue, offset = 0): string | undefined {
  const length = valueUint32(value, offset);
  if (length === undefined || length === 0 || offset + 4 + length > value.length) return undefined;
  const from = value.at + offset + 4;
  return decoder.decode(value.bytes.subarray(from, from + length - 1));
}

/** A sequence of octets; `undefined` if it does not fit. */
export function valueOctets(value: ParameterValue): Uint8Array | undefined {
  const length = valueUint32(value);
  if (length === undefined || 4 + length > value.length) return undefined;
  return value.bytes.slice(value.at + 4, value.at + 4 + length);
}

/** A sequence of strings; `undefined` if it does not fit. */
export function valueStrings(value: ParameterValue): string[] | undefined {
  const count = valueUint32(value);
  if (count === undefined) return undefined;
  const strings: string[] = [];
  for (let offset = 4; strings.length < count;) {
    const text = valueString(value, offset);
    if (text === undefined) return undefined;
    strings.push(text);
    offset += 4 + (valueUint32(value, offset) as number);
    offset = (offset + 3) & ~3;
  }
  return strings;
}

/** Durations from here on mean: for ever. */
const INFINITE_SECONDS = 0x7fffffff;

/** A duration (seconds, 2^−32 s) at an offset, in milliseconds; `undefined` past its end. */
export function valueDurationMs(value: ParameterValue, offset = 0): number | undefined {
  if (offset + 8 > value.length) return undefined;
  const seconds = value.view.getInt32(value.at + offset, value.little);
  const fraction = value.view.getUint32(value.at + offset + 4, value.little);
  if (seconds >= INFINITE_SECONDS) return Infinity;
  // To the nanosecond: 2^−32 s are a quarter of one, and 100 ms should stay 100 ms.
  return Math.max(0, seconds * 1000 + Math.round(fraction / 2 ** 32 * 1e9) / 1e6);
}

/** An IPv4 locator (9.3.2.3); `undefined` for every other kind. */
export function valueLocator(
  value: ParameterValue,
): { hostname: string; port: number } | undefined {
  if (value.length < 24 || value.view.getInt32(value.at, value.little) !== 1) return undefined;
  const port = value.view.getUint32(value.at + 4, value.little);
  if (port < 1 || port > 65535) return undefined;
  const from = value.at + 20;
  return { hostname: value.bytes.subarray(from, from + 4).join("."), port };
}

/** Writes a little-endian parameter list, growing as needed. */
export class ParameterWriter {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** @param encapsulated Whether it begins with the header of a payload (PL_CDR_LE). */
  constructor(encapsulated: boolean) {
    if (encapsulated) this.#raw([0x00, 0x03, 0x00, 0x00]);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + more));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  #raw(bytes: ArrayLike<number>): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #uint32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  #head(pid: number, length: number): void {
    this.#reserve(4);
    this.#view.setUint16(this.#length, pid, true);
    this.#view.setUint16(this.#length + 2, length, true);
    this.#length += 4;
  }

  #align(): void {
    while (this.#length % 4 !== 0) this.#raw([0]);
  }

  /** Bytes as they are, padded to a multiple of four. */
  bytes(pid: number, bytes: Uint8Array): this {
    this.#head(pid, (bytes.length + 3) & ~3);
    this.#raw(bytes);
    this.#align();
    return this;
  }

  /** Unsigned 32-bit numbers. */
  uint32(pid: number, ...values: number[]): this {
    this.#head(pid, 4 * values.length);
    for (const value of values) this.#uint32(value);
    return this;
  }

  /** A string. */
  string(pid: number, text: string): this {
    return this.strings(pid, [text], false);
  }

  /** Strings, behind their number unless told otherwise. */
  strings(pid: number, texts: readonly string[], counted = true): this {
    const start = this.#length;
    this.#head(pid, 0);
    if (counted) this.#uint32(texts.length);
    for (const text of texts) {
      const bytes = encoder.encode(text);
      this.#uint32(bytes.length + 1);
      this.#raw(bytes);
      this.#raw([0]);
      this.#align();
    }
    this.#view.setUint16(start + 2, this.#length - start - 4, true);
    return this;
  }

  /** A sequence of octets. */
  octets(pid: number, bytes: Uint8Array): this {
    this.#head(pid, 4 + ((bytes.length + 3) & ~3));
    this.#uint32(bytes.length);
    this.#raw(bytes);
    this.#align();
    return this;
  }

  /** A duration, perhaps behind a number (as reliability and liveliness have it). */
  duration(pid: number, ms: number, kind?: number): this {
    this.#head(pid, kind === undefined ? 8 : 12);
    if (kind !== undefined) this.#uint32(kind);
    // RTPS 2.x: 0x7fffffff seconds and all ones mean for ever.
    if (ms === Infinity || ms / 1000 >= INFINITE_SECONDS) {
      this.#uint32(INFINITE_SECONDS);
      this.#uint32(0xffffffff);
    } else {
      const seconds = Math.floor(ms / 1000);
      this.#uint32(seconds);
      this.#uint32(Math.min(0xffffffff, Math.round((ms / 1000 - seconds) * 2 ** 32)));
    }
    return this;
  }

  /** A locator of UDP over IPv4. */
  locator(pid: number, { hostname, port }: { hostname: string; port: number }): this {
    this.#head(pid, 24);
    this.#uint32(1);
    this.#uint32(port);
    this.#raw(new Uint8Array(12));
    this.#raw(hostname.split(".").map(Number));
    return this;
  }

  /** Ends the list and gives its bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#head(Pid.sentinel, 0);
    return this.#bytes.slice(0, this.#length);
  }
}
