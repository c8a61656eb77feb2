import assert from "node:assert/strict";
import { CASES, conformance, type Fixture, type Meeting } from "@patchbay/core/conformance";
import inProcess, { Room } from "@patchbay/in_process";
import inProcessFixture from "../plugins/in_process/fixture.ts";
import {
  deriveJobs,
  type OpenOptions,
  type OutboundCall,
  Patchbay,
  PatchbayError,
  type Plugin,
  type Transport,
  type TransportContext,
  wrapTransport,
} from "./mod.ts";

/** in_process as if it had no jobs: they are derived. */
function derived(tamper: (transport: Transport) => Transport = (t) => t): Plugin {
  const plugin = inProcess as Plugin;
  return {
    ...plugin,
    traits: { ...plugin.traits, job: "derived" },
    open: async (context, config) => {
      const { perform: _p, executor: _e, ...rest } = wrapTransport(
        await plugin.open(context, config),
        {},
      );
      return deriveJobs(tamper(rest), context);
    },
  };
}

function meeting(checkValues: boolean): Promise<Meeting> {
  const room = new Room();
  const plugin = derived();
  return Promise.resolve({
    options: (module, overrides): OpenOptions => ({
      ...overrides,
      module,
      plugins: [plugin],
      config: { in_process: { room, checkValues } },
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

const fixture: Fixture = {
  ...inProcessFixture,
  plugin: derived(),
  name: "derived jobs",
  refusesUnportable: true,
  meeting: () => meeting(true),
};

conformance(
  fixture,
  CASES.filter((one) => one.pattern === "job" || one.name.startsWith("lifecycle")),
);

/** Two bays in one room: the worker's and the owner's, on a wire that is tampered with. */
async function pair(tamper: (transport: Transport) => Transport = (t) => t) {
  const config = { in_process: { room: new Room() } };
  const open = (module: string) => Patchbay.open({ module, plugins: [derived(tamper)], config });
  const worker = await open("worker");
  const owner = await open("owner");
  return {
    worker,
    owner,
    drops: () => {
      const { endpoints } = owner.statistics.snapshot(0);
      return endpoints.find((each) => each.role === "client")?.drops;
    },
    [Symbol.asyncDispose]: async () => {
      await owner.close();
      await worker.close();
    },
  };
}

/** A wire that loses feedback. */
function losing(lost: (sequence: number) => boolean): (transport: Transport) => Transport {
  return (transport) =>
    wrapTransport(transport, {
      speak: async (endpoint, next) => {
        const port = await next(endpoint);
        return {
          listeners: 0,
          shout: (value, event) => {
            if (!lost((value as { sequence: number }).sequence)) return port.shout(value, event);
          },
          close: () => port.close(),
        };
      },
    });
}

/** A wire on which each question for a result meets `trouble`; true: it goes no further. */
function asking(trouble: (call: OutboundCall) => boolean): (transport: Transport) => Transport {
  return (transport) =>
    wrapTransport(transport, {
      caller: (address, next) => {
        const port = next(address);
        if (!address.endsWith("/result")) return port;
        return {
          start: (call) => {
            if (!trouble(call)) port.start(call);
          },
          cancel: (call) => port.cancel(call),
          close: () => port.close(),
        };
      },
    });
}

async function feedbackOf(job: { feedback: AsyncIterable<unknown> }): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of job.feedback) values.push(value);
  return values;
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => i + from);

async function* count(n: unknown): AsyncGenerator<number, string, void> {
  for (const i of range(1, n as number)) yield i;
  return await Promise.resolve("done");
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

const LOSSES: Readonly<Record<string, (n: number) => boolean>> = {
  "in the middle": (n) => n === 2 || n === 3,
  "at the beginning": (n) => n === 1,
  "at the end": (n) => n >= 9,
  "always": () => true,
};

for (const [where, lost] of Object.entries(LOSSES)) {
  Deno.test(`derived jobs: feedback lost ${where} is asked for again, in order`, async () => {
    await using both = await pair(losing(lost));
    await both.worker.perform("worker/count", count);
    const job = await both.owner.execute("worker/count", 10);
    assert.equal(await job.result, "done");
    assert.deepEqual(await feedbackOf(job), range(1, 10));
    assert.deepEqual(both.drops(), {});
  });
}

Deno.test("derived jobs: what the worker no longer keeps is a counted gap", async () => {
  await using both = await pair(losing(() => true));
  await both.worker.perform("worker/count", count);
  const job = await both.owner.execute("worker/count", 300);
  assert.equal(await job.result, "done");
  assert.deepEqual(await feedbackOf(job), range(300 - 255, 300));
  assert.deepEqual(both.drops(), { feedback_gap: 300 - 256 });
});

Deno.test("derived jobs: missing feedback is waited for with a bound, and the gap counted", async () => {
  const deaf = asking((call) => (call.value as { after?: number }).after !== undefined);
  await using both = await pair((t) => losing((n) => n === 2 || n >= 4)(deaf(t)));
  await both.worker.perform("worker/count", count);
  const job = await both.owner.execute("worker/count", 5);
  assert.equal(await job.result, "done");
  assert.deepEqual(await feedbackOf(job), [1, 3]);
  assert.deepEqual(both.drops(), { feedback_gap: 3 });
});

Deno.test("derived jobs: after a lost connection the job is found again by its id", async () => {
  let questions = 0;
  const cut = (call: OutboundCall) => {
    if (++questions > 2) return false;
    call.fail(new PatchbayError("closed", "the connection was lost"));
    return true;
  };
  await using both = await pair((t) => losing((n) => n < 4)(asking(cut)(t)));
  await both.worker.perform("worker/count", count);
  const job = await both.owner.execute("worker/count", 6);
  assert.equal(await job.result, "done");
  assert.deepEqual(await feedbackOf(job), range(1, 6));
  assert.ok(questions > 2);
});

for (const code of ["closed", "not_found"] as const) {
  Deno.test(`derived jobs: a worker that answers ${code} has lost the job`, async () => {
    const gone = asking((call) => {
      call.fail(new PatchbayError(code, "no such job", { retryable: false }));
      return true;
    });
    await using both = await pair(gone);
    await both.worker.perform("worker/hang", (_, { signal }) => untilAborted(signal));
    const job = await both.owner.execute("worker/hang", 1);
    await assert.rejects(job.result, { code: "closed", address: "worker/hang", pattern: "job" });
    assert.equal(job.state, "lost");
  });
}

Deno.test("derived jobs: a worker whose owner no longer asks goes on for orphanMs", async () => {
  await using both = await pair(asking(() => true));
  const stopped = Promise.withResolvers<string>();
  await both.worker.perform("worker/hang", async (_, { signal }) => {
    await untilAborted(signal).catch((reason) => stopped.resolve(reason.message));
  }, { orphanMs: 30 });
  await both.owner.execute("worker/hang", 1);
  assert.equal(await stopped.promise, "the job's owner is gone");
});

Deno.test("derived jobs: a question that takes longer than orphanMs finds the job alive", async () => {
  const way = Promise.withResolvers<void>();
  const slow = (transport: Transport) =>
    wrapTransport(transport, {
      caller: (address, next) => {
        const port = next(address);
        if (!address.endsWith("/result")) return port;
        return {
          start: (call) => void way.promise.then(() => port.start(call)),
          cancel: (call) => port.cancel(call),
          close: () => port.close(),
        };
      },
    });
  await using both = await pair(slow);
  const go = Promise.withResolvers<string>();
  let aborted = false;
  await both.worker.perform("worker/slow", (_, { signal }) => {
    signal.addEventListener("abort", () => aborted = true);
    return go.promise;
  }, { orphanMs: 10 });
  const job = await both.owner.execute("worker/slow", 1);
  const result = job.result;
  // Five times as long as a worker waits for an owner that is known to be gone.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(aborted, false);
  way.resolve();
  go.resolve("done");
  assert.equal(await result, "done");
});

Deno.test("derived jobs: workers that share an address each keep their own jobs", async () => {
  await using both = await pair();
  const began: string[] = [];
  const perform = (name: string) =>
    both.worker.perform("worker/shared", (_, { signal }) => {
      began.push(name);
      return untilAborted(signal).catch((reason) => `${name}: ${reason.message}`);
    }, { sharing: "shared" });
  await perform("left");
  await perform("right");
  const jobs = await Promise.all(
    range(0, 3).map((n) => both.owner.execute("worker/shared", n)),
  );
  for (const [n, job] of jobs.entries()) job.cancel(new Error(`stop ${n}`));
  const results = await Promise.all(jobs.map((job) => job.result));
  assert.deepEqual([...began].sort(), ["left", "left", "right", "right"]);
  assert.deepEqual(results, began.map((name, n) => `${name}: stop ${n}`));
});

Deno.test("derived jobs: a foreign program can own a job by plain calls", async () => {
  await using both = await pair();
  await both.worker.perform("worker/count", count);
  const heard: unknown[] = [];
  await both.owner.listen("worker/count/_job/feedback", (value) => void heard.push(value));
  const id = "0123456789abcdef".repeat(2);
  const ask = (what: string, message: unknown) =>
    both.owner.call(`worker/count/_job/${what}`, message);
  assert.deepEqual(await ask("goal", { id, goal: 2 }), {});
  const ended = { ok: true, value: "done" };
  assert.deepEqual(await ask("result", { id, waitMs: 1000 }), { last: 2, ended });
  assert.deepEqual(heard, [{ id, sequence: 1, value: 1 }, { id, sequence: 2, value: 2 }]);
  const missed = [{ sequence: 2, value: 2 }];
  assert.deepEqual(await ask("result", { id, after: 1 }), { last: 2, missed, ended });
  assert.deepEqual(await ask("goal", { id, goal: 2 }), {}, "a goal that comes twice begins once");
  assert.equal(heard.length, 2);
  assert.equal(await ask("cancel", { id }), true);
});

Deno.test("derived jobs: messages that are none are refused, and harm nobody", async () => {
  await using both = await pair();
  await both.worker.perform("worker/count", count);
  const base = "worker/count/_job";
  const id = "f".repeat(32);
  for (const what of ["goal", "cancel", "result"]) {
    for (const message of [null, 7, "x", {}, { id: 5 }, { id: "short" }]) {
      await assert.rejects(both.owner.call(`${base}/${what}`, message), { code: "invalid" });
    }
  }
  await assert.rejects(both.owner.call(`${base}/result`, { id, waitMs: -1 }), { code: "invalid" });
  await assert.rejects(both.owner.call(`${base}/result`, { id }), { code: "closed" });
  assert.equal(await both.owner.call(`${base}/cancel`, { id, abandon: true }), false);
  await assert.rejects(both.owner.call(`${base}/goal`, { id, goal: 1 }), {
    code: "closed",
    message: /given up already/,
  });
  const noise = await both.owner.speaker(`${base}/feedback`);
  const job = await both.owner.execute("worker/count", 3);
  for (const message of [null, 7, {}, { id: job.id }, { id: job.id, sequence: "x" }]) {
    noise.shout(message);
  }
  assert.equal(await job.result, "done");
  assert.deepEqual(await feedbackOf(job), [1, 2, 3]);
});

Deno.test("derived jobs: an address too long for its suffix is refused when performed", async () => {
  await using both = await pair();
  const address = `worker/${"x".repeat(245)}`;
  await assert.rejects(both.worker.perform(address, () => 1), { code: "invalid" });
});

Deno.test("derived jobs: a transport without speakers has none", () => {
  const context = { name: "half" } as TransportContext;
  const half = { serve: true, caller: true, listen: true } as unknown as Transport;
  assert.throws(() => deriveJobs(half, context), { code: "internal" });
});
