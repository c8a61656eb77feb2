/**
 * Job: a goal that takes time, with feedback on the way, progress, a result, and a way to stop it.
 *
 * ```sh
 * deno run examples/job.ts
 * ```
 *
 * It needs no permission, because both sides are in one process, and prints:
 *
 * ```text
 * accepted: running
 * 33 %: drilled hole 1
 * 67 %: drilled hole 2
 * 100 %: drilled hole 3
 * done: 3 holes in 30 mm of wood (succeeded)
 * refused: remote, the drill is made for wood
 * the worker stops at hole 2: changed my mind
 * cancelled: changed my mind (cancelled)
 * ```
 *
 * @module
 */
import { defineJob, Patchbay, PatchbayError } from "@patchbay/patchbay";

const Drill = defineJob<
  { material: string; holes: number },
  { hole: number },
  { holes: number; depthMm: number }
>({ address: "shop/drill" });

await using bay = await Patchbay.open({ module: "shop" });

// The worker: an async generator yields feedback and returns the result.
await bay.perform(Drill, async function* ({ holes }, { signal, progress }) {
  for (let hole = 1; hole <= holes; hole++) {
    await turn(signal);
    if (signal.aborted) {
      console.log(`the worker stops at hole ${hole}: ${signal.reason.message}`);
      throw signal.reason;
    }
    progress(hole / holes);
    yield { hole };
  }
  return { holes, depthMm: 30 };
}, {
  // A goal can be refused before it begins: with `false`, a reason, or by throwing.
  accept: ({ material }) => material === "wood" || "the drill is made for wood",
});

/** What takes time. Ends early if the job is cancelled. */
function turn(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 20);
  signal.addEventListener("abort", () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}

// The owner. `execute` resolves when the goal is accepted.
const job = await bay.execute(Drill, { material: "wood", holes: 3 });
console.log(`accepted: ${job.state}`);
for await (const { hole } of job.feedback) {
  console.log(`${Math.round(100 * (job.progress ?? 0))} %: drilled hole ${hole}`);
}
const { holes, depthMm } = await job.result;
console.log(`done: ${holes} holes in ${depthMm} mm of wood (${job.state})`);

try {
  await bay.execute(Drill, { material: "steel", holes: 1 });
} catch (error) {
  if (!(error instanceof PatchbayError)) throw error;
  console.log(`refused: ${error.code}, ${error.message}`);
}

// `cancel` asks the worker to stop; `result` tells how it ended.
const second = await bay.execute(Drill, { material: "wood", holes: 1000 });
for await (const _ of second.feedback) second.cancel(new Error("changed my mind"));
try {
  await second.result;
} catch (error) {
  console.log(`cancelled: ${(error as Error).message} (${second.state})`);
}
