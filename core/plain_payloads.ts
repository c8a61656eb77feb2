/**
 * Values as the payloads of foreign systems: the plain encoded value, so that programs without
 * Patchbay can read and write it.
 *
 * @module
 */

import { type Codec, type CodecTable, json } from "./codec.ts";
import { PatchbayError } from "./errors.ts";

/** An encoded value. */
export interface PlainPayload<Bytes extends Uint8Array = Uint8Array> {
  /** The bytes, or the text. */
  readonly data: Bytes | string;
  /** The codec. */
  readonly codec: Codec;
  /** Its size in bytes. */
  readonly bytes: number;
}

/** What a client library wants bytes to be. */
export interface PayloadForm<Bytes extends Uint8Array> {
  /** The same bytes, without a copy. */
  wrap(bytes: Uint8Array): Bytes;
  /** The size of a text in UTF-8, in bytes. */
  byteLength(text: string): number;
}

/** Encodes and decodes the values of one bay. */
export class PlainPayloads<Bytes extends Uint8Array = Uint8Array> {
  readonly #codecs: CodecTable;
  readonly #form: PayloadForm<Bytes>;
  readonly #preferred: Codec;
  readonly #msgpack: Codec;
  readonly #raw: Codec;
  readonly #byType = new Map<string, Codec>();
  /** The largest payload, in bytes. */
  readonly max: number;

  private constructor(
    codecs: CodecTable,
    preferred: string,
    max: number,
    form: PayloadForm<Bytes>,
  ) {
    this.#codecs = codecs;
    this.#form = form;
    this.#preferred = codecs.get(preferred);
    this.#msgpack = codecs.get("msgpack");
    this.#raw = codecs.get("raw");
    this.max = max;
  }

  /**
   * Loads what is needed.
   *
   * @param codecs The codecs of the bay.
   * @param preferred The codec of contracts that name none.
   * @param max The largest payload, in bytes.
   * @param form What the client library wants bytes to be.
   */
  static async load<Bytes extends Uint8Array>(
    codecs: CodecTable,
    preferred: string,
    max: number,
    form: PayloadForm<Bytes>,
  ): Promise<PlainPayloads<Bytes>> {
    for (const name of codecs.names) await codecs.load(name);
    return new PlainPayloads(codecs, preferred, max, form);
  }

  /**
   * Encodes a value.
   *
   * @param value The value.
   * @param name The codec that the contract names.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  encode(value: unknown, name: string | undefined): PlainPayload<Bytes> {
    if (name !== undefined) return this.#with(this.#codecs.get(name), value);
    if (value instanceof Uint8Array) return this.#with(this.#raw, value);
    if (this.#preferred !== json) return this.#with(this.#preferred, value);
    try {
      return this.#with(json, value);
    } catch (error) {
      if ((error as PatchbayError).code !== "invalid") throw error;
      // Bytes and bigint inside: what no codec can carry is refused once more, naming its path.
      return this.#with(this.#msgpack, value);
    }
  }

  /**
   * Decodes a payload.
   *
   * @param bytes The payload.
   * @param type Its content type or codec; `undefined`: JSON.
   * @throws {PatchbayError} `protocol`; `too_large`.
   */
  decode(bytes: Uint8Array, type: string | undefined): unknown {
    if (bytes.length > this.max) throw this.#tooLarge(bytes.length);
    if (type === undefined) return json.decode(bytes);
    let codec = this.#byType.get(type);
    if (codec === undefined) {
      if (!this.#codecs.has(type)) {
        throw new PatchbayError("protocol", `the type ${JSON.stringify(type)} is unknown`, {
          remedy: `known are ${this.#codecs.names.join(", ")}`,
        });
      }
      this.#byType.set(type, codec = this.#codecs.get(type));
    }
    return codec.decode(bytes);
  }

  #with(codec: Codec, value: unknown): PlainPayload<Bytes> {
    if (codec.encodeText !== undefined) {
      const data = codec.encodeText(value);
      const bytes = this.#form.byteLength(data);
      if (bytes > this.max) throw this.#tooLarge(bytes);
      return { data, codec, bytes };
    }
    const bytes = codec.encode(value);
    if (bytes.length > this.max) throw this.#tooLarge(bytes.length);
    return { data: this.#form.wrap(bytes), codec, bytes: bytes.length };
  }

  #tooLarge(size: number): PatchbayError {
    return new PatchbayError("too_large", `the message has ${size} bytes, the limit ${this.max}`, {
      details: { size, max: this.max },
      remedy: "raise maxMessageBytes on both sides, or send less",
    });
  }
}

/** The content type that a message tells; `undefined` for JSON, which needs no telling. */
export function contentTypeOf({ codec }: PlainPayload): string | undefined {
  return codec === json ? undefined : codec.contentType;
}
