/**
 * What packages a Deno workspace holds: their names, folders, entry points and dependencies.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the project that these tools belong to. */
export const PROJECT_ROOT: string = fileURLToPath(new URL("..", import.meta.url)).replace(
  /[\\/]$/,
  "",
);

/** One package of the workspace. */
export interface Package {
  /** Its name, such as `@patchbay/core`. */
  name: string;
  /** Its folder, relative to the root, with `/`; `"."` for the root package. */
  dir: string;
  /** Its entry points: export name (`"."`, `"./errors"`) to file, relative to `dir`. */
  exports: Record<string, string>;
  /** Its own import map. */
  imports: Record<string, string>;
}

interface Config {
  name?: string;
  exports?: string | Record<string, string>;
  imports?: Record<string, string>;
  workspace?: string[];
}

async function readConfig(path: string): Promise<Config | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(path)) as Config;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new Error(`${path} cannot be read: ${(error as Error).message}`);
  }
}

async function expand(root: string, pattern: string): Promise<string[]> {
  const dir = pattern.replace(/^\.\//, "").replace(/\/$/, "");
  if (!dir.endsWith("/*")) return [dir];
  const parent = dir.slice(0, -2);
  const found: string[] = [];
  try {
    for await (const entry of Deno.readDir(join(root, parent))) {
      if (entry.isDirectory) found.push(`${parent}/${entry.name}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found.sort();
}

/**
 * Every package of the workspace, the root first.
 *
 * @param root The folder of the workspace's `deno.json`.
 */
export async function packages(root: string = PROJECT_ROOT): Promise<Package[]> {
  const config = await readConfig(join(root, "deno.json"));
  if (config === undefined) throw new Error(`${root} has no deno.json`);
  const dirs = ["."];
  for (const pattern of config.workspace ?? []) dirs.push(...await expand(root, pattern));
  const found: Package[] = [];
  for (const dir of dirs) {
    const own = dir === "." ? config : await readConfig(join(root, dir, "deno.json"));
    if (own?.name === undefined) continue;
    const entries = typeof own.exports === "string" ? { ".": own.exports } : own.exports ?? {};
    found.push({ name: own.name, dir, exports: entries, imports: own.imports ?? {} });
  }
  return found;
}

const NEVER = new Set(["node_modules", "coverage", ".git", "testdata"]);

/**
 * Every file below a folder that has one of the endings, as sorted paths relative to the folder
 * with `/`. Folders named `node_modules`, `coverage`, `testdata` or beginning with a dot are left
 * out: the first three hold nobody's source, the last nothing that is part of the project.
 *
 * @param root The folder.
 * @param endings Such as `[".ts", ".md"]`.
 */
export async function files(root: string, endings: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const walk = async (dir: string): Promise<void> => {
    for await (const entry of Deno.readDir(join(root, dir))) {
      const path = dir === "" ? entry.name : `${dir}/${entry.name}`;
      if (entry.isDirectory) {
        if (!NEVER.has(entry.name) && !entry.name.startsWith(".")) await walk(path);
      } else if (entry.isFile && endings.some((ending) => entry.name.endsWith(ending))) {
        found.push(path);
      }
    }
  };
  await walk("");
  return found.sort();
}
