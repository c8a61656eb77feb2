/**
 * A consumer that is killed between receiving and acknowledging: takes part in a group, prints each
 * value, and never finishes with the last.
 *
 * @module
 */

import { open } from "@patchbay/core";
import { durable } from "../mod.ts";

const [port, group, hangAt] = [Number(Deno.args[0]), Deno.args[1], Number(Deno.args[2])];
const bay = await open({
  module: "victim",
  plugins: [durable],
  config: { redis: { port, group } },
});
await bay.listen<number>("work/item", async (n) => {
  console.log(n);
  if (n >= hangAt) await new Promise(() => {});
});
console.log("ready");
