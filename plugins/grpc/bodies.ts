/**
 * Values as parts of messages and back: which codec, which media type, how much at most.
 *
 * @module
 */

import { type Codec, type CodecTable, json, PatchbayError, raw } from "@patchbay/core";
import type { Value } from "./messages.ts";

const NOTHING: Value = Object.freeze({});

/** Encodes and decodes the values of one bay. */
export class Bodies {
  readonly #codecs: CodecTable;
  readonly #msgpack: Codec;
  /** The largest value, in bytes. */
  readonly maxBytes: number;

  /**
   * @param codecs The bay's codecs.
   * @param msgpack What encodes a value that JSON cannot carry.
   * @param maxBytes The largest value.
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
  encode(value: unknown, name: string | undefined): Value {
    if (value === undefined) return NOTHING;
    if (value instanceof Uint8Array) return this.#body(value, "");
    if (name === undefined || name === "json") {
      let bytes: Uint8Array;
      try {
        bytes = json.encode(value);
      } catch (error) {
        if (!(error instanceof PatchbayError) || error.code !== "invalid") throw error;
        // What JSON cannot carry MessagePack can, or it says for good that nothing can.
        return this.#body(this.#msgpack.encode(value), this.#msgpack.contentType);
      }
      this.#check(bytes.length);
      return { json: bytes };
    }
    const codec = this.#codecs.get(name);
    return this.#body(codec.encode(value), codec.name === raw.name ? "" : codec.contentType);
  }

  /**
   * Decodes a value.
   *
   * @param value As it came.
   * @throws {PatchbayError} `protocol`: the bytes are none of that type; `too_large`.
   */
  decode({ json: text, body, contentType }: Value): unknown {
    if (text?.length) {
      this.#check(text.length);
      return json.decode(text);
    }
    // A message of protobufjs has the default of what was not sent on its prototype.
    if (body === undefined || body === null || !(body instanceof Uint8Array)) return undefined;
    this.#check(body.length);
    if (!contentType || contentType === raw.contentType) return new Uint8Array(body);
    if (!this.#codecs.has(contentType)) {
      throw new PatchbayError("protocol", `no codec for ${contentType}`, {
        remedy: `one of ${this.#codecs.names.join(", ")}`,
      });
    }
    return this.#codecs.get(contentType).decode(new Uint8Array(body));
  }

  #body(body: Uint8Array, contentType: string): Value {
    this.#check(body.length);
    return { body, contentType };
  }

  #check(size: number): void {
    if (size > this.maxBytes) throw tooLarge(size, this.maxBytes);
  }
}

/** How many bytes a value takes. */
export function sizeOf({ json: text, body }: Value): number {
  return (text ?? body)?.length ?? 0;
}

/** The error for a message that is over the limit. */
export function tooLarge(size: number, max: number): PatchbayError {
  return new PatchbayError("too_large", `the message has ${size} bytes, the limit is ${max}`, {
    details: { size, max },
    remedy: "send less at once, or raise maxMessageBytes on both sides",
  });
}
