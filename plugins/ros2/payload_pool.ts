/**
 * Places for large payloads that are used again when every reader has got what was in them: a fresh
 * megabyte costs several times as much as writing one.
 *
 * @module
 */

/** What is smaller is made anew. */
const LEAST_BYTES = 64 * 1024;
/** Places are of multiples of this, so that one does for messages of about one size. */
const STEP_BYTES = 64 * 1024;
/** How much lies idle at most. */
const MAX_IDLE_BYTES = 8 * 1024 * 1024;

/** The places of one node. */
export class PayloadPool {
  readonly #idle: ArrayBuffer[] = [];
  #idleBytes = 0;

  /** So many bytes, whatever is in them. */
  readonly take = (bytes: number): Uint8Array<ArrayBuffer> => {
    if (bytes < LEAST_BYTES) return new Uint8Array(bytes);
    // Of those that came back last, which are most likely still in the caches.
    for (let i = this.#idle.length - 1; i >= 0; i--) {
      const { byteLength } = this.#idle[i];
      if (byteLength < bytes || byteLength > 2 * bytes) continue;
      const [place] = this.#idle.splice(i, 1);
      this.#idleBytes -= byteLength;
      return new Uint8Array(place, 0, bytes);
    }
    const room = Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
    return new Uint8Array(new ArrayBuffer(room), 0, bytes);
  };

  /** Takes back what `take` gave, or a part of it, once: nobody may look at it any more. */
  give({ buffer }: Uint8Array): void {
    const { byteLength } = buffer;
    if (byteLength < LEAST_BYTES || byteLength > MAX_IDLE_BYTES) return;
    this.#idleBytes += byteLength;
    this.#idle.push(buffer as ArrayBuffer);
    // Of sizes that nobody asks for any more, too.
    let oldest = 0;
    while (this.#idleBytes > MAX_IDLE_BYTES) this.#idleBytes -= this.#idle[oldest++].byteLength;
    this.#idle.splice(0, oldest);
  }
}
