/**
 * The symbol tables, and what the safe classes do where a system lacks some of it.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import assert from "node:assert/strict";
import { requireOrIgnore } from "../tests/require.ts";
import {
  Libc,
  libcAvailability,
  LINUX,
  MACOS_ARM64,
  MACOS_X86_64,
  Mutex,
  Semaphore,
  SharedMemory,
} from "./mod.ts";
import { openCalls } from "./system.ts";
import { assertNothingLeft, code, freshName } from "./testdata/spawn.ts";

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

/** This system's library, without what macOS does not have. */
function poorLibc(): Libc {
  const opened = openCalls();
  const { calls } = opened;
  return new Libc({
    ...opened,
    calls: {
      system: {
        ...calls.system,
        F_OFD_SETLK: undefined,
        semaphoreBytes: undefined,
        maxSharedMemoryName: 31,
        maxSemaphoreName: 31,
      },
      posix: calls.posix,
      errno: calls.errno,
      open: calls.open,
      fstat: calls.fstat,
      shm_open: calls.shm_open,
      sem_open: calls.sem_open,
    },
  });
}

Deno.test("system: every table has what its system has, and nothing else", () => {
  const everywhere =
    "getpid getuid geteuid kill sched_yield close flock ftruncate mmap munmap shm_open shm_unlink " +
    "sem_open sem_close sem_unlink sem_post sem_trywait sem_wait socket connect send open fstat";
  const linux = "posix_fallocate fcntl sem_init sem_destroy sem_timedwait __errno_location " +
    "opendir readdir closedir gnu_get_libc_version __fxstat";
  const macos = "__error setsockopt ioctl";
  const names = (table: object) => Object.keys(table).sort();
  const sorted = (text: string) => text.split(" ").sort();
  assert.deepEqual(names(LINUX), sorted(`${everywhere} ${linux}`));
  assert.deepEqual(names(MACOS_X86_64), sorted(`${everywhere} ${macos}`));
  assert.deepEqual(names(MACOS_ARM64), sorted(`${everywhere} ${macos}`));
});

Deno.test("system: on Apple silicon variadic arguments lie behind eight registers, 8 bytes each", () => {
  for (const [name, fixed] of [["open", 2], ["shm_open", 2], ["sem_open", 2]] as const) {
    const arm: readonly string[] = MACOS_ARM64[name].parameters;
    const intel: readonly string[] = MACOS_X86_64[name].parameters;
    assert.deepEqual(arm.slice(0, fixed), intel.slice(0, fixed));
    assert.equal(arm.length, 8 + intel.length - fixed);
    assert.ok(arm.slice(fixed).every((type) => type === "u64"));
  }
});

Deno.test({
  name: here.name("system: without a timed wait a semaphore polls, and all else holds"),
  ignore: here.ignore,
  fn: async () => {
    using libc = poorLibc();
    const name = freshName();
    using semaphore = Semaphore.create(name, { libc });
    Semaphore.unlink(name, { libc });
    await assert.rejects(semaphore.wait({ timeoutMs: 5 }), { code: "deadline_exceeded" });
    const order: number[] = [];
    const all = [1, 2, 3].map((i) => semaphore.wait().then(() => order.push(i)));
    for (let i = 0; i < 3; i++) semaphore.post();
    await Promise.all(all);
    assert.deepEqual(order, [1, 2, 3]);
    assert.equal(semaphore.tryWait(), false);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assertNothingLeft();
  },
});

Deno.test({
  name: here.name("system: what a system lacks is unavailable, and says what to use"),
  ignore: here.ignore,
  fn: () => {
    using libc = poorLibc();
    const name = freshName();
    // By ftruncate, once.
    using memory = SharedMemory.create(name, 4096, { libc });
    memory.unlink();
    assert.ok(new Uint8Array(memory.buffer).every((byte) => byte === 0));
    for (const use of [() => Semaphore.at(memory, 0, { init: 0 }), () => new Mutex(memory, 0)]) {
      assert.throws(use, (error) => {
        assert.ok(error instanceof PatchbayError);
        assert.equal(error.code, "unavailable");
        assert.equal(error.retryable, false);
        assert.match(error.remedy ?? "", /named semaphore|FileLock/);
        return true;
      });
    }
    const long = `/${"x".repeat(31)}`;
    assert.equal(code(() => SharedMemory.create(long, 64, { libc })), "invalid");
    assert.equal(code(() => Semaphore.create(long, { libc })), "invalid");
    assertNothingLeft();
  },
});
