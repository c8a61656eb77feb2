import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { serverGlobals } from "../../tools/browser_globals.ts";
import { localPath, moduleGraph, npmPackage, reached } from "../../tools/module_graph.ts";
import { PROJECT_ROOT } from "../../tools/workspace.ts";

/** What core and rest take from npm for a page: each runs in a browser (docs/dependencies.md). */
const BROWSER_PACKAGES = ["deno-std", "eventsource-parser", "fflate"];

Deno.test("rest: what a page imports reaches nothing that a browser lacks", async () => {
  const entry = "plugins/rest/browser.ts";
  const graph = await moduleGraph(PROJECT_ROOT, [entry]);
  const wrong = graph.errors.map(({ module, message }) => `${module}: ${message}`);
  const modules = [...reached(graph, entry)];
  assert.ok(modules.some((module) => module.endsWith("/rest/calls.ts")), "the walk is empty");
  for (const module of modules) {
    const path = localPath(graph, module);
    if (module.startsWith("file:") && path !== undefined) {
      const source = await Deno.readTextFile(fileURLToPath(module));
      for (const { name, line } of serverGlobals(path, source)) {
        wrong.push(`${path}:${line} names ${name}`);
      }
    } else if (!BROWSER_PACKAGES.includes(npmPackage(module) ?? "")) {
      wrong.push(`${module} is no browser's`);
    }
  }
  assert.deepEqual(wrong, []);
});
