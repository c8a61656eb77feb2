/**
 * Jobs: acceptance, feedback, result, cancelling, deadlines and limits.
 *
 * @module
 */

import { defineJob } from "../../contract.ts";
import type { JobHandle } from "../../job.ts";
import { type Case, ofPattern } from "../case.ts";
import { equal, ok, range, reasonOf, refused } from "../expect.ts";
import { numericText } from "../roles_callable.ts";
import { counters } from "./lifecycle.ts";

/** All feedback of a job. */
async function feedbackOf<T>(job: JobHandle<T, unknown>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of job.feedback) values.push(value);
  return values;
}

/** The cases. */
export const JOB: readonly Case[] = ofPattern("job", [
  ...(["count", "generate", "burst"] as const).map((kind) => ({
    name: `job: all feedback comes in order and before the result (${kind})`,
    run: async ({ near, play, wait }) => {
      await play("worker", { address: "far/count", kind });
      const job = await wait("acceptance", near.execute<number, number, string>("far/count", 100));
      const order: (number | string)[] = [];
      const reading = (async () => {
        for await (const n of job.feedback) order.push(n);
      })();
      const result = job.result.then((text) => order.push(text));
      await wait("feedback and result", Promise.all([reading, result]));
      // The order in which they arrive, not that in which two awaits happen to resume.
      const numbers = order.filter((each) => typeof each === "number");
      equal(numbers, range(1, 100));
      equal(await job.result, "done 100");
      equal(job.state, "succeeded");
    },
  } satisfies Omit<Case, "pattern">)),
  {
    name: "job: the handle says where it runs, how far it is and where it stands",
    run: async ({ near, play, wait, fixture, traits }) => {
      await play("worker", { address: "far/count", kind: "count" });
      await play("worker", { address: "far/context", kind: "context" });
      const fractions: number[] = [];
      const onProgress = (fraction: number) => void fractions.push(fraction);
      const job = await near.execute("far/count", 4, { onProgress });
      equal([job.address, job.transport], ["far/count", fixture.plugin.name]);
      await wait("the result", job.result);
      equal(fractions, [0.25, 0.5, 0.75, 1]);
      equal(job.progress, 1);
      const headers = { order: "17" };
      const other = await near.execute("far/context", null, { headers });
      const told = await wait("the context", other.result) as {
        id: string;
        headers: unknown;
        peer: { module: string; transport: string };
        address: string;
      };
      equal([told.id, told.address], [other.id, "far/context"]);
      equal(told.headers, traits.headers ? headers : {});
      equal(told.peer.transport, fixture.plugin.name);
      if (traits.headers) equal(told.peer.module, "near");
    },
  },
  {
    name: "job: an onProgress that throws is reported and costs nothing else",
    run: async ({ near, play, wait, reports }) => {
      await play("worker", { address: "far/count", kind: "count" });
      const onProgress = () => {
        throw new Error("the bar broke");
      };
      const job = await near.execute("far/count", 2, { onProgress });
      equal(await wait("the result", job.result), "done 2");
      equal(reports.map((report) => report.message), ["the bar broke", "the bar broke"]);
    },
  },
  {
    name: "job: a goal is accepted, or rejected with the worker's reason, before it is begun",
    run: async ({ near, play, wait }) => {
      await play("worker", { address: "far/yes", kind: "count", accept: "yes" });
      equal(await wait("the job", (await near.execute("far/yes", 1)).result), "done 1");
      for (const accept of ["no", "text", "throw"]) {
        const address = `far/${accept}`;
        const far = await play("worker", { address, kind: "count", accept });
        const code = accept === "throw" ? "forbidden" : "remote";
        const error = await refused(wait("a refusal", near.execute(address, 1)), code, accept);
        if (accept === "text") equal(error.message, "the gripper is cold");
        if (accept === "throw") equal(error.message, "not this goal");
        else equal(error.details, { rejected: true });
        equal(await far.ask("count"), 0, "the handler is not reached");
      }
    },
  },
  {
    name: "job: what a worker throws is the result's error, with its message and no stack",
    run: async ({ near, play, wait, traits }) => {
      await play("worker", { address: "far/throw", kind: "throw" });
      const job = await near.execute("far/throw", "error");
      const error = await refused(wait("the end", job.result), "remote", "a throwing worker");
      equal([error.message, error.details?.name], ["the worker's own words", "RangeError"]);
      ok(traits.values || error.cause === undefined, "the cause crossed the wire");
      equal(await wait("the feedback to end", feedbackOf(job)), []);
      equal(job.state, "failed");
      const own = await near.execute("far/throw", "patchbay");
      const known = await refused(wait("the end", own.result), "forbidden", "a PatchbayError");
      equal(known.message, "not for you");
    },
  },
  {
    name: "job: an address that nobody performs is not_found at once",
    run: async ({ near, wait }) => {
      const attempt = near.execute("nobody/works", 1, { timeoutMs: Infinity });
      const error = await refused(wait("the refusal", attempt), "not_found", "an unknown job");
      ok(error.message.includes("nobody/works"), "it names the address");
    },
  },
  {
    name: "job: cancel reaches the worker, and the result rejects with the reason",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const job = await near.execute("far/job", 1);
      await wait("the worker to begin", far.ask("entered", { count: 1 }));
      const reason = new Error("the part is gone");
      job.cancel(reason);
      job.cancel("a second cancel is harmless");
      ok(await reasonOf(wait("the end", job.result), "a cancelled job") === reason, "the reason");
      equal(job.state, "cancelled");
      equal(await far.ask("aborted", { count: 1 }), ["the part is gone"]);
      const plain = await near.execute("far/job", 2);
      plain.cancel();
      const abort = await reasonOf(wait("the end", plain.result), "a cancelled job");
      equal((abort as Error).name, "AbortError");
    },
  },
  {
    name: "job: a worker that returns although it was cancelled: its result counts",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "stubborn" });
      const job = await near.execute("far/job", "too late");
      job.cancel();
      await wait("the worker to learn of it", far.ask("aborted", { count: 1 }));
      await far.ask("release");
      equal(await wait("the result", job.result), "too late");
      equal(job.state, "cancelled");
    },
  },
  {
    name: "job: cancelling after the end, and disposing twice, are harmless",
    run: async ({ near, play, wait }) => {
      await play("worker", { address: "far/count", kind: "count" });
      const job = await near.execute("far/count", 1);
      equal(await wait("the result", job.result), "done 1");
      job.cancel("too late");
      await wait("dispose", job[Symbol.asyncDispose]());
      await wait("dispose again", job[Symbol.asyncDispose]());
      equal([job.state, await job.result], ["succeeded", "done 1"]);
    },
  },
  {
    name: "job: disposing of a running job cancels it",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const job = await near.execute("far/job", 1);
      await wait("dispose", job[Symbol.asyncDispose]());
      equal(job.state, "cancelled");
      await wait("the worker to learn of it", far.ask("aborted", { count: 1 }));
    },
  },
  {
    name: "job: an abort rejects at once with the signal's reason, and stops the worker",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "stubborn" });
      const early = near.execute("far/job", 1, { signal: AbortSignal.abort("early") });
      equal(await reasonOf(early, "an aborted job"), "early");
      const control = new AbortController();
      const job = await near.execute("far/job", 2, { signal: control.signal });
      const reason = new Error("stop");
      control.abort(reason);
      ok(await reasonOf(wait("the end", job.result), "an aborted job") === reason, "the reason");
      equal(await wait("the feedback to end", feedbackOf(job)), []);
      await wait("the worker to learn of it", far.ask("aborted", { count: 1 }));
      equal(await far.ask("count"), 1, "a goal aborted before it was sent is not sent");
    },
  },
  {
    name: "job: silence is deadline_exceeded, and the worker is stopped",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      // On a busy machine connecting takes longer than a worker may be silent.
      const first = await near.execute("far/job", 0, { timeoutMs: 10_000 });
      first.cancel();
      await first.result.catch(() => {});
      const job = await near.execute("far/job", 1, { timeoutMs: 60 });
      const error = await refused(wait("the deadline", job.result), "deadline_exceeded", "silence");
      equal([error.details?.timeoutMs, error.details?.accepted], [60, true]);
      equal(job.state, "failed");
      await wait("the worker to learn of it", far.ask("aborted", { count: 2 }));
    },
  },
  {
    name: "job: a goal that is never decided on is deadline_exceeded, and never begun",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "count", accept: "hang" });
      const attempt = near.execute("far/job", 1, { timeoutMs: 60 });
      const error = await refused(wait("the deadline", attempt), "deadline_exceeded", "no word");
      equal(error.details?.accepted, false);
      equal(await far.ask("count"), 0);
    },
  },
  {
    name: "job: feedback starts the deadline anew, unless it is the whole job's time",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const startedMs = performance.now();
      const patient = await near.execute("far/job", 1, { timeoutMs: 250 });
      // A second silence, of the same length, is the clock: 60 ms between two feedbacks.
      let n = 0;
      while (performance.now() - startedMs < 600) {
        await wait("a moment", new Promise<void>((resolve) => setTimeout(resolve, 30)));
        n++;
        await far.ask("feedback", { range: [n, n] });
      }
      equal(patient.state, "running");
      await refused(wait("the deadline", patient.result), "deadline_exceeded", "then silence");
      const strict = await near.execute("far/job", 2, {
        timeoutMs: 150,
        feedbackResetsTimeout: false,
      });
      let ended = false;
      const end = refused(strict.result, "deadline_exceeded", "the whole time");
      const mark = end.finally(() => ended = true);
      while (!ended) {
        await wait("a moment", new Promise<void>((resolve) => setTimeout(resolve, 30)));
        await far.ask("feedback", { range: [1, 1] });
      }
      await wait("the deadline", mark);
    },
  },
  {
    name: "job: many at once, each with its own feedback and result",
    run: async ({ near, play, wait }) => {
      await play("worker", { address: "far/count", kind: "count" });
      const one = async (n: number) => {
        const job = await near.execute<number, number, string>("far/count", n);
        return [await feedbackOf(job), await job.result];
      };
      const all = await wait("all jobs", Promise.all(range(1, 40).map(one)));
      equal(all, range(1, 40).map((n) => [range(1, n), `done ${n}`]));
    },
  },
  {
    name: "job: one more than maxConcurrent is overloaded, and fits when another has ended",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient", maxConcurrent: 2 });
      const first = await near.execute("far/job", 1);
      const second = await near.execute("far/job", 2);
      const error = await refused(near.execute("far/job", 3), "overloaded", "a third job");
      equal(error.details?.maxConcurrent, 2);
      first.cancel("make room");
      await reasonOf(wait("the first to end", first.result), "a cancelled job");
      const third = await wait("a third job", near.execute("far/job", 3));
      await far.ask("release");
      equal(await wait("the rest", Promise.all([second.result, third.result])), [2, 3]);
      equal(counters(near, "client", "far/job").pending, 0);
    },
  },
  {
    name: "job: feedback that nobody reads is bounded, and the result comes all the same",
    run: async ({ near, play, wait, until }) => {
      await play("worker", { address: "far/burst", kind: "burst" });
      const job = await near.execute<number, number, string>("far/burst", 2000);
      equal(await wait("the result", job.result), "done 2000");
      const kept = await wait("the feedback", feedbackOf(job));
      equal(kept, range(2000 - 255, 2000), "256 are kept, the newest");
      await until("the drops to be counted", () => {
        return counters(near, "client", "far/burst").drops.overflow_oldest === 2000 - 256;
      });
    },
  },
  {
    name: "job: schemas on goal, feedback and result, on both sides",
    run: async ({ near, wait, open }) => {
      const schema = numericText();
      const contract = defineJob({
        address: "maker/job",
        goal: schema,
        feedback: schema,
        result: schema,
      });
      const maker = await open("maker");
      const goals: number[] = [];
      await maker.perform(contract, (goal, context) => {
        goals.push(goal);
        if (goal === 13) context.feedback("no number");
        context.feedback(`${goal + 1}`);
        return goal === 14 ? "no number" : `${goal + 2}`;
      });
      await refused(near.execute(contract, "no number"), "invalid", "a bad goal");
      await refused(near.execute("maker/job", "no number"), "invalid", "a bad goal, unchecked");
      equal(goals, []);
      const good = await near.execute(contract, "40");
      equal(await wait("the feedback", feedbackOf(good)), [41]);
      equal(await wait("the result", good.result), 42);
      for (const goal of ["13", "14"]) {
        const bad = await near.execute(contract, goal);
        await refused(wait("the end", bad.result), "invalid", "a bad feedback or result");
      }
      equal(goals, [40, 13, 14]);
    },
  },
]);
