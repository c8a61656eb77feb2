/** @module */
import assert from "node:assert/strict";
import { FileLock } from "./lock.ts";
import { dialUnix, listenUnix } from "./listener.ts";
import { Child, exists, Folder, rejection, until } from "./testdata/support.ts";

const close = (connection: Deno.UnixConn) => connection.close();

/** Leaves a socket behind whose process was killed. */
async function staleSocket(folder: string, name: string): Promise<string> {
  await using child = new Child("member.ts", [folder, name]);
  assert.equal(await child.line(), "ready");
  child.signal("SIGKILL");
  await child.status();
  const path = `${folder}/${name}.sock`;
  assert.equal(exists(path), true);
  return path;
}

Deno.test("unix listener: connections arrive, the mode is 0600, closing removes the file", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  const listener = await listenUnix({
    path,
    onConnection: async (connection) => {
      await connection.write(new TextEncoder().encode("hi"));
      connection.close();
    },
  });
  assert.equal((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o600);
  const connection = await dialUnix(path);
  const bytes = new Uint8Array(8);
  assert.equal(await connection.read(bytes), 2);
  connection.close();
  await Promise.all([listener.close(), listener.close()]);
  await listener[Symbol.asyncDispose]();
  assert.equal(exists(path), false);
});

Deno.test("unix listener: a socket that a killed process left is replaced", async () => {
  await using folder = new Folder();
  const path = await staleSocket(folder.path, "arm");
  const refused = await rejection("closed", dialUnix(path));
  assert.match(refused.message, /nobody listens on .*arm\.sock any more/);
  await using _ = await listenUnix({ path, onConnection: close });
  (await dialUnix(path)).close();
});

Deno.test("unix listener: a live socket is never taken over", async () => {
  await using folder = new Folder();
  await using child = new Child("member.ts", [folder.path, "arm"]);
  assert.equal(await child.line(), "ready");
  const path = `${folder.path}/arm.sock`;
  const { ino } = Deno.lstatSync(path);
  const error = await rejection("unavailable", listenUnix({ path, onConnection: close }));
  assert.equal(error.retryable, false);
  assert.match(error.message, /a live process listens on .*arm\.sock/);
  assert.match(error.remedy ?? "", /another instance/);
  // Not even when it does not answer.
  child.signal("SIGSTOP");
  await rejection("unavailable", listenUnix({ path, onConnection: close }));
  child.signal("SIGCONT");
  assert.equal(Deno.lstatSync(path).ino, ino);
  (await dialUnix(path)).close();
});

Deno.test("unix listener: of many that replace one stale socket together exactly one succeeds", async () => {
  await using folder = new Folder();
  const path = await staleSocket(folder.path, "arm");
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, () => listenUnix({ path, onConnection: close })),
  );
  const listeners = results.flatMap((r) => r.status === "fulfilled" ? [r.value] : []);
  assert.equal(listeners.length, 1);
  (await dialUnix(path)).close();
  await listeners[0].close();
});

Deno.test("unix listener: processes race for one stale socket; exactly one gets it", async () => {
  await using folder = new Folder();
  const path = await staleSocket(folder.path, "arm");
  await using stack = new AsyncDisposableStack();
  const children = Array.from({ length: 4 }, () => stack.use(new Child("bind.ts", [path])));
  for (const child of children) assert.equal(await child.line(), "ready");
  await Promise.all(children.map((child) => child.tell("bind")));
  const answers = await Promise.all(children.map((child) => child.line()));
  assert.deepEqual(answers.toSorted(), ["bound", "unavailable", "unavailable", "unavailable"]);
  (await dialUnix(path)).close();
});

Deno.test("unix listener: what is not a socket is left alone", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  Deno.writeTextFileSync(path, "precious");
  const error = await rejection("unavailable", listenUnix({ path, onConnection: close }));
  assert.match(error.message, /in the way: it is not a socket/);
  assert.equal(Deno.readTextFileSync(path), "precious");
});

const root = Deno.uid() === 0;
Deno.test({
  name: "unix listener: another user's socket is left alone" +
    (root ? "" : " (ignored: only root can give a file away; run the tests as root)"),
  ignore: !root,
  fn: async () => {
    await using folder = new Folder();
    const path = await staleSocket(folder.path, "arm");
    Deno.chownSync(path, 12345, 12345);
    const error = await rejection("forbidden", listenUnix({ path, onConnection: close }));
    assert.match(error.message, /belongs to user 12345/);
    assert.equal(exists(path), true);
  },
});

Deno.test("unix listener: closing leaves a socket alone that somebody else has bound since", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  const first = await listenUnix({ path, onConnection: close });
  Deno.removeSync(path);
  const second = await listenUnix({ path, onConnection: close });
  await first.close();
  (await dialUnix(path)).close();
  await second.close();
  assert.deepEqual([...Deno.readDirSync(folder.path)].map((f) => f.name), [".directory.lock"]);
});

Deno.test("unix listener: what a callback throws is reported, and the next one is served", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  const errors: unknown[] = [];
  await using _ = await listenUnix({
    path,
    onConnection: () => {
      throw new Error("on purpose");
    },
    onError: (error) => errors.push(error),
  });
  for (let n = 1; n <= 2; n++) {
    const connection = await dialUnix(path);
    assert.equal(await connection.read(new Uint8Array(1)), null);
    connection.close();
    assert.equal(errors.length, n);
  }
});

Deno.test("unix listener: a signal stops it, before and after it has begun", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  const reason = new Error("enough");
  const aborted = AbortSignal.abort(reason);
  await assert.rejects(listenUnix({ path, onConnection: close, signal: aborted }), reason);
  await assert.rejects(dialUnix(path, { signal: aborted }), reason);
  const controller = new AbortController();
  const listener = await listenUnix({ path, onConnection: close, signal: controller.signal });
  controller.abort();
  await listener.close();
  assert.equal(exists(path), false);
});

Deno.test("unix dial: an absent socket is not_found, a refused one forbidden or closed, each with a remedy", async () => {
  await using folder = new Folder();
  const absent = await rejection("not_found", dialUnix(`${folder.path}/none.sock`));
  assert.match(absent.remedy ?? "", /start the module/);
  await rejection("invalid", dialUnix(`/${"x".repeat(200)}`));
  const elsewhere = { path: `${folder.path}/none/a.sock`, onConnection: close };
  await rejection("not_found", listenUnix(elsewhere));
});

Deno.test("unix sockets: without permission the exact flags are named", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/a.sock`;
  const all = `--allow-net=unix:${path} --allow-read=${folder.path} --allow-write=${folder.path}`;
  const partly = [`--allow-read=${folder.path}`, `--allow-write=${folder.path}`];
  for (const permissions of [[], partly, all.split(" ")]) {
    await using child = new Child("bind.ts", [path], {
      permissions: [...permissions, "--allow-env=NO_COLOR"],
    });
    assert.equal(await child.line(), "ready");
    await child.tell("bind");
    const answer = await child.line();
    if (permissions.length === 3) assert.equal(answer, "bound");
    else assert.equal(answer, `unavailable: run deno with ${all}`);
  }
});

Deno.test("folder lock: work of one process and another goes one after the other", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/.directory.lock`;
  const held = FileLock.tryTake(path, 0o600) as FileLock;
  let bound = false;
  const binding = listenUnix({ path: `${folder.path}/a.sock`, onConnection: close })
    .then((listener) => {
      bound = true;
      return listener;
    });
  let turns = 0;
  await until("it has had its chance", () => ++turns > 5);
  assert.equal(bound, false);
  held[Symbol.dispose]();
  await (await binding).close();
});
