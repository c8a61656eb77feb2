/**
 * A process that dies at any step: of handing a segment over, of a transfer, of closing. Nobody who
 * is left reads a wrong message, waits for ever, or leaves anything of the dead.
 *
 * @module
 */

import assert from "node:assert/strict";
import { open, PatchbayError } from "@patchbay/core";
import { libcAvailability } from "@patchbay/ffi";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import { createSharedMemory } from "./plugin.ts";
import {
  ACCEPTOR_STEPS,
  CLOSE_STEPS,
  DIALLER_STEPS,
  type Fault,
  SLOT_STEPS,
  TRANSFER_STEPS,
} from "./testdata/faults.ts";
import { numbered, readNumbered } from "./testdata/numbered.ts";
import { Party } from "./testdata/party.ts";
import { filesOf, mappedOf, segmentsOf, until, Victim } from "./testdata/processes.ts";
import { randomKills } from "./testdata/random_kills.ts";
import type { VictimOptions } from "./testdata/victim.ts";

type Doorbell = NonNullable<VictimOptions["doorbell"]>;

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: here.name(`shared_memory: ${title}`), ignore: here.ignore, fn });
}

/** A runtime directory, and bays of this process in it. */
class Place implements AsyncDisposable {
  readonly violations: string[] = [];
  readonly #parent = Deno.makeTempDirSync({ prefix: "pb-" });
  readonly folder = openRuntimeDir({ path: `${this.#parent}/run` });

  /** By what its bays are woken. */
  readonly doorbell: Doorbell;

  constructor(doorbell: Doorbell = "socket") {
    this.doorbell = doorbell;
  }

  open(module: string) {
    return open({
      module,
      plugins: [createSharedMemory()],
      config: {
        shared_memory: { reconnectMinMs: 5, reconnectMaxMs: 50, doorbell: this.doorbell },
      },
      directory: (identity) => HostDirectory.open(identity, { path: this.folder }),
    });
  }

  async party(module: string, bytes?: number): Promise<Party> {
    const violation = (text: string) => void this.violations.push(`${module}: ${text}`);
    // What is woken by semaphores looks at bytes where they lie, too.
    const views = this.doorbell === "semaphore";
    return new Party(await this.open(module), { violation, bytes, views });
  }

  victim(options: Omit<VictimOptions, "folder">): Victim {
    return new Victim({ folder: this.folder, doorbell: this.doorbell, ...options });
  }

  /** The segments of some bays; but the bells of those that live are theirs. */
  async segments(instances: readonly string[], dead: readonly string[]): Promise<string[]> {
    const bells = (name: string) => /-bell[0-9a-f]{4}$/.test(name);
    const theirs = await segmentsOf(this.folder, dead);
    return (await segmentsOf(this.folder, instances)).filter((name) =>
      theirs.includes(name) || !bells(name)
    );
  }

  /** Nothing of some bays is left. */
  async clean(instances: readonly string[], dead: readonly string[] = instances): Promise<void> {
    await until(
      `the segments of ${instances} are gone`,
      async () => (await this.segments(instances, dead)).length === 0,
    );
    for (const instance of dead) {
      await until(
        `the files of ${instance} are gone`,
        () => filesOf(this.folder, instance).length === 0,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#parent, { recursive: true });
  }
}

/** One death: what the victim is, and where it dies. */
interface Death {
  readonly fault: Fault;
  readonly count: number;
  /** Large messages through small rings. */
  readonly large?: boolean;
  readonly closeAfter?: number;
  /** Newest values, in slots. */
  readonly newest?: boolean;
}

const LARGE_BYTES = 300_000;
const LARGE = { bytes: LARGE_BYTES, ringBytes: 64 * 1024 };

const transfers: readonly Death[] = TRANSFER_STEPS.flatMap((fault) => [
  // Amid traffic; whoever is kept busy sleeps seldom.
  { fault, count: /bell|asleep/.test(fault) ? 2 : 60 },
  // Amid the fragments of a message.
  { fault, count: /bell|asleep/.test(fault) ? 3 : 17, large: true },
]);
const slots: readonly Death[] = SLOT_STEPS.map((fault) => ({ fault, count: 30, newest: true }));
const closings: readonly Death[] = CLOSE_STEPS.map((fault) => ({
  fault,
  count: 1,
  closeAfter: 20,
}));
const once = (fault: Fault): Death => ({ fault, count: 1 });

/** Lets a victim die, and looks at who is left. */
async function walk(
  role: "dials" | "is dialled",
  deaths: readonly Death[],
  doorbell: Doorbell = "socket",
): Promise<void> {
  await using there = await new Place(doorbell);
  await using near = await there.party("near", undefined);
  await Promise.all([near.serve("near"), near.shout("near")]);
  if (role === "is dialled") {
    await near.listen("victim");
    if (deaths.some(({ newest }) => newest)) await near.latest("victim");
    near.call("victim");
  }
  for (const [number, { fault, count, large, closeAfter, newest }] of deaths.entries()) {
    const where = `${fault} × ${count}${large ? ", large" : ""}`;
    await using victim = there.victim({
      module: "victim",
      fault,
      count,
      closeAfter,
      newest,
      ...(role === "dials" ? { other: "near" } : { serves: true }),
      ...(large ? LARGE : {}),
    });
    const pending: Promise<unknown>[] = [];
    // A bay that closes would wait for the call.
    if (role === "is dialled" && closeAfter === undefined && await victim.ready) {
      const call = near.bay.call("victim/hang", 0, { timeoutMs: 60_000 });
      pending.push(call.catch((error) => error), near.dig("victim"));
    }
    const { signal } = await victim.end();
    assert.equal(signal, "SIGKILL", `${where}: it ended otherwise`);
    for (const end of await Promise.all(pending)) {
      assert.ok(end instanceof PatchbayError, `${where}: ${end}`);
      assert.ok(["closed", "not_found", "unavailable"].includes(end.code), `${where}: ${end}`);
    }
    // Whoever is left does it, before anybody starts.
    await until(
      `${where}: no segment is left`,
      async () => (await there.segments(["near", "victim"], ["victim"])).length === 0,
    );
    {
      await using next = await there.open("next");
      const answer = await next.call("near/echo", numbered(1, number), { timeoutMs: 60_000 });
      assert.deepEqual(readNumbered(answer), { sender: 1, number }, where);
    }
    await there.clean(["near", "victim", "next"], ["victim", "next"]);
    assert.deepEqual([...there.violations, ...victim.violations], [], where);
    // This side's half of the dead one's memory was given back, too.
    await until(
      `${where}: its memory is unmapped`,
      async () =>
        (await mappedOf(there.folder, ["near", "victim", "next"]))
          .every((line) => /-bell[0-9a-f]{4}$/.test(line)),
    );
  }
  assert.ok(near.tally.served >= deaths.length);
  if (role === "is dialled") assert.ok(near.tally.refused > 0);
}

test("whoever dials may die at any step of the handing over", () =>
  walk("dials", DIALLER_STEPS.map(once)));

test("whoever is dialled may die at any step of the handing over", () =>
  walk("is dialled", ACCEPTOR_STEPS.map(once)));

test("whoever has dialled may die at any step of a transfer", () => walk("dials", transfers));

test("whoever was dialled may die at any step of a transfer", () => walk("is dialled", transfers));

test("either may die at any step of a newest value's way through its slot", async () => {
  const reads = slots.filter(({ fault }) => fault === "slot read");
  await walk("is dialled", slots.filter((death) => !reads.includes(death)));
  await walk("dials", reads);
});

/**
 * Both die while the segment is handed over; then whoever comes next, somebody whom neither knew,
 * finds and removes what is left.
 */
async function walkBoth(
  dialler: { fault: Fault; left: boolean },
  acceptor: { fault: Fault } | "stopped",
  doorbell: Doorbell = "socket",
): Promise<void> {
  await using there = await new Place(doorbell);
  const what = `${dialler.fault}, ${acceptor === "stopped" ? acceptor : acceptor.fault}`;
  await using two = there.victim({
    module: "two",
    serves: true,
    ...(acceptor === "stopped" ? {} : { fault: acceptor.fault }),
  });
  assert.equal(await two.ready, true);
  if (acceptor === "stopped") two.signal("SIGSTOP");
  await using one = there.victim({ module: "one", other: "two", fault: dialler.fault });
  // A stopped peer cannot die by itself, and one that waits for it neither.
  const ends = [one.end(), two.end()];
  if (acceptor === "stopped") {
    assert.equal((await ends[0]).signal, "SIGKILL", what);
    // Other tests' processes may have removed it as well: what matters is that it goes.
    if (!dialler.left && doorbell === "socket") {
      assert.deepEqual(await segmentsOf(there.folder, ["one"]), [], what);
    }
    two.signal("SIGKILL");
  } else {
    assert.equal((await ends[1]).signal, "SIGKILL", what);
    one.signal("SIGKILL");
  }
  for (const { signal } of await Promise.all(ends)) assert.equal(signal, "SIGKILL", what);
  await using next = await there.party("three");
  await next.serve("three");
  await there.clean(["one", "two", "three"], ["one", "two"]);
  await using four = await there.open("four");
  const answer = await four.call("three/echo", numbered(4, 4), { timeoutMs: 60_000 });
  assert.deepEqual(readNumbered(answer), { sender: 4, number: 4 }, what);
  assert.deepEqual([...there.violations, ...one.violations, ...two.violations], [], what);
}

test("when both are dead, whoever starts next removes what is left, whoever that is", async () => {
  const MADE: readonly Fault[] = ["created", "half made", "made", "told"];
  for (const fault of ["dialled", "announced", ...MADE] as const) {
    await walkBoth({ fault, left: MADE.includes(fault) }, "stopped");
  }
  for (const fault of ACCEPTOR_STEPS) {
    // The dialler waits for the answer, and dies when it comes, or is killed.
    await walkBoth({ fault: "answered", left: false }, { fault });
  }
});

test("woken by semaphores, either may die at any step, and no bell of the dead is left", async () => {
  await walk("dials", [...DIALLER_STEPS.map(once), ...transfers], "semaphore");
  await walk("is dialled", [...ACCEPTOR_STEPS.map(once), ...transfers], "semaphore");
  await walkBoth({ fault: "made", left: true }, "stopped", "semaphore");
  await walkBoth({ fault: "answered", left: false }, { fault: "heard" }, "semaphore");
});

test("either may die at any step of closing", async () => {
  await walk("dials", closings);
  await walk("is dialled", closings);
});

test("a hundred processes killed at random: no message is wrong, nobody is stuck, nothing is left", async () => {
  const { kills, messages, violations } = await randomKills({ kills: 100 });
  assert.deepEqual(violations, []);
  assert.equal(kills, 100);
  assert.ok(messages > 1000, `only ${messages} messages were exchanged`);
});

test("woken by semaphores, processes killed at random leave no bell, and nobody sleeps on", async () => {
  const { kills, messages, violations } = await randomKills({ kills: 20, doorbell: "semaphore" });
  assert.deepEqual(violations, []);
  assert.equal(kills, 20);
  assert.ok(messages > 200, `only ${messages} messages were exchanged`);
});

test("a peer that writes at random into what it has published harms itself alone", async () => {
  await using there = await new Place();
  await using near = await there.party("near");
  await Promise.all([near.serve("near"), near.shout("near")]);
  await near.listen("victim");
  near.call("victim");
  await using other = await there.party("other");
  await other.listen("near");
  for (let round = 0; round < 12; round++) {
    await using victim = there.victim({
      module: "victim",
      other: "near",
      serves: true,
      scribbles: true,
    });
    await victim.ready;
    // It is cut off, and dials again; what comes through meanwhile is its own affair.
    const { heard } = other.tally;
    await until("others still hear", () => other.tally.heard > heard + 100);
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 80));
    victim.signal("SIGKILL");
    await victim.end();
  }
  assert.deepEqual(there.violations.filter((text) => text.startsWith("other: ")), []);
  await using next = await there.open("next");
  assert.deepEqual(
    readNumbered(await next.call("near/echo", numbered(1, 1), { timeoutMs: 60_000 })),
    { sender: 1, number: 1 },
  );
  await there.clean(["near", "victim", "next"], ["victim"]);
});
