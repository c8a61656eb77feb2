/**
 * What the dead leave is found and removed, what the living have never is; and a disk that is full.
 *
 * @module
 */
import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import { ask, requirement } from "../tests/require.ts";
import { cleanAfter } from "./folder_view.ts";
import { HostDirectory } from "./directory.ts";
import { listModules } from "./modules.ts";
import { open } from "./open.ts";
import { cleanStale, findStale, isHeld } from "./stale.ts";
import { Child, exists, fakePlugin, Folder, identity, until } from "./testdata/support.ts";

const CROWDED = new URL("./testdata/crowded.ts", import.meta.url).pathname;
const smallDisk = requirement(
  await ask("unshare and mount", async () => {
    if (Deno.build.os !== "linux") return false;
    const { success } = await new Deno.Command("unshare", {
      args: ["-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  }, "run as root on Linux"),
);

const files = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

for (const state of ["running", "stopped"]) {
  Deno.test({
    name: `stale: nothing of a live bay is cleaned from outside, however old it looks, ${state}`,
    ignore: Deno.build.os === "windows" && state === "stopped",
    fn: async () => {
      await using folder = new Folder();
      const { path } = folder;
      await using child = new Child("member.ts", [path, "arm", "arm/move"]);
      assert.equal(await child.line(), "ready");
      await child.tell("claim");
      assert.equal(await child.line(), "claimed");
      const OWN = ["arm.json", "arm.lock", "arm.sock"];
      for (const name of OWN.slice(0, 2)) Deno.utimeSync(`${path}/${name}`, 0, 0);
      if (state === "stopped") child.signal("SIGSTOP");
      try {
        assert.equal(isHeld(path, "arm"), true);
        // By everybody who cleans, all at once.
        const removed = await Promise.all([
          cleanStale({ runtimeDir: path }),
          cleanStale({ runtimeDir: path, maxAgeMs: 1 }),
          cleanAfter(path, "arm"),
          cleanAfter(path, "arm"),
        ]);
        assert.deepEqual(removed, [[], [], [], []]);
        assert.deepEqual(await findStale({ runtimeDir: path }), []);
        const [entry] = await listModules(path);
        assert.deepEqual([entry.instance, entry.pid], ["arm", child.pid]);
        assert.deepEqual(files(path), [".directory.lock", ...OWN]);
      } finally {
        child.signal("SIGCONT");
      }
      // Dead, it is found, and then removed.
      child.signal("SIGKILL");
      await child.status();
      const found = (await findStale({ runtimeDir: path })).map(({ what, instance }) => [
        what,
        instance,
      ]);
      assert.deepEqual(found, OWN.map((name) => [`${path}/${name}`, "arm"]));
      assert.deepEqual(
        await cleanStale({ runtimeDir: path }),
        OWN.map((name) => `${path}/${name}`),
      );
      assert.deepEqual(files(path), [".directory.lock"]);
    },
  });
}

Deno.test("stale: what wires have left outside is found and removed with the rest", async () => {
  await using folder = new Folder();
  const { path: runtimeDir } = folder;
  const left = new Set(["/dev/shm/one", "/dev/shm/two"]);
  const reports: PatchbayError[] = [];
  const options = {
    runtimeDir,
    report: (error: PatchbayError) => void reports.push(error),
    plugins: [
      fakePlugin("tidy"),
      fakePlugin("messy", {
        leftovers: () =>
          [...left].map((what) => ({ what, bytes: 64, remove: () => left.delete(what) })),
      }),
      fakePlugin("sick", { leftovers: () => Promise.reject(new Error("it cannot be told")) }),
    ],
  };
  assert.deepEqual(await findStale(options), [
    { what: "/dev/shm/one", bytes: 64, wire: "messy" },
    { what: "/dev/shm/two", bytes: 64, wire: "messy" },
  ]);
  assert.equal(left.size, 2);
  assert.deepEqual(await cleanStale(options), ["/dev/shm/one", "/dev/shm/two"]);
  assert.equal(left.size, 0);
  assert.deepEqual(reports.map(({ transport }) => transport), ["sick", "sick"]);
  assert.match(reports[0].message, /it cannot be told/);
});

Deno.test({
  name: smallDisk.name("directory: a disk that is full is an error that says so; nothing is lost"),
  ignore: smallDisk.ignore,
  fn: async () => {
    await using folder = new Folder();
    const run = `${folder.path}/run`;
    Deno.mkdirSync(run, { mode: 0o700 });
    const script = 'mount -t tmpfs -o size=64k,mode=700 tmpfs "$2" && ' +
      'exec "$0" run -A --no-lock --config "$3" "$1" "$2"';
    const config = new URL("../deno.json", import.meta.url).pathname;
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: ["-m", "sh", "-c", script, Deno.execPath(), CROWDED, run, config],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(success, true, new TextDecoder().decode(stderr));
    const said = JSON.parse(new TextDecoder().decode(stdout));
    assert.equal(said.before, "ok");
    for (const refused of [said.full, said.second, said.bay]) {
      assert.equal(refused.code, "unavailable");
      assert.match(refused.message, /^the directory entry .* cannot be written: .*No space left/);
      assert.match(refused.remedy, /look at the space left/);
    }
    // What others see is what was written last, whole.
    assert.deepEqual(said.seenFull, ["arm/move"]);
    assert.equal(said.counted, 1);
    // Nothing is left of those who found no room.
    assert.deepEqual(said.namesFull, [
      ".directory.lock",
      "arm.json",
      "arm.lock",
      "ballast",
      "statistics",
    ]);
    assert.equal(said.after, "ok");
    assert.deepEqual(said.seenAfter, ["arm/move", "arm/stop"]);
    assert.deepEqual(said.namesAfter, [".directory.lock", "statistics"]);
    assert.equal(exists(`${run}/arm.json`), false, "it was a disk of its own");
  },
});

Deno.test("stale: who was killed while closing or cleaning up leaves a lock alone: whoever looks cleans", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const left = ["ghost.lock", "ghost.sock", "ghost.shm.sock", ".ghost.json.tmp"];
  for (const name of left) Deno.writeTextFileSync(`${path}/${name}`, "");
  await using watching = await HostDirectory.open(identity("watching"), { path });
  await until("it is gone", () => !left.some((name) => exists(`${path}/${name}`)));
  // Somebody else's, who is just opening or closing, is left alone.
  using lock = Deno.openSync(`${path}/late.lock`, { create: true, write: true });
  assert.equal(lock.tryLockSync(true), true);
  Deno.writeTextFileSync(`${path}/late.sock`, "");
  await watching.refresh();
  assert.deepEqual(await cleanStale({ runtimeDir: path }), []);
  assert.equal(exists(`${path}/late.lock`) && exists(`${path}/late.sock`), true);
});

Deno.test("stale: while a bay's wires close nobody finds it, and its name is still taken", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const seen: unknown[] = [];
  const slow = fakePlugin("slow");
  const closing = fakePlugin("slow", {
    open: async (context, config) => ({
      ...await slow.open(context, config),
      close: async () => {
        seen.push(isHeld(path, "arm"), await listModules(path), exists(`${path}/arm.json`));
      },
    }),
  });
  const bay = await open({
    module: "arm",
    runtimeDirectory: path,
    discover: false,
    builtins: [closing],
  });
  assert.equal((await listModules(path)).length, 1);
  await bay.close();
  assert.deepEqual(seen, [true, [], false]);
  assert.deepEqual(files(path), [".directory.lock"]);
});
