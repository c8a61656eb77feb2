/**
 * What only redis has: keys, consumer groups, replay, connections of one's own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open, PatchbayError } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { Broker, probeRedis } from "./redis_fixture.ts";
import type { RedisConfig } from "./config.ts";
import { durable as redis, type StreamContext } from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");

type RedisBay = Bay<readonly [typeof redis]>;

interface Place {
  readonly broker: Broker;
  readonly reports: PatchbayError[];
  bay(module: string, config?: Partial<RedisConfig>): Promise<RedisBay>;
}

function test(title: string, run: (place: Place) => Promise<void>): void {
  Deno.test({
    name: need.name(`redis: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Broker.start());
      const reports: PatchbayError[] = [];
      await run({
        broker,
        reports,
        bay: async (module, config = {}) =>
          stack.use(
            await open({
              module,
              plugins: [redis],
              config: { redis: { port: broker.port, deathMs: 300, ...config } },
              onReport: (error) => reports.push(error),
            }),
          ),
      });
    },
  });
}

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("keys: set, get, delete, as plain JSON that redis-cli reads and writes", async (place) => {
  const { keys } = (await place.bay("desk")).transport(redis);
  assert.equal(await keys.get("none"), undefined);
  assert.equal(await keys.set("robot:pose", { x: 1.5, name: "Grüße" }), true);
  assert.deepEqual(await keys.get("robot:pose"), { x: 1.5, name: "Grüße" });
  assert.equal(
    await place.broker.cli(["--raw", "GET", "robot:pose"]),
    '{"x":1.5,"name":"Grüße"}',
  );
  await place.broker.cli(["SET", "robot:mode", "[1,null]"]);
  assert.deepEqual(await keys.get("robot:mode"), [1, null]);
  assert.equal(await keys.delete("robot:mode"), true);
  assert.equal(await keys.delete("robot:mode"), false);
  await keys.setBytes("raw", Uint8Array.of(0, 255, 10));
  assert.deepEqual(await keys.getBytes("raw"), Uint8Array.of(0, 255, 10));
  assert.equal(await keys.getBytes("none"), undefined);
});

test("keys: set only if absent or present, and forget after a while", async (place) => {
  const { keys } = (await place.bay("desk")).transport(redis);
  assert.equal(await keys.set("k", 1, { only: "present" }), false);
  assert.equal(await keys.set("k", 1, { only: "absent" }), true);
  assert.equal(await keys.set("k", 2, { only: "absent" }), false);
  assert.equal(await keys.set("k", 3, { only: "present", ttlMs: 40 }), true);
  assert.ok(Number(await place.broker.cli(["PTTL", "k"])) <= 40);
  await until("it to be forgotten", async () => await keys.get("k") === undefined);
});

test("keys: compare and set, by one at a time", async (place) => {
  const desk = await place.bay("desk");
  const arm = await place.bay("arm");
  const { keys } = desk.transport(redis);
  assert.equal(await keys.compareAndSet("n", 0, 1), false, "it is not there");
  assert.equal(await keys.compareAndSet("n", undefined, 0), true);
  assert.equal(await keys.compareAndSet("n", undefined, 5), false, "it is there");
  // Twenty who count together, without a lost step.
  const count = async (bay: RedisBay) => {
    const mine = bay.transport(redis).keys;
    for (let steps = 0; steps < 20;) {
      const now = await mine.get<number>("n") as number;
      if (await mine.compareAndSet("n", now, now + 1)) steps++;
    }
  };
  await Promise.all([desk, arm, desk, arm].map(count));
  assert.equal(await keys.get("n"), 80);
  assert.equal(await keys.compareAndSet("n", 80, { a: 1 }, { ttlMs: 100_000 }), true);
  assert.ok(Number(await place.broker.cli(["PTTL", "n"])) > 1000);
  assert.equal(await keys.compareAndSet("n", { a: 1 }, undefined), true);
  assert.equal(await keys.get("n"), undefined);
});

test("keys: what they refuse", async (place) => {
  const { keys } = (await place.bay("desk")).transport(redis);
  await assert.rejects(keys.set("k", { at: new Date(0) }), { code: "invalid", message: /at/ });
  await assert.rejects(keys.set("k", undefined), { code: "invalid" });
  await assert.rejects(keys.set("k", Uint8Array.of(1)), { code: "invalid" });
  await assert.rejects(keys.set("k", 1, { ttlMs: 0.5 }), { code: "invalid", message: /ttlMs/ });
  await place.broker.cli(["SET", "k", "not json"]);
  await assert.rejects(keys.get("k"), { code: "protocol" });
  await place.broker.cli(["LPUSH", "list", "1"]);
  await assert.rejects(keys.get("list"), { code: "invalid", message: /WRONGTYPE/ });
});

test("keys: a watch tells of every change, whoever makes it, and frees its connections", async (place) => {
  const { broker } = place;
  const desk = await place.bay("desk");
  const { keys } = desk.transport(redis);
  const control = new AbortController();
  const before = desk.statistics.snapshot(Date.now()).transports[0].connections;
  const watch = keys.watch("robot:", { signal: control.signal });
  const first = watch.next();
  await until(
    "it to watch",
    async () => /flags=\w*B/.test(await broker.cli(["CLIENT", "LIST"])),
  );
  await keys.set("other", 1);
  await keys.set("robot:pose", { x: 1 });
  assert.deepEqual((await first).value, { key: "robot:pose", value: { x: 1 } });
  await broker.cli(["SET", "robot:mode", '"auto"']);
  assert.deepEqual((await watch.next()).value, { key: "robot:mode", value: "auto" });
  await broker.cli(["DEL", "robot:mode"]);
  assert.deepEqual((await watch.next()).value, { key: "robot:mode", value: undefined });
  await keys.set("robot:pose", 1, { ttlMs: 20 });
  assert.equal((await watch.next()).value?.key, "robot:pose");
  await until("it to expire", async () => await keys.get("robot:pose") === undefined);
  assert.deepEqual((await watch.next()).value, { key: "robot:pose", value: undefined });
  const last = watch.next();
  const reason = new Error("enough");
  control.abort(reason);
  await assert.rejects(last, (error) => error === reason);
  assert.equal(desk.statistics.snapshot(Date.now()).transports[0].connections, before);
});

test("keys: a watch ends with its bay, and says so when the connection is lost", async (place) => {
  const desk = await place.bay("desk");
  const arm = await place.bay("arm");
  const watching = async (bay: RedisBay) => {
    for await (const _ of bay.transport(redis).keys.watch("x")) { /* Nothing comes. */ }
  };
  const mine = watching(desk);
  const theirs = watching(arm);
  theirs.catch(() => {});
  await until("both to watch", async () => {
    return (await place.broker.cli(["CLIENT", "LIST"])).split(/flags=\w*B/).length === 3;
  });
  await desk.close();
  await mine;
  await place.broker.sever();
  await assert.rejects(theirs, { code: "closed" });
});

test("keys: a watch that cannot tell which keys have changed says so", async (place) => {
  const { keys, use } = (await place.bay("desk")).transport(redis);
  const late = new AbortController();
  using stack = new DisposableStack();
  stack.defer(clearTimeout.bind(undefined, setTimeout(() => late.abort(), 30_000)));
  const watched = async () => {
    const watch = keys.watch("w:", { signal: late.signal });
    const next = watch.next();
    next.catch(() => {});
    await until("it to watch", async () => {
      return /flags=\w*B/.test(await place.broker.cli(["CLIENT", "LIST"]));
    });
    return { watch, next };
  };
  const flushed = await watched();
  await place.broker.cli(["FLUSHALL"]);
  await assert.rejects(flushed.next, { code: "closed", message: /deleted at once/ });
  await until("its connections to be closed", async () => {
    return !/flags=\w*B/.test(await place.broker.cli(["CLIENT", "LIST"]));
  });
  const { watch, next } = await watched();
  await keys.set("w:first", 1);
  await next;
  // Nobody reads on; half of them again is one change each.
  for (const until of [40_000, 65_540]) {
    await use((client) =>
      client.eval(
        "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'w:' .. n, '1') end",
        0,
        String(until),
      )
    );
  }
  let read = 0;
  const rest = (async () => {
    for await (const _ of watch) read++;
  })();
  await assert.rejects(rest, { code: "overloaded", message: /65536 keys/ });
  assert.ok(read < 65_540);
});

test("streams: a group shares the work; each item is done once; a new group can begin anywhere", async (place) => {
  const maker = await place.bay("maker");
  const bays = [await place.bay("left"), await place.bay("right")];
  const done = bays.map((): number[] => []);
  const consumers = [];
  for (const [i, bay] of bays.entries()) {
    consumers.push(
      await bay.transport(redis).streams.consume("work/*", async (value) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        done[i].push(value as number);
      }, { group: "workers", maxConcurrent: 2 }),
    );
  }
  const speaker = await maker.speaker<number>("work/item");
  for (let n = 1; n <= 100; n++) await speaker.shout(n);
  await until("all to be done", () => done[0].length + done[1].length === 100);
  assert.deepEqual(
    [...done[0], ...done[1]].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  assert.ok(done[0].length > 0 && done[1].length > 0, "both have worked");
  for (const consumer of consumers) await consumer[Symbol.asyncDispose]();
  // A group that begins at the beginning, in a bay of its own.
  const late: number[] = [];
  const historian = await place.bay("historian");
  await using _ = await historian.transport(redis).streams.consume("work/item", (value) => {
    late.push(value as number);
  }, { group: "history", from: "0" });
  await until("the history to be told", () => late.length === 100);
  assert.equal(late[0], 1);
  // The group is kept: it goes on where it was.
  await speaker.shout(101);
  const again: number[] = [];
  await using _again = await bays[0].transport(redis).streams.consume("work/item", (value) => {
    again.push(value as number);
  }, { group: "workers" });
  await until("the next item to be done", () => again.length === 1);
  assert.deepEqual(again, [101]);
});

test("streams: what a handler could not do is given again, and told so", async (place) => {
  const maker = await place.bay("maker");
  const worker = await place.bay("worker", { claimIdleMs: 50 });
  const seen: StreamContext[] = [];
  const done = Promise.withResolvers<unknown>();
  await using _ = await worker.transport(redis).streams.consume("work/item", (value, context) => {
    seen.push(context);
    if (seen.length < 3) throw new Error("not yet");
    done.resolve(value);
  }, { group: "workers" });
  const speaker = await maker.speaker("work/item");
  await speaker.shout("try", { headers: { a: "b" } });
  assert.equal(await done.promise, "try");
  assert.deepEqual(seen.map(({ redelivered }) => redelivered), [false, true, true]);
  assert.deepEqual([seen[2].from, seen[2].headers, seen[2].id], ["maker", { a: "b" }, seen[0].id]);
  assert.equal(place.reports.length, 2);
  const pending = () => place.broker.cli(["XPENDING", "patchbay:log:{work}/item", "workers"]);
  await until("it to be acknowledged", async () => (await pending()).startsWith("0"));
});

test("streams: replay from an id, to an id, some of it; and trim", async (place) => {
  const bay = await place.bay("desk");
  const { streams } = bay.transport(redis);
  const speaker = await bay.speaker<number>("desk/log");
  for (let n = 1; n <= 600; n++) await speaker.shout(n);
  await until("all to be there", async () => {
    return await place.broker.cli(["XLEN", "patchbay:log:{desk}/log"]) === "600";
  });
  const replay = async (options?: Parameters<typeof streams.replay>[1]) => {
    const entries = [];
    for await (const entry of streams.replay("desk/log", options)) entries.push(entry);
    return entries;
  };
  const all = await replay();
  assert.deepEqual(all.map(({ value }) => value), Array.from({ length: 600 }, (_, i) => i + 1));
  const part = await replay({ from: all[299].id, to: all[309].id });
  assert.deepEqual(part.map(({ value }) => value), Array.from({ length: 11 }, (_, i) => i + 300));
  assert.equal((await replay({ limit: 7 })).length, 7);
  assert.equal(await streams.trim("desk/log", { minId: all[500].id }), 500);
  assert.equal(await streams.trim("desk/log", { maxLength: 10 }), 90);
  assert.equal((await replay())[0].value, 591);
  await assert.rejects(streams.consume("x/y", () => {}, { group: "no good" }), { code: "invalid" });
});

test("connections: lent and used again, and no more than are allowed", async (place) => {
  const bay = await place.bay("desk", { maxConnections: 5 });
  const { use } = bay.transport(redis);
  const ids = new Set<number>();
  for (let i = 0; i < 10; i++) {
    ids.add(await use((client) => client.client("ID")));
  }
  assert.equal(ids.size, 1, "the same connection");
  const gates: (() => void)[] = [];
  const held = Array.from(
    { length: 3 },
    () => use(() => new Promise<void>((resolve) => gates.push(resolve))),
  );
  await until("three to be lent", () => gates.length === 3);
  await assert.rejects(use(() => Promise.resolve()), { code: "overloaded" });
  const control = new AbortController();
  const waits = use((client) => client.ping(), control.signal);
  const given = new AbortController();
  const tired = use((client) => client.ping(), given.signal);
  given.abort();
  await assert.rejects(tired, { code: "overloaded" });
  gates[0]();
  assert.equal(await waits, "PONG");
  for (const open of gates) open();
  await Promise.all(held);
  assert.equal(bay.statistics.snapshot(Date.now()).transports[0].connections, 5);
  await assert.rejects(
    use((client) => client.call("NONSENSE") as Promise<unknown>),
    /unknown command/,
  );
});
