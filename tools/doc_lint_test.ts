/**
 * Tests of the documentation check and of the choice of files whose examples run.
 *
 * @module
 */
import assert from "node:assert/strict";
import { lintDocs } from "./doc_lint.ts";
import { documentedFiles } from "./doc_tests.ts";
import { syntheticTree } from "./synthetic_tree.ts";

const PACKAGE = (name: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({ name: `@t/${name}`, version: "0.1.0", exports: "./mod.ts", ...more });

const SOUND = {
  "deno.json": PACKAGE("all", { workspace: ["./core", "./plugins/*"], nodeModulesDir: "none" }),
  "mod.ts": `/** All. @module */\nexport * from "@t/core";\n`,
  "core/deno.json": PACKAGE("core"),
  "core/mod.ts": `/** Core. @module */\n/** A word. */\nexport type Word = string;\n` +
    `/** An error. */\nexport class Oops extends Error {}\n`,
  "plugins/a/deno.json": PACKAGE("a"),
  "plugins/a/mod.ts": `/** A. @module */\nimport { Oops } from "@t/core";\n` +
    `/** Makes one. */\nexport function oops(): Oops { return new Oops(); }\n`,
};

Deno.test("doc_lint: documented packages pass, also with each other's types", async () => {
  await using tree = await syntheticTree(SOUND);
  assert.deepEqual(await lintDocs(tree.root), { entries: 3, problems: "" });
});

Deno.test("doc_lint: a missing docstring, a hidden type and a missing entry are told", async () => {
  const problemsOf = async (changes: Record<string, string>) => {
    await using tree = await syntheticTree({ ...SOUND, ...changes });
    return (await lintDocs(tree.root)).problems;
  };
  const bare = await problemsOf({ "core/mod.ts": `export class Oops extends Error {}\n` });
  assert.match(bare, /missing-jsdoc[^]*core\/mod\.ts/);
  const hidden = await problemsOf({
    "plugins/a/mod.ts": `/** A. @module */\ninterface Own { a: number }\n` +
      `/** Makes one. */\nexport function own(): Own { return { a: 1 }; }\n`,
  });
  assert.match(hidden, /private-type-ref[^]*plugins\/a\/mod\.ts/);
  assert.match(
    await problemsOf({ "core/deno.json": PACKAGE("core", { exports: "./gone.ts" }) }),
    /gone/,
  );
});

Deno.test("doc_tests: files with runnable examples are chosen, tests and foreign folders are not", async () => {
  const example = "/**\n * ```ts\n * x();\n * ```\n */\n";
  await using tree = await syntheticTree({
    ...SOUND,
    "README.md": "```ts quickstart\nx();\n```\n",
    "docs/decisions/0001-x.md": "```ts\nx();\n```\n",
    "docs/notes.md": "```ts ignore\nx();\n```\n",
    "core/word.ts": example,
    "core/word_test.ts": example,
    "plugins/a/README.md": "```ts\nx();\n```\n",
    "tests/x.ts": example,
    "core/testdata/x.ts": example,
  });
  assert.deepEqual(await documentedFiles(tree.root), [
    "README.md",
    "core/word.ts",
    "docs/decisions/0001-x.md",
    "plugins/a/README.md",
  ]);
});
