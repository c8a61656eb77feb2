/**
 * Bridges between real wires: all three patterns both ways, what goes along, who comes and goes.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type Bay,
  type HandlerContext,
  type Layer,
  PatchbayError,
  prometheusText,
  UNKEPT_HEADER,
} from "@patchbay/core";
import { Tally, until } from "../core/conformance/tally.ts";
import { type WireName, World } from "./bridge_world.ts";

const PAIRS: readonly [WireName, WireName][] = [
  ["in_process", "uds"],
  ["uds", "shared_memory"],
  ["shared_memory", "websocket"],
  ["websocket", "in_process"],
];

/** How long a test waits for something before it is taken to hang. */
const WATCHDOG_MS = 30_000;

async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  await until(check, AbortSignal.timeout(WATCHDOG_MS));
}

async function reason(promise: Promise<unknown>): Promise<PatchbayError> {
  const error = await promise.then(() => assert.fail("it resolved"), (e) => e);
  assert.ok(error instanceof PatchbayError, `${error}`);
  return error;
}

interface Joined extends AsyncDisposable {
  readonly world: World;
  readonly a: Bay;
  readonly b: Bay;
  readonly joint: Bay;
  readonly bridge: Awaited<ReturnType<Bay["bridge"]>>;
}

/** Two bays on two wires, and a bridge. */
async function join(
  from: WireName,
  to: WireName,
  options: Partial<Parameters<Bay["bridge"]>[0]> = {},
  more: Parameters<World["open"]>[2] = {},
): Promise<Joined> {
  const world = await World.make();
  const hub = from === "websocket" || to === "websocket";
  const joint = await world.open("joint", [from, to], { hub, ...more });
  const bridge = await joint.bridge({ from, to, ...options });
  const a = await world.open("a", [from]);
  const b = await world.open("b", [to]);
  return { world, a, b, joint, bridge, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

for (const [from, to] of PAIRS) {
  Deno.test(`bridge ${from} ↔ ${to}: calls, shouts and jobs go both ways`, async () => {
    await using joined = await join(from, to);
    const { a, b, bridge } = joined;
    for (const [here, there, name] of [[a, b, "one"], [b, a, "other"]] as const) {
      await here.serve(`${name}/double`, (n) => 2 * (n as number));
      await here.perform(`${name}/count`, async function* (goal) {
        for (let i = 1; i <= (goal as number); i++) yield i;
        await Promise.resolve();
        return "done";
      });
      const heard = new Tally<unknown>();
      await there.listen(`${name}/tick`, (value) => heard.add(value));
      await there.waitFor({ pattern: "callable", address: `${name}/double` });
      assert.equal(await there.call(`${name}/double`, 21), 42);
      await there.waitFor({ pattern: "job", address: `${name}/count` });
      const job = await there.execute(`${name}/count`, 3);
      const feedback: unknown[] = [];
      for await (const value of job.feedback) feedback.push(value);
      assert.deepEqual([feedback, await job.result], [[1, 2, 3], "done"]);
      const speaker = await here.speaker(`${name}/tick`);
      for (const n of [1, 2, 3]) await speaker.shout(n);
      assert.deepEqual(await heard.reach(3), [1, 2, 3], "the first shout is heard");
    }
    const counts = bridge.status.map((one) => one.counts);
    for (const { calls, shouts, jobs, feedback, pending, errors, drops } of counts) {
      assert.deepEqual({ calls, shouts, jobs, feedback, pending, errors, drops }, {
        calls: 1,
        shouts: 3,
        jobs: 1,
        feedback: 3,
        pending: 0,
        errors: {},
        drops: {},
      });
    }
    assert.deepEqual(counts.map(({ from, to }) => [from, to]), [[from, to], [to, from]]);
  });

  Deno.test(`bridge ${from} ↔ ${to}: who comes later is there, who goes is not_found`, async () => {
    await using joined = await join(from, to);
    const { a, b, bridge } = joined;
    await bridge.refresh();
    assert.equal((await reason(b.call("a/late", 1))).code, "not_found");
    const served = await a.serve("a/late", () => "here");
    await b.waitFor({ pattern: "callable", address: "a/late" });
    assert.equal(await b.call("a/late", 1), "here");
    await served.close();
    await bridge.refresh();
    assert.equal((await reason(b.call("a/late", 1))).code, "not_found");
    await a.serve("a/late", () => "again");
    await bridge.refresh();
    await b.waitFor({ pattern: "callable", address: "a/late" });
    assert.equal(await b.call("a/late", 1), "again");
    await a.close();
    await eventually(async () => !(await b.explain("callable", "a/late")).chosen);
    assert.equal((await reason(b.call("a/late", 1))).code, "not_found");
  });
}

Deno.test("bridge: headers, trace context, urgency and time go along; the peer is the bridge", async () => {
  await using joined = await join("uds", "websocket");
  const { a, b, bridge } = joined;
  const contexts: Partial<HandlerContext>[] = [];
  await a.serve("a/look", (_, { headers, peer, remainingMs, priority }) => {
    contexts.push({ headers, peer, remainingMs, priority });
  });
  await a.perform("a/work", (_goal, { headers, peer, priority, id }) => {
    contexts.push({ headers, peer, priority });
    return id;
  });
  await bridge.refresh();
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const headers = { unit: "mm", traceparent };
  await b.call("a/look", {}, { headers, priority: 200, timeoutMs: 4000 });
  const job = await b.execute("a/work", null, { headers, priority: 201 });
  assert.equal(await job.result, job.id, "a job has one id on both sides");
  const [call, goal] = contexts;
  for (const each of contexts) {
    assert.deepEqual(each.headers, headers, "nothing is put on where no other bridge is beyond");
    assert.equal(each.peer?.module, "joint");
    assert.equal(each.peer?.transport, "uds");
  }
  assert.deepEqual([call.priority, goal.priority], [200, 201]);
  const { remainingMs = 0 } = call;
  assert.ok(remainingMs > 0 && remainingMs < 4000, `${remainingMs} ms remain`);
});

Deno.test("bridge: an error passes with its code, message, details and remedy", async () => {
  await using joined = await join("in_process", "uds");
  const { a, b, bridge } = joined;
  await a.serve("a/refuse", () => {
    throw new PatchbayError("too_large", "it does not fit", {
      details: { size: 7, max: 5 },
      remedy: "cut it",
      retryable: false,
    });
  });
  await a.serve("a/throw", () => {
    throw new RangeError("over the edge");
  });
  await bridge.refresh();
  const error = await reason(b.call("a/refuse", 1));
  assert.deepEqual([error.code, error.message, error.details, error.remedy], [
    "too_large",
    "it does not fit",
    { size: 7, max: 5 },
    "cut it",
  ]);
  const other = await reason(b.call("a/throw", 1));
  assert.deepEqual([other.code, other.message, other.details?.name], [
    "remote",
    "over the edge",
    "RangeError",
  ]);
  assert.deepEqual(bridge.status[0].counts.errors, { too_large: 1, remote: 1 });
});

Deno.test("bridge: who gives up, by a signal or the deadline, is heard on the other side", async () => {
  await using joined = await join("uds", "websocket");
  const { a, b, bridge } = joined;
  const aborted = new Tally<string>();
  const begun = new Tally<string>();
  await a.serve("a/hang", (name, { signal }) => {
    begun.add(name as string);
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => {
        aborted.add(name as string);
        resolve(null);
      })
    );
  });
  await bridge.refresh();
  const control = new AbortController();
  const call = b.call("a/hang", "signal", { signal: control.signal });
  call.catch(() => {});
  await begun.reach(1);
  control.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  assert.deepEqual(await aborted.reach(1), ["signal"]);
  const late = await reason(b.call("a/hang", "deadline", { timeoutMs: 50 }));
  assert.equal(late.code, "deadline_exceeded");
  assert.deepEqual(await aborted.reach(2), ["signal", "deadline"]);
  await eventually(() => bridge.status[0].counts.pending === 0);
});

Deno.test("bridge: a job is cancelled and abandoned through it, and is rejected with its reason", async () => {
  await using joined = await join("uds", "shared_memory");
  const { a, b, bridge } = joined;
  const stopped = new Tally<string>();
  await a.perform("a/endless", async (_goal, { signal, feedback }) => {
    feedback("begun");
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    stopped.add((signal.reason as Error).message);
    throw signal.reason;
  }, { accept: (goal) => goal === "bad" ? "not this one" : true });
  await bridge.refresh();
  const refused = await reason(b.execute("a/endless", "bad"));
  assert.equal(refused.message, "not this one");
  const job = await b.execute("a/endless", null);
  for await (const _ of job.feedback) break;
  job.cancel(new Error("the door is open"));
  await assert.rejects(job.result, /the door is open/);
  assert.deepEqual(await stopped.reach(1), ["the door is open"]);
  const control = new AbortController();
  const other = await b.execute("a/endless", null, { signal: control.signal });
  control.abort(new Error("no longer"));
  await assert.rejects(other.result, /no longer/);
  assert.equal((await stopped.reach(2)).length, 2);
  await eventually(() => bridge.status[0].counts.pending === 0);
});

Deno.test("bridge: a retained value is there for late listeners that ask, and for them alone", async () => {
  for (const [from, to] of PAIRS) {
    await using joined = await join(from, to);
    const { a, b, bridge } = joined;
    const speaker = await a.speaker("a/state", { retain: true });
    await speaker.shout("first");
    await speaker.shout("last");
    await eventually(() => bridge.status[0].counts.shouts === 2);
    const asking = new Tally<unknown>();
    const other = new Tally<unknown>();
    await b.listen("a/state", (value, { retained }) => asking.add([value, retained]), {
      retained: true,
    });
    await b.listen("a/state", (value) => other.add(value));
    await speaker.shout("new");
    assert.deepEqual(await asking.reach(2), [["last", true], ["new", false]], `${from} ${to}`);
    assert.deepEqual(await other.reach(1), ["new"]);
  }
});

Deno.test("bridge: a shout that is not to be kept takes the place of no retained value", async () => {
  for (const [from, to] of PAIRS) {
    await using joined = await join(from, to);
    const { a, b, bridge } = joined;
    const speaker = await a.speaker("a/state", { retain: true });
    const far = new Tally<unknown>();
    await speaker.shout("state");
    await speaker.shout("question", { headers: { [UNKEPT_HEADER]: "1" } });
    await eventually(() => bridge.status[0].counts.shouts === 2);
    await b.listen("a/state", (value, { retained }) => far.add([value, retained]), {
      retained: true,
    });
    await speaker.shout("new");
    assert.deepEqual(await far.reach(2), [["state", true], ["new", false]], `${from} ${to}`);
  }
});

Deno.test("bridge: what was retained before the bridge came is there behind it", async () => {
  await using world = await World.make();
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["shared_memory"]);
  const speaker = await a.speaker("a/state", { retain: true });
  await speaker.shout("kept");
  const early = new Tally<unknown>();
  await b.listen("a/state", (value, { retained }) => early.add([value, retained]), {
    retained: true,
  });
  const joint = await world.open("joint", ["uds", "shared_memory"]);
  await joint.bridge({ from: "uds", to: "shared_memory" });
  assert.deepEqual(await early.reach(1), [["kept", true]]);
  const late = new Tally<unknown>();
  await b.listen("a/state", (value, { retained }) => late.add([value, retained]), {
    retained: true,
  });
  assert.deepEqual(await late.reach(1), [["kept", true]]);
});

Deno.test("bridge: match, patterns and oneWay say what is carried", async () => {
  await using joined = await join("in_process", "uds", {
    match: ["arm/*", "arm/left/**"],
    patterns: ["callable"],
    oneWay: true,
  });
  const { a, b, bridge } = joined;
  for (const address of ["arm/move", "arm/left/grip/open", "leg/move"]) {
    await a.serve(address, () => address);
  }
  await a.perform("arm/work", () => 1);
  await b.serve("arm/back", () => 1);
  await bridge.refresh();
  assert.equal(await b.call("arm/move", 0), "arm/move");
  assert.equal(await b.call("arm/left/grip/open", 0), "arm/left/grip/open");
  for (const address of ["leg/move", "arm/work"]) {
    assert.equal((await reason(b.call(address, 0))).code, "not_found");
  }
  assert.equal((await reason(b.execute("arm/work", 0))).code, "not_found");
  assert.equal((await reason(a.call("arm/back", 0))).code, "not_found");
  assert.equal(bridge.status.length, 1);
});

Deno.test("bridge: an address that is taken on the far side is refused, and carried once it is free", async () => {
  await using world = await World.make();
  const joint = await world.open("joint", ["uds", "websocket"], { hub: true });
  const a = await world.open("a", ["uds"]);
  const b = await world.open("b", ["websocket"]);
  const held = await b.serve("both/have", () => "b");
  await a.serve("both/have", () => "a");
  const bridge = await joint.bridge({ from: "uds", to: "websocket" });
  const status = bridge.status[0].addresses.find((one) => one.address === "both/have");
  assert.equal(status?.state, "refused");
  assert.match(status?.reason ?? "", /websocket/);
  const caller = await world.open("caller", ["websocket"]);
  assert.equal(await caller.call("both/have", 0), "b");
  await held.close();
  await eventually(async () => {
    return await caller.call("both/have", 0).then((v) => v === "a", () => false);
  });
});

Deno.test("bridge: what several share is shared on the far side, too", async () => {
  await using joined = await join("uds", "websocket");
  const { world, a, b, bridge } = joined;
  const sharing = "shared" as const;
  const other = await world.open("other", ["uds"]);
  await a.serve("pool/work", () => "a", { sharing });
  await other.serve("pool/work", () => "other", { sharing });
  await b.serve("pool/work", () => "b", { sharing });
  await bridge.refresh();
  const caller = await world.open("caller", ["websocket"]);
  const answers = new Set<unknown>();
  for (let i = 0; i < 24; i++) answers.add(await caller.call("pool/work", i));
  assert.deepEqual([...answers].sort(), ["a", "b", "other"]);
});

Deno.test("bridge: authorize of its bay is asked for whoever comes to it, on either wire", async () => {
  const asked: string[] = [];
  await using joined = await join("uds", "websocket", {}, {
    authorize: (peer, verb, address) => {
      asked.push(`${peer.module} ${peer.transport} ${verb} ${address}`);
      return address !== "a/secret";
    },
  });
  const { a, b, bridge } = joined;
  await a.serve("a/secret", () => "gold");
  await a.serve("a/open", () => "bread");
  await bridge.refresh();
  assert.equal((await reason(b.call("a/secret", 0))).code, "forbidden");
  assert.equal(await b.call("a/open", 0), "bread");
  assert.ok(asked.includes("b websocket call a/open"), asked.join("; "));
});

Deno.test("bridge: block holds the speaker back, and nothing is lost", async () => {
  await using joined = await join("uds", "websocket", { overflow: "block", maxQueue: 8 });
  const { a, b, bridge } = joined;
  const gate = Promise.withResolvers<void>();
  const heard = new Tally<unknown>();
  await b.listen("a/flood", async (value) => {
    await gate.promise;
    heard.add(value);
  }, { overflow: "block", maxQueue: 4 });
  const speaker = await a.speaker<number>("a/flood");
  let sent = 0;
  const shouting = (async () => {
    for (let n = 1; n <= 500; n++) {
      await speaker.shout(n);
      sent = n;
    }
  })();
  await eventually(() => bridge.status[0].counts.shouts > 4);
  // What fits into the three queues, twice over; without holding back it would be all of them.
  const once = sent;
  assert.ok(once < 100, `${once} were sent`);
  gate.resolve();
  await shouting;
  assert.deepEqual(await heard.reach(500), Array.from({ length: 500 }, (_, i) => i + 1));
  assert.deepEqual(bridge.status[0].counts.drops, {});
});

Deno.test("bridge: a flood past a listener that hangs is bounded, counted, and holds up no other", async () => {
  await using joined = await join("uds", "websocket", { maxQueue: 16 });
  const { a, b, bridge } = joined;
  const gate = Promise.withResolvers<void>();
  const stuck = new Tally<unknown>();
  await b.listen("a/flood", async (value) => {
    stuck.add(value);
    await gate.promise;
  }, { overflow: "block", maxQueue: 4 });
  const quick = new Tally<unknown>();
  await b.listen("a/tick", (value) => quick.add(value));
  const flood = await a.speaker<number>("a/flood");
  const tick = await a.speaker<number>("a/tick");
  for (let n = 1; n <= 5000; n++) {
    await flood.shout(n);
    if (n % 500 !== 0) continue;
    await tick.shout(n);
    // Its own wire is not the one that is flooded here.
    await eventually(() => quick.count === n / 500);
  }
  assert.equal((await quick.reach(10)).length, 10, "another address goes on");
  const dropped = () => bridge.status[0].counts.drops.overflow_oldest ?? 0;
  const carried = () => bridge.status[0].counts.shouts - 10;
  await eventually(() => dropped() + carried() + 16 >= 5000);
  gate.resolve();
  await eventually(() => dropped() + carried() === 5000);
  await eventually(() => stuck.count === carried());
});

Deno.test("bridge: over maxConcurrent a call is overloaded, and a place is free again after", async () => {
  await using joined = await join("in_process", "uds", { maxConcurrent: 2 });
  const { a, b, bridge } = joined;
  const gate = Promise.withResolvers<void>();
  const begun = new Tally<unknown>();
  await a.serve("a/slow", async (n) => {
    begun.add(n);
    await gate.promise;
    return n;
  });
  await bridge.refresh();
  const calls = [b.call("a/slow", 1), b.call("a/slow", 2)];
  await begun.reach(2);
  assert.equal((await reason(b.call("a/slow", 3))).code, "overloaded");
  gate.resolve();
  assert.deepEqual(await Promise.all(calls), [1, 2]);
  assert.equal(await b.call("a/slow", 4), 4);
});

/** A wire that cannot be watched, as brokers are: the real one, without its answer. */
const unwatched = (wire: WireName): Layer => (transport, { plugin }) =>
  plugin.name === wire
    ? new Proxy(transport, {
      get(target, name) {
        if (name === "watch") return undefined;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    })
    : transport;

Deno.test("bridge: a wire that cannot be watched is heard by pattern, and asked for literal addresses", async () => {
  const layers = [unwatched("websocket")];
  const match = ["b/**", "a/**", "b/add"];
  await using joined = await join("uds", "websocket", { match }, { layers });
  const { world, a, b, bridge } = joined;
  // Towards it everything is as ever.
  await a.serve("a/add", (n) => (n as number) + 1);
  await bridge.refresh();
  assert.equal(await b.call("a/add", 1), 2);
  // From it, speakers by pattern, callables by name.
  const heard = new Tally<unknown>();
  await a.listen("b/tick", (value) => heard.add(value));
  const speaker = await b.speaker("b/tick");
  await speaker.shout("one");
  await speaker.shout("two");
  assert.deepEqual(await heard.reach(2), ["one", "two"]);
  const served = await b.serve("b/add", (n) => (n as number) + 2);
  await b.serve("b/other", () => "not by name");
  await a.waitFor({ pattern: "callable", address: "b/add" });
  assert.equal(await a.call("b/add", 1), 3);
  assert.equal((await reason(a.call("b/other", 1))).code, "not_found");
  await served.close();
  await eventually(async () => !(await a.explain("callable", "b/add")).chosen);
  // What came from there does not go back.
  const echo = new Tally<unknown>();
  const ear = await world.open("ear", ["websocket"]);
  await ear.listen("b/tick", (value) => echo.add(value));
  await speaker.shout("three");
  await heard.reach(3);
  assert.deepEqual(await echo.reach(1), ["three"]);
  assert.equal(bridge.status[0].counts.shouts, 0);
});

Deno.test("bridge: its counters are in the statistics and in Prometheus' text", async () => {
  await using joined = await join("in_process", "uds");
  const { a, b, joint, bridge } = joined;
  await a.serve("a/echo", (v) => v);
  await bridge.refresh();
  for (let i = 0; i < 3; i++) await b.call("a/echo", i);
  const snapshot = joint.statistics.snapshot(Date.now());
  const one = snapshot.bridges?.find((each) => each.from === "in_process");
  assert.deepEqual([one?.calls, one?.offers, one?.to], [3, 1, "uds"]);
  const lines = prometheusText(snapshot).split("\n");
  const labels = 'from="in_process",to="uds"';
  assert.ok(lines.includes(`patchbay_bridge_carried_total{${labels},what="calls"} 3`));
  assert.ok(lines.includes(`patchbay_bridge_offers{${labels}} 1`));
});

Deno.test("bridge: wrong options are refused by name, with a remedy", async () => {
  await using world = await World.make();
  const bay = await world.open("joint", ["in_process", "uds"]);
  const wrong = async (options: Record<string, unknown>): Promise<PatchbayError> =>
    await reason(bay.bridge({ from: "in_process", to: "uds", ...options } as never));
  for (
    const [options, text] of [
      [{ to: "in_process" }, /leads nowhere/],
      [{ to: "udz" }, /no wire "udz"/],
      [{ match: [] }, /needs a pattern/],
      [{ match: "Arm/**" }, /./],
      [{ maxQueue: 0 }, /maxQueue/],
      [{ patterns: ["call"] }, /patterns/],
      [{ callTimeoutMs: -1 }, /callTimeoutMs/],
    ] as const
  ) {
    const error = await wrong(options);
    assert.equal(error.code, "invalid", JSON.stringify(options));
    assert.match(error.message, text);
  }
  const deaf = await world.open("deaf", ["in_process", "websocket"], {
    config: { in_process: {}, websocket: {} },
  });
  const error = await reason(deaf.bridge({ from: "in_process", to: "websocket" }));
  assert.equal(error.code, "unavailable");
  assert.match(error.remedy ?? "", /config\.websocket/);
});

Deno.test("bridge: an address that the far wire refuses holds up no other, also with overflow block", async () => {
  await using world = await World.make();
  // The hub is on its own, and forbids one address to the bridge.
  const hub = await world.open("hub", ["websocket"], {
    hub: true,
    authorize: (_peer, verb, address) => !(verb === "shout" && address === "a/bad"),
  });
  const joint = await world.open("joint", ["uds", "websocket"], { onReport: () => {} });
  const a = await world.open("a", ["uds"]);
  const heard: unknown[] = [];
  await hub.listen("a/good", (value) => void heard.push(value));
  const bad = await a.speaker("a/bad");
  const good = await a.speaker("a/good");
  const options = { overflow: "block", maxQueue: 4, oneWay: true } as const;
  const bridge = await joint.bridge({ from: "uds", to: "websocket", ...options });
  await eventually(() =>
    bridge.status[0].addresses.some(({ address, state }) =>
      address === "a/bad" && state === "refused"
    )
  );
  for (let i = 0; i < 20; i++) {
    await bad.shout(i);
    await good.shout(i);
  }
  await eventually(() => heard.length === 20);
  await eventually(() => (bridge.status[0].counts.drops.forbidden ?? 0) >= 20);
  await bad.close();
  await good.shout(20);
  await eventually(() => heard.length === 21);
});
