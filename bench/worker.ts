/**
 * Calls, shouts and payloads between a program and its worker, over shared memory and over messages,
 * beside a bare ring and bare `postMessage`.
 *
 * @module
 */

import { createRing, open, RingConsumer, RingProducer } from "@patchbay/core";
import worker from "@patchbay/worker";
import { batches, compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import type { Placement, Suite, SuiteContext } from "./suite.ts";
import { MESSAGE, type Message } from "./uds_far.ts";
import { BUSY_AT, CAPACITY, type Role, SECOND } from "./worker_far.ts";

/** How many messages are shouted in one round for each millisecond that it may take. */
const SHOUTS_PER_MS = 500;
const FAR = new URL("./worker_far.ts", import.meta.url);

function start(role: Role): Worker {
  return new Worker(FAR, { type: "module", name: role });
}

async function pin(cores: string, thread: string): Promise<void> {
  await new Deno.Command("taskset", { args: ["-cp", cores, thread], stdout: "null" }).output();
}

/**
 * Moves the workers of this process to the far core, and its main thread to the other: left alone,
 * both may share one for seconds.
 */
async function pinThreads({ near, far }: Placement): Promise<void> {
  if (near === undefined || far === undefined) return;
  await pin(near[0], String(Deno.pid));
  for (const { name: thread } of Deno.readDirSync("/proc/self/task")) {
    const name = await Deno.readTextFile(`/proc/self/task/${thread}/comm`);
    if (name.startsWith("worker")) await pin(far, thread);
  }
}

/** A worker inherits where it may run, and asks how many cores that is. */
async function unpinThreads({ near }: Placement): Promise<void> {
  if (near !== undefined) await pin(near, String(Deno.pid));
}

/** One answer of a worker. */
function answer<T>(from: Worker): Promise<T> {
  return new Promise((resolve) => from.onmessage = ({ data }) => resolve(data as T));
}

/** The floor of messages: the same object there, the sum back. */
function bareMessages(far: Worker): () => Promise<{ sum: number }> {
  return () => {
    const sum = answer<{ sum: number }>(far);
    far.postMessage(MESSAGE);
    return sum;
  };
}

/** The floor of shared memory: 85 bytes go through two rings, and both sides look all the time. */
function bareRing(far: Worker): Contender & { readonly stop: () => void } {
  const memory = new SharedArrayBuffer(2 * SECOND + 8);
  createRing(memory, CAPACITY);
  createRing(memory, CAPACITY, { offset: SECOND });
  const producer = RingProducer.attach(memory);
  const consumer = RingConsumer.attach(memory, { offset: SECOND });
  const words = new Int32Array(memory);
  const busy = (on: 0 | 1) => {
    Atomics.store(words, BUSY_AT, on);
    Atomics.notify(words, BUSY_AT);
  };
  far.postMessage(memory);
  const bytes = new TextEncoder().encode(JSON.stringify(MESSAGE));
  const back = new Uint8Array(bytes.length);
  const { run } = batches((operations) => {
    for (let i = 0; i < operations; i++) {
      producer.bytes.set(bytes, producer.claim(bytes.length));
      producer.commit(bytes.length);
      let at = -1;
      while (at < 0) at = consumer.peek();
      back.set(consumer.bytes.subarray(at, at + consumer.length));
      consumer.release();
    }
  }, 100);
  return {
    async run(roundMs) {
      busy(1);
      const reading = await run(roundMs);
      busy(0);
      return reading;
    },
    stop: () => far.terminate(),
  };
}

/** The floor of many in flight: answers come in the order of the calls. */
function barePipelined(far: Worker): Contender {
  return pipelined(() => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    waiting.push(resolve);
    far.onmessage ??= ({ data }) => {
      waiting[next++](data);
      if (next === waiting.length) {
        waiting.length = next = 0;
      }
    };
    far.postMessage(MESSAGE);
    return promise;
  });
}
const waiting: ((value: unknown) => void)[] = [];
let next = 0;

/** A megabyte there and back: the buffer itself is handed over. */
function bareBuffer(far: Worker, size: number): Contender {
  let buffer = new ArrayBuffer(size);
  return latencies(async () => {
    const back = answer<ArrayBuffer>(far);
    far.postMessage(buffer, [buffer]);
    buffer = await back;
  });
}

async function run(context: SuiteContext): Promise<Row[]> {
  const rows: Row[] = [];
  const bare = start("messages");
  const call = bareMessages(bare);
  if ((await call()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
  const pair = start("ring");
  const ring = bareRing(pair);
  for (const shared of [true, false]) {
    await using bay = await open({
      module: "near",
      plugins: [worker],
      config: { worker: { shared } },
    });
    await unpinThreads(context.placement);
    bay.transport(worker).spawn(FAR, { name: "ours" });
    await bay.waitFor({ pattern: "callable", address: "far/push" } as never);
    await pinThreads(context.placement);
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const add = () => adder.call(MESSAGE);
    if ((await add()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
    const name = shared ? "shared memory" : "messages";
    rows.push(
      await compare(context, {
        figure: `${name}: call of 85 B, one at a time, p50`,
        unit: "ns",
        ours: latencies(add),
        floor: latencies(call),
        floorName: "bare postMessage",
        target: shared ? { atMost: 3000 } : { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: `${name}: the same, p99`,
        unit: "ns",
        ours: latencies(add, 0.99),
        floor: latencies(call, 0.99),
        floorName: "bare postMessage",
      }),
    );
    if (shared) {
      rows.push(
        await compare(context, {
          figure: `${name}: call of 85 B beside 85 B through a bare ring`,
          unit: "ns",
          ours: latencies(add),
          floor: ring,
          floorName: "bare ring",
        }),
      );
    }
    bare.onmessage = null;
    rows.push(
      await compare(context, {
        figure: `${name}: calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: pipelined(add),
        floor: barePipelined(bare),
        floorName: "bare postMessage",
      }),
    );
    let heard = 0;
    let wanted = Promise.withResolvers<void>();
    let total = 0;
    await bay.listen("far/tick", () => {
      if (++heard === total) wanted.resolve();
    }, { overflow: "block" });
    rows.push(
      await compare(context, {
        figure: `${name}: shouts of a number, overflow block`,
        unit: "/s",
        ours: {
          async run(roundMs) {
            total = roundMs * SHOUTS_PER_MS;
            heard = 0;
            wanted = Promise.withResolvers();
            const start = performance.now();
            await bay.call("far/push", total, { timeoutMs: 20_000 });
            await wanted.promise;
            return { value: total * 1000 / (performance.now() - start), operations: total };
          },
        },
      }),
    );
    const echo = bay.callable<Uint8Array, Uint8Array>("far/echo");
    for (const size of [1e5, 1e6]) {
      const value = new Uint8Array(size);
      rows.push(
        await compare(context, {
          figure: `${name}: raw bytes, ${size / 1e3} KB there and back, p50`,
          unit: "ns",
          ours: latencies(async () => {
            const { length } = await echo.call(value, { timeoutMs: 20_000 });
            if (length !== size) throw new Error("garbled");
          }),
          floor: bareBuffer(bare, size),
          floorName: "buffer handed over",
        }),
      );
    }
  }
  ring.stop();
  bare.terminate();
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "between a program and its worker; CPU: both threads",
  processes: 1,
  run,
};

export default suite;
