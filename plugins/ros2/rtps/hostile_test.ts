/**
 * Participants that are broken or mean harm: what they cost is bounded, and others notice nothing.
 *
 * @module
 */

import { TimerWheel } from "@patchbay/core";
import assert from "node:assert/strict";
import { Entity, Pid, Submessage, VENDOR_ID } from "./constants.ts";
import type { EndpointData, ParticipantData } from "./discovery_data.ts";
import { guidOf, unhex } from "./guid.ts";
import { Bits } from "./message_reader.ts";
import type { ParticipantOptions, Sample } from "./mod.ts";
import { Network } from "./network.ts";
import { Destination, Outbox, statusInfo } from "./outbox.ts";
import { ParameterWriter } from "./parameters.ts";
import { RemoteParticipant } from "./remote_participant.ts";
import type { OpenSocket } from "./socket.ts";
import { payload } from "./testdata/place.ts";
import { Lonely, prefixOfNumber, readerId, Stranger, writerId } from "./testdata/stranger.ts";
import { Lease } from "./timers.ts";

const RELIABLE = { reliability: "reliable", history: "keep_all" } as const;
const KiB = 1024;

const all = (length: number): Bits => {
  const bits = new Bits();
  bits.reset(length);
  for (let i = 0; i < length; i++) bits.set(i);
  return bits;
};

Deno.test("hostile: who asks for everything again and again gets a window of it, not all", async () => {
  await using lonely = await Lonely.open();
  const qos = { ...RELIABLE, durability: "transient_local" } as const;
  const writer = lonely.participant.createWriter({ topic: "t", type: "T", qos });
  for (let n = 0; n < 200; n++) writer.write(payload(1000, n));
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  await lonely.hear(stranger.endpoint("reader", readerId(1), { qos }));
  const entity = parseInt(writer.data.guid.slice(24), 16);
  await lonely.hear(stranger.say((to) => to.ackNack(readerId(1), entity, 1, all(1), 1, false)));
  lonely.takeSentBytes();
  const datagrams = stranger.say((to) => {
    for (let n = 2; n < 1000; n++) to.ackNack(readerId(1), entity, 1, all(200), n, true);
  });
  const asked = datagrams.reduce((sum, { length }) => sum + length, 0);
  assert.ok(asked < 65 * KiB);
  const begunMs = performance.now();
  await lonely.hear(datagrams);
  const tookMs = performance.now() - begunMs;
  const sent = lonely.takeSentBytes();
  assert.ok(sent > 100 * KiB, `${sent} bytes: nothing was sent again`);
  // A burst, one that was saved up, what is gained meanwhile, and what goes round the samples.
  const allowed = 1.05 * (512 + 32 * tookMs) * KiB;
  assert.ok(sent < allowed, `${sent} bytes for ${asked} in ${tookMs} ms`);
  assert.ok(writer.statistics.putOff > 100);
});

Deno.test("hostile: who never answers is sent no more than the beginning of what is kept", async () => {
  await using lonely = await Lonely.open();
  const qos = { ...RELIABLE, durability: "transient_local" } as const;
  const writer = lonely.participant.createWriter({ topic: "t", type: "T", qos });
  for (let n = 0; n < 20; n++) writer.write(payload(1_000_000, n));
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  lonely.takeSentBytes();
  await lonely.hear(stranger.endpoint("reader", readerId(1), { qos }));
  // Whoever is given time instead of being asked gets the next part a millisecond later.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const sent = lonely.takeSentBytes();
  assert.ok(sent > 40 * KiB && sent < 128 * KiB, `${sent} bytes`);
  const entity = parseInt(writer.data.guid.slice(24), 16);
  await lonely.hear(stranger.say((to) => to.ackNack(readerId(1), entity, 1, all(1), 1, true)));
  assert.ok(lonely.takeSentBytes() > 64 * KiB, "who answers gets more");
});

Deno.test("hostile: of an endpoint that is somewhere else each time, few places are remembered", async () => {
  const openSocket: OpenSocket = ({ hostname, port }) =>
    Promise.resolve({
      local: { hostname, port },
      receive: () => Promise.resolve(undefined),
      send: () => Promise.resolve(0),
      close: () => {},
    });
  const interfaces = [{ address: "127.0.0.1", bits: 8 }];
  const options = { domain: 1, interfaces, multicast: false, openSocket, mtuBytes: 1472 };
  using wheel = Object.assign(new TimerWheel(), { [Symbol.dispose]: () => wheel.close() });
  const network = await Network.open("00".repeat(12), options);
  const place = (port: number) => [{ hostname: "127.0.0.1", port }];
  const metatraffic = network.destination(place(9), "127.0.0.1", prefixOfNumber(1), "metatraffic");
  const data = { prefix: prefixOfNumber(1), unicast: [] } as unknown as ParticipantData;
  const remote = new RemoteParticipant(
    network,
    data,
    "127.0.0.1",
    metatraffic!,
    new Lease(wheel, () => {}),
  );
  const at = (port: number) =>
    remote.destination({ unicast: place(port) } as unknown as EndpointData);
  const first = at(1000);
  assert.equal(at(1000), first);
  for (let n = 0; n < 64; n++) at(1001 + n);
  assert.notEqual(at(1000), first, "the first is remembered still");
});

/** A reader of a stranger's writers, all of them matched. */
async function listening(writers: number, options: ParticipantOptions = {}) {
  const lonely = await Lonely.open(options);
  const got: Sample[] = [];
  const reader = lonely.participant.createReader({
    topic: "t",
    type: "T",
    qos: RELIABLE,
    onSample: (sample) => got.push({ ...sample, payload: sample.payload.slice() }),
  });
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  for (let n = 1; n <= writers; n++) await lonely.hear(stranger.endpoint("writer", writerId(n)));
  assert.equal(reader.matched.length, writers);
  return { lonely, reader, stranger, got };
}

Deno.test("hostile: fragments of one byte are refused, not collected", async () => {
  const { lonely, reader, stranger } = await listening(1);
  await using _ = lonely;
  const sample = new Uint8Array(1_000_000);
  for (let n = 0; n < 50; n++) {
    await lonely.hear(stranger.say((to) => {
      for (let i = 0; i < 500; i++) {
        to.dataFrag(0, writerId(1), 1, 0, 500 * n + i + 1, 1, sample, undefined);
      }
    }));
  }
  assert.equal(reader.statistics.heldBytes, 0);
  assert.ok((reader.statistics.losses.malformed ?? 0) > 0);
});

Deno.test("hostile: writers that never finish a sample hold no more together than was allowed", async () => {
  const options = { maxHeldBytes: 2_000_000, maxSampleBytes: 1_000_000 };
  const { lonely, reader, stranger, got } = await listening(100, options);
  await using _ = lonely;
  const sample = payload(999_000, 1);
  for (let n = 2; n <= 100; n++) {
    for (let i = 1; i < 16; i++) {
      await lonely.hear(
        stranger.say((to) => to.dataFrag(0, writerId(n), 1, 0, i, 60_000, sample, undefined)),
      );
    }
    const { heldBytes } = reader.statistics;
    assert.ok(heldBytes <= 4_000_000, `${heldBytes} bytes held after ${n}`);
  }
  // One that does finish gets through.
  for (let i = 1; i <= 17; i++) {
    await lonely.hear(
      stranger.say((to) => to.dataFrag(0, writerId(1), 1, 0, i, 60_000, sample, undefined)),
    );
  }
  assert.deepEqual(got.map((each) => each.payload.length), [sample.length]);
  assert.ok((reader.statistics.losses.no_room ?? 0) > 0);
});

Deno.test("hostile: parameters that come with early samples count as held, and are few", async () => {
  const options = { maxHeldBytes: 1_000_000 };
  const { lonely, reader, stranger } = await listening(1, options);
  await using _ = lonely;
  const list = (count: number, bytes: number) => {
    const inline = new ParameterWriter(false);
    for (let i = 0; i < count; i++) inline.bytes(0x4000 + i, new Uint8Array(bytes));
    return inline.finish();
  };
  for (let n = 2; n < 100; n++) {
    await lonely.hear(
      stranger.say((to) => to.data(0, writerId(1), n, 0, payload(8, n), false, list(1, 60_000))),
    );
  }
  assert.ok(reader.statistics.heldBytes > 500_000, "they are not counted");
  assert.ok((reader.statistics.losses.no_room ?? 0) > 50);
  const { ignored } = lonely.participant.statistics;
  await lonely.hear(
    stranger.say((to) => to.data(0, writerId(1), 200, 0, payload(8, 1), false, list(1000, 4))),
  );
  assert.deepEqual(ignored, {});
  const after = lonely.participant.statistics.ignored;
  assert.equal(after["a DATA with bad inline QoS"], 1);
});

Deno.test("hostile: what has waited for what is lost is delivered in its order", async () => {
  const { lonely, stranger, got } = await listening(1);
  await using _ = lonely;
  await lonely.hear(stranger.say((to) => to.heartbeat(0, writerId(1), 1, 9, 1, true)));
  for (const n of [7, 4, 6, 5]) {
    await lonely.hear(
      stranger.say((to) => to.data(0, writerId(1), n, 0, payload(8, n), false, undefined)),
    );
  }
  await lonely.hear(stranger.say((to) => to.heartbeat(0, writerId(1), 9, 9, 2, true)));
  assert.deepEqual(got.map((each) => each.sequence), [4, 5, 6, 7]);
});

Deno.test("hostile: heartbeats of everything, and gaps of everything, cost an answer each at most", async () => {
  const { lonely, reader, stranger, got } = await listening(1);
  await using _ = lonely;
  lonely.takeSentBytes();
  const last = 2 ** 53 - 1;
  let count = 0;
  const heartbeats = stranger.say((to) => {
    for (let n = 0; n < 500; n++) to.heartbeat(0, writerId(1), 1, last, ++count, false);
    for (let n = 1; n < 500; n++) to.heartbeatFrag(0, writerId(1), n, 0xffffffff, ++count);
    to.gap(0, writerId(1), 5, last);
  });
  const heard = heartbeats.reduce((sum, { length }) => sum + length, 0);
  await lonely.hear(heartbeats);
  const sent = lonely.takeSentBytes();
  assert.ok(sent <= heard, `${sent} bytes for ${heard}`);
  // What is before the gap is delivered still; what comes behind it is not missed.
  for (let n = 1; n < 5; n++) {
    await lonely.hear(
      stranger.say((to) => to.data(0, writerId(1), n, 0, payload(4, n), false, undefined)),
    );
  }
  assert.deepEqual(got.map((each) => each.sequence), [1, 2, 3, 4]);
  await lonely.hear(stranger.say((to) => to.gap(0, writerId(1), last, last)));
  assert.deepEqual(lonely.reports, []);
  assert.equal(lonely.participant.statistics.defects, 0);
  assert.deepEqual(reader.statistics.losses, {});
});

/** Lets no time pass until it is disposed of. */
function standstill(): Disposable {
  const now = performance.now();
  const { now: before } = performance;
  performance.now = () => now;
  return { [Symbol.dispose]: () => void (performance.now = before) };
}

Deno.test("reader: the same is not asked for again at once, however often it is offered", async () => {
  const { lonely, stranger } = await listening(1);
  await using _ = lonely;
  const asked = (kind: number) => {
    let found = 0;
    for (const { bytes } of lonely.sent.splice(0)) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 20; at < bytes.length; at += 4 + view.getUint16(at + 2, true)) {
        // Behind two entities and a number stands how many are asked for.
        const offset = kind === Submessage.ackNack ? 20 : 28;
        if (bytes[at] === kind && view.getUint32(at + offset, true) > 0) found++;
      }
    }
    return found;
  };
  asked(Submessage.ackNack);
  let count = 0;
  using _clock = standstill();
  await lonely.hear(stranger.say((to) => {
    for (let n = 0; n < 5; n++) to.heartbeat(0, writerId(1), 1, 3, ++count, false);
  }));
  assert.equal(asked(Submessage.ackNack), 1);
  const large = payload(3000, 1);
  asked(Submessage.nackFrag);
  await lonely.hear(stranger.say((to) => {
    to.dataFrag(0, writerId(1), 1, 0, 1, 1000, large, undefined);
    for (let n = 0; n < 5; n++) to.heartbeatFrag(0, writerId(1), 1, 4, ++count);
  }));
  assert.equal(asked(Submessage.nackFrag), 1);
});

Deno.test("hostile: those who never answer are reminded ever more seldom", async () => {
  await using lonely = await Lonely.open();
  const strangers = 40;
  for (let n = 1; n <= strangers; n++) {
    await lonely.hear(new Stranger(lonely, prefixOfNumber(n)).announce());
  }
  const sentIn = async (ms: number) => {
    lonely.sent.splice(0);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return lonely.sent.length;
  };
  const early = await sentIn(500);
  await sentIn(4000);
  const late = await sentIn(1000);
  assert.ok(early > 2 * strangers, `${early} datagrams at first`);
  // Twice as long as at first, and less than a quarter of what would go on for ever.
  assert.ok(late < early / 2, `${late} datagrams a second, ${early} in the first half`);
});

Deno.test("hostile: participants that never answer make place for new ones, and are counted", async () => {
  const lost: string[] = [];
  await using lonely = await Lonely.open({
    maxParticipants: 10,
    onParticipantLost: ({ prefix }, why) => lost.push(`${Number(`0x${prefix.slice(4)}`)} ${why}`),
  });
  const answering = new Stranger(lonely, prefixOfNumber(1000));
  await lonely.hear(answering.announce());
  await lonely.hear(
    answering.say((to) =>
      to.ackNack(Entity.publicationsReader, Entity.publicationsWriter, 1, undefined, 1, true)
    ),
  );
  for (let n = 1; n <= 30; n++) {
    await lonely.hear(new Stranger(lonely, prefixOfNumber(n)).announce({ leaseMs: Infinity }));
  }
  assert.equal(lonely.participant.participants.length, 10);
  assert.ok(lonely.participant.participant(answering.prefix) !== undefined, "the wrong one left");
  assert.ok(lonely.participant.participant(prefixOfNumber(30)) !== undefined, "no place for it");
  assert.deepEqual(lost.slice(0, 2), ["1 crowded_out", "2 crowded_out"]);
  assert.equal(lonely.participant.statistics.ignored["participants crowded out"], 21);
  assert.equal(lonely.reports.length, 1, "told once");
});

Deno.test("hostile: a lease of nothing lasts a moment, one of years is heard without harm", async () => {
  const told: string[] = [];
  const lost = Promise.withResolvers<void>();
  await using lonely = await Lonely.open({
    onParticipant: () => told.push("found"),
    onParticipantLost: (_, why) => {
      told.push(why);
      lost.resolve();
    },
  });
  for (let n = 0; n < 20; n++) {
    await lonely.hear(new Stranger(lonely).announce({ leaseMs: 0 }));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(told, ["found"], "it comes and goes with each announcement");
  await lost.promise;
  await lonely.hear(new Stranger(lonely).announce({ leaseMs: 2 ** 30 * 1000 }));
  assert.deepEqual(told, ["found", "expired", "found"]);
});

Deno.test("hostile: endpoints are bounded in number over all participants, and in size", async () => {
  const found: string[] = [];
  await using lonely = await Lonely.open({
    maxEndpoints: 5,
    maxEndpointsInAll: 12,
    onEndpoint: ({ guid }) => found.push(guid),
  });
  const strangers = Array.from(
    { length: 3 },
    (_, n) => new Stranger(lonely, prefixOfNumber(n + 1)),
  );
  for (const stranger of strangers) {
    await lonely.hear(stranger.announce());
    const userData = new Uint8Array(20_000);
    await lonely.hear(stranger.endpoint("reader", readerId(99), { userData }));
    for (let n = 1; n <= 8; n++) await lonely.hear(stranger.endpoint("reader", readerId(n)));
  }
  assert.equal(lonely.participant.remoteEndpoints.length, 12);
  const { ignored } = lonely.participant.statistics;
  assert.equal(ignored["endpoint too large"], 3);
  assert.equal(ignored["too many endpoints"], 12);
  assert.equal(lonely.reports.length, 2, "each told once");
  // Who leaves makes room.
  await lonely.hear(strangers[0].goodbye());
  await lonely.hear(strangers[2].endpoint("reader", readerId(50)));
  assert.equal(lonely.participant.remoteEndpoints.length, 8);
});

Deno.test("hostile: what says too much of itself is not known", async () => {
  await using lonely = await Lonely.open();
  await lonely.hear(new Stranger(lonely).announce({ userData: new Uint8Array(30_000) }));
  assert.deepEqual(lonely.participant.participants, []);
  assert.equal(lonely.participant.statistics.ignored["participant too large"], 1);
});

Deno.test("hostile: one participant's readers of one writer are few", async () => {
  await using lonely = await Lonely.open();
  const writer = lonely.participant.createWriter({ topic: "t", type: "T" });
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  for (let n = 1; n <= 300; n++) await lonely.hear(stranger.endpoint("reader", readerId(n)));
  assert.equal(writer.matched.length, 256);
  assert.equal(lonely.participant.statistics.ignored["too many matches"], 44);
});

Deno.test("hostile: nothing is sent to groups, to everybody or to nobody", async () => {
  await using lonely = await Lonely.open({ interfaces: ["10.0.0.1"] });
  lonely.participant.createWriter({ topic: "t", type: "T" });
  const bad = ["239.255.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "0.1.2.3"];
  for (const [n, hostname] of bad.entries()) {
    const stranger = new Stranger(lonely, prefixOfNumber(n + 1));
    await lonely.hear(stranger.announce({ metatraffic: [{ hostname, port: 7410 }] }), "10.0.0.7");
  }
  assert.deepEqual(lonely.participant.participants, []);
  const stranger = new Stranger(lonely, prefixOfNumber(100));
  const at = [{ hostname: "10.0.0.7", port: 7410 }];
  await lonely.hear(stranger.announce({ metatraffic: at, unicast: at }), "10.0.0.7");
  const unicast = bad.map((hostname) => ({ hostname, port: 7411 }));
  await lonely.hear(stranger.endpoint("reader", readerId(1), { unicast }), "10.0.0.7");
  const group = `239.255.0.1:${7400 + 250 * 3}`;
  const places = new Set(lonely.sent.map(({ to }) => `${to.hostname}:${to.port}`));
  assert.deepEqual([...places].sort(), ["10.0.0.7:7410", group]);
});

Deno.test("hostile: nobody speaks for a participant of this machine from elsewhere", async () => {
  const lost: string[] = [];
  await using lonely = await Lonely.open({ onParticipantLost: (_, why) => lost.push(why) });
  const got: number[] = [];
  lonely.participant.createReader({
    topic: "t",
    type: "T",
    qos: RELIABLE,
    onSample: ({ sequence }) => got.push(sequence),
  });
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  await lonely.hear(stranger.endpoint("writer", writerId(1)));
  const spoof = [
    stranger.goodbye(),
    stranger.announce({ metatraffic: [{ hostname: "127.0.0.1", port: 10 }] }),
    stranger.say((to) => to.heartbeat(0, writerId(1), 1000, 2000, 1, true)),
    stranger.say((to) => to.gap(0, writerId(1), 1, 1000)),
    stranger.say((to) => to.data(0, writerId(1), 1, 0, payload(4, 1), false, undefined)),
  ];
  for (const each of spoof) await lonely.hear(each, "10.9.8.7");
  assert.deepEqual([lost, got], [[], []]);
  assert.equal(
    lonely.participant.statistics.ignored["from elsewhere than its participant"],
    spoof.length,
  );
  await lonely.hear(
    stranger.say((to) => to.data(0, writerId(1), 1, 0, payload(4, 1), false, undefined)),
  );
  assert.deepEqual(got, [1]);
});

Deno.test("hostile: nobody claims to be this participant itself from elsewhere", async () => {
  const told: string[] = [];
  await using lonely = await Lonely.open({ onParticipant: ({ prefix }) => told.push(prefix) });
  const { participant } = lonely;
  const got: number[] = [];
  const options = { topic: "t", type: "T", qos: RELIABLE };
  const onSample = ({ sequence }: Sample) => got.push(sequence);
  const reader = participant.createReader({ ...options, onSample });
  const writer = participant.createWriter(options);
  assert.deepEqual([reader.matched.length, writer.matched.length], [1, 1], "it hears itself");
  const entity = parseInt(writer.data.guid.slice(24), 16);
  const double = new Stranger(lonely, participant.prefix);
  const spoof = [
    double.announce(),
    double.endpoint("writer", writerId(99)),
    double.say((to) => to.data(0, entity, 1, 0, payload(4, 1), false, undefined)),
    double.say((to) => to.heartbeat(0, entity, 1000, 2000, 1, true)),
    double.goodbye(),
  ];
  for (const each of spoof) await lonely.hear(each, "10.9.8.7");
  assert.deepEqual([told, got, participant.remoteEndpoints], [[], [], []]);
  const { ignored } = participant.statistics;
  assert.equal(ignored["from elsewhere than its participant"], spoof.length);
  assert.deepEqual([reader.matched.length, reader.statistics.losses], [1, {}]);
});

Deno.test("hostile: a participant of another machine is moved or ended from its addresses only", async () => {
  const lost: string[] = [];
  await using lonely = await Lonely.open({
    interfaces: ["10.0.0.1"],
    onParticipantLost: (_, why) => lost.push(why),
  });
  const stranger = new Stranger(lonely);
  const at = (hostname: string) => [{ hostname, port: 7410 }];
  const places = { metatraffic: at("10.0.0.7"), unicast: at("10.0.0.8") };
  await lonely.hear(stranger.announce(places), "10.0.0.7");
  await lonely.hear(stranger.goodbye(), "10.0.0.9");
  await lonely.hear(stranger.announce({ metatraffic: at("10.0.0.9") }), "10.0.0.9");
  assert.deepEqual(lost, []);
  await lonely.hear(stranger.goodbye(), "10.0.0.8");
  assert.deepEqual(lost, ["goodbye"]);
});

Deno.test("hostile: nobody withdraws another's endpoints", async () => {
  await using lonely = await Lonely.open();
  const [one, other] = [1, 2].map((n) => new Stranger(lonely, prefixOfNumber(n)));
  for (const each of [one, other]) {
    await lonely.hear(each.announce());
    await lonely.hear(each.endpoint("writer", writerId(1)));
  }
  const guid = unhex(guidOf(one.prefix, writerId(1)));
  const key = new ParameterWriter(true).bytes(Pid.endpointGuid, guid).finish();
  const inline = new ParameterWriter(false).bytes(Pid.keyHash, guid)
    .bytes(Pid.statusInfo, statusInfo("both")).finish();
  const { publicationsReader, publicationsWriter } = Entity;
  await lonely.hear(
    other.say((to) => to.data(publicationsReader, publicationsWriter, 2, 0, key, true, inline)),
  );
  assert.equal(lonely.participant.remoteEndpoints.length, 2);
});

Deno.test("hostile: a writer whose liveliness lasts no time does not die with each sample", async () => {
  await using lonely = await Lonely.open();
  const told: boolean[] = [];
  lonely.participant.createReader({
    topic: "t",
    type: "T",
    qos: RELIABLE,
    onSample: () => {},
    onLiveliness: (_, alive) => told.push(alive),
  });
  const stranger = new Stranger(lonely);
  await lonely.hear(stranger.announce());
  const qos = { livelinessLeaseMs: 0, liveliness: "manual_by_topic" } as const;
  await lonely.hear(stranger.endpoint("writer", writerId(1), { qos }));
  for (let n = 1; n <= 50; n++) {
    await lonely.hear(
      stranger.say((to) => to.data(0, writerId(1), n, 0, payload(4, n), false, undefined)),
    );
  }
  assert.ok(told.length < 10, `${told.length} times`);
});

Deno.test("hostile: a reader that takes nothing holds a writer back for a while, if told so", async () => {
  await using lonely = await Lonely.open();
  const overwritten: number[] = [];
  const stallMs = 60;
  const writer = lonely.participant.createWriter({
    topic: "t",
    type: "T",
    qos: RELIABLE,
    maxSamples: 10,
    stallMs,
    onOverwritten: (samples) => overwritten.push(samples),
  });
  const entity = parseInt(writer.data.guid.slice(24), 16);
  const [greedy, healthy] = [1, 2].map((n) => new Stranger(lonely, prefixOfNumber(n)));
  let count = 0;
  const answers = (base: number) => (to: Destination) =>
    to.ackNack(readerId(1), entity, base, undefined, ++count, true);
  for (const each of [greedy, healthy]) {
    await lonely.hear(each.announce());
    await lonely.hear(each.endpoint("reader", readerId(1)));
    await lonely.hear(each.say(answers(1)));
  }
  // Longer than is waited for, but with nothing to take: nobody is behind yet.
  await new Promise((resolve) => setTimeout(resolve, 2 * stallMs));
  for (let n = 0; n < 10; n++) writer.write(payload(4, n));
  assert.throws(() => writer.write(payload(4, 10)), { code: "overloaded" });
  await lonely.hear(healthy.say(answers(11)));
  await new Promise((resolve) => setTimeout(resolve, stallMs));
  // It answers each heartbeat, but has got no further.
  await lonely.hear(greedy.say(answers(1)));
  assert.equal(writer.write(payload(4, 10)), 11);
  assert.deepEqual([overwritten, writer.statistics.kept], [[10], 1]);
});

Deno.test("writer: what was written before is acknowledged, whatever follows and whoever is silent", async () => {
  await using lonely = await Lonely.open();
  const writer = lonely.participant.createWriter({ topic: "t", type: "T", qos: RELIABLE });
  const entity = parseInt(writer.data.guid.slice(24), 16);
  const [silent, healthy] = [1, 2].map((n) => new Stranger(lonely, prefixOfNumber(n)));
  let count = 0;
  const answers = (base: number) =>
    healthy.say((to) => to.ackNack(readerId(1), entity, base, undefined, ++count, true));
  for (const each of [silent, healthy]) {
    await lonely.hear(each.announce());
    await lonely.hear(each.endpoint("reader", readerId(1)));
  }
  await lonely.hear(answers(1));
  writer.write(payload(4, 1));
  const told = [
    writer.untilAcknowledged(10_000, healthy.prefix),
    writer.untilAcknowledged(50, silent.prefix),
    writer.untilAcknowledged(50),
  ];
  writer.write(payload(4, 2));
  await lonely.hear(answers(2));
  assert.deepEqual(await Promise.all(told), [true, false, false]);
});

Deno.test("writer: in a large sample an answer is asked for by half a window, not by fragment", async () => {
  await using lonely = await Lonely.open();
  const writer = lonely.participant.createWriter({ topic: "t", type: "T", qos: RELIABLE });
  const entity = parseInt(writer.data.guid.slice(24), 16);
  const stranger = new Stranger(lonely, prefixOfNumber(1), VENDOR_ID);
  await lonely.hear(stranger.announce());
  await lonely.hear(stranger.endpoint("reader", readerId(1)));
  await lonely.hear(
    stranger.say((to) => to.ackNack(readerId(1), entity, 1, undefined, 1, true)),
  );
  /** How many submessages of a kind have left. */
  const takeSent = async (...kinds: number[]) => {
    // What is gathered leaves with the microtasks: no timer is let in, which would remind.
    for (let hop = 0; hop < 40; hop++) await Promise.resolve();
    const found = kinds.map(() => 0);
    for (const { bytes } of lonely.sent.splice(0)) {
      for (let at = 20; at < bytes.length; at += 4 + (bytes[at + 2] | bytes[at + 3] << 8)) {
        const kind = kinds.indexOf(bytes[at]);
        if (kind >= 0) found[kind]++;
      }
    }
    return found;
  };
  const { dataFrag, heartbeatFrag } = Submessage;
  await takeSent();
  writer.write(payload(2_000_000, 1));
  assert.deepEqual(await takeSent(dataFrag, heartbeatFrag), [3, 1]);
  for (const [n, arrived] of [2, 4, 6].entries()) {
    await lonely.hear(
      stranger.say((to) => to.nackFrag(readerId(1), entity, 1, arrived + 1, undefined, n + 1)),
    );
    assert.deepEqual(await takeSent(dataFrag, heartbeatFrag), [2, 1], `after ${arrived}`);
  }
});

Deno.test("hostile: what the system does not take is dropped beyond a bound, and counted", () => {
  const outbox = new Outbox(prefixOfNumber(1), 1472);
  const address = { hostname: "127.0.0.1", port: 9 };
  const stuck = new Promise<never>(() => {});
  const socket = {
    local: address,
    receive: () => Promise.resolve(undefined),
    send: () => stuck,
    close: () => {},
  };
  const destination = new Destination(outbox, socket, address, undefined, 1472);
  for (let n = 0; n < 5000; n++) {
    destination.heartbeat(0, 1, 1, 1, n, true);
    destination.flush();
  }
  assert.equal(outbox.datagrams, 4096);
  assert.deepEqual([...outbox.failed], [["too many under way", 5000 - 4096]]);
});
