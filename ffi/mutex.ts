/**
 * A mutual exclusion inside shared memory that survives the death of its owner.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import type { Libc } from "./libc.ts";
import { cString } from "./names.ts";
import { pause } from "./pause.ts";
import { Semaphore } from "./semaphore.ts";
import type { SharedMemory } from "./shared_memory.ts";

// How it works, and why it survives SIGKILL at any instruction:
//
// Who owns it is the kernel's to say: a write lock on one byte of the segment's file, at the
// mutex's offset, held through an open file of its own (an "open file description lock", fcntl(2)).
// Taking it is one system call, and the kernel drops it when the process ends, whatever it was
// doing. Nothing in shared memory says who owns it, so nothing there can be wrong about it: no
// process id that was given to another process, no gap between taking the lock and writing one's
// name, no difference between process namespaces, no zombie that looks alive.
//
// The words in memory only help:
//  - `inside` is 1 between taking and releasing. Who takes the lock and finds 1 knows that the last
//    owner died in between. Died before it was set: nothing had been changed. Died after it was
//    cleared: everything had been.
//  - `waiting` and the semaphore let waiters sleep. The owner posts if somebody said that he waits;
//    a post that never comes (the owner died) or is lost costs a waiter at most one slice, because
//    he looks at the lock itself after each.
// A pthread robust mutex would do the same, but its owner is a thread, and the thread that a
// nonblocking FFI call runs on is nobody's.
const SEMAPHORE = 0;
const MAGIC_AT = 32;
const WAITING = 36;
const INSIDE = 40;
const MAGIC = 0x50424d31; // "PBM1"

const SLICE_MS = 20;

// linux/fcntl.h
const F_WRLCK = 1;
const F_UNLCK = 2;
const SEEK_SET = 0;

/** How to wait for a mutex. */
export interface MutexWaitOptions {
  /** How long at most, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** Ends the wait with its own reason. */
  signal?: AbortSignal;
}

/** The mutex is held while this lives. Dispose of it to release: `using guard = await m.lock()`. */
export interface MutexGuard extends Disposable {
  /**
   * The last owner died while it held the mutex: what it was changing may be half done. Check and
   * repair before use; disposing of this guard says that it is sound again.
   */
  readonly ownerDied: boolean;
}

/**
 * A mutual exclusion between processes (and workers) that share a structure in
 * {@link SharedMemory}.
 *
 * - If its owner ends without releasing it, by SIGKILL at any moment, the next one gets it within
 *   20 ms and is told `ownerDied: true`.
 * - The first to take it makes it; memory that is zero is a mutex nobody has used yet.
 * - It is not reentrant and not fair. In one process, each object excludes the others.
 * - Taking and releasing a free one is two system calls, about 2 µs; waiting does not stop the
 *   thread, but keeps the process alive.
 *
 * Linux only: macOS has neither semaphores in memory nor locks on shared memory; use a `FileLock`
 * there.
 *
 * @example
 * ```ts
 * import { Mutex, SharedMemory } from "@patchbay/ffi";
 *
 * using memory = SharedMemory.create(`/example-${Deno.pid}`, 4096);
 * memory.unlink();
 * using mutex = new Mutex(memory, 0); // every process that has the segment does the same
 * const balance = new Float64Array(memory.buffer, Mutex.BYTES, 1);
 * {
 *   using guard = await mutex.lock({ timeoutMs: 1000 });
 *   if (guard.ownerDied) balance[0] = 0; // whatever makes the structure sound again
 *   balance[0] += 0.5;
 * }
 * ```
 */
export class Mutex implements Disposable {
  /** How many bytes a mutex takes in shared memory, at an offset divisible by 8. */
  static readonly BYTES = 64;

  readonly #memory: SharedMemory;
  readonly #offset: number;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #lock: Uint8Array<ArrayBuffer>;
  readonly #unlock: Uint8Array<ArrayBuffer>;
  readonly #closing = new AbortController();
  /** Lets go of the memory: it is unmapped, and its library closed, after this mutex. */
  readonly #letGo: () => void;
  #semaphore: Semaphore | undefined;
  #held = false;
  #disposed = false;

  /**
   * Finds the mutex; nothing is taken or made by that.
   *
   * @param memory The segment. It must stay open while the mutex is used, and
   * is not unmapped before the mutex is disposed of.
   * @param offset Where in it, in bytes; divisible by 8, with {@link Mutex.BYTES} of room.
   * @throws PatchbayError `invalid` for a bad offset, `unavailable` where the system lacks what it
   * needs.
   */
  constructor(memory: SharedMemory, offset: number) {
    if (
      !Number.isInteger(offset) || offset < 0 || offset % 8 !== 0 ||
      offset + Mutex.BYTES > memory.bytes
    ) {
      throw new PatchbayError(
        "invalid",
        `a mutex at ${offset} does not lie in the ${memory.bytes} bytes of ${memory.name}`,
        { remedy: `choose an offset divisible by 8, with ${Mutex.BYTES} bytes of room behind it` },
      );
    }
    const { libc, fd } = memory.file;
    const { calls } = libc;
    if (calls.fcntl === undefined || calls.system.F_OFD_SETLK === undefined) {
      throw new PatchbayError("unavailable", "this system has no locks on shared memory", {
        retryable: false,
        remedy: "use a FileLock",
      });
    }
    this.#memory = memory;
    this.#offset = offset;
    this.#libc = libc;
    this.#words = new Int32Array(memory.buffer, offset, Mutex.BYTES / 4);
    // An open file of its own: the lock belongs to that, not to the process. By way of /proc,
    // because the segment's name may be gone.
    const { O_RDWR, O_CLOEXEC } = calls.system;
    this.#fd = calls.open(cString(`/proc/self/fd/${fd}`), O_RDWR | O_CLOEXEC, 0);
    if (this.#fd < 0) {
      const cause = errnoError("open", calls.errno(), `/proc/self/fd/${fd}`);
      throw new PatchbayError("unavailable", "the segment cannot be opened again for its lock", {
        remedy: "mount /proc, and do not exceed the limit of open files (ulimit -n)",
        cause,
      });
    }
    const request = (type: number) => {
      // struct flock on 64 bits: l_type, l_whence, l_start at 8, l_len at 16, l_pid (0) at 24.
      const view = new DataView(new ArrayBuffer(32));
      view.setInt16(0, type, true);
      view.setInt16(2, SEEK_SET, true);
      view.setBigInt64(8, BigInt(offset), true);
      view.setBigInt64(16, 1n, true);
      return new Uint8Array(view.buffer);
    };
    this.#lock = request(F_WRLCK);
    this.#unlock = request(F_UNLCK);
    this.#letGo = memory.hold();
  }

  /**
   * Takes it, if it is free.
   *
   * @returns What holds it, or undefined if somebody else does.
   * @throws PatchbayError `closed` after disposal of it or its memory, `protocol` if something else
   * lies in its place.
   */
  tryLock(): MutexGuard | undefined {
    this.#check();
    return this.#take(false);
  }

  /**
   * Takes it, as soon as it is free.
   *
   * @param options How long, and what ends it.
   * @throws PatchbayError `deadline_exceeded` after `timeoutMs`, `closed` if it or its memory is
   * disposed of, `protocol` if something else lies in its place.
   */
  async lock(options: MutexWaitOptions = {}): Promise<MutexGuard> {
    this.#check();
    options.signal?.throwIfAborted();
    const taken = this.#take(false);
    if (taken !== undefined) return taken;
    const { timeoutMs = Infinity } = options;
    const untilMs = performance.now() + timeoutMs;
    const signal = options.signal === undefined
      ? this.#closing.signal
      : AbortSignal.any([options.signal, this.#closing.signal]);
    for (;;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) {
        throw new PatchbayError(
          "deadline_exceeded",
          `the mutex at ${this.#offset} of ${this.#memory.name} was not free within ${timeoutMs} ms`,
        );
      }
      const guard = await this.#waitOnce(Math.min(SLICE_MS, leftMs), signal);
      if (guard !== undefined) return guard;
    }
  }

  /**
   * Closes it. What it holds is released first, who waits is refused with `closed`. A second
   * disposal does nothing.
   */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#closing.abort(new PatchbayError("closed", `${this.#what()} was disposed of`));
    if (this.#held) this.#release();
    this.#semaphore?.[Symbol.dispose]();
    this.#libc.calls.posix.close(this.#fd);
    this.#letGo();
  }

  /** Says that somebody waits, looks again, and sleeps for a slice. */
  async #waitOnce(sliceMs: number, signal: AbortSignal): Promise<MutexGuard | undefined> {
    this.#check();
    signal.throwIfAborted();
    if (Atomics.load(this.#words, MAGIC_AT / 4) !== MAGIC) {
      // Its first owner is making it at this moment, or died while it did.
      await pause(1, signal);
    } else {
      this.#semaphore ??= Semaphore.at(this.#memory, this.#offset + SEMAPHORE);
      Atomics.store(this.#words, WAITING / 4, 1);
      const guard = this.#take(true);
      if (guard !== undefined) return guard;
      try {
        await this.#semaphore.wait({ timeoutMs: sliceMs, signal });
      } catch (error) {
        if (!(error instanceof PatchbayError && error.code === "deadline_exceeded")) throw error;
      }
    }
    this.#check();
    return this.#take(true);
  }

  /** Asks the kernel. */
  #take(othersMayWait: boolean): MutexGuard | undefined {
    if (this.#held) return undefined;
    const { calls } = this.#libc;
    if (calls.fcntl!(this.#fd, calls.system.F_OFD_SETLK!, this.#lock) !== 0) {
      const errno = calls.errno();
      const name = errnoName(errno);
      if (name === "EAGAIN" || name === "EACCES" || name === "EINTR") return undefined;
      throw errnoError("fcntl", errno, this.#what());
    }
    this.#held = true;
    try {
      this.#make();
    } catch (error) {
      this.#free();
      throw error;
    }
    const ownerDied = Atomics.exchange(this.#words, INSIDE / 4, 1) !== 0;
    // Who was woken does not know whether others still sleep: his release wakes one to look.
    if (othersMayWait) Atomics.store(this.#words, WAITING / 4, 1);
    let released = false;
    return {
      ownerDied,
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        if (this.#held) this.#release();
      },
    };
  }

  /** Makes what has not been made. Its maker holds the lock, and writes the magic number last. */
  #make(): void {
    const magic = Atomics.load(this.#words, MAGIC_AT / 4);
    if (magic === MAGIC) return;
    if (magic !== 0) {
      throw new PatchbayError("protocol", `${this.#what()}: something else lies there`, {
        remedy: "choose another offset, or create the segment anew",
      });
    }
    this.#words.fill(0);
    Semaphore.at(this.#memory, this.#offset + SEMAPHORE, { init: 0 })[Symbol.dispose]();
    Atomics.store(this.#words, MAGIC_AT / 4, MAGIC);
  }

  #release(): void {
    // Its words are out of reach once the memory was disposed of: the next owner is told that this
    // one left as a dead one does, and who waits looks for himself.
    if (this.#memory.disposed) return this.#free();
    Atomics.store(this.#words, INSIDE / 4, 0);
    this.#free();
    if (Atomics.exchange(this.#words, WAITING / 4, 0) !== 0) {
      this.#semaphore ??= Semaphore.at(this.#memory, this.#offset + SEMAPHORE);
      this.#semaphore.post();
    }
  }

  #free(): void {
    this.#held = false;
    const { calls } = this.#libc;
    if (calls.fcntl!(this.#fd, calls.system.F_OFD_SETLK!, this.#unlock) !== 0) {
      throw errnoError("fcntl", calls.errno(), this.#what());
    }
  }

  #what(): string {
    return `the mutex at ${this.#offset} of shared memory ${this.#memory.name}`;
  }

  #check(): void {
    if (this.#disposed) throw new PatchbayError("closed", `${this.#what()} was disposed of`);
    void this.#memory.file;
  }
}
