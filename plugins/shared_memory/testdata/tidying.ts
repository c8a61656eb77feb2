/**
 * Finds and removes what a killed process left, in a `/dev/shm` of its own: `tidying.ts FOLDER`.
 * Prints one line of JSON: what was found and removed.
 *
 * @module
 */

import { cleanStale, findStale, inspect } from "@patchbay/host";
import { SharedMemory } from "@patchbay/ffi";
import sharedMemory from "../mod.ts";
import { Names } from "../names.ts";
import { until, Victim } from "./processes.ts";

const [folder] = Deno.args;
const names = await Names.of(folder, "someone");
const there = () => [...Deno.readDirSync("/dev/shm")].map(({ name }) => name).sort();

// A dialler that dies when its segment is made, whose acceptor is stopped, and dies then.
const two = new Victim({ folder, module: "two", serves: true });
await two.ready;
two.signal("SIGSTOP");
const one = new Victim({ folder, module: "one", other: "two", fault: "made" });
await one.end();
two.signal("SIGKILL");
await two.end();
const left = there();
// A live process's, and a name that is not of ours.
using live = SharedMemory.create(names.next(), 4096);
SharedMemory.create("/pb-of-somebody", 4096)[Symbol.dispose]();
const options = { runtimeDir: folder, plugins: [sharedMemory] };
const found = await findStale(options);
const report = await inspect({
  builtins: [sharedMemory],
  discover: false,
  runtimeDirectory: folder,
  module: "doctor",
});
const removed = await cleanStale(options);
const again = await cleanStale(options);
await until("its files are gone", () => [...Deno.readDirSync(folder)].length <= 1);
console.log(
  JSON.stringify({
    left,
    found,
    stale: report.stale,
    removed,
    again,
    kept: there(),
    live: live.name.slice(1),
  }),
);
