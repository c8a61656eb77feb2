/**
 * Jobs on the far side: workers with every temper a worker can have, and an owner.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import { PatchbayError } from "../errors.ts";
import type { JobHandle } from "../job.ts";
import type { JobContext, PerformOptions } from "../job_endpoint.ts";
import type { Json } from "./plugin_fixture.ts";
import { describe } from "./recipes.ts";
import type { Role } from "./roles.ts";
import { Gate, Tally } from "./tally.ts";

/** What a {@link worker} does with a goal. */
export type WorkerKind =
  /** Takes a number n, gives feedback 1…n and progress, returns `done n`. */
  | "count"
  /** The same as a generator, without progress. */
  | "generate"
  /** The same, but sends all of it in the first turn. */
  | "burst"
  /** Gives feedback when asked to, and returns the goal when released; stops when cancelled. */
  | "obedient"
  /** As obedient, but goes on when cancelled. */
  | "stubborn"
  /** Throws as its goal says. */
  | "throw"
  /** Returns what the context says. */
  | "context";

function accept(manner: Json | undefined, gate: Gate): PerformOptions["accept"] {
  switch (manner) {
    case undefined:
      return undefined;
    case "no":
      return () => false;
    case "text":
      return () => Promise.resolve("the gripper is cold");
    case "throw":
      return () => {
        throw new PatchbayError("forbidden", "not this goal");
      };
    case "hang":
      return () => gate.opened.then(() => false);
    default:
      return () => Promise.resolve(true);
  }
}

type Context = JobContext<unknown>;

async function* generate(n: number): AsyncGenerator<unknown, unknown, void> {
  for (let i = 1; i <= n; i++) {
    yield i;
    await Promise.resolve();
  }
  return `done ${n}`;
}

async function count(n: number, context: Context): Promise<string> {
  for (let i = 1; i <= n; i++) {
    context.feedback(i);
    context.progress(i / n);
    await Promise.resolve();
  }
  return `done ${n}`;
}

function burst(n: number, context: Context): string {
  for (let i = 1; i <= n; i++) context.feedback(i);
  return `done ${n}`;
}

/** Performs a job as its `kind` says. */
export const worker: Role = async (bay: Bay, args) => {
  const kind = args.kind as WorkerKind;
  const entered = new Tally<string>();
  const aborted = new Tally<string>();
  const contexts: Context[] = [];
  const gate = new Gate();
  const work = (goal: unknown, context: Context): unknown => {
    const onAbort = () => aborted.add(String((context.signal.reason as Error)?.message));
    if (context.signal.aborted) onAbort();
    else context.signal.addEventListener("abort", onAbort, { once: true });
    contexts.push(context);
    entered.add(describe(goal));
    switch (kind) {
      case "count":
        return count(goal as number, context);
      case "generate":
        return generate(goal as number);
      case "burst":
        return burst(goal as number, context);
      case "stubborn":
        return gate.opened.then(() => goal);
      case "obedient": {
        const { promise, reject } = Promise.withResolvers<never>();
        context.signal.addEventListener("abort", () => reject(context.signal.reason));
        if (context.signal.aborted) reject(context.signal.reason);
        return Promise.race([gate.opened.then(() => goal), promise]);
      }
      case "throw":
        if (goal === "patchbay") throw new PatchbayError("forbidden", "not for you");
        throw new RangeError("the worker's own words");
      case "context":
        return {
          id: context.id,
          headers: { ...context.headers },
          peer: { ...context.peer },
          address: context.address,
        };
    }
  };
  const served = await bay.perform(args.address as string, work as never, {
    accept: accept(args.accept, gate),
    sharing: args.sharing as "shared" | undefined,
    maxConcurrent: args.maxConcurrent as number | undefined,
    orphanMs: args.orphanMs as number | undefined,
    retainMs: args.retainMs as number | undefined,
  });
  return {
    ask: async (question, more) => {
      switch (question) {
        case "entered":
          return (await entered.reach(more.count as number)).slice();
        case "count":
          return entered.count;
        case "aborted":
          return (await aborted.reach(more.count as number)).slice();
        case "feedback": {
          const [from, to] = more.range as [number, number];
          for (let i = from; i <= to; i++) contexts.at(-1)?.feedback(i);
          return null;
        }
        case "release":
          gate.open();
          return null;
      }
      throw new Error(`a worker does not know ${question}`);
    },
    letGo: gate.open,
    close: async () => {
      gate.open();
      await served.close();
    },
  };
};

/** Owns one job, and does not wait for it. */
export const owner: Role = (bay: Bay, args) => {
  let handle: JobHandle<unknown, unknown> | undefined;
  let feedback: AsyncIterator<unknown> | undefined;
  return Promise.resolve({
    ask: async (question, more) => {
      switch (question) {
        case "execute":
          handle = await bay.execute(args.address as string, more.goal);
          return handle.id;
        case "feedback":
          // Kept open: what ends it might end the job.
          feedback ??= handle?.feedback[Symbol.asyncIterator]();
          return describe((await feedback?.next())?.value);
        case "result":
          return describe(await handle?.result);
      }
      throw new Error(`an owner does not know ${question}`);
    },
    close: async () => await handle?.[Symbol.asyncDispose](),
  });
};
