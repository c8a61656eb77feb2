/** Counts the texts that come, and prints how many once the manager has gone: `counting_module.ts URL`. */
import { BusComm } from "../mod.ts";
import { Display8x8Character, frames } from "./frames.ts";

let count = 0;
const lost = Promise.withResolvers<void>();
const comm = await BusComm.open({
  module: "counting",
  frames,
  url: Deno.args[0],
  maxQueue: 100_000,
  onReport: () => lost.resolve(),
});
comm.onFrame(() => void count++);
await comm.listenFor([Display8x8Character.type]);
console.log("ready");
await lost.promise;
console.log(`counted ${count}`);
await comm.stop();
