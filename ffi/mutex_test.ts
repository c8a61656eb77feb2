/**
 * The mutex against the real kernel, with owners that are killed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ask, requirement, requireOrIgnore } from "../tests/require.ts";
import { libcAvailability, Mutex, Semaphore, SharedMemory } from "./mod.ts";
import { assertNothingLeft, Child, code, freshName } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const libc = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const linux = requirement(
  await ask("Linux", () => Deno.build.os === "linux", "run the tests on Linux"),
);

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({
    name: libc.name(linux.name(`mutex: ${name}`)),
    ignore: libc.ignore || linux.ignore,
    fn: async () => {
      await fn();
      assertNothingLeft();
    },
  });
}

/** A segment without a name. */
function memoryOf(bytes = 4096): SharedMemory {
  const memory = SharedMemory.create(freshName(), bytes);
  memory.unlink();
  return memory;
}

test("one has it, and the next when it is released", async () => {
  using memory = memoryOf();
  using first = new Mutex(memory, 0);
  using second = new Mutex(memory, 0);
  using elsewhere = new Mutex(memory, 64);
  const guard = first.tryLock();
  assert.equal(guard?.ownerDied, false);
  assert.equal(first.tryLock(), undefined, "it is not reentrant");
  assert.equal(second.tryLock(), undefined);
  using other = elsewhere.tryLock();
  assert.equal(other?.ownerDied, false, "each place is a mutex of its own");
  const order: string[] = [];
  const waiting = [first, second, second, first].map(async (mutex, i) => {
    using guard = await mutex.lock();
    assert.equal(guard.ownerDied, false);
    order.push(`in ${i}`);
    await Promise.resolve();
    order.push(`out ${i}`);
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(order.length, 0);
  guard?.[Symbol.dispose]();
  guard?.[Symbol.dispose]();
  await Promise.all(waiting);
  assert.equal(order.length, 8);
  for (let i = 0; i < 8; i += 2) {
    assert.equal(order[i].replace("in", "out"), order[i + 1], "nobody came between");
  }
});

test("an owner that is killed inside: the next one gets it and is told, the one after is not", async () => {
  const name = freshName();
  using memory = SharedMemory.create(name, 4096);
  using mutex = new Mutex(memory, 0);
  for (let round = 0; round < 3; round++) {
    await using child = new Child(CHILD, ["hold mutex", name]);
    assert.equal(await child.line(), "held, ownerDied false");
    assert.equal(mutex.tryLock(), undefined);
    const waiting = mutex.lock();
    child.kill();
    {
      using guard = await waiting;
      assert.equal(guard.ownerDied, true);
    }
    using again = mutex.tryLock();
    assert.equal(again?.ownerDied, false);
  }
  memory.unlink();
});

test("processes killed at any moment: nothing is torn that is not told, and nobody is stuck", async () => {
  const name = freshName();
  using memory = SharedMemory.create(name, 4096);
  using mutex = new Mutex(memory, 0);
  const counts = new Int32Array(memory.buffer, Mutex.BYTES, 3);
  const step = async () => {
    using guard = mutex.tryLock() ?? await mutex.lock();
    if (guard.ownerDied) {
      counts[2]++;
      counts[1] = counts[0];
    }
    assert.equal(counts[0], counts[1]);
    counts[0]++;
    counts[1]++;
  };
  for (let round = 0; round < 15; round++) {
    await using child = new Child(CHILD, ["count", name, "1000000000"]);
    assert.equal(await child.line(), "counting");
    const untilMs = performance.now() + 5 + Math.random() * 15;
    while (performance.now() < untilMs) {
      await step();
      await new Promise((resolve) => setTimeout(resolve));
    }
    child.kill();
    for (let i = 0; i < 10; i++) await step();
    assert.equal(await child.line(), "(end)", "the child saw it torn");
  }
  memory.unlink();
});

test("two processes that count together lose nothing", async () => {
  const name = freshName();
  const COUNT = 20_000;
  using memory = SharedMemory.create(name, 4096);
  const counts = new Int32Array(memory.buffer, Mutex.BYTES, 3);
  const children = [1, 2].map(() => new Child(CHILD, ["count", name, `${COUNT}`]));
  for (const child of children) assert.equal(await child.line(), "counting");
  memory.unlink();
  for (const child of children) {
    assert.equal(await child.line(), "done");
    assert.equal(await child.end(), 0);
  }
  assert.deepEqual([...counts], [2 * COUNT, 2 * COUNT, 0]);
});

test("a wait ends with its deadline or its signal", async () => {
  using memory = memoryOf();
  using first = new Mutex(memory, 0);
  using second = new Mutex(memory, 0);
  using guard = await first.lock();
  await assert.rejects(second.lock({ timeoutMs: 5 }), { code: "deadline_exceeded" });
  await assert.rejects(second.lock({ timeoutMs: 0 }), { code: "deadline_exceeded" });
  const reason = new Error("enough");
  await assert.rejects(second.lock({ signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const waiting = second.lock({ signal: controller.signal });
  setTimeout(() => controller.abort(reason), 5);
  await assert.rejects(waiting, reason);
  guard[Symbol.dispose]();
  using free = second.tryLock();
  assert.equal(free?.ownerDied, false);
  await settled();
});

test("who releases wakes one waiter, if somebody said that he waits, and else makes no call", () => {
  using memory = memoryOf();
  using mutex = new Mutex(memory, 0);
  const waiting = new Int32Array(memory.buffer, 36, 1);
  mutex.tryLock()?.[Symbol.dispose]();
  using semaphore = Semaphore.at(memory, 0);
  assert.equal(semaphore.tryWait(), false);
  const guard = mutex.tryLock();
  waiting[0] = 1;
  guard?.[Symbol.dispose]();
  assert.equal(waiting[0], 0);
  assert.deepEqual([semaphore.tryWait(), semaphore.tryWait()], [true, false]);
});

test("a maker that died half way left no mutex: the next one makes it", () => {
  using memory = memoryOf();
  // The magic number comes last, so everything but that may be there.
  new Uint8Array(memory.buffer, 0, 32).fill(0xff);
  new Int32Array(memory.buffer)[36 / 4] = 1;
  using mutex = new Mutex(memory, 0);
  using guard = mutex.tryLock();
  assert.equal(guard?.ownerDied, false);
});

test("something else in its place is told, and harmed by nothing", () => {
  using memory = memoryOf();
  new Uint8Array(memory.buffer).fill(7);
  using mutex = new Mutex(memory, 128);
  assert.equal(code(() => mutex.tryLock()), "protocol");
  assert.equal(code(() => mutex.tryLock()), "protocol");
  assert.ok(new Uint8Array(memory.buffer).every((byte) => byte === 7));
  for (const offset of [-8, 4, 4040, NaN]) {
    assert.equal(code(() => new Mutex(memory, offset)), "invalid");
  }
});

test("disposal releases what it holds, refuses who waits, and is idempotent", async () => {
  using memory = memoryOf();
  const first = new Mutex(memory, 0);
  using second = new Mutex(memory, 0);
  const guard = first.tryLock();
  const waiting = first.lock();
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(first.lock(), { code: "closed" });
  assert.equal(code(() => first.tryLock()), "closed");
  using free = second.tryLock();
  assert.equal(free?.ownerDied, false);
  guard?.[Symbol.dispose]();
  await settled();
});

test("memory closed under a held mutex: the next one is told as of a death", async () => {
  const name = freshName();
  using theirs = SharedMemory.create(name, 4096);
  const mine = SharedMemory.open(name);
  theirs.unlink();
  using next = new Mutex(theirs, 0);
  const mutex = new Mutex(mine, 0);
  const guard = await mutex.lock();
  mine[Symbol.dispose]();
  assert.equal(next.tryLock(), undefined);
  guard[Symbol.dispose]();
  using told = next.tryLock();
  assert.equal(told?.ownerDied, true);
  mutex[Symbol.dispose]();
});

/** What was aborted may be in the kernel for one more slice. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 80));
}
