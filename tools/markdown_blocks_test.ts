/**
 * Tests of the search for code blocks.
 *
 * @module
 */
import assert from "node:assert/strict";
import { hasRunnableBlock, quickStart } from "./markdown_blocks.ts";

Deno.test("markdown: runnable blocks are found in docstrings and Markdown", () => {
  assert.equal(hasRunnableBlock("/**\n * ```ts\n * x();\n * ```\n */"), true);
  assert.equal(hasRunnableBlock("# A\n```ts quickstart\nx();\n```\n"), true);
  assert.equal(hasRunnableBlock("```sh\nls\n```\n\n```js\nx();\n```\n"), true);
  assert.equal(hasRunnableBlock("/** ```ts inline``` is nothing */"), false);
  assert.equal(hasRunnableBlock("```ts ignore\nx();\n```\n"), false);
  assert.equal(hasRunnableBlock("```sh\nls\n```\n"), false);
  assert.equal(hasRunnableBlock("```\nplain\n```\nplain"), false);
});

Deno.test("markdown: the quick start is found by its fence or its marker", () => {
  assert.equal(quickStart("# A\n```ts\nno();\n```\n```ts quickstart\nyes();\n```\n"), "yes();\n");
  assert.equal(
    quickStart("```ts\nno();\n```\n<!-- quickstart -->\n\nSave:\n\n```ts\nyes();\n```\n"),
    "yes();\n",
  );
  assert.equal(quickStart("# A\n```ts\nno();\n```\n"), undefined);
  assert.equal(quickStart("Write <!-- quickstart --> so.\n```ts\nno();\n```\n"), undefined);
});
