/**
 * The program that the telemetry suite starts once with `OTEL_DENO=true` and once without: prints
 * what a span with headers costs, in nanoseconds.
 *
 * @module
 */

import { openTelemetry } from "@patchbay/core/open-telemetry";
import { batches, median } from "./measure.ts";

const telemetry = openTelemetry();
const operation = {
  pattern: "callable",
  verb: "call",
  address: "math/add",
  transport: "uds",
} as const;
let headers = 0;
const { run } = batches((n) => {
  for (let i = 0; i < n; i++) {
    const span = telemetry.startClient(operation);
    if (span.headers.traceparent !== undefined) headers++;
    span.end();
  }
});
const [rounds, roundMs] = Deno.args.map(Number);
await run(roundMs);
const values: number[] = [];
for (let round = 0; round < rounds; round++) values.push((await run(roundMs)).value);
console.log(JSON.stringify({ nanos: median(values), headers }));
Deno.exit(0);
