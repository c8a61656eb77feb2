/**
 * Lets other threads have the core while this one waits for memory to change. Pages may not do so.
 *
 * @module
 */

/**
 * Whether this thread may wait in `Atomics.wait`: the main thread of a page may not.
 *
 * @param words Memory that is shared.
 */
export function canDoze(words: Int32Array<SharedArrayBuffer>): boolean {
  try {
    // It is never so: the call comes back at once.
    Atomics.wait(words, 0, Atomics.load(words, 0) + 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether another thread can run while this one does: otherwise looking again is in vain. */
export function hasCores(): boolean {
  return typeof navigator === "undefined" || navigator.hardwareConcurrency !== 1;
}
