/**
 * A link by messages of a port: the frames of a turn go in one message, in a buffer that is handed
 * over without a copy.
 *
 * @module
 */

import { type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { PortLink, type PortLinkParts } from "./port_link.ts";

/** When so much is committed in one turn, it is sent before the turn ends. */
const BATCH_BYTES = 64 * 1024;
/** From this size on a buffer is handed over instead of copied, in bytes. */
const TRANSFERRED_BYTES = 16 * 1024;
/** Answers and calls that follow from one message stand behind so many promises, more or less. */
const HOPS = 4;
/** The length before each frame. */
const LENGTH_BYTES = 4;
/** Nothing tells what the other side has not read yet: it says so, each time it has read so much. */
const ACKNOWLEDGED_BYTES = 16 * 1024;

/** A link by messages. */
export class PostLink extends PortLink {
  /** As {@link PortLink.buffer}. */
  readonly buffer: Uint8Array<ArrayBuffer> = new Uint8Array(
    BATCH_BYTES + LENGTH_BYTES + MAX_FRAME_BYTES,
  );
  /** As {@link PortLink.view}. */
  readonly view: DataView = new DataView(this.buffer.buffer);
  /** Where the next frame begins. */
  #at = 0;
  #scheduled = false;
  /** Sent, and not known to have been read. */
  #unread = 0;
  /** Read, and not said to have been read. */
  #unsaid = 0;

  /** @param parts What it is made of. */
  constructor(parts: PortLinkParts) {
    super(parts);
  }

  /** As {@link PortLink.buffered}. */
  override get buffered(): number {
    // So much may have been read long ago, or be on its way as it should.
    return this.#at + Math.max(0, this.#unread - 2 * ACKNOWLEDGED_BYTES);
  }

  /** As {@link PortLink.claim}. */
  override claim(_bytes: number): number {
    if (this.#at >= BATCH_BYTES) this.flush();
    return this.#at + LENGTH_BYTES;
  }

  /** As {@link PortLink.commit}. */
  override commit(bytes: number): void {
    if (this.isClosed) return;
    this.view.setUint32(this.#at, bytes, true);
    this.#at += LENGTH_BYTES + bytes;
    if (this.#scheduled) return;
    this.#scheduled = true;
    void this.#flushSoon();
  }

  /** As {@link PortLink.flush}. */
  override flush(): void {
    if (this.#at === 0 || this.isClosed) return;
    const batch = this.buffer.buffer.slice(0, this.#at);
    this.#unread += this.#at;
    this.#at = 0;
    // Handing a buffer over costs more than a copy until it is large.
    if (batch.byteLength < TRANSFERRED_BYTES) this.port.postMessage(batch);
    else this.port.postMessage(batch, [batch]);
  }

  /** Some promises later: what others send for the same reason goes with it. */
  async #flushSoon(): Promise<void> {
    for (let hop = 0; hop < HOPS; hop++) await null;
    this.#scheduled = false;
    this.flush();
  }

  /** As {@link PortLink.came}. */
  protected override came(data: number | ArrayBuffer, handler: LinkHandler): void {
    if (typeof data === "number") return this.#acknowledged(data, handler);
    this.#frames(data, handler);
    if (this.isClosed) return;
    handler.batchEnd();
    this.#unsaid += data.byteLength;
    if (this.#unsaid < ACKNOWLEDGED_BYTES) return;
    this.port.postMessage(this.#unsaid);
    this.#unsaid = 0;
  }

  #frames(data: ArrayBuffer, handler: LinkHandler): void {
    const bytes = new Uint8Array(data);
    const view = new DataView(data);
    for (let at = 0; at < bytes.length && !this.isClosed;) {
      const left = bytes.length - at - LENGTH_BYTES;
      const length = left < 0 ? 0 : view.getUint32(at, true);
      if (left < 0 || length > left || length > this.maxFrameBytes) {
        throw new PatchbayError("protocol", `a frame of ${length} bytes, where ${left} are left`, {
          details: { size: length, max: Math.min(left, this.maxFrameBytes) },
        });
      }
      at += LENGTH_BYTES;
      handler.frame(bytes, at, at + length);
      at += length;
    }
  }

  #acknowledged(bytes: number, handler: LinkHandler): void {
    if (!(bytes > 0 && bytes <= this.#unread)) {
      throw new PatchbayError("protocol", `${bytes} of ${this.#unread} bytes are said to be read`);
    }
    this.#unread -= bytes;
    handler.drained();
    if (this.buffered === 0) this.emptied();
  }

  /** As {@link PortLink.takeRest}: what was posted before has come before. */
  protected override takeRest(): void {}

  /** As {@link PortLink.release}. */
  protected override release(): void {
    this.#at = 0;
    this.#unread = 0;
  }
}
