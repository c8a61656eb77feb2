/**
 * For a test that kills it: a bay with a named session that takes an order and never finishes it.
 * `consumer.ts PORT`. Prints what it takes.
 *
 * @module
 */
import { open } from "@patchbay/core";
import { durable } from "../mod.ts";

const bay = await open({
  module: "packer",
  plugins: [durable],
  config: { mqtt: { port: Number(Deno.args[0]), clientId: "packer-1" } },
});
await bay.listen<number>("shop/order", async (n) => {
  console.log(`took ${n}`);
  if (n === 3) await new Promise(() => {});
});
console.log("ready");
