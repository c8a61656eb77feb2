/**
 * Bridges that are killed, and wires that break under them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Bay, PatchbayError } from "@patchbay/core";
import { type Child, Place } from "../cli/testdata/harness.ts";
import { Tally, until } from "../core/conformance/tally.ts";
import { World } from "./bridge_world.ts";

const WATCHDOG_MS = 30_000;

async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  await until(check, AbortSignal.timeout(WATCHDOG_MS));
}

async function code(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => assert.fail("it resolved"), (e) => e);
  assert.ok(error instanceof PatchbayError, `${error}`);
  return error.code;
}

/** A bridge in a process of its own. */
async function start(world: World, place: Place): Promise<Child> {
  const main = new URL("../cli/main.ts", import.meta.url).pathname;
  const wires = ["--from", "uds", "--to", "shared_memory", "--match", "a/**"];
  const where = ["--runtime-dir", world.path];
  const child = place.deno(["run", "-A", main, "bridge", ...wires, ...where], {
    cwd: new URL("..", import.meta.url).pathname,
  });
  await child.remarks(/Ctrl-C ends it/);
  return child;
}

async function there(bay: Bay, address: string): Promise<void> {
  await eventually(() => bay.call(address, 1).then((v) => v === 2, () => false));
}

Deno.test("a bridge is killed: what was pending is closed at once, and the next one carries on", async () => {
  await using world = await World.make();
  await using place = new Place(); // Its processes end before their runtime directory does.
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["shared_memory"]);
  const begun = new Tally<unknown>();
  const never = Promise.withResolvers<unknown>();
  await a.serve("a/add", (n) => (n as number) + 1);
  await a.serve("a/hang", (n) => {
    begun.add(n);
    return never.promise;
  });
  await a.perform("a/endless", async (_goal, { signal, feedback }) => {
    feedback("begun");
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }, { orphanMs: 100 });
  const speaker = await a.speaker<number>("a/tick");
  const first = await start(world, place);
  await there(b, "a/add");
  const heard = new Tally<unknown>();
  await b.listen("a/tick", (value) => heard.add(value));
  await speaker.shout(1);
  await heard.reach(1);
  const call = b.call("a/hang", "pending", { timeoutMs: 60_000 });
  const outcome = code(call);
  await begun.reach(1);
  const job = await b.execute("a/endless", null, { timeoutMs: 60_000 });
  for await (const _ of job.feedback) break;
  first.signal("SIGKILL");
  assert.equal(await outcome, "closed");
  assert.equal(await code(job.result), "closed");
  await eventually(async () => !(await b.explain("callable", "a/add")).chosen);
  assert.equal(await code(b.call("a/add", 1)), "not_found");
  await start(world, place);
  await there(b, "a/add");
  await eventually(async () => {
    await speaker.shout(2);
    return heard.count >= 2;
  });
  never.resolve(null);
});

Deno.test("a bridge that is told to end lets calls in flight finish", async () => {
  await using world = await World.make();
  await using place = new Place(); // Its processes end before their runtime directory does.
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["shared_memory"]);
  const gate = Promise.withResolvers<string>();
  const begun = new Tally<unknown>();
  await a.serve("a/add", (n) => (n as number) + 1);
  await a.serve("a/slow", (n) => {
    begun.add(n);
    return gate.promise;
  });
  const child = await start(world, place);
  await there(b, "a/add");
  const call = b.call("a/slow", 1, { timeoutMs: 60_000 });
  await begun.reach(1);
  child.signal("SIGTERM");
  await child.remarks(/closing: what is in flight may end/);
  gate.resolve("finished");
  assert.equal(await call, "finished");
  assert.equal((await child.ended).code, 0);
});

Deno.test("a hub dies under a bridge: pending calls are closed, and all comes back with it", async () => {
  await using world = await World.make();
  const options = { hub: true };
  let hub = await world.open("hub", ["websocket"], options);
  const joint = await world.open("joint", ["in_process", "websocket"]);
  const bridge = await joint.bridge({ from: "in_process", to: "websocket" });
  const a = await world.open("a", ["in_process"]);
  const b = await world.open("b", ["websocket"]);
  await a.serve("a/add", (n) => (n as number) + 1);
  const begun = new Tally<unknown>();
  await b.serve("b/hang", (n) => {
    begun.add(n);
    return new Promise(() => {});
  });
  const heard = new Tally<unknown>();
  await a.listen("b/tick", (value) => heard.add(value));
  const speaker = await b.speaker<number>("b/tick");
  await speaker.shout(1);
  await heard.reach(1);
  await there(b, "a/add");
  await a.waitFor({ pattern: "callable", address: "b/hang" });
  const outcome = code(a.call("b/hang", 1, { timeoutMs: 60_000 }));
  await begun.reach(1);
  await hub.close();
  assert.equal(await outcome, "closed");
  // What was beyond it is not_found at once, not at a deadline.
  await eventually(async () => !(await a.explain("callable", "b/hang")).chosen);
  assert.equal(await code(a.call("b/hang", 2)), "not_found");
  hub = await world.open("hub", ["websocket"], options);
  await there(b, "a/add");
  await eventually(async () => {
    await speaker.shout(2);
    return heard.count >= 2;
  });
  await eventually(async () => (await a.explain("callable", "b/hang")).chosen === "in_process");
  assert.equal(bridge.status[0].counts.pending, 0);
});

Deno.test("a server's process dies behind a bridge: what was pending is closed, then not_found", async () => {
  await using world = await World.make();
  await using place = new Place(); // Its processes end before their runtime directory does.
  const joint = await world.open("joint", ["uds", "in_process"]);
  await joint.bridge({ from: "uds", to: "in_process" });
  const b = await world.open("b", ["in_process"]);
  const main = new URL("../cli/testdata/arm.ts", import.meta.url).pathname;
  const arm = place.deno(["run", "-A", main, world.path]);
  await arm.says(/"ready"/);
  await b.waitFor({ pattern: "callable", address: "arm/never" });
  const outcome = code(b.call("arm/never", 1, { timeoutMs: 60_000 }));
  await eventually(() => {
    const { bridges = [] } = joint.statistics.snapshot(Date.now());
    return bridges.some((one) => one.from === "uds" && one.pending === 1);
  });
  arm.signal("SIGKILL");
  assert.equal(await outcome, "closed");
  await eventually(async () => !(await b.explain("callable", "arm/never")).chosen);
  assert.equal(await code(b.call("arm/never", 1)), "not_found");
});
