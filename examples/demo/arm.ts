/**
 * The arm of the demo: answers calls, and performs two jobs.
 *
 * @module
 */
import { Patchbay } from "@patchbay/patchbay";
import { ArmReport, Calibrate, Joint, Pick } from "./contracts.ts";
import { conductorHasGone } from "./life.ts";

const STEPS = 60;
const STEP_MS = 30;

const counted = { pid: Deno.pid, running: 0, done: 0, stopped: 0 };

/** The work itself: one step takes a while, unless the owner of the job has had enough. */
function step(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, STEP_MS);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** Counts how jobs end. */
async function* counting<Feedback, Result>(
  work: AsyncGenerator<Feedback, Result, void>,
): AsyncGenerator<Feedback, Result, void> {
  counted.running++;
  try {
    const result = yield* work;
    counted.done++;
    return result;
  } catch (error) {
    counted.stopped++;
    throw error;
  } finally {
    counted.running--;
  }
}

await using bay = await Patchbay.open({
  module: "arm",
  runtimeDirectory: Deno.args[0],
  configFile: false,
  discover: false,
});

await bay.perform(Pick, (goal, context) =>
  counting((async function* () {
    for (let i = 1; i <= STEPS; i++) {
      await step(context.signal);
      context.progress(i / STEPS);
      const phase = i < 20 ? "approach" : i < 30 ? "grip" : "lift";
      yield { phase, heightMm: i < 20 ? 200 - 10 * i : i < 30 ? 0 : (i - 30) * 5 };
    }
    return { grams: 100 * goal.part.length };
  })()));

await bay.perform(Calibrate, (goal, context) =>
  counting((async function* () {
    for (let i = 1; i <= STEPS; i++) {
      await step(context.signal);
      context.progress(i / STEPS);
      yield { joint: Math.ceil(i * goal.joints / STEPS) };
    }
    return { calibrated: goal.joints };
  })()));

await bay.serve(ArmReport, () => ({ ...counted }));
// Last, so that who reaches this one reaches everything.
await bay.serve(Joint, ({ joint }) => ({
  degrees: Math.round(90 * Math.sin(performance.now() / 1000 + joint)),
}));

await conductorHasGone();
