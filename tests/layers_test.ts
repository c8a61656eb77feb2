/**
 * Holds the layers of DESIGN §1: who may import whom.
 *
 * @module
 */
import assert from "node:assert/strict";
import { layerBreaches, type LayerRules } from "../tools/layers.ts";
import { type Graph, moduleGraph, npmPackage } from "../tools/module_graph.ts";
import { syntheticTree } from "../tools/synthetic_tree.ts";
import { files, type Package, packages, PROJECT_ROOT } from "../tools/workspace.ts";

/** The npm packages that core's own `deno.json` names, and `@std`, which comes as one. */
function coreRules(found: Package[]): LayerRules {
  const core = found.find((each) => each.dir === "core");
  const own = Object.values(core?.imports ?? {}).map(npmPackage);
  return { coreNpm: new Set([...own.filter((name) => name !== undefined), "deno-std"]) };
}

async function graphOfTree(root: string): Promise<Graph> {
  const folders = (await packages(root)).map((each) => each.dir).filter((dir) => dir !== ".");
  const sources = (await files(root, [".ts", ".tsx"])).filter((path) =>
    !path.includes("/") || folders.some((dir) => path.startsWith(`${dir}/`))
  );
  return moduleGraph(root, sources);
}

Deno.test("layers: every import of the workspace goes downwards", async () => {
  const graph = await graphOfTree(PROJECT_ROOT);
  const breaches = layerBreaches(graph, coreRules(await packages()));
  assert.ok(breaches.length === 0, breaches.join("\n"));
});

const PACKAGE = (name: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({ name: `@t/${name}`, version: "0.1.0", exports: "./mod.ts", ...more });

const SOUND = {
  "deno.json": PACKAGE("root", {
    workspace: ["./core", "./host", "./ffi", "./cli", "./plugins/*"],
    nodeModulesDir: "none",
  }),
  "mod.ts": `export * from "@t/host"; export * from "./builtins.ts";`,
  "builtins.ts": `export const table = () => [import("@t/a")];`,
  "core/deno.json": PACKAGE("core", {
    exports: {
      ".": "./mod.ts",
      "./errors": "./errors.ts",
      "./conformance": "./conformance/mod.ts",
    },
    imports: { fflate: "npm:fflate@0.8.2" },
  }),
  "core/mod.ts": `export * from "./errors.ts"; export const zip = () => import("fflate");`,
  "core/errors.ts": `export class E extends Error {}`,
  "core/conformance/mod.ts": `import "node:assert"; import "../mod.ts"; export const suite = 1;`,
  "core/bay_test.ts": `import "@t/a"; import "node:fs";`,
  "host/deno.json": PACKAGE("host"),
  "host/mod.ts": `import "node:path"; export * from "@t/core";`,
  "ffi/deno.json": PACKAGE("ffi"),
  "ffi/mod.ts": `export { E } from "@t/core/errors";`,
  "cli/deno.json": PACKAGE("cli"),
  "cli/mod.ts": `import "@t/root"; import "@t/host"; export const cli = 1;`,
  "plugins/a/deno.json": PACKAGE("a"),
  "plugins/a/mod.ts": `import "@t/core"; import "@t/host"; import "@t/ffi"; export const a = 1;`,
  "plugins/a/fixture.ts":
    `import "./mod.ts"; import "@t/core"; import "@t/host"; import "@t/core/conformance";`,
  "plugins/a/a_test.ts": `import "./fixture.ts"; import "../../tests/require.ts";`,
  "plugins/b/deno.json": PACKAGE("b"),
  "plugins/b/mod.ts": `import type { E } from "@t/core"; export type B = E;`,
  "tests/require.ts": `export const r = 1;`,
};

async function breachesOf(changes: Record<string, string>): Promise<string[]> {
  await using tree = await syntheticTree({ ...SOUND, ...changes });
  return layerBreaches(await graphOfTree(tree.root), coreRules(await packages(tree.root)));
}

Deno.test("layers: a sound tree has no breach", async () => {
  assert.deepEqual(await breachesOf({}), []);
});

/** What is put into which file, and the words its breach must contain. */
const BREACHES: [path: string, text: string, told: RegExp][] = [
  ["host/mod.ts", `import "@t/a";`, /host\/mod\.ts \(host\) imports plugins\/a\/mod\.ts/],
  ["host/mod.ts", `import "@t/cli";`, /host may import host, core only/],
  ["core/mod.ts", `import "@t/host";`, /core\/mod\.ts \(core\) imports host\/mod\.ts/],
  [
    "core/mod.ts",
    `import type { a } from "@t/a"; export type A = typeof a;`,
    /plugins\/a\/mod\.ts/,
  ],
  ["core/mod.ts", `import "node:fs";`, /core\/mod\.ts \(core\) imports node:fs/],
  ["core/mod.ts", `import "npm:zod@4.6.7";`, /npm package zod: core\/deno\.json does not/],
  ["core/mod.ts", `import "./conformance/mod.ts";`, /imports core\/conformance\/mod\.ts/],
  ["core/conformance/mod.ts", `import "@t/host";`, /conformance may import conformance, core only/],
  ["ffi/mod.ts", `import "@t/core";`, /ffi may import ffi, core\/errors\.ts only/],
  ["plugins/a/mod.ts", `import "@t/b";`, /a plugin imports no other plugin/],
  ["plugins/a/mod.ts", `const b = () => import("@t/b");`, /a plugin imports no other plugin/],
  ["plugins/a/fixture.ts", `import "@t/b";`, /a plugin imports no other plugin/],
  ["plugins/a/a_test.ts", `import "@t/b";`, /a plugin imports no other plugin/],
  [
    "plugins/a/mod.ts",
    `import "@t/root";`,
    /plugin may import its own folder, core, host, ffi only/,
  ],
  ["plugins/a/mod.ts", `import "./fixture.ts";`, /only tests use fixtures/],
  ["plugins/a/mod.ts", `import "../../tests/require.ts";`, /imports nothing from tests\//],
  ["plugins/a/mod.ts", `import "../../core/mod.ts";`, /is imported by its name/],
  ["plugins/a/mod.ts", `import "./a_test.ts";`, /only tests import tests/],
  ["plugins/a/mod.ts", `import "npm:zod@4.6.7";`, /the root's table holds only plugins without/],
  ["plugins/a/mod.ts", `import "./gone.ts";`, /plugins\/a\/gone\.ts cannot be judged/],
];

for (const [path, text, told] of BREACHES) {
  Deno.test(`layers: caught: ${text} in ${path}`, async () => {
    const breaches = await breachesOf({ [path]: `${text}\nexport const breach = 1;\n` });
    assert.ok(
      breaches.some((breach) => told.test(breach)),
      `${told} not in:\n${breaches.join("\n")}`,
    );
  });
}
