import assert from "node:assert/strict";
import { type Bay, createRing, defineCallable, open, PatchbayError } from "@patchbay/core";
import { ringMemory, say } from "./greeting.ts";
import worker, { type WorkerConfig } from "./mod.ts";
import { createWorker } from "./plugin.ts";
import { type PortLink } from "./port_link.ts";
import { PostLink } from "./post_link.ts";
import { RingLink } from "./ring_link.ts";

const FAR = new URL("./testdata/far.ts", import.meta.url);
const Echo = defineCallable<unknown, unknown>({ address: "far/echo" });
const WATCHDOG_MS = 20_000;

/** A test that ends when it hangs. */
function test(name: string, run: () => Promise<void>): void {
  Deno.test(`worker: ${name}`, async () => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("it hangs")), WATCHDOG_MS);
    });
    await Promise.race([run(), late]).finally(() => clearTimeout(timer));
  });
}

async function until(claim: () => boolean | Promise<boolean>): Promise<void> {
  while (!await claim()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A parent, with what it reported and the links it has. */
async function parent(config: Partial<WorkerConfig> = {}) {
  const reports: PatchbayError[] = [];
  const links: PortLink[] = [];
  const plugin = createWorker({ onLink: (link) => links.push(link) });
  const bay = await open({
    module: "near",
    plugins: [plugin],
    config: { worker: config },
    onReport: (error) => void reports.push(error),
  });
  return {
    bay,
    reports,
    links,
    workers: bay.transport(plugin),
    [Symbol.asyncDispose]: () => bay.close(),
  };
}

async function code(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof PatchbayError, `${error} is no PatchbayError`);
  return error.code;
}

/** Waits until a call that never ends has been taken. */
async function hang(bay: Bay): Promise<{ readonly call: Promise<unknown> }> {
  const call = bay.call("far/hang", 1, { timeoutMs: Infinity });
  call.catch(() => {});
  // Calls of one connection are taken in order.
  await bay.call(Echo, 1);
  return { call };
}

for (const shared of [true, false]) {
  const how = shared ? "over shared memory" : "over messages";

  test(`a spawned worker is called, heard and works, ${how}`, async () => {
    await using near = await parent({ shared });
    near.workers.spawn(FAR);
    await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
    assert.equal(near.links[0] instanceof (shared ? RingLink : PostLink), true);
    const value = { text: "grüße", bytes: new Uint8Array([1, 2, 3]), list: [1, null, true] };
    assert.deepEqual(await near.bay.call(Echo, value), value);
    const large = new Uint8Array(3_000_000).map((_, i) => i % 251);
    assert.deepEqual(await near.bay.call(Echo, large), large);
    const said = Promise.withResolvers<unknown>();
    await near.bay.listen("far/said", said.resolve, { retained: true });
    assert.equal(await said.promise, "here");
    await near.bay.waitFor({ pattern: "job", address: "far/count" } as never);
    const job = await near.bay.execute<number, number, number>("far/count", 5);
    const feedback = await Array.fromAsync(job.feedback);
    assert.deepEqual([feedback, await job.result], [[1, 2, 3, 4, 5], 5]);
  });

  test(`what a handler throws carries its message and code, ${how}`, async () => {
    await using near = await parent({ shared });
    near.workers.spawn(FAR);
    await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
    await near.bay.waitFor(defineCallable({ address: "far/throw" }));
    await assert.rejects(near.bay.call("far/refuse", 1), {
      code: "overloaded",
      message: /the far side has enough/,
      details: { left: 3 },
    });
    await assert.rejects(near.bay.call("far/throw", 1), {
      code: "remote",
      message: /not a number/,
    });
  });

  test(`terminate() rejects what is pending, and it is gone, ${how}`, async () => {
    await using near = await parent({ shared });
    const far = near.workers.spawn(FAR);
    await near.bay.waitFor(defineCallable({ address: "far/hang" }));
    const { call } = await hang(near.bay);
    far.terminate();
    far.terminate();
    await assert.rejects(call, { code: "closed", message: /was terminated/ });
    assert.equal(await code(near.bay.call(Echo, 1)), "not_found");
  });

  test(`a worker that is terminated behind the bay's back is noticed, ${how}`, async () => {
    await using near = await parent({ shared });
    const raw = new Worker(FAR, { type: "module" });
    near.workers.adopt(raw);
    await near.bay.waitFor(defineCallable({ address: "far/hang" }));
    const { call } = await hang(near.bay);
    raw.terminate();
    assert.equal(await code(call), "closed");
    await until(async () => await code(near.bay.call(Echo, 1)) === "not_found");
  });

  test(`a worker that closes itself is noticed, ${how}`, async () => {
    await using near = await parent({ shared });
    near.workers.spawn(FAR);
    await near.bay.waitFor(defineCallable({ address: "far/leave" }));
    assert.equal(await code(near.bay.call("far/leave", 1, { timeoutMs: Infinity })), "closed");
  });

  test(`what nobody catches in a worker is reported, and what was pending ends, ${how}`, async () => {
    await using near = await parent({ shared });
    near.workers.spawn(FAR, { name: '{"waits":false}' });
    await near.bay.waitFor(defineCallable({ address: "far/blow_up" }));
    assert.equal(await code(near.bay.call("far/blow_up", 1, { timeoutMs: Infinity })), "closed");
    await until(() => near.reports.length > 0);
    assert.equal(near.reports[0].code, "remote");
    assert.match(near.reports[0].message, /nobody catches this/);
  });

  test(`the port's other messages are not disturbed, nor do they disturb, ${how}`, async () => {
    await using near = await parent({ shared });
    const raw = new Worker(FAR, { type: "module" });
    const heard: unknown[] = [];
    raw.onmessage = ({ data }) => {
      if (!(typeof data === "object" && "patchbay" in data)) heard.push(data);
    };
    near.workers.adopt(raw);
    const { port1, port2 } = new MessageChannel();
    for (
      const odd of [
        null,
        0,
        "",
        "accept",
        { say: "dial" },
        { patchbay: "worker.v1" },
        {
          patchbay: "worker.v1",
          say: "dance",
        },
        { patchbay: "worker.v1", say: "accept", rings: "none" },
        new Uint8Array(3),
        [[]],
      ]
    ) raw.postMessage(odd);
    raw.postMessage({ patchbay: "worker.v1", say: "dial", abilities: 3 }, [port2]);
    raw.postMessage("ping");
    await near.bay.waitFor(defineCallable({ address: "far/heard" }));
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ["pong"]);
    assert.equal(await near.bay.call(Echo, "still"), "still");
    assert.deepEqual(near.reports, []);
    port1.close();
    raw.terminate();
  });
}

test("a worker that has waited for its parent is found when it is adopted", async () => {
  const raw = new Worker(FAR, { type: "module" });
  // It dials, and nobody is there: its first attempt is given up.
  const dialled = Promise.withResolvers<void>();
  raw.onmessage = () => dialled.resolve();
  await dialled.promise;
  await using near = await parent();
  near.workers.adopt(raw);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  assert.equal(await near.bay.call(Echo, 1), 1);
  raw.terminate();
});

test("a worker that opens its bay long after it was adopted is found", async () => {
  await using near = await parent();
  const raw = new Worker(FAR, { type: "module", name: '{"waits":true}' });
  const waiting = Promise.withResolvers<void>();
  raw.onmessage = ({ data }) => data === "waiting" && waiting.resolve();
  near.workers.adopt(raw);
  await waiting.promise;
  raw.postMessage("begin");
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  raw.terminate();
});

test("an adopted worker outlives the bay, and another bay can adopt it", async () => {
  const raw = new Worker(FAR, { type: "module" });
  for (let round = 0; round < 3; round++) {
    await using near = await parent({ shared: round !== 1 });
    near.workers.adopt(raw);
    await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
    assert.equal(await near.bay.call(Echo, round), round);
  }
  raw.terminate();
});

test("a spawned worker ends with the bay", async () => {
  const near = await parent();
  const { worker: raw } = near.workers.spawn(FAR);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  await near.bay.close();
  let pongs = 0;
  raw.addEventListener("message", () => pongs++);
  raw.postMessage("ping");
  // Another worker, started later, answers first.
  const other = new Worker(FAR, { type: "module", name: '{"waits":true}' });
  await new Promise<void>((resolve) => other.onmessage = () => resolve());
  other.terminate();
  assert.equal(pongs, 0);
  assert.throws(() => near.workers.spawn(FAR), { code: "closed" });
});

test("a worker is adopted once, and again after it was released", async () => {
  await using near = await parent();
  const raw = new Worker(FAR, { type: "module" });
  const adopted = near.workers.adopt(raw);
  assert.throws(() => near.workers.adopt(raw), { code: "invalid", remedy: /release\(\)/ });
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  await adopted.release();
  await adopted.release();
  assert.equal(await code(near.bay.call(Echo, 1)), "not_found");
  near.workers.adopt(raw);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  raw.terminate();
});

test("a worker that cannot be loaded is reported", async () => {
  await using near = await parent();
  near.workers.spawn(new URL("./testdata/no_such_worker.ts", import.meta.url), { name: "lost" });
  await until(() => near.reports.length > 0);
  assert.match(near.reports[0].message, /^lost: /);
});

test("workers reach one another through their parent", async () => {
  await using near = await parent();
  near.workers.spawn(FAR);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  const channel = new MessageChannel();
  near.workers.adopt(channel.port2);
  await using other = await open({
    module: "other",
    plugins: [worker],
    config: { worker: { port: channel.port1 } },
  });
  assert.equal(await other.call(Echo, "across"), "across");
  assert.throws(() => other.transport(worker).spawn(FAR), { code: "invalid", remedy: /parent/ });
  await other.close();
  channel.port1.close();
  channel.port2.close();
});

test("where only one side wants shared memory, messages are used", async () => {
  await using near = await parent({ shared: true });
  const channel = new MessageChannel();
  near.workers.adopt(channel.port2);
  const plugin = createWorker();
  await using other = await open({
    module: "other",
    plugins: [plugin],
    config: { worker: { port: channel.port1, shared: false } },
  });
  await other.serve("other/echo", (value) => value);
  assert.equal(await near.bay.call("other/echo", 1), 1);
  assert.ok(near.links[0] instanceof PostLink);
  await other.close();
  channel.port1.close();
  channel.port2.close();
});

test("a worker without Atomics.waitAsync is woken by messages", async () => {
  await using near = await parent({ spinUs: 0 });
  near.workers.spawn(FAR, { name: '{"without":["waitAsync"]}' });
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  assert.ok(near.links[0] instanceof RingLink);
  for (let n = 0; n < 20; n++) {
    assert.equal(await near.bay.call(Echo, n), n);
    // Both sides fall asleep in between.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const large = new Uint8Array(2_000_000).fill(7);
  assert.deepEqual(await near.bay.call(Echo, large), large);
});

test("without Web Locks the death of a worker is noticed by its silence", async () => {
  await using near = await parent({ heartbeatMs: 100 });
  const raw = new Worker(FAR, { type: "module", name: '{"without":["locks"],"heartbeatMs":100}' });
  near.workers.adopt(raw);
  await near.bay.waitFor(defineCallable({ address: "far/hang" }));
  assert.equal(near.links[0].detectsClose, false);
  const { call } = await hang(near.bay);
  raw.terminate();
  assert.equal(await code(call), "closed");
});

test("a peer that breaks the ring is told off, and only its link ends", async () => {
  await using near = await parent();
  near.workers.spawn(FAR);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  const way = new MessageChannel();
  near.workers.adopt(way.port2);
  const { port1, port2 } = new MessageChannel();
  const bye = Promise.withResolvers<void>();
  port1.onmessage = ({ data }) => {
    if (data.say === "bye") return bye.resolve();
    if (data.say !== "accept") return;
    say(port1, { say: "ready", shared: true });
    // The head of the ring, far past what it holds.
    const { toParent } = ringMemory(data.capacity);
    Atomics.store(new Int32Array(data.rings, toParent), 32, 1 << 28);
    port1.postMessage(0);
  };
  say(way.port1, { say: "dial", abilities: { shares: true, waits: true } }, [port2]);
  await bye.promise;
  assert.deepEqual(near.reports.map((report) => report.code), ["protocol"]);
  assert.equal(await near.bay.call(Echo, "whole"), "whole");
  for (const port of [port1, way.port1, way.port2]) port.close();
});

test("a parent that offers memory without rings is refused, and the reason is told", async () => {
  const way = new MessageChannel();
  const plugin = createWorker();
  way.port2.onmessage = ({ data, ports }) => {
    if (data.say !== "dial") return;
    const rings = new SharedArrayBuffer(ringMemory(65_536).bytes);
    createRing(rings, 4096, { offset: ringMemory(65_536).toWorker });
    say(ports[0], {
      say: "accept",
      abilities: { shares: true, waits: true },
      rings,
      capacity: 65_536,
    });
  };
  await using bay = await open({
    module: "wary",
    plugins: [plugin],
    config: { worker: { port: way.port1 } },
  });
  const error = await bay.call("any/thing", 1).then(() => undefined, (reason) => reason);
  assert.equal(error.code, "not_found");
  assert.match(error.message, /no ring|ring/);
  await bay.close();
  way.port1.close();
  way.port2.close();
});

test("an idle pair takes no CPU", async () => {
  await using near = await parent();
  near.workers.spawn(FAR);
  await near.bay.waitFor(Echo, { timeoutMs: WATCHDOG_MS });
  for (let n = 0; n < 100; n++) await near.bay.call(Echo, n);
  // proc_pid_stat(5): utime and stime, in ticks of 10 ms; the name may hold blanks.
  const ticks = () => {
    const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const measured: number[] = [];
  // What follows the start (a garbage collection, say) is over in one of five seconds.
  for (let second = 0; second < 5 && !measured.some((each) => each < 5); second++) {
    const before = ticks();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    measured.push(ticks() - before);
  }
  assert.ok(Math.min(...measured) < 5, `${measured} ticks of 10 ms in a second each`);
});
