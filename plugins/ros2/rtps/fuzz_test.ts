/**
 * Malformed datagrams: they throw nothing, and cost no more memory than has come.
 *
 * `FUZZ_PACKETS` says how many are tried; in CI it is a million, which takes some seconds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Datagram, type OpenSocket, Participant, type Reader } from "./mod.ts";
import { type Faults, payload, Place, random } from "./testdata/place.ts";

const PACKETS = Number(
  Deno.env.get("FUZZ_PACKETS") ?? (Deno.env.get("CI") ? 1_000_000 : 30_000),
);

/** Packets of every kind, as two participants exchange them. */
async function corpus(): Promise<{ packets: Uint8Array[]; domain: number }> {
  await using place = new Place();
  const packets: Uint8Array[] = [];
  const faults: Faults = { loss: 0.2, record: (bytes) => packets.push(bytes) };
  const a = await place.participant({ announceMs: 100, name: "a" }, faults);
  const b = await place.participant({ announceMs: 100 }, faults);
  const qos = { history: "keep_all", durability: "transient_local" } as const;
  const options = { topic: "t", type: "T", keyed: true, qos, userData: payload(9, 1) };
  // One more for the bytes of its announcement.
  b.createWriter({ ...options, keyed: false, qos: { ...qos, partition: ["p*", "q"] } });
  b.createReader({ ...options, onMatched: place.touch, onSample: () => {} });
  const writer = a.createWriter({ ...options, onMatched: place.touch });
  await place.until(() => writer.matched.length > 0, "a match");
  const key = "ab".repeat(16);
  for (const [n, size] of [10, 200_000, 5_000, 70_000, 0].entries()) {
    writer.write(payload(size, n), { key, inline: new Map([[0x800f, payload(20, n)]]) });
  }
  writer.end(key, "disposed");
  assert.equal(await writer.untilAcknowledged(30_000), true);
  // Without the goodbyes that follow.
  return { packets: packets.slice(), domain: place.domain };
}

/** Sockets that send nothing, as mutated addresses must reach nobody; what they receive is given. */
class Injector {
  #deliver: ((datagram: Datagram | undefined) => void) | undefined;
  #again = Promise.withResolvers<void>();

  readonly openSocket: OpenSocket = ({ hostname, port }) => {
    let close: (value: undefined) => void = () => {};
    return Promise.resolve({
      local: { hostname, port },
      receive: () => {
        const { promise, resolve } = Promise.withResolvers<Datagram | undefined>();
        this.#deliver = close = resolve;
        this.#again.resolve();
        return promise;
      },
      send: () => Promise.resolve(0),
      close: () => close(undefined),
    });
  };

  /** Gives a datagram to whoever receives, and waits until it asks for the next one. */
  async inject(bytes: Uint8Array): Promise<void> {
    this.#again = Promise.withResolvers();
    this.#deliver?.({ bytes, from: { hostname: "127.0.0.1", port: 1 } });
    await this.#again.promise;
  }
}

const INTERESTING = [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xfe, 0xff];

/** A packet with some bytes changed, cut, or joined with another. */
function mutate(packets: readonly Uint8Array[], next: () => number): Uint8Array<ArrayBuffer> {
  const pick = (n: number) => Math.floor(next() * n);
  const from = packets[pick(packets.length)];
  let bytes = from.slice() as Uint8Array<ArrayBuffer>;
  if (next() < 0.1) {
    const other = packets[pick(packets.length)];
    const at = pick(bytes.length);
    const joined = new Uint8Array(Math.min(65_507, at + other.length));
    joined.set(bytes.subarray(0, at));
    joined.set(other.subarray(0, joined.length - at), at);
    bytes = joined;
  }
  if (next() < 0.1) bytes = bytes.slice(0, pick(bytes.length + 1));
  // Most of what matters stands in the first 120 bytes: the rest is payload.
  for (let n = pick(6); n >= 0 && bytes.length > 0; n--) {
    const reach = next() < 0.8 ? Math.min(bytes.length, 120) : bytes.length;
    bytes[pick(reach)] = next() < 0.5 ? INTERESTING[pick(INTERESTING.length)] : pick(256);
  }
  return bytes;
}

/** Tells of every array that is made while it watches. */
function watchAllocations(): { largest: number } & Disposable {
  const watched = { largest: 0 };
  const before = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(before, {
    construct(target, args, newTarget) {
      if (typeof args[0] === "number" && args[0] > watched.largest) watched.largest = args[0];
      return Reflect.construct(target, args, newTarget);
    },
  });
  return Object.assign(watched, {
    [Symbol.dispose]: () => {
      globalThis.Uint8Array = before;
    },
  });
}

Deno.test(`fuzz: ${PACKETS} malformed datagrams throw nothing and take no memory they did not bring`, async () => {
  const { packets, domain } = await corpus();
  const reports: unknown[] = [];
  const injector = new Injector();
  const participant = await Participant.open({
    domain,
    interfaces: ["127.0.0.1"],
    openSocket: injector.openSocket,
    maxHeldBytes: 1024 * 1024,
    maxParticipants: 64,
    maxEndpoints: 64,
    onReport: (error) => reports.push(error),
  });
  const qos = {
    history: "keep_all",
    durability: "transient_local",
    reliability: "reliable",
  } as const;
  const readers: Reader[] = [true, false].map((keyed) =>
    participant.createReader({ topic: "t", type: "T", keyed, qos, onSample: () => {} })
  );
  const writer = participant.createWriter({ topic: "t", type: "T", qos });
  for (let n = 0; n < 20; n++) writer.write(payload(n * 5_000, n));
  const next = random(7);
  const self = Uint8Array.from(participant.prefix.match(/../g)!, (digits) => parseInt(digits, 16));
  // First as they are, so that there is something to confuse; then addressed to this one.
  for (const packet of packets) await injector.inject(packet.slice());
  for (const packet of packets) {
    if (packet[20] === 0x0e) packet.set(self, 24);
    await injector.inject(packet.slice());
  }
  const known = participant.participants.length;
  assert.equal(known, 2);
  using watched = watchAllocations();
  for (let n = 0; n < PACKETS; n++) {
    const packet = mutate(packets, next);
    const held = readers.reduce((sum, reader) => sum + reader.statistics.heldBytes, 0);
    watched.largest = 0;
    await injector.inject(packet);
    // A buffer for what is sent, or a sample of which every fragment has come.
    const allowed = Math.max(65_536, held + packet.length);
    assert.ok(watched.largest <= allowed, `${watched.largest} bytes for packet ${n}`);
    for (const reader of readers) {
      assert.ok(reader.statistics.heldBytes <= 2 * 1024 * 1024, `packet ${n}`);
    }
  }
  const { defects, ignored } = participant.statistics;
  assert.deepEqual([defects, reports], [0, []]);
  assert.ok(Object.keys(ignored).length > 10, Object.keys(ignored).join());
  assert.ok(participant.participants.length <= 64);
  await participant.close();
});
