/**
 * Services with programs on both DDS stacks, each with the request header of its own ROS 2
 * middleware.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ServiceClient, type ServiceOptions, ServiceServer } from "@patchbay/ros2/node";
import { Types } from "@patchbay/ros2/types";
import { Place } from "../../../plugins/ros2/rtps/testdata/place.ts";
import { requireOrIgnore } from "../../require.ts";
import { Peer, probe, type Stack } from "./peers.ts";

const TYPE = new Types().service("example_interfaces/AddTwoInts");
const REQUEST = "rq/add_two_intsRequest";
const REPLY = "rr/add_two_intsReply";
const THEIRS = { reliable: true, depth: 0 };
const SECONDS_20 = 20_000;

const options = (reports: unknown[]): ServiceOptions => ({
  name: "/add_two_ints",
  requestType: TYPE.request.ddsName,
  responseType: TYPE.response.ddsName,
  userData: `typehash=${TYPE.hash};`,
  onReport: (error) => reports.push(error),
});

function add(payload: Uint8Array): Uint8Array {
  const { a, b } = TYPE.request.decode(payload) as { a: bigint; b: bigint };
  return TYPE.response.encode({ sum: a + b });
}

async function call(client: ServiceClient, a: bigint, b: bigint): Promise<bigint> {
  const signal = AbortSignal.timeout(SECONDS_20);
  const reply = await client.call(TYPE.request.encode({ a, b }), signal);
  return (TYPE.response.decode(reply) as { sum: bigint }).sum;
}

async function makeServer(peer: Peer): Promise<void> {
  await peer.make("writer", "sw", REPLY, "response", THEIRS);
  await peer.make("reader", "sr", REQUEST, "request", THEIRS, "sw");
}

async function makeClient(peer: Peer): Promise<void> {
  await peer.make("reader", "cr", REPLY, "response", THEIRS);
  await peer.make("writer", "cw", REQUEST, "request", THEIRS, "cr");
  await peer.until((line) => line === "matched cr 1");
  await peer.until((line) => line === "matched cw 1");
}

const STACKS: Stack[] = ["cyclone", "fast"];
const needed = await Promise.all(
  STACKS.map((stack) =>
    requireOrIgnore(stack, () => probe(stack), "apt-get install its packages: see judges_test.ts")
  ),
);

for (const [i, stack] of STACKS.entries()) {
  const { name, ignore } = needed[i];
  Deno.test({
    name: name(`service: a server on ${stack} answers our client`),
    ignore,
    fn: async () => {
      await using place = new Place();
      await using peer = await Peer.start(stack, place.domain);
      const us = await place.participant();
      const reports: unknown[] = [];
      using client = new ServiceClient(us, options(reports));
      await assert.rejects(call(client, 1n, 2n), { code: "not_found" });
      await makeServer(peer);
      await client.untilServed(AbortSignal.timeout(SECONDS_20));
      assert.equal(await call(client, 2n, 3n), 5n);
      const sums = await Promise.all(
        Array.from({ length: 50 }, (_, n) => call(client, BigInt(n), 2n ** 40n)),
      );
      assert.deepEqual(sums, Array.from({ length: 50 }, (_, n) => BigInt(n) + 2n ** 40n));
      assert.deepEqual(reports, []);
    },
  });

  Deno.test({
    name: name(`service: our server answers a client on ${stack}`),
    ignore,
    fn: async () => {
      await using place = new Place();
      await using peer = await Peer.start(stack, place.domain);
      const us = await place.participant();
      const reports: unknown[] = [];
      using _server = new ServiceServer(us, options(reports), add);
      await makeClient(peer);
      for (let n = 1; n <= 20; n++) await peer.tell(`write cw ${n} 100`);
      await peer.until((line) => line.startsWith("sum cr "), 20);
      assert.deepEqual(
        peer.lines.filter((line) => line.startsWith("sum ")).map((line) => line.split(" ").at(-1)),
        Array.from({ length: 20 }, (_, n) => String(n + 101)),
      );
      assert.deepEqual(reports, []);
    },
  });
}

Deno.test({
  name: needed[1].name(needed[0].name("service: one server of ours answers both stacks at once")),
  ignore: needed.some(({ ignore }) => ignore),
  fn: async () => {
    await using place = new Place();
    const us = await place.participant();
    const reports: unknown[] = [];
    using _server = new ServiceServer(us, options(reports), add);
    await using cyclone = await Peer.start("cyclone", place.domain);
    await using fast = await Peer.start("fast", place.domain);
    for (const peer of [cyclone, fast]) await makeClient(peer);
    // A client of our own, in another participant, asks as well.
    const them = await place.participant();
    using client = new ServiceClient(them, options(reports));
    await client.untilServed(AbortSignal.timeout(SECONDS_20));
    for (let n = 1; n <= 10; n++) {
      await cyclone.tell(`write cw ${n} 1000`);
      await fast.tell(`write cw ${n} 2000`);
      assert.equal(await call(client, BigInt(n), 3000n), BigInt(n + 3000));
    }
    for (const [peer, plus] of [[cyclone, 1000], [fast, 2000]] as const) {
      await peer.until((line) => line.startsWith("sum cr "), 10);
      assert.deepEqual(
        peer.lines.filter((line) => line.startsWith("sum ")).map((line) => line.split(" ").at(-1)),
        Array.from({ length: 10 }, (_, n) => String(n + 1 + plus)),
      );
    }
    assert.deepEqual(reports, []);
  },
});
