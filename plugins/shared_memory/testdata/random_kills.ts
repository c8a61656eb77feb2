/**
 * SIGKILL at random moments, again and again: of a peer that talks with a bay of this process both
 * ways, and of either or both of two processes that talk with each other.
 *
 * @module
 */

import { open } from "@patchbay/core";
import { cleanStale, HostDirectory, openRuntimeDir } from "@patchbay/host";
import { createSharedMemory, type SharedMemoryConfig } from "../plugin.ts";
import { Party } from "./party.ts";
import { filesOf, mappedOf, segmentsOf, until, Victim } from "./processes.ts";

type Doorbell = SharedMemoryConfig["doorbell"];

/** One in so many is killed before it is ready: while it starts, dials, hands over. */
const EARLY = 6;
const EARLY_MS = 120;
const LATE_MS = 25;

/** How often and how long. */
export interface KillingOptions {
  /** How many kills. */
  readonly kills: number;
  /** No more kills after this moment, as `performance.now()` has it. Default: none. */
  readonly untilMs?: number;
  /** How many peers of this process are killed at the same time. Default 2. */
  readonly lanes?: number;
  /** By what the bays are woken. Default: their sockets. */
  readonly doorbell?: Doorbell;
  /** Told after each kill. */
  readonly onKill?: (so: Killing) => void;
}

/** What has happened so far. */
export interface Killing {
  /** How many processes were killed. */
  kills: number;
  /** How many of them before they were ready. */
  early: number;
  /** How often both of two were. */
  both: number;
  /** How many messages were checked on this side. */
  messages: number;
  /** What may never be. */
  readonly violations: string[];
}

/** Kills, and looks. */
export async function randomKills(options: KillingOptions): Promise<Killing> {
  const { kills, untilMs = Infinity, lanes = 2, doorbell = "socket", onKill } = options;
  const so: Killing = { kills: 0, early: 0, both: 0, messages: 0, violations: [] };
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const folder = openRuntimeDir({ path: `${parent}/run` });
  let claimed = 0;
  const another = () => claimed < kills && performance.now() < untilMs && ++claimed > 0;
  const killed = () => {
    so.kills++;
    onKill?.(so);
  };
  const names = [
    "left",
    "right",
    "next",
    ...Array.from({ length: lanes }, (_, n) => [`near-${n}`, `victim-${n}`]).flat(),
  ];
  try {
    const work: Promise<void>[] = [];
    for (let n = 0; n < lanes; n++) work.push(lane(folder, doorbell, n, so, another, killed));
    work.push(pair(folder, doorbell, so, another, killed));
    await Promise.all(work);
    if (doorbell === "semaphore") {
      // Bells have names as long as their bays live: the last ones' are the next start's to remove.
      const next = await bayIn(folder, "next", doorbell);
      await next.close();
    }
    await until(
      "every segment is gone",
      async () => (await segmentsOf(folder, names)).length === 0,
    );
    for (const line of await mappedOf(folder, names)) so.violations.push(`still mapped: ${line}`);
    await cleanStale({ runtimeDir: folder });
    for (const name of names) {
      const files = filesOf(folder, name);
      if (files.length > 0) so.violations.push(`left in the runtime directory: ${files}`);
    }
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
  return so;
}

const random = (ms: number) => new Promise((go) => setTimeout(go, Math.random() ** 2 * ms));

function bayIn(folder: string, module: string, doorbell: Doorbell) {
  return open({
    module,
    plugins: [createSharedMemory()],
    config: { shared_memory: { reconnectMinMs: 2, reconnectMaxMs: 20, doorbell } },
    directory: (identity) => HostDirectory.open(identity, { path: folder }),
  });
}

/** A bay of this process, and one peer after the other that is killed and starts again. */
async function lane(
  folder: string,
  doorbell: Doorbell,
  n: number,
  so: Killing,
  another: () => boolean,
  killed: () => void,
): Promise<void> {
  const module = `victim-${n}`;
  const bay = await bayIn(folder, `near-${n}`, doorbell);
  await using near = new Party(bay, { violation: (text) => void so.violations.push(text) });
  await Promise.all([near.serve(`near-${n}`), near.shout(`near-${n}`)]);
  await near.listen(module);
  await near.latest(module);
  near.call(module);
  while (another()) {
    const before = { ...near.tally };
    await using victim = new Victim({ folder, doorbell, module, other: `near-${n}`, serves: true });
    if (Math.random() < 1 / EARLY) {
      so.early++;
      await random(EARLY_MS);
    } else if (await victim.ready) {
      // Both ways, both patterns.
      await until(
        `near-${n} and ${module} talk`,
        () =>
          near.tally.answered > before.answered && near.tally.served > before.served &&
          near.tally.heard > before.heard && near.tally.shouted > before.shouted,
      );
      await random(LATE_MS);
    }
    victim.signal("SIGKILL");
    const { signal } = await victim.end();
    if (signal !== "SIGKILL") victim.violations.push(`${module} ended otherwise (${signal})`);
    so.violations.push(...victim.violations);
    so.messages += near.tally.answered + near.tally.served + near.tally.heard -
      before.answered - before.served - before.heard;
    killed();
  }
}

/** Two processes, of which one or both are killed; whoever is left goes on with the next. */
async function pair(
  folder: string,
  doorbell: Doorbell,
  so: Killing,
  another: () => boolean,
  killed: () => void,
): Promise<void> {
  const start = (module: string, other: string) =>
    new Victim({ folder, doorbell, module, other, serves: true });
  const talk: [Victim, Victim] = [start("left", "right"), start("right", "left")];
  const end = async (side: 0 | 1) => {
    talk[side].signal("SIGKILL");
    const { signal } = await talk[side].end();
    so.violations.push(...talk[side].violations);
    if (signal !== "SIGKILL") so.violations.push(`one of two ended otherwise (${signal})`);
    killed();
  };
  try {
    while (another()) {
      await Promise.all(talk.map((each) => each.ready));
      await random(LATE_MS);
      const side = Math.random() < 0.5 ? 0 : 1;
      if (Math.random() < 0.3 && another()) {
        so.both++;
        await Promise.all([end(0), end(1)]);
        talk[0] = start("left", "right");
        talk[1] = start("right", "left");
      } else {
        await end(side);
        talk[side] = side === 0 ? start("left", "right") : start("right", "left");
      }
    }
    await Promise.all(talk.map((each) => each.ready));
  } finally {
    for (const each of talk) {
      const { signal } = await each.close();
      so.violations.push(...each.violations);
      if (signal !== null) so.violations.push(`one of two did not close (${signal})`);
    }
  }
}
