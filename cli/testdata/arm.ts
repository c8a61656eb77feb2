/**
 * The module that the tests of the command talk to: `arm.ts <runtime directory>`. Says `ready`, then
 * one line for everything a test wants to see, and ends when its standard input does.
 *
 * @module
 */

import { Patchbay } from "@patchbay/patchbay";

const say = (event: unknown) => console.log(JSON.stringify(event));

await using bay = await Patchbay.open({
  module: "arm",
  runtimeDirectory: Deno.args[0],
  configFile: false,
  discover: false,
  onReport: (error) => say({ report: error.message }),
});

await bay.serve("arm/add", (request, { headers }) => {
  const { a, b } = request as { a: number; b: number };
  return { sum: a + b, headers };
});
await bay.serve("arm/echo", (request) => request);
await bay.serve("arm/fail", () => {
  throw new Error("the joint is stuck");
});
await bay.serve("arm/never", (_, { signal }) => {
  say("called");
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
});

await bay.perform("arm/pick", async function* (goal, { progress }) {
  const { steps } = goal as { steps: number };
  for (let step = 1; step <= steps; step++) {
    await Promise.resolve();
    progress(step / steps);
    yield { step };
  }
  return { picked: true };
});
await bay.perform("arm/hold", (_, { signal, feedback }) => {
  feedback("holding");
  return new Promise((_, reject) =>
    signal.addEventListener("abort", () => {
      say("cancelled");
      reject(signal.reason);
    })
  );
});
await bay.perform("arm/stubborn", (_, { feedback }) => {
  feedback("I do not listen");
  return new Promise(() => {});
}, { orphanMs: 1 });

const tick = await bay.speaker("arm/tick");
const pose = await bay.speaker("arm/pose", { retain: true });
await pose.shout({ x: 1 });
let n = 0;
const ticking = setInterval(() => void tick.shout({ n: ++n, name: "tick" }), 10);

say("ready");
for await (const _ of Deno.stdin.readable);
clearInterval(ticking);
