/**
 * Holds that what would be published is clean, complete and enough: the README's quick start runs
 * in an empty project made of the published files alone.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { deno } from "../tools/deno.ts";
import { quickStart } from "../tools/markdown_blocks.ts";
import { copyPublished, readRehearsal, type Rehearsal, rehearse } from "../tools/published.ts";
import { syntheticTree } from "../tools/synthetic_tree.ts";
import { packages, PROJECT_ROOT } from "../tools/workspace.ts";

const NOT_FOR_USERS = /_(?:test|bench)\.tsx?$|(?:^|\/)(?:bench|tests|tools|testdata)\//;

async function rehearseAll(root: string): Promise<Rehearsal[]> {
  const found: Rehearsal[] = [];
  for (const each of await packages(root)) found.push(await rehearse(root, each));
  return found;
}

/** Everything that is wrong with what would be published, one sentence each. */
function publishBreaches(rehearsals: Rehearsal[]): string[] {
  const wrong: string[] = [];
  for (const { package: each, files, problems } of rehearsals) {
    if (problems !== "") wrong.push(`${each.name} does not publish cleanly:\n${problems}`);
    for (const file of files) {
      if (NOT_FOR_USERS.test(file)) wrong.push(`${each.name} would publish ${file}`);
    }
    for (const [name, target] of Object.entries(each.imports)) {
      if (!target.startsWith("../")) continue;
      wrong.push(`${each.name} maps ${name} to ${target}, which is missing once published`);
    }
    for (const file of Object.values(each.exports)) {
      const path = file.replace(/^\.\//, "");
      if (!files.includes(path)) wrong.push(`${each.name} would not publish its entry ${path}`);
    }
  }
  return wrong;
}

/** Runs a program in an empty project that holds the published files only. */
async function runPublished(root: string, rehearsals: Rehearsal[], program: string) {
  const project = await Deno.realPath(await Deno.makeTempDir({ prefix: "patchbay-published-" }));
  try {
    await copyPublished(root, rehearsals, project);
    await Deno.writeTextFile(join(project, "quickstart.ts"), program);
    const run = (...args: string[]) =>
      deno([...args, "quickstart.ts"], { cwd: project, timeoutMs: 60_000 });
    const check = await run("check");
    return check.code === 0 ? await run("run", "-A") : check;
  } finally {
    await Deno.remove(project, { recursive: true });
  }
}

Deno.test("publish: the workspace publishes cleanly, and the quick start needs nothing else", async (t) => {
  const rehearsals = await rehearseAll(PROJECT_ROOT);
  await t.step("every package is clean and holds what it should", () => {
    const breaches = publishBreaches(rehearsals);
    assert.ok(breaches.length === 0, breaches.join("\n"));
  });
  await t.step("the README's quick start runs on the published files alone", async () => {
    const readme = await Deno.readTextFile(join(PROJECT_ROOT, "README.md")).catch(() => "");
    const program = quickStart(readme);
    assert.ok(
      program !== undefined,
      "README.md has no quick start: fence its first program as ```ts quickstart, " +
        "or put the line <!-- quickstart --> before its ```ts block",
    );
    const out = await runPublished(PROJECT_ROOT, rehearsals, program);
    assert.equal(out.code, 0, `the quick start failed:\n${out.stdout}${out.stderr}`);
  });
});

const SYNTHETIC = {
  "deno.json": JSON.stringify({
    name: "@t/all",
    version: "0.1.0",
    license: "MIT",
    exports: "./mod.ts",
    workspace: ["./core"],
    nodeModulesDir: "none",
    publish: { include: ["mod.ts"], exclude: ["**/*_test.ts"] },
  }),
  "mod.ts": `export * from "@t/core";\n`,
  "extra.ts": `export const extra = 1;\n`,
  "core/deno.json": JSON.stringify({
    name: "@t/core",
    version: "0.1.0",
    license: "MIT",
    exports: { ".": "./mod.ts", "./errors": "./errors.ts" },
  }),
  "core/mod.ts": `export * from "./errors.ts";\n`,
  "core/errors.ts": `export const words: string = "in order";\n`,
  "core/errors_test.ts": `Deno.test("x", () => {});\n`,
};

Deno.test("publish: a sound tree runs from its published files", async () => {
  await using tree = await syntheticTree(SYNTHETIC);
  const rehearsals = await rehearseAll(tree.root);
  assert.deepEqual(publishBreaches(rehearsals), []);
  assert.deepEqual(rehearsals.map((each) => each.files), [
    ["deno.json", "mod.ts"],
    ["deno.json", "errors.ts", "mod.ts"],
  ]);
  const program = `import { words } from "jsr:@t/all";\nimport * as e from "@t/core/errors";\n` +
    `console.log(words === e.words);\n`;
  const out = await runPublished(tree.root, rehearsals, program);
  assert.deepEqual([out.code, out.stdout], [0, "true\n"], out.stderr);
});

Deno.test("publish: slow types and files left out are caught", async () => {
  await using tree = await syntheticTree({
    ...SYNTHETIC,
    "mod.ts": `export * from "./extra.ts";\n`,
    "core/errors.ts": `export function words() { return [Math.random()].at(0); }\n`,
  });
  const rehearsals = await rehearseAll(tree.root);
  const breaches = publishBreaches(rehearsals).join("\n");
  assert.match(breaches, /@t\/all does not publish cleanly:\n[^]*extra\.ts/);
  assert.match(breaches, /@t\/core does not publish cleanly:\n[^]*missing-explicit-return-type/);
});

Deno.test("publish: files that are not for users, and imports from outside, are told", async () => {
  const core = JSON.parse(SYNTHETIC["core/deno.json"]);
  await using tree = await syntheticTree({
    ...SYNTHETIC,
    "core/deno.json": JSON.stringify({ ...core, imports: { extra: "../extra.ts" } }),
    "core/bench/speed.ts": `export const speed = 1;\n`,
  });
  assert.deepEqual(publishBreaches(await rehearseAll(tree.root)), [
    "@t/core would publish bench/speed.ts",
    "@t/core maps extra to ../extra.ts, which is missing once published",
  ]);
});

Deno.test("publish: warnings of the rehearsal are problems, progress is not", () => {
  const output = "Check mod.ts\nChecking for slow types in the public API...\n" +
    "Simulating publish of @t/a@0.1.0 with files:\n   file:///w/a/mod.ts (1.2KB)\n" +
    "Success Dry run complete\n";
  assert.deepEqual(readRehearsal(output, "/w/a"), { files: ["mod.ts"], problems: "" });
  const warned = readRehearsal(`warning[unsupported-x]: look\n${output}`, "/w/a");
  assert.equal(warned.problems, "warning[unsupported-x]: look");
  const dynamic = (file: string) =>
    `warning[unanalyzable-dynamic-import]: unable to analyze dynamic import\n  --> /w/${file}:3:4\n` +
    `   | \n31 |   await import(url)\n   |                ^^^\n\n  info: look\n  info: again\n\n`;
  assert.equal(readRehearsal(dynamic("host/loader.ts") + output, "/w/a").problems, "");
  assert.match(readRehearsal(dynamic("core/bay.ts") + output, "/w/a").problems, /bay\.ts/);
});
