/**
 * The count of what may have changed the choice of a wire.
 *
 * @module
 */

/** Counts what may have changed the choice of a wire, and tells who waits for that. */
export class Epoch {
  /** The count. */
  value = 0;
  readonly #waiting = new Set<() => void>();

  /** Something has changed. */
  next(): void {
    this.value++;
    for (const tell of this.#waiting) tell();
  }

  /**
   * Calls back at each change.
   *
   * @param tell What to call.
   * @returns Ends it.
   */
  watch(tell: () => void): () => void {
    this.#waiting.add(tell);
    return () => this.#waiting.delete(tell);
  }
}
