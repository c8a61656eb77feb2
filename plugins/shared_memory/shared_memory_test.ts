/**
 * What the conformance suite cannot know of: killed processes, idle ones, segments that are not what
 * was offered, rings that are full or broken.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  createRing,
  defineCallable,
  type LinkHandler,
  open,
  PatchbayError,
  ringBytes,
  RingConsumer,
  RingProducer,
} from "@patchbay/core";
import { libcAvailability, openLibc, SharedMemory } from "@patchbay/ffi";
import {
  byModule,
  HostDirectory,
  open as openOnHost,
  openRuntimeDir,
  statisticsOf,
} from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import { acceptLink, encodeMessage, offerLink, segmentBytes } from "./control.ts";
import sharedMemory, { type SharedMemoryWire } from "./mod.ts";
import { Names } from "./names.ts";
import { createSharedMemory } from "./plugin.ts";
import { RingLink } from "./ring_link.ts";
import { mappedOf } from "./testdata/processes.ts";

const FAR = new URL("./testdata/far.ts", import.meta.url).pathname;
const WITHOUT_FFI = new URL("./testdata/without_ffi.ts", import.meta.url).pathname;
const CAPACITY = 64 * 1024;
const WATCHDOG_MS = 30_000;
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: here.name(title), ignore: here.ignore, fn });
}

/** A runtime directory, and what happens in it. */
async function place() {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const folder = openRuntimeDir({ path: `${parent}/run` });
  const plugin = createSharedMemory();
  return {
    folder,
    socket: `${parent}/control.sock`,
    open: (module: string, more: { plugin?: SharedMemoryWire; report?: string[] } = {}) =>
      open({
        module,
        plugins: [more.plugin ?? plugin],
        onReport: (error) => void more.report?.push(error.message),
        directory: (identity) => HostDirectory.open(identity, { path: folder }),
      }),
    spawn: (module: string, call?: string) => spawn(folder, module, call),
    async left(instances: readonly string[]): Promise<string[]> {
      const names = await Promise.all(instances.map((each) => Names.of(folder, each)));
      return [...Deno.readDirSync("/dev/shm")].map(({ name }) => `/${name}`)
        .filter((name) => names.some(({ prefix }) => name.startsWith(prefix)));
    },
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

function farArgs(folder: string, module: string, call?: string): string[] {
  const args = ["run", "-A", "--no-check", FAR, folder, module, "shared_memory", "msgpack"];
  return call === undefined ? args : [...args, call];
}

async function spawn(folder: string, module: string, call?: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: farArgs(folder, module, call),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  assert.equal((await output.read()).done, false, `${module} did not start`);
  return {
    pid: child.pid,
    signal: (signal: Deno.Signal) => child.kill(signal),
    async kill() {
      child.kill("SIGKILL");
      await child.stdin.close().catch(() => {});
      await output.cancel();
      await child.status;
    },
    async [Symbol.asyncDispose]() {
      await child.stdin.close().catch(() => {});
      await output.cancel();
      await child.status;
    },
  };
}

async function until(claim: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!await claim()) {
    assert.ok(performance.now() - start < WATCHDOG_MS, "it does not become true");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("shared_memory: a killed server rejects what is pending, and leaves no segment", async () => {
  await using there = await place();
  for (let round = 0; round < 3; round++) {
    await using far = await there.spawn("far");
    await using near = await there.open("near");
    const hanging = near.call("far/hang", 1, { timeoutMs: Infinity });
    const traffic = (async () => {
      for (let n = 0;; n++) assert.equal(await near.call("far/echo", n), n);
    })();
    const ends = Promise.allSettled([hanging, traffic]);
    for (let n = 0; n < 20 * round; n++) await near.call("far/echo", n);
    await far.kill();
    for (const end of await ends) {
      assert.equal(end.status, "rejected");
      assert.equal((end.reason as PatchbayError).code, "closed");
    }
    assert.deepEqual(await there.left(["near", "far"]), []);
  }
});

test("shared_memory: a killed caller ends its handlers, and leaves no segment", async () => {
  await using there = await place();
  await using near = await there.open("near");
  let calls = 0;
  let aborted = 0;
  await near.serve("near/count", (_, { signal }) => {
    if (++calls < 500) return calls;
    signal.addEventListener("abort", () => aborted++);
    return new Promise(() => {});
  });
  await using far = await there.spawn("far", "near/count");
  await until(() => calls >= 500);
  await far.kill();
  await until(() => aborted === 1);
  assert.deepEqual(await there.left(["near", "far"]), []);
});

test("shared_memory: a dialler that is killed at any moment leaves no segment", async () => {
  await using there = await place();
  await using _one = await there.spawn("one");
  const start = performance.now();
  await (await there.spawn("two", "one/echo")).kill();
  const takesMs = performance.now() - start;
  for (let round = 0; round < 15; round++) {
    const child = new Deno.Command(Deno.execPath(), {
      args: farArgs(there.folder, "two", "one/echo"),
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await new Promise((resolve) => setTimeout(resolve, takesMs * (0.5 + Math.random() / 2)));
    child.kill("SIGKILL");
    await child.stdin.close().catch(() => {});
    await child.status;
    await until(async () => (await there.left(["one", "two"])).length === 0);
  }
});

test("shared_memory: when both are killed, nothing is left", async () => {
  await using there = await place();
  await using one = await there.spawn("one");
  await using two = await there.spawn("two", "one/echo");
  await Promise.all([one.kill(), two.kill()]);
  assert.deepEqual(await there.left(["one", "two"]), []);
});

test("shared_memory: what somebody left goes with the next start of any bay, wherever it was", async () => {
  await using there = await place();
  await using elsewhere = await place();
  using libc = openLibc();
  const names = await Names.of(there.folder, "near");
  const left = names.next();
  const kept = names.next();
  SharedMemory.create(left, 4096, { libc })[Symbol.dispose]();
  using memory = SharedMemory.create(kept, 4096, { libc });
  await using _ = await elsewhere.open("other");
  assert.deepEqual(await there.left(["near"]), [kept], "its maker lives");
  memory.unlink();
});

test("shared_memory: closing while a stopped peer does not answer leaves no segment", async () => {
  await using there = await place();
  await using far = await there.spawn("far");
  await using near = await there.open("near");
  far.signal("SIGSTOP");
  const call = assert.rejects(near.call("far/echo", 1));
  await until(async () => (await there.left(["near"])).length === 1);
  await near.close();
  await call;
  assert.deepEqual(await there.left(["near", "far"]), []);
  far.signal("SIGCONT");
  await using later = await there.open("later");
  assert.equal(await later.call("far/echo", 1), 1);
  assert.deepEqual(await there.left(["near", "far", "later"]), []);
});

test("shared_memory: an idle pair takes no CPU", async () => {
  await using there = await place();
  await using far = await there.spawn("far");
  await using near = await there.open("near");
  for (let n = 0; n < 100; n++) await near.call("far/echo", n);
  // proc_pid_stat(5): utime and stime, in ticks of 10 ms; the name may hold blanks.
  const ticks = () => {
    const [, rest] = Deno.readTextFileSync(`/proc/${far.pid}/stat`).split(") ");
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
});

test("shared_memory: without --allow-ffi it is unavailable, and says which flag to pass", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-prompt", "--allow-read", WITHOUT_FFI],
  }).output();
  const said = JSON.parse(new TextDecoder().decode(stdout));
  assert.equal(said.available, false);
  assert.match(`${said.reason} ${said.remedy}`, /--allow-ffi/);
});

/** Two ends of a socket. */
async function sockets(path: string): Promise<[Deno.UnixConn, Deno.UnixConn]> {
  using listener = Deno.listen({ transport: "unix", path });
  return await Promise.all([Deno.connect({ transport: "unix", path }), listener.accept()]);
}

/** Makes both rings where those of {@link CAPACITY} belong. */
function rings(buffer: ArrayBuffer, capacity: number, epoch: number): void {
  const offset = segmentBytes(CAPACITY) - ringBytes(CAPACITY);
  createRing(buffer, capacity, { epoch });
  createRing(buffer, capacity, { epoch, offset });
}

const REFUSED: Readonly<Record<string, [RegExp, (buffer: ArrayBuffer) => void, number]>> = {
  "of another size": [/bytes/, () => {}, 4096],
  "without rings": [/magic/, () => {}, segmentBytes(CAPACITY)],
  "of another epoch": [
    /epoch/,
    (buffer) => rings(buffer, CAPACITY, 8),
    segmentBytes(CAPACITY),
  ],
  "with a ring of another size": [
    /size/,
    (buffer) => rings(buffer, CAPACITY / 2, 7),
    segmentBytes(CAPACITY),
  ],
};

for (const [what, [reason, fill, bytes]] of Object.entries(REFUSED)) {
  test(`shared_memory: a segment ${what} is refused with the reason`, async () => {
    await using there = await place();
    using libc = openLibc();
    const [dialled, accepted] = await sockets(there.socket);
    const segment = (await Names.of(there.folder, "odd")).next();
    using memory = SharedMemory.create(segment, bytes, { libc });
    using cleanup = new DisposableStack();
    cleanup.defer(() => memory.unlink());
    fill(memory.buffer);
    const offer = { segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid };
    await dialled.write(encodeMessage(offer));
    await dialled.write(new TextEncoder().encode("M"));
    const refused = (error: PatchbayError) =>
      error.code === "protocol" && reason.test(error.message);
    await assert.rejects(acceptLink(accepted, libc), refused);
    const answer = new Uint8Array(4096);
    const read = await dialled.read(answer);
    assert.match(new TextDecoder().decode(answer.subarray(0, read ?? 0)), reason);
    dialled.close();
    accepted.close();
  });
}

test("shared_memory: who refuses a segment reports why, and its maker is told and removes it", async () => {
  await using there = await place();
  const reported: string[] = [];
  await using far = await there.open("far", { report: reported });
  let spoil = true;
  const plugin = createSharedMemory({
    onRings({ bytes }) {
      // The ring's header is before its messages: magic, version, capacity, epoch.
      const header = new Int32Array(bytes.buffer, 0, 4);
      if (spoil) header[1] = 99;
    },
  });
  await using near = await there.open("near", { plugin });
  await far.serve("far/echo", (value) => value);
  await assert.rejects(
    near.call("far/echo", 1, { via: ["shared_memory"], timeoutMs: WATCHDOG_MS }),
    (error: PatchbayError) => /wrong version: 99/.test(`${error.message} ${error.cause}`),
  );
  await until(() => reported.some((message) => /wrong version: 99/.test(message)));
  assert.deepEqual(await there.left(["near", "far"]), []);
  spoil = false;
  assert.equal(await near.call("far/echo", 2, { timeoutMs: WATCHDOG_MS }), 2);
});

test("shared_memory: who is refused before its segment is made is told the reason, too", async () => {
  await using there = await place();
  using libc = openLibc();
  const [dialled, accepted] = await sockets(there.socket);
  const segment = (await Names.of(there.folder, "refused")).next();
  const offer = { segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid };
  // A peer of another version answers as soon as it has seen the header, and leaves.
  await accepted.write(encodeMessage({ words: "of the future" }, 9));
  const offering = offerLink(dialled, offer, libc, {
    onStep(step) {
      // Nothing is awaited between this and the next word of the dialler.
      if (step === "made") accepted.close();
    },
  });
  await assert.rejects(
    offering,
    (error: PatchbayError) =>
      error.code === "protocol" && /version 9/.test(error.message) &&
      /one version of Patchbay/.test(error.remedy ?? ""),
  );
  assert.deepEqual(await there.left(["refused"]), []);
  dialled.close();
});

test("shared_memory: one more than may connect at once is told so, and counted", async () => {
  await using there = await place();
  using libc = openLibc();
  await using far = await open({
    module: "far",
    plugins: [createSharedMemory()],
    config: { shared_memory: { maxConnections: 1, connectTimeoutMs: WATCHDOG_MS } },
    directory: (identity) => HostDirectory.open(identity, { path: there.folder }),
  });
  await far.serve("far/echo", (value) => value);
  const dial = () => Deno.connect({ transport: "unix", path: `${there.folder}/far.shm.sock` });
  using _silent = await dial();
  using second = await dial();
  const segment = (await Names.of(there.folder, "second")).next();
  const offer = { segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid };
  await assert.rejects(
    offerLink(second, offer, libc),
    (error: PatchbayError) =>
      error.code === "overloaded" && /1 peers are connecting to far/.test(error.message) &&
      /maxConnections/.test(error.remedy ?? ""),
  );
  const [wire] = far.statistics.snapshot(Date.now()).transports;
  assert.equal(wire.errors.overloaded, 1);
  assert.deepEqual(await there.left(["second"]), []);
});

test("shared_memory: whoever accepts a segment removes its name before the answer", async () => {
  await using there = await place();
  using libc = openLibc();
  const [dialled, accepted] = await sockets(there.socket);
  const segment = (await Names.of(there.folder, "offering")).next();
  using memory = SharedMemory.create(segment, segmentBytes(CAPACITY), { libc });
  rings(memory.buffer, CAPACITY, 7);
  await dialled.write(encodeMessage({ segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid }));
  await dialled.write(new TextEncoder().encode("M"));
  const seen: string[] = [];
  const link = await acceptLink(accepted, libc, {
    onStep: (step) =>
      void (step === "mapped" && seen.push(
        ...Deno.readDirSync("/dev/shm")
          .map(({ name }) => `/${name}`),
      )),
  });
  assert.ok(seen.includes(segment));
  // Its maker, which lives, has not been told yet, and does nothing more.
  assert.deepEqual(await there.left(["offering"]), []);
  await link?.close(true);
  dialled.close();
});

test("shared_memory: a segment that cannot be ours is not even opened", async () => {
  await using there = await place();
  using libc = openLibc();
  for (const wrong of [{ segment: "/somebody" }, { capacity: 1000 }, { capacity: 2 ** 40 }]) {
    const [dialled, accepted] = await sockets(there.socket);
    const segment = "/pb-0123456789abcdef-01234567";
    const offer = { segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid, ...wrong };
    await dialled.write(encodeMessage(offer));
    await assert.rejects(acceptLink(accepted, libc), { code: "protocol" });
    dialled.close();
    accepted.close();
    await Deno.remove(there.socket).catch(() => {});
  }
});

for (const made of ["not at all", "half", "wholly"]) {
  test(`shared_memory: a dialler that died when its segment was made ${made} leaves none`, async () => {
    await using there = await place();
    using libc = openLibc();
    const [dialled, accepted] = await sockets(there.socket);
    const segment = (await Names.of(there.folder, "dying")).next();
    using cleanup = new DisposableStack();
    cleanup.defer(() => void SharedMemory.unlink(segment, { libc }));
    if (made !== "not at all") {
      using memory = SharedMemory.create(segment, segmentBytes(CAPACITY), { libc });
      if (made === "wholly") createRing(memory.buffer, CAPACITY, { epoch: 7 });
    }
    const offer = { segment, capacity: CAPACITY, epoch: 7, pid: Deno.pid };
    await dialled.write(encodeMessage(offer));
    dialled.close();
    await assert.rejects(acceptLink(accepted, libc), { code: "closed" });
    assert.deepEqual(await there.left(["dying"]), []);
    accepted.close();
  });
}

/** A handler that notes what it is told. */
class Notes implements LinkHandler {
  readonly lengths: number[] = [];
  readonly faults: string[] = [];
  drainedCount = 0;
  readonly ended = Promise.withResolvers<PatchbayError | undefined>();

  frame(buffer: Uint8Array, start: number, end: number): void {
    assert.ok(buffer.subarray(start, end).every((byte) => byte === (this.lengths.length & 255)));
    this.lengths.push(end - start);
  }
  batchEnd(): void {}
  drained(): void {
    this.drainedCount++;
  }
  malformed(error: PatchbayError): void {
    this.faults.push(error.message);
  }
  closed(error: PatchbayError | undefined): void {
    this.ended.resolve(error);
  }
}

/** Two links over rings in this process, and the header of the ring from the first to the second. */
async function linked(path: string) {
  const conns = await sockets(path);
  const [to, fro] = [1, 2].map(() => {
    const memory = new ArrayBuffer(ringBytes(CAPACITY));
    createRing(memory, CAPACITY);
    return memory;
  });
  const ends = [[to, fro], [fro, to]].map(([out, back], i) =>
    new RingLink({
      conn: conns[i],
      producer: RingProducer.attach(out),
      consumer: RingConsumer.attach(back),
      yieldCore: () => {},
      free: () => {},
    })
  );
  return { near: ends[0], far: ends[1], header: new Int32Array(to) };
}

function send(link: RingLink, length: number, byte: number): void {
  const at = link.claim(length);
  link.buffer.fill(byte, at, at + length);
  link.commit(length);
}

test("shared_memory: what finds no room waits, and goes when the peer has read", async () => {
  await using there = await place();
  const { near, far, header } = await linked(there.socket);
  const sender = new Notes();
  near.start(sender);
  const lengths = Array.from({ length: 300 }, (_, n) => 1 + (n * 997) % 16_000);
  lengths.forEach((length, n) => send(near, length, n & 255));
  assert.ok(near.buffered > CAPACITY, "most of it waits");
  // The sender sleeps before anybody reads: it must be woken.
  await until(() => Atomics.load(header, 128) === 1);
  const reader = new Notes();
  far.start(reader);
  await until(() => reader.lengths.length === lengths.length);
  assert.deepEqual(reader.lengths, lengths);
  await until(() => near.buffered === 0);
  assert.ok(sender.drainedCount > 0);
  await near.close();
  assert.equal(await reader.ended.promise, undefined);
  await far.close();
});

test("shared_memory: what was committed before closing still arrives", async () => {
  await using there = await place();
  const { near, far } = await linked(there.socket);
  const reader = new Notes();
  near.start(new Notes());
  far.start(reader);
  for (let n = 0; n < 40; n++) send(near, 10_000, n);
  await near.close();
  await near.close();
  await reader.ended.promise;
  assert.equal(reader.lengths.length, 40);
  await far.close();
});

test("shared_memory: a peer that breaks the ring is told off, and only its link ends", async () => {
  await using there = await place();
  const { near, far, header } = await linked(there.socket);
  const reader = new Notes();
  near.start(new Notes());
  far.start(reader);
  send(near, 100, 0);
  await until(() => reader.lengths.length === 1);
  // The head of the ring, far past what it holds.
  Atomics.store(header, 32, 1 << 28);
  send(near, 100, 1);
  Atomics.store(header, 32, 1 << 28);
  near.close();
  const error = await reader.ended.promise;
  assert.equal(error?.code, "protocol");
  assert.match(reader.faults.join(), /head/);
  await Promise.all([near.close(), far.close()]);
});

test("shared_memory: the plugin is not chosen where the bay has no directory", async () => {
  await using bay = await open({ module: "alone", plugins: [sharedMemory] });
  await assert.rejects(bay.serve("alone/x", () => 1), { code: "unavailable" });
});

test("shared_memory: a module is found by name, and its counters tell of connections and losses", async () => {
  await using there = await place();
  await using far = await there.spawn("far");
  const near = await openOnHost({
    module: "near",
    runtimeDirectory: there.folder,
    discover: false,
    plugins: [sharedMemory],
    handleSignals: false,
  });
  await using _ = near;
  const [found, ...others] = await byModule("far", there.folder);
  assert.deepEqual([found.pid, others], [far.pid, []]);
  assert.equal(found.wires.shared_memory, `${there.folder}/far.shm.sock`);
  for (let n = 0; n < 10; n++) assert.equal(await near.call("far/echo", n), n);
  const counters = async () =>
    (await statisticsOf("near", there.folder))?.transports
      .find(({ name }) => name === "shared_memory");
  // Published once a second.
  await until(async () => (await counters())?.connections === 1);
  assert.equal((await mappedOf(there.folder, ["near", "far"])).length, 1);
  const before = await counters();
  assert.ok(before !== undefined && before.messagesIn >= 10 && before.bytesOut > 0);
  assert.equal(before.health, "healthy");
  await far.kill();
  await until(async () => (await counters())?.connections === 0);
  assert.deepEqual(await mappedOf(there.folder, ["near", "far"]), []);
  await using again = await there.spawn("far");
  await near.waitFor(defineCallable({ address: "far/echo" }), { timeoutMs: WATCHDOG_MS });
  assert.equal(await near.call("far/echo", 1), 1);
  await until(async () => (await counters())?.connections === 1);
  assert.deepEqual((await byModule("far", there.folder)).map(({ pid }) => pid), [again.pid]);
});
