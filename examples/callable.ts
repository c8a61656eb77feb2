/**
 * Callable: a request and its response, with a schema (zod here; any Standard Schema will do).
 *
 * ```sh
 * deno run examples/callable.ts
 * ```
 *
 * It needs no permission, because both sides are in one process, and prints:
 *
 * ```text
 * 2 + 3 = 5, over in_process
 * ten at once: 0 2 4 6 8 10 12 14 16 18
 * the server heard: hello from math, with the header x-trip: 7
 * refused before it was sent: invalid, request.b: …
 * ```
 *
 * @module
 */
import { defineCallable, Patchbay, PatchbayError } from "@patchbay/patchbay";
import { z } from "zod";

// The contract: both sides import it. Types and checks come from the schemas.
const Add = defineCallable({
  address: "math/add",
  request: z.object({ a: z.number(), b: z.number() }),
  response: z.number(),
  idempotent: true,
});

await using bay = await Patchbay.open({ module: "math" });

// One side serves.
await bay.serve(Add, ({ a, b }) => a + b);

// The other calls. Keep a caller for many calls; `bay.call(Add, …)` is for one.
const add = bay.callable(Add);
const sum = await add.call({ a: 2, b: 3 });
console.log(`2 + 3 = ${sum}, over ${add.transport}`);

const sums = await Promise.all(Array.from({ length: 10 }, (_, n) => add.call({ a: n, b: n })));
console.log(`ten at once: ${sums.join(" ")}`);

// Without a schema the types are given by hand. A handler learns who calls, and what came along.
const Note = defineCallable<string, string>({ address: "math/note" });
await bay.serve(Note, (text, { peer, headers }) => {
  return `${text} from ${peer.module}, with the header x-trip: ${headers["x-trip"]}`;
});
const heard = await bay.call(Note, "hello", { headers: { "x-trip": "7" } });
console.log(`the server heard: ${heard}`);

// What does not fit the schema never leaves: here a value that TypeScript could not check.
try {
  await add.call(JSON.parse('{ "a": 2, "b": "three" }'));
} catch (error) {
  if (!(error instanceof PatchbayError)) throw error;
  console.log(`refused before it was sent: ${error.code}, ${error.message}`);
}
