/**
 * Values as the text in a ROS string: JSON, or a data URL of base64 for what JSON cannot carry.
 *
 * @module
 */

import { type Codec, type CodecTable, json, PatchbayError } from "@patchbay/core";

const SCHEME = "data:";
const BASE64 = ";base64,";

/** The part of `Uint8Array` that the type library does not know yet. */
interface Base64Bytes {
  toBase64(): string;
}
interface Base64 {
  fromBase64(text: string): Uint8Array;
}

const encoder = new TextEncoder();

/** The size of a text in UTF-8. */
function byteLength(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return encoder.encode(text).length;
  }
  return text.length;
}

/** The definitions of the service and the action for values that have no ROS type of their own. */
export const JSON_DEFINITIONS: Readonly<Record<string, string>> = {
  "patchbay_msgs/srv/Json": "string value\n---\nstring value\nstring error\n",
  "patchbay_msgs/action/Json": "string value\n---\nstring value\nstring error\n---\nstring value\n",
};
/** The message of shouts. */
export const JSON_MESSAGE = "std_msgs/msg/String";
/** The service of calls. */
export const JSON_SERVICE = "patchbay_msgs/srv/Json";
/** The action of jobs. */
export const JSON_ACTION = "patchbay_msgs/action/Json";

/** Writes and reads such texts. */
export class JsonText {
  readonly #codecs: CodecTable;
  readonly #msgpack: Codec;
  readonly #raw: Codec;
  readonly #max: number;

  private constructor(codecs: CodecTable, max: number) {
    this.#codecs = codecs;
    this.#msgpack = codecs.get("msgpack");
    this.#raw = codecs.get("raw");
    this.#max = max;
  }

  /**
   * Loads the codecs.
   *
   * @param codecs The bay's.
   * @param max The largest value, in bytes.
   */
  static async load(codecs: CodecTable, max: number): Promise<JsonText> {
    for (const name of codecs.names) await codecs.load(name);
    return new JsonText(codecs, max);
  }

  /**
   * The text of a value; empty for `undefined`.
   *
   * @param value The value.
   * @param name The codec that the contract names.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  write(value: unknown, name: string | undefined): string {
    if (name !== undefined) return this.#with(this.#codecs.get(name), value);
    if (value instanceof Uint8Array) return this.#with(this.#raw, value);
    try {
      return this.#with(json, value);
    } catch (error) {
      if ((error as PatchbayError).code !== "invalid") throw error;
      // Bytes and bigint inside: what no codec can carry is refused once more, naming its path.
      return this.#with(this.#msgpack, value);
    }
  }

  #with(codec: Codec, value: unknown): string {
    if (codec.encodeText !== undefined) {
      const text = codec.encodeText(value);
      this.#check(byteLength(text));
      return text;
    }
    const bytes = codec.encode(value);
    this.#check(bytes.length);
    return `${SCHEME}${codec.contentType}${BASE64}${(bytes as unknown as Base64Bytes).toBase64()}`;
  }

  #check(size: number): void {
    if (size <= this.#max) return;
    throw new PatchbayError("too_large", `the message has ${size} bytes, the limit ${this.#max}`, {
      details: { size, max: this.#max },
      remedy: "raise maxMessageBytes on both sides, or send less",
    });
  }

  /**
   * The value of a text.
   *
   * @param text The text.
   * @throws {PatchbayError} `protocol`, `too_large`.
   */
  read(text: string): unknown {
    if (!text.startsWith(SCHEME)) {
      const bytes = encoder.encode(text);
      this.#check(bytes.length);
      return json.decode(bytes);
    }
    const at = text.indexOf(BASE64);
    const type = text.slice(SCHEME.length, at);
    if (at < 0 || !this.#codecs.has(type)) {
      throw new PatchbayError("protocol", `a text of the type ${JSON.stringify(type)} is unknown`, {
        remedy: `known are ${this.#codecs.names.join(", ")}, in base64`,
      });
    }
    let bytes: Uint8Array;
    try {
      bytes = (Uint8Array as unknown as Base64).fromBase64(text.slice(at + BASE64.length));
    } catch (cause) {
      throw new PatchbayError("protocol", `a text of the type ${type} is not base64`, { cause });
    }
    this.#check(bytes.length);
    return this.#codecs.get(type).decode(bytes);
  }
}
