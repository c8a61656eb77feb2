/**
 * A link over two rings in memory that two threads share: it polls while there is traffic, and
 * sleeps otherwise, without holding up the thread.
 *
 * @module
 */

import {
  type LinkHandler,
  MAX_FRAME_BYTES,
  PatchbayError,
  RingConsumer,
  RingProducer,
} from "@patchbay/core";
import { canDoze, Spins } from "./doze.ts";
import { ringMemory } from "./greeting.ts";
import { PortLink, type PortLinkParts } from "./port_link.ts";
import { openTurn, type Turn } from "./turn.ts";

/**
 * How often to look before the event loop turns: longer than that takes, or each side would miss the
 * other's message in a turn of its own.
 */
const POLLS = 4000;
/** Frames that come less than so many milliseconds apart are traffic. */
const RECENT_MS = 1;
/**
 * In traffic a side looks longer before it sleeps: longer than it takes to wake another core, or
 * both would fall asleep over each other's waking, again and again.
 */
const BUSY_SPINS = 4;
/** The clock is read after so many batches and one, in binary ones. */
const CLOCK_MASK = 7;
/** How long frames may keep the event loop from turning, in milliseconds. */
const TURN_MS = 1;
/** The most bytes that are handed over at once. */
const BATCH_BYTES = 64 * 1024;
/**
 * What follows from a frame (the answer, the next call) stands behind some promises: so many hops,
 * at most, before looking again would only delay it.
 */
const HOPS = 12;

/** What a link over rings takes over. */
export interface RingLinkParts extends PortLinkParts {
  /** The memory, laid out as {@link ringMemory} says. */
  readonly memory: SharedArrayBuffer;
  /** How many bytes each ring holds. */
  readonly capacity: number;
  /** Whether this side is the parent. */
  readonly parent: boolean;
  /** Whether the other side waits by `Atomics.waitAsync`, or wants a message. */
  readonly peerWaits: boolean;
  /** How long to look for more before sleeping, in milliseconds. */
  readonly spinMs: number;
}

/** A link over two rings. */
export class RingLink extends PortLink {
  // Not the ring itself: what lies behind a claim may be overwritten before the commit, and in the
  // ring that would be messages that the other side has not read.
  /** As {@link PortLink.buffer}. */
  readonly buffer: Uint8Array = new Uint8Array(MAX_FRAME_BYTES);
  /** As {@link PortLink.view}. */
  readonly view: DataView = new DataView(this.buffer.buffer);
  readonly #producer: RingProducer;
  readonly #consumer: RingConsumer;
  /** Frames are copied out before anybody looks at them: the other side could change them. */
  readonly #taken = new Uint8Array(MAX_FRAME_BYTES);
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bell: number;
  readonly #peerBell: number;
  readonly #peerWaits: boolean;
  readonly #parts: RingLinkParts;
  /** Frames that found no room in the ring. */
  #waiting: Uint8Array[] = [];
  #firstWaiting = 0;
  #buffered = 0;
  /** Counts what was put into the ring. */
  #sent = 0;
  /** Wakes the loop where it waits for a message; `undefined` otherwise. */
  #wake: (() => void) | undefined;
  #asleep = false;
  readonly #spins = new Spins();
  readonly #canDoze: boolean;
  readonly #turn: Turn;
  readonly #closeTurn: () => void;

  /**
   * @param parts What it is made of.
   * @throws {PatchbayError} `protocol`: there are no rings in the memory.
   */
  constructor(parts: RingLinkParts) {
    const { memory, capacity, parent } = parts;
    const at = ringMemory(capacity);
    const [out, back] = parent ? [at.toWorker, at.toParent] : [at.toParent, at.toWorker];
    const producer = RingProducer.attach(memory, { offset: out, capacity });
    const consumer = RingConsumer.attach(memory, { offset: back, capacity });
    super(parts);
    this.#producer = producer;
    this.#consumer = consumer;
    this.#words = new Int32Array(memory);
    this.#bell = parent ? at.parentBell : at.workerBell;
    this.#peerBell = parent ? at.workerBell : at.parentBell;
    this.#peerWaits = parts.peerWaits;
    this.#parts = parts;
    this.#canDoze = canDoze(this.#words);
    const { turn, close } = openTurn();
    this.#turn = turn;
    this.#closeTurn = close;
  }

  /** As {@link PortLink.buffered}: what waits for room in the ring. */
  override get buffered(): number {
    return this.#buffered;
  }

  /** As {@link PortLink.start}. */
  override start(handler: LinkHandler): void {
    super.start(handler);
    void this.#run(handler);
  }

  /** As {@link PortLink.claim}. */
  override claim(_bytes: number): number {
    return 0;
  }

  /** As {@link PortLink.commit}. */
  override commit(bytes: number): void {
    if (this.isClosed) return;
    try {
      if (this.#buffered === 0 && this.#put(this.buffer, bytes)) return this.#ringIfAsleep();
      this.#waiting.push(this.buffer.slice(0, bytes));
      this.#buffered += bytes;
      // If this side sleeps, nobody would look whether there is room now: say that it waits for it.
      if (this.#asleep) this.#wakeUp();
    } catch (error) {
      this.fail(error);
    }
  }

  /** As {@link PortLink.flush}: a frame is with the other side as soon as it was committed. */
  override flush(): void {
    if (this.isClosed || this.#buffered === 0) return;
    try {
      this.#putWaiting();
    } catch (error) {
      this.fail(error);
    }
  }

  // ----- out -----

  #put(from: Uint8Array, bytes: number): boolean {
    const producer = this.#producer;
    const at = producer.claim(bytes);
    if (at < 0) return false;
    producer.bytes.set(bytes === from.length ? from : from.subarray(0, bytes), at);
    producer.commit(bytes);
    this.#sent++;
    return true;
  }

  /** Puts what waits into the ring, as far as there is room. */
  #putWaiting(): void {
    const waiting = this.#waiting;
    const first = this.#firstWaiting;
    let next = first;
    while (next < waiting.length && this.#put(waiting[next], waiting[next].length)) {
      this.#buffered -= waiting[next++].length;
    }
    if (next === first) return;
    this.#firstWaiting = next;
    if (next === waiting.length) {
      this.#waiting = [];
      this.#firstWaiting = 0;
    } else if (next > 1024) {
      waiting.splice(0, next);
      this.#firstWaiting = 0;
    }
    this.#ringIfAsleep();
    this.handler?.drained();
    if (this.#buffered === 0) this.emptied();
  }

  #ringIfAsleep(): void {
    if (this.#producer.wakes()) this.#ring();
  }

  /** Wakes the other side, for whatever it waits. */
  #ring(): void {
    Atomics.add(this.#words, this.#peerBell, 1);
    if (this.#peerWaits) Atomics.notify(this.#words, this.#peerBell);
    else this.port.postMessage(0);
  }

  // ----- in -----

  /** As {@link PortLink.came}: the bell of a side that cannot wait for memory. */
  protected override came(data: number | ArrayBuffer): void {
    if (typeof data !== "number") {
      throw new PatchbayError("protocol", "the other side sent a message beside its ring");
    }
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    Atomics.add(this.#words, this.#bell, 1);
    Atomics.notify(this.#words, this.#bell);
  }

  async #run(handler: LinkHandler): Promise<void> {
    try {
      await this.#poll(handler);
    } catch (error) {
      this.fail(error);
    }
    this.#closeTurn();
  }

  async #poll(handler: LinkHandler): Promise<void> {
    const { spinMs } = this.#parts;
    let lastFrame = -Infinity;
    let lastTurn = performance.now();
    let windowMs = spinMs;
    let spins = false;
    let taken = 0;
    /** When it fell asleep, if it did so since the last frame. */
    let slept = -Infinity;
    while (!this.isClosed) {
      if (this.#buffered > 0) this.#putWaiting();
      const sent = this.#sent;
      if (this.#take(handler, BATCH_BYTES)) {
        for (let hop = 0; hop < HOPS && this.#sent === sent; hop++) await null;
        // Looking at the clock takes longer than looking into the ring.
        if (spins && (++taken & CLOCK_MASK) !== 0 && this.#look()) continue;
        const now = performance.now();
        windowMs = now - lastFrame < RECENT_MS ? BUSY_SPINS * spinMs : spinMs;
        if (slept >= lastFrame) this.#spins.woken(now - slept, now);
        lastFrame = now;
        if (now - lastTurn < TURN_MS) continue;
        await this.#turn();
        lastTurn = performance.now();
        continue;
      }
      const now = performance.now();
      spins = this.#spins.worthwhile(now);
      if (now - lastFrame < windowMs && (spins || this.#canDoze)) {
        if (spins ? this.#look() : this.#doze()) continue;
        await this.#turn();
        lastTurn = performance.now();
        continue;
      }
      slept = now;
      await this.#sleep();
      lastTurn = performance.now();
    }
  }

  /** Looks some times whether a frame has come. */
  #look(): boolean {
    const consumer = this.#consumer;
    for (let poll = 0; poll < POLLS; poll++) {
      if (consumer.peek() < 0) continue;
      this.#spins.seen();
      return true;
    }
    return false;
  }

  /** Gives the core away until a frame comes, for a moment in which the event loop does not turn. */
  #doze(): boolean {
    if (this.#buffered > 0) return false;
    const seen = Atomics.load(this.#words, this.#bell);
    if (!this.#consumer.sleep()) return true;
    const came = Atomics.wait(this.#words, this.#bell, seen, this.#parts.spinMs) !== "timed-out";
    this.#consumer.awake();
    return came;
  }

  /** Hands over what has come. */
  #take(handler: LinkHandler, maxBytes: number): boolean {
    const consumer = this.#consumer;
    const taken = this.#taken;
    let bytes = 0;
    while (bytes < maxBytes) {
      const at = consumer.peek();
      if (at < 0) break;
      const { length } = consumer;
      if (length > this.maxFrameBytes) {
        throw new PatchbayError(
          "protocol",
          `the other side sent a frame of ${length} bytes, the limit is ${this.maxFrameBytes}`,
          { details: { size: length, max: this.maxFrameBytes } },
        );
      }
      taken.set(consumer.bytes.subarray(at, at + length));
      consumer.release();
      bytes += length + 8;
      handler.frame(taken, 0, length);
      if (this.isClosed) return true;
    }
    if (bytes === 0) return false;
    if (consumer.wakes()) this.#ring();
    handler.batchEnd();
    return true;
  }

  /** Says that it sleeps, looks again, and waits for the bell. */
  async #sleep(): Promise<void> {
    const seen = Atomics.load(this.#words, this.#bell);
    this.#asleep = true;
    const nothing = this.#consumer.sleep() &&
      (this.#buffered === 0 || this.#producer.sleep(this.#waiting[this.#firstWaiting].length));
    if (nothing) await this.#wait(seen);
    this.#asleep = false;
    if (this.isClosed) return;
    this.#consumer.awake();
    if (this.#buffered > 0) this.#producer.awake();
  }

  async #wait(seen: number): Promise<void> {
    if (typeof Atomics.waitAsync === "function") {
      const waiting = Atomics.waitAsync(this.#words, this.#bell, seen);
      if (waiting.async) await waiting.value;
      return;
    }
    // The bell is a message, and no message can have come since the last look.
    await new Promise<void>((resolve) => this.#wake = resolve);
    this.#wake = undefined;
  }

  // ----- end -----

  /** As {@link PortLink.takeRest}: all that it wrote is there, and no more than the ring holds. */
  protected override takeRest(handler: LinkHandler): void {
    this.#take(handler, this.#consumer.capacity);
  }

  /** As {@link PortLink.release}. */
  protected override release(): void {
    this.#buffered = 0;
    this.#waiting = [];
    this.#wakeUp();
  }
}
