/**
 * Values as MQTT.js takes them: text, or a Buffer.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type CodecTable, type PlainPayload, PlainPayloads } from "@patchbay/core";

/** An encoded value. */
export type Payload = PlainPayload<Buffer>;

/** Encodes and decodes the values of one bay. */
export type Payloads = PlainPayloads<Buffer>;

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
  return PlainPayloads.load<Buffer>(codecs, preferred, max, {
    wrap: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    // Three bytes a code unit at most: only long ones are measured.
    byteLength: (text) => text.length * 3 > max ? Buffer.byteLength(text) : text.length,
  });
}
