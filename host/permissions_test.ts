/** @module */
import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import { bayPermissions, fromNotCapable, mergeFlags } from "./permissions.ts";
import { Child, fakePlugin, Folder } from "./testdata/support.ts";

Deno.test("permissions: flags are merged, sorted, and each said once", () => {
  assert.deepEqual(
    mergeFlags(["--allow-read=/b,/a", "--allow-net=x", "--allow-read=/a", "--allow-net"]),
    ["--allow-net", "--allow-read=/a,/b"],
  );
  assert.deepEqual(mergeFlags([]), []);
});

Deno.test("permissions: a bay's flags name its socket, its peers' and its plugins'", () => {
  const plugin = fakePlugin("mars", {
    permissions: (config, identity, place) => [
      `--allow-net=${(config as { host: string }).host}`,
      `--allow-env=${identity.instance}`,
      `--allow-run=${place?.runtimeDir}/${place?.peers}`,
    ],
  });
  const flags = bayPermissions({
    module: "arm",
    runtimeDir: "/run/pb",
    peers: ["desk"],
    plugins: [plugin],
    config: { mars: { host: "mars:1" } },
    reads: ["./plugins"],
  });
  assert.deepEqual(flags, [
    "--allow-env=PATCHBAY_CONFIG,TEMP,TMP,TMPDIR,XDG_RUNTIME_DIR,arm",
    "--allow-net=mars:1,unix:/run/pb/arm.sock,unix:/run/pb/desk.sock",
    "--allow-read=./plugins,/run/pb",
    "--allow-run=/run/pb/desk",
    "--allow-sys=uid",
    "--allow-write=/run/pb",
  ]);
});

Deno.test("permissions: a bay opens, listens and closes with exactly the flags that are printed", async () => {
  await using folder = new Folder();
  const runtimeDir = `${folder.path}/run`;
  const permissions = bayPermissions({ module: "arm", runtimeDir });
  await using child = new Child("sandboxed.ts", [runtimeDir], { permissions, cwd: folder.path });
  const lines: string[] = [];
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    lines.push(line);
  }
  assert.deepEqual(lines, ["directory arm", "listening", "closed"]);
});

Deno.test("permissions: without any a bay still opens, and says why it has no directory", async () => {
  await using folder = new Folder();
  const runtimeDir = `${folder.path}/run`;
  await using child = new Child("sandboxed.ts", [runtimeDir], { permissions: [] });
  assert.equal(
    await child.line(),
    `no directory: unavailable: run deno with --allow-read=${runtimeDir} --allow-write=${runtimeDir}`,
  );
  assert.equal((await child.status()).code, 0);
});

Deno.test("permissions: only Deno's own refusal is translated", () => {
  const other = new Error("other");
  assert.equal(fromNotCapable(other, "x", []), other);
  const error = fromNotCapable(new Deno.errors.NotCapable("no"), "x", ["--allow-y"]);
  assert.ok(error instanceof PatchbayError);
  assert.deepEqual([error.code, error.remedy, error.retryable], [
    "unavailable",
    "run deno with --allow-y",
    false,
  ]);
});
