/**
 * What shared_memory refuses, and what it says then: a `/dev/shm` that is full, segments that are
 * another user's, open to others or of another version, and a process that may not use FFI.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createRing, PatchbayError, ringBytes } from "@patchbay/core";
import { libcAvailability, openLibc, SharedMemory } from "@patchbay/ffi";
import { bayPermissions, openRuntimeDir } from "@patchbay/host";
import { ask, requirement, requireOrIgnore } from "../../tests/require.ts";
import { acceptLink, encodeMessage, segmentBytes } from "./control.ts";
import sharedMemory from "./mod.ts";
import { Names } from "./names.ts";

const CROWDED = new URL("./testdata/crowded.ts", import.meta.url).pathname;
const TIDYING = new URL("./testdata/tidying.ts", import.meta.url).pathname;
const FALLBACK = new URL("./testdata/fallback.ts", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;
const CAPACITY = 64 * 1024;
const EPOCH = 7;

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const always = requirement({ name: "nothing", met: true, reason: "", remedy: "" });
const asRoot = requirement(
  await ask("root on Linux", () => Deno.build.os === "linux" && Deno.uid() === 0, "run as root"),
);
const ownShm = requirement(
  await ask("unshare and mount", async () => {
    if (Deno.build.os !== "linux") return false;
    const { success } = await new Deno.Command("unshare", {
      args: ["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  }, "run as root on Linux"),
);

function test(title: string, fn: () => Promise<void>, also = always): void {
  Deno.test({
    name: here.name(also.name(`shared_memory: ${title}`)),
    ignore: here.ignore || also.ignore,
    fn,
  });
}

async function place() {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  return {
    parent,
    folder: openRuntimeDir({ path: `${parent}/run` }),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

/** Runs a program of `testdata/` in a `/dev/shm` of its own, and reads what it prints. */
// deno-lint-ignore no-explicit-any -- what it is, is what the tests find out
async function inOwnShm(size: string, program: string, folder: string): Promise<any> {
  const script =
    'mount -t tmpfs -o size="$3" tmpfs /dev/shm && exec "$0" run -A --no-check --no-lock "$1" "$2"';
  const { success, signal, stdout, stderr } = await new Deno.Command("unshare", {
    args: ["-m", "sh", "-c", script, Deno.execPath(), program, folder, size],
    env: { NO_COLOR: "1" },
  }).output();
  assert.deepEqual([success, signal], [true, null], new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

test("a /dev/shm that is full is an error that says so, and no SIGBUS later", async () => {
  await using there = await place();
  const said = await inOwnShm("2m", CROWDED, there.folder);
  for (const error of [said.tooLarge, said.full]) {
    assert.equal(error.code, "unavailable");
    assert.match(error.message, /posix_fallocate of \d+ bytes for .* \(ENOSPC\)/);
    assert.match(error.remedy, /\/dev\/shm/);
  }
  // A bay that was open before, and has another wire, goes over that.
  assert.deepEqual(said.both, ["ok", "uds"]);
  // A bay that opens then does without, and says why.
  assert.equal(said.over, "ok");
  assert.match(said.wire.reason, /\(ENOSPC\)/);
  assert.match(said.wire.remedy, /\/dev\/shm/);
  const most = Math.floor(2 * 1024 * 1024 / segmentBytes(CAPACITY));
  assert.ok(said.pairs > most / 2 && said.pairs <= most, `${said.pairs} pairs of ${most}`);
  assert.equal(said.stillGood, true);
  assert.equal(said.afterOneLeft, "ok");
  assert.deepEqual(said.named, []);
}, ownShm);

test("doctor and cleanStale find what the killed have left, and remove that alone", async () => {
  await using there = await place();
  const said = await inOwnShm("64m", TIDYING, there.folder);
  assert.equal(said.left.length, 1, "two processes were killed while a segment had a name");
  const segment = { what: `/dev/shm/${said.left[0]}`, wire: "shared_memory" };
  const segments = (stale: { what: string; bytes?: number; wire?: string }[]) =>
    stale.filter(({ wire }) => wire !== undefined)
      .map(({ what, bytes, wire }) => [{ what, wire }, (bytes ?? 0) > 2 * 1024 * 1024]);
  assert.deepEqual(segments(said.found), [[segment, true]]);
  assert.deepEqual(segments(said.stale), [[segment, true]]);
  const files = said.found.filter(({ instance }: { instance?: string }) => instance !== undefined);
  assert.deepEqual(
    said.removed,
    [segment, ...files].map(({ what }) => what).sort(),
    "what is found is removed",
  );
  assert.deepEqual(said.again, []);
  assert.deepEqual(said.kept, [said.live, "pb-of-somebody"].sort());
}, ownShm);

test("a bay has shared_memory with exactly the flags that are printed", async () => {
  await using there = await place();
  const spawn = (module: string, peers: readonly string[], what: string) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--no-check",
        "--no-lock",
        ...bayPermissions({
          module,
          runtimeDir: there.folder,
          peers,
          plugins: [sharedMemory],
          config: { shared_memory: {} },
        }),
        FALLBACK,
        there.folder,
        what,
      ],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  const server = spawn("far", [], "serve");
  const serving = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    assert.equal((await serving.read()).value, '"ready"\n');
    const client = spawn("near", ["far"], "call");
    await client.stdin.close();
    const said = JSON.parse(await new Response(client.stdout).text());
    await client.status;
    assert.deepEqual(said, { transport: "shared_memory", only: "shared_memory" });
  } finally {
    await server.stdin.close();
    await serving.cancel();
    await server.status;
  }
});

/** What a peer that offers such a segment is told. */
async function offered(
  spoil: (memory: SharedMemory, path: string) => void | Promise<void>,
): Promise<{ thrown: PatchbayError; told: string; isThere: boolean }> {
  await using there = await place();
  using libc = openLibc();
  const path = `${there.parent}/control.sock`;
  using listener = Deno.listen({ transport: "unix", path });
  const [dialled, accepted] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  const segment = (await Names.of(there.folder, "odd")).next();
  using memory = SharedMemory.create(segment, segmentBytes(CAPACITY), { libc });
  using cleanup = new DisposableStack();
  cleanup.use(dialled);
  cleanup.use(accepted);
  cleanup.defer(() => memory.unlink());
  createRing(memory.buffer, CAPACITY, { epoch: EPOCH });
  createRing(memory.buffer, CAPACITY, {
    epoch: EPOCH,
    offset: segmentBytes(CAPACITY) - ringBytes(CAPACITY),
  });
  await spoil(memory, `/dev/shm${segment}`);
  await dialled.write(encodeMessage({ segment, capacity: CAPACITY, epoch: EPOCH, pid: Deno.pid }));
  await dialled.write(new TextEncoder().encode("M"));
  const thrown = await acceptLink(accepted, libc).then(
    (link) => (link?.close(true), assert.fail("it was accepted")),
    (error) => PatchbayError.fromThrown(error),
  );
  const answer = new Uint8Array(4096);
  const read = await dialled.read(answer);
  return {
    thrown,
    told: new TextDecoder().decode(answer.subarray(0, read ?? 0)),
    isThere: [...Deno.readDirSync("/dev/shm")].some(({ name }) => `/${name}` === segment),
  };
}

test("a segment that is open to others is refused with the reason", async () => {
  const { thrown, told } = await offered((_, path) => Deno.chmodSync(path, 0o640));
  assert.equal(thrown.code, "forbidden");
  for (const text of [thrown.message, told]) assert.match(text, /open to other users \(mode 640\)/);
}, asRoot);

test(
  "a segment that belongs to another user is refused with the reason, and left alone",
  async () => {
    const { thrown, told, isThere } = await offered((_, path) =>
      Deno.chownSync(path, 65534, 65534)
    );
    assert.equal(thrown.code, "forbidden");
    for (const text of [thrown.message, told]) assert.match(text, /belongs to user 65534/);
    assert.equal(isThere, true);
  },
  asRoot,
);

test(
  "a segment that another user has made is refused with the reason, and left alone",
  async () => {
    let theirs = "";
    const { thrown, told, isThere } = await offered(async (memory, path) => {
      theirs = path;
      // The same name and size, by a process of that user.
      memory.unlink();
      const script = `umask 077 && head -c ${memory.bytes} /dev/zero > ${path}`;
      const { success } = await new Deno.Command("setpriv", {
        args: ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script],
      }).output();
      assert.equal(success, true);
    });
    try {
      assert.equal(thrown.code, "forbidden");
      for (const text of [thrown.message, told]) assert.match(text, /belongs to user 65534/);
      assert.equal(isThere, true);
    } finally {
      Deno.removeSync(theirs);
    }
  },
  asRoot,
);

test("a segment of another version is refused with the reason", async () => {
  // The ring's header: magic, version, capacity, epoch.
  const { thrown, told } = await offered(({ buffer }) => void (new Int32Array(buffer)[1] = 99));
  assert.equal(thrown.code, "protocol");
  for (const text of [thrown.message, told]) assert.match(text, /wrong version: 99/);
});

test("without --allow-ffi, via falls back to uds, and shared_memory alone says which flag", async () => {
  await using there = await place();
  const start = (what: string, ffi: boolean) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--no-check",
        "--no-lock",
        `--allow-read=${there.folder},${ROOT}`,
        `--allow-write=${there.folder}`,
        `--allow-net=unix:${there.folder}/far.sock,unix:${there.folder}/far.shm.sock`,
        "--allow-sys=uid",
        ...ffi ? ["--allow-ffi"] : [],
        FALLBACK,
        there.folder,
        what,
      ],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  const line = async (child: Deno.ChildProcess) =>
    JSON.parse(await new Response(child.stdout).text());
  const server = start("serve", true);
  const serving = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    assert.equal((await serving.read()).value, '"ready"\n');
    for (const ffi of [true, false]) {
      const client = start("call", ffi);
      await client.stdin.close();
      const { transport, only } = await line(client);
      await client.status;
      assert.equal(transport, ffi ? "shared_memory" : "uds");
      if (ffi) assert.equal(only, "shared_memory");
      else {
        assert.equal(only.code, "unavailable");
        assert.match(JSON.stringify(only), /--allow-ffi/);
      }
    }
  } finally {
    await server.stdin.close();
    await serving.cancel();
    await server.status;
  }
});
