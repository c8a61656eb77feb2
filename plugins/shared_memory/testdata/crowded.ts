/**
 * Pairs of bays in a `/dev/shm` that is too small, made so by who starts this: `crowded.ts FOLDER`.
 * Prints one line of JSON: what each attempt came to.
 *
 * @module
 */

import { open, PatchbayError, type Plugin } from "@patchbay/core";
import { HostDirectory } from "@patchbay/host";
import uds from "../../uds/mod.ts";
import sharedMemory from "../mod.ts";
import { numbered, readNumbered } from "./numbered.ts";

const [folder] = Deno.args;
const bays = new AsyncDisposableStack();
let sent = 0;

async function bayOf(module: string, ringBytes: number, more: Plugin[] = []) {
  return bays.use(
    await open({
      module,
      plugins: [sharedMemory, ...more],
      config: { shared_memory: { ringBytes } },
      directory: (identity) => HostDirectory.open(identity, { path: folder }),
    }),
  );
}

/** What a call to the server comes to. */
async function attempt(bay: Awaited<ReturnType<typeof bayOf>>) {
  const number = sent++;
  try {
    const answer = readNumbered(await bay.call("near/echo", numbered(1, number, 50_000)));
    return typeof answer === "string" ? answer : answer.number === number ? "ok" : "another's";
  } catch (error) {
    const { code, message, remedy, retryable } = PatchbayError.fromThrown(error);
    return { code, message, remedy, retryable };
  }
}

const near = await bayOf("near", 64 * 1024, [uds]);
await near.serve("near/echo", (value) => value);
await near.serve("near/wire", (_, { peer }) => peer?.transport);
const large = await bayOf("large", 1024 * 1024);
const tooLarge = await attempt(large);
const spare = await bayOf("spare", 64 * 1024, [uds]);
// Opened while there is room; each takes its memory when it calls first.
const candidates = [];
for (let n = 0; n < 30; n++) candidates.push(await bayOf(`small-${n}`, 64 * 1024));
const small = [];
let full: unknown = "ok";
while (full === "ok" && candidates.length > 0) {
  const bay = candidates.shift()!;
  full = await attempt(bay);
  if (full === "ok") small.push(bay);
}
// Open since there was room, with another wire besides: a new pair goes over that.
const both = await attempt(spare);
const wireOfBoth = await spare.call("near/wire", null);
// Opened when there is none: it has the other wire.
const other = await bayOf("other", 64 * 1024, [uds]);
const over = await attempt(other);
const [wire] = other.wires().filter(({ name }) => name === "shared_memory");
// Those that have their memory have all of it: a page that is not there would end this process.
const stillGood = [];
for (const bay of small) for (let n = 0; n < 20; n++) stillGood.push(await attempt(bay));
const pairs = small.length;
await small.pop()?.close();
const late = candidates.shift()!;
let afterOneLeft: unknown;
// The other half of the pair lets go as soon as it has noticed.
for (let n = 0; n < 1000 && afterOneLeft !== "ok"; n++) {
  await new Promise((resolve) => setTimeout(resolve, 5));
  afterOneLeft = await attempt(late);
}
const named = [...Deno.readDirSync("/dev/shm")].map(({ name }) => name);
await bays.disposeAsync();
console.log(
  JSON.stringify({
    tooLarge,
    pairs,
    full,
    both: [both, wireOfBoth],
    over,
    wire,
    stillGood: stillGood.every((each) => each === "ok"),
    afterOneLeft,
    named,
  }),
);
