/**
 * Values as HTTP bodies and back: which codec, which media type, and how much is read at most.
 *
 * @module
 */

import {
  type Codec,
  type CodecTable,
  type EndpointStatistics,
  json,
  PatchbayError,
  raw,
} from "@patchbay/core";
import { chunksOf } from "./chunks.ts";

/** A value as the body of a message. */
export interface Body {
  /** The bytes; `undefined` for no body at all. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /** Their media type. */
  readonly type: string;
}

const NOTHING: Body = { bytes: undefined, type: "" };

const JSON_HEADERS = { "content-type": "application/json" } as const;
const JSON_OK: ResponseInit = Object.freeze({ headers: JSON_HEADERS });
/** Answers above this tell their length, so that a listener can hand them over piece by piece. */
export const LARGE_BYTES = 128 * 1024;
/** What of UTF-8 is one byte. */
const ASCII = /^[\0-\x7f]*$/;

/** Media types that a page may send without asking first (Fetch §2.2.2): never read as a value. */
const SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/** Encodes and decodes bodies with the codecs of one bay. */
export class Bodies {
  readonly #codecs: CodecTable;
  readonly #msgpack: Codec;
  /** The largest body, in bytes. */
  readonly maxBytes: number;

  /**
   * @param codecs The bay's codecs.
   * @param msgpack What encodes a value that JSON cannot carry.
   * @param maxBytes The largest body.
   */
  constructor(codecs: CodecTable, msgpack: Codec, maxBytes: number) {
    this.#codecs = codecs;
    this.#msgpack = msgpack;
    this.maxBytes = maxBytes;
  }

  /**
   * Encodes a value: bytes as they are, everything else as JSON, or as MessagePack if it holds
   * bytes or bigints.
   *
   * @param value The value.
   * @param name The codec that the contract asks for.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  encode(value: unknown, name: string | undefined): Body {
    if (value === undefined) return NOTHING;
    if (name === undefined || name === "json") {
      if (!(value instanceof Uint8Array)) return this.#encodeJson(value);
      // JSON carries no bytes, whatever the contract says.
      return this.#bounded(value, raw.contentType);
    }
    const codec = value instanceof Uint8Array ? raw : this.#codecs.get(name);
    if (codec.name === "raw") return this.#bounded(value, raw.contentType);
    return this.#bounded(codec.encode(value), codec.contentType);
  }

  #encodeJson(value: unknown): Body {
    let bytes: Uint8Array;
    try {
      bytes = json.encode(value);
    } catch (error) {
      if (!(error instanceof PatchbayError) || error.code !== "invalid") throw error;
      // What JSON cannot carry MessagePack can, or it says for good that nothing can.
      return this.#bounded(this.#msgpack.encode(value), this.#msgpack.contentType);
    }
    return this.#bounded(bytes, json.contentType);
  }

  #bounded(bytes: unknown, type: string): Body {
    if (!(bytes instanceof Uint8Array)) {
      throw new PatchbayError("invalid", "value is not a Uint8Array: raw carries only bytes", {
        details: { path: "value" },
        remedy: "use the json or msgpack codec for this endpoint",
      });
    }
    if (bytes.length > this.maxBytes) throw tooLarge(bytes.length, this.maxBytes);
    return { bytes: bytes as Uint8Array<ArrayBuffer>, type };
  }

  /**
   * A value as the body of a request: JSON of ASCII as text, which goes out in one piece with its
   * header; all else as {@link encode} has it.
   *
   * @param value The value.
   * @param name The codec that the contract asks for.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  request(
    value: unknown,
    name: string | undefined,
  ): { readonly body: string | Uint8Array<ArrayBuffer> | undefined; readonly type: string } {
    if (
      value !== undefined && (name === undefined || name === "json") &&
      !(value instanceof Uint8Array)
    ) {
      const text = this.#text(value);
      if (text !== undefined) return { body: text, type: json.contentType };
    }
    const { bytes, type } = this.encode(value, name);
    return { body: bytes, type };
  }

  /**
   * A value as the body of an answer: JSON as text, which Deno sends quicker than bytes.
   *
   * @param value The value.
   * @param name The codec that the contract asks for.
   * @param status The status of success.
   * @param statistics Who counts its bytes.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  answer(
    value: unknown,
    name: string | undefined,
    status: number,
    statistics: EndpointStatistics,
  ): Response {
    if (
      value !== undefined && (name === undefined || name === "json") &&
      !(value instanceof Uint8Array)
    ) {
      const text = this.#text(value);
      if (text !== undefined) {
        statistics.bytesOut += text.length;
        if (text.length > LARGE_BYTES) {
          return wholeAnswer(text, JSON_HEADERS["content-type"], status);
        }
        return status === 200 ? new Response(text, JSON_OK) : new Response(text, {
          status,
          headers: JSON_HEADERS,
        });
      }
    }
    const { bytes, type } = this.encode(value, name);
    if (bytes === undefined) return new Response(null, { status: status === 200 ? 204 : status });
    statistics.bytesOut += bytes.length;
    return wholeAnswer(bytes, type, status);
  }

  /** JSON whose every character is one byte, if it is that, and within the limit. */
  #text(value: unknown): string | undefined {
    let text: string;
    try {
      text = json.encodeText!(value);
    } catch {
      // encode() says what is wrong, or finds a codec that can.
      return undefined;
    }
    return text.length <= this.maxBytes && ASCII.test(text) ? text : undefined;
  }

  /**
   * Decodes the body of a request.
   *
   * @param bytes The body, which is not used for anything else.
   * @param type Its media type.
   * @throws {PatchbayError} `protocol`: the bytes are none of that type.
   */
  decodeRequest(bytes: Uint8Array, type: string): unknown {
    if (type === "application/json") return json.decode(bytes);
    if (bytes.length === 0 && type === "") return undefined;
    const media = mediaType(type);
    if (isJson(media)) return json.decode(bytes);
    if (this.#codecs.has(media) && media !== raw.contentType) {
      return this.#codecs.get(media).decode(bytes);
    }
    return bytes;
  }

  /**
   * Whether a request's media type is one that is read.
   *
   * @param type The media type, with its parameters.
   */
  reads(type: string): boolean {
    const media = mediaType(type);
    return media !== "" && !SIMPLE.includes(media);
  }

  /**
   * Decodes the body of an answer: other texts than JSON as a string, what is unknown as bytes.
   *
   * @param bytes The body, which is not used for anything else.
   * @param type Its media type.
   * @throws {PatchbayError} `protocol`: the bytes are none of that type.
   */
  decodeResponse(bytes: Uint8Array, type: string): unknown {
    if (type === "application/json") return json.decode(bytes);
    const media = mediaType(type);
    if (isJson(media)) return json.decode(bytes);
    if (media.startsWith("text/") || media.endsWith("+xml") || media === "application/xml") {
      return new TextDecoder().decode(bytes);
    }
    if (media === "") return bytes.length === 0 ? undefined : bytes;
    if (this.#codecs.has(media) && media !== raw.contentType) {
      return this.#codecs.get(media).decode(bytes);
    }
    return bytes;
  }
}

/** The error for a message that is over the limit. */
export function tooLarge(size: number, max: number): PatchbayError {
  return new PatchbayError("too_large", `the message has ${size} bytes, the limit is ${max}`, {
    details: { size, max },
    remedy: "send less at once, or raise maxMessageBytes on both sides",
  });
}

/**
 * A media type without its parameters, in lower case.
 *
 * @param type As it stands in the header.
 */
export function mediaType(type: string): string {
  const end = type.indexOf(";");
  return (end < 0 ? type : type.slice(0, end)).trim().toLowerCase();
}

function isJson(media: string): boolean {
  return media === "application/json" || media.endsWith("+json");
}

/**
 * An answer whose body is there as a whole.
 *
 * @param body The body; a text is ASCII.
 * @param type Its media type.
 * @param status The status.
 * @param more Further headers.
 */
export function wholeAnswer(
  body: string | Uint8Array<ArrayBuffer>,
  type: string,
  status = 200,
  more: Readonly<Record<string, string>> = {},
): Response {
  const headers: Record<string, string> = { "content-type": type, ...more };
  if (body.length > LARGE_BYTES) headers["content-length"] = String(body.length);
  return new Response(body, { status, headers });
}

/**
 * Reads the whole body of a message, and no more than the limit.
 *
 * @param message The request or answer.
 * @param maxBytes The limit.
 * @param signal Gives up: what `fetch` answered has to bring it (see `chunks.ts`).
 * @throws {PatchbayError} `too_large`; or the signal's reason.
 */
export async function readBody(
  message: Request | Response,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = message.headers.get("content-length");
  if (announced !== null && !message.headers.has("content-encoding")) {
    const length = Number(announced);
    if (length > maxBytes) {
      await message.body?.cancel().catch(() => {});
      throw tooLarge(length, maxBytes);
    }
    if (signal === undefined) return new Uint8Array(await message.arrayBuffer());
  }
  if (message.body === null) return new Uint8Array(0);
  return await readBounded(chunksOf(message.body, signal), maxBytes);
}

/** Nobody has said how much it will be: it is counted. */
async function readBounded(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(size, maxBytes);
    chunks.push(chunk);
  }
  if (chunks.length === 1 && chunks[0].byteLength === chunks[0].buffer.byteLength) {
    return chunks[0] as Uint8Array<ArrayBuffer>;
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
