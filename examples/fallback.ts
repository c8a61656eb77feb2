/**
 * Fallback: an order of wires to try, one of which cannot be used here, and why.
 *
 * ```sh
 * deno run examples/fallback.ts
 * ```
 *
 * Without permissions the wire uds cannot work, so that it prints:
 *
 * ```text
 * in_process  open
 * uds         not available: the runtime directory cannot be named: …
 *             remedy: run deno with --allow-sys=uid, …
 *
 * via: uds, then in_process
 * uds         rejected: the runtime directory cannot be named: …
 * in_process  chosen: in this process
 * Hello Ada, over in_process
 *
 * via: uds alone
 * unavailable: desk/greet: no wire leads there (uds: …)
 * remedy: run deno with --allow-sys=uid, …
 * ```
 *
 * @module
 */
import { defineCallable, Patchbay, PatchbayError } from "@patchbay/patchbay";

const Greet = defineCallable<string, string>({ address: "desk/greet" });

await using bay = await Patchbay.open({ module: "desk" });
await bay.serve(Greet, (name) => `Hello ${name}`);

// Every wire says whether it works here; if not, why, and what to do.
for (const wire of bay.wires()) {
  const name = wire.name.padEnd(11);
  console.log(`${name} ${wire.open ? "open" : `not available: ${wire.reason}`}`);
  if (wire.remedy !== undefined) console.log(`${" ".repeat(11)} remedy: ${wire.remedy}`);
}

// With `via` the wires are tried in this order; without it, the nearest that leads there is taken.
console.log("\nvia: uds, then in_process");
const { considered } = await bay.explain("callable", Greet.address, ["uds", "in_process"]);
for (const { transport, outcome, reason } of considered) {
  console.log(`${transport.padEnd(11)} ${outcome}: ${reason}`);
}
const greet = bay.callable(Greet, { via: ["uds", "in_process"] });
console.log(`${await greet.call("Ada")}, over ${greet.transport}`);

console.log("\nvia: uds alone");
try {
  await bay.call(Greet, "Ada", { via: ["uds"] });
} catch (error) {
  if (!(error instanceof PatchbayError)) throw error;
  console.log(`${error.code}: ${error.message}`);
  console.log(`remedy: ${error.remedy}`);
}
