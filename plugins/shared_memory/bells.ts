/**
 * The second way of waking who sleeps: one POSIX semaphore a bay, which all its peers post and on
 * which it waits once for all its links. It lies in a segment of its own, so that what removes the
 * segments of the dead removes it, too.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { type Libc, Semaphore, SharedMemory } from "@patchbay/ffi";

/** More rings at once than peers can have reason for: somebody plays with the bell. */
const MAX_RINGS = 4096;
/** How long not to listen then, in milliseconds: others of this process want to be heard, too. */
const PAUSE_MS = 5;

const NAME = /^\/pb-[0-9a-f]{16}-bell[0-9a-f]{4}$/;

/** What rings a peer's bell. */
export interface Bell extends Disposable {
  /** Rings; never waits. */
  ring(): void;
}

/** The bell of this bay, and the way to those of its peers. */
export class Bells {
  readonly #libc: Libc;
  readonly #memory: SharedMemory | undefined;
  readonly #semaphore: Semaphore | undefined;
  readonly #ears = new Set<() => void>();
  #listening: Promise<void> | undefined;
  #closed = false;
  /** The name that peers ring; `undefined`: this bay is woken by its sockets. */
  readonly name: string | undefined;

  /**
   * @param libc The C library.
   * @param prefix What the names of this bay's segments begin with; `undefined`: it needs no bell.
   * @throws {PatchbayError} `unavailable`, `forbidden`: it cannot be made.
   */
  constructor(libc: Libc, prefix: string | undefined) {
    this.#libc = libc;
    if (prefix === undefined) return;
    this.name = `${prefix}bell${crypto.getRandomValues(new Uint8Array(2)).toHex()}`;
    this.#memory = SharedMemory.create(this.name, Semaphore.BYTES, { libc });
    this.#semaphore = Semaphore.at(this.#memory, 0, { init: 0 });
  }

  /**
   * Opens a peer's bell.
   *
   * @param name What it said.
   * @throws {PatchbayError} `protocol`: a name that cannot be; `not_found`; `forbidden`.
   */
  open(name: unknown): Bell {
    if (typeof name !== "string" || !NAME.test(name)) {
      throw new PatchbayError("protocol", "the peer names a semaphore that cannot be its bell");
    }
    const memory = SharedMemory.open(name, { libc: this.#libc });
    const semaphore = Semaphore.at(memory, 0);
    return {
      ring: () => semaphore.post(),
      [Symbol.dispose]() {
        semaphore[Symbol.dispose]();
        memory[Symbol.dispose]();
      },
    };
  }

  /**
   * Listens to this bay's bell; without one it never rings.
   *
   * @param ear Called at each ring: somebody has something, perhaps for this one.
   * @returns Ends it.
   */
  listen(ear: () => void): () => void {
    if (this.#semaphore === undefined) return () => {};
    this.#ears.add(ear);
    this.#listening ??= this.#listen(this.#semaphore);
    return () => {
      this.#ears.delete(ear);
      // The wait keeps the process alive: it ends with the last link.
      if (this.#ears.size === 0 && !this.#closed) this.#semaphore?.post();
    };
  }

  async #listen(semaphore: Semaphore): Promise<void> {
    while (this.#ears.size > 0 && !this.#closed) {
      await semaphore.wait();
      // Rings that came meanwhile are the same ring: look again.
      let rings = 1;
      while (rings < MAX_RINGS && semaphore.tryWait()) rings++;
      for (const ear of this.#ears) ear();
      if (rings === MAX_RINGS) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#listening = undefined;
  }

  /** Ends the wait and removes the semaphore. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#listening !== undefined) this.#semaphore?.post();
    await this.#listening;
    this.#semaphore?.[Symbol.dispose]();
    this.#memory?.unlink();
    this.#memory?.[Symbol.dispose]();
  }
}
