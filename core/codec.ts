/**
 * How a value becomes the bytes of a message and back: the codec contract, JSON, raw bytes, and
 * the table in which codecs are found by name and content type.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import { checkPortable, isPlainObject, MAX_DEPTH } from "./values.ts";

/**
 * One encoding of values.
 *
 * In every codec a top-level `undefined` (a handler without a result) is a body of zero bytes,
 * and a body of zero bytes decodes to `undefined`; only `raw` decodes it to empty bytes.
 */
export interface Codec {
  /** The short name: `json`, `msgpack`, `raw`. */
  readonly name: string;
  /** The media type by which foreign programs know it. */
  readonly contentType: string;
  /**
   * Encodes into bytes of their own, which do not change when the value does.
   *
   * @param value A portable value.
   * @throws {PatchbayError} `invalid`, naming the path of what this codec cannot carry.
   */
  encode(value: unknown): Uint8Array;
  /**
   * Encodes into `target` from `offset` on. When the value does not fit, nothing is promised
   * about the bytes written.
   *
   * @param value A portable value.
   * @param target Where to write.
   * @param offset The index of the first byte to write.
   * @returns The number of bytes written, or −1 when the value did not fit.
   * @throws {PatchbayError} `invalid`, naming the path of what this codec cannot carry.
   */
  encodeInto(value: unknown, target: Uint8Array, offset: number): number;
  /**
   * As {@link encode}, with bytes left free in front for a header: a large value is then copied
   * once less. A codec that lacks it works all the same.
   *
   * @param value A portable value.
   * @param headroom How many bytes to leave free.
   * @param likelyBytes How large the body may be: a guess that costs or saves time only.
   * @throws {PatchbayError} `invalid`, naming the path of what this codec cannot carry.
   */
  encodeBehind?(value: unknown, headroom: number, likelyBytes: number): Uint8Array;
  /**
   * As {@link encode}, as text, for wires that send text anyway; only codecs that are text have it.
   *
   * @param value A portable value.
   * @throws {PatchbayError} `invalid`, naming the path of what this codec cannot carry.
   */
  encodeText?(value: unknown): string;
  /**
   * Decodes one whole body. The result never aliases `bytes`, which may be reused at once.
   *
   * @param bytes The body, from its first byte to its last.
   * @throws {PatchbayError} `protocol` when the bytes are not one complete portable value.
   */
  decode(bytes: Uint8Array): unknown;
}

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true });
const lenientDecoder = new TextDecoder();
/** ASCII up to this length is written by a loop: below it, that beats the text API. */
const SHORT_TEXT = 128;

/**
 * JSON (RFC 8259) in UTF-8.
 *
 * Refuses what `JSON.stringify` would silently change: bytes, bigint, NaN, infinities, `undefined`
 * in an array, and everything that is not portable. Lone surrogates survive as `\u` escapes.
 * Known loss: −0 arrives as 0. Decoding refuses invalid UTF-8, the key `__proto__`, numbers too
 * large for a double, and nesting deeper than {@link MAX_DEPTH}.
 *
 * @example
 * ```ts
 * import { json } from "@patchbay/core";
 *
 * const bytes = json.encode({ x: 1.5, label: "dock" });
 * const value = json.decode(bytes) as { x: number };
 * if (value.x !== 1.5) throw new Error("unexpected");
 * ```
 */
export const json: Codec = Object.freeze<Codec>({
  name: "json",
  contentType: "application/json",
  encode(value: unknown): Uint8Array {
    return value === undefined ? new Uint8Array(0) : textEncoder.encode(stringify(value));
  },
  encodeInto(value: unknown, target: Uint8Array, offset: number): number {
    if (value === undefined) return 0;
    const text = stringify(value);
    const { length } = text;
    if (length > target.length - offset) return -1;
    if (length <= SHORT_TEXT) {
      let index = 0;
      for (; index < length; index++) {
        const code = text.charCodeAt(index);
        if (code >= 0x80) break;
        target[offset + index] = code;
      }
      if (index === length) return length;
    }
    const { read, written } = textEncoder.encodeInto(
      text,
      offset === 0 ? target : target.subarray(offset),
    );
    return read === length ? written : -1;
  },
  encodeBehind(value: unknown, headroom: number): Uint8Array {
    if (value === undefined) return new Uint8Array(headroom);
    const text = stringify(value);
    const bytes = new Uint8Array(headroom + text.length);
    const { read, written } = textEncoder.encodeInto(text, bytes.subarray(headroom));
    if (read === text.length) return bytes;
    // Not ASCII, so it needs more than one byte a character.
    const rest = textEncoder.encode(text.slice(read));
    const longer = new Uint8Array(headroom + written + rest.length);
    longer.set(bytes.subarray(0, headroom + written));
    longer.set(rest, headroom + written);
    return longer;
  },
  encodeText(value: unknown): string {
    return value === undefined ? "" : stringify(value);
  },
  decode(bytes: Uint8Array): unknown {
    return bytes.length === 0 ? undefined : parse(bytes);
  },
});

function stringify(value: unknown): string {
  if (!isJson(value, 0)) {
    checkPortable(value, "value", { bytes: false, bigint: "none" });
    throw new PatchbayError("internal", "JSON refused a value that checkPortable accepts");
  }
  return JSON.stringify(value);
}

/** The cheap answer; when it is no, `checkPortable` walks again to say where and why. */
function isJson(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object": {
      if (value === null) return true;
      if (depth === MAX_DEPTH) return false;
      if (Array.isArray(value)) {
        for (let index = 0; index < value.length; index++) {
          if (!isJson(value[index], depth + 1)) return false;
        }
        return true;
      }
      if (!isPlainObject(value)) return false;
      for (const key in value) {
        if (key === "__proto__") return false;
        const property = value[key];
        // The call is saved for what most properties are.
        if (
          typeof property === "string" || property === undefined ||
          (typeof property === "number" && Number.isFinite(property))
        ) continue;
        if (!isJson(property, depth + 1)) return false;
      }
      return true;
    }
    default:
      return false;
  }
}

function parse(bytes: Uint8Array): unknown {
  const harmless = isHarmless(bytes);
  const text = harmless ? lenientDecoder.decode(bytes) : decodeText(bytes);
  // Below this size a hostile nesting costs little; beyond it, it is found before it is built.
  if (text.length > NESTING_BYTES && manyBrackets(text) && nesting(bytes) > MAX_DEPTH) {
    throw new PatchbayError("protocol", `the JSON body is nested deeper than ${MAX_DEPTH}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PatchbayError("protocol", `the body is not JSON: ${why}`, { cause });
  }
  // JSON.parse accepts what is not portable: `__proto__`, 1e999 as Infinity, any depth.
  if (!harmless && !isJson(value, 0)) {
    try {
      checkPortable(value, "body");
    } catch (cause) {
      if (!(cause instanceof PatchbayError)) throw cause;
      throw new PatchbayError("protocol", cause.message, { details: cause.details, cause });
    }
  }
  return value;
}

/** The smallest number that overflows without an exponent, 2^1024, has 309 digits. */
const HARMLESS_BYTES = 308;
/** By byte: 1 an opening bracket; 2 an underscore, 4 a digit, 8 an `e`; 16 what needs a closer look. */
const BYTE_CLASS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80 || byte === 0x5c) return 16;
  const character = String.fromCharCode(byte);
  if ("[{".includes(character)) return 1;
  if (character === "_") return 2;
  if ("0123456789".includes(character)) return 4;
  return "eE".includes(character) ? 8 : 0;
});

/**
 * Whether a small body is plain enough that what JSON.parse makes of it is portable for certain:
 * ASCII without escapes, no `__`, no exponent, too few brackets to nest too deep. A look at the
 * bytes costs a seventh of a walk through the value.
 */
function isHarmless(bytes: Uint8Array): boolean {
  const { length } = bytes;
  if (length > HARMLESS_BYTES) return false;
  let brackets = 0;
  let before = 0;
  for (let index = 0; index < length; index++) {
    const now = BYTE_CLASS[bytes[index]];
    if (now !== 0) {
      if (now === 16 || (now === 2 && before === 2) || (now === 8 && before === 4)) return false;
      brackets += now & 1;
    }
    before = now;
  }
  return brackets <= MAX_DEPTH;
}

/** Bodies from this size on are scanned for hostile nesting before they are parsed, in bytes. */
const NESTING_BYTES = 64 * 1024;

/** A lenient decoder takes a third of a strict one's time; only what it replaced needs the latter. */
function decodeText(bytes: Uint8Array): string {
  const text = lenientDecoder.decode(bytes);
  if (!text.includes("\uFFFD")) return text;
  try {
    return textDecoder.decode(bytes);
  } catch (cause) {
    throw new PatchbayError("protocol", "the JSON body is not valid UTF-8", { cause });
  }
}

/** Whether there are enough brackets to nest too deep: a quick search spares most bodies a scan. */
function manyBrackets(text: string): boolean {
  let left = MAX_DEPTH;
  for (const bracket of "[{") {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (left-- === 0) return true;
    }
  }
  return false;
}

/** The deepest nesting of brackets outside strings. */
function nesting(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (quoted) {
      if (byte === 0x5c) index++; // a backslash: the next byte is escaped
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) {
      quoted = true;
    } else if ((byte | 0x20) === 0x7b) { // [ or {
      if (++depth > deepest) deepest = depth;
    } else if ((byte | 0x20) === 0x7d) { // ] or }
      depth--;
    }
  }
  return deepest;
}

/**
 * Bytes as they are: the value must be a `Uint8Array`, and a body of zero bytes is empty bytes.
 *
 * @example
 * ```ts
 * import { raw } from "@patchbay/core";
 *
 * const target = new Uint8Array(16);
 * if (raw.encodeInto(new Uint8Array([7, 8]), target, 4) !== 2) throw new Error("unexpected");
 * if (raw.encodeInto(new Uint8Array(17), target, 0) !== -1) throw new Error("unexpected");
 * ```
 */
export const raw: Codec = Object.freeze<Codec>({
  name: "raw",
  contentType: "application/octet-stream",
  encode(value: unknown): Uint8Array {
    return value === undefined ? new Uint8Array(0) : copyOf(onlyBytes(value));
  },
  encodeInto(value: unknown, target: Uint8Array, offset: number): number {
    if (value === undefined) return 0;
    const bytes = onlyBytes(value);
    if (bytes.length > target.length - offset) return -1;
    target.set(bytes, offset);
    return bytes.length;
  },
  encodeBehind(value: unknown, headroom: number): Uint8Array {
    if (value === undefined) return new Uint8Array(headroom);
    const bytes = onlyBytes(value);
    const frame = new Uint8Array(headroom + bytes.length);
    frame.set(bytes, headroom);
    return frame;
  },
  decode(bytes: Uint8Array): Uint8Array {
    return copyOf(bytes);
  },
});

function onlyBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new PatchbayError(
    "invalid",
    "value is not a Uint8Array: the raw codec carries only bytes",
    {
      details: { path: "value" },
      remedy: "use the json or msgpack codec for this endpoint",
    },
  );
}

/** Never `slice`: on a Node `Buffer` that would be a view, and its species another `Buffer`. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

/**
 * Loads the MessagePack codec. A program that never calls this never loads its code.
 *
 * @example
 * ```ts
 * import { loadMsgpack } from "@patchbay/core";
 *
 * const msgpack = await loadMsgpack();
 * const bytes = msgpack.encode({ id: 5n, frame: new Uint8Array([1, 2, 3]) });
 * if ((msgpack.decode(bytes) as { id: bigint }).id !== 5n) throw new Error("unexpected");
 * ```
 */
export async function loadMsgpack(): Promise<Codec> {
  return (await import("./codec_msgpack.ts")).msgpack;
}

/** A codec whose code is loaded when it is first needed. */
export interface LazyCodec {
  /** As {@link Codec.name}. */
  readonly name: string;
  /** As {@link Codec.contentType}. */
  readonly contentType: string;
  /** Loads it. Called again only after it failed. */
  load(): Promise<Codec>;
}

interface Entry {
  readonly name: string;
  readonly contentType: string;
  codec?: Codec;
  loading?: Promise<Codec>;
  readonly load?: () => Promise<Codec>;
}

/**
 * Codecs by name and by content type. A new table knows `json`, `raw` and, loaded when it is
 * first asked for, `msgpack`.
 *
 * Content types are compared without case and parameters, so that
 * `application/json; charset=utf-8` is found.
 *
 * @example
 * ```ts
 * import { CodecTable } from "@patchbay/core";
 *
 * const codecs = new CodecTable();
 * const msgpack = await codecs.load("application/vnd.msgpack");
 * if (codecs.get("msgpack") !== msgpack) throw new Error("unexpected");
 * ```
 */
export class CodecTable {
  readonly #entries = new Map<string, Entry>();

  /** Makes a table of the built-in codecs. */
  constructor() {
    this.register(json);
    this.register(raw);
    this.register(
      { name: "msgpack", contentType: "application/vnd.msgpack", load: loadMsgpack },
      // In wide use before the registration.
      ["application/msgpack", "application/x-msgpack"],
    );
  }

  /** The names of all codecs, in the order of their registration. */
  get names(): string[] {
    return [...new Set(this.#entries.values())].map((entry) => entry.name);
  }

  /**
   * Adds a codec.
   *
   * @param codec The codec, or how to load it.
   * @param aliases Further content types under which it is found.
   * @throws {PatchbayError} `invalid` when the name or a content type is taken.
   */
  register(codec: Codec | LazyCodec, aliases: readonly string[] = []): void {
    const { name, contentType } = codec;
    const entry: Entry = "load" in codec
      ? { name, contentType, load: () => codec.load() }
      : { name, contentType, codec };
    const keys = [name, contentType, ...aliases].map(normalized);
    for (const key of keys) {
      const taken = this.#entries.get(key);
      if (taken !== undefined) {
        throw new PatchbayError("invalid", `"${key}" is already the codec ${taken.name}`, {
          details: { codec: key },
          remedy: "give the codec another name and content type",
        });
      }
    }
    for (const key of keys) this.#entries.set(key, entry);
  }

  /**
   * Whether a codec is known, loaded or not.
   *
   * @param nameOrContentType Such as `json` or `application/json; charset=utf-8`.
   */
  has(nameOrContentType: string): boolean {
    return this.#entries.has(normalized(nameOrContentType));
  }

  /**
   * Finds a codec that needs no loading.
   *
   * @param nameOrContentType Such as `json` or `application/json; charset=utf-8`.
   * @throws {PatchbayError} `invalid` when it is unknown, with the nearest name as the remedy,
   * or when it was not loaded yet.
   */
  get(nameOrContentType: string): Codec {
    const entry = this.#find(nameOrContentType);
    if (entry.codec !== undefined) return entry.codec;
    throw new PatchbayError("invalid", `the codec ${entry.name} is not loaded yet`, {
      details: { codec: entry.name },
      remedy: `await table.load("${entry.name}") first`,
    });
  }

  /**
   * Finds a codec, loading it when that is needed; concurrent calls load it once.
   *
   * @param nameOrContentType Such as `msgpack` or `application/vnd.msgpack`.
   * @throws {PatchbayError} `invalid` when it is unknown, `unavailable` when it cannot be loaded.
   */
  async load(nameOrContentType: string): Promise<Codec> {
    const entry = this.#find(nameOrContentType);
    if (entry.codec !== undefined) return entry.codec;
    entry.loading ??= entry.load!();
    try {
      return entry.codec = await entry.loading;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new PatchbayError("unavailable", `the codec ${entry.name} cannot be loaded: ${why}`, {
        details: { codec: entry.name },
        cause,
      });
    } finally {
      entry.loading = undefined;
    }
  }

  #find(nameOrContentType: string): Entry {
    const key = normalized(nameOrContentType);
    const entry = this.#entries.get(key);
    if (entry !== undefined) return entry;
    const nearest = [...this.#entries.keys()]
      .map((known) => ({ known, distance: editDistance(key, known) }))
      .sort((a, b) => a.distance - b.distance)[0];
    throw new PatchbayError("invalid", `no codec is called "${nameOrContentType}"`, {
      details: { codec: nameOrContentType, known: this.names },
      remedy: nearest.distance <= 3
        ? `did you mean "${nearest.known}"?`
        : `known are ${this.names.join(", ")}; others are added with table.register(codec)`,
    });
  }
}

function normalized(nameOrContentType: string): string {
  return nameOrContentType.split(";", 1)[0].trim().toLowerCase();
}

/** How many letters must be added, dropped or changed (Levenshtein). */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
