/**
 * Timeouts: deadlines of calls, aborting, a handler that notices, jobs that fall silent, and
 * speakers that fall silent.
 *
 * ```sh
 * deno run examples/timeouts.ts
 * ```
 *
 * It needs no permission, because both sides are in one process, and prints:
 *
 * ```text
 * the contract gives a call 200 ms, this one 50
 * the handler was told that … ms remain
 * the handler stops: its caller has gone
 * the caller: deadline_exceeded, deep/think: no response within 50 ms over in_process
 * aborted: enough of this
 * a job may be silent for 100 ms: 5 steps of 40 ms are done in … ms
 * as a whole it may not take 100 ms: deadline_exceeded, …
 * a job that hangs: deadline_exceeded, deep/dig: no feedback or result within 100 ms over in_process
 * no ping for 60 ms
 * a ping, and after it silence again
 * no ping for 60 ms
 * ```
 *
 * @module
 */
import {
  defineCallable,
  defineJob,
  defineSpeaker,
  Patchbay,
  PatchbayError,
} from "@patchbay/patchbay";

const Think = defineCallable<string, number>({ address: "deep/think", timeoutMs: 200 });
const Dig = defineJob<{ steps: number; hangs?: boolean }, number, string>({ address: "deep/dig" });
const Ping = defineSpeaker<null>({ address: "deep/ping", maxSilenceMs: 60 });

await using bay = await Patchbay.open({ module: "deep" });

function say(what: string, error: unknown): void {
  if (!(error instanceof PatchbayError)) throw error;
  console.log(`${what}: ${error.code}, ${error.message}`);
}

/** Waits, unless the other side has had enough. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

// ----- calls: 1 s on this host, 5 s on the network, unless the contract or the caller says -----

const { promise: stopped, resolve: hasStopped } = Promise.withResolvers<void>();
await bay.serve(Think, async (question, { signal, remainingMs }) => {
  if (question === "quietly") return await pause(10_000, signal).then(() => 42);
  console.log(`the handler was told that ${Math.round(remainingMs)} ms remain`);
  await pause(10_000, signal).catch((reason) => {
    console.log("the handler stops: its caller has gone");
    hasStopped();
    throw reason;
  });
  return 42;
});

console.log("the contract gives a call 200 ms, this one 50");
const late = bay.call(Think, "what is it?", { timeoutMs: 50 });
const failed = late.then(() => undefined, (error: unknown) => error);
await stopped;
say("the caller", await failed);

// An `AbortSignal` ends a call whenever you like; it rejects with the signal's own reason.
const patience = new AbortController();
const call = bay.call(Think, "quietly", { signal: patience.signal });
patience.abort(new Error("enough of this"));
await call.catch((error: Error) => console.log(`aborted: ${error.message}`));

// ----- jobs: 30 s without feedback, unless the contract or the owner says -----

await bay.perform(Dig, async function* ({ steps, hangs }, { signal }) {
  for (let i = 1; i <= steps; i++) {
    await pause(40, signal);
    yield i;
  }
  if (hangs) await pause(10_000, signal);
  return "done";
});

// Each feedback starts the time anew: a long job need not know how long it takes.
const startedMs = performance.now();
const steady = await bay.execute(Dig, { steps: 5 }, { timeoutMs: 100 });
const result = await steady.result;
const tookMs = Math.round(performance.now() - startedMs);
console.log(`a job may be silent for 100 ms: 5 steps of 40 ms are ${result} in ${tookMs} ms`);

const hurried = await bay.execute(Dig, { steps: 5 }, {
  timeoutMs: 100,
  feedbackResetsTimeout: false,
});
await hurried.result.catch((error) => say("as a whole it may not take 100 ms", error));

const hanging = await bay.execute(Dig, { steps: 1, hangs: true }, { timeoutMs: 100 });
await hanging.result.catch((error) => say("a job that hangs", error));

// ----- speakers: who controls something that moves must know when nothing comes any more -----

let silences = 0;
let onSilence = Promise.withResolvers<void>();
await using speaker = await bay.speaker(Ping);
await using _listener = await bay.listen(Ping, () => {
  console.log("a ping, and after it silence again");
}, {
  onSilent: () => {
    silences++;
    console.log(`no ping for ${Ping.maxSilenceMs} ms`);
    onSilence.resolve();
  },
});
await onSilence.promise; // It fires once for each silence, and begins anew with each message.
onSilence = Promise.withResolvers<void>();
speaker.shout(null);
await onSilence.promise;
if (silences !== 2) throw new Error("unexpected");
