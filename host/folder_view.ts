/**
 * The live entries of a runtime directory, as last looked at, and the clean-up after the dead.
 *
 * @module
 */

import { join } from "./path.ts";
import { type DirectoryEntry, PatchbayError } from "@patchbay/core";
import {
  entryPath,
  fileMode,
  instanceOfFile,
  instanceOfLife,
  lockPath,
  readEntry,
  statisticsPath,
} from "./entry.ts";
import { FileLock, isStillAt, openToLook, withFolderLock } from "./lock.ts";

/** What is kept of one instance between two looks. */
interface Seen {
  /** Modification time, size and inode of the entry that was read. */
  version: string;
  /** The entry; `undefined` if the file is malformed. */
  entry: DirectoryEntry | undefined;
  /** Kept open, so that looking makes no file event; the lock is tried on it at every look. */
  lock: Deno.FsFile | undefined;
}

/** What a look found. */
export interface Look {
  /** Whether the live entries differ from those of the look before. */
  readonly changed: boolean;
  /** Instances whose process is dead and whose files are still there. */
  readonly dead: readonly string[];
}

/** A view of a runtime directory. Reads an entry again only if its file has changed. */
export class FolderView implements Disposable {
  /** The live entries, by instance name. */
  entries: readonly DirectoryEntry[] = [];
  readonly #folder: string;
  readonly #own: string | undefined;
  readonly #report: (error: PatchbayError) => void;
  readonly #seen = new Map<string, Seen>();

  /**
   * @param folder The runtime directory.
   * @param own The instance to leave out.
   * @param report Told about malformed entries, once for each version of the file.
   */
  constructor(folder: string, own?: string, report: (error: PatchbayError) => void = () => {}) {
    this.#folder = folder;
    this.#own = own;
    this.#report = report;
  }

  /** Looks now. A missing directory is an empty one. */
  look(): Look {
    const dead: string[] = [];
    const present = new Set<string>();
    let changed = false;
    for (const instance of this.#instances()) {
      present.add(instance);
      const seen: Seen = this.#seen.get(instance) ??
        { version: "", entry: undefined, lock: undefined };
      if (!this.#isLive(instance, seen)) {
        dead.push(instance);
        changed = this.#forget(instance) || changed;
        continue;
      }
      this.#seen.set(instance, seen);
      changed = this.#read(instance, seen) || changed;
    }
    for (const instance of [...this.#seen.keys()]) {
      if (!present.has(instance)) changed = this.#forget(instance) || changed;
    }
    if (changed) {
      this.entries = [...this.#seen.keys()].sort().flatMap((instance) =>
        this.#seen.get(instance)?.entry ?? []
      );
    }
    return { changed, dead };
  }

  /** Closes what looking keeps open. */
  [Symbol.dispose](): void {
    for (const instance of [...this.#seen.keys()]) this.#forget(instance);
    this.entries = [];
  }

  #instances(): Iterable<string> {
    const found = new Set<string>();
    try {
      for (const file of Deno.readDirSync(this.#folder)) {
        const instance = instanceOfLife(file.name);
        if (instance !== undefined && instance !== this.#own) found.add(instance);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return found;
  }

  #isLive(instance: string, seen: Seen): boolean {
    const path = lockPath(this.#folder, instance);
    if (seen.lock !== undefined && !isStillAt(seen.lock, path)) {
      seen.lock.close();
      seen.lock = undefined;
    }
    try {
      seen.lock ??= openToLook(path);
    } catch (error) {
      // Another user's, in a shared directory: it cannot be asked, so it is left alone.
      if (error instanceof Deno.errors.PermissionDenied) return true;
      throw error;
    }
    if (seen.lock === undefined) return false;
    if (!seen.lock.tryLockSync(false)) return true;
    // Nobody holds it. Closing lets go of the shared lock that was just taken.
    seen.lock.close();
    seen.lock = undefined;
    return false;
  }

  /** Reads an entry if its file has changed; answers whether the entries have. */
  #read(instance: string, seen: Seen): boolean {
    let version: string;
    try {
      const info = Deno.lstatSync(entryPath(this.#folder, instance));
      version = `${info.mtime?.getTime()}/${info.size}/${info.ino}`;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return this.#forget(instance);
      throw error;
    }
    if (version === seen.version) return false;
    const result = readEntry(this.#folder, instance);
    if (result === undefined) return this.#forget(instance);
    seen.version = version;
    const before = seen.entry;
    if (typeof result === "string") {
      seen.entry = undefined;
      const path = entryPath(this.#folder, instance);
      this.#report(
        new PatchbayError("invalid", `the directory entry ${path} is ignored: ${result}`, {
          details: { path },
          remedy: "stop the process that holds its lock; it may run another version of Patchbay",
        }),
      );
      return before !== undefined;
    }
    seen.entry = result;
    return true;
  }

  /** Answers whether an entry went with it. */
  #forget(instance: string): boolean {
    const seen = this.#seen.get(instance);
    seen?.lock?.close();
    this.#seen.delete(instance);
    return seen?.entry !== undefined;
  }
}

/** Removes a file; answers whether it was there and could be removed. */
function removeFile(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    // Another user's file in a shared directory with the sticky bit.
    if (error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/**
 * Every file of an instance but its lock that is there now.
 *
 * Only names that derive from the instance are listed, whatever its entry says, so that a forged
 * entry cannot make anybody delete the socket of another.
 */
function ownFilesOf(folder: string, instance: string): string[] {
  const paths: string[] = [];
  for (const file of Deno.readDirSync(folder)) {
    if (instanceOfFile(file.name) !== instance || file.isDirectory) continue;
    const path = join(folder, file.name);
    if (path !== lockPath(folder, instance)) paths.push(path);
  }
  const statistics = statisticsPath(folder, instance);
  return [...paths, ...[statistics, `${statistics}.tmp`].filter(isThere)];
}

/** Every file of an instance that is there now. */
export function filesOf(folder: string, instance: string): string[] {
  const lock = lockPath(folder, instance);
  return [...ownFilesOf(folder, instance), ...isThere(lock) ? [lock] : []];
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Removes every file of an instance but its lock. The caller holds the instance's lock.
 *
 * @param folder The runtime directory.
 * @param instance The instance.
 * @returns The paths that were removed.
 */
export function removeFilesOf(folder: string, instance: string): string[] {
  return ownFilesOf(folder, instance).filter(removeFile);
}

/**
 * Removes what a dead process has left, under the folder's lock, after asking once more whether it
 * is dead: its entry, sockets, statistics, and last its lock.
 *
 * @param folder The runtime directory.
 * @param instance The instance.
 * @returns The paths that were removed; none if somebody lives under that name.
 */
export async function cleanAfter(folder: string, instance: string): Promise<string[]> {
  const path = lockPath(folder, instance);
  const mode = fileMode(folder, true);
  return await withFolderLock(folder, mode, async () => {
    const lock = await FileLock.take(path, mode);
    if (lock === undefined) return [];
    try {
      return [...removeFilesOf(folder, instance), path];
    } finally {
      lock.remove();
    }
  });
}
