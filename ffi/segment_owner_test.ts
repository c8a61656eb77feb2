/**
 * Whose a segment is, against the real kernel: what is left of the dead is found and removed, what
 * the living have never is.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ask, requirement, requireOrIgnore } from "../tests/require.ts";
import { errnoNumber, Libc, libcAvailability, openLibc, SharedMemory } from "./mod.ts";
import { type Calls, openCalls } from "./system.ts";
import { assertNothingLeft, Child, code, freshName } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const linux = requirement(
  await ask("Linux", () => Deno.build.os === "linux", "segments of macOS have no owner"),
);
const asRoot = requirement(
  await ask(
    "root on Linux",
    () => Deno.build.os === "linux" && Deno.uid() === 0,
    "run the tests as root",
  ),
);

function test(name: string, fn: () => void | Promise<void>, also = linux): void {
  Deno.test({
    name: here.name(also.name(`segment owner: ${name}`)),
    ignore: here.ignore || linux.ignore || also.ignore,
    fn: async () => {
      await fn();
      assertNothingLeft();
    },
  });
}

test("a killed creator leaves an orphan, which anybody may remove; a living one does not", async () => {
  using libc = openLibc();
  const name = freshName();
  await using child = new Child(CHILD, ["create", name]);
  assert.equal(await child.line(), "created");
  assert.deepEqual(SharedMemory.orphans(name, { libc }), []);
  assert.equal(SharedMemory.reclaim(name, { libc }), false);
  using memory = SharedMemory.open(name, { libc });
  child.kill();
  await child.end();
  assert.deepEqual(SharedMemory.orphans(name, { libc }), [{ name, bytes: 4096 }]);
  assert.equal(SharedMemory.reclaim(name, { libc }), true);
  assert.equal(SharedMemory.reclaim(name, { libc }), false);
  assert.deepEqual(SharedMemory.orphans(name, { libc }), []);
  // Who has mapped it keeps it.
  new Int32Array(memory.buffer)[0] = 1;
});

test("a creator that has let go leaves an orphan, and its name can be taken anew", () => {
  const name = freshName();
  SharedMemory.create(name, 64)[Symbol.dispose]();
  assert.equal(code(() => SharedMemory.create(name, 64)), "unavailable");
  assert.equal(SharedMemory.reclaim(name), true);
  using memory = SharedMemory.create(name, 128);
  assert.equal(SharedMemory.reclaim(name), false);
  memory.unlink();
});

test("others who remove orphans all the time never take one from its creator", async () => {
  const name = freshName();
  await using child = new Child(CHILD, ["create all", name, "100"]);
  using libc = openLibc();
  const names = [0, 1, 2, 3].map((n) => `${name}-${n}`);
  assert.equal(await child.line(), "creating");
  const said = child.line();
  let answer: string | undefined;
  said.then((line) => answer = line);
  while (answer === undefined) {
    for (let round = 0; round < 200; round++) {
      for (const each of names) SharedMemory.reclaim(each, { libc });
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.equal(answer, "0 lost");
  await child.end();
});

test("who was stopped while it looked at a new segment holds its creator up for a moment only", () => {
  const opened = openCalls();
  const { posix } = opened.calls;
  let refused = 0;
  let made = 0;
  const calls: Calls = {
    ...opened.calls,
    shm_open: (...given) => {
      made++;
      return opened.calls.shm_open(...given);
    },
    posix: {
      ...posix,
      // As if somebody held the first segment's lock: another errno than the real call's.
      flock: (fd, operation) => made === 1 && ++refused > 0 ? -1 : posix.flock(fd, operation),
    },
    errno: () => made === 1 ? errnoNumber("EAGAIN") ?? 0 : opened.calls.errno(),
  };
  using libc = new Libc({ ...opened, calls });
  const name = freshName();
  using memory = SharedMemory.create(name, 64, { libc });
  assert.equal(made, 2);
  assert.ok(refused > 10);
  assert.equal(SharedMemory.reclaim(name), false, "it is its creator's");
  memory.unlink();
});

test("another user's segment is no orphan of ours, also to root", async () => {
  const name = freshName();
  SharedMemory.create(name, 64)[Symbol.dispose]();
  Deno.chownSync(`/dev/shm${name}`, 65534, 65534);
  assert.deepEqual(SharedMemory.orphans(name), []);
  assert.equal(SharedMemory.reclaim(name), false);
  // Whom it belongs to sees it; the process of that user can do no more than ask.
  const { stdout, stderr } = await new Deno.Command("setpriv", {
    args: [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "find",
      "/dev/shm",
      "-user",
      "65534",
      "-name",
      name.slice(1),
      "-delete",
      "-print",
    ],
  }).output();
  assert.equal(
    new TextDecoder().decode(stdout),
    `/dev/shm${name}\n`,
    new TextDecoder().decode(stderr),
  );
}, asRoot);
