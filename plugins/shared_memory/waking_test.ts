/**
 * What the conformance suite cannot know of: what sleeping costs with either bell, and what a
 * listener sees that does not let the event loop turn.
 *
 * @module
 */

import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import { libcAvailability, openLibc } from "@patchbay/ffi";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import { Bells } from "./bells.ts";
import { createSharedMemory, type SharedMemoryConfig } from "./plugin.ts";

const FAR = new URL("./testdata/far.ts", import.meta.url).pathname;
const WATCHDOG_MS = 30_000;
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: here.name(title), ignore: here.ignore, fn });
}

/** A bay here and one in a process of its own. */
async function pair(doorbell: SharedMemoryConfig["doorbell"]) {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const folder = openRuntimeDir({ path: `${parent}/run` });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", FAR, folder, "far", "shared_memory", "msgpack"],
    env: { DOORBELL: doorbell },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  assert.equal((await output.read()).done, false, "far did not start");
  const near = await open({
    module: "near",
    plugins: [createSharedMemory()],
    config: { shared_memory: { doorbell } },
    directory: (identity) => HostDirectory.open(identity, { path: folder }),
  });
  return {
    near,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await near.close();
      await child.stdin.close().catch(() => {});
      await output.cancel();
      await child.status;
      await Deno.remove(parent, { recursive: true });
    },
  };
}

for (const doorbell of ["socket", "semaphore"] as const) {
  test(`shared_memory: a pair that sleeps takes no CPU, woken by the ${doorbell}`, async () => {
    await using there = await pair(doorbell);
    for (let n = 0; n < 100; n++) await there.near.call("far/echo", n);
    // proc_pid_stat(5): utime and stime, in ticks of 10 ms; the name may hold blanks.
    const ticks = () => {
      const [, rest] = Deno.readTextFileSync(`/proc/${there.pid}/stat`).split(") ");
      const fields = rest.split(" ");
      return Number(fields[11]) + Number(fields[12]);
    };
    const measured: number[] = [];
    // What follows the start (a garbage collection, say) is over in one of three seconds.
    for (let second = 0; second < 3 && !measured.some((each) => each < 5); second++) {
      const before = ticks();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      measured.push(ticks() - before);
    }
    assert.ok(Math.min(...measured) < 5, `${measured} ticks of 10 ms in a second each`);
    // And both still hear the bell.
    for (let n = 0; n < 20; n++) {
      assert.equal(await there.near.call("far/echo", n), n);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  });
}

test("shared_memory: latest() sees what no turn of the event loop has brought", async () => {
  await using there = await pair("socket");
  const listener = await there.near.listen("far/tick", { latest: true });
  // It shouts them all in one go, and answers then.
  const count = 3_000_000;
  const pushed = there.near.call("far/push", { count, kind: "small" }, { timeoutMs: WATCHDOG_MS });
  const start = performance.now();
  while (listener.latest() === undefined) {
    // The first one is told of by a message; the rest needs none.
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(performance.now() - start < WATCHDOG_MS, "nothing comes");
  }
  const seen = new Set<number>();
  while (seen.size < 50 && !seen.has(count)) {
    seen.add(listener.latest()?.context.sequence as number);
    assert.ok(performance.now() - start < WATCHDOG_MS, "nothing new comes");
  }
  const sequences = [...seen];
  assert.ok(sequences.every((n, i) => i === 0 || n > sequences[i - 1]), `${sequences}`);
  assert.ok(sequences.length > 1, "the event loop did not turn, and newer values were seen");
  await pushed;
});

test("shared_memory: a bell is heard by all, opened by its name alone, and gone with its bay", async () => {
  using libc = openLibc();
  const mine = new Bells(libc, "/pb-0123456789abcdef-");
  const theirs = new Bells(libc, undefined);
  const { name } = mine;
  assert.ok(name !== undefined);
  assert.throws(() => theirs.open("/etc/passwd"), { code: "protocol" });
  assert.throws(() => theirs.open(undefined), { code: "protocol" });
  const heard = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const deaf = heard.map(({ resolve }) => mine.listen(resolve));
  {
    using bell = theirs.open(name);
    bell.ring();
    await Promise.all(heard.map(({ promise }) => promise));
  }
  for (const each of deaf) each();
  await mine.close();
  await mine.close();
  assert.throws(() => theirs.open(name), { code: "not_found" });
  await theirs.close();
});
