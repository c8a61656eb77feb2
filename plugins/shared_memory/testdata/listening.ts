/**
 * A process that listens: `listening.ts '{"folder": …, "module": …, "to": …, "overflow": …}'`. Says
 * `ready`, and answers each line of its input with one of JSON: what it has heard so far.
 *
 * @module
 */

import { open, type Overflow } from "@patchbay/core";
import { HostDirectory } from "@patchbay/host";
import sharedMemory from "../mod.ts";
import { Stream } from "./numbered.ts";

/** How it listens. */
export interface ListeningOptions {
  /** The runtime directory. */
  readonly folder: string;
  /** Its module. */
  readonly module: string;
  /** The topic. */
  readonly to: string;
  /** What happens when its queue is full. */
  readonly overflow: Overflow;
  /** How many messages wait. */
  readonly maxQueue: number;
}

/** What it has heard. */
export interface Heard {
  /** How many messages. */
  readonly count: number;
  /** The number of the last. */
  readonly last: number;
  /** How many its own queue has dropped. */
  readonly dropped: number;
  /** What may never be. */
  readonly violations: readonly string[];
}

async function main(options: ListeningOptions): Promise<void> {
  const { folder, module, to, overflow, maxQueue } = options;
  await using bay = await open({
    module,
    plugins: [sharedMemory],
    directory: (identity) => HostDirectory.open(identity, { path: folder }),
  });
  const violations: string[] = [];
  const stream = new Stream(to, (text) => void violations.push(text), {
    gaps: overflow !== "block",
  });
  let last = -1;
  await bay.serve(`${module}/echo`, (value) => value);
  await bay.listen(to, (value) => void (last = stream.take(value)?.number ?? last), {
    overflow,
    maxQueue,
  });
  console.log("ready");
  for await (const _ of Deno.stdin.readable) {
    const dropped = bay.statistics.snapshot(Date.now()).endpoints.filter((each) =>
      each.role === "listener"
    )
      .flatMap(({ drops }) => Object.values(drops)).reduce((a, b) => a + b, 0);
    const heard: Heard = { count: stream.count, last, dropped, violations };
    console.log(JSON.stringify(heard));
  }
}

if (import.meta.main) await main(JSON.parse(Deno.args[0]));
