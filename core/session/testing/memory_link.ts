/**
 * Test support: a link in memory, as slow as a test wants it. Not exported from `mod.ts`.
 *
 * Frames go from the sender's buffer into a wire of bounded capacity, and from there to the
 * receiver, a batch a microtask. An end that is paused does not read; a test can let it read frame
 * by frame.
 *
 * @module
 */

import { PatchbayError } from "../../errors.ts";
import type { Link, LinkHandler } from "../../link.ts";
import { MAX_FRAME_BYTES } from "../envelope.ts";

/** How a {@link MemoryLink} behaves. */
export interface MemoryLinkOptions {
  /** How many bytes the wire takes before the receiver has read them: the kernel's buffers. */
  capacityBytes?: number;
  /** How many bytes are handed over in one turn. */
  batchBytes?: number;
  /** As {@link Link.detectsClose}. */
  detectsClose?: boolean;
  /** As {@link Link.local}. */
  local?: boolean;
  /** As {@link Link.identity}. */
  identity?: string;
}

/** One end of a link in memory. */
export class MemoryLink implements Link {
  /** As {@link Link.local}. */
  readonly local: boolean;
  /** As {@link Link.detectsClose}. */
  readonly detectsClose: boolean;
  /** As {@link Link.identity}. */
  readonly identity: string | undefined;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  /** As {@link Link.buffer}. */
  readonly buffer: Uint8Array = new Uint8Array(MAX_FRAME_BYTES);
  /** As {@link Link.view}. */
  readonly view: DataView = new DataView(this.buffer.buffer);
  /** Called with each frame that this end reads, before its handler. */
  onRead: ((frame: Uint8Array) => void) | undefined;
  /** Called with each frame that is committed at this end. */
  onWrite: ((frame: Uint8Array) => void) | undefined;
  readonly #capacityBytes: number;
  readonly #batchBytes: number;
  #peer: MemoryLink = this;
  #handler: LinkHandler | undefined;
  /** Committed, not yet on the wire. */
  #pending: Uint8Array[] = [];
  #buffered = 0;
  /** On the wire to this end, not yet read. */
  #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  #paused = false;
  #moving = false;
  #reading = false;
  #closed = false;
  #ending = false;

  /** @param options How it behaves. */
  constructor(options: MemoryLinkOptions = {}) {
    this.local = options.local ?? true;
    this.detectsClose = options.detectsClose ?? true;
    this.identity = options.identity;
    this.#capacityBytes = options.capacityBytes ?? 256 * 1024;
    this.#batchBytes = options.batchBytes ?? 64 * 1024;
  }

  /**
   * Two ends.
   *
   * @param options How they behave.
   */
  static pair(options: MemoryLinkOptions = {}): [MemoryLink, MemoryLink] {
    const one = new MemoryLink(options);
    const other = new MemoryLink(options);
    one.#peer = other;
    other.#peer = one;
    return [one, other];
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** How many frames wait to be read here. */
  get unread(): number {
    return this.#arrived.length;
  }

  /** Reads no longer, until {@link resume}. */
  pause(): void {
    this.#paused = true;
  }

  /** Reads again. */
  resume(): void {
    this.#paused = false;
    this.#read();
  }

  /**
   * Reads some frames although it is paused.
   *
   * @param frames How many.
   * @returns How many there were.
   */
  step(frames = 1): number {
    let read = 0;
    while (read < frames && !this.#closed) {
      const frame = this.#arrived.shift();
      if (frame === undefined) break;
      this.#deliver(frame);
      read++;
    }
    if (read > 0) this.#handler?.batchEnd();
    this.#peer.#move();
    return read;
  }

  /** Breaks it: neither end is told why, and what was under way is lost. */
  cut(): void {
    this.#shut(undefined);
    this.#peer.#shut(undefined);
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#read();
  }

  /** As {@link Link.claim}. */
  claim(bytes: number): number {
    if (bytes > this.maxFrameBytes) throw new Error(`a claim of ${bytes} bytes`);
    return 0;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    if (this.#closed || this.#ending) return;
    const frame = this.buffer.slice(0, bytes);
    this.onWrite?.(frame);
    this.#pending.push(frame);
    this.#buffered += bytes;
    if (this.#moving) return;
    this.#moving = true;
    queueMicrotask(() => {
      this.#moving = false;
      this.#move();
    });
  }

  /** As {@link Link.flush}. */
  flush(): void {
    this.#move();
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (this.#closed || this.#ending) return Promise.resolve();
    if (!abrupt) {
      // What was committed still goes, if there is room for it.
      this.#move();
      this.#peer.#arrived.push(...this.#pending);
      this.#pending = [];
    }
    this.#ending = true;
    const peer = this.#peer;
    this.#shut(undefined);
    queueMicrotask(() => peer.#hungUp());
    return Promise.resolve();
  }

  #move(): void {
    const peer = this.#peer;
    let moved = false;
    while (this.#pending.length > 0 && peer.#arrivedBytes < this.#capacityBytes) {
      const frame = this.#pending.shift() as Uint8Array;
      this.#buffered -= frame.length;
      peer.#arrived.push(frame);
      peer.#arrivedBytes += frame.length;
      moved = true;
    }
    if (!moved) return;
    peer.#read();
    if (!this.#closed) this.#handler?.drained();
  }

  #read(): void {
    if (this.#reading || this.#paused || this.#handler === undefined || this.#closed) return;
    this.#reading = true;
    queueMicrotask(() => {
      this.#reading = false;
      if (this.#paused) return;
      for (let bytes = 0; bytes < this.#batchBytes && !this.#closed && !this.#paused;) {
        const frame = this.#arrived.shift();
        if (frame === undefined) break;
        bytes += frame.length;
        this.#deliver(frame);
      }
      if (!this.#closed) this.#handler?.batchEnd();
      this.#peer.#move();
      if (this.#arrived.length > 0) this.#read();
      else if (this.#peer.#ending) this.#hungUp();
    });
  }

  #deliver(frame: Uint8Array): void {
    this.#arrivedBytes -= frame.length;
    this.onRead?.(frame);
    // Read in the middle of something larger, as from a stream.
    const room = new Uint8Array(frame.length + 8);
    room.set(frame, 4);
    this.#handler?.frame(room, 4, frame.length + 4);
    // Whoever keeps a view sees what happens to it.
    room.fill(0xee);
  }

  /** The other end has closed: what has arrived is read first. */
  #hungUp(): void {
    if (this.#closed) return;
    if (this.#arrived.length > 0) return this.#read();
    if (this.#handler !== undefined) this.#shut(undefined);
  }

  #shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = [];
    this.#buffered = 0;
    this.#handler?.closed(error);
  }
}
