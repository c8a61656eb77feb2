/**
 * The configuration file: `patchbay.json`, `patchbay.jsonc` or `patchbay.yaml`.
 *
 * @module
 */

import { dirname, extname, join, resolve } from "./path.ts";
import { nearest, PatchbayError } from "@patchbay/core";
import { fromNotCapable, isGranted, readEnvironment } from "./permissions.ts";

/** What a configuration file may say. Paths in it are relative to the file. */
export interface HostConfig {
  /** This module's name. */
  module?: string;
  /** Tells several instances of one module apart. */
  instance?: string;
  /** Plugins besides the built-in ones: import specifiers, or paths of folders or files. */
  plugins?: string[];
  /** The directories whose folders are plugins, instead of `./plugins` of the project. */
  pluginDirectories?: string[];
  /** The runtime directory. */
  runtimeDirectory?: string;
  /** Whether the runtime directory may be open to others. */
  shareRuntimeDir?: boolean;
  /** The configuration of each plugin, by plugin name. */
  wires?: Record<string, Record<string, unknown>>;
  /** The largest message, in bytes. */
  maxMessageBytes?: number;
  /** Whether plugin directories are scanned. */
  discover?: boolean;
  /** Whether counters are published beside the directory entry. */
  publishStatistics?: boolean;
  /** Whether the bay closes by itself on SIGINT and SIGTERM. */
  handleSignals?: boolean;
}

/** A configuration that was read. */
export interface LoadedConfig {
  /** The file. */
  readonly path: string;
  /** What it says, with paths made absolute. */
  readonly config: HostConfig;
}

/** The names that are looked for in the working directory. */
const NAMES: readonly string[] = ["patchbay.json", "patchbay.jsonc", "patchbay.yaml"];

/** What each key must be. */
const KINDS: Readonly<
  Record<keyof HostConfig, "string" | "strings" | "boolean" | "bytes" | "wires">
> = {
  module: "string",
  instance: "string",
  plugins: "strings",
  pluginDirectories: "strings",
  runtimeDirectory: "string",
  shareRuntimeDir: "boolean",
  wires: "wires",
  maxMessageBytes: "bytes",
  discover: "boolean",
  publishStatistics: "boolean",
  handleSignals: "boolean",
};

const MUST: Readonly<Record<(typeof KINDS)[keyof HostConfig], string>> = {
  string: "must be a string",
  strings: "must be a list of strings",
  boolean: "must be true or false",
  bytes: "must be a whole number of bytes above 0",
  wires: "must be an object with an object for each plugin",
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fits(kind: (typeof KINDS)[keyof HostConfig], value: unknown): boolean {
  switch (kind) {
    case "string":
      return typeof value === "string" && value !== "";
    case "strings":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    case "boolean":
      return typeof value === "boolean";
    case "bytes":
      return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
    case "wires":
      return isRecord(value) && Object.values(value).every(isRecord);
  }
}

/**
 * Reads the configuration file: the one given, else that of `PATCHBAY_CONFIG`, else
 * `patchbay.json`, `patchbay.jsonc` or `patchbay.yaml` in the working directory. Asks for no
 * permission: in the working directory a file that may not be read counts as absent.
 *
 * @param path The file, if a certain one is meant.
 * @returns `undefined` if none was named and none is there.
 * @throws {PatchbayError} `not_found`: the named file does not exist; `invalid`: an unknown key (the
 *   right one is suggested), a wrong value, bad syntax, or two files; `unavailable`: a named file
 *   may not be read, with the flag.
 *
 * @example
 * ```ts
 * import { loadConfig } from "@patchbay/host";
 *
 * const path = await Deno.makeTempFile({ suffix: ".jsonc" });
 * await Deno.writeTextFile(path, `{ "module": "arm", "wires": { "uds": {} }, }`);
 * console.log((await loadConfig(path))?.config.module); // arm
 * await Deno.remove(path);
 * ```
 */
export async function loadConfig(path?: string): Promise<LoadedConfig | undefined> {
  const named = path ?? readEnvironment("PATCHBAY_CONFIG");
  const found = named === undefined ? lookAround() : resolve(named);
  if (found === undefined) return undefined;
  const value = await parseFile(found);
  return { path: found, config: withAbsolutePaths(checkFile(found, value), dirname(found)) };
}

/** @ignore What a JSON, JSONC or YAML file holds. */
export async function parseFile(path: string): Promise<unknown> {
  const text = read(path);
  try {
    return await parse(path, text);
  } catch (error) {
    if (error instanceof PatchbayError) throw error;
    throw new PatchbayError(
      "invalid",
      `${path}: ${error instanceof Error ? error.message : error}`,
      {
        details: { path },
        remedy: "correct the file's syntax",
        cause: error,
      },
    );
  }
}

function lookAround(): string | undefined {
  const there = NAMES.map((name) => join(Deno.cwd(), name)).filter((path) => {
    if (!isGranted({ name: "read", path })) return false;
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
  if (there.length > 1) {
    throw new PatchbayError("invalid", `there are ${there.length}: ${there.join(" and ")}`, {
      remedy: "keep one of them, or name one in PATCHBAY_CONFIG",
    });
  }
  return there[0];
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new PatchbayError("not_found", `there is no configuration file ${path}`, {
        remedy: "correct the path, or the variable PATCHBAY_CONFIG",
        cause: error,
      });
    }
    const flags = [`--allow-read=${path}`];
    throw fromNotCapable(error, `the configuration file ${path} cannot be read`, flags);
  }
}

/** The npm copies of @std have no types. */
type Parse = (text: string) => unknown;

async function parse(path: string, text: string): Promise<unknown> {
  switch (extname(path).toLowerCase()) {
    case ".json":
      return JSON.parse(text);
    case ".jsonc": {
      const jsonc: { readonly parse: Parse } = await import("@std/jsonc/parse.js");
      return jsonc.parse(text);
    }
    case ".yaml":
    case ".yml": {
      const yaml: { readonly parse: Parse } = await import("@std/yaml/parse.js");
      return yaml.parse(text);
    }
  }
  throw new PatchbayError("invalid", `${path}: the kind of file cannot be told from its name`, {
    remedy: "call it .json, .jsonc or .yaml",
  });
}

function checkFile(path: string, value: unknown): HostConfig {
  if (value === null || value === undefined) return {}; // An empty YAML file.
  if (!isRecord(value)) throw new PatchbayError("invalid", `${path}: it must hold an object`);
  const known = Object.keys(KINDS);
  for (const [key, item] of Object.entries(value)) {
    if (!Object.hasOwn(KINDS, key)) {
      const near = nearest(key, known);
      throw new PatchbayError("invalid", `${path}: unknown key ${JSON.stringify(key)}`, {
        details: { path, key },
        remedy: near === undefined ? `known are ${known.join(", ")}` : `did you mean ${near}?`,
      });
    }
    const kind = KINDS[key as keyof HostConfig];
    if (fits(kind, item)) continue;
    throw new PatchbayError("invalid", `${path}: ${key} ${MUST[kind]}`, { details: { path, key } });
  }
  return value as HostConfig;
}

function withAbsolutePaths(config: HostConfig, folder: string): HostConfig {
  const result: HostConfig = { ...config };
  const isPath = (text: string) => /^\.{0,2}[/\\]/.test(text);
  if (config.runtimeDirectory !== undefined) {
    result.runtimeDirectory = resolve(folder, config.runtimeDirectory);
  }
  if (config.pluginDirectories !== undefined) {
    result.pluginDirectories = config.pluginDirectories.map((path) => resolve(folder, path));
  }
  if (config.plugins !== undefined) {
    result.plugins = config.plugins.map((one) => isPath(one) ? resolve(folder, one) : one);
  }
  return result;
}
