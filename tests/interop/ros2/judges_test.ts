/**
 * RTPS against two independent DDS stacks, over real UDP on loopback.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Mismatch, Participant, Qos, Sample } from "@patchbay/ros2/rtps";
import { Types } from "@patchbay/ros2/types";
import { type Faults, Place, random } from "../../../plugins/ros2/rtps/testdata/place.ts";
import { requireOrIgnore } from "../../require.ts";
import { checksum, pattern, Peer, probe, type Stack } from "./peers.ts";

const REMEDIES = {
  fast: "apt-get install libfastrtps-dev fastddsgen g++",
  cyclone: "apt-get install cyclonedds-dev cyclonedds-tools gcc",
};
const SIZES = [1, 2, 3, 5, 64, 1_000, 1_400, 60_000, 65_536, 100_001, 1_000_000, 4_000_000];
const RELIABLE: Partial<Qos> = { history: "keep_all" };
const STRING = "std_msgs::msg::dds_::String_";
const BYTES = "test_msgs::msg::dds_::Bytes_";
const KEYED = "test_msgs::msg::dds_::Keyed_";

/** The CDR of Bytes_: a number, a sequence of octets. */
function encode(number: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  bytes[1] = 1;
  view.setUint32(4, number, true);
  view.setUint32(8, data.length, true);
  bytes.set(data, 12);
  return bytes;
}

function decode({ payload }: Sample): { number: number; data: Uint8Array } {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  assert.equal(payload[1], 1, "little-endian CDR");
  const length = view.getUint32(8, true);
  return { number: view.getUint32(4, true), data: payload.slice(12, 12 + length) };
}

function encodeString(text: string): Uint8Array {
  const bytes = new Uint8Array(8 + text.length + 1);
  bytes[1] = 1;
  new DataView(bytes.buffer).setUint32(4, text.length + 1, true);
  bytes.set(new TextEncoder().encode(text), 8);
  return bytes;
}

/** The same as in types.idl. */
const TYPES = new Types({
  definitions: {
    "test_msgs/Leaf": "uint8 a\nfloat64 b\nstring c",
    "test_msgs/Everything": `
      bool one_bool
      byte one_byte
      int16 one_int16
      uint16 one_uint16
      int32 one_int32
      uint8 gap
      uint32 one_uint32
      int64 one_int64
      char another_gap
      uint64 one_uint64
      float32 one_float32
      float64 one_float64
      string one_string
      string<=5 short_string
      float64[3] three_float64
      int16[3] three_int16
      uint8[3] three_uint8
      bool[] many_bool
      uint8[] many_uint8
      int16[] many_int16
      int32[<=4] few_int32
      float64[] many_float64
      int64[] many_int64
      string[] many_string
      Leaf leaf
      Leaf[2] leaves
      Leaf[] more_leaves
      uint8 last`,
  },
});

/** A value of Everything that is the same for the same seed. */
function everything(seed: number): Record<string, unknown> {
  const next = random(seed);
  const nat = (n: number) => Math.floor(next() * n);
  const many = <T>(most: number, make: () => T) => Array.from({ length: nat(most + 1) }, make);
  const int16 = () => nat(65_536) - 32_768;
  const int64 = () => BigInt.asIntN(64, BigInt(nat(2 ** 32)) << 32n | BigInt(nat(2 ** 32)));
  const float64 = () => (next() - 0.5) * 10 ** nat(20);
  const text = () => many(9, () => "aé☃𝄞z"[Symbol.iterator]().toArray()[nat(5)]).join("");
  const leaf = () => ({ a: nat(256), b: float64(), c: text() });
  return {
    one_bool: nat(2) === 1,
    one_byte: nat(256),
    one_int16: int16(),
    one_uint16: nat(65_536),
    one_int32: nat(2 ** 32) - 2 ** 31,
    gap: nat(256),
    one_uint32: nat(2 ** 32),
    one_int64: int64(),
    another_gap: nat(256),
    one_uint64: BigInt.asUintN(64, int64()),
    one_float32: Math.fround(float64()),
    one_float64: float64(),
    one_string: text(),
    short_string: "abcde".slice(nat(6)),
    three_float64: [float64(), float64(), float64()],
    three_int16: [int16(), int16(), int16()],
    three_uint8: Uint8Array.of(nat(256), nat(256), nat(256)),
    many_bool: many(5, () => nat(2) === 1),
    many_uint8: Uint8Array.from(many(9, () => nat(256))),
    many_int16: many(5, int16),
    few_int32: many(4, () => nat(2 ** 32) - 2 ** 31),
    many_float64: many(5, float64),
    many_int64: many(3, int64),
    many_string: many(4, text),
    leaf: leaf(),
    leaves: [leaf(), leaf()],
    more_leaves: many(3, leaf),
    last: nat(256),
  };
}

interface Received {
  number: number;
  size: number;
  right: boolean;
}

function bytesReader(place: Place, at: Participant, topic: string, qos: Partial<Qos>) {
  const got: Received[] = [];
  const reader = at.createReader({
    topic,
    type: BYTES,
    qos,
    onMatched: place.touch,
    onUnmatched: place.touch,
    onSample: (sample) => {
      const { number, data } = decode(sample);
      const wanted = pattern(number, data.length);
      got.push({ number, size: data.length, right: checksum(data) === checksum(wanted) });
      place.touch();
    },
  });
  return { reader, got };
}

function bytesWriter(place: Place, at: Participant, topic: string, qos: Partial<Qos>) {
  const options = { topic, type: BYTES, qos, onMatched: place.touch, onUnmatched: place.touch };
  return at.createWriter(options);
}

async function judge(stack: Stack): Promise<void> {
  const needed = await requireOrIgnore(stack, () => probe(stack), REMEDIES[stack]);
  const test = (title: string, fn: (place: Place) => Promise<void>) =>
    Deno.test({
      name: needed.name(`${stack}: ${title}`),
      ignore: needed.ignore,
      fn: async () => {
        await using place = new Place();
        await fn(place);
      },
    });
  const start = (place: Place) => Peer.start(stack, place.domain);

  test("reliable samples from 1 B to 4 MB go there", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    await peer.make("reader", "r", "rt/blob", "bytes", { reliable: true, depth: 0 });
    const writer = bytesWriter(place, us, "rt/blob", RELIABLE);
    await place.until(() => writer.matched.length === 1, "a match");
    for (const [n, size] of SIZES.entries()) {
      await writer.writable(size);
      writer.write(encode(n, pattern(n, size)));
    }
    await peer.until((line) => line.startsWith("got r "), SIZES.length);
    assert.deepEqual(
      peer.lines.filter((line) => line.startsWith("got r ")),
      SIZES.map((size, n) => `got r ${n} ${size} ${checksum(pattern(n, size))}`),
    );
    assert.equal(await writer.untilAcknowledged(30_000), true);
  });

  test("reliable samples from 1 B to 4 MB come here", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    await peer.make("writer", "w", "rt/blob", "bytes", { reliable: true, depth: 0 });
    const { got } = bytesReader(place, us, "rt/blob", RELIABLE);
    await peer.until((line) => line === "matched w 1");
    for (const [n, size] of SIZES.entries()) await peer.tell(`write w ${n} ${size}`);
    await place.until(() => got.length === SIZES.length, "every sample", 60_000);
    assert.deepEqual(got, SIZES.map((size, number) => ({ number, size, right: true })));
  });

  test("best-effort samples go both ways, large ones too", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    const qos: Partial<Qos> = { reliability: "best_effort", depth: 5 };
    const theirs = { reliable: false, depth: 5 };
    await peer.make("writer", "w", "rt/back", "bytes", theirs);
    await peer.make("reader", "r", "rt/there", "bytes", theirs, "w");
    await peer.make("reader", "far", "rt/far", "bytes", theirs);
    const writer = bytesWriter(place, us, "rt/there", qos);
    const far = bytesWriter(place, us, "rt/far", qos);
    const { got, reader } = bytesReader(place, us, "rt/back", qos);
    await place.until(
      () => writer.matched.length + far.matched.length + reader.matched.length === 3,
      "a match",
    );
    await peer.until((line) => line.startsWith("matched"), 3);
    // One that is lost is written again: nobody promised more. What comes here in one burst must
    // fit into a receive buffer of the system's default size, of 208 KiB.
    for (const [n, size] of [1, 1_000, 100_000, 8].entries()) {
      const sample = encode(n, pattern(n, size));
      const timer = setInterval(() => writer.write(sample), 50);
      await place.until(() => got.some((each) => each.number === n), `sample ${n}`)
        .finally(() => clearInterval(timer));
    }
    assert.ok(got.every((each) => each.right));
    for (const [n, size] of [1, 300_000, 4_000_000].entries()) {
      const sample = encode(n, pattern(n, size));
      const timer = setInterval(() => far.write(sample), 200);
      const wanted = `got far ${n} ${size} ${checksum(pattern(n, size))}`;
      await peer.until((line) => line === wanted).finally(() => clearInterval(timer));
    }
  });

  test("strings are what ROS 2 calls std_msgs/String", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    await peer.make("reader", "r", "rt/chatter", "string", { reliable: true, depth: 10 });
    const writer = us.createWriter({
      topic: "rt/chatter",
      type: STRING,
      qos: { depth: 10 },
      onMatched: place.touch,
    });
    await place.until(() => writer.matched.length === 1, "a match");
    writer.write(encodeString("hello"));
    writer.write(encodeString(""));
    await peer.until((line) => line === "got r 0 0");
    assert.ok(peer.lines.includes(`got r 5 ${checksum(new TextEncoder().encode("hello"))}`));
  });

  test("a message of every type is understood there, and its echo here", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    const type = TYPES.message("test_msgs/Everything");
    const theirs = { reliable: true, depth: 0 };
    await peer.make("writer", "w", "rt/back", "everything", theirs);
    await peer.make("reader", "r", "rt/there", "everything", theirs, "w");
    const options = { type: type.ddsName, qos: RELIABLE, onMatched: place.touch };
    const got: unknown[] = [];
    const onSample = ({ payload }: Sample) => {
      got.push(type.decode(payload));
      place.touch();
    };
    const reader = us.createReader({ ...options, topic: "rt/back", onSample });
    const writer = us.createWriter({ ...options, topic: "rt/there" });
    await place.until(() => writer.matched.length + reader.matched.length === 2, "a match");
    await peer.until((line) => line.startsWith("matched"), 2);
    const sent = Array.from({ length: 100 }, (_, n) => everything(n));
    for (const value of sent) writer.write(type.encode(value));
    await place.until(() => got.length === sent.length, "every echo");
    assert.deepEqual(got, sent);
  });

  test("who comes late gets what is kept, both ways", async (place) => {
    const us = await place.participant();
    const qos: Partial<Qos> = { durability: "transient_local", depth: 3 };
    const theirs = { reliable: true, transient: true, depth: 3 };
    const writer = bytesWriter(place, us, "rt/there", qos);
    for (let n = 0; n < 5; n++) writer.write(encode(n, pattern(n, 100_000 * n)));
    await using peer = await start(place);
    await peer.make("reader", "r", "rt/there", "bytes", theirs);
    await peer.until((line) => line.startsWith("got r "), 3);
    assert.deepEqual(
      peer.lines.filter((line) => line.startsWith("got r ")).map((line) => line.split(" ")[2]),
      ["2", "3", "4"],
    );
    await peer.make("writer", "w", "rt/back", "bytes", theirs);
    for (let n = 0; n < 5; n++) await peer.tell(`write w ${n} ${100_000 * n}`);
    await peer.done();
    const { got } = bytesReader(place, us, "rt/back", qos);
    await place.until(() => got.some(({ number }) => number === 4), "the last");
    assert.deepEqual(got.map(({ number, right }) => [number, right]), [
      [2, true],
      [3, true],
      [4, true],
    ]);
  });

  test("a quarter of all datagrams is lost both ways, and no reliable sample is", async (place) => {
    const faults: Faults = { loss: 0.25, lossIn: 0.25 };
    await using peer = await start(place);
    const us = await place.participant({}, faults);
    const theirs = { reliable: true, depth: 0 };
    await peer.make("writer", "w", "rt/back", "bytes", theirs);
    await peer.make("reader", "r", "rt/there", "bytes", theirs, "w");
    const writer = bytesWriter(place, us, "rt/there", RELIABLE);
    const { got, reader } = bytesReader(place, us, "rt/back", RELIABLE);
    await place.until(() => writer.matched.length + reader.matched.length === 2, "a match");
    // It echoes only to whom it knows, and news of our reader gets lost like anything else.
    await peer.until((line) => line === "matched r 1");
    await peer.until((line) => line === "matched w 1");
    const sizes = Array.from({ length: 60 }, (_, n) => n % 20 === 19 ? 200_000 : 10 * n);
    for (const [n, size] of sizes.entries()) {
      await writer.writable(size);
      writer.write(encode(n, pattern(n, size)));
    }
    await place.until(() => got.length >= sizes.length, "every echo", 120_000);
    assert.deepEqual(got, sizes.map((size, number) => ({ number, size, right: true })));
  });

  test("who asks its writer learns at once of what got lost before anything spoke of it", async (place) => {
    const faults: Faults = {};
    await using peer = await start(place);
    const us = await place.participant({}, faults);
    await peer.make("writer", "w", "rt/back", "bytes", { reliable: true, depth: 0 });
    const { got, reader } = bytesReader(place, us, "rt/back", RELIABLE);
    await peer.until((line) => line === "matched w 1");
    await place.until(() => reader.matched.length === 1, "a match");
    for (let n = 0; n < 5; n++) {
      faults.cut = true;
      await peer.tell(`write w ${n} 10`);
      await peer.done();
      faults.cut = false;
      assert.equal(await reader.untilComplete(30_000), true);
      assert.deepEqual(got.at(-1), { number: n, size: 10, right: true });
    }
  });

  test("a peer that is killed and started again is met again", async (place) => {
    const us = await place.participant({ announceMs: 200 });
    const writer = bytesWriter(place, us, "rt/there", { durability: "transient_local" });
    writer.write(encode(7, pattern(7, 10)));
    const { got, reader } = bytesReader(place, us, "rt/back", { depth: 10 });
    for (let n = 1; n <= 2; n++) {
      // Who was killed is known until its lease is over.
      const known = new Set([...writer.matched, ...reader.matched].map(({ guid }) => guid));
      const isMet = ({ matched }: typeof writer | typeof reader) =>
        matched.some(({ guid }) => !known.has(guid));
      const peer = await start(place);
      await peer.make("writer", "w", "rt/back", "bytes", { reliable: true, depth: 10 });
      await peer.make("reader", "r", "rt/there", "bytes", {
        reliable: true,
        transient: true,
        depth: 1,
      }, "w");
      // What it hears of us it echoes to us: once for each life, unless we come to know it late.
      const before = got.length;
      await place.until(() => isMet(reader) && isMet(writer), "a match");
      await peer.until((line) => line.startsWith("matched"), 2);
      writer.write(encode(10 * n, pattern(10 * n, 10)));
      await place.until(
        () => got.slice(before).some(({ number }) => number === 10 * n),
        `an echo in life ${n}`,
      );
      await peer.kill();
    }
    assert.ok(got.every((each) => each.right));
  });

  test("instances of a topic with a key end there and here", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    const theirs = { reliable: true, depth: 0 };
    await peer.make("reader", "r", "rt/there", "keyed", theirs);
    await peer.make("writer", "w", "rt/back", "keyed", theirs);
    const value = (id: number, v: number) => {
      const bytes = new Uint8Array(12);
      bytes[1] = 1;
      new DataView(bytes.buffer).setUint32(4, id, true);
      new DataView(bytes.buffer).setUint32(8, v, true);
      return bytes;
    };
    // A key of up to 16 bytes is its own hash, big-endian.
    const key = (id: number) => id.toString(16).padStart(8, "0").padEnd(32, "0");
    const writer = us.createWriter({
      topic: "rt/there",
      type: KEYED,
      keyed: true,
      qos: RELIABLE,
      onMatched: place.touch,
    });
    await place.until(() => writer.matched.length === 1, "a match");
    for (const id of [1, 2]) writer.write(value(id, 10 * id), { key: key(id) });
    await peer.until((line) => line === "got r 2 20");
    writer.end(key(1), "disposed", value(1, 0).subarray(0, 8));
    await peer.until((line) => line === "ended r 1 disposed");
    writer.end(key(2), "unregistered", value(2, 0).subarray(0, 8));
    await peer.until((line) => line === "ended r 2 unregistered");

    const told: string[] = [];
    const reader = us.createReader({
      topic: "rt/back",
      type: KEYED,
      keyed: true,
      qos: RELIABLE,
      keyOf: (payload) => key(new DataView(payload.buffer, payload.byteOffset).getUint32(4, true)),
      onSample: ({ key, state }) => {
        told.push(`${parseInt(key.slice(0, 8), 16)} ${state}`);
        place.touch();
      },
      onMatched: place.touch,
    });
    await place.until(() => reader.matched.length === 1, "a match");
    await peer.until((line) => line === "matched w 1");
    for (const line of ["write w 1 10", "write w 2 20", "dispose w 1", "unregister w 2"]) {
      await peer.tell(line);
    }
    await place.until(() => told.length === 4, "every change");
    assert.deepEqual(told, ["1 alive", "2 alive", "1 disposed", "2 unregistered"]);
  });

  test("policies that do not fit are told there by number, here by name", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    const told: string[] = [];
    const onMismatch = (_: unknown, wrong: readonly Mismatch[]) => {
      told.push(...wrong.map((each) => each.policy));
      place.touch();
    };
    us.createWriter({
      topic: "rt/there",
      type: BYTES,
      qos: { reliability: "best_effort" },
      onMismatch,
    });
    await peer.make("reader", "r", "rt/there", "bytes", { reliable: true, depth: 1 });
    // RELIABILITY_QOS_POLICY_ID is 11 (DDS 1.4, 2.3.3).
    await peer.until((line) => line === "incompatible r 11");
    await place.until(() => told.length === 1, "the mismatch");
    us.createReader({
      topic: "rt/back",
      type: BYTES,
      qos: { durability: "transient_local" },
      onMismatch,
    });
    await peer.make("writer", "w", "rt/back", "bytes", { reliable: true, depth: 1 });
    // DURABILITY_QOS_POLICY_ID is 2.
    await peer.until((line) => line === "incompatible w 2");
    await place.until(() => told.length === 2, "the mismatch");
    assert.deepEqual(told, ["reliability", "durability"]);
  });

  test("an endpoint that is closed is unmatched there and here", async (place) => {
    await using peer = await start(place);
    const us = await place.participant();
    await peer.make("reader", "r", "rt/there", "bytes", { reliable: true, depth: 1 });
    await peer.make("writer", "w", "rt/back", "bytes", { reliable: true, depth: 1 });
    const writer = bytesWriter(place, us, "rt/there", {});
    const { reader } = bytesReader(place, us, "rt/back", {});
    await place.until(() => writer.matched.length + reader.matched.length === 2, "a match");
    await peer.until((line) => line === "matched w 1");
    reader.close();
    await peer.until((line) => line === "matched w 0");
    await peer.tell("close r");
    await place.until(() => writer.matched.length === 0, "its reader's end");
    await us.close();
  });
}

await judge("cyclone");
await judge("fast");
