import assert from "node:assert/strict";
import inProcess, { Room } from "@patchbay/in_process";
import {
  type Bay,
  type CallPort,
  defineCallable,
  defineJob,
  type Layer,
  type OutboundCall,
  Patchbay,
  PatchbayError,
  retry,
  type RetryOptions,
  type StandardSchema,
  wrapTransport,
} from "../mod.ts";

const Read = defineCallable<number, string>({ address: "gauge/read", idempotent: true });
const Write = defineCallable<number, string>({ address: "gauge/read" });

async function opened(options: RetryOptions, inside: readonly Layer[] = []): Promise<Bay> {
  const layers = [retry(options), ...inside];
  return await Patchbay.open({ module: "gauge", plugins: [inProcess], layers });
}

const retriesOf = (bay: Bay) => bay.statistics.snapshot(0).transports[0].retries;

/** Fails so many times, then answers. */
function failing(
  times: number,
  error: () => unknown,
): { asked: number; handler(n: number): string } {
  return {
    asked: 0,
    handler(n) {
      if (++this.asked <= times) throw error();
      return `read ${n}`;
    },
  };
}

const overloaded = () => new PatchbayError("overloaded", "not now");

Deno.test("retry: an idempotent call that failed retryably is started again, and counted", async () => {
  await using bay = await opened({ attempts: 4, minMs: 0, maxMs: 0 });
  const gauge = failing(3, overloaded);
  await bay.serve(Read, (n) => gauge.handler(n));
  assert.equal(await bay.call(Read, 7, { headers: { a: "b" } }), "read 7");
  assert.equal(gauge.asked, 4);
  assert.equal(retriesOf(bay), 3);
  const client = bay.statistics.snapshot(0).endpoints.find((each) => each.role === "client");
  assert.deepEqual([client?.calls, client?.errors, client?.pending], [1, {}, 0]);
});

Deno.test("retry: after the last attempt the call fails with the last error", async () => {
  await using bay = await opened({ attempts: 3, minMs: 0 });
  let n = 0;
  const gauge = failing(9, () => new PatchbayError("unavailable", `failure ${++n}`));
  await bay.serve(Read, (n) => gauge.handler(n));
  await assert.rejects(bay.call(Read, 1), { code: "unavailable", message: "failure 3" });
  assert.equal(retriesOf(bay), 2);
});

Deno.test("retry: other calls and other errors are left alone", async () => {
  await using bay = await opened({ attempts: 5, minMs: 0 });
  const busy = failing(1, overloaded);
  const first = await bay.serve(Write, (n) => busy.handler(n));
  await assert.rejects(bay.call(Write, 1), { code: "overloaded" }, "not idempotent");
  assert.equal(await bay.call(Write, 1), "read 1");
  await first.close();
  const broken = failing(1, () => new Error("broken"));
  await bay.serve(Read, (n) => broken.handler(n));
  await assert.rejects(bay.call(Read, 1), { code: "remote" }, "not retryable");
  assert.equal(broken.asked, 1);
  assert.equal(retriesOf(bay), 0);
});

Deno.test("retry: jobs and shouts are left alone", async () => {
  await using bay = await opened({ attempts: 5, minMs: 0 });
  const Move = defineJob<number, number, number>({ address: "arm/move" });
  let begun = 0;
  await bay.perform(Move, () => {
    begun++;
    throw overloaded();
  });
  const job = await bay.execute(Move, 1);
  await assert.rejects(job.result, { code: "overloaded" });
  const heard: unknown[] = [];
  await bay.listen("arm/pose", (value) => void heard.push(value));
  await (await bay.speaker("arm/pose")).shout(1);
  assert.deepEqual([begun, heard], [1, [1]]);
});

Deno.test("retry: pauses grow exponentially to a bound; one beyond the deadline is not begun", async () => {
  const hour = 3_600_000;
  const ceilings = [hour, 2 * hour, 4 * hour, 5 * hour, 5 * hour];
  for (const [index, ceiling] of ceilings.entries()) {
    for (const fits of [false, true]) {
      let drawn = 0;
      let starts = 0;
      const waits = Promise.withResolvers<void>();
      // Only the pause after attempt `index + 1` is longer than nothing, and as long as it can be.
      const random = () => {
        if (drawn++ < index) return 0;
        waits.resolve();
        return 1;
      };
      await using bay = await opened({ attempts: 9, minMs: hour, maxMs: 5 * hour, random });
      await bay.serve(Read, () => {
        starts++;
        throw overloaded();
      });
      const control = new AbortController();
      // The timer rounds by up to 2 %.
      const timeoutMs = ceiling * (fits ? 1.05 : 0.95);
      const call = bay.call(Read, 1, { timeoutMs, signal: control.signal });
      call.catch(() => {});
      await waits.promise;
      control.abort("it waits");
      if (fits) await assert.rejects(call, (thrown) => thrown === "it waits");
      else await assert.rejects(call, { code: "overloaded" });
      assert.equal(starts, index + 1);
    }
  }
});

/** A layer whose calls never end by themselves, and that tells what it was asked. */
function stuck(log: string[], error?: () => unknown): Layer {
  return (transport) =>
    wrapTransport(transport, {
      caller: (address): CallPort => ({
        start: (call: OutboundCall) => {
          log.push(`start ${address}`);
          if (error !== undefined) call.fail(error());
        },
        cancel: () => void log.push("cancel"),
        close: () => void log.push("close"),
      }),
    });
}

Deno.test("retry: an abort during a pause, and during an attempt, ends the call", async () => {
  const log: string[] = [];
  const reason = new Error("enough");
  for (const error of [overloaded, undefined]) {
    await using bay = await opened({ minMs: 3_600_000, maxMs: 3_600_000, random: () => 0.5 }, [
      stuck(log, error),
    ]);
    await bay.serve(Read, () => "never");
    const control = new AbortController();
    const caller = bay.callable(Read);
    await caller.bind();
    const call = caller.call(1, { signal: control.signal, timeoutMs: Infinity });
    control.abort(reason);
    await assert.rejects(call, (thrown) => thrown === reason);
    assert.equal(retriesOf(bay), 0);
  }
  assert.deepEqual(log, ["start gauge/read", "start gauge/read", "cancel"]);
});

Deno.test("retry: a pause ends with closed when the bay closes", async () => {
  const bay = await opened({ minMs: 3_600_000, maxMs: 3_600_000, random: () => 0.5 });
  const served = await bay.serve(Read, () => {
    throw overloaded();
  });
  const caller = bay.callable(Read);
  await caller.bind();
  const call = assert.rejects(caller.call(1, { timeoutMs: Infinity }), { code: "closed" });
  await bay.close();
  await call;
  await served.close();
});

Deno.test("retry: a deadline during an attempt is the call's, and is not retried", async () => {
  const log: string[] = [];
  await using bay = await opened({ minMs: 0 }, [stuck(log)]);
  await bay.serve(Read, () => "never");
  await assert.rejects(bay.call(Read, 1, { timeoutMs: 5 }), { code: "deadline_exceeded" });
  assert.deepEqual(log, ["start gauge/read", "cancel"]);
});

const text: StandardSchema<string, number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "string" && !Number.isNaN(Number(value))
        ? { value: Number(value) }
        : { issues: [{ message: `not a number as text: ${value}` }] },
  },
};

Deno.test("retry: values are validated and transformed once, also by a server that came back", async () => {
  const Double = defineCallable({
    address: "math/double",
    request: text,
    response: text,
    idempotent: true,
  });
  const room = new Room();
  const config = { in_process: { room } };
  const plugins = [inProcess];
  await using server = await Patchbay.open({ module: "math", plugins, config });
  const restarted = Promise.withResolvers<void>();
  const again: Layer = (transport) =>
    wrapTransport(transport, {
      caller: (address, next) => {
        const port = next(address);
        return {
          get contract() {
            return port.contract;
          },
          start: (call) => void restarted.promise.then(() => port.start(call)),
          cancel: (call) => port.cancel(call),
          close: () => port.close(),
        };
      },
    });
  await using client = await Patchbay.open({
    module: "client",
    plugins,
    config,
    layers: [retry({ minMs: 0 }), again],
  });
  const first = await server.serve(Double, (n) => `${n * 2}`);
  const caller = client.callable(Double);
  await caller.bind();
  const call = caller.call("21");
  await first.close();
  await server.serve(Double, (n) => `${n * 2}`);
  restarted.resolve();
  assert.equal(await call, 42);
  assert.equal(retriesOf(client), 1);
});

Deno.test("retry: options out of their range are refused", () => {
  const wrong: RetryOptions[] = [
    { attempts: 0 },
    { attempts: 1.5 },
    { minMs: -1 },
    { minMs: 10, maxMs: 5 },
    { maxMs: NaN },
  ];
  for (const options of wrong) assert.throws(() => retry(options), { code: "invalid" });
});
