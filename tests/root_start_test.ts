/**
 * Holds that importing the root package downloads no plugin's npm package: a program is started
 * with an empty cache, and what it fetched is counted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deno } from "../tools/deno.ts";
import { syntheticTree } from "../tools/synthetic_tree.ts";
import { PROJECT_ROOT } from "../tools/workspace.ts";

/** What core itself may need (docs/dependencies.md); whatever else is fetched, a plugin asked for. */
const CORE_PACKAGES: ReadonlySet<string> = new Set(["deno-std", "fflate"]);

async function folders(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(path)) if (entry.isDirectory) names.push(entry.name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}

/** The npm packages whose contents (not merely their metadata) a cache holds. */
async function fetchedPackages(cache: string): Promise<string[]> {
  const found: string[] = [];
  for (const registry of await folders(join(cache, "npm"))) {
    const top = join(cache, "npm", registry);
    for (const name of await folders(top)) {
      const names = name.startsWith("@")
        ? (await folders(join(top, name))).map((below) => `${name}/${below}`)
        : [name];
      for (const each of names) {
        if ((await folders(join(top, each))).length > 0) found.push(each);
      }
    }
  }
  return found.sort();
}

/** Starts a program that imports a workspace's root, and tells what was downloaded for it. */
async function startWithEmptyCache(root: string, entry: string): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "patchbay-start-" });
  try {
    const program = join(folder, "program.ts");
    const url = pathToFileURL(join(root, entry)).href;
    await Deno.writeTextFile(program, `import ${JSON.stringify(url)};\nconsole.log("started");\n`);
    const cache = join(folder, "cache");
    const config = join(root, "deno.json");
    const out = await deno(["run", "-A", "--no-lock", "--config", config, program], {
      env: { DENO_DIR: cache },
    });
    assert.deepEqual([out.code, out.stdout], [0, "started\n"], out.stderr);
    return await fetchedPackages(cache);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("root: a start with an empty cache fetches no plugin's npm package", async () => {
  const fetched = await startWithEmptyCache(PROJECT_ROOT, "mod.ts");
  const foreign = fetched.filter((name) => !CORE_PACKAGES.has(name));
  assert.deepEqual(foreign, [], `importing mod.ts fetched ${foreign.join(", ")}`);
});

Deno.test("root: a plugin's package behind an uncalled import() is noticed", async () => {
  await using tree = await syntheticTree({
    "deno.json": `{ "nodeModulesDir": "none", "imports": { "unused": "npm:zod@4.6.7" } }`,
    "mod.ts": `export const never = () => import("npm:fflate@0.8.2");`,
  });
  assert.deepEqual(await startWithEmptyCache(tree.root, "mod.ts"), ["fflate"]);
});
