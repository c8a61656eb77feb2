/**
 * What dead processes have left: finds it, and removes it.
 *
 * @module
 */

import { type Leftover, PatchbayError, type Plugin } from "@patchbay/core";
import { instanceOfFile, lockPath, STATISTICS_FOLDER } from "./entry.ts";
import { cleanAfter, filesOf } from "./folder_view.ts";
import { openToLook } from "./lock.ts";
import { join } from "./path.ts";
import { locateRuntimeDir } from "./runtime_dir.ts";
import { publishedInstances } from "./statistics_file.ts";

/** What to look at. */
export interface CleanOptions {
  /** The runtime directory. Default: the one that bays use by default. */
  runtimeDir?: string;
  /** Leave files that changed less than so many milliseconds ago. Default 0. */
  maxAgeMs?: number;
  /** Wires that may have left something outside the runtime directory. Default: none is asked. */
  plugins?: readonly Plugin[];
  /** Told which plugin could not say. */
  report?: (error: PatchbayError) => void;
}

/** Something that a dead process has left. */
export interface Stale {
  /** Where it is, as people find it. */
  readonly what: string;
  /** How much memory it holds, in bytes, where that is known. */
  readonly bytes?: number;
  /** The instance it was of, if it is a file of the runtime directory. */
  readonly instance?: string;
  /** The plugin whose it was, if it is not. */
  readonly wire?: string;
}

/**
 * What dead processes have left, without removing it: entries, locks, sockets, statistics, and what
 * the wires given have outside the runtime directory.
 *
 * @param options Where, how old it must be, and which wires to ask.
 */
export async function findStale(options: CleanOptions = {}): Promise<Stale[]> {
  const runtimeDir = options.runtimeDir ?? locateRuntimeDir();
  const files = deadInstances(runtimeDir, options.maxAgeMs).flatMap((instance) =>
    filesOf(runtimeDir, instance).map((what) => ({ what, instance }))
  );
  const others = await leftoversOf(options);
  return [
    ...files,
    ...others.map(({ wire, left: { what, bytes } }) => ({ what, bytes, wire })),
  ].sort((a, b) => a.what < b.what ? -1 : 1);
}

/**
 * Removes what dead processes have left: entries, locks, sockets, statistics; of the plugins given,
 * also what lies outside the runtime directory, such as segments of shared memory. Whatever its
 * age, nothing of a live bay is touched.
 *
 * @param options Where, how old it must be, and which wires to ask. The age is not asked of what
 *   lies outside: whoever has it is known to be dead.
 * @returns What was removed: paths.
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
  const removed: string[] = [];
  for (const instance of deadInstances(runtimeDir, options.maxAgeMs)) {
    removed.push(...await cleanAfter(runtimeDir, instance));
  }
  for (const { wire, left } of await leftoversOf(options)) {
    try {
      if (left.remove()) removed.push(left.what);
    } catch (error) {
      options.report?.(PatchbayError.fromThrown(error).with({ transport: wire }));
    }
  }
  return removed.sort();
}

/** The instances that have files and no process. */
function deadInstances(runtimeDir: string, maxAgeMs = 0): string[] {
  const youngestMs = maxAgeMs > 0 ? Date.now() - maxAgeMs : Infinity;
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
  return [...changedAtMs].flatMap(([instance, atMs]) =>
    atMs > youngestMs || isHeld(runtimeDir, instance) ? [] : [instance]
  );
}

async function leftoversOf(
  { plugins = [], report }: CleanOptions,
): Promise<{ wire: string; left: Leftover }[]> {
  const found: { wire: string; left: Leftover }[] = [];
  for (const plugin of plugins) {
    try {
      for (const left of await plugin.leftovers?.() ?? []) found.push({ wire: plugin.name, left });
    } catch (error) {
      report?.(PatchbayError.fromThrown(error).with({ transport: plugin.name }));
    }
  }
  return found;
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
