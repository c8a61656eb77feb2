import assert from "node:assert/strict";
import { type Io, main } from "./mod.ts";
import { Place, values } from "./testdata/harness.ts";
import { packed } from "./pack_templates.ts";
import { VERSION } from "./version.ts";
import config from "./deno.json" with { type: "json" };

/** Runs the command in this process, with streams that are strings. */
async function run(args: string[], env: Record<string, string> = {}, terminal = false) {
  let stdout = "";
  let stderr = "";
  const io: Io = {
    stdout: { terminal, columns: 100, write: (text) => void (stdout += text) },
    stderr: { terminal, columns: 100, write: (text) => void (stderr += text) },
    readStdin: () => Promise.resolve(""),
    env: (name) => env[name],
    onSignal: () => ({ [Symbol.dispose]() {} }),
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
  };
  return { code: await main(args, io), stdout, stderr };
}

Deno.test("usage: the version is that of the package", async () => {
  assert.equal(VERSION, config.version);
  for (const flag of ["--version", "-V"]) {
    const { code, stdout } = await run([flag]);
    assert.equal(code, 0);
    assert.equal(stdout, `patchbay ${VERSION} (deno ${Deno.version.deno})\n`);
  }
});

Deno.test("usage: what cannot be understood exits with 2 and suggests what was meant", async () => {
  const failures: [args: string[], stderr: string | RegExp][] = [
    [["cal"], "patchbay: unknown command 'cal'. Did you mean call?\n"],
    [
      ["call", "a/b", "--tiemout", "5"],
      "patchbay: unknown option '--tiemout'. Did you mean --timeout?\n",
    ],
    [["call"], "patchbay: missing required argument 'address'. Try: patchbay call --help\n"],
    [["call", "a/b", "1", "2"], /^patchbay: too many arguments.* Try: patchbay call --help\n$/],
    [
      ["call", "a/b", "--timeout", "soon"],
      /It must be a number above 0\. Try: patchbay call --help\n$/,
    ],
    [
      ["listen", "a/b", "-n", "0"],
      /It must be a whole number from 1\. Try: patchbay listen --help\n$/,
    ],
    [["call", "a/b", "-H", "trace"], /Write name=value\. Try: patchbay call --help\n$/],
    [["explain", "a/b", "--pattern", "x"], /Allowed choices are callable, speaker, job\. Try: /],
    [["new", "modul", "x"], "patchbay: unknown command 'modul'. Did you mean module?\n"],
    [["run", "x.ts", "--fast"], /^patchbay: unknown option '--fast'\. Try: .* -- --fast\n$/],
  ];
  for (const [args, wanted] of failures) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [2, ""], stderr);
    if (typeof wanted === "string") assert.equal(stderr, wanted);
    else assert.match(stderr, wanted);
  }
  const { code, stderr } = await run(["cal", "--json"]);
  assert.equal(code, 2);
  assert.deepEqual(values(stderr), [
    { error: { code: "usage", message: "unknown command 'cal'", remedy: "did you mean call?" } },
  ]);
});

Deno.test("usage: help on stdout when asked for, on stderr with code 2 when nothing was said", async () => {
  const asked = await run(["--help"]);
  assert.deepEqual([asked.code, asked.stderr], [0, ""]);
  for (
    const name of [
      "call",
      "serve",
      "shout",
      "listen",
      "job",
      "list",
      "hz",
      "bw",
      "explain",
      "doctor",
      "run",
      "new",
    ]
  ) {
    assert.match(asked.stdout, new RegExp(`\n {2}${name} `));
    const one = await run([name, "--help"]);
    assert.deepEqual([one.code, one.stderr], [0, ""]);
    assert.match(one.stdout, new RegExp(`^Usage: patchbay ${name} `));
    assert.equal((await run(["help", name])).stdout, one.stdout);
  }
  const unsaid = await run([]);
  assert.deepEqual([unsaid.code, unsaid.stdout, unsaid.stderr], [2, "", asked.stdout]);
});

Deno.test("usage: colours on a terminal only, and not when they are not wanted", async () => {
  const coloured = async (args: string[], env: Record<string, string>, terminal: boolean) => {
    const { stdout, stderr } = await run(args, env, terminal);
    return (stdout + stderr).includes("\x1b[");
  };
  for (const args of [["--help"], ["cal"]]) {
    assert.equal(await coloured(args, {}, false), false);
    assert.equal(await coloured(args, { NO_COLOR: "1" }, true), false);
    assert.equal(await coloured(args, { NO_COLOR: "1", FORCE_COLOR: "1" }, true), false);
    assert.equal(await coloured(args, { TERM: "dumb" }, true), false);
    assert.equal(await coloured([...args, "--no-color"], {}, true), false);
    assert.equal(await coloured([...args, "--no-color"], { FORCE_COLOR: "1" }, false), false);
  }
  assert.equal(await coloured(["cal", "--json"], {}, true), false);
  await using place = new Place();
  const list = ["list", "--runtime-dir", place.run];
  assert.equal(await coloured(list, {}, true), true);
  assert.equal(await coloured([...list, "--no-color"], {}, true), false);
  assert.equal(await coloured(["--no-color", ...list], {}, true), false);
});

Deno.test("usage: the real command honours NO_COLOR and FORCE_COLOR", async () => {
  await using place = new Place();
  const colour = async (env: Record<string, string>) =>
    (await place.patchbay(["doctor"], { env })).stdout.includes("\x1b[");
  assert.equal(await colour({ NO_COLOR: "", FORCE_COLOR: "1" }), true);
  assert.equal(await colour({ NO_COLOR: "1", FORCE_COLOR: "1" }), false);
  assert.equal(await colour({ NO_COLOR: "" }), false);
});

Deno.test("usage: a stack trace only with PATCHBAY_DEBUG=1", async () => {
  await using place = new Place();
  const args = ["call", "arm/add", "1"];
  const plain = await place.patchbay(args);
  assert.equal(plain.stderr.split("\n").length, 2);
  const debug = await place.patchbay(args, { env: { PATCHBAY_DEBUG: "1" } });
  assert.equal(debug.code, 1);
  assert.match(debug.stderr, /^patchbay: .*\nPatchbayError: .*\n {4}at /);
});

Deno.test("usage: common options may stand before the command", async () => {
  await using place = new Place();
  const { code, stderr } = await run([
    "--json",
    "--runtime-dir",
    place.run,
    "call",
    "arm/add",
    "1",
  ]);
  assert.equal(code, 1);
  assert.equal(values(stderr)[0].error.code, "not_found");
});

Deno.test("templates.ts is what pack_templates.ts makes of templates/", async () => {
  const text = await Deno.readTextFile(new URL("templates.ts", import.meta.url));
  assert.ok(text === packed(), "templates.ts is stale: run deno run -A cli/pack_templates.ts");
});

Deno.test("README.md: every --help in it is what the command prints", async () => {
  const text = await Deno.readTextFile(new URL("README.md", import.meta.url));
  const blocks = [...text.matchAll(/```text\n\$ patchbay (.*--help)\n([^]*?)```/g)];
  assert.ok(blocks.length > 10);
  for (const [, args, printed] of blocks) {
    assert.equal((await run(args.split(" "))).stdout.trimEnd(), printed.trimEnd());
  }
});
