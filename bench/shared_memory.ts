/**
 * Calls, shouts and payloads between two processes through shared memory, beside bare sockets, a
 * worker, and iceoryx where it is installed.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import type { BytesView } from "@patchbay/core";
import { asked, start, type Started } from "./asked.ts";
import { startIceoryx } from "./iceoryx.ts";
import { startTwoCopies } from "./two_copies.ts";
import { compare, type Contender, IN_FLIGHT, latencies, median, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import { openSharedMemory, RAW_SIZES } from "./shared_memory_far.ts";
import type { Suite, SuiteContext } from "./suite.ts";
import { MESSAGE, type Message, writeAll } from "./uds_far.ts";
import { cpuMicros } from "./usage.ts";

const FAR = fileURLToPath(new URL("./shared_memory_far.ts", import.meta.url));
/** The silence before a cold call, in milliseconds. */
const GAP_MS = 3;
/** How long both sides are left alone to see what they use meanwhile, in milliseconds. */
const IDLE_MS = 1000;
const MIB = 2 ** 20;

/** What who sends images sets: a ring and a window into which several fit. */
const LARGE = { ringBytes: 4 * MIB, windowBytes: 4 * MIB };

type Bay = Awaited<ReturnType<typeof openSharedMemory>>;

/** A bare echo of small messages. */
async function bareEcho(folder: string, pid: number, gapMs: number): Promise<Contender> {
  const conn = await Deno.connect({ transport: "unix", path: `${folder}/echo` });
  const bytes = new TextEncoder().encode(JSON.stringify(MESSAGE));
  const buffer = new Uint8Array(64 * 1024);
  const echo = async () => {
    await writeAll(conn, bytes);
    for (let left = bytes.length; left > 0;) left -= await conn.read(buffer) ?? Infinity;
  };
  return { ...gapMs === 0 ? latencies(echo) : spaced(echo, gapMs), pid };
}

/** As `latencies`, with a silence before each operation. */
function spaced(operation: () => Promise<unknown>, gapMs: number): Contender {
  return {
    async run(roundMs) {
      const took: number[] = [];
      for (const start = performance.now(); performance.now() - start < roundMs;) {
        await new Promise((resolve) => setTimeout(resolve, gapMs));
        const before = performance.now();
        await operation();
        took.push((performance.now() - before) * 1e6);
      }
      return { value: median(took), operations: took.length };
    },
  };
}

/** Listens, and counts what comes until all of a round has. */
async function shouts(
  bay: Bay,
  what: { address: string; push: string; perMs: number; weight?: number; views?: boolean },
  check: (value: unknown) => boolean,
): Promise<Contender & { close(): Promise<void> }> {
  let left = 0;
  let done = () => {};
  let last = 0;
  const take = (value: unknown, { sequence }: { sequence: number }) => {
    // Earlier listeners have had the first ones.
    if (last !== 0 && sequence !== last + 1) throw new Error(`${sequence} came after ${last}`);
    last = sequence;
    if (!check(value)) throw new Error("garbled");
    if (--left === 0) done();
  };
  const listener = what.views
    ? await bay.listen(what.address, take, { overflow: "block", views: true })
    : await bay.listen(what.address, take, { overflow: "block" });
  const { weight = 1 } = what;
  return {
    close: () => listener.close(),
    async run(roundMs) {
      const operations = Math.max(1, Math.round(roundMs * what.perMs));
      left = operations;
      const all = new Promise<void>((resolve) => done = resolve);
      const start = performance.now();
      await bay.call(what.push, operations);
      await all;
      return { value: weight * operations * 1000 / (performance.now() - start), operations };
    },
  };
}

/** Copies the same bytes from one place to another. */
function bareSet(bytes: number): Contender {
  const from = new Uint8Array(bytes).fill(1);
  const to = new Uint8Array(bytes);
  return {
    run(roundMs) {
      let operations = 0;
      const start = performance.now();
      while (performance.now() - start < roundMs) {
        to.set(from);
        operations++;
      }
      const value = bytes * operations * 1000 / (performance.now() - start);
      return Promise.resolve({ value, operations });
    },
  };
}

async function idle(pids: readonly number[]): Promise<number> {
  const before = pids.map(cpuMicros);
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const used = pids.map((pid, i) => (cpuMicros(pid) - before[i]) / 1000 / IDLE_MS * 100);
  return Math.max(...used);
}

/** Two pairs that call at once, and nobody else. */
async function twoPairs(context: SuiteContext): Promise<Row> {
  const { placement } = context;
  // Both cores, if there are two: the kernel places four processes.
  const cores = placement.near === placement.far
    ? placement.near
    : `${placement.near},${placement.far}`;
  await using stack = new AsyncDisposableStack();
  const pairs: Started[] = [];
  for (let pair = 0; pair < 2; pair++) {
    const folder = await Deno.makeTempDir({ prefix: "pb-bench-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    stack.use(await start(cores, FAR, ["ours", folder, "msgpack"]));
    pairs.push(stack.use(await start(cores, FAR, ["pair", folder, "msgpack"])));
  }
  const contenders = pairs.map(asked);
  return await compare(context, {
    figure: "MessagePack: call of 85 B, two pairs at once, the slower one's p50",
    unit: "ns",
    ours: {
      async run(roundMs) {
        const readings = await Promise.all(contenders.map((one) => one.run(roundMs)));
        return {
          value: Math.max(...readings.map(({ value }) => value)),
          operations: readings.reduce((sum, { operations }) => sum + operations, 0),
        };
      },
    },
    target: placement.near === placement.far ? undefined : { atMost: 10_000 },
  });
}

async function run(context: SuiteContext): Promise<Row[]> {
  const { near, far: cores } = context.placement;
  // Two processes that share a core hand it over for each message, which takes some microseconds:
  // the figures that were asked for are those of a core each.
  const apart = near !== cores;
  const rows: Row[] = [];
  await using stack = new AsyncDisposableStack();
  const folder = async () => {
    const path = await Deno.makeTempDir({ prefix: "pb-bench-" });
    stack.defer(() => Deno.remove(path, { recursive: true }));
    return path;
  };
  const bareFolder = await folder();
  const bare = stack.use(await start(cores, FAR, ["bare", bareFolder]));
  const both = near === cores ? near : `${near},${cores}`;
  const worker = asked(stack.use(await start(both, FAR, ["worker"])));
  const echo = await bareEcho(bareFolder, bare.pid, 0);
  {
    await using iceoryx = await startIceoryx(await folder(), near, cores);
    const ours = await folder();
    await using far = await start(cores, FAR, ["ours", ours, "msgpack"]);
    await using bay = await openSharedMemory("near", ours, "msgpack");
    const echoer = bay.callable<Uint8Array, Uint8Array>("far/echo");
    const raw = new Uint8Array(64).fill(7);
    if ((await echoer.call(raw)).join() !== raw.join()) throw new Error("garbled");
    rows.push(
      await compare(context, {
        figure: "raw: call of 64 B, one at a time, p50",
        unit: "ns",
        ours: { ...latencies(() => echoer.call(raw)), pid: far.pid },
        ...iceoryx === undefined
          ? {}
          : { floor: asked(iceoryx), floorName: "iceoryx C++, spinning" },
        target: apart
          ? { atMost: 1200, ...iceoryx === undefined ? {} : { ratioAtMost: 1 } }
          : undefined,
      }),
    );
  }
  for (const codec of ["msgpack", "json"]) {
    const name = codec === "json" ? "JSON" : "MessagePack";
    const ours = await folder();
    await using far = await start(cores, FAR, ["ours", ours, codec]);
    await using bay = await openSharedMemory("near", ours, codec);
    const { pid } = far;
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const add = () => adder.call(MESSAGE);
    if ((await add()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
    rows.push(
      await compare(context, {
        figure: `${name}: call of 85 B, one at a time, p50`,
        unit: "ns",
        ours: { ...latencies(add), pid },
        floor: codec === "json" ? worker : echo,
        floorName: codec === "json" ? "worker, postMessage" : "bare Unix socket",
        target: apart ? { atMost: codec === "json" ? 3000 : 2500 } : undefined,
      }),
      await compare(context, {
        figure: `${name}: the same, p99`,
        unit: "ns",
        ours: { ...latencies(add, 0.99), pid },
        target: { atMost: 20_000 },
      }),
      await compare(context, {
        figure: `${name}: the same after ${GAP_MS} ms of silence, p50`,
        unit: "ns",
        ours: { ...spaced(add, GAP_MS), pid },
        floor: await bareEcho(bareFolder, bare.pid, GAP_MS),
        floorName: "bare Unix socket",
        target: { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: `${name}: calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(add), pid },
        target: apart && codec === "json" ? { atLeast: 400e3 } : undefined,
      }),
    );
    const small = await shouts(
      bay,
      { address: "far/tick", push: "far/push", perMs: 800 },
      (value) => (value as Message).args.x === MESSAGE.args.x,
    );
    rows.push(
      await compare(context, {
        figure: `${name}: shouts of 85 B, overflow block`,
        unit: "/s",
        ours: { ...small, pid },
        target: apart && codec === "json" ? { atLeast: 1e6 } : undefined,
      }),
    );
    if (codec === "json") continue;
    for (const size of RAW_SIZES) {
      const address = `far/raw${size}`;
      const what = { address, push: `far/push${size}` };
      const isLarge = size === MIB;
      const perMs = isLarge ? 3 : 2000;
      const weight = isLarge ? MIB : 1;
      const kept = new Uint8Array(size);
      for (const views of [true, false]) {
        const raw = await shouts(bay, { ...what, perMs, weight, views }, (value) => {
          if (views) return (value as BytesView).copyTo(kept) === size;
          return (value as Uint8Array).length === size;
        });
        const how = views ? "copied out of views" : "as values of their own";
        rows.push(
          await compare(context, {
            figure: `raw: shouts of ${isLarge ? "1 MiB" : `${size} B`}, ${how}`,
            unit: isLarge ? "B/s" : "/s",
            ours: { ...raw, pid },
            ...isLarge ? { floor: bareSet(MIB), floorName: "bare set" } : {},
            target: !views || !apart
              ? undefined
              : (isLarge
                ? { atLeast: 5e9, ratioAtLeast: 0.5 }
                : { atLeast: size === 64 ? 5e6 : 4e6 }),
          }),
        );
        if (isLarge && views) {
          await using floor = await startTwoCopies(await folder(), both);
          if (floor !== undefined) {
            rows.push(
              await compare(context, {
                figure: "raw: the same, beside two copies in C",
                unit: "B/s",
                ours: { ...raw, pid },
                floor: asked(floor),
                floorName: "memcpy twice, two threads",
              }),
            );
          }
        }
        await raw.close();
      }
    }
    const used = await idle([Deno.pid, pid]);
    rows.push({
      figure: "idle: CPU of the busier of both processes, in %",
      unit: "count",
      ours: { value: used },
      target: { atMost: 0.5 },
    });
  }
  rows.push(await inPlace(context, await folder()), await twoPairs(context));
  return rows;
}

/** Large messages whose listener reads them where they are. */
async function inPlace(context: SuiteContext, folder: string): Promise<Row> {
  const { near, far: cores } = context.placement;
  await using far = await start(cores, FAR, ["ours", folder, "msgpack", JSON.stringify(LARGE)]);
  await using bay = await openSharedMemory("near", folder, "msgpack", LARGE);
  const what = { address: `far/raw${MIB}`, push: `far/push${MIB}`, perMs: 3, weight: MIB };
  const raw = await shouts(bay, { ...what, views: true }, (value) => {
    const view = value as BytesView;
    return view.length === MIB && view.getUint8(0) === 7 && view.getUint8(MIB - 1) === 7;
  });
  const row = await compare(context, {
    figure: "raw: shouts of 1 MiB, views read in place, a ring of 4 MiB",
    unit: "B/s",
    ours: { ...raw, pid: far.pid },
    floor: bareSet(MIB),
    floorName: "bare set",
    target: near === cores ? undefined : { atLeast: 5e9, ratioAtLeast: 0.5 },
  });
  await raw.close();
  return row;
}

/** The suite. */
const suite: Suite = {
  summary: "between two processes through shared memory; CPU: this process + the other",
  processes: 2,
  run,
};

export default suite;
