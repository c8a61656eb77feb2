/**
 * The far side in a process of its own: obeys orders that come as lines of JSON on its input, until
 * the input ends. It then closes its bay and ends by itself: that no timer, socket or wait is left
 * is part of what is tested.
 *
 * Run as `process_main.ts FIXTURE_URL PLACE_JSON`.
 *
 * @module
 */

import { linesOf, obeyLines } from "./far_program.ts";
import type { Fixture, Json } from "./plugin_fixture.ts";

function writeLine(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
}

async function main(url: string, place: Json): Promise<void> {
  const { default: fixture } = await import(url) as { default: Fixture };
  if (fixture.join === undefined) throw new Error(`${url} has no join()`);
  await using meeting = await fixture.join(place);
  await obeyLines(meeting, linesOf(Deno.stdin.readable), writeLine);
}

if (import.meta.main) await main(Deno.args[0], JSON.parse(Deno.args[1]) as Json);
