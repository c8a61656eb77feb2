/**
 * Calls and shouts inside one process.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import { defineCallable, defineSpeaker, open } from "@patchbay/core";
import inProcess from "@patchbay/in_process";
import { z } from "zod";
import { batches, compare, rate } from "./measure.ts";
import type { Row } from "./report.ts";
import type { Suite, SuiteContext } from "./suite.ts";

interface Pair {
  a: number;
  b: number;
}

const Add = defineCallable<Pair, number>({ address: "math/add" });
const AddSync = defineCallable<Pair, number>({ address: "math/add_sync" });
const AddChecked = defineCallable({
  address: "math/add_checked",
  request: z.object({ a: z.number(), b: z.number() }),
  response: z.number(),
});
const One = defineSpeaker<number>({ address: "tick/one" });
const Ten = defineSpeaker<number>({ address: "tick/ten" });

// deno-lint-ignore require-await -- the floor is an asynchronous function
async function bare({ a, b }: Pair): Promise<number> {
  return a + b;
}

/** What a million calls leave behind: the heap after twice as many, less that after once. */
async function heapGrowth(calls: (n: number) => Promise<void>, millions: number): Promise<number> {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("run with --v8-flags=--expose-gc");
  const settled = async () => {
    // A turn for the timer wheel, which holds finished calls until its next tick.
    await new Promise((resolve) => setTimeout(resolve, 100));
    gc();
    gc();
    return Deno.memoryUsage().heapUsed;
  };
  await calls(millions * 1e6);
  const before = await settled();
  await calls(millions * 1e6);
  return (await settled() - before) / millions;
}

async function run(effort: SuiteContext): Promise<Row[]> {
  await using bay = await open({ plugins: [inProcess], module: "bench" });
  await bay.serve(Add, bare);
  await bay.serve(AddSync, ({ a, b }) => a + b);
  await bay.serve(AddChecked, bare);
  const add = bay.callable(Add);
  const addSync = bay.callable(AddSync);
  const addChecked = bay.callable(AddChecked);
  const one = await bay.speaker(One);
  const ten = await bay.speaker(Ten);
  let heard = 0;
  const hear = (value: number) => void (heard += value);
  await bay.listen(One, hear);
  for (let i = 0; i < 10; i++) await bay.listen(Ten, hear);
  const emitter = new EventEmitter();
  emitter.setMaxListeners(10);
  emitter.on("one", hear);
  for (let i = 0; i < 10; i++) emitter.on("ten", (value: number) => void (heard += value));

  const bareBatch = async (n: number) => {
    for (let i = 0; i < n; i++) await bare({ a: i, b: 2 });
  };
  const callBatch = async (n: number) => {
    for (let i = 0; i < n; i++) await add.call({ a: i, b: 2 });
  };
  const floorName = "bare async function";
  const rows: Row[] = [];
  rows.push(
    await compare(effort, {
      figure: "call, statistics on, p50",
      unit: "ns",
      ours: batches(callBatch),
      floor: batches(bareBatch),
      floorName,
      target: { atMost: 130 },
    }),
    await compare(effort, {
      figure: "calls awaited one after another",
      unit: "/s",
      ours: rate(callBatch),
      floor: rate(bareBatch),
      floorName,
      target: { atLeast: 7e6 },
    }),
    await compare(effort, {
      figure: "call of a synchronous handler, p50",
      unit: "ns",
      ours: batches(async (n) => {
        for (let i = 0; i < n; i++) await addSync.call({ a: i, b: 2 });
      }),
      floor: batches(bareBatch),
      floorName,
    }),
    await compare(effort, {
      figure: "call with zod on request and response, p50",
      unit: "ns",
      ours: batches(async (n) => {
        for (let i = 0; i < n; i++) await addChecked.call({ a: i, b: 2 });
      }),
      floor: batches(bareBatch),
      floorName,
      target: { atMost: 200 },
    }),
    await compare(effort, {
      figure: "shout to one listener",
      unit: "/s",
      ours: rate((n) => {
        for (let i = 0; i < n; i++) void one.shout(i);
      }),
      floor: rate((n) => {
        for (let i = 0; i < n; i++) emitter.emit("one", i);
      }),
      floorName: "EventEmitter",
      target: { atLeast: 15e6 },
    }),
    await compare(effort, {
      figure: "shout to ten listeners",
      unit: "/s",
      ours: rate((n) => {
        for (let i = 0; i < n; i++) void ten.shout(i);
      }),
      floor: rate((n) => {
        for (let i = 0; i < n; i++) emitter.emit("ten", i);
      }),
      floorName: "EventEmitter",
    }),
  );
  const millions = effort.rounds > 3 ? 4 : 1;
  const growth = await heapGrowth(callBatch, millions);
  rows.push({
    figure: `heap growth for a million calls, after ${millions} million`,
    unit: "B",
    ours: { value: growth },
    // A leak of one byte a call would be 1 MB; compiled code and histograms come to a few KB.
    target: { atMost: 64e3 },
  });
  if (heard === 0) throw new Error("nothing was heard");
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "calls and shouts inside one process; p50 is the median of the means of 1,000 calls",
  flags: ["--v8-flags=--expose-gc"],
  processes: 1,
  run,
};

export default suite;
