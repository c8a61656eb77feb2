/**
 * Modules by the dozen, each with a connection of its own: `crowd.ts URL FIRST COUNT`. Module n
 * listens to the type TYPES[n % 3] alone, and counts what it gets; `crowd<FIRST>/counts` tells.
 *
 * @module
 */

import { BusComm } from "../mod.ts";
import { ButtonState, Distance, frames, LedState } from "./frames.ts";

/** What modules listen to, in turn. */
export const TYPES = [Distance, LedState, ButtonState];

if (import.meta.main) {
  const [url, first, count] = [Deno.args[0], Number(Deno.args[1]), Number(Deno.args[2])];
  const counts: Record<string, Record<string, number>> = {};
  const comms = await Promise.all(Array.from({ length: count }, async (_, at) => {
    const name = `module${first + at}`;
    const comm = await BusComm.open({ module: name, frames, url });
    const mine: Record<string, number> = counts[name] = {};
    comm.onFrame((frame) => {
      mine[frame.name] = (mine[frame.name] ?? 0) + 1;
    });
    await comm.listenFor([TYPES[(first + at) % TYPES.length].type]);
    return comm;
  }));
  await comms[0].bay.serve(`crowd${first}/counts`, () => counts);
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  await Promise.all(comms.map((comm) => comm.stop()));
}
