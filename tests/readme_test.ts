/**
 * Holds that what the documents say of the code is so: generated tables, links, test names.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { CASES } from "@patchbay/core/conformance";
import type { Plugin } from "@patchbay/core";
import { builtins } from "@patchbay/patchbay";
import uds from "@patchbay/uds";
import {
  benchTable,
  between,
  configTable,
  staleTables,
  wiresTable,
} from "../tools/readme_tables.ts";
import { files, packages, PROJECT_ROOT } from "../tools/workspace.ts";

Deno.test("readme: the generated tables are what the code says", async () => {
  const stale = await staleTables();
  assert.deepEqual(
    stale.map(({ path }) => path),
    [],
    "run deno run -A tools/readme_tables.ts",
  );
});

Deno.test("readme: every built-in wire's README has the table of its configuration", async () => {
  for (const { name } of builtins) {
    const text = await Deno.readTextFile(join(PROJECT_ROOT, "plugins", name, "README.md"));
    assert.match(text, /<!-- config:begin -->/, name);
  }
});

Deno.test("readme: the tables follow from the declaration", () => {
  const other: Plugin = {
    ...uds,
    name: "other",
    scope: "network",
    capabilities: { callable: true, speaker: false, job: false },
    traits: { ...uds.traits, delivery: "at_least_once", maxPayloadBytes: 1500 },
    config: { "~standard": uds.config["~standard"] },
  };
  const [head, , , row] = wiresTable([uds, other]).split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  const told = Object.fromEntries(head.map((name, i) => [name, row[i]]));
  assert.equal(told.wire, "`other`");
  assert.equal(told.reaches, "the network");
  assert.equal(told.shouts, "no");
  assert.equal(told.jobs, "no");
  assert.equal(told.delivery, "at least once");
  assert.equal(told["largest payload"], "1500 B");
  assert.match(configTable(other), /a schema of its own/);
  assert.match(configTable(uds), /`compression` +\| `none`, `deflate` +\| `"none"`/);
});

Deno.test("readme: the figures with a target are taken over, what was missed too", () => {
  const results = "### uds: one core\n\n| figure | ours | floor | ratio | target | met |\n" +
    "| --- | --- | --- | --- | --- | --- |\n| call | 20 µs | 16 µs, bare echo | 1.25 | ≤ 1.4 × | yes |\n" +
    "| p99 | 90 µs |  |  |  |  |\n\n### uds: two cores\n\n| figure | ours | floor | ratio | target | met |\n" +
    "| --- | --- | --- | --- | --- | --- |\n| call | 48 µs | 32 µs, bare echo | 1.50 | ≤ 1.4 × | NO |\n";
  assert.deepEqual(benchTable(results).split("\n").map((line) => line.replace(/ +/g, " ")), [
    "| figure | target | one core | two cores |",
    "| --------- | ------- | ----------------------- | ----------------------------------- |",
    "| uds: call | ≤ 1.4 × | 20 µs, 1.25 × bare echo | 48 µs, 1.50 × bare echo; **missed** |",
  ]);
});

Deno.test("readme: markers that are missing or doubled are told", () => {
  const good = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n";
  assert.equal(
    between(good, "x", "new"),
    "a\n<!-- x:begin -->\n\nnew\n\n<!-- x:end -->\nb\n",
  );
  for (const bad of ["a", good + good, "<!-- x:end --> <!-- x:begin -->"]) {
    assert.throws(() => between(bad, "x", "new"), /must be there/);
  }
});

/** The documents of the project. */
async function documents(): Promise<string[]> {
  return (await files(PROJECT_ROOT, [".md"])).filter((path) => !path.includes("templates/"));
}

Deno.test("docs: every relative link leads to a file", async () => {
  const broken: string[] = [];
  for (const path of await documents()) {
    const text = await Deno.readTextFile(join(PROJECT_ROOT, path));
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target) || target.startsWith("#")) continue;
      const file = normalize(join(dirname(path), target.split("#")[0]));
      const there = await Deno.stat(join(PROJECT_ROOT, file)).then(() => true, () => false);
      if (!there) broken.push(`${path}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

Deno.test("docs: every package has a README", async () => {
  const without: string[] = [];
  for (const { dir } of await packages()) {
    const path = join(PROJECT_ROOT, dir, "README.md");
    if (!await Deno.stat(path).then(() => true, () => false)) without.push(dir);
  }
  assert.deepEqual(without, []);
});

/** The names of all tests, as far as they stand in the source as literals, and of all cases. */
async function testNames(): Promise<Set<string>> {
  const names = new Set(CASES.map((one) => one.name));
  for (const path of await files(PROJECT_ROOT, ["_test.ts"])) {
    const text = await Deno.readTextFile(join(PROJECT_ROOT, path));
    for (const [, name] of text.matchAll(/"((?:[^"\\\n]|\\.)+)"/g)) names.add(name);
  }
  return names;
}

Deno.test("architecture: every invariant names a test that exists; every path is there", async () => {
  const text = await Deno.readTextFile(join(PROJECT_ROOT, "ARCHITECTURE.md"));
  assert.ok(text.split("\n").length <= 150, "it must have 150 lines at most");
  const names = await testNames();
  const invariants = text.slice(text.indexOf("## Invariants"));
  const quoted = [...invariants.matchAll(/“([^”]+)”/g)].map(([, name]) =>
    name.replace(/\s+/g, " ")
  );
  assert.ok(quoted.length >= 10, "the invariants quote their tests in “ ”");
  assert.deepEqual(quoted.filter((name) => !names.has(name)), []);
  const missing: string[] = [];
  for (const [, path] of text.matchAll(/`([a-z_]+(?:\/[a-z0-9_.]+)+|[a-z_]+\.ts)`/g)) {
    const there = await Deno.stat(join(PROJECT_ROOT, path)).then(() => true, () => false);
    if (!there) missing.push(path);
  }
  assert.deepEqual(missing, []);
  const unnamed = (await files(join(PROJECT_ROOT, "core"), [".ts"])).filter((path) =>
    !path.includes("/") && !path.endsWith("_test.ts") && path !== "mod.ts" &&
    !text.includes(`\`core/${path}\``)
  );
  assert.deepEqual(unnamed, [], "the map of ARCHITECTURE.md leaves files of core out");
});
