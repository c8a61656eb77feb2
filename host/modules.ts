/**
 * Looks into a runtime directory from outside: who lives, and what they count.
 *
 * @module
 */

import type { DirectoryEntry, StatisticsSnapshot } from "@patchbay/core";
import { cleanAfter, FolderView } from "./folder_view.ts";
import { locateRuntimeDir } from "./runtime_dir.ts";
import { readStatistics } from "./statistics_file.ts";

/**
 * The live bays of a runtime directory, sorted by instance. What the dead have left is removed on
 * the way, where that is allowed. A directory that does not exist is empty.
 *
 * @param runtimeDir The runtime directory. Default: the one that bays use by default.
 * @param options With `clean: false` it only looks.
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
  { clean = true }: { clean?: boolean } = {},
): Promise<readonly DirectoryEntry[]> {
  using view = new FolderView(runtimeDir);
  const { dead } = view.look();
  const { entries } = view;
  if (!clean) return entries;
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
