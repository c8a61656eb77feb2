/**
 * Lets all other connections of a process have their turn while one always has something to read.
 *
 * @module
 */

/** So long a connection may have the event loop to itself, in milliseconds. */
const OWN_MS = 5;
/** A read takes about so long without waiting, in milliseconds. */
const READ_MS = 0.02;
/** While a read waits the others have their turn: that counts for so many times as long. */
const WORTH = 20;
/** A read of so many bytes takes long without waiting. */
const LARGE_BYTES = 64 * 1024;
/**
 * Deno answers a read at once as long as there is something, and where something is always ready it
 * looks at its sockets once in 61 turns (tokio's `event_interval`).
 */
const TURNS = 64;

/**
 * The reads of one connection, as the others see them.
 *
 * @example
 * ```ts
 * import { ReadTurns } from "@patchbay/host";
 *
 * const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
 * const { port } = listener.addr as Deno.NetAddr;
 * const [near, far] = await Promise.all([listener.accept(), Deno.connect({ port })]);
 * await far.write(new Uint8Array(100));
 * far.close();
 * const turns = new ReadTurns();
 * let bytes = 0;
 * for (let read: number | null = 0; read !== null; bytes += read ?? 0) {
 *   await turns.ofOthers();
 *   read = await near.read(new Uint8Array(4096));
 *   turns.came(read ?? 0);
 * }
 * console.log(bytes); // 100
 * near.close();
 * listener.close();
 * ```
 */
export class ReadTurns {
  #askedMs = performance.now();
  /** When the others had their turn last, or might as well have had it. */
  #sinceMs = this.#askedMs;

  /** To be asked before each read: what to wait for, if the others are due. */
  ofOthers(): Promise<void> | undefined {
    this.#askedMs = performance.now();
    return this.#askedMs - this.#sinceMs < OWN_MS ? undefined : this.#giveWay();
  }

  /**
   * To be told after each read.
   *
   * @param bytes How much has come.
   */
  came(bytes: number): void {
    if (bytes >= LARGE_BYTES) return;
    const nowMs = performance.now();
    const waitedMs = Math.max(0, nowMs - this.#askedMs - READ_MS);
    this.#sinceMs = Math.min(nowMs, this.#sinceMs + WORTH * waitedMs);
  }

  async #giveWay(): Promise<void> {
    for (let n = 0; n < TURNS; n++) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
    this.#askedMs = this.#sinceMs = performance.now();
  }
}
