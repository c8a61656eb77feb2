import assert from "node:assert/strict";
import inProcess, { Room } from "@patchbay/in_process";
import { type Bay, chaos, type ChaosOptions, type Layer, Patchbay, retry } from "../mod.ts";
import { defineCallable } from "../contract.ts";

const Add = defineCallable<number, number>({ address: "math/add", idempotent: true });

async function opened(...layers: Layer[]): Promise<Bay> {
  return await Patchbay.open({ module: "math", plugins: [inProcess], layers });
}

const dropsOf = (bay: Bay) => bay.statistics.snapshot(0).transports[0].drops.chaos ?? 0;

/** What becomes of so many calls: one letter each. */
async function fates(options: ChaosOptions, calls: number, noise = false): Promise<string> {
  await using bay = await opened(chaos(options));
  await bay.serve(Add, (n) => n + 1);
  await bay.serve("math/other", () => 0);
  let told = "";
  for (let i = 0; i < calls; i++) {
    if (noise) await bay.call("math/other", i).catch(() => {});
    told += await bay.call(Add, i).then(() => ".", (error) => error.code[0]);
  }
  return told;
}

Deno.test("chaos: the same seed gives each message the same fate, whatever goes elsewhere", async () => {
  const options = { seed: 11, fail: 0.3 };
  const first = await fates(options, 60);
  assert.match(first, /^[.c]{60}$/);
  assert.ok(first.includes(".") && first.includes("c"));
  assert.equal(await fates(options, 60), first);
  assert.equal(await fates({ ...options, delayMs: [0, 0] }, 60, true), first);
  assert.notEqual(await fates({ ...options, seed: 12 }, 60), first);
});

Deno.test("chaos: a share of 0 is never, a share of 1 is always", async () => {
  assert.equal(await fates({ seed: 1 }, 30), ".".repeat(30));
  assert.equal(await fates({ seed: 1, fail: 1 }, 30), "c".repeat(30));
});

Deno.test("chaos: a dropped call runs into its deadline, a dropped shout vanishes; both counted", async () => {
  await using bay = await opened(chaos({ seed: 1, drop: 1 }));
  let served = 0;
  await bay.serve(Add, (n) => (served++, n));
  await assert.rejects(bay.call(Add, 1, { timeoutMs: 5 }), { code: "deadline_exceeded" });
  await bay.perform("math/work", () => void served++);
  await assert.rejects(bay.execute("math/work", 1, { timeoutMs: 5 }), {
    code: "deadline_exceeded",
  });
  const heard: unknown[] = [];
  await bay.listen("math/log", (value) => void heard.push(value));
  const speaker = await bay.speaker("math/log");
  speaker.shout(1);
  assert.deepEqual([served, heard, dropsOf(bay)], [0, [], 3]);
});

Deno.test("chaos: a dropped reply: the handler has run, its caller does not learn of it", async () => {
  await using bay = await opened(chaos({ seed: 1, dropReply: 1 }));
  let served = 0;
  await bay.serve(Add, (n) => (served++, n));
  await assert.rejects(bay.call(Add, 1, { timeoutMs: 5 }), { code: "deadline_exceeded" });
  assert.deepEqual([served, dropsOf(bay)], [1, 1]);
});

Deno.test("chaos: what is delayed keeps its order, and arrives", async () => {
  await using bay = await opened(chaos({ seed: 5, delayMs: [0, 20] }));
  const order: number[] = [];
  await bay.serve(Add, (n) => (order.push(n), n));
  const startedMs = performance.now();
  const calls = [1, 2, 3, 4, 5, 6].map((n) => bay.call(Add, n));
  assert.deepEqual(await Promise.all(calls), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(order, [1, 2, 3, 4, 5, 6]);
  assert.ok(performance.now() > startedMs);
  const listener = await bay.listen<number>("math/log");
  const speaker = await bay.speaker<number>("math/log");
  for (const n of [1, 2, 3]) speaker.shout(n);
  const heard: number[] = [];
  for await (const n of listener) if (heard.push(n) === 3) break;
  assert.deepEqual(heard, [1, 2, 3]);
});

Deno.test("chaos: an abort during the delay ends the call, and nothing is sent", async () => {
  await using bay = await opened(chaos({ seed: 5, delayMs: 3_600_000 }));
  let served = 0;
  await bay.serve(Add, (n) => (served++, n));
  const caller = bay.callable(Add);
  await caller.bind();
  const control = new AbortController();
  const call = caller.call(1, { signal: control.signal, timeoutMs: Infinity });
  control.abort("enough");
  await assert.rejects(call, (thrown) => thrown === "enough");
  assert.equal(served, 0);
});

Deno.test("chaos: closing the bay ends what is delayed", async () => {
  const bay = await opened(chaos({ seed: 5, delayMs: 3_600_000 }));
  await bay.serve(Add, (n) => n);
  const caller = bay.callable(Add);
  await caller.bind();
  const call = assert.rejects(caller.call(1, { timeoutMs: Infinity }), { code: "closed" });
  const speaker = await bay.speaker("math/log");
  speaker.shout(1);
  await bay.close();
  await call;
  assert.equal(dropsOf(bay), 1);
});

Deno.test("chaos: sever ends what is in flight and refuses what comes, until restore", async () => {
  const trouble = chaos({ seed: 1 });
  await using bay = await opened(trouble);
  const begun = Promise.withResolvers<void>();
  let hang = true;
  const aborted = Promise.withResolvers<void>();
  await bay.serve(Add, (n, { signal }) => {
    if (!hang) return n;
    signal.addEventListener("abort", () => aborted.resolve());
    begun.resolve();
    return new Promise<number>(() => {});
  });
  const working = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  await bay.perform("math/work", (_, { signal }) => {
    signal.addEventListener("abort", () => stopped.resolve());
    working.resolve();
    return stopped.promise;
  });
  const job = await bay.execute("math/work", 1);
  const call = assert.rejects(bay.call(Add, 1, { timeoutMs: Infinity }), {
    code: "closed",
    retryable: true,
  });
  await Promise.all([begun.promise, working.promise]);
  assert.deepEqual([trouble.severed, bay.wires()[0].health?.status], [false, "healthy"]);
  trouble.sever();
  trouble.sever();
  await Promise.all([call, aborted.promise, stopped.promise]);
  await assert.rejects(job.result, { code: "closed" });
  assert.equal(job.state, "lost");
  assert.deepEqual([trouble.severed, bay.wires()[0].health?.status], [true, "down"]);
  await assert.rejects(bay.call(Add, 1), { code: "closed" });
  await assert.rejects(bay.execute("math/work", 1), { code: "closed" });
  const speaker = await bay.speaker("math/log");
  speaker.shout(1);
  assert.equal(dropsOf(bay), 1);
  hang = false;
  trouble.restore();
  assert.equal(await bay.call(Add, 2), 2);
});

Deno.test("chaos: a wire that is severed by chance heals after severMs, and retry outlasts it", async () => {
  const room = new Room();
  const config = { in_process: { room } };
  await using server = await Patchbay.open({ module: "math", plugins: [inProcess], config });
  await server.serve(Add, (n) => n + 1);
  const layers = [
    retry({ attempts: 1000, minMs: 1, maxMs: 4 }),
    chaos({ seed: 3, sever: 0.2, severMs: 5 }),
  ];
  await using client = await Patchbay.open({
    module: "client",
    plugins: [inProcess],
    config,
    layers,
  });
  for (let i = 0; i < 30; i++) {
    assert.equal(await client.call(Add, i, { timeoutMs: 60_000 }), i + 1);
  }
  assert.ok(client.statistics.snapshot(0).transports[0].retries > 0);
});

Deno.test("chaos: options out of their range are refused", () => {
  const wrong: ChaosOptions[] = [
    { seed: 1, drop: -0.1 },
    { seed: 1, fail: 1.1 },
    { seed: 1, sever: NaN },
    { seed: 1, delayMs: -1 },
    { seed: 1, delayMs: [5, 4] },
    { seed: 1, delayMs: Infinity },
  ];
  for (const options of wrong) assert.throws(() => chaos(options), { code: "invalid" });
});
