/**
 * The process in which one suite runs: `run_suite.ts NAME PLACEMENT EFFORT`. Prints its rows as one
 * line of JSON.
 *
 * @module
 */

import type { Suite } from "./suite.ts";

const [name, placement, effort] = Deno.args;
const { default: suite } = await import(`./${name}.ts`) as { default: Suite };
const rows = await suite.run({ ...JSON.parse(effort), placement: JSON.parse(placement) });
console.log(JSON.stringify(rows));
// Sockets of the floors may still be open.
Deno.exit(0);
