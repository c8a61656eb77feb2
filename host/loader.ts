/**
 * Finds plugins: those that are built in, and every folder of the plugin directories.
 *
 * @module
 */

import { basename, dirname, join, resolve, toFileUrl } from "./path.ts";
import { nearest, type Plugin } from "@patchbay/core";
import { isGranted } from "./permissions.ts";
import { pluginFaults } from "./plugin_shape.ts";

/** A plugin that can be opened. */
export interface LoadedPlugin {
  /** The plugin. */
  readonly plugin: Plugin;
  /** Where it came from: a file's path, an import specifier, or `built-in`. */
  readonly path: string;
}

/** A plugin that cannot be used, and stops nobody else. */
export interface BrokenPlugin {
  /** Its name, or its folder's if it did not get so far. */
  readonly name: string;
  /** Its file or folder, or its import specifier. */
  readonly path: string;
  /** What is wrong. */
  readonly reason: string;
  /** What to do. */
  readonly remedy: string;
}

/** What was found. */
export interface Discovery {
  /** Those that can be opened, built-ins first, then in the order of their folders. */
  readonly plugins: readonly LoadedPlugin[];
  /** Those that cannot. */
  readonly broken: readonly BrokenPlugin[];
}

/** Where to look. */
export interface DiscoverOptions {
  /** The plugins that are passed. They win against a folder with the same plugin's name. */
  builtins?: readonly Plugin[];
  /** The directories whose folders are plugins. One that does not exist is empty. */
  directories?: readonly string[];
  /** Single plugins: import specifiers, or paths of folders or files. */
  specifiers?: readonly string[];
  /** How long one import may take, in milliseconds. Default 5 s. */
  timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5000;

/** What is to be imported. */
interface Candidate {
  readonly name: string;
  readonly path: string;
  readonly specifier: string;
}

type Imported =
  | { readonly candidate: Candidate; readonly plugin: Plugin }
  | { readonly candidate: Candidate; readonly reason: string; readonly remedy: string };

/**
 * Finds plugins, imports them and checks their shape. Never throws because of a plugin: one that
 * cannot be imported within five seconds, or whose default export is not a plugin, is reported by
 * name with reason and remedy, and so is one whose name is taken.
 *
 * @param options Where to look.
 *
 * @example
 * ```ts
 * import { discover } from "@patchbay/host";
 *
 * const { plugins, broken } = await discover({ directories: ["./my_plugins"] });
 * for (const { plugin } of plugins) console.log(plugin.name, plugin.summary);
 * for (const { name, reason, remedy } of broken) console.error(name, reason, remedy);
 * ```
 */
export async function discover(options: DiscoverOptions = {}): Promise<Discovery> {
  const builtins = options.builtins ?? [];
  const plugins: LoadedPlugin[] = builtins.map((plugin) => ({ plugin, path: "built-in" }));
  const broken: BrokenPlugin[] = [];
  const candidates: Candidate[] = [];
  for (const specifier of options.specifiers ?? []) {
    const found = single(specifier);
    if ("reason" in found) broken.push(found);
    else candidates.push(found);
  }
  for (const directory of options.directories ?? []) scan(resolve(directory), candidates, broken);

  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const imported = await Promise.all(candidates.map((each) => importOne(each, timeoutMs)));
  for (const result of imported) {
    const { path, name } = result.candidate;
    if ("reason" in result) {
      broken.push({ name, path, reason: result.reason, remedy: result.remedy });
      continue;
    }
    const { plugin } = result;
    const holder = plugins.find((loaded) => loaded.plugin.name === plugin.name);
    if (holder === undefined) {
      plugins.push({ plugin, path });
    } else if (holder.plugin !== plugin) {
      // The same value means the same module: Patchbay's own folders, when it runs itself.
      broken.push({
        name: plugin.name,
        path,
        reason: `the name ${plugin.name} is taken by ${
          holder.path === "built-in" ? "the built-in plugin" : holder.path
        }, which wins`,
        remedy: "give it another name, or remove the folder",
      });
    }
  }
  return { plugins, broken };
}

/** The entry file of a plugin's folder. */
function entryOf(folder: string): string | undefined {
  for (const name of ["mod.ts", "mod.js"]) {
    const path = join(folder, name);
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

function candidate(path: string): Candidate {
  return { name: basename(dirname(path)), path, specifier: toFileUrl(path).href };
}

function scan(directory: string, candidates: Candidate[], broken: BrokenPlugin[]): void {
  let names: string[];
  try {
    // Asked first, so that a program that may not read it is not stopped by Deno's question.
    if (!isGranted({ name: "read", path: directory })) {
      throw new Deno.errors.NotCapable("read access is not granted");
    }
    names = Array.from(Deno.readDirSync(directory))
      .filter((item) => !item.isFile && !item.name.startsWith("."))
      .map((item) => item.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    const known = error instanceof Deno.errors.NotCapable;
    broken.push({
      name: basename(directory),
      path: directory,
      reason: `the plugin directory cannot be read: ${messageOf(error)}`,
      remedy: known ? `run deno with --allow-read=${directory}` : "look at its rights",
    });
    return;
  }
  for (const name of names) {
    const path = entryOf(join(directory, name));
    if (path !== undefined) candidates.push(candidate(path));
  }
}

/** A plugin that was named by itself: a path, a URL or an import specifier. */
function single(specifier: string): Candidate | BrokenPlugin {
  if (!/^\.{0,2}[/\\]|^[a-zA-Z]:[/\\]/.test(specifier)) {
    return { name: specifier, path: specifier, specifier };
  }
  const path = resolve(specifier);
  const file = /\.[cm]?[jt]s$/.test(path) ? path : entryOf(path);
  if (file !== undefined) return candidate(file);
  return {
    name: basename(path),
    path,
    reason: "the folder has no mod.ts (or mod.js)",
    remedy: "write the path of a plugin's folder or file, or an import specifier",
  };
}

async function importOne(candidate: Candidate, timeoutMs: number): Promise<Imported> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), timeoutMs);
  });
  try {
    const loading: Promise<{ default?: unknown }> = import(candidate.specifier);
    const loaded = await Promise.race([loading, late]);
    if (loaded === "late") {
      return {
        candidate,
        reason: `its import did not end within ${timeoutMs} ms`,
        remedy:
          "importing a plugin must not wait: move what it awaits at its top level into open()",
      };
    }
    return judge(candidate, loaded);
  } catch (error) {
    return { candidate, ...explain(candidate, error) };
  } finally {
    clearTimeout(timer);
  }
}

function judge(candidate: Candidate, loaded: { default?: unknown }): Imported {
  const plugin = loaded.default;
  if (plugin === undefined) {
    const near = nearest("default", Object.keys(loaded));
    return {
      candidate,
      reason: "it has no default export",
      remedy: "export the plugin as default" + (near === undefined ? "" : `; it exports ${near}`),
    };
  }
  const faults = pluginFaults(plugin);
  if (faults.length === 0) return { candidate, plugin: plugin as Plugin };
  return {
    candidate,
    reason: `its default export is not a plugin: ${faults.join("; ")}`,
    remedy: "annotate it as Plugin from @patchbay/core, and run deno check on it",
  };
}

function explain(candidate: Candidate, error: unknown): { reason: string; remedy: string } {
  const message = messageOf(error);
  if (
    error instanceof Deno.errors.NotCapable || /requires (read|import|net) access/i.test(message)
  ) {
    return {
      reason: `it may not be imported: ${message}`,
      remedy: `run deno with --allow-read=${dirname(candidate.path)}`,
    };
  }
  if (error instanceof SyntaxError) {
    return { reason: `syntax error: ${message}`, remedy: `deno check ${candidate.path}` };
  }
  if (error instanceof TypeError && "code" in error) {
    // Deno's loader: a module that is not there, or an import that nothing maps.
    return {
      reason: `it cannot be loaded: ${message}`,
      remedy: "a plugin outside a workspace has its host's import map: write npm: and jsr: " +
        "specifiers in full",
    };
  }
  return {
    reason: `its import threw: ${message}`,
    remedy: "importing a plugin must open nothing; report this to its author",
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/**
 * The folder of the running project: that of the nearest `deno.json` (or `deno.jsonc`) from the
 * working directory upwards, as far as it may be read; else the working directory.
 */
export function projectFolder(): string {
  const start = Deno.cwd();
  for (let folder = start;; folder = dirname(folder)) {
    for (const name of ["deno.json", "deno.jsonc"]) {
      const path = join(folder, name);
      if (!isGranted({ name: "read", path })) continue;
      try {
        if (Deno.statSync(path).isFile) return folder;
      } catch {
        // Not here.
      }
    }
    if (dirname(folder) === folder) return start;
  }
}
