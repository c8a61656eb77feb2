/**
 * Participants that meet over loopback.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Mismatch, Qos, ReaderOptions, Sample, WriterOptions } from "./mod.ts";
import { openUdp, Participant } from "./mod.ts";
import { type Faults, payload, Place } from "./testdata/place.ts";
import { Stranger, writerId } from "./testdata/stranger.ts";

const RELIABLE: Partial<Qos> = { reliability: "reliable", history: "keep_all" };
const BEST_EFFORT: Partial<Qos> = { reliability: "best_effort", depth: 5 };

interface Got {
  samples: Sample[];
}

function reader(place: Place, at: Participant, options: Partial<ReaderOptions> = {}) {
  const got: Got = { samples: [] };
  const made = at.createReader({
    topic: "pose",
    type: "Pose",
    qos: RELIABLE,
    onSample: (sample) => {
      got.samples.push({ ...sample, payload: sample.payload.slice() });
      place.touch();
    },
    onMatched: place.touch,
    onUnmatched: place.touch,
    ...options,
  });
  return Object.assign(made, { got });
}

function writer(place: Place, at: Participant, options: Partial<WriterOptions> = {}) {
  return at.createWriter({
    topic: "pose",
    type: "Pose",
    qos: RELIABLE,
    onMatched: place.touch,
    onUnmatched: place.touch,
    ...options,
  });
}

const first = (sample: Sample) => sample.payload[4];

/** Both ends of one topic, matched. */
async function pair(
  place: Place,
  qos: Partial<Qos>,
  faults: [Faults?, Faults?] = [],
  more: Partial<ReaderOptions> = {},
  moreOfWriter: Partial<WriterOptions> = {},
) {
  const a = await place.participant({ announceMs: 200 }, faults[0]);
  const b = await place.participant({ announceMs: 200 }, faults[1]);
  const w = writer(place, a, { qos, ...moreOfWriter });
  const r = reader(place, b, { qos, ...more });
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  return { a, b, w, r };
}

async function writeAll(w: ReturnType<typeof writer>, samples: Uint8Array[]) {
  for (const each of samples) {
    await w.writable(each.length);
    w.write(each);
  }
}

Deno.test("participant: reliable samples from 1 B to 4 MB arrive whole and in order", async () => {
  await using place = new Place();
  const { w, r, a, b } = await pair(place, RELIABLE);
  const sizes = [1, 2, 3, 4, 63, 1_000, 59_700, 59_900, 60_000, 65_536, 100_001, 1e6, 4e6, 5];
  const sent = sizes.map(payload);
  await writeAll(w, sent);
  await place.until(() => r.got.samples.length === sizes.length, "every sample");
  for (const [i, { payload: bytes, sequence }] of r.got.samples.entries()) {
    // DATA is padded to a multiple of four (9.4.2.12), which the encoding sees.
    assert.deepEqual(bytes.subarray(0, sent[i].length), sent[i]);
    assert.ok(bytes.length - sent[i].length < 4);
    assert.equal(sequence, i + 1);
  }
  assert.deepEqual(r.statistics.losses, {});
  assert.equal(await w.untilAcknowledged(30_000), true);
  assert.equal(w.statistics.kept, 0);
  for (const each of [a, b]) {
    assert.deepEqual([each.statistics.ignored, each.statistics.sendFailures], [{}, {}]);
  }
});

Deno.test("participant: many small samples are in order, and none is missing", async () => {
  await using place = new Place();
  const { w, r } = await pair(place, RELIABLE);
  const sent = Array.from({ length: 20_000 }, (_, n) => Uint8Array.of(0, 1, 0, 0, n, n >> 8, 0, 0));
  await writeAll(w, sent);
  await place.until(() => r.got.samples.length === sent.length, "every sample");
  assert.ok(r.got.samples.every((s, n) => (s.payload[4] | s.payload[5] << 8) === (n & 0xffff)));
});

Deno.test("participant: best-effort samples arrive, large ones too", async () => {
  await using place = new Place();
  const { w, r } = await pair(place, BEST_EFFORT);
  for (const [n, size] of [10, 300_000, 20].entries()) {
    // Datagrams may be lost even here: then it is written again.
    const sample = payload(size, n);
    const timer = setInterval(() => w.write(sample), 50);
    const hasCome = ({ payload }: Sample) =>
      sample.every((byte, i) => byte === payload[i]) && payload.length - sample.length < 4;
    await place.until(() => r.got.samples.some(hasCome), `sample ${n}`)
      .finally(() => clearInterval(timer));
  }
});

Deno.test("participant: a quarter of all datagrams lost both ways, and nothing is lost", async () => {
  await using place = new Place();
  const { w, r } = await pair(place, RELIABLE, [{ loss: 0.25 }, { loss: 0.25 }]);
  const sizes = Array.from({ length: 300 }, (_, n) => n % 50 === 49 ? 500_000 : n % 200);
  const sent = sizes.map(payload);
  await writeAll(w, sent);
  await place.until(() => r.got.samples.length === sent.length, "every sample", 60_000);
  for (const [i, { payload: bytes }] of r.got.samples.entries()) {
    assert.deepEqual(bytes.subarray(0, sent[i].length), sent[i]);
  }
  assert.equal(r.statistics.losses.lost, undefined);
});

Deno.test("reader: who asks learns of what got lost before anything spoke of it", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const { a, w, r } = await pair(place, RELIABLE, [faults]);
  assert.equal(await r.untilComplete(30_000), true);
  let sent = 0;
  faults.record = () => {
    sent++;
    place.touch();
  };
  for (const [n, size] of [0, 8, 1_000, 100_000].entries()) {
    faults.loss = 1;
    sent = 0;
    w.write(payload(size, n));
    await place.until(() => sent > 0, "a datagram that is lost");
    faults.loss = 0;
    assert.equal(await r.untilComplete(30_000, a.prefix), true);
    assert.equal(r.got.samples.length, n + 1);
  }
  assert.equal(await r.untilComplete(30_000, "00".repeat(12)), true, "nobody's");
  faults.cut = true;
  assert.equal(await r.untilComplete(30), false, "nobody answers");
  const asked = r.untilComplete(30_000);
  r.close();
  assert.deepEqual([await asked, await r.untilComplete(30_000)], [false, false]);
});

Deno.test("reader: who waits for a writer that goes waits no longer", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const { w, r } = await pair(place, RELIABLE, [faults]);
  // One sample is lost each time that it is sent; the one behind it tells of it.
  const [lost, next] = [payload(40, 1), payload(40, 2)];
  const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);
  let losses = 0;
  faults.record = (bytes) => {
    faults.loss = text(bytes).includes(text(lost)) ? 1 : 0;
    losses += faults.loss;
    place.touch();
  };
  w.write(lost);
  await place.until(() => losses > 0, "the loss");
  w.write(next);
  let told: boolean | undefined;
  void r.untilComplete(600_000, w.data.guid.slice(0, 24)).then((complete) => {
    told = complete;
    place.touch();
  });
  await place.until(
    () => r.statistics.heldBytes > 0 || (setTimeout(place.touch, 5), false),
    "held",
  );
  w.close();
  await place.until(() => told === false, "the end of the wait");
  assert.equal(r.got.samples.length, 0);
});

Deno.test("participant: a payload is released once, when it is needed no more, and may be used again", async () => {
  await using place = new Place();
  const faults: [Faults, Faults] = [{ loss: 0.25 }, { loss: 0.25 }];
  const released: number[] = [];
  const onReleased = (bytes: Uint8Array) => {
    released.push(bytes[4]);
    bytes.fill(0xff);
  };
  const { w, r } = await pair(place, RELIABLE, faults, {}, { onReleased });
  const sizes = Array.from({ length: 40 }, (_, n) => n % 10 === 9 ? 300_000 : 10 * n + 1);
  for (const [n, size] of sizes.entries()) {
    await w.writable(size);
    w.write(payload(size, n));
  }
  await place.until(() => r.got.samples.length === sizes.length, "every sample", 60_000);
  for (const [n, { payload: bytes }] of r.got.samples.entries()) {
    assert.deepEqual(bytes.subarray(0, 4 + sizes[n]), payload(sizes[n], n));
  }
  assert.equal(await w.untilAcknowledged(30_000), true);
  assert.deepEqual(released, sizes.map((size, n) => payload(size, n)[4]));
});

Deno.test("participant: who comes late gets what is kept, if it asks for that", async () => {
  await using place = new Place();
  const a = await place.participant();
  const qos: Partial<Qos> = { durability: "transient_local", depth: 3 };
  const w = writer(place, a, { qos });
  for (let n = 0; n < 5; n++) w.write(payload(8, n));
  const b = await place.participant();
  const keen = reader(place, b, { qos });
  const volatile = reader(place, b, { qos: { depth: 3 } });
  await place.until(() => keen.got.samples.length === 3, "what was kept");
  await place.until(() => w.matched.length === 2, "both readers");
  w.write(payload(8, 5));
  await place.until(() => keen.got.samples.length === 4, "the new one");
  await place.until(() => volatile.got.samples.length === 1, "the new one for the other");
  assert.deepEqual(keen.got.samples.map(first), [2, 3, 4, 5].map((n) => payload(8, n)[4]));
  assert.deepEqual(volatile.got.samples.map(first), [payload(8, 5)[4]]);
});

Deno.test("participant: a reader without a handler keeps the last, and counts the others", async () => {
  await using place = new Place();
  const { w, r } = await pair(place, { depth: 2 }, [], { onSample: undefined });
  for (let n = 0; n < 5; n++) {
    await w.writable();
    w.write(payload(8, n));
  }
  assert.equal(await w.untilAcknowledged(30_000), true);
  assert.equal(r.take()?.sequence, 4);
  assert.equal(r.take()?.sequence, 5);
  assert.equal(r.take(), undefined);
  assert.equal(r.statistics.losses.overflow, 3);
});

Deno.test("participant: a reader that keeps all holds its writer back, and loses nothing", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const w = writer(place, a, { maxSamples: 4 });
  const r = b.createReader({
    topic: "pose",
    type: "Pose",
    qos: RELIABLE,
    maxSamples: 3,
    onAvailable: place.touch,
    onMatched: place.touch,
  });
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  // Three are kept by the reader; of the others the writer keeps four.
  const writing = writeAll(w, Array.from({ length: 20 }, (_, n) => payload(8, n)));
  const taken: number[] = [];
  while (taken.length < 20) {
    const sample = r.take();
    if (sample !== undefined) taken.push(sample.sequence);
    else await place.until(() => r.statistics.received > taken.length, "another sample");
  }
  await writing;
  assert.deepEqual(taken, Array.from({ length: 20 }, (_, n) => n + 1));
  assert.deepEqual(r.statistics.losses.overflow, undefined);
});

Deno.test("writer: one that keeps all and has no room says so", async () => {
  await using place = new Place();
  const a = await place.participant();
  const w = writer(place, a, {
    qos: { ...RELIABLE, durability: "transient_local" },
    maxSamples: 2,
  });
  w.write(payload(1, 1));
  w.write(payload(1, 2));
  assert.throws(() => w.write(payload(1, 3)), { code: "overloaded" });
  assert.notEqual(w.writable(), undefined);
  w.close();
  assert.throws(() => w.write(payload(1, 3)), { code: "closed" });
});

const KEY_A = "000000000000000000000000000000aa";
const KEY_B = "000000000000000000000000000000bb";

Deno.test("participant: instances of a topic with a key live, end and are kept apart", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const qos: Partial<Qos> = { durability: "transient_local", depth: 1 };
  const w = writer(place, a, { qos, keyed: true });
  w.write(payload(8, 1), { key: KEY_A });
  w.write(payload(8, 2), { key: KEY_B });
  w.write(payload(8, 3), { key: KEY_A });
  const r = reader(place, b, { qos, keyed: true });
  await place.until(() => r.got.samples.length === 2, "the last of each");
  w.end(KEY_B, "disposed");
  w.end(KEY_A, "unregistered");
  await place.until(() => r.got.samples.length === 4, "the ends");
  assert.deepEqual(r.got.samples.map(({ key, state, sequence }) => [key, state, sequence]), [
    [KEY_B, "alive", 2],
    [KEY_A, "alive", 3],
    [KEY_B, "disposed", 4],
    [KEY_A, "unregistered", 5],
  ]);
  assert.throws(() => w.write(payload(8, 1)), { code: "invalid" });
});

Deno.test("participant: what does not match is reported by the policy's name, on both sides", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const told: string[] = [];
  const tell = (side: string) => (_: unknown, wrong: readonly Mismatch[]) => {
    for (const each of wrong) told.push(`${side} ${each.policy} ${each.offered}/${each.requested}`);
    place.touch();
  };
  writer(place, a, {
    qos: { reliability: "best_effort", deadlineMs: 200, liveliness: "automatic" },
    onMismatch: tell("w"),
  });
  reader(place, b, {
    qos: {
      reliability: "reliable",
      durability: "transient_local",
      deadlineMs: 100,
      liveliness: "manual_by_topic",
      partition: ["left"],
    },
    onMismatch: tell("r"),
  });
  reader(place, b, { type: "Other", qos: BEST_EFFORT, onMismatch: tell("t") });
  const policies = [
    "reliability best_effort/reliable",
    "durability volatile/transient_local",
    "deadline 200 ms/100 ms",
    "liveliness automatic/manual_by_topic",
    'partition []/["left"]',
  ];
  const all = [
    ...policies.flatMap((each) => [`w ${each}`, `r ${each}`]),
    "w type Pose/Other",
    "t type Pose/Other",
  ];
  await place.until(() => told.length >= all.length, "every mismatch");
  assert.deepEqual(told.sort(), all.sort());
});

Deno.test("participant: partitions meet by name and by pattern", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const w = writer(place, a, { qos: { ...RELIABLE, partition: ["left_arm", "x"] } });
  const r = reader(place, b, { qos: { ...RELIABLE, partition: ["left_*"] } });
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
});

Deno.test("participant: a deadline that is missed is told on both sides", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  let offered = 0;
  let requested = 0;
  const qos: Partial<Qos> = { ...RELIABLE, deadlineMs: 30 };
  const w = writer(place, a, {
    qos,
    onDeadlineMissed: () => {
      offered++;
      place.touch();
    },
  });
  const r = reader(place, b, {
    qos,
    onDeadlineMissed: () => {
      requested++;
      place.touch();
    },
  });
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  assert.equal(offered + requested, 0);
  w.write(payload(1, 1));
  await place.until(() => offered >= 2 && requested >= 2, "missed deadlines");
});

Deno.test("participant: what is older than its lifespan is neither sent nor delivered", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const qos: Partial<Qos> = { ...RELIABLE, durability: "transient_local", lifespanMs: 60_000 };
  const w = writer(place, a, { qos });
  w.write(payload(8, 1), { timestampMs: Date.now() - 61_000 });
  w.write(payload(8, 2));
  const r = reader(place, b, { qos });
  await place.until(() => r.got.samples.length === 1, "the one that is of use");
  assert.equal(r.got.samples[0].sequence, 2);
});

Deno.test("participant: a writer that falls silent is taken for dead, and for alive again", async () => {
  await using place = new Place();
  const told: string[] = [];
  const qos: Partial<Qos> = {
    ...RELIABLE,
    liveliness: "manual_by_topic",
    livelinessLeaseMs: 100,
  };
  const { w, r } = await pair(place, qos, [], {
    onLiveliness: (_, alive) => {
      told.push(alive ? "alive" : "dead");
      place.touch();
    },
  });
  await place.until(() => told.length === 1, "its death");
  w.assertLiveliness();
  await place.until(() => told.length >= 2, "its life");
  assert.deepEqual(told.slice(0, 2), ["dead", "alive"]);
  await place.until(() => told.at(-1) === "dead", "its second death");
  w.write(payload(1, 1));
  await place.until(() => told.at(-1) === "alive", "its second life");
  assert.equal(r.got.samples.length, 1);
});

Deno.test("participant: an automatic writer lives while its participant does", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const told: string[] = [];
  const qos: Partial<Qos> = { ...RELIABLE, livelinessLeaseMs: 1500 };
  const { w, r } = await pair(place, qos, [faults], {
    onLiveliness: (_, alive) => {
      told.push(alive ? "alive" : "dead");
      place.touch();
    },
  });
  // Longer than its lease without a sample: signs of life must have come.
  const since = performance.now();
  while (performance.now() - since < 2000) {
    const [before] = [r.got.samples.length];
    assert.equal(before, 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.deepEqual(told, []);
  faults.cut = true;
  await place.until(() => told.length === 1, "its death");
  faults.cut = false;
  await place.until(() => told.length === 2, "its life");
  assert.deepEqual(told, ["dead", "alive"]);
  assert.equal(w.matched.length, 1);
});

Deno.test("participant: who vanishes without a word is lost when its lease is over", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const lost: string[] = [];
  const a = await place.participant({
    onParticipantLost: (_, why) => lost.push(why),
  });
  const b = await place.participant({ leaseMs: 1500, announceMs: 100, name: "b" }, faults);
  const w = writer(place, a);
  const r = reader(place, b);
  await place.until(() => w.matched.length === 1, "a match");
  assert.equal(a.participants[0].name, "b");
  faults.cut = true;
  await place.until(() => w.matched.length === 0, "the end of the lease");
  assert.deepEqual(lost, ["expired"]);
  faults.cut = false;
  // It was never closed: it comes back by itself.
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a new match");
  await b.close();
  await place.until(() => lost.length === 2, "its goodbye");
  assert.deepEqual(lost, ["expired", "goodbye"]);
});

Deno.test("participant: who spoke while this process was busy is neither lost nor dead", async () => {
  await using place = new Place();
  const told: unknown[] = [];
  const a = await place.participant({ onParticipantLost: (_, why) => told.push(why) });
  reader(place, a, { onLiveliness: (_, alive) => told.push(alive) });
  const stranger = new Stranger({ participant: a });
  const socket = await openUdp({ hostname: "127.0.0.1", port: 0 });
  const [to] = a.data.metatraffic;
  const say = (datagrams: Uint8Array<ArrayBuffer>[]) =>
    Promise.all(datagrams.map((bytes) => socket.send(bytes, to)));
  const announce = () => say(stranger.announce({ leaseMs: 500 }));
  await announce();
  await place.until(() => a.participants.length === 1, "the other");
  const qos: Partial<Qos> = { ...RELIABLE, livelinessLeaseMs: 500, liveliness: "manual_by_topic" };
  await say(stranger.endpoint("writer", writerId(1), { topic: "pose", type: "Pose", qos }));
  await place.until(() => a.remoteEndpoints.length === 1, "its writer");
  const lives = (n: number) =>
    say(stranger.say((to) => to.heartbeat(0, writerId(1), 1, 0, n, true, true)));
  for (let n = 1; n <= 3; n++) {
    const sent = [announce(), lives(n)];
    const busyUntil = performance.now() + 700;
    while (performance.now() < busyUntil);
    await Promise.all(sent);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assert.deepEqual(told, []);
  socket.close();
  await place.until(() => told.length === 2, "its end");
  assert.deepEqual(told, [false, "expired"]);
});

Deno.test("participant: an endpoint that is closed is unmatched, and its topic goes on", async () => {
  await using place = new Place();
  const { w, r, a, b } = await pair(place, RELIABLE);
  r.close();
  await place.until(() => w.matched.length === 0, "the reader's end");
  const again = reader(place, b);
  await place.until(() => w.matched.length === 1 && again.matched.length === 1, "a new reader");
  w.write(payload(4, 1));
  await place.until(() => again.got.samples.length === 1, "a sample");
  w.close();
  await place.until(() => again.matched.length === 0, "the writer's end");
  await place.until(() => b.remoteEndpoints.length === 0, "its endpoint's end");
  assert.equal(a.remoteEndpoints.length, 1);
});

Deno.test("participant: static peers find each other without multicast", async () => {
  await using place = new Place();
  const options = { multicast: false, announceMs: 100 };
  const a = await place.participant(options);
  const b = await place.participant({ ...options, peers: ["127.0.0.1"] });
  const w = writer(place, a);
  const r = reader(place, b);
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  w.write(payload(4, 1));
  await place.until(() => r.got.samples.length === 1, "a sample");
});

Deno.test("participant: several interfaces are used together", async () => {
  await using place = new Place();
  // Linux answers for the whole of 127.0.0.0/8.
  const a = await place.participant({ interfaces: ["127.0.0.1", "127.0.0.2"] });
  const b = await place.participant({ interfaces: ["127.0.0.3"] });
  const w = writer(place, a);
  const r = reader(place, b);
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  w.write(payload(4, 1));
  await place.until(() => r.got.samples.length === 1, "a sample");
  assert.deepEqual(b.participants[0].unicast.map((each) => each.hostname), [
    "127.0.0.1",
    "127.0.0.2",
  ]);
});

Deno.test("participant: its own readers hear its own writers", async () => {
  await using place = new Place();
  const a = await place.participant();
  const w = writer(place, a);
  const r = reader(place, a);
  await place.until(() => w.matched.length === 1 && r.matched.length === 1, "a match");
  w.write(payload(100_000, 1));
  await place.until(() => r.got.samples.length === 1, "a sample");
});

Deno.test("writer: what is for one reader leaves the others' order whole", async () => {
  await using place = new Place();
  const a = await place.participant();
  const b = await place.participant();
  const w = writer(place, a);
  const one = reader(place, b);
  const other = reader(place, b);
  await place.until(
    () => w.matched.length === 2 && one.matched.length === 1 && other.matched.length === 1,
    "both",
  );
  const inline = new Map([[0x800f, new Uint8Array(24).fill(7)]]);
  w.write(payload(4, 1), { only: one.data.guid, inline });
  w.write(payload(4, 2));
  await place.until(() => one.got.samples.length === 2 && other.got.samples.length === 1, "them");
  assert.deepEqual(other.got.samples.map((each) => each.sequence), [2]);
  assert.deepEqual(one.got.samples[0].inline?.get(0x800f), new Uint8Array(24).fill(7));
  assert.deepEqual(other.statistics.losses, {});
});

Deno.test("participant: user data of participants and endpoints is told, and told again", async () => {
  await using place = new Place();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const encode = (words: string) => new TextEncoder().encode(words);
  const a = await place.participant({ userData: encode("enclave=/;") });
  const b = await place.participant();
  writer(place, a, { userData: encode("typehash=x;") });
  await place.until(() => b.remoteEndpoints.length === 1, "the endpoint");
  assert.equal(text(b.participants[0].userData), "enclave=/;");
  assert.equal(text(b.remoteEndpoints[0].userData), "typehash=x;");
  a.setUserData(encode("enclave=/other;"));
  await place.until(() => text(b.participants[0].userData) === "enclave=/other;", "the change");
});

Deno.test("participant: options that cannot be are refused", async () => {
  await using place = new Place();
  const { domain } = place;
  const interfaces = ["127.0.0.1"];
  await assert.rejects(Participant.open({ domain: 233 }), { code: "invalid" });
  await assert.rejects(Participant.open({ interfaces: ["localhost"] }), { code: "invalid" });
  for (const peers of [["example"], ["127.0.0.1:0"], ["127.0.0.1", "127.0.0.1:70000"]]) {
    await assert.rejects(Participant.open({ domain, interfaces, peers }), { code: "invalid" });
  }
  // None of them has kept a port.
  const { data } = await place.participant();
  assert.equal(data.metatraffic[0].port, 7400 + 250 * domain + 10);
});
