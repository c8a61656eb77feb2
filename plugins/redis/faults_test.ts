/**
 * What breaks: the server dies and comes back, a consumer dies, the server is not there, or is too
 * full, or refuses.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type Bay, defineSpeaker, open, PatchbayError, type Plugin } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { Broker, type BrokerOptions, probeRedis } from "./redis_fixture.ts";
import type { RedisConfig } from "./config.ts";
import redis, { durable } from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");

/** Connections are made anew soon. */
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 100, deathMs: 300 };

interface Place {
  readonly broker: Broker;
  readonly reports: PatchbayError[];
  bay(module: string, plugin?: Plugin, config?: Partial<RedisConfig>): Promise<Bay>;
}

function test(
  title: string,
  run: (place: Place) => Promise<void>,
  options: BrokerOptions = {},
): void {
  Deno.test({
    name: need.name(`redis: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Broker.start(options));
      const reports: PatchbayError[] = [];
      await run({
        broker,
        reports,
        bay: async (module, plugin = redis, config = {}) =>
          stack.use(
            await open({
              module,
              plugins: [plugin],
              config: { redis: { port: broker.port, ...QUICK, ...config } },
              onReport: (error) => reports.push(error),
            }),
          ),
      });
    },
  });
}

/** Waits for something, with a watchdog. */
async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lines of a child process. */
function linesOf(child: Deno.ChildProcess): { next(): Promise<string>; rest(): Promise<void> } {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    async next() {
      for (;;) {
        const end = text.indexOf("\n");
        if (end >= 0) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          return line;
        }
        const { value, done } = await reader.read();
        if (done) throw new Error("the child has ended");
        text += value;
      }
    },
    rest: () => reader.cancel(),
  };
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => i + from);

test("killed twice in 3000 shouts that go through Streams: none is lost", async (place) => {
  const { broker, bay } = place;
  const near = await bay("near", durable);
  const far = await bay("far", durable);
  const heard: number[] = [];
  let copies = 0;
  const seen = new Set<number>();
  await near.listen<number>("far/count", (n) => {
    if (seen.has(n)) copies++;
    seen.add(n);
    heard.push(n);
  }, { maxQueue: 10_000 });
  const speaker = await far.speaker<number>("far/count");
  let shouted = 0;
  const shouting = (async () => {
    for (const n of range(1, 3000)) {
      await speaker.shout(shouted = n);
      // So that the server dies while some are on their way.
      if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  })();
  for (const mark of [700, 1900]) {
    await until(`shout ${mark}`, () => shouted >= mark);
    await broker.kill();
    await until("the loss to be noticed", () => far.wires()[0].health?.status === "degraded");
    assert.match(far.wires()[0].health?.reason ?? "", /connecting anew: Redis at 127\.0\.0\.1/);
    await broker.restart();
    await until("it to be healthy", () => far.wires()[0].health?.status === "healthy");
  }
  await shouting;
  await until("all to be heard", () => seen.size === 3000);
  const { endpoints, transports } = near.statistics.snapshot(Date.now());
  const duplicates = (transports[0].drops.duplicate ?? 0) + copies;
  console.log(`    ${duplicates} duplicates: ${transports[0].drops.duplicate ?? 0} dropped`);
  assert.deepEqual([...seen].sort((a, b) => a - b), range(1, 3000));
  assert.deepEqual(heard, [...heard].sort((a, b) => a - b), "in order");
  assert.deepEqual(endpoints.find(({ role }) => role === "listener")?.drops, {});
  assert.equal((await far.statistics.snapshot(Date.now())).transports[0].reconnections, 2);
}, { lines: ["appendonly yes", "appendfsync always"] });

test("a server that forgets all when it dies: what is served and heard goes on", async (place) => {
  const { broker, bay } = place;
  const far = await bay("far");
  const near = await bay("near");
  await far.serve("far/echo", (value) => value);
  const heard: unknown[] = [];
  await near.listen("far/tick", (value) => void heard.push(value));
  const tick = await far.speaker("far/tick");
  await broker.kill();
  await until("the loss to be noticed", () => near.wires()[0].health?.status === "degraded");
  const error = await near.call("far/echo", 1).catch((error) => error) as PatchbayError;
  assert.match(error.message, /not connected/);
  await until("the loss to be noticed", () => far.wires()[0].health?.status === "degraded");
  tick.shout("nobody hears this");
  await broker.restart();
  await until(
    "a call to go through",
    () => near.call("far/echo", 2).then((v) => v === 2, () => false),
  );
  await until("a shout to be heard", () => {
    tick.shout("again");
    return heard.includes("again");
  });
  assert.ok(!heard.includes("nobody hears this"));
  const { endpoints } = far.statistics.snapshot(Date.now());
  const drops = endpoints.find(({ role }) => role === "speaker")?.drops;
  assert.equal(drops?.disconnected, 1, "what could not be shouted is counted");
  await until("the speaker to know its listener", () => tick.listeners === 1);
});

test("a bay closes while its server is away", async ({ broker, bay }) => {
  for (const plugin of [redis, durable]) {
    const far = await bay("far", plugin);
    await far.serve("far/echo", (value) => value);
    await far.listen("x/**", () => {});
    const near = await bay("near", plugin);
    const speaker = await near.speaker("near/tick");
    assert.equal(await near.call("far/echo", 1), 1);
    await broker.kill();
    await until("the loss to be noticed", () => near.wires()[0].health?.status === "degraded");
    await speaker.shout(1);
    await Promise.all([near.close(), far.close()]);
    await broker.restart();
  }
});

test('with whenLost: "wait" a call waits for the server', async ({ broker, bay }) => {
  const far = await bay("far", redis, { whenLost: "wait" });
  const near = await bay("near", redis, { whenLost: "wait" });
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  await far.serve("far/slow", async (value) => {
    entered.resolve();
    await gate.promise;
    return value;
  });
  await far.serve("far/echo", (value) => value);
  assert.equal(await near.call("far/echo", 0), 0);
  const callable = near.callable("far/echo");
  assert.equal(await callable.call(0), 0);
  const under_way = near.call("far/slow", "kept", { timeoutMs: 20_000 });
  await entered.promise;
  await broker.kill();
  await until("the loss to be noticed", () => near.wires()[0].health?.status === "degraded");
  const waiting = callable.call("patience", { timeoutMs: 20_000 });
  await assert.rejects(callable.call("late", { timeoutMs: 50 }), { code: "deadline_exceeded" });
  gate.resolve();
  await broker.restart();
  assert.equal(await waiting, "patience");
  assert.equal(await under_way, "kept");
}, { lines: ["appendonly yes", "appendfsync always"] });

test("a consumer killed between receiving and acknowledging: it is given to another", async (place) => {
  const { broker, bay } = place;
  const program = fileURLToPath(new URL("./testdata/consumer.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "-A", program, String(broker.port), "workers", "3"],
    stdout: "piped",
  }).spawn();
  const lines = linesOf(child);
  assert.equal(await lines.next(), "ready");
  const far = await bay("far", durable);
  const speaker = await far.speaker<number>("work/item");
  for (const n of range(1, 5)) await speaker.shout(n);
  for (const n of [1, 2, 3]) assert.equal(await lines.next(), String(n));
  const key = "patchbay:log:{work}/item";
  await until("the first two to be acknowledged", async () => {
    return (await broker.cli(["XPENDING", key, "workers"])).startsWith("3");
  });
  child.kill("SIGKILL");
  await lines.rest();
  await child.status;
  const heir = await bay("heir", durable, { group: "workers" });
  const heard: number[] = [];
  const handled = Promise.withResolvers<void>();
  await heir.listen<number>("work/item", (n) => {
    if (heard.push(n) === 4) handled.resolve();
  });
  await speaker.shout(6);
  await handled.promise;
  assert.deepEqual(heard.sort(), [3, 4, 5, 6], "what was not acknowledged, and nothing else");
  await until("all to be acknowledged", async () => {
    return (await broker.cli(["XPENDING", key, "workers"])).startsWith("0");
  });
});

test("an asynchronous handler is acknowledged when it has ended, not before", async (place) => {
  const { broker, bay } = place;
  const near = await bay("near", durable);
  const far = await bay("far", durable);
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let begun = 0;
  await near.listen("far/slow", () => gates[begun++].promise);
  const speaker = await far.speaker("far/slow");
  await speaker.shout(1);
  await speaker.shout(2);
  const pending = async () => {
    const group = `bay:${near.identity.id}`;
    return (await broker.cli(["XPENDING", "patchbay:log:{far}/slow", group])).split("\n")[0];
  };
  await until("both to arrive", async () => begun === 1 && await pending() === "2");
  gates[0].resolve();
  await until("the first to be acknowledged", async () => await pending() === "1");
  assert.equal(begun, 2);
  gates[1].resolve();
  await until("the second to be acknowledged", async () => await pending() === "0");
});

test("a listener that blocks reads no more than it can take; Redis keeps the rest", async (place) => {
  const { broker, bay } = place;
  const near = await bay("near", durable);
  const far = await bay("far", durable);
  const listener = await near.listen<number>("far/flood", { overflow: "block", maxQueue: 4 });
  const quick: number[] = [];
  await near.listen<number>("far/flood", (n) => void quick.push(n));
  const speaker = await far.speaker<number>("far/flood");
  for (const n of range(1, 500)) await speaker.shout(n);
  await until("the quick one to have all", () => quick.length === 500);
  assert.ok(listener.queued <= 4, `${listener.queued} wait`);
  const heard: number[] = [];
  for await (const n of listener) if (heard.push(n) === 500) break;
  assert.deepEqual(heard, range(1, 500));
  assert.equal(await broker.cli(["XLEN", "patchbay:log:{far}/flood"]), "500");
});

test("the log is trimmed as configured", async ({ broker, bay }) => {
  const far = await bay("far", durable, { maxLength: 100 });
  const speaker = await far.speaker<number>("far/much");
  for (const n of range(1, 1000)) await speaker.shout(n);
  await speaker.close();
  const kept = Number(await broker.cli(["XLEN", "patchbay:log:{far}/much"]));
  // Redis trims whole nodes of its tree, of 100 entries.
  assert.ok(kept >= 100 && kept <= 200, `${kept} of 1000 are kept`);
});

test("a speaker whose server is away keeps what it shouts, to a bound", async (place) => {
  const { broker, bay } = place;
  const bytes = defineSpeaker<Uint8Array>({ address: "far/bytes", codec: "raw" });
  const far = await bay("far", durable, { maxQueueBytes: 65_536 });
  const near = await bay("near", durable);
  const sizes: number[] = [];
  await near.listen(bytes, (value) => void sizes.push(value.length));
  const speaker = await far.speaker(bytes);
  await broker.kill();
  await until("the loss to be noticed", () => far.wires()[0].health?.status === "degraded");
  for (const n of [1, 2, 3]) await speaker.shout(new Uint8Array(20_000 + n));
  await assert.rejects(async () => await speaker.shout(new Uint8Array(20_004)), {
    code: "overloaded",
  });
  await broker.restart();
  await until("all to be heard", () => sizes.length === 3);
  assert.deepEqual(sizes, [20_001, 20_002, 20_003]);
}, { lines: ["appendonly yes", "appendfsync always"] });

test("a shared server that dies: its calls end, and harmless ones are done by the other", async (place) => {
  const { broker, bay } = place;
  const near = await bay("near");
  const program = `
    import { open } from "@patchbay/core";
    import redis from "${new URL("./mod.ts", import.meta.url).href}";
    const config = { redis: { port: ${broker.port} } };
    const bay = await open({ module: "doomed", plugins: [redis], config });
    for (const address of ["shared/plain", "shared/harmless"]) {
      await bay.serve(address, () => { console.log("taken"); return new Promise(() => {}); },
        { sharing: "shared" });
    }
    console.log("ready");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--ext=ts", program],
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdout: "piped",
  }).spawn();
  const lines = linesOf(child);
  assert.equal(await lines.next(), "ready");
  const { defineCallable } = await import("@patchbay/core");
  const plain = defineCallable({ address: "shared/plain" });
  const harmless = defineCallable({ address: "shared/harmless", idempotent: true });
  const outcomes = [plain, harmless].map((contract) =>
    near.call(contract, 1, { timeoutMs: 25_000 }).then(
      (value) => value,
      (error: PatchbayError) => error.code,
    )
  );
  for (let i = 0; i < 2; i++) assert.equal(await lines.next(), "taken");
  const other = await bay("other");
  for (const contract of [plain, harmless]) {
    await other.serve(contract, () => "by the other", { sharing: "shared" });
  }
  child.kill("SIGKILL");
  await lines.rest();
  await child.status;
  assert.deepEqual(await Promise.all(outcomes), ["closed", "by the other"]);
  assert.equal(await near.call(plain, 1), "by the other");
});

test("a payload over the limit is refused, an incoming one is dropped and counted", async (place) => {
  const { broker, bay, reports } = place;
  for (const plugin of [redis, durable]) {
    reports.length = 0;
    const address = plugin === redis ? "big/pub" : "big/log";
    const near = await bay(`near-${address.slice(4)}`, plugin, { maxMessageBytes: 1000 });
    const heard: unknown[] = [];
    await near.listen(address, (value) => void heard.push(value));
    const large = JSON.stringify("x".repeat(2000));
    const send = (value: string) =>
      plugin === redis
        ? broker.cli(["PUBLISH", `patchbay:shout:${address}`, value])
        : broker.cli(["XADD", `patchbay:log:{big}/log`, "*", "value", value]);
    await send(large);
    await send('"small"');
    await until("the small one to be heard", () => heard.length === 1);
    assert.deepEqual(heard, ["small"]);
    const { endpoints } = near.statistics.snapshot(Date.now());
    assert.deepEqual(endpoints.find(({ role }) => role === "listener")?.drops, { too_large: 1 });
    assert.equal(reports[0].code, "too_large");
    assert.deepEqual(reports[0].details, { size: 2002, max: 1000 });
    await assert.rejects(near.call("no/body", "x".repeat(2000)), { code: "not_found" });
    const speaker = await near.speaker(address);
    await assert.rejects(async () => await speaker.shout("x".repeat(2000)), { code: "too_large" });
  }
});

test("a server that accepts and says nothing: unavailable at the timeout", async () => {
  const mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of mute) connections.push(connection);
  })();
  const config = { redis: { port: mute.addr.port, connectTimeoutMs: 200 } };
  const bay = await open({ module: "patient", plugins: [redis], config });
  assert.match(bay.wires()[0].reason ?? "", /did not answer/);
  await bay.close();
  mute.close();
  await accepting;
  for (const connection of connections) connection.close();
});

test("a server that hangs is noticed by deadlines, and goes on", async ({ broker, bay }) => {
  const far = await bay("far");
  const near = await bay("near");
  await far.serve("far/echo", (value) => value);
  assert.equal(await near.call("far/echo", 1), 1);
  broker.signal("SIGSTOP");
  await assert.rejects(near.call("far/echo", 2, { timeoutMs: 100 }), { code: "deadline_exceeded" });
  broker.signal("SIGCONT");
  await until(
    "a call to go through",
    () => near.call("far/echo", 3).then((v) => v === 3, () => false),
  );
});

test("authorize is asked for each caller and address", async ({ broker }) => {
  const config = { redis: { port: broker.port } };
  const asked: string[] = [];
  const far = await open({
    module: "far",
    plugins: [redis],
    config,
    authorize: ({ module }, verb, address) => {
      asked.push(`${module} ${verb} ${address}`);
      return address === "far/open";
    },
  });
  await using _far = far;
  const near = await open({ module: "near", plugins: [redis], config });
  await using _near = near;
  let reached = 0;
  for (const address of ["far/open", "far/shut"]) await far.serve(address, () => ++reached);
  assert.equal(await near.call("far/open", 1), 1);
  assert.equal(await near.call("far/open", 1), 2);
  await assert.rejects(near.call("far/shut", 1), { code: "forbidden" });
  assert.deepEqual(asked, ["near call far/open", "near call far/shut"]);
  assert.equal(reached, 2);
});
