/**
 * What the conformance suite cannot know of: what sleeping costs with either bell, and what a
 * listener sees that does not let the event loop turn.
 *
 * @module
 */

import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import { libcAvailability, openLibc, SharedMemory } from "@patchbay/ffi";
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

for (const [dialling, dialled] of [["socket", "semaphore"], ["semaphore", "socket"]] as const) {
  test(`shared_memory: each side has its own bell: ${dialling} of who dials, ${dialled} of who is`, async () => {
    const parent = await Deno.makeTempDir({ prefix: "pb-" });
    const path = openRuntimeDir({ path: `${parent}/run` });
    /** Rings that went over the socket, by who has rung. */
    const rung: Record<string, number> = { near: 0, far: 0 };
    const count = (module: string) => (connection: Deno.UnixConn) => {
      const write = connection.write.bind(connection);
      connection.write = (bytes) => {
        if (bytes.length === 1 && bytes[0] === 1) rung[module]++;
        return write(bytes);
      };
    };
    const bay = (module: string, doorbell: SharedMemoryConfig["doorbell"]) =>
      open({
        module,
        plugins: [createSharedMemory({ onConnection: count(module) })],
        config: { shared_memory: { doorbell } },
        directory: (identity) => HostDirectory.open(identity, { path }),
      });
    {
      await using far = await bay("far", dialled);
      await using near = await bay("near", dialling);
      await far.serve("far/echo", (value) => value);
      let heard = 0;
      await near.listen("far/tick", () => void heard++);
      const speaker = await far.speaker<unknown>("far/tick");
      const start = performance.now();
      // Longer than either looks: both sleep, unless others keep this process from it.
      const pause = () => new Promise((resolve) => setTimeout(resolve, 3));
      const rings = () =>
        (rung.near > 0 || dialled !== "socket") && (rung.far > 0 || dialling !== "socket");
      for (let n = 0; n < 20 || !rings(); n++) {
        assert.ok(performance.now() - start < WATCHDOG_MS, "nobody rings");
        await pause();
        assert.equal(await near.call("far/echo", n, { timeoutMs: WATCHDOG_MS }), n);
        await pause();
        // Nobody waits for this one, and so nobody looks for it.
        speaker.shout(n);
        while (heard <= n) {
          assert.ok(performance.now() - start < WATCHDOG_MS, "a shout does not come");
          await pause();
        }
      }
      // Who has a semaphore is woken by that alone.
      assert.equal(rung.near > 0, dialled === "socket", `${rung.near} rings for who is dialled`);
      assert.equal(rung.far > 0, dialling === "socket", `${rung.far} rings for who dials`);
    }
    await Deno.remove(parent, { recursive: true });
  });
}

test("shared_memory: latest() sees what no turn of the event loop has brought", async () => {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const bay = (module: string) =>
    open({
      module,
      plugins: [createSharedMemory()],
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
  await using near = await bay("near");
  await using far = await bay("far");
  const speaker = await far.speaker<unknown>("far/state");
  const heard: unknown[] = [];
  const listener = await near.listen<unknown>("far/state", (value) => void heard.push(value), {
    latest: true,
  });
  speaker.shout(0);
  const start = performance.now();
  while (heard.length === 0) {
    // The first one is told of by a message; the rest needs none.
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(performance.now() - start < WATCHDOG_MS, "nothing comes");
  }
  // From here on nothing is awaited: no message can have come.
  for (let n = 1; n <= 100; n++) speaker.shout({ n });
  assert.deepEqual(listener.latest()?.value, { n: 100 });
  assert.equal(listener.latest()?.context.sequence, 101);
  speaker.shout("x".repeat(3000));
  assert.equal(listener.latest()?.value, "x".repeat(3000));
  assert.deepEqual(heard, [0, { n: 100 }, "x".repeat(3000)]);
  // What no slot holds comes as a message does, and is not overtaken by what was before it.
  speaker.shout("y".repeat(5000));
  assert.equal(listener.latest()?.value, "x".repeat(3000));
  while (heard.length < 4) {
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(performance.now() - start < WATCHDOG_MS, "the large one does not come");
  }
  assert.equal(listener.latest()?.value, "y".repeat(5000));
  await Promise.all([near.close(), far.close()]);
  await Deno.remove(parent, { recursive: true });
});

test("shared_memory: speakers that come and go use the slots of those before them", async () => {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const bay = (module: string) =>
    open({
      module,
      plugins: [createSharedMemory()],
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
  await using near = await bay("near");
  await using far = await bay("far");
  const heard: unknown[] = [];
  await near.listen<unknown>("far/state/*", (value) => void heard.push(value), { latest: true });
  const start = performance.now();
  // Each direction of a pair has eight.
  for (let n = 0; n < 20; n++) {
    const speaker = await far.speaker<unknown>(`far/state/${n}`);
    // Nothing is awaited meanwhile: only through a slot can but the newest come.
    for (let k = 0; k < 50; k++) speaker.shout({ n, k });
    while (heard.length === n) {
      await new Promise((resolve) => setTimeout(resolve));
      assert.ok(performance.now() - start < WATCHDOG_MS, "nothing comes");
    }
    assert.deepEqual(heard.slice(n), [{ n, k: 49 }]);
    await speaker.close();
  }
  // A slot whose last value was not read yet stays whose it was.
  const first = await far.speaker<unknown>("far/state/first");
  const second = await far.speaker<unknown>("far/state/second");
  first.shout("first's last");
  const closing = first.close();
  second.shout("second's");
  await closing;
  while (heard.length < 22) {
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(performance.now() - start < WATCHDOG_MS, "nothing comes");
  }
  assert.deepEqual(heard.slice(20), ["first's last", "second's"]);
  await Promise.all([near.close(), far.close()]);
  await Deno.remove(parent, { recursive: true });
});

test("shared_memory: eight speakers have a slot; a ninth, and what has headers, is sent as usual", async () => {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const bay = (module: string) =>
    open({
      module,
      plugins: [createSharedMemory()],
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
  await using near = await bay("near");
  await using far = await bay("far");
  const addresses = Array.from({ length: 9 }, (_, n) => `far/state/${n}`);
  const listeners = await Promise.all(
    addresses.map((address) => near.listen<unknown>(address, { latest: true })),
  );
  const speakers = await Promise.all(addresses.map((address) => far.speaker<unknown>(address)));
  const start = performance.now();
  const until = async (what: string, claim: () => boolean) => {
    while (!claim()) {
      await new Promise((resolve) => setTimeout(resolve));
      assert.ok(performance.now() - start < WATCHDOG_MS, `${what} does not come`);
    }
  };
  const newest = () => listeners.map((listener) => listener.latest()?.value);
  const all = (value: unknown) => addresses.map(() => value);
  for (const speaker of speakers) speaker.shout("first");
  await until("the first of each", () => newest().every((value) => value === "first"));
  // Nothing is awaited here: only a slot can have brought it.
  for (let n = 1; n <= 100; n++) for (const speaker of speakers) speaker.shout(n);
  assert.deepEqual(newest(), [...all(100).slice(1), "first"]);
  await until("the ninth's", () => listeners[8].latest()?.value === 100);
  const headers = { from: "far" };
  speakers[0].shout("with headers", { headers });
  assert.equal(listeners[0].latest()?.value, 100);
  await until("what has headers", () => listeners[0].latest()?.value === "with headers");
  assert.deepEqual({ ...listeners[0].latest()?.context.headers }, headers);
  speakers[0].shout("last");
  await until("what comes after it", () => listeners[0].latest()?.value === "last");
  const { endpoints } = near.statistics.snapshot(Date.now());
  const drops = addresses.map((address) =>
    endpoints.find((each) => each.role === "listener" && each.address === address)?.drops
  );
  // All but the newest, whichever way they came: 101 of each, and 103 of the first speaker.
  assert.deepEqual(drops, [{ overwritten: 102 }, ...all({ overwritten: 100 }).slice(1)]);
  await Promise.all([near.close(), far.close()]);
  await Deno.remove(parent, { recursive: true });
});

test("shared_memory: whoever plays with the bell does not keep its bay from everything else", async () => {
  using libc = openLibc();
  const mine = new Bells(libc, "/pb-0123456789abcdee-");
  using memory = SharedMemory.open(mine.name as string, { libc });
  const value = new Int32Array(memory.buffer);
  const heard = Promise.withResolvers<void>();
  const deaf = mine.listen(heard.resolve);
  // glibc's sem_t begins with its value; so many rings would take minutes to hear one by one.
  value[0] = 0x7fff_ffff;
  await heard.promise;
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(value[0] > 0x7000_0000, `${value[0]} rings are left`);
  value[0] = 0;
  deaf();
  await mine.close();
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
