/**
 * File locks against the real kernel, between real processes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireOrIgnore } from "../tests/require.ts";
import { FileLock, libcAvailability } from "./mod.ts";
import { Child, code } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(name: string, fn: (path: string) => void | Promise<void>): void {
  Deno.test({
    name: here.name(`file lock: ${name}`),
    ignore: here.ignore,
    fn: async () => {
      const folder = await Deno.makeTempDir({ prefix: "pb-lock-" });
      try {
        await fn(`${folder}/x.lock`);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

test("one has it, and the next when it is released", async (path) => {
  using first = FileLock.open(path);
  using second = FileLock.open(path);
  if (Deno.build.os !== "windows") assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  assert.equal(first.held, false);
  assert.equal(first.tryLock(), true);
  assert.equal(first.tryLock(), true, "it has it already");
  assert.equal(second.tryLock(), false);
  const waiting = second.lock();
  await assert.rejects(second.lock({ timeoutMs: 1 }), { code: "deadline_exceeded" });
  first.unlock();
  first.unlock();
  await waiting;
  assert.deepEqual([first.held, second.held], [false, true]);
  second[Symbol.dispose]();
  assert.equal(first.tryLock(), true);
});

test("it is the lock of Deno.FsFile", async (path) => {
  using lock = FileLock.open(path);
  using file = await Deno.open(path, { read: true });
  lock.tryLock();
  assert.equal(file.tryLockSync(true), false);
  lock.unlock();
  assert.equal(file.tryLockSync(true), true);
  assert.equal(lock.tryLock(), false);
});

test("it dies with its process, by SIGKILL", async (path) => {
  await using child = new Child(CHILD, ["lock", path]);
  assert.equal(await child.line(), "true");
  using lock = FileLock.open(path);
  assert.equal(lock.tryLock(), false);
  const waiting = lock.lock();
  child.kill();
  await waiting;
  assert.equal(lock.held, true);
});

test("a wait ends with its signal", async (path) => {
  using first = FileLock.open(path);
  using second = FileLock.open(path);
  first.tryLock();
  const reason = new Error("enough");
  const controller = new AbortController();
  const waiting = second.lock({ signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(second.lock({ signal: controller.signal }), reason);
  assert.equal(second.held, false);
});

test("disposal is idempotent, ends a wait, and use after it is closed", async (path) => {
  using other = FileLock.open(path);
  other.tryLock();
  const lock = FileLock.open(path);
  const waiting = lock.lock();
  lock[Symbol.dispose]();
  lock[Symbol.dispose]();
  await assert.rejects(waiting, { code: "closed" });
  for (const use of [() => lock.tryLock(), () => lock.unlock()]) assert.equal(code(use), "closed");
  assert.equal(lock.held, false);
});

test("what is no lock file is refused", async (path) => {
  assert.equal(code(() => FileLock.open("")), "invalid");
  assert.equal(code(() => FileLock.open("/tmp/a\0b")), "invalid");
  assert.equal(code(() => FileLock.open(`${path}/x`)), "not_found");
  await Deno.symlink("/etc/hostname", path);
  assert.equal(code(() => FileLock.open(path)), "invalid");
});
