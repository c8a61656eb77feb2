/** @module */
import assert from "node:assert/strict";
import { type DirectoryEndpoint, type PatchbayError, TransportStatistics } from "@patchbay/core";
import { HostDirectory } from "./directory.ts";
import { MAX_ENTRY_BYTES } from "./entry.ts";
import { FileLock } from "./lock.ts";
import { byModule, listModules, statisticsOf } from "./modules.ts";
import { cleanStale, isHeld } from "./stale.ts";
import { Child, exists, Folder, identity, rejection, until } from "./testdata/support.ts";

function server(address: string, changes: Partial<DirectoryEndpoint> = {}): DirectoryEndpoint {
  return { pattern: "callable", role: "server", address, wires: ["uds"], ...changes };
}

const addresses = (directory: HostDirectory) =>
  directory.others.flatMap((entry) => entry.endpoints.map((endpoint) => endpoint.address));

Deno.test("directory: what one bay adds and removes, the other finds; closing leaves nothing", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const arm = await HostDirectory.open(identity("arm"), { path });
  const desk = await HostDirectory.open(identity("desk"), { path });
  const move = server("arm/move");
  await arm.listening("uds", `${path}/arm.sock`);
  await arm.add(move);
  await arm.add({ pattern: "speaker", role: "speaker", address: "arm/joint", wires: ["uds"] });
  const [entry] = await desk.refresh();
  assert.deepEqual(entry.wires, { uds: `${path}/arm.sock` });
  assert.deepEqual(addresses(desk), ["arm/move", "arm/joint"]);
  assert.deepEqual([entry.module, entry.pid, entry.id], ["arm", Deno.pid, arm.identity.id]);
  await arm.remove(move);
  await arm.remove(move);
  await arm.listening("uds", undefined);
  await desk.refresh();
  assert.deepEqual([addresses(desk), desk.others[0].wires], [["arm/joint"], {}]);
  assert.equal((Deno.lstatSync(`${path}/arm.json`).mode ?? 0) & 0o777, 0o600);

  await Promise.all([arm.close(), arm.close()]);
  assert.deepEqual(await desk.refresh(), []);
  await desk.close();
  await desk.listening("uds", "after closing it changes nothing");
  await rejection("closed", desk.add(move));
  assert.deepEqual([...Deno.readDirSync(path)].map((f) => f.name), [".directory.lock"]);
});

Deno.test("directory: an instance name is taken while its process lives, and free afterwards", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const first = await HostDirectory.open(identity("arm"), { path });
  const error = await rejection("unavailable", HostDirectory.open(identity("arm"), { path }));
  assert.equal(error.retryable, false);
  assert.match(error.message, new RegExp(`arm is taken by pid ${Deno.pid}`));
  assert.match(error.remedy ?? "", /pass instance: "arm-2"/);
  await using _second = await HostDirectory.open(identity("arm", "arm-2"), { path });
  assert.equal(isHeld(path, "arm"), true);
  await first.close();
  assert.equal(isHeld(path, "arm"), false);
  await using _third = await HostDirectory.open(identity("arm"), { path });
  const found = await byModule("arm", path);
  assert.deepEqual(found.map((entry) => entry.instance), ["arm", "arm-2"]);
});

Deno.test("directory: looking at a lock does not make its name taken", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/arm.lock`;
  Deno.writeTextFileSync(path, "");
  using looking = Deno.openSync(path, { read: true });
  assert.equal(looking.tryLockSync(false), true);
  assert.equal(FileLock.tryTake(path, 0o600), "busy");
  const taking = HostDirectory.open(identity("arm"), { path: folder.path });
  looking.unlockSync();
  await (await taking).close();
});

Deno.test("directory: a lock whose file was replaced is not taken for the file that is there", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/arm.lock`;
  const first = FileLock.tryTake(path, 0o600) as FileLock;
  Deno.removeSync(path);
  const second = FileLock.tryTake(path, 0o600) as FileLock;
  first.remove(); // Must leave the file of the second alone.
  assert.equal(exists(path), true);
  assert.equal(FileLock.tryTake(path, 0o600), "held");
  second.remove();
  assert.equal(exists(path), false);
});

Deno.test("directory: an exclusive address is refused, naming its holder; shared ones go together", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const options = { path, processWires: ["in_process"] };
  await using one = await HostDirectory.open(identity("one"), options);
  await using two = await HostDirectory.open(identity("two"), options);
  await one.add(server("arm/move"));
  const error = await rejection("unavailable", two.add(server("arm/move", { shared: true })));
  assert.equal(error.retryable, false);
  assert.deepEqual(error.details, { module: "one", instance: "one", pid: Deno.pid });
  assert.match(
    error.message,
    new RegExp(`arm/move is already served by one \\(pid ${Deno.pid}\\)`),
  );
  await one.add(server("arm/pool", { shared: true }));
  await two.add(server("arm/pool", { shared: true }));
  // What does not leave its process cannot be mistaken for another's.
  await two.add(server("arm/move", { wires: ["in_process"] }));
  await one.refresh();
  assert.deepEqual(addresses(one), ["arm/pool", "arm/move"]);
  await one.add(server("own"));
  await one.close();
  await two.add(server("arm/move"));
});

Deno.test("directory: of processes that claim one address together exactly one succeeds", async () => {
  await using folder = new Folder();
  const names = ["a", "b", "c", "d"];
  await using stack = new AsyncDisposableStack();
  const children = names.map((name) =>
    stack.use(new Child("member.ts", [folder.path, name, "arm/move"]))
  );
  for (const child of children) assert.equal(await child.line(), "ready");
  await Promise.all(children.map((child) => child.tell("claim")));
  const answers = await Promise.all(children.map((child) => child.line()));
  const winner = answers.indexOf("claimed");
  assert.equal(answers.filter((answer) => answer === "claimed").length, 1, answers.join());
  const pid = children[winner].pid;
  for (const [at, answer] of answers.entries()) {
    if (at === winner) continue;
    assert.equal(answer, `refused arm/move is already served by ${names[winner]} (pid ${pid})`);
  }
});

Deno.test("directory: bays of one process that claim one address together: exactly one succeeds", async () => {
  await using folder = new Folder();
  await using stack = new AsyncDisposableStack();
  const bays = await Promise.all(
    Array.from(
      { length: 8 },
      (_, n) => HostDirectory.open(identity(`bay-${n}`), { path: folder.path }),
    ),
  );
  for (const bay of bays) stack.use(bay);
  const results = await Promise.allSettled(bays.map((bay) => bay.add(server("arm/move"))));
  assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
});

Deno.test("directory: after SIGKILL a watcher notices, and whoever looks cleans up", async () => {
  await using folder = new Folder();
  const { path } = folder;
  await using watching = await HostDirectory.open(identity("watching"), { path });
  let changes = 0;
  const stop = watching.watch(() => changes++);
  await using child = new Child("member.ts", [path, "arm", "arm/move"]);
  assert.equal(await child.line(), "ready");
  await child.tell("claim");
  assert.equal(await child.line(), "claimed");
  await until("the address is seen", () => addresses(watching).includes("arm/move"));
  assert.equal(exists(`${path}/arm.sock`), true);
  const before = changes;
  child.signal("SIGKILL");
  await child.status();
  await until("the death is seen", () => watching.others.length === 0);
  assert.ok(changes > before);
  for (const name of ["arm.json", "arm.sock", "arm.lock"]) {
    await until(`${name} is removed`, () => !exists(`${path}/${name}`));
  }
  stop();
  stop();
});

Deno.test("directory: a watcher notices what is added and removed, and not itself", async () => {
  await using folder = new Folder();
  const { path } = folder;
  await using watching = await HostDirectory.open(identity("watching"), { path });
  const seen: string[] = [];
  const note = () => void seen.push(addresses(watching).join("+"));
  const stops = [watching.watch(note), watching.watch(note)];
  await watching.add(server("own/address"));
  const arm = await HostDirectory.open(identity("arm"), { path });
  await until("the bay is seen", () => watching.others.length === 1);
  await arm.add(server("arm/move"));
  await until("the address is seen", () => seen.at(-1) === "arm/move");
  arm.publishStatistics(() => ({ takenAtMs: Date.now(), transports: [], endpoints: [] }));
  await until(
    "statistics are published",
    async () => (await statisticsOf("arm", path)) !== undefined,
  );
  const before = seen.length;
  assert.equal(before % 2, 0, "both callers are told");
  stops[0]();
  await arm.close();
  await until("the end is seen", () => seen.at(-1) === "");
  assert.equal(seen.length, before + 1, "statistics are no change, and the stopped is not told");
});

Deno.test("directory: where files make no events, a look each second notices", async () => {
  await using folder = new Folder();
  const { path } = folder;
  await using watching = await HostDirectory.open(identity("watching"), { path });
  const watchFs = Deno.watchFs;
  let told = 0;
  try {
    Deno.watchFs = () => {
      throw new Error("no inotify instance is left");
    };
    watching.watch(() => told++);
  } finally {
    Deno.watchFs = watchFs;
  }
  await using _ = await HostDirectory.open(identity("arm"), { path });
  await until("it was told", () => told === 1);
  assert.equal(watching.others[0].module, "arm");
});

Deno.test("directory: a callback that throws is reported and stops nobody else", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const reports: PatchbayError[] = [];
  await using watching = await HostDirectory.open(identity("watching"), {
    path,
    report: (error) => reports.push(error),
  });
  let told = 0;
  watching.watch(() => {
    throw new Error("on purpose");
  });
  watching.watch(() => told++);
  await using _ = await HostDirectory.open(identity("arm"), { path });
  await until("both were told", () => told > 0);
  assert.match(reports[0].message, /on purpose/);
});

Deno.test("directory: garbage in an entry is reported once, ignored, and cleaned when dead", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const reports: string[] = [];
  await using bay = await HostDirectory.open(identity("bay"), {
    path,
    report: (error) => reports.push(error.message),
  });
  const good = {
    patchbay: 1,
    id: "ab",
    module: "m",
    pid: 1,
    startedAtMs: 1,
    wires: {},
    endpoints: [],
  };
  const garbage: Record<string, string> = {
    empty: "",
    binary: "\0\xff\ufffd{",
    array: "[]",
    version: JSON.stringify({ ...good, instance: "version", patchbay: 2 }),
    other: JSON.stringify({ ...good, instance: "somebody-else" }),
    wires: JSON.stringify({ ...good, instance: "wires", wires: { uds: 5 } }),
    endpoint: JSON.stringify({ ...good, instance: "endpoint", endpoints: [{ role: "server" }] }),
    large: " ".repeat(MAX_ENTRY_BYTES + 1),
    deep: "[".repeat(100_000),
  };
  const locks: FileLock[] = [];
  for (const [instance, text] of Object.entries(garbage)) {
    Deno.writeTextFileSync(`${path}/${instance}.json`, text);
    locks.push(FileLock.tryTake(`${path}/${instance}.lock`, 0o600) as FileLock);
  }
  Deno.symlinkSync("/etc/passwd", `${path}/link.json`);
  locks.push(FileLock.tryTake(`${path}/link.lock`, 0o600) as FileLock);
  assert.deepEqual(await bay.refresh(), []);
  await bay.refresh();
  const names = [...Object.keys(garbage), "link"];
  assert.deepEqual(
    names.filter((name) => reports.filter((text) => text.includes(`/${name}.json`)).length !== 1),
    [],
    reports.join("\n"),
  );
  for (const lock of locks) lock[Symbol.dispose]();
  const removed = await cleanStale({ runtimeDir: path });
  assert.equal(removed.length, names.length * 2, removed.join("\n"));
  assert.equal((await listModules(path)).length, 1);
});

Deno.test("directory: a forged entry makes nobody delete what is another's", async () => {
  await using folder = new Folder();
  const { path } = folder;
  Deno.writeTextFileSync(`${path}/precious.sock`, "");
  Deno.writeTextFileSync(`${path}/ghost.lock`, "");
  Deno.writeTextFileSync(
    `${path}/ghost.json`,
    JSON.stringify({
      patchbay: 1,
      id: "ab",
      module: "ghost",
      instance: "ghost",
      pid: 1,
      startedAtMs: 1,
      wires: { uds: `${path}/precious.sock`, more: "/etc/passwd" },
      endpoints: [],
    }),
  );
  assert.deepEqual(await listModules(path), []);
  assert.equal(exists(`${path}/ghost.json`), false);
  assert.equal(exists(`${path}/precious.sock`), true);
});

Deno.test("cleaning: removes only the dead, and only what is old enough", async () => {
  await using folder = new Folder();
  const { path } = folder;
  await using _live = await HostDirectory.open(identity("live"), { path });
  const longAgo = new Date(0);
  Deno.utimeSync(`${path}/live.json`, longAgo, longAgo);
  Deno.utimeSync(`${path}/live.lock`, longAgo, longAgo);
  for (const name of ["old.json", "old.lock", "orphan.lock", "young.json", "young.lock"]) {
    Deno.writeTextFileSync(`${path}/${name}`, "{}");
    if (!name.startsWith("young")) Deno.utimeSync(`${path}/${name}`, longAgo, longAgo);
  }
  Deno.writeTextFileSync(`${path}/.old.json.tmp`, "half");
  Deno.utimeSync(`${path}/.old.json.tmp`, longAgo, longAgo);
  Deno.writeTextFileSync(`${path}/notes.txt`, "not ours");
  const removed = await cleanStale({ runtimeDir: path, maxAgeMs: 3_600_000 });
  const expected = [".old.json.tmp", "old.json", "old.lock", "orphan.lock"];
  assert.deepEqual(removed, expected.map((name) => `${path}/${name}`));
  assert.deepEqual(
    await cleanStale({ runtimeDir: path }),
    ["young.json", "young.lock"].map((name) => `${path}/${name}`),
  );
  assert.deepEqual(
    [...Deno.readDirSync(path)].map((file) => file.name).sort(),
    [".directory.lock", "live.json", "live.lock", "notes.txt"],
  );
});

Deno.test("listing: a directory that does not exist is empty", async () => {
  await using folder = new Folder();
  const runtimeDir = `${folder.path}/none`;
  assert.deepEqual(await listModules(runtimeDir), []);
  assert.deepEqual(await cleanStale({ runtimeDir }), []);
  assert.equal(await statisticsOf("arm", runtimeDir), undefined);
});

Deno.test("statistics: published when they move, removed on close", async () => {
  await using folder = new Folder();
  const { path } = folder;
  const bay = await HostDirectory.open(identity("bay"), { path });
  const uds = new TransportStatistics("uds");
  uds.messagesIn = 1;
  let taken = 0;
  bay.publishStatistics(() => ({
    takenAtMs: ++taken,
    transports: [uds.snapshot()],
    endpoints: [],
  }));
  const published = async () => (await statisticsOf("bay", path))?.transports[0].messagesIn;
  await until("they are published", async () => await published() === 1);
  uds.messagesIn = 2;
  await until("they are published again", async () => await published() === 2);
  const at = (await statisticsOf("bay", path))?.takenAtMs;
  const before = taken;
  await until("it has looked again", () => taken > before);
  assert.equal((await statisticsOf("bay", path))?.takenAtMs, at, "nothing moved, nothing written");
  await bay.close();
  assert.equal(exists(`${path}/statistics/bay.json`), false);
});

Deno.test("directory: an entry that nobody would read is refused, and what was there stays", async () => {
  await using folder = new Folder();
  const { path } = folder;
  await using bay = await HostDirectory.open(identity("bay"), { path });
  await bay.add(server("arm/move"));
  await rejection("too_large", bay.add(server("x".repeat(MAX_ENTRY_BYTES))));
  const [entry] = await listModules(path);
  assert.deepEqual(entry.endpoints.map((endpoint) => endpoint.address), ["arm/move"]);
  await bay.add(server("arm/stop"));
  assert.equal((await listModules(path))[0].endpoints.length, 2);
});
