/**
 * POSIX semaphores, named or inside shared memory, that can be awaited.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { type Libc, type LibcOptions, libcOrOwn } from "./libc.ts";
import { objectName } from "./names.ts";
import type { SharedMemory } from "./shared_memory.ts";
import type { Calls } from "./system.ts";

const OWNER_ONLY = 0o600;
const SEM_VALUE_MAX = 0x7fff_ffff;

/**
 * How long one wait in the kernel lasts at most: that long an aborted or disposed semaphore still
 * keeps the process alive, and a clock that is set back costs no more than it was set back by.
 */
const SLICE_MS = 50;
/** Where the kernel has no timed wait. */
const LONGEST_POLL_MS = 10;

/** How a named semaphore is created. */
export interface SemaphoreCreateOptions extends LibcOptions {
  /** Its value at first. Default 0. */
  value?: number;
}

/** How a semaphore in shared memory is made. */
export interface SemaphoreAtOptions {
  /**
   * Makes it, with this value; exactly one process does that, before the others use it. Without
   * it, it must have been made.
   */
  init?: number;
}

/** How to wait. */
export interface SemaphoreWaitOptions {
  /** How long at most, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** Ends the wait with its own reason. */
  signal?: AbortSignal;
}

interface Waiter {
  untilMs: number;
  taken(): void;
  refused(error: unknown): void;
}

/** Where a semaphore lies, and how to leave it. */
interface Place {
  what: string;
  libc: Libc;
  pointer: Deno.PointerObject;
  /** Its memory is still mapped. */
  check(): void;
  /** Keeps it mapped until the returned function is called. */
  hold(): () => void;
  /** Nobody uses it here any more. */
  leave(): void;
}

function checkValue(value: number, what: string): void {
  if (Number.isInteger(value) && value >= 0 && value <= SEM_VALUE_MAX) return;
  throw new PatchbayError("invalid", `${value} is no value for ${what}`, {
    remedy: `pass a whole number from 0 to ${SEM_VALUE_MAX}`,
  });
}

/** `struct timespec`: a moment of the wall clock, which is what `sem_timedwait` takes. */
function timespec(epochMs: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(16));
  const seconds = Math.floor(epochMs / 1000);
  view.setBigInt64(0, BigInt(seconds), true);
  view.setBigInt64(8, BigInt(Math.floor((epochMs - seconds * 1000) * 1e6)), true);
  return new Uint8Array(view.buffer);
}

/**
 * A counting semaphore of the kernel, shared between processes.
 *
 * {@link wait} does not stop the thread: it waits on another one, in slices of 50 ms at most and
 * with one slice in flight for each semaphore, however many wait here. While somebody waits the
 * process stays alive, and after an abort for one slice more. Each semaphore that is waited for
 * takes one of the process's few threads for blocking work (32 of them would stop its file
 * access): wait for one or two, not for one per peer.
 *
 * @example
 * ```ts
 * import { Semaphore } from "@patchbay/ffi";
 *
 * const name = `/example-${Deno.pid}`;
 * using mine = Semaphore.create(name, { value: 1 });
 * using theirs = Semaphore.open(name); // in another process, usually
 * Semaphore.unlink(name);
 *
 * if (!theirs.tryWait() || theirs.tryWait()) throw new Error("its value was 1");
 * mine.post();
 * await theirs.wait({ timeoutMs: 1000 });
 * ```
 */
export class Semaphore implements Disposable {
  readonly #place: Place;
  readonly #waiters: Waiter[] = [];
  #disposed = false;
  #pumping = false;

  private constructor(place: Place) {
    this.#place = place;
  }

  /**
   * How many bytes a semaphore takes in shared memory, at an offset divisible by 8.
   */
  static readonly BYTES = 32;

  /**
   * Creates a named semaphore, for processes of this user (mode 0600).
   *
   * @param name A slash and then anything but slashes; 31 bytes are taken everywhere.
   * @param options How.
   * @throws PatchbayError `invalid` for a bad name or value, `unavailable` if the name is taken or
   * without `--allow-ffi`.
   */
  static create(name: string, options: SemaphoreCreateOptions = {}): Semaphore {
    const { value = 0 } = options;
    checkValue(value, `semaphore ${name}`);
    return Semaphore.#named(
      name,
      options,
      (calls) => calls.system.O_CREAT | calls.system.O_EXCL,
      value,
    );
  }

  /**
   * Opens a named semaphore that another process has created.
   *
   * @param name Its name.
   * @param options How.
   * @throws PatchbayError `not_found` if there is none, `forbidden` if it is another user's.
   */
  static open(name: string, options: LibcOptions = {}): Semaphore {
    return Semaphore.#named(name, options, () => 0, 0);
  }

  /**
   * Removes the name of a semaphore. Who has it open keeps it.
   *
   * @param name Its name.
   * @param options How.
   * @returns Whether there was one.
   */
  static unlink(name: string, options: LibcOptions = {}): boolean {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      const cName = objectName("semaphore", name, calls.system.maxSemaphoreName);
      if (calls.posix.sem_unlink(cName) === 0) return true;
      const errno = calls.errno();
      if (errnoName(errno) === "ENOENT") return false;
      throw errnoError("sem_unlink", errno, `semaphore ${name}`);
    } finally {
      if (own) libc[Symbol.dispose]();
    }
  }

  /**
   * A semaphore inside shared memory. It needs no name and vanishes with the segment.
   *
   * @param memory The segment. It stays mapped while somebody waits.
   * @param offset Where in it, in bytes; divisible by 8, with {@link Semaphore.BYTES} of room.
   * @param options Whether to make it. Zeros are no semaphore between processes: one process has
   * to pass `init`.
   * @throws PatchbayError `invalid` for a bad offset or value, `unavailable` on macOS, which has no
   * semaphores in memory.
   */
  static at(memory: SharedMemory, offset: number, options: SemaphoreAtOptions = {}): Semaphore {
    const what = `the semaphore at ${offset} of shared memory ${memory.name}`;
    const { libc } = memory.file;
    const { calls } = libc;
    if (calls.sem_init === undefined) {
      throw new PatchbayError("unavailable", `${what}: this system has none in memory`, {
        retryable: false,
        remedy: "use a named semaphore: Semaphore.create(name)",
      });
    }
    if (
      !Number.isInteger(offset) || offset < 0 || offset % 8 !== 0 ||
      offset + Semaphore.BYTES > memory.bytes
    ) {
      throw new PatchbayError("invalid", `${what} does not lie in its ${memory.bytes} bytes`, {
        remedy: `choose an offset divisible by 8, with ${Semaphore.BYTES} bytes of room behind it`,
      });
    }
    const pointer = memory.pointerAt(offset);
    if (options.init !== undefined) {
      checkValue(options.init, what);
      // pshared = 1: with 0, as in zeroed memory, other processes would never be woken.
      if (calls.sem_init(pointer, 1, options.init) !== 0) {
        throw errnoError("sem_init", calls.errno(), what);
      }
    }
    return new Semaphore({
      what,
      libc,
      pointer,
      check: () => void memory.file,
      hold: () => memory.hold(),
      leave() {},
    });
  }

  static #named(
    name: string,
    options: LibcOptions,
    flags: (calls: Calls) => number,
    value: number,
  ): Semaphore {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      const cName = objectName("semaphore", name, calls.system.maxSemaphoreName);
      const what = `semaphore ${name}`;
      const pointer = calls.sem_open(cName, flags(calls), OWNER_ONLY, value);
      // SEM_FAILED is 0 on Linux, -1 on macOS.
      if (pointer === null || Deno.UnsafePointer.value(pointer) === 0xffff_ffff_ffff_ffffn) {
        throw errnoError("sem_open", calls.errno(), what);
      }
      return new Semaphore({
        what,
        libc,
        pointer,
        check() {},
        hold: () => () => {},
        leave() {
          calls.posix.sem_close(pointer);
          if (own) libc[Symbol.dispose]();
        },
      });
    } catch (error) {
      if (own) libc[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Adds one: wakes who waits longest, in whichever process.
   *
   * @throws PatchbayError `closed` after disposal, of it or its memory.
   */
  post(): void {
    const calls = this.#calls();
    if (calls.posix.sem_post(this.#place.pointer) !== 0) {
      throw errnoError("sem_post", calls.errno(), this.#place.what);
    }
  }

  /**
   * Takes one, if there is one.
   *
   * @returns Whether there was.
   * @throws PatchbayError `closed` after disposal, of it or its memory.
   */
  tryWait(): boolean {
    return this.#take(this.#calls());
  }

  /**
   * Takes one, as soon as there is one. Who waits first here gets the first.
   *
   * @param options How long, and what ends it.
   * @throws PatchbayError `deadline_exceeded` after `timeoutMs`, `closed` if it is disposed of.
   */
  wait(options: SemaphoreWaitOptions = {}): Promise<void> {
    const { timeoutMs, signal } = options;
    return new Promise((resolve, reject) => {
      const calls = this.#calls();
      signal?.throwIfAborted();
      if (this.#waiters.length === 0 && this.#take(calls)) return resolve();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
        const at = this.#waiters.indexOf(waiter);
        if (at >= 0) this.#waiters.splice(at, 1);
      };
      const waiter: Waiter = {
        untilMs: timeoutMs === undefined ? Infinity : performance.now() + timeoutMs,
        taken() {
          leave();
          resolve();
        },
        refused(error) {
          leave();
          reject(error);
        },
      };
      const aborted = () => waiter.refused(signal?.reason);
      signal?.addEventListener("abort", aborted);
      if (timeoutMs !== undefined) {
        const late = () =>
          waiter.refused(
            new PatchbayError(
              "deadline_exceeded",
              `${this.#place.what} was not posted within ${timeoutMs} ms`,
            ),
          );
        timer = setTimeout(late, Math.max(0, timeoutMs));
      }
      this.#waiters.push(waiter);
      if (!this.#pumping) void this.#pump();
    });
  }

  /** Leaves it; who waits here is refused with `closed`. A second disposal does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#refuseAll(new PatchbayError("closed", `${this.#place.what} was disposed of`));
    // A wait in flight has its address; the pump leaves when that is over.
    if (!this.#pumping) this.#place.leave();
  }

  /** Serves the waiters, one wait in the kernel at a time. */
  async #pump(): Promise<void> {
    this.#pumping = true;
    const release = this.#place.hold();
    const { calls } = this.#place.libc;
    try {
      let pollMs = 1;
      while (this.#waiters.length > 0) {
        this.#place.check();
        if (this.#take(calls)) {
          this.#waiters[0]!.taken();
          pollMs = 1;
          continue;
        }
        if (calls.sem_timedwait === undefined) {
          await new Promise((resolve) => setTimeout(resolve, pollMs));
          pollMs = Math.min(pollMs * 2, LONGEST_POLL_MS);
          continue;
        }
        const startedMs = performance.now();
        const lastMs = Math.max(...this.#waiters.map(({ untilMs }) => untilMs));
        const sliceMs = Math.min(SLICE_MS, Math.max(1, lastMs - startedMs));
        // Its errno is another thread's, so a failure of any kind is only "not taken".
        const abstime = timespec(Date.now() + sliceMs);
        if (await calls.sem_timedwait(this.#place.pointer, abstime) === 0) {
          if (this.#waiters.length > 0) this.#waiters[0]!.taken();
          else calls.posix.sem_post(this.#place.pointer); // who wanted it has gone: give it back
        } else if (performance.now() - startedMs < 0.5) {
          // It failed at once: the clock was set forward, or a signal came. Not in a tight loop.
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      }
    } catch (error) {
      this.#refuseAll(error);
    } finally {
      this.#pumping = false;
      release();
      if (this.#disposed) this.#place.leave();
    }
  }

  #refuseAll(error: unknown): void {
    for (const waiter of [...this.#waiters]) waiter.refused(error);
  }

  #take(calls: Calls): boolean {
    if (calls.posix.sem_trywait(this.#place.pointer) === 0) return true;
    const errno = calls.errno();
    const name = errnoName(errno);
    if (name === "EAGAIN" || name === "EINTR") return false;
    throw errnoError("sem_trywait", errno, this.#place.what);
  }

  #calls(): Calls {
    if (this.#disposed) {
      throw new PatchbayError("closed", `${this.#place.what} was disposed of`);
    }
    this.#place.check();
    return this.#place.libc.calls;
  }
}
