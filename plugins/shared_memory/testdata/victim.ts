/**
 * A process to be killed, or that kills itself: `victim.ts '{"folder": …, "module": …}'`. Says `ready`,
 * then `violation …` of each message that may not be; closes when its input ends.
 *
 * @module
 */

import { open } from "@patchbay/core";
import { HostDirectory } from "@patchbay/host";
import { createSharedMemory } from "../plugin.ts";
import { dieAt, type Fault, scribble } from "./faults.ts";
import { Party } from "./party.ts";

/** What a victim does. */
export interface VictimOptions {
  /** The runtime directory. */
  readonly folder: string;
  /** Its module. */
  readonly module: string;
  /** Where it ends by itself. */
  readonly fault?: Fault;
  /** At which time that it is there, from 1. Default 1. */
  readonly count?: number;
  /** Whether it writes at random into what it has published. */
  readonly scribbles?: boolean;
  /** Whom it calls and listens to: it dials. */
  readonly other?: string;
  /** Whether it serves and shouts: it is dialled. */
  readonly serves?: boolean;
  /** Whether it looks at the newest shout only. */
  readonly newest?: boolean;
  /** Bytes of its messages; default: up to 2 KiB. */
  readonly bytes?: number;
  /** Bytes of its rings. Default: 1 MiB. */
  readonly ringBytes?: number;
  /** By what it is woken. Default: its sockets. */
  readonly doorbell?: "socket" | "semaphore";
  /** After how many answered calls it closes by itself. */
  readonly closeAfter?: number;
}

async function main(options: VictimOptions): Promise<void> {
  const {
    folder,
    module,
    fault,
    scribbles,
    count = 1,
    other,
    serves,
    newest,
    bytes,
    ringBytes,
    closeAfter,
    doorbell,
  } = options;
  const hooks = scribbles ? scribble() : fault === undefined ? {} : dieAt(fault, count);
  const bay = await open({
    module,
    plugins: [createSharedMemory(hooks)],
    config: { shared_memory: { reconnectMinMs: 5, reconnectMaxMs: 50, ringBytes, doorbell } },
    directory: (identity) => HostDirectory.open(identity, { path: folder }),
  });
  const violation = (text: string) => console.log(`violation ${text}`);
  const party = new Party(bay, { violation, bytes });
  if (serves) await Promise.all([party.serve(module), party.shout(module)]);
  console.log("ready");
  const ending = Deno.stdin.read(new Uint8Array(1));
  if (other !== undefined) {
    await (newest ? party.latest(other) : party.listen(other));
    party.call(other);
  }
  if (closeAfter !== undefined) {
    while (party.tally.answered + party.tally.served < closeAfter) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await party[Symbol.asyncDispose]();
    // Freed memory is told in a microtask: it must not be outrun by the end.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return;
  }
  await ending;
  await party[Symbol.asyncDispose]();
}

if (import.meta.main) await main(JSON.parse(Deno.args[0]));
