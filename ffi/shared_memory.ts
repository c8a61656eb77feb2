/**
 * A named segment of memory that processes of one user on one host share.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { type Libc, type LibcOptions, libcOrOwn } from "./libc.ts";
import { objectName } from "./names.ts";
import {
  createLocked,
  ifOrphaned,
  type OrphanedSegment,
  segmentNames,
  statOf,
  unlinkName,
} from "./segment_owner.ts";
import type { Calls } from "./system.ts";

const PROT_READ_WRITE = 3; // PROT_READ | PROT_WRITE
const MAP_SHARED = 1;
const OTHERS = 0o077;
/** How a segment is opened. */
export interface SharedMemoryOpenOptions extends LibcOptions {
  /** How large it must be, in bytes. Default: any size. */
  bytes?: number;
}

/** Gives the segment its size, with memory behind every byte of it. */
function allocate(calls: Calls, fd: number, bytes: number, what: string): void {
  if (calls.posix_fallocate === undefined) {
    // macOS: it has no such call, and takes ftruncate once in a segment's life.
    if (calls.posix.ftruncate(fd, BigInt(bytes)) === 0) return;
    throw errnoError("ftruncate", calls.errno(), what);
  }
  // ftruncate alone would leave holes, and a full /dev/shm would be a SIGBUS at the first write.
  for (;;) {
    const errno = calls.posix_fallocate(fd, 0n, BigInt(bytes));
    if (errno === 0) return;
    if (errnoName(errno) === "EINTR") continue;
    throw errnoError("posix_fallocate", errno, `${bytes} bytes for ${what}`);
  }
}

/**
 * A segment of shared memory, mapped into this process.
 *
 * - It belongs to one user: created with mode 0600, and opened only if this process's user owns it
 *   and nobody else may use it.
 * - Its memory is taken from the system when it is created; a full `/dev/shm` is an error then, and
 *   no signal later. It never changes its size.
 * - Its name stays until {@link unlink}, whatever becomes of the processes. What is mapped stays
 *   mapped after that. Its creator holds a lock on it, which dies with it: {@link reclaim} removes
 *   what the dead have left.
 * - Disposing unmaps it and detaches {@link buffer}: every view made from it has length 0 from then
 *   on, and {@link buffer} throws `closed`.
 *
 * The buffer is an `ArrayBuffer`: `Atomics.load`, `store`, `add`, `exchange` and `compareExchange`
 * work on it between processes; `Atomics.wait` does not. Do not transfer it to a worker: let the
 * worker open the segment by its name.
 *
 * @example
 * ```ts
 * import { SharedMemory } from "@patchbay/ffi";
 *
 * const name = `/example-${Deno.pid}`;
 * using mine = SharedMemory.create(name, 4096);
 * using theirs = SharedMemory.open(name); // in another process, usually
 * mine.unlink(); // both have it: nothing is left behind, even if both are killed
 *
 * Atomics.add(new Int32Array(mine.buffer), 0, 42);
 * if (Atomics.load(new Int32Array(theirs.buffer), 0) !== 42) throw new Error("not shared");
 * ```
 */
export class SharedMemory implements Disposable {
  /** Its name, with the slash. */
  readonly name: string;
  /** Its size in bytes. */
  readonly bytes: number;
  readonly #libc: Libc;
  readonly #ownsLibc: boolean;
  readonly #fd: number;
  readonly #pointer: Deno.PointerObject;
  readonly #buffer: ArrayBuffer;
  #disposed = false;
  #linked = true;
  #holds = 0;

  private constructor(name: string, bytes: number, fd: number, libc: Libc, ownsLibc: boolean) {
    const { calls } = libc;
    const what = `shared memory ${name}`;
    const pointer = calls.posix.mmap(null, BigInt(bytes), PROT_READ_WRITE, MAP_SHARED, fd, 0n);
    // MAP_FAILED is (void *) -1.
    if (pointer === null || Deno.UnsafePointer.value(pointer) === 0xffff_ffff_ffff_ffffn) {
      throw errnoError("mmap", calls.errno(), what);
    }
    try {
      this.#buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, bytes);
    } catch (cause) {
      calls.posix.munmap(pointer, BigInt(bytes));
      throw new PatchbayError("too_large", `${what} has ${bytes} bytes, more than a buffer takes`, {
        details: { size: bytes },
        cause,
      });
    }
    this.name = name;
    this.bytes = bytes;
    this.#fd = fd;
    this.#pointer = pointer;
    this.#libc = libc;
    this.#ownsLibc = ownsLibc;
  }

  /**
   * Creates a segment, filled with zeros.
   *
   * @param name A slash and then anything but slashes; 31 bytes are taken everywhere.
   * @param bytes Its size.
   * @param options How.
   * @throws PatchbayError `invalid` for a bad name or size, `unavailable` if the name is taken, if
   * there is not enough memory (`details.name` is `ENOSPC`), or without `--allow-ffi`.
   */
  static create(name: string, bytes: number, options: LibcOptions = {}): SharedMemory {
    if (!Number.isSafeInteger(bytes) || bytes < 1) {
      throw new PatchbayError("invalid", `${bytes} is no size for shared memory ${name}`, {
        remedy: "pass a whole number of bytes, 1 or more",
      });
    }
    return SharedMemory.#map(name, options, (calls, cName, what) => {
      const fd = createLocked(calls, cName, what);
      try {
        allocate(calls, fd, bytes, what);
      } catch (error) {
        calls.posix.shm_unlink(cName);
        calls.posix.close(fd);
        throw error;
      }
      return { fd, bytes };
    }, true);
  }

  /**
   * Opens a segment that another process has created.
   *
   * @param name Its name.
   * @param options How, and how large it must be.
   * @throws PatchbayError `not_found` if there is none, `forbidden` if it belongs to another user
   * or others may use it, `protocol` if its size is another, `unavailable` (retryable) while it is
   * being created, or if its creator has not taken the memory for it and there is not enough.
   */
  static open(name: string, options: SharedMemoryOpenOptions = {}): SharedMemory {
    return SharedMemory.#map(name, options, (calls, cName, what) => {
      const fd = calls.shm_open(cName, calls.system.O_RDWR, 0);
      if (fd < 0) throw errnoError("shm_open", calls.errno(), what);
      try {
        const { uid, mode, size } = statOf(calls, fd, what);
        const user = calls.posix.geteuid();
        if (uid !== user) {
          throw new PatchbayError(
            "forbidden",
            `${what} belongs to user ${uid}, and this process runs as ${user}`,
            { details: { owner: uid, user }, remedy: "run both processes as one user" },
          );
        }
        if ((mode & OTHERS) !== 0) {
          const found = (mode & 0o777).toString(8);
          throw new PatchbayError("forbidden", `${what} is open to other users (mode ${found})`, {
            details: { mode: mode & 0o777 },
            remedy: "remove it and let Patchbay create it, with mode 600",
          });
        }
        if (size === 0) {
          throw new PatchbayError("unavailable", `${what} has no size yet: it is being created`, {
            retryable: true,
            remedy: "try again; if it stays so, its creator died: remove it",
          });
        }
        if (options.bytes !== undefined && size !== options.bytes) {
          throw new PatchbayError(
            "protocol",
            `${what} has ${size} bytes, and ${options.bytes} were expected`,
            { details: { size, expected: options.bytes } },
          );
        }
        // Whoever made it may have left holes, which would be a SIGBUS when the memory runs out.
        if (calls.posix_fallocate !== undefined) allocate(calls, fd, size, what);
        return { fd, bytes: size };
      } catch (error) {
        calls.posix.close(fd);
        throw error;
      }
    }, false);
  }

  /**
   * Removes the name of a segment, for instance of one whose processes have all died.
   *
   * @param name Its name.
   * @param options How.
   * @returns Whether there was one.
   * @throws PatchbayError `forbidden` if it belongs to another user.
   */
  static unlink(name: string, options: LibcOptions = {}): boolean {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      return unlinkName(libc.calls, name);
    } finally {
      if (own) libc[Symbol.dispose]();
    }
  }

  /**
   * The segments whose creator is dead, or has let go of them, and whose name is still there.
   *
   * Other users' are left out. Linux only.
   *
   * @param prefix What their names begin with, with the slash.
   * @param options How.
   * @throws PatchbayError `unavailable` where segments cannot be listed, or without `--allow-ffi`.
   *
   * @example
   * ```ts
   * import { libcAvailability, SharedMemory } from "@patchbay/ffi";
   *
   * if (libcAvailability().available && Deno.build.os === "linux") {
   *   const name = `/example-${Deno.pid}`;
   *   using mine = SharedMemory.create(name, 4096);
   *   if (SharedMemory.orphans(name).length !== 0) throw new Error("its creator lives");
   *   mine[Symbol.dispose](); // as if its process had been killed
   *   const [{ bytes }] = SharedMemory.orphans(name);
   *   if (bytes !== 4096 || !SharedMemory.reclaim(name)) throw new Error("it was left");
   * }
   * ```
   */
  static orphans(prefix: string, options: LibcOptions = {}): OrphanedSegment[] {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      return segmentNames(calls, prefix).flatMap((name) => {
        const bytes = ifOrphaned(calls, name, (fd, what) => statOf(calls, fd, what).size);
        return bytes === undefined ? [] : [{ name, bytes }];
      });
    } finally {
      if (own) libc[Symbol.dispose]();
    }
  }

  /**
   * Removes the name of a segment if its creator is dead or has let go of it. One whose creator has
   * it, or that is another user's, stays. Whoever has mapped it keeps it.
   *
   * @param name Its name.
   * @param options How.
   * @returns Whether it was removed.
   * @throws PatchbayError `unavailable` on macOS, where that cannot be known, or without
   * `--allow-ffi`.
   */
  static reclaim(name: string, options: LibcOptions = {}): boolean {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      return ifOrphaned(calls, name, () => unlinkName(calls, name)) ?? false;
    } finally {
      if (own) libc[Symbol.dispose]();
    }
  }

  static #map(
    name: string,
    options: LibcOptions,
    openFile: (
      calls: Calls,
      cName: Uint8Array<ArrayBuffer>,
      what: string,
    ) => { fd: number; bytes: number },
    created: boolean,
  ): SharedMemory {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      const cName = objectName("shared memory segment", name, calls.system.maxSharedMemoryName);
      const { fd, bytes } = openFile(calls, cName, `shared memory ${name}`);
      try {
        return new SharedMemory(name, bytes, fd, libc, own);
      } catch (error) {
        if (created) calls.posix.shm_unlink(cName);
        calls.posix.close(fd);
        throw error;
      }
    } catch (error) {
      if (own) libc[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * The memory.
   *
   * @throws PatchbayError `closed` after disposal.
   */
  get buffer(): ArrayBuffer {
    this.#check();
    return this.#buffer;
  }

  /** Whether it was disposed of. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Removes its name: nobody can open it any more; who has it keeps it. Idempotent.
   *
   * @throws PatchbayError `closed` after disposal; use the static `SharedMemory.unlink` then.
   */
  unlink(): void {
    this.#check();
    if (!this.#linked) return;
    unlinkName(this.#libc.calls, this.name);
    this.#linked = false;
  }

  /** Unmaps it. Its name stays. A second disposal does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // Detaching leaves every view with length 0; reading one after munmap would end the process.
    if (!this.#buffer.detached) this.#buffer.transfer(0);
    if (this.#holds === 0) this.#unmap();
  }

  /**
   * An address inside it, for C.
   *
   * @ignore
   */
  pointerAt(offset: number): Deno.PointerObject {
    this.#check();
    return Deno.UnsafePointer.offset(this.#pointer, offset)!;
  }

  /**
   * The library and the open file of this segment, for what else the kernel can do with them.
   *
   * @ignore
   */
  get file(): { libc: Libc; fd: number } {
    this.#check();
    return { libc: this.#libc, fd: this.#fd };
  }

  /**
   * Keeps it mapped past its disposal until the returned function is called: C on another thread
   * has an address inside it.
   *
   * @ignore
   */
  hold(): () => void {
    this.#check();
    this.#holds++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#holds === 0 && this.#disposed) this.#unmap();
    };
  }

  #unmap(): void {
    const { posix } = this.#libc.calls;
    posix.munmap(this.#pointer, BigInt(this.bytes));
    posix.close(this.#fd);
    if (this.#ownsLibc) this.#libc[Symbol.dispose]();
  }

  #check(): void {
    if (this.#disposed) {
      throw new PatchbayError("closed", `shared memory ${this.name} was disposed of`);
    }
  }
}
