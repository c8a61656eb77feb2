/**
 * Bridges side by side and in a circle: nothing goes round, nothing is heard twice, no offer outlives
 * its server, and of two the other takes over.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Bay, STAMP_HEADER } from "@patchbay/core";
import { Tally, until } from "../core/conformance/tally.ts";
import { type WireName, World } from "./bridge_world.ts";

const WATCHDOG_MS = 30_000;

async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  await until(check, AbortSignal.timeout(WATCHDOG_MS));
}

type Bridge = Awaited<ReturnType<Bay["bridge"]>>;

async function bridge(
  world: World,
  module: string,
  from: WireName,
  to: WireName,
  hub = false,
): Promise<Bridge> {
  const bay = await world.open(module, [from, to], { hub });
  return await bay.bridge({ from, to });
}

/** Looks until nothing changes any longer: what one bridge offers is news for the next one. */
async function settle(...bridges: Bridge[]): Promise<void> {
  const look = () => JSON.stringify(bridges.map((one) => one.status.map((s) => s.addresses)));
  for (let before = ""; before !== look();) {
    before = look();
    for (const one of [...bridges, ...bridges]) await one.refresh();
  }
}

/** How many bridges offer an address on a wire. */
function offering(bridges: Bridge[], to: WireName, address: string): number {
  return bridges.flatMap((one) => one.status).filter(({ counts, addresses }) =>
    counts.to === to &&
    addresses.some((each) => each.address === address && each.state === "carried")
  ).length;
}

function drops(...bridges: Bridge[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { counts } of bridges.flatMap((one) => one.status)) {
    for (const [reason, n] of Object.entries(counts.drops)) all[reason] = (all[reason] ?? 0) + n;
  }
  return all;
}

Deno.test("two bridges side by side: one carries each address, every shout is heard once", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["shared_memory"]);
  const one = await bridge(world, "one", "uds", "shared_memory");
  const two = await bridge(world, "two", "uds", "shared_memory");
  await a.serve("a/add", (n) => (n as number) + 1);
  const speaker = await a.speaker("a/tick");
  await settle(one, two);
  const there = new Tally<unknown>();
  const here = new Tally<unknown>();
  await b.listen("a/tick", (value) => there.add(value));
  await a.listen("a/tick", (value) => here.add(value));
  for (let n = 1; n <= 100; n++) await speaker.shout(n);
  const all = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual(await there.reach(100), all);
  assert.equal(await b.call("a/add", 1), 2);
  for (const address of ["a/add", "a/tick"]) {
    assert.equal(offering([one, two], "shared_memory", address), 1, address);
    assert.equal(offering([one, two], "uds", address), 0, `${address} does not come back`);
  }
  await settle(one, two);
  assert.equal(there.count, 100);
  assert.equal(here.count, 0, "a bay's own shouts come over in_process alone");
  assert.deepEqual(drops(one, two), {});
});

Deno.test("two bridges side by side: when one closes the other takes over", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["shared_memory"]);
  const bridges = [
    await bridge(world, "one", "uds", "shared_memory"),
    await bridge(world, "two", "uds", "shared_memory"),
  ];
  await a.serve("a/add", (n) => (n as number) + 1);
  const speaker = await a.speaker<number>("a/tick");
  await settle(...bridges);
  const heard = new Tally<unknown>();
  await b.listen("a/tick", (value) => heard.add(value));
  await speaker.shout(1);
  await heard.reach(1);
  const carries = (one: Bridge) => offering([one], "shared_memory", "a/add") === 1;
  const first = bridges.find(carries) ?? assert.fail("none carries");
  const second = bridges.find((one) => one !== first) ?? assert.fail();
  await first.close();
  await eventually(async () => {
    await second.refresh();
    return carries(second) && offering([second], "shared_memory", "a/tick") === 1;
  });
  await eventually(() => b.call("a/add", 2).then((v) => v === 3, () => false));
  await eventually(async () => {
    await speaker.shout(2);
    return heard.count >= 2;
  });
});

Deno.test("three bridges in a circle: heard once everywhere, called everywhere, gone everywhere", async () => {
  await using world = await World.make();
  const bays = {
    in_process: await world.open("a", ["in_process"]),
    uds: await world.open("b", ["uds"]),
    websocket: undefined as Bay | undefined,
  };
  const x = await bridge(world, "x", "in_process", "uds");
  const y = await bridge(world, "y", "uds", "websocket", true);
  const z = await bridge(world, "z", "websocket", "in_process");
  bays.websocket = await world.open("c", ["websocket"]);
  const a = bays.in_process;
  const served = await a.serve("a/add", (n) => (n as number) + 1);
  const worked = await a.perform("a/work", (n) => (n as number) * 2);
  const speaker = await a.speaker("a/tick");
  await settle(x, y, z);
  const heard: Tally<unknown>[] = [];
  for (const bay of [bays.in_process, bays.uds, bays.websocket]) {
    const tally = new Tally<unknown>();
    await bay.listen("a/tick", (value) => tally.add(value));
    heard.push(tally);
  }
  for (let n = 1; n <= 50; n++) await speaker.shout(n);
  const all = Array.from({ length: 50 }, (_, i) => i + 1);
  for (const tally of heard) assert.deepEqual(await tally.reach(50), all);
  for (const bay of [bays.uds, bays.websocket]) {
    assert.equal(await bay.call("a/add", 1), 2);
    assert.equal(await (await bay.execute("a/work", 4)).result, 8);
  }
  await settle(x, y, z);
  for (const tally of heard) assert.equal(tally.count, 50, "nothing came later");
  // Whatever went round was stopped by its id; and the offers do not keep one another alive.
  await served.close();
  await worked.close();
  await speaker.close();
  await eventually(async () => {
    await settle(x, y, z);
    return [x, y, z].every((one) => one.status.every((s) => s.counts.offers === 0));
  });
  for (const bay of Object.values(bays)) {
    for (const pattern of ["callable", "speaker", "job"] as const) {
      const address = pattern === "callable" ? "a/add" : pattern === "job" ? "a/work" : "a/tick";
      assert.equal((await bay?.explain(pattern, address))?.chosen, undefined, `${address}`);
    }
  }
});

Deno.test("a chain of two bridges: jobs with feedback and cancel go over both, ttl is one less each", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["in_process"]);
  const x = await bridge(world, "x", "in_process", "uds");
  const y = await bridge(world, "y", "uds", "websocket", true);
  const c = await world.open("c", ["websocket"]);
  const stamps: string[] = [];
  await a.perform("a/endless", async (_goal, { signal, feedback, headers }) => {
    stamps.push(headers[STAMP_HEADER]);
    feedback("begun");
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    throw signal.reason;
  });
  await settle(x, y);
  await c.waitFor({ pattern: "job", address: "a/endless" });
  const job = await c.execute("a/endless", null);
  for await (const value of job.feedback) {
    assert.equal(value, "begun");
    break;
  }
  job.cancel(new Error("far away"));
  await assert.rejects(job.result, /far away/);
  assert.match(stamps[0], /^6 [0-9a-f]{16} [0-9]+$/);
});

Deno.test("a message that has passed eight bridges is dropped, one that comes back is refused; both are counted", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["in_process"]);
  const b = await world.open("b", ["uds"]);
  const x = await bridge(world, "x", "in_process", "uds");
  await a.serve("a/add", (n) => (n as number) + 1);
  const gate = Promise.withResolvers<void>();
  const begun = new Tally<unknown>();
  await a.serve("a/hang", async (n) => {
    begun.add(n);
    await gate.promise;
  });
  await a.perform("a/work", () => 1);
  const heard = new Tally<unknown>();
  await a.listen("b/tick", (value) => heard.add(value));
  const speaker = await b.speaker("b/tick");
  await settle(x);
  const spent = { [STAMP_HEADER]: "0 0123456789abcdef 1" };
  await assert.rejects(b.call("a/add", 1, { headers: spent }), /too many bridges/);
  await assert.rejects(b.execute("a/work", 1, { headers: spent }), /too many bridges/);
  await speaker.shout("spent", { headers: spent });
  await speaker.shout("fresh");
  assert.deepEqual(await heard.reach(1), ["fresh"]);
  const again = { [STAMP_HEADER]: "5 0123456789abcdef 2" };
  const first = b.call("a/hang", 1, { headers: again });
  await begun.reach(1);
  await assert.rejects(b.call("a/hang", 2, { headers: again }), /came back/);
  gate.resolve();
  await first;
  await speaker.shout("once", { headers: again });
  await speaker.shout("twice", { headers: again });
  await speaker.shout("last");
  assert.deepEqual(await heard.reach(3), ["fresh", "once", "last"]);
  assert.deepEqual(drops(x), { ttl: 3, loop: 1, duplicate: 1 });
});

Deno.test("a bay on both wires beside a bridge hears each shout once", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["uds"]);
  const x = await bridge(world, "x", "uds", "websocket", true);
  const both = await world.open("both", ["uds", "websocket"]);
  const speaker = await a.speaker("a/tick");
  await settle(x);
  const heard = new Tally<unknown>();
  const listener = await both.listen("a/tick", (value) => heard.add(value));
  for (let n = 1; n <= 50; n++) await speaker.shout(n);
  await eventually(() => heard.count + listener.dropped >= 100);
  assert.deepEqual(
    [...await heard.reach(50)].sort((p, q) => (p as number) - (q as number)),
    Array
      .from({ length: 50 }, (_, i) => i + 1),
  );
  assert.equal(heard.count, 50);
});
