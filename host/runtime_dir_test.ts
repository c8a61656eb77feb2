/** @module */
import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import { fileMode } from "./entry.ts";
import { HostDirectory } from "./directory.ts";
import { locateRuntimeDir, openRuntimeDir } from "./runtime_dir.ts";
import { checkSocketPath, MAX_SOCKET_PATH_BYTES, socketPath } from "./socket_path.ts";
import { Child, exists, Folder, identity, rejection } from "./testdata/support.ts";

const modeOf = (path: string) => (Deno.lstatSync(path).mode ?? 0) & 0o777;

Deno.test("runtime directory: it is created with mode 0700, and opened again", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/run`;
  assert.equal(openRuntimeDir({ path }), path);
  assert.equal(modeOf(path), 0o700);
  assert.equal(openRuntimeDir({ path }), path);
  assert.deepEqual([...Deno.readDirSync(path)], []);
});

Deno.test("runtime directory: one that is open to others is refused, unless sharing is meant", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/run`;
  for (const mode of [0o701, 0o750, 0o777]) {
    Deno.mkdirSync(path);
    Deno.chmodSync(path, mode);
    const error = await rejection("forbidden", () => openRuntimeDir({ path }));
    assert.match(error.message, new RegExp(`mode 0${mode.toString(8)}`));
    assert.match(error.remedy ?? "", /chmod 700 .*shareRuntimeDir: true/);
    assert.equal(openRuntimeDir({ path, shareRuntimeDir: true }), path);
    Deno.removeSync(path);
  }
});

Deno.test("runtime directory: files are as open as a shared directory is", async () => {
  await using folder = new Folder();
  const path = openRuntimeDir({ path: `${folder.path}/run`, shareRuntimeDir: true });
  assert.equal(modeOf(path), 0o770);
  assert.deepEqual([fileMode(path, false), fileMode(path, true)], [0o640, 0o660]);
  await using _ = await HostDirectory.open(identity("arm"), { path });
  assert.equal(modeOf(`${path}/arm.json`), 0o640);
});

Deno.test("runtime directory: a symbolic link and a file are refused", async () => {
  await using folder = new Folder();
  Deno.mkdirSync(`${folder.path}/real`, { mode: 0o700 });
  Deno.symlinkSync(`${folder.path}/real`, `${folder.path}/link`);
  Deno.writeTextFileSync(`${folder.path}/file`, "");
  for (const [name, why] of [["link", /symbolic link/], ["file", /not a directory/]] as const) {
    const path = `${folder.path}/${name}`;
    const options = { path, shareRuntimeDir: true };
    assert.match((await rejection("forbidden", () => openRuntimeDir(options))).message, why);
  }
});

const root = Deno.uid() === 0;
Deno.test({
  name: "runtime directory: another user's is refused" +
    (root ? "" : " (ignored: only root can give a folder away; run the tests as root)"),
  ignore: !root,
  fn: async () => {
    await using folder = new Folder();
    const path = `${folder.path}/run`;
    Deno.mkdirSync(path, { mode: 0o700 });
    Deno.chownSync(path, 12345, 12345);
    const error = await rejection("forbidden", () => openRuntimeDir({ path }));
    assert.match(error.message, /belongs to user 12345, and this process runs as 0/);
    assert.equal(openRuntimeDir({ path, shareRuntimeDir: true }), path);
  },
});

Deno.test("runtime directory: a missing parent is unavailable with a remedy", async () => {
  await using folder = new Folder();
  const path = `${folder.path}/not/there`;
  const error = await rejection("unavailable", () => openRuntimeDir({ path }));
  assert.match(error.remedy ?? "", /create the folder above it/);
});

Deno.test("runtime directory: XDG_RUNTIME_DIR is used if it exists and is absolute", async () => {
  await using folder = new Folder();
  const before = Deno.env.get("XDG_RUNTIME_DIR");
  try {
    Deno.env.set("XDG_RUNTIME_DIR", folder.path);
    assert.equal(locateRuntimeDir(), `${folder.path}/patchbay`);
    for (const useless of ["relative/path", `${folder.path}/gone`, ""]) {
      Deno.env.set("XDG_RUNTIME_DIR", useless);
      assert.match(locateRuntimeDir(), new RegExp(`patchbay-${Deno.uid()}$`));
    }
  } finally {
    if (before === undefined) Deno.env.delete("XDG_RUNTIME_DIR");
    else Deno.env.set("XDG_RUNTIME_DIR", before);
  }
});

Deno.test("runtime directory: without permissions it says which flag is missing", async () => {
  await using folder = new Folder();
  const env = { XDG_RUNTIME_DIR: folder.path, NO_COLOR: "1" };
  const path = `${folder.path}/patchbay`;
  const cases: [string[], string][] = [
    [
      [],
      "unavailable|run deno with --allow-sys=uid, or with --allow-env=XDG_RUNTIME_DIR where " +
      "that is set, or set runtimeDirectory",
    ],
    [
      ["--allow-env=XDG_RUNTIME_DIR"],
      `unavailable|run deno with --allow-read=${path} --allow-write=${path}`,
    ],
    [
      ["--allow-env=XDG_RUNTIME_DIR", `--allow-read=${path}`],
      `unavailable|run deno with --allow-read=${path} --allow-write=${path}`,
    ],
    // The user id may not be asked; a file that is created there tells it.
    [
      ["--allow-env=XDG_RUNTIME_DIR", `--allow-read=${path}`, `--allow-write=${path}`],
      `opened|${path}`,
    ],
  ];
  for (const [permissions, expected] of cases) {
    await using child = new Child("runtime_dir.ts", [], { permissions, env });
    assert.equal(await child.line(), expected);
  }
  assert.deepEqual([...Deno.readDirSync(path)], []);
});

Deno.test("socket path: derives from names, and one that is too long is named", () => {
  assert.equal(socketPath("/run/pb", "arm"), "/run/pb/arm.sock");
  assert.equal(socketPath("/run/pb", "arm", "shared_memory"), "/run/pb/arm.shared_memory.sock");
  const fits = "/" + "x".repeat(MAX_SOCKET_PATH_BYTES - 1);
  assert.equal(checkSocketPath(fits), fits);
  assert.throws(() => checkSocketPath(`${fits}x`), (error: PatchbayError) => {
    assert.equal(error.code, "invalid");
    assert.deepEqual(error.details, {
      size: MAX_SOCKET_PATH_BYTES + 1,
      max: MAX_SOCKET_PATH_BYTES,
    });
    return true;
  });
  assert.throws(() => checkSocketPath("/" + "ä".repeat(60)), PatchbayError);
  assert.equal(exists(fits), false);
});
