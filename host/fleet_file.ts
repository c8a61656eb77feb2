/**
 * The file that says which modules belong together: what `patchbay up` starts.
 *
 * @module
 */

import { nearest, PatchbayError } from "@patchbay/core";
import { parseFile } from "./config.ts";
import { basename, dirname, join, resolve } from "./path.ts";

/** When a module that has ended is started again. */
export type RestartPolicy = "always" | "on_failure" | "never";

/** One module of a fleet. */
export interface FleetModule {
  /** Its name in the fleet. */
  readonly name: string;
  /** Its main file, absolute. */
  readonly file: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Deno's flags, such as its permissions. */
  readonly flags: readonly string[];
  /** Environment variables besides this process's own. */
  readonly env: Readonly<Record<string, string>>;
  /** When it is started again. */
  readonly restart: RestartPolicy;
  /** The modules that are started before it, and stopped after it. */
  readonly after: readonly string[];
}

/** A fleet, in the order in which it is started. */
export interface Fleet {
  /** The file. */
  readonly path: string;
  /** Those that are started first come first. */
  readonly modules: readonly FleetModule[];
}

const POLICIES: readonly string[] = ["always", "on_failure", "never"];
const MODULE_KEYS = ["run", "args", "flags", "env", "restart", "after"];
const NAME = /^[a-z0-9][a-z0-9_-]*$/;

/**
 * Reads a fleet file: JSON, JSONC or YAML, by its extension.
 *
 * ```yaml
 * restart: on_failure          # for those that say nothing; always, on_failure or never
 * env: { PATCHBAY_BUS: "tcp://127.0.0.1:5000" }
 * modules:
 *   led: modules/led           # a file, or a folder with a main.ts; relative to this file
 *   controller:
 *     run: modules/controller
 *     after: [led]
 *     flags: ["--allow-net=127.0.0.1"]   # default: -A
 *     args: ["--fast"]
 *     env: { LEVEL: high }
 *     restart: always
 * ```
 *
 * @param path The file.
 * @throws {PatchbayError} `not_found`: the file, or a module's; `invalid`: what it says, with the
 *   path inside it.
 */
export async function readFleet(path: string): Promise<Fleet> {
  const file = resolve(path);
  const root = record(await parseFile(file), file, "the file");
  const { modules, restart = "on_failure", env = {}, ...others } = root;
  unknownKeys(others, ["modules", "restart", "env"], file, "");
  const folder = dirname(file);
  const policy = policyOf(restart, file, "restart");
  const shared = texts(env, file, "env");
  const read = Object.entries(record(modules, file, "modules")).map(([name, value]) =>
    moduleOf(name, value, { file, folder, policy, shared })
  );
  if (read.length === 0) throw wrong(file, "modules", "is empty", "name a module to start");
  return { path: file, modules: inOrder(read, file) };
}

interface Surroundings {
  readonly file: string;
  readonly folder: string;
  readonly policy: RestartPolicy;
  readonly shared: Readonly<Record<string, string>>;
}

function moduleOf(name: string, value: unknown, around: Surroundings): FleetModule {
  const { file, folder, policy, shared } = around;
  const at = `modules.${name}`;
  if (!NAME.test(name)) throw wrong(file, at, "is no name of a module", "use a-z 0-9 _ -");
  const given = typeof value === "string" ? { run: value } : record(value, file, at);
  const { run, args = [], flags = ["-A"], env = {}, restart = policy, after = [], ...others } =
    given as Record<string, unknown>;
  unknownKeys(others, MODULE_KEYS, file, `${at}.`);
  if (typeof run !== "string" || run === "") {
    throw wrong(file, `${at}.run`, "is missing", "name the module's file or folder");
  }
  return {
    name,
    file: mainOf(resolve(folder, run), file, at),
    args: list(args, file, `${at}.args`),
    flags: list(flags, file, `${at}.flags`),
    env: { ...shared, ...texts(env, file, `${at}.env`) },
    restart: policyOf(restart, file, `${at}.restart`),
    after: list(after, file, `${at}.after`),
  };
}

function mainOf(path: string, file: string, at: string): string {
  for (const candidate of [path, join(path, "main.ts")]) {
    try {
      if (Deno.statSync(candidate).isFile) return candidate;
    } catch {
      // The next, or none.
    }
  }
  throw new PatchbayError("not_found", `${file}: ${at}.run: there is no module ${path}`, {
    details: { path: file, key: `${at}.run` },
    remedy: `the path of a file, or of a folder with a main.ts, relative to ${basename(file)}`,
  });
}

/** Sorts by `after`; keeps the file's order otherwise. */
function inOrder(modules: readonly FleetModule[], file: string): FleetModule[] {
  const byName = new Map(modules.map((each) => [each.name, each]));
  const sorted: FleetModule[] = [];
  const visit = (each: FleetModule, path: readonly string[]) => {
    if (sorted.includes(each)) return;
    if (path.includes(each.name)) {
      const circle = [...path.slice(path.indexOf(each.name)), each.name].join(" after ");
      throw wrong(file, `modules.${each.name}.after`, `leads in a circle: ${circle}`);
    }
    for (const name of each.after) {
      const before = byName.get(name);
      if (before === undefined) {
        const near = nearest(name, [...byName.keys()]);
        throw wrong(
          file,
          `modules.${each.name}.after`,
          `names ${name}, which is not in the file`,
          near === undefined ? undefined : `did you mean ${near}?`,
        );
      }
      visit(before, [...path, each.name]);
    }
    sorted.push(each);
  };
  for (const each of modules) visit(each, []);
  return sorted;
}

function wrong(file: string, key: string, what: string, remedy?: string): PatchbayError {
  return new PatchbayError("invalid", `${file}: ${key} ${what}`, {
    details: { path: file, key },
    remedy,
  });
}

function record(value: unknown, file: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw wrong(file, key, "is not a table of names and values");
}

function unknownKeys(
  others: Record<string, unknown>,
  known: readonly string[],
  file: string,
  prefix: string,
): void {
  for (const key of Object.keys(others)) {
    const near = nearest(key, known);
    const remedy = near === undefined ? `known are ${known.join(", ")}` : `did you mean ${near}?`;
    throw wrong(file, `${prefix}${key}`, "is not known", remedy);
  }
}

function policyOf(value: unknown, file: string, key: string): RestartPolicy {
  if (POLICIES.includes(value as string)) return value as RestartPolicy;
  throw wrong(file, key, `is ${JSON.stringify(value)}`, `write ${POLICIES.join(", ")}`);
}

function list(value: unknown, file: string, key: string): string[] {
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
  throw wrong(file, key, "is not a list of texts");
}

function texts(value: unknown, file: string, key: string): Record<string, string> {
  const entries = Object.entries(record(value, file, key)).map(([name, each]) => {
    if (typeof each === "string" || typeof each === "number" || typeof each === "boolean") {
      return [name, String(each)];
    }
    throw wrong(file, `${key}.${name}`, "is no text");
  });
  return Object.fromEntries(entries);
}
