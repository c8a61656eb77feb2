/**
 * Looks into a runtime directory from outside: who lives, what they count, what the dead left.
 *
 * @module
 */

import { join } from "./path.ts";
import type { DirectoryEntry, StatisticsSnapshot } from "@patchbay/core";
import { instanceOfFile, lockPath, STATISTICS_FOLDER } from "./entry.ts";
import { cleanAfter, FolderView } from "./folder_view.ts";
import { openToLook } from "./lock.ts";
import { locateRuntimeDir } from "./runtime_dir.ts";
import { publishedInstances, readStatistics } from "./statistics_file.ts";

/**
 * The live bays of a runtime directory, sorted by instance. What the dead have left is removed on
 * the way, where that is allowed. A directory that does not exist is empty.
 *
 * @param runtimeDir The runtime directory. Default: the one that bays use by default.
 * @throws {PatchbayError} `unavailable`: the default cannot be determined; the remedy says why.
 *
 * @example
 * ```ts
 * import { listModules } from "@patchbay/host";
 *
 * for (const { module, pid, endpoints } of await listModules()) {
 *   console.log(module, pid, endpoints.map((endpoint) => endpoint.address));
 * }
 * ```
 */
export async function listModules(
  runtimeDir: string = locateRuntimeDir(),
): Promise<readonly DirectoryEntry[]> {
  using view = new FolderView(runtimeDir);
  const { dead } = view.look();
  const { entries } = view;
  await Promise.all(dead.map((instance) => cleanAfter(runtimeDir, instance).catch(() => [])));
  return entries;
}

/**
 * The live bays of one module: more than one if it has several instances, none if it is not there.
 *
 * @param module The module's name.
 * @param runtimeDir The runtime directory. Default: the one that bays use by default.
 */
export async function byModule(
  module: string,
  runtimeDir?: string,
): Promise<readonly DirectoryEntry[]> {
  return (await listModules(runtimeDir)).filter((entry) => entry.module === module);
}

/**
 * What a live bay has published of its counters; `undefined` if it is dead, unknown or publishes
 * none. At most a second old.
 *
 * @param instance The bay's instance name.
 * @param runtimeDir The runtime directory. Default: the one that bays use by default.
 */
export async function statisticsOf(
  instance: string,
  runtimeDir: string = locateRuntimeDir(),
): Promise<StatisticsSnapshot | undefined> {
  const entry = (await listModules(runtimeDir)).find((each) => each.instance === instance);
  if (entry === undefined) return undefined;
  const published = readStatistics(runtimeDir, instance);
  return published?.id === entry.id ? published.snapshot : undefined;
}

/** What to clean. */
export interface CleanOptions {
  /** The runtime directory. Default: the one that bays use by default. */
  runtimeDir?: string;
  /** Leave what changed less than so many milliseconds ago. Default 0. */
  maxAgeMs?: number;
}

/**
 * Removes what dead processes have left: entries, locks, sockets, statistics. Whatever its age,
 * nothing of a live bay is touched.
 *
 * @param options Where, and how old it must be.
 * @returns The paths that were removed.
 *
 * @example
 * ```ts
 * import { cleanStale } from "@patchbay/host";
 *
 * const runtimeDir = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${runtimeDir}/ghost.json`, "{}");
 * await Deno.writeTextFile(`${runtimeDir}/ghost.lock`, "");
 * const removed = await cleanStale({ runtimeDir });
 * if (removed.length !== 2) throw new Error("a dead bay's files were left");
 * await Deno.remove(runtimeDir, { recursive: true });
 * ```
 */
export async function cleanStale(options: CleanOptions = {}): Promise<string[]> {
  const runtimeDir = options.runtimeDir ?? locateRuntimeDir();
  const youngestMs = options.maxAgeMs ? Date.now() - options.maxAgeMs : Infinity;
  const changedAtMs = new Map<string, number>();
  const note = (instance: string, path: string) => {
    const at = modified(path);
    if (at !== undefined) changedAtMs.set(instance, Math.max(changedAtMs.get(instance) ?? 0, at));
  };
  for (const name of namesIn(runtimeDir)) {
    const instance = instanceOfFile(name);
    // A socket by itself may be one that somebody listens on without a directory.
    if (instance !== undefined && !name.endsWith(".sock")) note(instance, join(runtimeDir, name));
  }
  for (const instance of publishedInstances(runtimeDir)) {
    if (!changedAtMs.has(instance)) note(instance, join(runtimeDir, STATISTICS_FOLDER));
  }
  const removed: string[] = [];
  for (const [instance, atMs] of changedAtMs) {
    if (atMs > youngestMs || isHeld(runtimeDir, instance)) continue;
    removed.push(...await cleanAfter(runtimeDir, instance));
  }
  return removed.sort();
}

function namesIn(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), (file) => file.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function modified(path: string): number | undefined {
  try {
    return Deno.lstatSync(path).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Whether a live bay has an instance name.
 *
 * @param runtimeDir The runtime directory.
 * @param instance The name.
 */
export function isHeld(runtimeDir: string, instance: string): boolean {
  try {
    using file = openToLook(lockPath(runtimeDir, instance));
    return file !== undefined && !file.tryLockSync(false);
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return true;
    throw error;
  }
}
