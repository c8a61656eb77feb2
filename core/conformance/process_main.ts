/**
 * The far side in a process of its own: obeys orders that come as lines of JSON on its input, until
 * the input ends. It then closes its bay and ends by itself: that no timer, socket or wait is left
 * is part of what is tested.
 *
 * Run as `process_main.ts FIXTURE_URL PLACE_JSON`.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import type { Fixture, Json } from "./plugin_fixture.ts";
import { type Order, Stage } from "./roles.ts";

async function* lines(): AsyncGenerator<string, void, void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of Deno.stdin.readable) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

function writeLine(value: unknown): void {
  const bytes = new TextEncoder().encode(JSON.stringify(value) + "\n");
  for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
}

async function main(url: string, place: Json): Promise<void> {
  const { default: fixture } = await import(url) as { default: Fixture };
  if (fixture.join === undefined) throw new Error(`${url} has no join()`);
  await using meeting = await fixture.join(place);
  const stage = new Stage(meeting);
  for await (const line of lines()) {
    const { id, order } = JSON.parse(line) as { id: number; order: Order };
    stage.obey(order).then(
      (value) => writeLine({ id, value }),
      (error) => writeLine({ id, error: PatchbayError.fromThrown(error).toWire() }),
    );
  }
  await stage.obey({ do: "end" });
}

if (import.meta.main) await main(Deno.args[0], JSON.parse(Deno.args[1]) as Json);
