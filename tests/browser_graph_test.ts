/**
 * Holds that core and what pages import run in a browser as they stand: what they import, what
 * globals they name, and that a bundle of core runs where there is no Deno, process or Buffer.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import vm from "node:vm";
import { serverGlobals } from "../tools/browser_globals.ts";
import { deno } from "../tools/deno.ts";
import { type Graph, localPath, moduleGraph, npmPackage, reached } from "../tools/module_graph.ts";
import { syntheticTree } from "../tools/synthetic_tree.ts";
import { PROJECT_ROOT } from "../tools/workspace.ts";

/** What core may take from npm: each runs in a browser (docs/dependencies.md). */
const BROWSER_PACKAGES: ReadonlySet<string> = new Set(["deno-std", "fflate"]);

/** Everything reached from an entry that a browser lacks, one sentence each. */
async function browserBreaches(root: string, entry: string): Promise<string[]> {
  const graph: Graph = await moduleGraph(root, [entry]);
  const wrong = graph.errors.map(({ module, message }) => `${module}: ${message}`);
  for (const module of reached(graph, entry)) {
    if (module.startsWith("file:")) {
      const path = localPath(graph, module) ?? module;
      if (graph.errors.some((error) => error.module === module)) continue;
      const source = await Deno.readTextFile(fileURLToPath(module));
      for (const { name, line } of serverGlobals(path, source)) {
        wrong.push(`${path}:${line} names ${name}, which no browser has`);
      }
      continue;
    }
    const npm = npmPackage(module);
    if (npm !== undefined && BROWSER_PACKAGES.has(npm)) continue;
    const by = graph.edges.find((edge) => edge.to === module)?.from ?? entry;
    wrong.push(`${localPath(graph, by) ?? by} imports ${module}, which no browser has`);
  }
  return wrong;
}

Deno.test("browser: core imports and names nothing that a browser lacks", async () => {
  const breaches = await browserBreaches(PROJECT_ROOT, "core/mod.ts");
  assert.ok(breaches.length === 0, breaches.join("\n"));
});

for (const entry of ["plugins/websocket/browser.ts", "plugins/worker/mod.ts"]) {
  Deno.test(`browser: ${entry} imports and names nothing that a browser lacks`, async () => {
    const breaches = await browserBreaches(PROJECT_ROOT, entry);
    assert.ok(breaches.length === 0, breaches.join("\n"));
  });
}

Deno.test("browser: a node: import, a foreign package and a Deno global are caught", async () => {
  await using tree = await syntheticTree({
    "deno.json": `{ "nodeModulesDir": "none" }`,
    "mod.ts": `export * from "./below.ts";\nexport const zip = () => import("npm:fflate@0.8.2");`,
    "below.ts": `// Deno.cwd() in a comment\nimport fs from "node:fs";\nexport { fs };\n` +
      `export const text = "Deno.cwd()";\nexport const here = () => Deno.cwd();\n` +
      `export const grpc = () => import("npm:zod@4.6.7");`,
  });
  assert.deepEqual((await browserBreaches(tree.root, "mod.ts")).sort(), [
    "below.ts imports node:fs, which no browser has",
    "below.ts imports npm:/zod@4.6.7, which no browser has",
    "below.ts:5 names Deno, which no browser has",
  ]);
});

Deno.test("browser: only real uses of a server global count", () => {
  const names = (source: string) =>
    serverGlobals("x.ts", source).map(({ name, line }) => `${name}:${line}`);
  const innocent = [
    `/* Deno.x */ const a = "process.env"; const b = \`Deno\`;`,
    `({ process: 1 }).process; a.Deno.process;`,
    `function run(process: () => void) { process(); }`,
    `const { Buffer } = own; Buffer.from(1);`,
    `import { global } from "./x.ts"; global();`,
    `class A { process = 1; Buffer() {} }`,
    `interface B { process: number; Deno(): void } type C = (process: number) => void;`,
    `for (const [require] of list) require();`,
    `try { x(); } catch (process) { y(process); }`,
  ];
  for (const source of innocent) assert.deepEqual(names(source), [], source);
  assert.deepEqual(names("x();\nDeno.exit();"), ["Deno:2"]);
  assert.deepEqual(names("const pid = process.pid;"), ["process:1"]);
  assert.deepEqual(names("const it = { process };"), ["process:1"]);
  assert.deepEqual(names("export type T = Deno.Conn;"), ["Deno:1"]);
  assert.deepEqual(names("if (typeof Deno === 'object') x();"), ["Deno:1"]);
  assert.deepEqual(names("`${Buffer}`; globalThis.process; globalThis.Deno?.pid;"), [
    "Buffer:1",
    "process:1",
    "Deno:1",
  ]);
  assert.deepEqual(names("const a = setImmediate; require('x');"), ["setImmediate:1", "require:1"]);
});

/** What a page has besides the language itself, as far as core could want it. */
const PAGE_GLOBALS: Record<string, unknown> = {
  AbortController,
  AbortSignal,
  Blob,
  BroadcastChannel,
  ByteLengthQueuingStrategy,
  clearInterval,
  clearTimeout,
  CompressionStream,
  console,
  CountQueuingStrategy,
  crypto,
  CustomEvent,
  DecompressionStream,
  DOMException,
  Event,
  EventTarget,
  fetch,
  Headers,
  MessageChannel,
  MessageEvent,
  MessagePort,
  performance,
  queueMicrotask,
  ReadableStream,
  Request,
  Response,
  setInterval,
  setTimeout,
  structuredClone,
  TextDecoder,
  TextDecoderStream,
  TextEncoder,
  TextEncoderStream,
  TransformStream,
  URL,
  URLSearchParams,
  WebSocket,
  Worker,
  WritableStream,
};

/** Bundles a program for browsers and evaluates it in a realm that has a page's globals only. */
async function runInPage(program: string): Promise<unknown> {
  const folder = await Deno.makeTempDir({ prefix: "patchbay-bundle-" });
  try {
    const entry = join(folder, "page.ts");
    const bundle = join(folder, "page.js");
    await Deno.writeTextFile(entry, program);
    const config = join(PROJECT_ROOT, "deno.json");
    const args = ["bundle", "--platform", "browser", "--format", "iife", "--no-lock"];
    const out = await deno([...args, "--config", config, "-o", bundle, entry]);
    assert.equal(out.code, 0, `deno bundle failed:\n${out.stderr}`);
    const page = vm.createContext({ ...PAGE_GLOBALS });
    // A page's global object is also its self and window.
    vm.runInContext("globalThis.self = globalThis.window = globalThis;", page);
    vm.runInContext(await Deno.readTextFile(bundle), page, { filename: "page.js" });
    return await (vm.runInContext("globalThis.result", page) as Promise<unknown>);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("browser: the realm that stands for a page has no server globals", async () => {
  const result = await runInPage(
    `const g = globalThis as unknown as Record<string, unknown> & { result: unknown };
     g.result = ["Deno", "process", "Buffer", "global", "require"].filter((name) => name in g).join();`,
  );
  assert.equal(result, "");
});

Deno.test("browser: a bundle of core runs in a page", async () => {
  const core = pathToFileURL(join(PROJECT_ROOT, "core/mod.ts")).href;
  const result = await runInPage(
    `import * as core from ${JSON.stringify(core)};
     const error = new core.PatchbayError("too_large", "11 bytes, the limit is 10");
     const back = core.PatchbayError.fromWire(JSON.parse(JSON.stringify(error.toWire())));
     const open = Object.values(core).filter((value) => value !== undefined).length;
     Object.assign(globalThis, { result: [back.code, back.message, open === Object.keys(core).length].join() });`,
  );
  assert.equal(result, "too_large,11 bytes, the limit is 10,true");
});
