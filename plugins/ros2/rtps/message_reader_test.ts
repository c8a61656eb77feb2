/**
 * Messages as other implementations write them: big-endian ones above all, which none of the judges
 * sends.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readEndpoint, readParticipant, writeEndpoint } from "./discovery_data.ts";
import { unhex } from "./guid.ts";
import {
  Bits,
  type DataSubmessage,
  Incoming,
  type MessageSink,
  readMessage,
} from "./message_reader.ts";
import { DEFAULT_QOS } from "./qos.ts";
import { FragmentMemory, Reassembly } from "./reassembly.ts";
import { SendWindow } from "./send_window.ts";
import { payload } from "./testdata/place.ts";

const PREFIX = "010f00112233445566778899";

/** Whatever is told, as words. */
function listen(
  bytes: Uint8Array,
): { told: string[]; wrong: string | undefined; data: DataSubmessage[] } {
  const told: string[] = [];
  const data: DataSubmessage[] = [];
  const id = (n: number) => n.toString(16);
  const set = (bits: Bits) =>
    Array.from({ length: bits.length }, (_, i) => i).filter((i) => bits.has(i)).join();
  const sink: MessageSink = {
    prefix: unhex("01dd00000000000000000001"),
    data: (context, d) => {
      data.push(d);
      told.push(`data ${id(d.writer)} ${d.sequence} ${d.holds} ${context.timestampMs}`);
    },
    dataFrag: (_, d, first, n, size, total) =>
      told.push(`frag ${id(d.writer)} ${d.sequence} ${first}+${n} of ${size} in ${total}`),
    heartbeat: (_, r, w, first, last, count, final) =>
      told.push(`heartbeat ${id(r)} ${id(w)} ${first} ${last} ${count} ${final}`),
    heartbeatFrag: (_, _r, w, sequence, last) =>
      told.push(`heartbeatFrag ${id(w)} ${sequence} ${last}`),
    gap: (_, _r, w, start, base, bits) => told.push(`gap ${id(w)} ${start} ${base} ${set(bits)}`),
    ackNack: (_, r, w, base, bits, count, final) =>
      told.push(`ackNack ${id(r)} ${id(w)} ${base} ${set(bits)} ${count} ${final}`),
    nackFrag: (_, r, w, sequence, base, bits) =>
      told.push(`nackFrag ${id(r)} ${id(w)} ${sequence} ${base} ${set(bits)}`),
  };
  const context = new Incoming();
  context.bytes = bytes;
  context.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wrong = readMessage(context, sink);
  return { told, wrong, data };
}

const HEADER = `52545053 0202 010f ${PREFIX}`;
const message = (...parts: string[]) => unhex([HEADER, ...parts].join("").replaceAll(/\s/g, ""));

Deno.test("message: big-endian submessages are read", () => {
  const { told, wrong, data } = listen(message(
    // INFO_TS: 1,000 s and a half.
    "09 00 0008 000003e8 80000000",
    // DATA with inline QoS (key hash, sentinel) and eight bytes of payload.
    "15 06 0034 0000 0010 00000104 00000103 00000000 00000005",
    "0070 0010 000102030405060708090a0b0c0d0e0f 0001 0000",
    "00000000 12345678",
    // DATA_FRAG: fragment 2 of 8 bytes in a sample of 20.
    "16 00 0028 0000 001c 00000104 00000103 00000001 00000006 00000002 0001 0008 00000014",
    "0102030405060708",
    "07 00 001c 00000104 00000103 00000000 00000001 00000000 00000006 00000009",
    "13 02 0018 00000104 00000103 00000000 00000007 00000003 00000001",
    "08 00 0020 00000104 00000103 00000000 00000002 00000000 00000004 00000020 a0000000",
    "06 02 001c 00000104 00000103 00000000 00000003 00000003 40000000 00000007",
    "12 00 0020 00000104 00000103 00000000 00000006 00000001 00000002 c0000000 00000001",
  ));
  assert.equal(wrong, undefined);
  assert.deepEqual(told, [
    "data 103 5 data 1000500",
    "frag 103 4294967302 2+1 of 8 in 20",
    "heartbeat 104 103 1 6 9 false",
    "heartbeatFrag 103 7 3",
    "gap 103 2 4 0,2",
    "ackNack 104 103 3 1 7 true",
    "nackFrag 104 103 6 1 0,1",
  ]);
  assert.deepEqual(data[0].inline?.get(0x70), Uint8Array.from({ length: 16 }, (_, i) => i));
  assert.equal(data[0].end - data[0].at, 8);
});

Deno.test("message: what is for another participant is passed over, up to the next INFO_DST", () => {
  const heartbeat = "07 01 1c00 00000104 00000103 00000000 01000000 00000000 06000000 09000000";
  const { told } = listen(message(
    `0e 01 0c00 ${PREFIX}`,
    heartbeat,
    "0e 01 0c00 01dd00000000000000000001",
    heartbeat,
    `0e 01 0c00 ${"00".repeat(12)}`,
    heartbeat,
  ));
  assert.equal(told.length, 2);
});

Deno.test("message: a last submessage of length zero reaches to the end; unknown kinds are passed over", () => {
  const { told, wrong } = listen(message(
    "80 01 0400 ffffffff",
    "01 01 0000",
    "07 01 0000 00000104 00000103 00000000 01000000 00000000 06000000 09000000",
  ));
  assert.equal(wrong, undefined);
  assert.equal(told.length, 1);
});

const MALFORMED: [part: string, told: RegExp][] = [
  ["15 05 ffff 0000", /longer than its packet/],
  ["15 05 0800 0000 1000 00000000", /short DATA/],
  ["15 05 1400 0000 ff00 00000104 00000103 00000000 05000000", /lies outside/],
  ["15 05 1400 0000 1000 00000104 00000103 ffffffff 05000000", /impossible number/],
  ["15 07 1800 0000 1000 00000104 00000103 00000000 05000000 7000ff00", /bad inline QoS/],
  ["07 01 1c00 00000104 00000103 00000000 09000000 00000000 06000000 09000000", /HEARTBEAT/],
  ["06 01 1800 00000104 00000103 00000000 01000000 ffffffff 00000000", /bad bitmap/],
  ["08 01 1c00 00000104 00000103 00000000 05000000 00000000 02000000 00000000", /GAP/],
  [
    "16 01 2800 0000 1c00 00000104 00000103 00000000 06000000 02000000 0100 0800 ffffffff 0102030405060708",
    /^$/,
  ],
  [
    "16 01 2800 0000 1c00 00000104 00000103 00000000 06000000 ffffffff 0100 0800 14000000 0102030405060708",
    /fragments lie outside/,
  ],
  [
    "16 01 2800 0000 1c00 00000104 00000103 00000000 06000000 01000000 ffff 0800 ffffff00 0102030405060708",
    /fragments lie outside/,
  ],
];

for (const [part, expected] of MALFORMED) {
  Deno.test(`message: ${expected.source}: ${part.slice(0, 40)}`, () => {
    assert.match(listen(message(part)).wrong ?? "", expected);
  });
}

Deno.test("discovery data: big-endian participants and endpoints are read", () => {
  const guid = `${PREFIX}00000103`;
  const participant = unhex(
    ("00020000 0015 0004 02010000 0016 0004 010f0000" + `0050 0010 ${PREFIX}000001c1` +
      "0002 0008 00000014 80000000 0058 0004 00000c3f 000f 0004 00000007" +
      `0031 0018 00000001 00001d0b ${"00".repeat(12)} 7f000001` +
      `0032 0018 00000001 00001d0a ${"00".repeat(12)} 7f000001` +
      "0062 000c 00000005 6e616d65 00 000000 0001 0000").replaceAll(" ", ""),
  );
  const said = readParticipant(participant, 0x010f);
  assert.equal(said?.prefix, PREFIX);
  assert.equal(said?.leaseMs, 20_500);
  assert.equal(said?.domain, 7);
  assert.equal(said?.name, "name");
  assert.deepEqual(said?.unicast, [{ hostname: "127.0.0.1", port: 7435 }]);
  assert.deepEqual(said?.metatraffic, [{ hostname: "127.0.0.1", port: 7434 }]);

  const endpoint = unhex(
    (`00020000 005a 0010 ${guid} 0005 0008 00000002 74000000 0007 0008 00000002 54000000` +
      "001a 000c 00000002 00000000 00000000 001d 0004 00000001" +
      "0040 0008 00000000 00000005 0023 0008 00000001 00000000" +
      "0029 0010 00000001 00000004 61626300 00000000 0073 0008 00000001 0002 0000 0001 0000")
      .replaceAll(" ", ""),
  );
  const read = readEndpoint(endpoint, "writer");
  assert.equal(read?.guid, guid);
  assert.deepEqual([read?.topic, read?.type], ["t", "T"]);
  assert.deepEqual(
    [read?.qos.reliability, read?.qos.durability, read?.qos.depth, read?.qos.deadlineMs],
    ["reliable", "transient_local", 5, 1000],
  );
  assert.deepEqual(read?.qos.partition, ["abc"]);
  assert.deepEqual(read?.representations, [2]);
});

Deno.test("discovery data: an endpoint is read as it was written", () => {
  const data = {
    guid: `${PREFIX}00000104`,
    kind: "writer",
    topic: "rt/chätter",
    type: "std_msgs::msg::dds_::String_",
    qos: {
      ...DEFAULT_QOS,
      reliability: "best_effort",
      durability: "transient_local",
      depth: 7,
      deadlineMs: 123.5,
      lifespanMs: 5,
      liveliness: "manual_by_topic",
      livelinessLeaseMs: 2000,
      latencyBudgetMs: 1,
      ownership: "exclusive",
      destinationOrder: "by_source",
      partition: ["", "a*"],
    },
    userData: Uint8Array.of(1, 2, 3),
    unicast: [{ hostname: "10.1.2.3", port: 7411 }],
    representations: [],
  } as const;
  assert.deepEqual(readEndpoint(writeEndpoint(data), "writer"), data);
});

Deno.test("reassembly: fragments in any order, twice, and what is missing", () => {
  const sample = Uint8Array.from({ length: 95 }, (_, i) => i);
  const reassembly = new Reassembly(95, 10, new FragmentMemory());
  const bits = new Bits();
  for (const n of [3, 10, 1, 3, 2]) reassembly.add(n, 1, sample.subarray((n - 1) * 10, n * 10));
  assert.equal(reassembly.firstMissing, 4);
  assert.equal(reassembly.missing(10, bits), true);
  assert.deepEqual(Array.from({ length: bits.length }, (_, i) => bits.has(i)), [
    ...Array(6).fill(true),
    false,
  ]);
  assert.equal(reassembly.missing(3, bits), false);
  reassembly.add(4, 6, sample.subarray(30, 90));
  assert.equal(reassembly.complete, true);
  assert.deepEqual(reassembly.join(), sample);
});

Deno.test("reassembly: a sample goes to the place of an earlier one, and two at once to two", () => {
  const memory = new FragmentMemory();
  const size = 150_000;
  const sample = (n: number) => payload(size - 4, n);
  const begin = () => new Reassembly(size, 60_000, memory);
  const add = (to: Reassembly, n: number, number: number) =>
    to.add(number, 1, sample(n).subarray(60_000 * (number - 1), 60_000 * number));
  const first = begin();
  for (const each of [2, 3, 1]) add(first, 1, each);
  const place = first.join();
  assert.deepEqual(place, sample(1));
  const [second, third] = [begin(), begin()];
  for (const each of [3, 1, 3, 2]) {
    add(third, 3, each);
    add(second, 2, each);
  }
  assert.equal(second.heldBytes, third.heldBytes);
  const joined = third.join();
  assert.notEqual(joined.buffer, place.buffer);
  assert.deepEqual(joined, sample(3));
  assert.equal(second.join().buffer, place.buffer);
  assert.deepEqual(place, sample(2));
  // One that is given up gives the place back.
  const given = begin();
  add(given, 4, 1);
  given.release();
  const last = begin();
  for (const each of [1, 2, 3]) add(last, 5, each);
  assert.equal(last.join().buffer, place.buffer);
  assert.deepEqual(place, sample(5));
});

Deno.test("send window: full until half of it is free, and always room for one", () => {
  const window = new SendWindow(10_000);
  assert.equal(window.admits(50_000), true);
  for (let n = 1; n <= 4; n++) {
    assert.equal(window.admits(1_500), true, String(n));
    window.sent(n, 1_500, true);
  }
  assert.equal(window.answerDue(), true);
  assert.equal(window.answerDue(), false);
  assert.equal(window.admits(2_000), false);
  window.acknowledge(2);
  assert.equal(window.admits(100), false, "only a quarter is free");
  window.acknowledge(4);
  assert.equal(window.inFlight, 2_012);
  assert.equal(window.admits(100), true);
  window.sent(5, 3_000, false);
  window.acknowledge(5);
  assert.equal(window.acknowledgePart(3_512), true);
  assert.equal(window.acknowledgePart(3_512), false);
  assert.equal(window.inFlight, 0);
  assert.deepEqual([window.answerDue(4), window.answerDue(4)], [true, false]);
  window.sent(6, 3_000, false);
  assert.deepEqual([window.answerDue(2), window.answerDue(4)], [false, true]);
});
