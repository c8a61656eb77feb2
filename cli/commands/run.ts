/**
 * `patchbay run`: starts a module with exactly the permissions it needs, and stops it cleanly.
 *
 * @module
 */

import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { PatchbayError } from "@patchbay/core";
import type { HostReport } from "@patchbay/host";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { DEFAULT_URL } from "../frames.ts";
import { signalCode } from "../io.ts";

/** The options of `run`. */
export interface RunCommandOptions extends CommonOptions {
  /** Grant everything. */
  readonly allowAll?: boolean;
  /** Only print the flags. */
  readonly printPermissions?: boolean;
  /** The module's name. */
  readonly module?: string;
  /** The instances it dials. */
  readonly peer?: readonly string[];
  /** Further flags for deno. */
  readonly deno?: readonly string[];
}

/** How long the module may take to end, in milliseconds: its own limit, and a little. */
const KILL_AFTER_MS = 10_500;

/**
 * Runs a module as a process of its own.
 *
 * @param context The surroundings.
 * @param path A file, or a folder with a main.ts.
 * @param args Its arguments.
 * @param options Its permissions, and what every command has.
 */
export async function run(
  context: Context,
  path: string,
  args: readonly string[],
  options: RunCommandOptions,
): Promise<number> {
  const file = fileOf(path);
  const name = options.module ?? await moduleOf(file);
  const temporary = new Temporary();
  try {
    const flags = options.allowAll === true
      ? ["-A"]
      : await permissions(context, name, options, temporary, isOnBus(file));
    flags.push(...options.deno ?? []);
    if (options.printPermissions === true) {
      if (context.screen.json) context.screen.value({ file, module: name, flags });
      else context.screen.line(flags.join(" "));
      return EXIT.ok;
    }
    const env = await environment(context, options, temporary);
    return await supervise(context, file, flags, args, env, options.timeout);
  } finally {
    temporary.remove();
  }
}

/** The module's main file. */
function fileOf(path: string): string {
  const full = resolve(path);
  const kind = stat(full);
  if (kind === undefined) {
    throw new PatchbayError("not_found", `there is no module ${path}`, {
      remedy: basename(dirname(full)) === "modules"
        ? `patchbay new module ${basename(path)}`
        : "the path of the file that opens the bay, or of a folder with a main.ts",
    });
  }
  if (kind === "file") return full;
  const file = join(full, "main.ts");
  if (stat(file) === "file") return file;
  throw new PatchbayError("not_found", `the folder ${path} has no main.ts`, {
    remedy: "the path of the file that opens the bay",
  });
}

function stat(path: string): "file" | "folder" | undefined {
  try {
    return Deno.statSync(path).isDirectory ? "folder" : "file";
  } catch {
    return undefined;
  }
}

/** The name with which the module opens its bay, as far as its text tells; else that of its file. */
async function moduleOf(file: string): Promise<string> {
  const text = Deno.readTextFileSync(file);
  const NAME = `["'\`]([a-z0-9][a-z0-9_-]*)["'\`]`;
  const told = new RegExp(`\\bopen\\(\\s*\\{[^}]*?\\bmodule:\\s*${NAME}`).exec(text) ??
    new RegExp(`\\bexport const (?:module|MODULE)\\b[^=\\n]*=\\s*${NAME}`).exec(text);
  if (told !== null) return told[1];
  const { defaultModuleName } = await import("@patchbay/host");
  return defaultModuleName(pathToFileURL(file).href) ?? "module";
}

/** Whether a module joins a bus by itself, as far as its text tells. */
function isOnBus(file: string): boolean {
  return /\b(?:runModule|BusComm\s*\.\s*open)\s*\(/.test(Deno.readTextFileSync(file));
}

async function permissions(
  context: Context,
  module: string,
  options: RunCommandOptions,
  temporary: Temporary,
  onBus: boolean,
): Promise<string[]> {
  const [{ builtins }, { bayPermissions, inspect, mergeFlags }] = await Promise.all([
    import("@patchbay/patchbay"),
    import("@patchbay/host"),
  ]);
  const { onReport: _, ...host } = context.hostOptions();
  const report = await inspect({ ...host, builtins, module }, { peers: options.peer });
  if (report.runtimeDirectory === undefined) throw report.runtimeProblem;
  const wanted = (name: string) => options.via === undefined || options.via.includes(name);
  return mergeFlags([
    ...bayPermissions({
      module,
      runtimeDir: report.runtimeDirectory,
      peers: options.peer,
      reads: reads(report, options, temporary),
    }),
    ...report.plugins.filter(({ name }) => wanted(name)).flatMap((one) => one.permissions),
    ...onBus ? busPermissions(context) : [],
  ]);
}

/** What joining a bus needs: the way to its manager, and the variables that say where it is. */
function busPermissions({ io }: Context): string[] {
  const url = io.env("PATCHBAY_BUS") || DEFAULT_URL;
  const env = "--allow-env=PATCHBAY_BUS,PATCHBAY_BUS_TOKEN";
  const path = /^unix:(.+)$/.exec(url)?.[1];
  if (path === undefined) return [env, `--allow-net=${url.replace(/^tcp:\/\//, "")}`];
  return [env, `--allow-net=unix:${path}`, `--allow-read=${path}`, `--allow-write=${path}`];
}

/** What the bay reads besides its runtime directory: plugins that were found, the configuration. */
function reads(report: HostReport, options: RunCommandOptions, temporary: Temporary): string[] {
  const folders = new Set([
    ...report.pluginDirectories,
    ...report.plugins.map(({ path }) => path).filter((path) => path.startsWith("/")).map(dirname),
  ]);
  const paths = [...folders].filter((path) =>
    stat(path) !== undefined && ![...folders].some((other) => path.startsWith(`${other}/`))
  );
  if (report.configFile !== undefined) paths.push(report.configFile);
  // A runtime directory of its own is told to the module by a configuration file.
  if (options.runtimeDir !== undefined && options.printPermissions !== true) {
    paths.push(temporary.file());
  }
  return paths;
}

/** A file that goes when the command does. */
class Temporary {
  #path: string | undefined;

  file(): string {
    return this.#path ??= Deno.makeTempFileSync({ prefix: "patchbay-run-", suffix: ".json" });
  }

  remove(): void {
    if (this.#path !== undefined) Deno.removeSync(this.#path);
    this.#path = undefined;
  }
}

async function environment(
  { options }: Context,
  { config, runtimeDir }: RunCommandOptions,
  temporary: Temporary,
): Promise<Record<string, string>> {
  if (runtimeDir === undefined) {
    return config === undefined ? {} : { PATCHBAY_CONFIG: resolve(config) };
  }
  const { loadConfig } = await import("@patchbay/host");
  const file = await loadConfig(options.config);
  const settings = { ...file?.config, runtimeDirectory: resolve(runtimeDir) };
  Deno.writeTextFileSync(temporary.file(), JSON.stringify(settings));
  return { PATCHBAY_CONFIG: temporary.file() };
}

/** Runs the child, passes signals on, and insists after ten seconds. */
async function supervise(
  { io, screen }: Context,
  file: string,
  flags: readonly string[],
  args: readonly string[],
  env: Record<string, string>,
  timeoutMs: number | undefined,
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, file, ...args],
    env,
    // In a group of its own: a terminal's Ctrl-C would reach it besides the one passed on, and a
    // second signal means "at once".
    detached: Deno.build.os !== "windows",
  }).spawn();
  let insisting: ReturnType<typeof setTimeout> | undefined;
  const pass = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch {
      return; // It has ended.
    }
    insisting ??= setTimeout(() => {
      screen.warn({ message: `${file} did not end within 10 s and is killed` });
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    }, KILL_AFTER_MS);
  };
  let late = false;
  const limit = timeoutMs === undefined ? undefined : setTimeout(() => {
    late = true;
    pass("SIGTERM");
  }, timeoutMs);
  const handler = io.onSignal(pass);
  try {
    const { code, signal } = await child.status;
    if (late) {
      throw new PatchbayError("deadline_exceeded", `${file} ran longer than ${timeoutMs} ms`, {
        remedy: "a longer --timeout",
      });
    }
    return signal === null ? code : signalCode(signal);
  } finally {
    handler[Symbol.dispose]();
    clearTimeout(limit);
    clearTimeout(insisting);
  }
}
