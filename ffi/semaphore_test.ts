/**
 * Semaphores against the real kernel, between real processes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireOrIgnore } from "../tests/require.ts";
import { libcAvailability, Semaphore, SharedMemory } from "./mod.ts";
import { assertNothingLeft, Child, code, freshName } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({
    name: here.name(`semaphore: ${name}`),
    ignore: here.ignore,
    fn: async () => {
      await fn();
      assertNothingLeft();
    },
  });
}

/** What was aborted may be in the kernel for one more slice. */
const slice = () => new Promise((resolve) => setTimeout(resolve, 120));

test("counts, and gives no more than was posted", () => {
  const name = freshName();
  using semaphore = Semaphore.create(name, { value: 2 });
  assert.equal(code(() => Semaphore.create(name)), "unavailable");
  using same = Semaphore.open(name);
  // Where glibc and musl keep it.
  if (Deno.build.os === "linux") {
    assert.equal((Deno.statSync(`/dev/shm/sem.${name.slice(1)}`).mode ?? 0) & 0o777, 0o600);
  }
  assert.equal(Semaphore.unlink(name), true);
  assert.equal(Semaphore.unlink(name), false);
  assert.equal(code(() => Semaphore.open(name)), "not_found");
  assert.deepEqual([semaphore.tryWait(), same.tryWait(), same.tryWait()], [true, true, false]);
  semaphore.post();
  assert.deepEqual([same.tryWait(), same.tryWait()], [true, false]);
});

test("a named one wakes another process, and is woken by it", async () => {
  const name = freshName();
  using semaphore = Semaphore.create(name);
  await using child = new Child(CHILD, ["semaphore", name]);
  assert.equal(await child.line(), "waiting");
  Semaphore.unlink(name);
  semaphore.post();
  assert.equal(await child.end(), 0);
  await semaphore.wait();
  await semaphore.wait();
  assert.equal(semaphore.tryWait(), false);
});

test("one in shared memory wakes another process, and is woken by it", async () => {
  const name = freshName();
  using memory = SharedMemory.create(name, 4096);
  using question = Semaphore.at(memory, 64, { init: 0 });
  using answer = Semaphore.at(memory, 128, { init: 0 });
  await using child = new Child(CHILD, ["semaphore at", name]);
  assert.equal(await child.line(), "waiting");
  memory.unlink();
  question.post();
  await answer.wait();
  assert.equal(new Int32Array(memory.buffer)[0], 1);
  assert.equal(await child.end(), 0);
});

test("many waiters of one process are served in their order, one in the kernel", async () => {
  const name = freshName();
  using semaphore = Semaphore.create(name);
  Semaphore.unlink(name);
  const order: number[] = [];
  const all = Array.from({ length: 100 }, (_, i) => semaphore.wait().then(() => order.push(i)));
  // 32 in the kernel would stop the process's file access: this is it.
  await Deno.readTextFile(CHILD);
  for (let i = 0; i < 100; i++) semaphore.post();
  await Promise.all(all);
  assert.deepEqual(order, Array.from({ length: 100 }, (_, i) => i));
  assert.equal(semaphore.tryWait(), false);
});

test("a wait ends with its deadline or its signal, and takes nothing with it", async () => {
  const name = freshName();
  using semaphore = Semaphore.create(name);
  Semaphore.unlink(name);
  await assert.rejects(semaphore.wait({ timeoutMs: 5 }), { code: "deadline_exceeded" });
  await assert.rejects(semaphore.wait({ timeoutMs: 0 }), { code: "deadline_exceeded" });
  const reason = new Error("enough");
  await assert.rejects(semaphore.wait({ signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const aborted = semaphore.wait({ signal: controller.signal });
  const patient = semaphore.wait();
  controller.abort(reason);
  await assert.rejects(aborted, reason);
  semaphore.post();
  await patient;
  // The wait that is left in the kernel may take this one, and gives it back.
  const left = semaphore.wait({ signal: AbortSignal.timeout(1) });
  await assert.rejects(left);
  semaphore.post();
  await slice();
  assert.deepEqual([semaphore.tryWait(), semaphore.tryWait()], [true, false]);
});

test("disposal refuses who waits, and is idempotent", async () => {
  const name = freshName();
  const semaphore = Semaphore.create(name);
  Semaphore.unlink(name);
  const waiting = [semaphore.wait(), semaphore.wait({ timeoutMs: 60_000 })];
  semaphore[Symbol.dispose]();
  semaphore[Symbol.dispose]();
  for (const each of waiting) await assert.rejects(each, { code: "closed" });
  for (const use of [() => semaphore.post(), () => semaphore.tryWait()]) {
    assert.equal(code(use), "closed");
  }
  await assert.rejects(semaphore.wait(), { code: "closed" });
  await slice();
});

test("bad names, values and places are invalid", () => {
  for (const name of ["", "/", "x", "/a/b", `/${"x".repeat(251)}`]) {
    assert.equal(code(() => Semaphore.create(name)), "invalid", name);
    assert.equal(code(() => Semaphore.open(name)), "invalid", name);
    assert.equal(code(() => Semaphore.unlink(name)), "invalid", name);
  }
  using memory = SharedMemory.create(freshName(), 64);
  memory.unlink();
  for (const value of [-1, 1.5, NaN, 2 ** 31]) {
    assert.equal(code(() => Semaphore.create(freshName(), { value })), "invalid");
    assert.equal(code(() => Semaphore.at(memory, 0, { init: value })), "invalid");
  }
  for (const offset of [-8, 4, 40, 64, NaN, 2 ** 40]) {
    assert.equal(code(() => Semaphore.at(memory, offset, { init: 0 })), "invalid");
  }
});
