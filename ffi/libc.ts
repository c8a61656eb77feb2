/**
 * The C library of this machine, opened on demand: process ids, liveness of processes, `errno`, and the
 * raw functions behind the safe classes.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { type Calls, FFI_REMEDY, openCalls, type Opened } from "./system.ts";

/** Whether the C library can be used: what was found, or why not and what to do about it. */
export type LibcAvailability =
  | { available: true; detail: string }
  | { available: false; reason: string; remedy: string };

/**
 * Says whether {@link openLibc} will work. Never throws, never asks for a permission, and leaves
 * nothing open.
 *
 * @example
 * ```ts
 * import { libcAvailability } from "@patchbay/ffi";
 *
 * const libc = libcAvailability();
 * console.log(libc.available ? libc.detail : `${libc.reason}: ${libc.remedy}`);
 * ```
 */
export function libcAvailability(): LibcAvailability {
  try {
    const opened = openCalls();
    opened.close();
    const { library, version } = opened;
    return { available: true, detail: version === "" ? library : `${library} (${version})` };
  } catch (error) {
    const { message, remedy } = error as PatchbayError;
    return { available: false, reason: message, remedy: remedy ?? FFI_REMEDY };
  }
}

/**
 * An open C library. Dispose of it when done; a second disposal does nothing, and any other use
 * after the first throws `closed`.
 *
 * It belongs to the thread that opened it: `errno` is a variable of the thread.
 *
 * @example
 * ```ts
 * import { openLibc } from "@patchbay/ffi";
 *
 * using libc = openLibc();
 * if (libc.getpid() !== Deno.pid) throw new Error("unexpected");
 * if (!libc.processAlive(Deno.pid)) throw new Error("unexpected");
 * ```
 */
export class Libc implements Disposable {
  /** What was opened, such as `libc.so.6`. */
  readonly library: string;
  readonly #opened: Opened;
  #closed = false;

  /** @ignore */
  constructor(opened: Opened) {
    this.library = opened.library;
    this.#opened = opened;
  }

  /**
   * The raw C functions, for what the safe classes do not cover.
   *
   * @throws PatchbayError `closed` after disposal.
   */
  get calls(): Calls {
    if (this.#closed) throw new PatchbayError("closed", `${this.library} was closed`);
    return this.#opened.calls;
  }

  /** The id of this process. */
  getpid(): number {
    return this.calls.posix.getpid();
  }

  /** The real user id of this process. */
  getuid(): number {
    return this.calls.posix.getuid();
  }

  /**
   * The thread's `errno`: why the last call failed. Right only directly after a synchronous call
   * that said it failed; after a `nonblocking` one it is another thread's.
   */
  errno(): number {
    return this.calls.errno();
  }

  /**
   * Gives the rest of this time slice to another thread or process that is ready to run
   * (`sched_yield`). Between polls of shared memory it is what lets a peer on the same core answer.
   */
  schedYield(): void {
    this.calls.posix.sched_yield();
  }

  /**
   * Whether a process with this id exists (`kill(pid, 0)`), also one of another user.
   *
   * A process that has ended but whose parent has not asked for its exit code yet (a zombie) counts
   * as alive, and an id may have been given to a new process since: where it matters who it is, hold
   * a lock that dies with the process.
   *
   * @param pid A process id, 1 or higher.
   * @throws PatchbayError `invalid` for anything else: 0 and negative numbers mean groups to C.
   */
  processAlive(pid: number): boolean {
    if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff) {
      throw new PatchbayError("invalid", `${pid} is no process id: it must be an integer from 1`);
    }
    const { posix, errno: readErrno } = this.calls;
    if (posix.kill(pid, 0) === 0) return true;
    const errno = readErrno();
    switch (errnoName(errno)) {
      case "ESRCH":
        return false;
      case "EPERM":
        return true; // It exists, and belongs to somebody else.
      default:
        throw errnoError("kill", errno, `process ${pid}`);
    }
  }

  /** Closes the library. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opened.close();
  }
}

/**
 * Opens the C library. Nothing is opened before this is called, and importing this package needs
 * no permission.
 *
 * @throws PatchbayError `unavailable` without `--allow-ffi`, on an unsupported system, or when no C
 * library is found; its `remedy` says what to do.
 */
export function openLibc(): Libc {
  return new Libc(openCalls());
}

/** What everything that is opened here takes. */
export interface LibcOptions {
  /**
   * A library that is open already, to be shared by many objects: opening one takes some
   * milliseconds. It must stay open longer than they do. Default: one of its own.
   */
  libc?: Libc;
}

/** The library that was given, or one to be closed by who asks. */
export function libcOrOwn(given: Libc | undefined): { libc: Libc; own: boolean } {
  return given === undefined ? { libc: openLibc(), own: true } : { libc: given, own: false };
}
