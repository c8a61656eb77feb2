/**
 * Jobs whose worker or owner goes away: closes, or dies.
 *
 * @module
 */

import { type Case, ofPattern } from "../case.ts";
import { equal, ok, reasonOf, refused } from "../expect.ts";

const APART = ["same_process", "two_processes"] as const;

/** The cases. */
export const JOB_ENDS: readonly Case[] = ofPattern("job", [
  {
    name: "job: a worker that closes cancels its jobs, and they end",
    run: async ({ near, wait, open }) => {
      const worker = await open("worker");
      const served = await worker.perform("worker/job", (_goal, { signal }) => {
        return new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      });
      const job = await near.execute("worker/job", 1);
      const end = reasonOf(job.result, "a job whose worker closed");
      await wait("the worker to close", served.close());
      await wait("the job to end", end);
      await refused(near.execute("worker/job", 2), ["not_found", "closed"], "a job after close");
    },
  },
  {
    name: "job: a worker that closes does not wait for a handler that never ends",
    layouts: ["same_process"],
    run: async ({ near, wait, open }) => {
      const worker = await open("worker");
      await worker.perform("worker/hang", () => new Promise(() => {}));
      const job = await near.execute("worker/hang", 1, { timeoutMs: Infinity });
      const end = refused(job.result, "closed", "a job whose worker closed");
      await wait("the worker's bay to close", worker.close());
      await wait("the job to end", end);
      equal(job.state, "lost");
    },
  },
  {
    name: "job: an owner that closes ends its jobs with closed",
    layouts: APART,
    run: async ({ play, wait, open }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const bay = await open("owner");
      const job = await bay.execute("far/job", 1);
      const end = refused(job.result, "closed", "a job whose owner closed");
      await wait("the owner to close", bay.close());
      await wait("the job to end", end);
      await wait("the worker to be told", far.ask("aborted", { count: 1 }));
    },
  },
  {
    name: "job: a worker that dies ends its jobs with closed, and their state is lost",
    layouts: ["two_processes"],
    run: async ({ near, play, wait, far, traits }) => {
      const worker = await play("worker", { address: "far/job", kind: "obedient" });
      const timeoutMs = traits.noticesDeath ? Infinity : 1000;
      const job = await near.execute("far/job", 1, { timeoutMs });
      await wait("the worker to begin", worker.ask("entered", { count: 1 }));
      const code = traits.noticesDeath ? "closed" : "deadline_exceeded";
      const end = refused(job.result, code, "a job whose worker died");
      await wait("the far process to be killed", far.kill());
      await wait("the job to end", end);
      equal(job.state, traits.noticesDeath ? "lost" : "failed");
    },
  },
  {
    name: "job: when its owner dies, a worker goes on for orphanMs and is then cancelled",
    layouts: ["two_processes"],
    run: async ({ near, play, wait, far, traits }) => {
      if (!traits.noticesDeath) return;
      const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
      const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
      await near.perform("near/job", (_goal, { signal, feedback }) => {
        signal.addEventListener("abort", () => abort(), { once: true });
        feedback("begun");
        enter();
        return aborted;
      }, { orphanMs: 100 });
      const owner = await play("owner", { address: "near/job" });
      await owner.ask("execute", { goal: 1 });
      await wait("the job to begin", entered);
      // Whoever dies before it follows its job cannot be told from one whose question is late.
      await wait("the owner to follow it", owner.ask("feedback"));
      const startedMs = performance.now();
      await wait("the far process to be killed", far.kill());
      await wait("the worker to be cancelled", aborted);
      ok(performance.now() - startedMs >= 100, "it was cancelled before orphanMs were over");
    },
  },
]);
