/**
 * Tests of the C library against the real kernel and real processes.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import assert from "node:assert/strict";
import { ask, requirement, requireOrIgnore } from "../tests/require.ts";
import { libcAvailability, openLibc } from "./mod.ts";
import { assertNothingLeft, Child, freshName } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const MOD = new URL("./mod.ts", import.meta.url).href;
const ROOT_CONFIG = new URL("../deno.json", import.meta.url);

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const linux = requirement(
  await ask("Linux", () => Deno.build.os === "linux", "macOS has no mutex and lists no segments"),
);
const asRoot = requirement(await ask("root", () => Deno.uid() === 0, "run the tests as root"));

/** Runs a program in a Deno of its own, with the given permissions only. */
async function run(permissions: string[], program: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--no-lock",
      "--config",
      ROOT_CONFIG.pathname,
      ...permissions,
      "-",
    ],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test({
  name: here.name("libc: process and user id are the kernel's"),
  ignore: here.ignore,
  fn() {
    using libc = openLibc();
    assert.equal(libc.getpid(), Deno.pid);
    assert.equal(libc.getuid(), Deno.uid());
  },
});

Deno.test({
  name: here.name("libc: a child is alive until it was killed and waited for"),
  ignore: here.ignore,
  async fn() {
    using libc = openLibc();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "await new Promise(() => setInterval(() => {}, 1000))"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    assert.equal(libc.processAlive(child.pid), true);
    child.kill("SIGKILL");
    await child.status;
    assert.equal(libc.processAlive(child.pid), false);
    assert.equal(libc.processAlive(Deno.pid), true);
  },
});

Deno.test({
  name: here.name("libc: errno says why the last call failed"),
  ignore: here.ignore,
  fn() {
    using libc = openLibc();
    // Linux counts process ids to 2^22 at most, macOS to 99,999: nobody has this one.
    assert.equal(libc.processAlive(0x7fff_ffff), false);
    assert.equal(libc.errno(), 3); // ESRCH
  },
});

Deno.test({
  name: here.name("libc: what C takes for a process group is refused"),
  ignore: here.ignore,
  fn() {
    using libc = openLibc();
    for (const pid of [0, -1, 1.5, NaN, 2 ** 31, 2 ** 40]) {
      assert.throws(
        () => libc.processAlive(pid),
        (error) => error instanceof PatchbayError && error.code === "invalid",
      );
    }
  },
});

Deno.test({
  name: here.name("libc: disposal is idempotent, and use after it is closed"),
  ignore: here.ignore,
  fn() {
    const libc = openLibc();
    const other = openLibc();
    libc[Symbol.dispose]();
    libc[Symbol.dispose]();
    for (const use of [() => libc.getpid(), () => libc.errno(), () => libc.processAlive(1)]) {
      assert.throws(use, (error) => error instanceof PatchbayError && error.code === "closed");
    }
    assert.equal(other.getpid(), Deno.pid);
    other[Symbol.dispose]();
  },
});

Deno.test({
  name: here.name(asRoot.name("libc: another user's process is alive")),
  ignore: here.ignore || asRoot.ignore,
  async fn() {
    // Seen from user 65534 (nobody), process 1 belongs to somebody else: kill says EPERM.
    const program = `
      const { openLibc } = await import(${JSON.stringify(MOD)});
      using libc = openLibc();
      const raw = Deno.dlopen(libc.library, { setuid: { parameters: ["u32"], result: "i32" } });
      const dropped = raw.symbols.setuid(65534);
      const seen = [libc.processAlive(1), libc.errno(), libc.processAlive(0x7fffffff)];
      raw.close();
      console.log(dropped, ...seen);`;
    assert.equal(await run(["-A"], program), "0 true 1 false\n");
  },
});

Deno.test("libc: without --allow-ffi it says so, importing needs nothing, and nobody is asked", async () => {
  const program = `
    const { libcAvailability, openLibc } = await import(${JSON.stringify(MOD)});
    console.log(JSON.stringify(libcAvailability()));
    try { openLibc(); } catch (error) {
      console.log(JSON.stringify([error.code, error.remedy, error.retryable]));
    }`;
  const remedy = "pass --allow-ffi (a path after it is not enough: pointers need it whole)";
  const told = [
    JSON.stringify({
      available: false,
      reason: "the C library cannot be opened: the permission for FFI is not granted",
      remedy,
    }),
    JSON.stringify(["unavailable", remedy, false]),
    "",
  ].join("\n");
  // Importing a literal file URL through import() asks for reading, the files here alone.
  const read = `--allow-read=${new URL("..", import.meta.url).pathname}`;
  assert.equal(await run([read], program), told);
  assert.equal(await run([read, "--deny-ffi"], program), told);
  assert.equal(await run([read, "--allow-ffi=libc.so.6"], program), told);
});

Deno.test({
  name: here.name("libc: with --allow-ffi alone it is available, and says what was found"),
  ignore: here.ignore,
  async fn() {
    const read = `--allow-read=${new URL("..", import.meta.url).pathname}`;
    const program = `
      const { libcAvailability } = await import(${JSON.stringify(MOD)});
      console.log(JSON.stringify(libcAvailability()));`;
    const told = JSON.parse(await run([read, "--allow-ffi"], program));
    assert.equal(told.available, true);
    assert.match(told.detail, /libc|libSystem|program itself/);
  },
});

Deno.test({
  name: here.name(
    linux.name("libc: --allow-ffi alone is enough for everything that is made of it"),
  ),
  ignore: here.ignore || linux.ignore,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    try {
      using _listener = Deno.listen({ transport: "unix", path: `${folder}/bell` });
      await using child = new Child(CHILD, ["use all", freshName(), folder], ["--allow-ffi"]);
      assert.equal(await child.line(), "0 true true");
      assert.equal(await child.end(), 0);
      assertNothingLeft();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
