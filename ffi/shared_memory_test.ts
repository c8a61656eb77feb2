/**
 * Shared memory against the real kernel, between real processes.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import assert from "node:assert/strict";
import { ask, requirement, requireOrIgnore } from "../tests/require.ts";
import { libcAvailability, Mutex, openLibc, Semaphore, SharedMemory } from "./mod.ts";
import { assertNothingLeft, Child, code, freshName } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const asRoot = requirement(
  await ask(
    "root on Linux",
    () => Deno.build.os === "linux" && Deno.uid() === 0,
    "run the tests as root",
  ),
);
const unshare = requirement(
  await ask("unshare and mount", async () => {
    if (Deno.build.os !== "linux") return false;
    const { success } = await new Deno.Command("unshare", {
      args: ["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  }, "run the tests as root on Linux"),
);

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({
    name: here.name(`shared memory: ${name}`),
    ignore: here.ignore,
    fn: async () => {
      await fn();
      assertNothingLeft();
    },
  });
}

/** What the kernel says of a segment. */
const fileOf = (name: string) => Deno.statSync(`/dev/shm${name}`);

test("two processes add to one word, and the sum is exact", async () => {
  const COUNT = 1_000_000;
  const name = freshName();
  using memory = SharedMemory.create(name, 4096);
  const words = new Int32Array(memory.buffer);
  await using child = new Child(CHILD, ["add", name, `${COUNT}`]);
  using libc = openLibc();
  while (Atomics.load(words, 2) === 0) libc.schedYield();
  memory.unlink();
  Atomics.store(words, 1, 1);
  for (let i = 0; i < COUNT; i++) Atomics.add(words, 0, 1);
  assert.equal(await child.end(), 0);
  assert.equal(words[0], 2 * COUNT);
});

test("a new one is zero, belongs to its user alone, and is there in full", () => {
  const name = freshName();
  using memory = SharedMemory.create(name, 100_000);
  assert.equal(memory.name, name);
  assert.equal(memory.bytes, 100_000);
  assert.equal(memory.buffer.byteLength, 100_000);
  assert.ok(new Uint8Array(memory.buffer).every((byte) => byte === 0));
  if (Deno.build.os === "linux") {
    const { mode, size, blocks } = fileOf(name);
    assert.equal(mode! & 0o777, 0o600);
    assert.equal(size, 100_000);
    assert.ok(blocks! * 512 >= 100_000, "no holes");
  }
  memory.unlink();
});

Deno.test({
  name: here.name(
    "shared memory: what another left full of holes is there in full once it is open",
  ),
  // Only there can files of /dev/shm be made by other means than ours.
  ignore: here.ignore || Deno.build.os !== "linux",
  fn() {
    const name = freshName();
    const path = `/dev/shm${name}`;
    const blocks = () => (Deno.statSync(path).blocks ?? 0) * 512;
    Deno.writeFileSync(path, new Uint8Array(0), { createNew: true, mode: 0o600 });
    try {
      Deno.truncateSync(path, 1024 * 1024);
      assert.equal(blocks(), 0);
      using memory = SharedMemory.open(name);
      assert.equal(memory.bytes, 1024 * 1024);
      assert.equal(blocks(), 1024 * 1024);
    } finally {
      Deno.removeSync(path);
    }
    assertNothingLeft();
  },
});

test("the name is free after unlink, and what is mapped stays", () => {
  const name = freshName();
  using first = SharedMemory.create(name, 64);
  assert.equal(code(() => SharedMemory.create(name, 64)), "unavailable");
  using second = SharedMemory.open(name, { bytes: 64 });
  assert.equal(code(() => SharedMemory.open(name, { bytes: 65 })), "protocol");
  first.unlink();
  first.unlink();
  assert.equal(code(() => SharedMemory.open(name)), "not_found");
  new Uint8Array(first.buffer)[5] = 9;
  assert.equal(new Uint8Array(second.buffer)[5], 9);
  using other = SharedMemory.create(name, 128);
  second[Symbol.dispose]();
  assert.equal(other.bytes, 128);
  assert.equal(SharedMemory.unlink(name), true);
  assert.equal(SharedMemory.unlink(name), false);
});

test("disposal is idempotent, and nothing reaches the memory after it", async () => {
  const name = freshName();
  using libc = openLibc();
  const memory = SharedMemory.create(name, 4096, { libc });
  memory.unlink();
  const { buffer } = memory;
  const words = new Int32Array(buffer);
  const mutex = new Mutex(memory, 0);
  const guard = mutex.tryLock();
  const semaphore = Semaphore.at(memory, 64, { init: 0 });
  const waiting = semaphore.wait();
  memory[Symbol.dispose]();
  memory[Symbol.dispose]();
  assert.equal(memory.disposed, true);
  assert.equal(words.length, 0);
  assert.equal(words[0], undefined);
  words[0] = 1;
  assert.throws(() => Atomics.load(words, 0), TypeError);
  assert.equal(buffer.byteLength, 0);
  for (
    const use of [
      () => memory.buffer,
      () => memory.unlink(),
      () => memory.file,
      () => memory.pointerAt(0),
      () => memory.hold(),
      () => Semaphore.at(memory, 0),
      () => new Mutex(memory, 0),
      () => semaphore.post(),
      () => semaphore.tryWait(),
      () => mutex.tryLock(),
    ]
  ) assert.equal(code(use), "closed", String(use));
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(semaphore.wait(), { code: "closed" });
  await assert.rejects(mutex.lock(), { code: "closed" });
  guard?.[Symbol.dispose]();
  mutex[Symbol.dispose]();
  mutex[Symbol.dispose]();
  semaphore[Symbol.dispose]();
  semaphore[Symbol.dispose]();
});

test("bad names and sizes are refused, with what to do", () => {
  const bad = ["", "/", "camera", "/a/b", "/.", "/..", "/a\0b", `/${"x".repeat(255)}`, "//"];
  for (const name of bad) {
    for (const use of [() => SharedMemory.create(name, 64), () => SharedMemory.open(name)]) {
      assert.throws(use, (error) => {
        assert.ok(error instanceof PatchbayError);
        assert.equal(error.code, "invalid", JSON.stringify(name));
        assert.ok(error.remedy);
        return true;
      });
    }
  }
  for (const bytes of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
    assert.equal(code(() => SharedMemory.create(freshName(), bytes)), "invalid");
  }
  if (Deno.build.os !== "linux") return;
  const longest = `${freshName()}-`.padEnd(255, "x");
  using memory = SharedMemory.create(longest, 64);
  memory.unlink();
});

test("more than there is: unavailable at creation, and nothing is left", () => {
  const name = freshName();
  assert.throws(() => SharedMemory.create(name, 2 ** 45), (error) => {
    assert.ok(error instanceof PatchbayError);
    assert.equal(error.code, "unavailable");
    assert.equal(error.details?.name, "ENOSPC");
    assert.match(error.remedy ?? "", /\/dev\/shm/);
    return true;
  });
  assert.equal(code(() => SharedMemory.open(name)), "not_found");
});

Deno.test({
  name: here.name(
    unshare.name("shared memory: a small /dev/shm that fills up is an error, no signal"),
  ),
  ignore: here.ignore || unshare.ignore,
  fn: async () => {
    const script =
      'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$0" run -A --no-check "$1" fill /x';
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: ["-m", "sh", "-c", script, Deno.execPath(), CHILD.href],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.equal(
      new TextDecoder().decode(stdout),
      "ok, unavailable ENOSPC, unavailable ENOSPC, ok, 0 left\n",
    );
  },
});

Deno.test({
  name: here.name(asRoot.name("shared memory: another user's segment is refused, also to root")),
  ignore: here.ignore || asRoot.ignore,
  fn: async () => {
    const name = freshName();
    using memory = SharedMemory.create(name, 4096);
    const run = async (command: string, ...args: string[]) =>
      assert.equal((await new Deno.Command(command, { args }).output()).success, true);
    await run("chown", "65534", `/dev/shm${name}`);
    assert.throws(() => SharedMemory.open(name), (error) => {
      assert.ok(error instanceof PatchbayError);
      assert.equal(error.code, "forbidden");
      assert.deepEqual(error.details, { owner: 65534, user: 0 });
      return true;
    });
    await run("chown", "0", `/dev/shm${name}`);
    await run("chmod", "640", `/dev/shm${name}`);
    assert.throws(() => SharedMemory.open(name), /open to other users \(mode 640\)/);
    await run("chmod", "600", `/dev/shm${name}`);
    await run("truncate", "-s", "0", `/dev/shm${name}`);
    assert.throws(() => SharedMemory.open(name), (error) => {
      assert.ok(error instanceof PatchbayError);
      assert.equal(error.code, "unavailable");
      assert.equal(error.retryable, true);
      return true;
    });
    memory.unlink();
    assertNothingLeft();
  },
});

test("without --allow-ffi a child is told which flag to pass", async () => {
  const name = freshName();
  using memory = SharedMemory.create(name, 4096);
  await using denied = new Child(CHILD, ["open", name], ["--allow-read"]);
  assert.equal(
    await denied.line(),
    "unavailable: pass --allow-ffi (a path after it is not enough: pointers need it whole)",
  );
  await using allowed = new Child(CHILD, ["open", name], ["--allow-ffi", "--allow-read"]);
  assert.equal(await allowed.line(), "opened 4096");
  memory.unlink();
  await denied.end();
  await allowed.end();
});
