/**
 * Encoding and decoding, beside bare JSON and two MessagePack packages.
 *
 * @module
 */

import { json, loadMsgpack, raw } from "@patchbay/core";
import { Decoder, Encoder } from "npm:@msgpack/msgpack@3.1.3";
import { decode as untypedDecode } from "@std/msgpack/decode.js";
import { encode as untypedEncode } from "@std/msgpack/encode.js";
import { batches, compare, type Contender } from "./measure.ts";
import type { Row } from "./report.ts";
import type { Suite, SuiteContext } from "./suite.ts";
import { MESSAGE } from "./uds_far.ts";

// The npm copies of @std have no types.
const stdEncode: (value: unknown) => Uint8Array = untypedEncode;
const stdDecode: (bytes: Uint8Array) => unknown = untypedDecode;

/** 160 bytes of JSON. */
const POSE = {
  id: 184467,
  name: "left/wrist",
  stamp: 1727000000.125,
  pose: { x: 1.25, y: -0.5, z: 3, q: [0, 0, 0.7071, 0.7071] },
  ok: true,
  tags: ["calibrated", "torque"],
  n: 3,
};
const MEGABYTE = 1e6;

function repeat(operation: () => unknown, size?: number): Contender {
  return batches((n) => {
    for (let i = 0; i < n; i++) operation();
  }, size);
}

async function run(effort: SuiteContext): Promise<Row[]> {
  const msgpack = await loadMsgpack();
  const encoder = new Encoder();
  const decoder = new Decoder();
  const text = new TextEncoder();
  const fromText = new TextDecoder();
  const target = new Uint8Array(4096);
  const rows: Row[] = [];
  const row = async (
    figure: string,
    ours: () => unknown,
    floorName: string,
    floor: () => unknown,
    size?: number,
  ) =>
    rows.push(
      await compare(effort, {
        figure,
        unit: "ns",
        ours: repeat(ours, size),
        floor: repeat(floor, size),
        floorName,
      }),
    );

  for (const [name, value, length] of [["85 B", MESSAGE, 85], ["160 B", POSE, 160]] as const) {
    const bytes = json.encode(value);
    const packed = msgpack.encode(value);
    if (bytes.length !== length) throw new Error(`${name} has ${bytes.length} bytes`);
    const bareEncode = () => text.encodeInto(JSON.stringify(value), target);
    const bareDecode = () => JSON.parse(fromText.decode(bytes));
    const pack = () => msgpack.encodeInto(value, target, 0);
    const unpack = () => msgpack.decode(packed);
    await row(
      `${name} encode: JSON`,
      () => json.encodeInto(value, target, 0),
      "bare JSON",
      bareEncode,
    );
    await row(`${name} encode: MessagePack`, pack, "bare JSON", bareEncode);
    await row(
      `${name} encode: MessagePack`,
      pack,
      "@msgpack/msgpack",
      () => encoder.encodeSharedRef(value),
    );
    await row(`${name} encode: MessagePack`, pack, "@std/msgpack", () => stdEncode(value));
    await row(`${name} decode: JSON`, () => json.decode(bytes), "bare JSON", bareDecode);
    await row(`${name} decode: MessagePack`, unpack, "bare JSON", bareDecode);
    await row(
      `${name} decode: MessagePack`,
      unpack,
      "@msgpack/msgpack",
      () => decoder.decode(packed),
    );
    await row(`${name} decode: MessagePack`, unpack, "@std/msgpack", () => stdDecode(packed));
  }

  const blob = { blob: new Uint8Array(MEGABYTE) };
  const packed = msgpack.encode(blob);
  const few = 4;
  await row(
    "1 MB encode: MessagePack",
    () => msgpack.encode(blob),
    "@msgpack/msgpack",
    () => encoder.encode(blob),
    few,
  );
  await row(
    "1 MB encode: MessagePack",
    () => msgpack.encode(blob),
    "@std/msgpack",
    () => stdEncode(blob),
    few,
  );
  await row(
    "1 MB encode: raw",
    () => raw.encode(blob.blob),
    "bare slice",
    () => blob.blob.slice(),
    few,
  );
  await row(
    "1 MB decode, copied: MessagePack",
    () => msgpack.decode(packed),
    "bare slice",
    () => packed.slice(),
    few,
  );
  await row(
    "1 MB decode, copied: MessagePack",
    () => msgpack.decode(packed),
    "@std/msgpack, a view",
    () => stdDecode(packed),
    few,
  );
  await row(
    "1 MB decode, copied: raw",
    () => raw.decode(blob.blob),
    "bare slice",
    () => blob.blob.slice(),
    few,
  );
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary:
    "codecs beside bare JSON (stringify and TextEncoder; TextDecoder and parse) and packages",
  processes: 1,
  run,
};

export default suite;
