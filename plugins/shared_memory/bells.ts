/**
 * The second way of waking who sleeps: one POSIX semaphore a bay, which all its peers post and on
 * which it waits once for all its links.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { type Libc, Semaphore } from "@patchbay/ffi";

const NAME = /^\/pb-[0-9a-f]{16}-bell$/;

/** What rings a peer's bell. */
export interface Bell extends Disposable {
  /** Rings; never waits. */
  ring(): void;
}

/** The bell of this bay, and the way to those of its peers. */
export class Bells {
  readonly #libc: Libc;
  readonly #semaphore: Semaphore | undefined;
  readonly #ears = new Set<() => void>();
  #listening: Promise<void> | undefined;
  #closed = false;
  /** The name that peers ring; `undefined`: this bay is woken by its sockets. */
  readonly name: string | undefined;

  /**
   * @param libc The C library.
   * @param name The name of this bay's semaphore; `undefined`: it needs none.
   * @throws {PatchbayError} `unavailable`, `forbidden`: it cannot be made.
   */
  constructor(libc: Libc, name: string | undefined) {
    this.#libc = libc;
    this.name = name;
    if (name === undefined) return;
    // Of a bay of this name that was killed: there is no other one while this one lives.
    Semaphore.unlink(name, { libc });
    this.#semaphore = Semaphore.create(name, { libc });
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
    const semaphore = Semaphore.open(name, { libc: this.#libc });
    return {
      ring: () => semaphore.post(),
      [Symbol.dispose]: () => semaphore[Symbol.dispose](),
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
      while (semaphore.tryWait());
      for (const ear of this.#ears) ear();
    }
    this.#listening = undefined;
  }

  /** Ends the wait and removes the semaphore. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const semaphore = this.#semaphore;
    if (semaphore === undefined || this.name === undefined) return;
    if (this.#listening !== undefined) semaphore.post();
    await this.#listening;
    semaphore[Symbol.dispose]();
    Semaphore.unlink(this.name, { libc: this.#libc });
  }
}
