/**
 * The names under which segments are handed over: few, and always the same for one bay.
 *
 * @module
 */

import { type Libc, SharedMemory } from "@patchbay/ffi";

/**
 * How many segments one bay may be handing over at once. Their names derive from the bay's: what a
 * bay that was killed left behind is found by its next start.
 */
const SLOTS = 16;

/** The names of segments that are being handed over. */
export class Names {
  /** What the names of the bay's segments begin with. */
  readonly prefix: string;
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, slot) => slot);
  readonly #waiting: ((slot: number) => void)[] = [];

  private constructor(prefix: string) {
    this.prefix = prefix;
  }

  /**
   * The names of a bay.
   *
   * @param folder The runtime directory.
   * @param instance The bay's instance, which no other bay there has.
   */
  static async of(folder: string, instance: string): Promise<Names> {
    const text = new TextEncoder().encode(`${folder}\n${instance}`);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    return new Names(`/pb-${hash.subarray(0, 8).toHex()}-`);
  }

  /**
   * Runs something with a name that nobody else uses meanwhile.
   *
   * @param use Creates the segment, and removes its name before it ends.
   */
  async lend<T>(use: (name: string) => Promise<T>): Promise<T> {
    const slot = this.#free.pop() ??
      await new Promise<number>((resolve) => this.#waiting.push(resolve));
    try {
      return await use(this.prefix + slot.toString(16));
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(slot);
      else next(slot);
    }
  }

  /**
   * Removes what an earlier bay of this name left when it was killed.
   *
   * @param libc The C library.
   */
  reclaim(libc: Libc): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      try {
        SharedMemory.unlink(this.prefix + slot.toString(16), { libc });
      } catch {
        // Another user has put something there: creating it says so.
      }
    }
  }
}
