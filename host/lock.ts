/**
 * File locks: one held for the life of a bay, and one held for a short read-check-write.
 *
 * `flock` belongs to the open file description, so it dies with the process however that ends, and
 * two opens in one process exclude each other too. The owner's lock is exclusive; whoever only
 * wants to know takes a shared one for an instant, so that two who look do not see each other.
 *
 * The system calls here are synchronous on purpose: 1 to 7 µs each, where Deno's asynchronous ones
 * take 50 to 70 µs and give up the turn in the middle of a read-check-write.
 *
 * @module
 */

import { join } from "./path.ts";
import { PatchbayError } from "@patchbay/core";

/** The name of the lock that guards a folder. */
export const FOLDER_LOCK = ".directory.lock";

/** How long a lock that is meant to be short may keep others waiting, in milliseconds. */
const FOLDER_LOCK_TIMEOUT_MS = 10_000;

/** Opens a lock file for locking only; `undefined` if it is not there. */
export function openToLook(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function openToHold(path: string, mode: number): Deno.FsFile {
  try {
    return Deno.openSync(path, { read: true, write: true, create: true, mode });
  } catch (error) {
    // In a shared directory the file may be another user's; `flock` needs no right to write.
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    return Deno.openSync(path, { read: true });
  }
}

/**
 * Whether a path still names an open file. After a lock was taken it must be asked: the file may
 * have been unlinked, and made anew by somebody else, between the open and the lock.
 *
 * @param file The open file.
 * @param path The path it was opened by.
 */
export function isStillAt(file: Deno.FsFile, path: string): boolean {
  try {
    const there = Deno.lstatSync(path);
    const here = file.statSync();
    return there.ino === here.ino && there.dev === here.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** An exclusive lock on a file, held until it is released or the process ends. */
export class FileLock implements Disposable {
  /** The file. */
  readonly path: string;
  #file: Deno.FsFile | undefined;

  private constructor(path: string, file: Deno.FsFile) {
    this.path = path;
    this.#file = file;
  }

  /**
   * Takes the lock if it is free, creating the file.
   *
   * @param path The file.
   * @param mode Its mode if it is created.
   * @returns The lock; `"held"` by an owner; `"busy"`: somebody is just looking, try again.
   */
  static tryTake(path: string, mode: number): FileLock | "held" | "busy" {
    for (let attempt = 0; attempt < 100; attempt++) {
      const file = openToHold(path, mode);
      let kept = false;
      try {
        if (!file.tryLockSync(true)) return file.tryLockSync(false) ? "busy" : "held";
        kept = isStillAt(file, path);
        if (kept) return new FileLock(path, file);
      } finally {
        if (!kept) file.close();
      }
    }
    return "busy";
  }

  /**
   * Takes the lock, waiting out those who only look.
   *
   * @param path The file.
   * @param mode Its mode if it is created.
   * @returns The lock, or `undefined` if an owner holds it.
   */
  static async take(path: string, mode: number): Promise<FileLock | undefined> {
    for (let attempt = 0; attempt < 1000; attempt++) {
      const lock = FileLock.tryTake(path, mode);
      if (lock !== "busy") return lock === "held" ? undefined : lock;
      await pause();
    }
    return undefined;
  }

  /** Unlinks the file while the lock is held, then lets go. Whoever has it open notices. */
  remove(): void {
    if (this.#file === undefined) return;
    try {
      if (isStillAt(this.#file, this.path)) Deno.removeSync(this.path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Lets go; the file stays. Idempotent. */
  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** A few milliseconds, not the same for two who wait. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 3));
}

/**
 * Runs work while holding a folder's lock: nobody else who uses this function on the folder, in
 * this process or another, runs at the same time.
 *
 * The lock is tried again and again, not waited for in the kernel, so that a process which was
 * stopped while holding it costs the others an error, and not their lives.
 *
 * @param folder The folder.
 * @param mode The lock file's mode if it is created.
 * @param work What to do; keep it short.
 * @throws {PatchbayError} `unavailable`, retryable: somebody has held the lock for ten seconds.
 */
export async function withFolderLock<T>(
  folder: string,
  mode: number,
  work: () => T | Promise<T>,
): Promise<T> {
  const path = join(folder, FOLDER_LOCK);
  const deadline = performance.now() + FOLDER_LOCK_TIMEOUT_MS;
  for (;;) {
    const lock = FileLock.tryTake(path, mode);
    if (lock instanceof FileLock) {
      using _ = lock;
      return await work();
    }
    if (performance.now() > deadline) {
      throw new PatchbayError("unavailable", `the lock ${path} has been held for ten seconds`, {
        remedy: `look for a stopped process: fuser ${path}`,
      });
    }
    await pause();
  }
}
