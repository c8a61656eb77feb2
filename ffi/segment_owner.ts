/**
 * Whose a segment is: the lock that its creator holds on it, and what is left when it has died.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { cString, objectName } from "./names.ts";
import type { Calls } from "./system.ts";

const OWNER_ONLY = 0o600;
// sys/file.h, the same on Linux and macOS.
const LOCK_EX = 2;
const LOCK_NB = 4;
/** How often to ask for the lock of a new segment: who looks at it holds it for microseconds. */
const QUICK_TRIES = 100;
/** How often after that, a millisecond apart: who looks may have lost the core meanwhile. */
const SLOW_TRIES = 50;
/** How often to make a segment anew whose name was taken for one of the dead. */
const CREATE_TRIES = 100;
/** Where Linux keeps segments: glibc and musl know no other place (shm_overview(7)). */
const SEGMENTS_FOLDER = "/dev/shm";

/** What the kernel knows of an open file. */
export function statOf(calls: Calls, fd: number, what: string) {
  const { stat } = calls.system;
  const buffer = new Uint8Array(stat.bytes);
  if (calls.fstat(fd, buffer) !== 0) throw errnoError("fstat", calls.errno(), what);
  const view = new DataView(buffer.buffer);
  return {
    mode: stat.modeBytes === 2 ? view.getUint16(stat.mode, true) : view.getUint32(stat.mode, true),
    links: stat.linksBytes === 8
      ? Number(view.getBigUint64(stat.links, true))
      : stat.linksBytes === 4
      ? view.getUint32(stat.links, true)
      : view.getUint16(stat.links, true),
    uid: view.getUint32(stat.uid, true),
    size: Number(view.getBigInt64(stat.size, true)),
  };
}

/**
 * Marks a new segment as somebody's: the kernel drops the lock with the process, however it ends.
 *
 * @returns Whether it is marked, and still has its name: between its making and the lock it looked
 * like one whose creator is dead.
 */
function lockNew(calls: Calls, fd: number, what: string): boolean {
  // macOS has no locks on segments: there nobody can tell whose creator is dead.
  if (calls.system.F_OFD_SETLK === undefined) return true;
  for (let tries = 0; calls.posix.flock(fd, LOCK_EX | LOCK_NB) !== 0; tries++) {
    const errno = calls.errno();
    const name = errnoName(errno);
    if (name !== "EAGAIN" && name !== "EINTR") throw errnoError("flock", errno, what);
    if (tries < QUICK_TRIES) calls.posix.sched_yield();
    else if (tries < QUICK_TRIES + SLOW_TRIES) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    } else return false; // Who looks was stopped while it looked: another segment, then.
  }
  return statOf(calls, fd, what).links > 0;
}

/**
 * A segment must be its user's alone from the first moment. Where a variadic argument does not
 * arrive (Apple silicon passes them otherwise), the mode is whatever lay there.
 */
function checkMode(calls: Calls, fd: number, what: string): void {
  const mode = statOf(calls, fd, what).mode & 0o777;
  if ((mode & ~OWNER_ONLY) === 0) return;
  throw new PatchbayError(
    "unavailable",
    `${what} was made with mode ${mode.toString(8)}, not 600`,
    {
      retryable: false,
      remedy: "use a wire that needs no FFI, such as uds, and report this message as a defect",
    },
  );
}

/** Makes a segment that nobody has, and marks it as this process's. */
export function createLocked(calls: Calls, cName: Uint8Array<ArrayBuffer>, what: string): number {
  const { O_RDWR, O_CREAT, O_EXCL } = calls.system;
  for (let tries = 0; tries < CREATE_TRIES; tries++) {
    const fd = calls.shm_open(cName, O_RDWR | O_CREAT | O_EXCL, OWNER_ONLY);
    if (fd < 0) throw errnoError("shm_open", calls.errno(), what);
    let kept = false;
    try {
      checkMode(calls, fd, what);
      kept = lockNew(calls, fd, what);
      // Taken for an orphan it has no name any more; else it would be one, without its lock.
      if (!kept && statOf(calls, fd, what).links > 0) calls.posix.shm_unlink(cName);
    } catch (error) {
      calls.posix.shm_unlink(cName);
      throw error;
    } finally {
      if (!kept) calls.posix.close(fd);
    }
    if (kept) return fd;
  }
  throw new PatchbayError("unavailable", `${what}: others remove it whenever it is made`, {
    remedy: "look for a program that removes segments of live processes",
  });
}

/** A segment whose creator no longer has it. */
export interface OrphanedSegment {
  /** Its name, with the slash. */
  readonly name: string;
  /** Its size in bytes; 0 if its creator died before it had one. */
  readonly bytes: number;
}

/** Removes a name; answers whether it was there. */
export function unlinkName(calls: Calls, name: string): boolean {
  const cName = objectName("shared memory segment", name, calls.system.maxSharedMemoryName);
  if (calls.posix.shm_unlink(cName) === 0) return true;
  const errno = calls.errno();
  if (errnoName(errno) === "ENOENT") return false;
  throw errnoError("shm_unlink", errno, `shared memory ${name}`);
}

/** The names of all segments that begin so. */
export function segmentNames(calls: Calls, prefix: string): string[] {
  const { opendir, readdir, closedir, system } = calls;
  if (opendir === undefined || readdir === undefined || closedir === undefined) {
    throw notKnown("listed");
  }
  const folder = opendir(cString(SEGMENTS_FOLDER));
  if (folder === null) throw errnoError("opendir", calls.errno(), SEGMENTS_FOLDER);
  const names: string[] = [];
  try {
    for (let entry = readdir(folder); entry !== null; entry = readdir(folder)) {
      const name = `/${new Deno.UnsafePointerView(entry).getCString(system.direntName)}`;
      if (name.startsWith(prefix)) names.push(name);
    }
  } finally {
    closedir(folder);
  }
  return names.sort();
}

function notKnown(what: string): PatchbayError {
  return new PatchbayError("unavailable", `this system's segments cannot be ${what}`, {
    retryable: false,
    remedy: "remove what is left by its name: SharedMemory.unlink(name)",
  });
}

/**
 * Does something with a segment while nobody can become its owner, if nobody is. `undefined` if
 * somebody is, if it is another user's, or if it is not there.
 */
export function ifOrphaned<T>(
  calls: Calls,
  name: string,
  use: (fd: number, what: string) => T,
): T | undefined {
  if (calls.system.F_OFD_SETLK === undefined) throw notKnown("asked for their owner");
  const what = `shared memory ${name}`;
  const cName = objectName("shared memory segment", name, calls.system.maxSharedMemoryName);
  const fd = calls.shm_open(cName, calls.system.O_RDWR, 0);
  if (fd < 0) {
    const errno = calls.errno();
    if (["ENOENT", "EACCES", "EPERM"].includes(errnoName(errno))) return undefined;
    throw errnoError("shm_open", errno, what);
  }
  try {
    if (statOf(calls, fd, what).uid !== calls.posix.geteuid()) return undefined;
    if (calls.posix.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      const errno = calls.errno();
      if (["EAGAIN", "EINTR"].includes(errnoName(errno))) return undefined;
      throw errnoError("flock", errno, what);
    }
    // Removed meanwhile: the name may be another segment's by now.
    if (statOf(calls, fd, what).links === 0) return undefined;
    return use(fd, what);
  } finally {
    calls.posix.close(fd);
  }
}
