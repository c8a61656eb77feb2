/**
 * A lock on a file that the kernel releases when its holder ends, however it ends.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { type Libc, type LibcOptions, libcOrOwn } from "./libc.ts";
import { cString } from "./names.ts";
import { pause } from "./pause.ts";

// sys/file.h, the same on Linux and macOS.
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const OWNER_ONLY = 0o600;

const SHORTEST_POLL_MS = 1;
const LONGEST_POLL_MS = 20;

/** How to wait for a lock. */
export interface FileLockWaitOptions {
  /** How long at most, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** Ends the wait with its own reason. */
  signal?: AbortSignal;
}

/**
 * An exclusive lock on a whole file (`flock`), between processes and between objects of one
 * process. It dies with its process, also on SIGKILL, and no other process can take it for held
 * after that: there is no process id that could be given to somebody else.
 *
 * The file is created if it is not there (mode 0600) and never removed here: removing a file that
 * others lock by its path gives two of them the lock. `Deno.FsFile.tryLock` takes the same lock;
 * this one works where `--allow-ffi` is granted and the path is not.
 *
 * @example
 * ```ts
 * import { FileLock } from "@patchbay/ffi";
 *
 * const path = await Deno.makeTempFile();
 * using mine = FileLock.open(path);
 * using theirs = FileLock.open(path); // in another process, usually
 *
 * if (!mine.tryLock() || theirs.tryLock()) throw new Error("it is exclusive");
 * mine.unlock();
 * await theirs.lock({ timeoutMs: 1000 });
 * await Deno.remove(path);
 * ```
 */
export class FileLock implements Disposable {
  /** The file. */
  readonly path: string;
  readonly #libc: Libc;
  readonly #ownsLibc: boolean;
  readonly #fd: number;
  #held = false;
  #disposed = false;

  private constructor(path: string, fd: number, libc: Libc, ownsLibc: boolean) {
    this.path = path;
    this.#fd = fd;
    this.#libc = libc;
    this.#ownsLibc = ownsLibc;
  }

  /**
   * Opens the file; nothing is locked by that.
   *
   * @param path The file. A symbolic link is refused.
   * @param options How.
   * @throws PatchbayError `invalid` for a path with a zero byte or a symbolic link, `forbidden`,
   * `not_found` if its folder is missing, `unavailable` without `--allow-ffi`.
   */
  static open(path: string, options: LibcOptions = {}): FileLock {
    if (path === "" || path.includes("\0")) {
      throw new PatchbayError("invalid", `${JSON.stringify(path)} is no path for a lock file`);
    }
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      const { O_RDWR, O_CREAT, O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK } = calls.system;
      // O_NONBLOCK: a FIFO put there would stop the process.
      const flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
      const fd = calls.open(cString(path), flags, OWNER_ONLY);
      if (fd < 0) throw errnoError("open", calls.errno(), `lock file ${path}`);
      return new FileLock(path, fd, libc, own);
    } catch (error) {
      if (own) libc[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether this object holds the lock. */
  get held(): boolean {
    return this.#held;
  }

  /**
   * Takes the lock if it is free.
   *
   * @returns Whether this object holds it now.
   * @throws PatchbayError `closed` after disposal.
   */
  tryLock(): boolean {
    this.#check();
    if (this.#held) return true;
    const { calls } = this.#libc;
    if (calls.posix.flock(this.#fd, LOCK_EX | LOCK_NB) === 0) return this.#held = true;
    const errno = calls.errno();
    const name = errnoName(errno);
    if (name === "EAGAIN" || name === "EINTR") return false;
    throw errnoError("flock", errno, `lock file ${this.path}`);
  }

  /**
   * Takes the lock, as soon as it is free. It looks every 1 to 20 ms: the kernel's own wait could
   * not be ended.
   *
   * @param options How long, and what ends it.
   * @throws PatchbayError `deadline_exceeded` after `timeoutMs`, `closed` if it is disposed of.
   */
  async lock(options: FileLockWaitOptions = {}): Promise<void> {
    const { timeoutMs = Infinity, signal } = options;
    const untilMs = performance.now() + timeoutMs;
    signal?.throwIfAborted();
    for (let pollMs = SHORTEST_POLL_MS; !this.tryLock();) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) {
        throw new PatchbayError(
          "deadline_exceeded",
          `lock file ${this.path} was not free within ${timeoutMs} ms`,
        );
      }
      await pause(Math.min(pollMs, leftMs), signal);
      pollMs = Math.min(pollMs * 2, LONGEST_POLL_MS);
    }
  }

  /**
   * Releases the lock; harmless if it is not held.
   *
   * @throws PatchbayError `closed` after disposal.
   */
  unlock(): void {
    this.#check();
    if (!this.#held) return;
    const { calls } = this.#libc;
    if (calls.posix.flock(this.#fd, LOCK_UN) !== 0) {
      throw errnoError("flock", calls.errno(), `lock file ${this.path}`);
    }
    this.#held = false;
  }

  /** Releases the lock and closes the file. A second disposal does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#held = false;
    this.#libc.calls.posix.close(this.#fd);
    if (this.#ownsLibc) this.#libc[Symbol.dispose]();
  }

  #check(): void {
    if (this.#disposed) throw new PatchbayError("closed", `lock file ${this.path} was disposed of`);
  }
}
