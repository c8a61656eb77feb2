/**
 * A link over two rings in shared memory, with a socket that wakes who sleeps and tells of a death.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import {
  type Link,
  type LinkHandler,
  type LinkSlots,
  MAX_FRAME_BYTES,
  PatchbayError,
  type RingConsumer,
  type RingProducer,
} from "@patchbay/core";
import type { Bell } from "./bells.ts";
import { Patience } from "./patience.ts";

/** How long frames may keep the event loop from turning, in milliseconds. */
const TURN_MS = 1;
/** After so many batches the clock is looked at, which costs as much as a small frame. */
const CLOCK_EVERY = 16;
/** The most bytes that are handed over at once. */
const BATCH_BYTES = 64 * 1024;
/**
 * What follows from a frame stands behind some promises: after so many hops at most, the next call
 * or the answer has been sent, and polling before would only delay it.
 */
const HOPS = 24;
/** How long {@link RingLink.close} waits for room for what was committed, in milliseconds. */
const FLUSH_MS = 1000;

const BELL = new Uint8Array([1]);

/** What a link takes over. */
export interface RingLinkParts {
  /** The socket to the peer: doorbell and crash detector. */
  readonly conn: Deno.Conn;
  /** The ring to the peer. */
  readonly producer: RingProducer;
  /** The ring from the peer. */
  readonly consumer: RingConsumer;
  /** Slots for newest values, in the same memory. */
  readonly slots?: LinkSlots;
  /** Lets another process run (`sched_yield`). */
  readonly yieldCore: () => void;
  /** Listens to the second way of being woken; returns what ends that. */
  readonly hear?: (wake: () => void) => () => void;
  /** Frees the memory under the rings; called once, when nothing touches it any more. */
  readonly free: () => void;
}

/** Resolves in the next turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** A link over two rings. */
export class RingLink implements Link {
  /** Memory is shared on one host only. */
  readonly local = true;
  /** The kernel closes the socket with the process. */
  readonly detectsClose = true;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number;
  /** As {@link Link.slots}. */
  readonly slots: LinkSlots | undefined;
  /** The peer has the rings, too. */
  readonly shared = true;
  /** As {@link Link.buffer}: the ring itself for an exact claim, else {@link #scratch}. */
  buffer: Uint8Array;
  /** As {@link Link.view}. */
  view: DataView;
  // What lies behind a claim that is not exact may be overwritten before the commit, and in the ring
  // that would be messages that the peer has not read.
  readonly #scratch = new Uint8Array(MAX_FRAME_BYTES);
  readonly #scratchView = new DataView(this.#scratch.buffer);
  /** For an exact claim that finds no room in the ring. */
  #spill: Uint8Array | undefined;
  readonly #parts: RingLinkParts;
  readonly #producer: RingProducer;
  readonly #consumer: RingConsumer;
  readonly #patience: Patience;
  /** Whether the claim lies in the ring. */
  #inRing = false;
  /** Counts commits: whoever waits for what follows from a frame sees that it has come. */
  #commits = 0;
  /** Frames that found no room in the ring. */
  #waiting: Uint8Array[] = [];
  #firstWaiting = 0;
  #buffered = 0;
  #handler: LinkHandler | undefined;
  /** Both loops, once started. */
  #running: Promise<unknown> | undefined;
  /** Wakes the polling loop; `undefined` while it does not sleep. */
  #wake: (() => void) | undefined;
  #looking = false;
  #bell: Bell | undefined;
  #deaf: (() => void) | undefined;
  #ringing: Promise<void> | undefined;
  #ringAgain = false;
  /** The peer has closed the socket, or died: what it wrote before is still read. */
  #peerGone = false;
  #emptied: (() => void) | undefined;
  #closed = false;
  readonly #freed = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;

  /**
   * Takes over the socket and the memory.
   *
   * @param parts What it is made of; the link owns it.
   */
  constructor(parts: RingLinkParts) {
    this.#parts = parts;
    this.#producer = parts.producer;
    this.#consumer = parts.consumer;
    this.#patience = new Patience(parts.consumer, parts.yieldCore);
    this.slots = parts.slots;
    this.maxFrameBytes = parts.producer.maxBytes;
    this.buffer = this.#scratch;
    this.view = this.#scratchView;
  }

  /** As {@link Link.buffered}: what waits for room in the ring. */
  get buffered(): number {
    return this.#buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#deaf = this.#parts.hear?.(() => this.#wakeUp());
    this.#running = Promise.all([this.#listen(), this.#run(handler)]);
  }

  /** As {@link Link.claim}. */
  claim(bytes: number, exact = false): number {
    if (exact && this.#buffered === 0 && !this.#closed) {
      const at = this.#claimInRing(bytes);
      if (at >= 0) {
        this.buffer = this.#producer.bytes;
        this.view = this.#producer.view;
        this.#inRing = true;
        return at;
      }
    }
    this.#inRing = false;
    // The last one may have found room after all.
    this.#spill = undefined;
    if (bytes <= this.#scratch.length) {
      this.buffer = this.#scratch;
      this.view = this.#scratchView;
    } else {
      this.buffer = this.#spill = new Uint8Array(bytes);
      this.view = new DataView(this.buffer.buffer);
    }
    return 0;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    if (this.#closed) return;
    this.#commits++;
    try {
      if (this.#inRing) {
        this.#inRing = false;
        this.#producer.commit(bytes);
        return this.#sent();
      }
      if (this.#buffered === 0 && this.#put(this.buffer, bytes)) return this.#sent();
      const frame = this.#spill ?? this.buffer.slice(0, bytes);
      this.#spill = undefined;
      this.#waiting.push(frame);
      this.#buffered += bytes;
      // If this side sleeps, nobody would look whether there is room now: say that it waits for it.
      if (this.#wake !== undefined) this.#wakeUp();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** As {@link Link.flush}: a frame is with the peer as soon as it was committed. */
  flush(): void {
    if (this.#closed || this.#buffered === 0) return;
    try {
      this.#putWaiting();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (abrupt) this.#shut(undefined);
    return this.#closing ??= (async () => {
      if (!this.#closed && this.#buffered > 0 && this.#running !== undefined) {
        let timer: ReturnType<typeof setTimeout> | undefined;
        await new Promise<void>((resolve) => {
          this.#emptied = resolve;
          timer = setTimeout(resolve, FLUSH_MS);
        });
        clearTimeout(timer);
      }
      this.#shut(undefined);
      await this.#freed.promise;
    })();
  }

  /** From now on the peer is woken by a bell instead of the socket; the link owns it. */
  ringWith(bell: Bell): void {
    this.#bell = bell;
  }

  /** Resolves when it is closed and its memory was freed. */
  get freed(): Promise<void> {
    return this.#freed.promise;
  }

  // ----- out -----

  #claimInRing(bytes: number): number {
    try {
      return this.#producer.claim(bytes);
    } catch (error) {
      this.#fail(error);
      return -1;
    }
  }

  /** A frame is in the ring. */
  #sent(): void {
    // The answer to what ends a silence is looked for a while, rather than slept for. Whether there
    // will be one is known after this turn; a peer on the same core may answer before, and must not
    // ring then.
    if (this.#wake !== undefined && !this.#looking) {
      this.#looking = true;
      this.#consumer.awake();
      queueMicrotask(this.#lookForAnswer);
    }
    if (this.#producer.wakes()) this.#ring();
  }

  readonly #lookForAnswer = (): void => {
    this.#looking = false;
    if (this.#closed || this.#wake === undefined) return;
    try {
      if (this.#handler?.expectsAnswer !== true && this.#consumer.sleep()) return;
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#handler?.expectsAnswer === true) this.#patience.expectAnswer();
    this.#wakeUp();
  };

  #put(from: Uint8Array, bytes: number): boolean {
    const producer = this.#producer;
    const at = producer.claim(bytes);
    if (at < 0) return false;
    producer.bytes.set(bytes === from.length ? from : from.subarray(0, bytes), at);
    producer.commit(bytes);
    return true;
  }

  /** Puts what waits into the ring, as far as there is room. */
  #putWaiting(): boolean {
    const waiting = this.#waiting;
    const first = this.#firstWaiting;
    let next = first;
    while (next < waiting.length && this.#put(waiting[next], waiting[next].length)) {
      this.#buffered -= waiting[next++].length;
    }
    if (next === first) return false;
    this.#firstWaiting = next;
    if (next === waiting.length) {
      this.#waiting = [];
      this.#firstWaiting = 0;
    } else if (next > 1024) {
      waiting.splice(0, next);
      this.#firstWaiting = 0;
    }
    if (this.#producer.wakes()) this.#ring();
    this.#handler?.drained();
    if (this.#buffered === 0) this.#emptied?.();
    return true;
  }

  /** Wakes the peer, for whatever it waits. */
  #ring(): void {
    if (this.#bell !== undefined) {
      try {
        return this.#bell.ring();
      } catch (error) {
        return this.#fail(error);
      }
    }
    // A ring that is still under way may be heard before the peer falls asleep again.
    if (this.#ringing !== undefined) this.#ringAgain = true;
    else this.#ringing = this.#writeBell();
  }

  async #writeBell(): Promise<void> {
    try {
      do {
        this.#ringAgain = false;
        await this.#parts.conn.write(BELL);
      } while (this.#ringAgain && !this.#closed);
    } catch {
      // It is gone: whoever listens to the socket notices, too.
    }
    this.#ringing = undefined;
  }

  // ----- in -----

  /** Listens to the doorbell. */
  async #listen(): Promise<void> {
    const bells = new Uint8Array(256);
    try {
      while (await this.#parts.conn.read(bells) !== null) this.#wakeUp();
    } catch (error) {
      // Not the end that a peer leaves behind: the socket broke, or was closed on this side.
      if (!(error instanceof Deno.errors.ConnectionReset)) return this.#shut(lost(error));
    }
    this.#peerGone = true;
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async #run(handler: LinkHandler): Promise<void> {
    try {
      await this.#poll(handler);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #poll(handler: LinkHandler): Promise<void> {
    const patience = this.#patience;
    const idle = () => handler.idle?.();
    let batches = 0;
    let lastTurn = performance.now();
    while (!this.#closed) {
      if (this.#peerGone) {
        // All that it wrote is there, and no more than the ring holds.
        this.#take(handler, this.#consumer.capacity);
        return this.#shut(undefined);
      }
      if (this.#buffered > 0) this.#putWaiting();
      const before = this.#commits;
      if (this.#take(handler, BATCH_BYTES)) {
        for (let hop = 0; hop < HOPS && this.#commits === before; hop++) await null;
        patience.found();
        if (++batches % CLOCK_EVERY === 0 && performance.now() - lastTurn > TURN_MS) {
          await turn();
          lastTurn = performance.now();
        }
        continue;
      }
      if (patience.look(idle)) continue;
      if (patience.over) {
        await this.#sleep();
        patience.begin();
      } else await turn();
      lastTurn = performance.now();
    }
  }

  /** Hands over what has come, where it lies. */
  #take(handler: LinkHandler, maxBytes: number): boolean {
    const consumer = this.#consumer;
    const { bytes: ring, capacity } = consumer;
    let bytes = 0;
    while (bytes < maxBytes) {
      const at = consumer.peek();
      if (at < 0) break;
      const { length } = consumer;
      bytes += length + 8;
      handler.frame(ring, at, at + length);
      if (this.#closed) return true;
      consumer.skip();
      // The sender may need the room before the batch is through.
      if (consumer.kept * 4 >= capacity) this.#release();
    }
    if (bytes === 0) return false;
    this.#release();
    handler.batchEnd();
    return true;
  }

  #release(): void {
    const consumer = this.#consumer;
    consumer.release();
    if (consumer.wakes()) this.#ring();
  }

  /** Says that it sleeps, looks again, and waits for the bell. */
  async #sleep(): Promise<void> {
    const asleep = this.#consumer.sleep() &&
      (this.#buffered === 0 || this.#producer.sleep(this.#waiting[this.#firstWaiting].length));
    // No turn of the event loop has passed since: nobody can have rung in between.
    if (asleep && !this.#peerGone) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#closed) return;
    this.#consumer.awake();
    if (this.#buffered > 0) this.#producer.awake();
  }

  // ----- end -----

  /** The peer has broken a ring, or this side is at fault: the session tells it, and it ends. */
  #fail(thrown: unknown): void {
    if (this.#closed) return;
    const error = PatchbayError.fromThrown(thrown);
    // Whoever commits is in the middle of something.
    queueMicrotask(() => {
      if (this.#closed) return;
      this.#handler?.malformed(error);
      this.#shut(error);
    });
  }

  #shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#deaf?.();
    this.#buffered = 0;
    this.#waiting = [];
    try {
      this.#parts.conn.close();
    } catch {
      // The peer was faster.
    }
    this.#wakeUp();
    this.#emptied?.();
    void this.#free();
    this.#handler?.closed(error);
  }

  /** Frees the memory when neither loop touches it any more. */
  async #free(): Promise<void> {
    await this.#running;
    await this.#ringing;
    this.#bell?.[Symbol.dispose]();
    this.#parts.free();
    this.#freed.resolve();
  }
}

function lost(error: unknown): PatchbayError | undefined {
  // Closing while a read is pending is how an orderly end looks to Deno.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("closed", `the connection broke: ${message}`, { cause: error });
}
