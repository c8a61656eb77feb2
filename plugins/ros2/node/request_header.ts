/**
 * How a request says who asks, and a reply whom it answers. ROS 2's two implementations of
 * middleware do it in different ways:
 *
 * - `rmw_fastrtps` leaves the payload alone and sends a parameter with it: 24 bytes, the GUID of
 *   the reader that waits for replies, and a sequence number. Fast DDS 2.9 knows it by the id
 *   0x800f only, later ones by 0x0083 too, so both are sent and both accepted.
 * - `rmw_cyclonedds` puts 16 bytes in front of the body: eight that name the client, and a number.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import { hex, unhex } from "../rtps/mod.ts";

/** The parameter's id as the standard has it (RPC over DDS), and as Fast DDS first had it. */
const RELATED_SAMPLE = 0x0083;
const RELATED_SAMPLE_EPROSIMA = 0x800f;
/** The vendor id of Cyclone DDS. */
const CYCLONE = 0x0110;

/** In which of the two ways. */
export type Convention = "parameter" | "body";

/** The way that programs on an implementation understand. */
export function conventionOf(vendor: number): Convention {
  return vendor === CYCLONE ? "body" : "parameter";
}

/** Who asks, and under which number. */
export interface RequestId {
  /** 16 bytes as hexadecimal digits for a parameter, 8 for a body. */
  readonly client: string;
  /** The number; −1 where a request has none of its own. */
  readonly number: bigint;
}

/** The parameters that carry an id. */
export function idParameters({ client, number }: RequestId): Map<number, Uint8Array> {
  const value = new Uint8Array(24);
  value.set(unhex(client));
  const view = new DataView(value.buffer);
  view.setInt32(16, Number(number >> 32n), true);
  view.setUint32(20, Number(number & 0xffffffffn), true);
  return new Map([[RELATED_SAMPLE, value], [RELATED_SAMPLE_EPROSIMA, value]]);
}

/** The id among a sample's parameters; numbers in them are little-endian, as in the sample. */
export function readIdParameter(
  inline: ReadonlyMap<number, Uint8Array> | undefined,
): RequestId | undefined {
  const value = inline?.get(RELATED_SAMPLE) ?? inline?.get(RELATED_SAMPLE_EPROSIMA);
  if (value === undefined || value.length < 24) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const number = (BigInt(view.getInt32(16, true)) << 32n) | BigInt(view.getUint32(20, true));
  return { client: hex(value.subarray(0, 16)), number };
}

/** A payload with the id in front of its body. */
export function withIdInBody(payload: Uint8Array, { client, number }: RequestId): Uint8Array {
  const bytes = new Uint8Array(payload.length + 16);
  bytes.set(payload.subarray(0, 4));
  bytes.set(unhex(client), 4);
  new DataView(bytes.buffer).setBigInt64(12, number, true);
  // Sixteen bytes: the alignment of what follows stays as it was.
  bytes.set(payload.subarray(4), 20);
  return bytes;
}

/**
 * Takes the id off a body.
 *
 * @throws {PatchbayError} `protocol` if the payload is too short for one.
 */
export function readIdInBody(payload: Uint8Array): { id: RequestId; payload: Uint8Array } {
  if (payload.length < 20) {
    throw new PatchbayError("protocol", `${payload.length} bytes hold no request of Cyclone's`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const id = {
    client: hex(payload.subarray(4, 12)),
    number: view.getBigInt64(12, payload[1] === 1),
  };
  const bytes = new Uint8Array(payload.length - 16);
  bytes.set(payload.subarray(0, 4));
  bytes.set(payload.subarray(20), 4);
  return { id, payload: bytes };
}
