/**
 * The C library through Deno's FFI: shared memory, semaphores, locks, a doorbell, and the errors of
 * the kernel as `PatchbayError`. It knows no pattern and no wire; nothing is opened before it is
 * asked for.
 *
 * @example
 * ```ts
 * import { libcAvailability, Mutex, SharedMemory } from "@patchbay/ffi";
 *
 * const libc = libcAvailability();
 * if (libc.available) {
 *   using memory = SharedMemory.create(`/example-${Deno.pid}`, 4096);
 *   memory.unlink(); // after the others have opened it
 *   using mutex = new Mutex(memory, 0);
 *   using _ = await mutex.lock();
 *   new Float64Array(memory.buffer, Mutex.BYTES, 1)[0] = 1.5;
 * } else {
 *   console.log(`${libc.reason}; ${libc.remedy}`);
 * }
 * ```
 *
 * @module
 */
export { Doorbell, DoorbellReader } from "./doorbell.ts";
export { errnoError, errnoName, errnoNumber, type ErrnoOs } from "./errno.ts";
export { FileLock, type FileLockWaitOptions } from "./file_lock.ts";
export {
  Libc,
  type LibcAvailability,
  libcAvailability,
  type LibcOptions,
  openLibc,
} from "./libc.ts";
export { Mutex, type MutexGuard, type MutexWaitOptions } from "./mutex.ts";
export {
  Semaphore,
  type SemaphoreAtOptions,
  type SemaphoreCreateOptions,
  type SemaphoreWaitOptions,
} from "./semaphore.ts";
export type { OrphanedSegment } from "./segment_owner.ts";
export { SharedMemory, type SharedMemoryOpenOptions } from "./shared_memory.ts";
export { POSIX } from "./symbols_posix.ts";
export { LINUX } from "./symbols_linux.ts";
export { MACOS_ARM64, MACOS_X86_64 } from "./symbols_macos.ts";
export type { Calls, System } from "./system.ts";
