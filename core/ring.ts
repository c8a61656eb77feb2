/**
 * A ring of bytes in memory that two sides share: one writes messages, one reads them, and neither
 * ever waits for the other.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

// The layout, version 1. All numbers are 32 bits in the machine's byte order: both sides are on one
// machine. Each group stands on a line of its own, 128 bytes because processors fetch lines of 64
// in pairs: what one side writes often must not share one with what the other reads often.
//
//     0  magic, version, capacity in bytes, epoch
//   128  head: how far the producer has written, in units of 8 bytes, wrapping at 2^32
//   256  tail: how far the consumer has read, likewise
//   384  the consumer sleeps and wants to be woken
//   512  the producer sleeps and wants to be woken
//   640  the data
//
// A message is its length and its type, 4 bytes each, then its bytes, padded to 8. It never wraps:
// a length of -1 says that the next message begins at the start of the data.
const LINE = 128;
const MAGIC_AT = 0;
const VERSION_AT = 1;
const CAPACITY_AT = 2;
const EPOCH_AT = 3;
const HEAD_AT = LINE / 4;
const TAIL_AT = 2 * LINE / 4;
const CONSUMER_SLEEPS_AT = 3 * LINE / 4;
const PRODUCER_SLEEPS_AT = 4 * LINE / 4;
const HEADER_BYTES = 5 * LINE;

const MAGIC = 0x50425231; // "PBR1"
const VERSION = 1;
const WRAP = -1;
const MIN_CAPACITY = 64;
const MAX_CAPACITY = 2 ** 30;

/** Where a ring lies, and which one it must be. */
export interface RingPlace {
  /** Where it begins in the buffer, in bytes; divisible by 8, and by 128 to be fast. Default 0. */
  offset?: number;
  /** Which of several rings that used this place one after the other. Default 0. */
  epoch?: number;
}

/** Where a ring that exists lies, and what it must be. */
export interface RingAttachPlace extends RingPlace {
  /** How many bytes of messages it must hold. Default: what its header says, if that fits. */
  capacity?: number;
}

/**
 * How many bytes a ring takes, its header included.
 *
 * @param capacity As for {@link createRing}.
 */
export function ringBytes(capacity: number): number {
  return HEADER_BYTES + capacity;
}

/**
 * Makes an empty ring. To be called once, by one side, before either attaches; what lay there is
 * overwritten.
 *
 * @param buffer An `ArrayBuffer` over memory that processes share, or a `SharedArrayBuffer`.
 * @param capacity How many bytes of messages it holds: a power of two from 64 to 2^30. The longest
 * message has `capacity / 2 - 8` bytes.
 * @param place Where in the buffer.
 * @throws PatchbayError `invalid` if it does not fit, or the capacity is no power of two.
 *
 * @example
 * ```ts
 * import { createRing, RingConsumer, ringBytes, RingProducer } from "@patchbay/core";
 *
 * const memory = new SharedArrayBuffer(ringBytes(1024));
 * createRing(memory, 1024);
 * const producer = RingProducer.attach(memory);
 * const consumer = RingConsumer.attach(memory); // in a worker or another process, usually
 *
 * const at = producer.claim(5);
 * if (at < 0) throw new Error("full");
 * producer.bytes.set([1, 2, 3, 4, 5], at);
 * producer.commit(5);
 *
 * const from = consumer.peek();
 * if (from < 0) throw new Error("empty");
 * const message = consumer.bytes.slice(from, from + consumer.length);
 * consumer.release();
 * if (message.join() !== "1,2,3,4,5") throw new Error("unexpected");
 * ```
 */
export function createRing(
  buffer: ArrayBufferLike,
  capacity: number,
  place: RingPlace = {},
): void {
  const { offset = 0, epoch = 0 } = place;
  if (!isCapacity(capacity)) {
    throw new PatchbayError("invalid", `a ring cannot hold ${capacity} bytes`, {
      remedy: `choose a power of two from ${MIN_CAPACITY} to ${MAX_CAPACITY}`,
    });
  }
  checkPlace(buffer, offset, capacity);
  const header = new Int32Array(buffer, offset, HEADER_BYTES / 4);
  // The magic number goes first and comes last: who looks meanwhile finds no ring.
  Atomics.store(header, MAGIC_AT, 0);
  for (let i = 1; i < header.length; i++) Atomics.store(header, i, 0);
  Atomics.store(header, VERSION_AT, VERSION);
  Atomics.store(header, CAPACITY_AT, capacity);
  Atomics.store(header, EPOCH_AT, epoch | 0);
  Atomics.store(header, MAGIC_AT, MAGIC);
}

function isCapacity(capacity: number): boolean {
  return Number.isInteger(capacity) && capacity >= MIN_CAPACITY && capacity <= MAX_CAPACITY &&
    (capacity & (capacity - 1)) === 0;
}

function checkPlace(buffer: ArrayBufferLike, offset: number, capacity: number): void {
  if (
    Number.isInteger(offset) && offset >= 0 && offset % 8 === 0 &&
    offset + HEADER_BYTES + capacity <= buffer.byteLength
  ) return;
  throw new PatchbayError(
    "invalid",
    `a ring of ${capacity} bytes at ${offset} does not lie in a buffer of ${buffer.byteLength}`,
    { remedy: "choose an offset divisible by 8; a ring takes ringBytes(capacity)" },
  );
}

/** The views of one side on a ring that was checked. */
interface Views {
  header: Int32Array;
  bytes: Uint8Array;
  view: DataView;
  words: Int32Array;
  capacity: number;
  epoch: number;
  head: number;
  tail: number;
}

/** Reads a header that may say anything. */
function attach(buffer: ArrayBufferLike, place: RingAttachPlace): Views {
  const { offset = 0, epoch = 0 } = place;
  checkPlace(buffer, offset, 0);
  const header = new Int32Array(buffer, offset, HEADER_BYTES / 4);
  const expect = (what: string, found: number, expected: number) => {
    if (found === expected) return;
    throw wrong(`wrong ${what}: ${found}, and ${expected} was expected`, { found, expected });
  };
  expect("magic number", Atomics.load(header, MAGIC_AT), MAGIC);
  expect("version", Atomics.load(header, VERSION_AT), VERSION);
  const capacity = Atomics.load(header, CAPACITY_AT);
  if (place.capacity !== undefined) expect("size", capacity, place.capacity);
  if (!isCapacity(capacity) || offset + HEADER_BYTES + capacity > buffer.byteLength) {
    throw wrong(`wrong size: ${capacity} bytes at ${offset} of ${buffer.byteLength}`, {
      found: capacity,
    });
  }
  expect("epoch", Atomics.load(header, EPOCH_AT), epoch | 0);
  const head = Atomics.load(header, HEAD_AT);
  const tail = Atomics.load(header, TAIL_AT);
  const used = (head - tail) | 0;
  if (used < 0 || used > capacity >>> 3) throw wrongDistance(used * 8, capacity);
  return {
    header,
    bytes: new Uint8Array(buffer, offset + HEADER_BYTES, capacity),
    view: new DataView(buffer, offset + HEADER_BYTES, capacity),
    words: new Int32Array(buffer, offset + HEADER_BYTES, capacity >>> 2),
    capacity,
    epoch: epoch | 0,
    head,
    tail,
  };
}

function wrong(what: string, details: Record<string, unknown>): PatchbayError {
  return new PatchbayError("protocol", `this is no ring to attach to, or it is broken: ${what}`, {
    details,
    remedy: "close both sides and make the ring anew; the other side may be of another version",
  });
}

function wrongDistance(bytes: number, capacity: number): PatchbayError {
  return wrong(`its head is ${bytes} bytes past its tail, in ${capacity} bytes`, {
    found: bytes,
    capacity,
  });
}

/** Views of a buffer that was detached have no length: its owner has closed it. */
function gone(): PatchbayError {
  return new PatchbayError("closed", "the memory of the ring was closed");
}

/**
 * The side of a ring that writes. There is one for each ring at any time.
 *
 * Nothing that it writes can be seen before {@link commit}, which publishes the whole message with
 * one atomic store: a producer that dies at any moment leaves whole messages, and another one that
 * attaches goes on where it stopped. Whatever the other side writes into the header, it touches
 * only the ring's own bytes.
 *
 * @example Writing until it is full, and sleeping then
 * ```ts
 * import { createRing, ringBytes, RingProducer } from "@patchbay/core";
 *
 * const memory = new SharedArrayBuffer(ringBytes(64));
 * createRing(memory, 64);
 * const producer = RingProducer.attach(memory);
 * let sent = 0;
 * for (let at = producer.claim(8); at >= 0; at = producer.claim(8)) {
 *   producer.view.setFloat64(at, sent++);
 *   producer.commit(8, 7);
 * }
 * if (sent !== 4) throw new Error("16 bytes each, with the header");
 * if (!producer.sleep(8)) throw new Error("nobody has read anything");
 * // Now it may wait for the doorbell that the consumer rings when `consumer.wakes()`.
 * ```
 */
export class RingProducer {
  /** The data of the ring. */
  readonly bytes: Uint8Array;
  /** The same bytes. */
  readonly view: DataView;
  /** How many bytes of messages the ring holds. */
  readonly capacity: number;
  /** The longest message, in bytes. */
  readonly maxBytes: number;
  /** Which of several rings that used this place one after the other. */
  readonly epoch: number;
  readonly #header: Int32Array;
  readonly #words: Int32Array;
  // In units of 8 bytes.
  readonly #units: number;
  #head: number;
  /** The tail when it was last looked at: it can only have moved on since. */
  #seenTail: number;
  /** Where the claimed message begins; -1 without a claim. */
  #at = -1;
  #skip = 0;
  #claimed = 0;
  #broken: PatchbayError | undefined;

  private constructor(views: Views) {
    this.bytes = views.bytes;
    this.view = views.view;
    this.capacity = views.capacity;
    this.maxBytes = (views.capacity >>> 1) - 8;
    this.epoch = views.epoch;
    this.#header = views.header;
    this.#words = views.words;
    this.#units = views.capacity >>> 3;
    this.#head = views.head;
    this.#seenTail = views.tail;
  }

  /**
   * Becomes the writing side of a ring that exists; messages that nobody has read stay.
   *
   * @param buffer Where it lies.
   * @param place Where in it, and what it must be.
   * @throws PatchbayError `protocol` with the reason if its magic number, version, size or epoch is
   * wrong, `invalid` if no ring fits there.
   */
  static attach(buffer: ArrayBufferLike, place: RingAttachPlace = {}): RingProducer {
    return new RingProducer(attach(buffer, place));
  }

  /**
   * Makes room for one message. A claim that was neither committed nor aborted is forgotten.
   *
   * @param bytes Its length, or more; at most {@link maxBytes}.
   * @returns Where it begins in {@link bytes}, or -1 if there is no room now.
   * @throws PatchbayError `too_large`; `protocol` if the other side has broken the ring.
   */
  claim(bytes: number): number {
    // Neither a negative length nor NaN passes.
    if (!(bytes >= 0 && bytes <= this.maxBytes)) throw this.#tooLarge(bytes);
    const need = ((bytes + 7) >>> 3) + 1;
    const units = this.#units;
    const at = this.#head & (units - 1);
    const skip = at + need > units ? units - at : 0;
    if (units - ((this.#head - this.#seenTail) | 0) < need + skip) {
      if (units - this.#look() < need + skip) {
        this.#at = -1;
        return -1;
      }
    }
    this.#skip = skip;
    this.#claimed = bytes;
    this.#at = skip === 0 ? at : 0;
    return (this.#at << 3) + 8;
  }

  /**
   * Publishes the claimed message.
   *
   * @param bytes How much of the claim is used, from its beginning.
   * @param type A number for the reader, of 32 bits.
   * @throws PatchbayError `invalid` without a claim, or for more than was claimed.
   */
  commit(bytes: number, type = 0): void {
    const at = this.#at;
    if (at < 0 || !(bytes >= 0 && bytes <= this.#claimed)) throw this.#badCommit(bytes);
    if (this.#header.length === 0) throw gone();
    const skip = this.#skip;
    if (skip !== 0) this.#words[(this.#head & (this.#units - 1)) << 1] = WRAP;
    this.#words[at << 1] = bytes;
    this.#words[(at << 1) + 1] = type;
    this.#at = -1;
    this.#head = (this.#head + skip + ((bytes + 7) >>> 3) + 1) | 0;
    Atomics.store(this.#header, HEAD_AT, this.#head);
  }

  /** Forgets the claim: nothing was sent. */
  abort(): void {
    this.#at = -1;
  }

  /**
   * Whether the other side sleeps and has to be woken, by whatever wakes it: ask after committing.
   * It says so once for each time it went to sleep.
   */
  wakes(): boolean {
    return takeFlag(this.#header, CONSUMER_SLEEPS_AT);
  }

  /**
   * Says that this side is going to wait for room, and looks again.
   *
   * @param bytes The message that found no room.
   * @returns Whether to wait; false: there is room now, and nobody will wake this side.
   * @throws PatchbayError `too_large`, `protocol` as {@link claim}.
   */
  sleep(bytes: number): boolean {
    if (this.#header.length === 0) throw gone();
    Atomics.store(this.#header, PRODUCER_SLEEPS_AT, 1);
    if (this.claim(bytes) < 0) return true;
    this.abort();
    this.awake();
    return false;
  }

  /** Says that this side no longer waits: it was woken, or has given up. */
  awake(): void {
    if (this.#header.length === 0) throw gone();
    Atomics.store(this.#header, PRODUCER_SLEEPS_AT, 0);
  }

  /**
   * How many bytes wait to be read, headers and gaps included.
   *
   * @throws PatchbayError `protocol` if the other side has broken the ring.
   */
  get used(): number {
    return this.#look() * 8;
  }

  /** Looks where the reader is, in units. */
  #look(): number {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#header.length === 0) throw gone();
    const tail = Atomics.load(this.#header, TAIL_AT);
    const used = (this.#head - tail) | 0;
    // A tail that goes back, or past the head, would let it overwrite what was not read.
    if (used < 0 || used > ((this.#head - this.#seenTail) | 0)) {
      this.#broken = wrongDistance(used * 8, this.capacity);
      this.#seenTail = (this.#head - this.#units) | 0; // no room, so every claim looks and throws
      throw this.#broken;
    }
    this.#seenTail = tail;
    return used;
  }

  #tooLarge(bytes: number): PatchbayError {
    if (!(bytes >= 0)) return new PatchbayError("invalid", `${bytes} is no length of a message`);
    return new PatchbayError(
      "too_large",
      `the message has ${bytes} bytes, and this ring takes ${this.maxBytes} at once`,
      {
        details: { size: bytes, max: this.maxBytes },
        remedy: "send it in parts, or make a larger ring",
      },
    );
  }

  #badCommit(bytes: number): PatchbayError {
    return new PatchbayError(
      "invalid",
      this.#at < 0
        ? "nothing was claimed in the ring"
        : `${bytes} bytes cannot be committed of ${this.#claimed} claimed`,
    );
  }
}

/**
 * The side of a ring that reads. There is one for each ring at any time.
 *
 * It trusts nothing that the other side writes: lengths and counters that cannot be are a
 * `protocol` error, the same one at every later call. The bytes of a message stay as they are until
 * {@link release}, as far as an honest peer goes; a hostile one can change them meanwhile, so copy
 * first and check then.
 *
 * @example Reading until it is empty, and sleeping then
 * ```ts
 * import { createRing, RingConsumer, ringBytes } from "@patchbay/core";
 *
 * const memory = new SharedArrayBuffer(ringBytes(64));
 * createRing(memory, 64);
 * const consumer = RingConsumer.attach(memory);
 * for (let at = consumer.peek(); at >= 0; at = consumer.peek()) {
 *   console.log(consumer.type, consumer.bytes.slice(at, at + consumer.length));
 *   consumer.release();
 * }
 * if (!consumer.sleep()) throw new Error("nobody has sent anything");
 * // Now it may wait for the doorbell that the producer rings when `producer.wakes()`.
 * ```
 */
export class RingConsumer {
  /** The data of the ring. */
  readonly bytes: Uint8Array;
  /** The same bytes. */
  readonly view: DataView;
  /** How many bytes of messages the ring holds. */
  readonly capacity: number;
  /** Which of several rings that used this place one after the other. */
  readonly epoch: number;
  /** How many bytes the message has that {@link peek} found. */
  length = 0;
  /** The type of the message that {@link peek} found. */
  type = 0;
  readonly #header: Int32Array;
  readonly #words: Int32Array;
  // In units of 8 bytes.
  readonly #units: number;
  readonly #maxBytes: number;
  #tail: number;
  /** The head when it was last looked at: it can only have moved on since. */
  #seenHead: number;
  /** The tail after the message that was found; the tail itself if none was. */
  #next: number;
  /** The tail that the other side knows: what lies between is read, and not given back yet. */
  #given: number;
  #broken: PatchbayError | undefined;

  private constructor(views: Views) {
    this.bytes = views.bytes;
    this.view = views.view;
    this.capacity = views.capacity;
    this.epoch = views.epoch;
    this.#header = views.header;
    this.#words = views.words;
    this.#units = views.capacity >>> 3;
    this.#maxBytes = (views.capacity >>> 1) - 8;
    this.#tail = this.#next = this.#given = views.tail;
    this.#seenHead = views.head;
  }

  /**
   * Becomes the reading side of a ring that exists, from the first message that nobody has read.
   *
   * @param buffer Where it lies.
   * @param place Where in it, and what it must be.
   * @throws PatchbayError `protocol` with the reason if its magic number, version, size or epoch is
   * wrong, `invalid` if no ring fits there.
   */
  static attach(buffer: ArrayBufferLike, place: RingAttachPlace = {}): RingConsumer {
    return new RingConsumer(attach(buffer, place));
  }

  /**
   * Finds the next message and leaves it where it is: {@link length} and {@link type} tell of it.
   * Until {@link release} it finds the same one.
   *
   * @returns Where it begins in {@link bytes}, or -1 if there is none.
   * @throws PatchbayError `protocol` if the other side has broken the ring.
   */
  peek(): number {
    const tail = this.#tail;
    let left = (this.#seenHead - tail) | 0;
    if (left === 0) {
      // A plain look costs a fifth of an atomic one, and says "nothing" nearly always. What it sees
      // is not acted on: the atomic one is what makes the message's bytes visible, too.
      if (this.#header[HEAD_AT] === tail && this.#broken === undefined) return -1;
      if ((left = this.#look()) === 0) return -1;
    }
    const units = this.#units;
    let at = tail & (units - 1);
    let skip = 0;
    let length = this.#words[at << 1];
    if (length === WRAP) {
      skip = units - at;
      at = 0;
      left -= skip;
      length = this.#words[0];
    }
    // Read once and judged once: the other side may change it at any time. `left` is at most the
    // whole ring, and a second wrap mark is a length below 0.
    const size = ((length + 7) >>> 3) + 1;
    if (!(length >= 0 && length <= this.#maxBytes && size <= left && at + size <= units)) {
      throw this.#badLength(length);
    }
    this.length = length;
    this.type = this.#words[(at << 1) + 1];
    this.#next = (tail + skip + size) | 0;
    return (at << 3) + 8;
  }

  /**
   * Goes on to the next message, and keeps the room of the one that {@link peek} found until
   * {@link release}: one store gives back the room of many.
   */
  skip(): void {
    this.#tail = this.#next;
  }

  /** How many bytes were read and not given back yet, headers and gaps included. */
  get kept(): number {
    return ((this.#next - this.#given) | 0) * 8;
  }

  /**
   * Gives back the room of the message that {@link peek} found, and of those that were skipped;
   * harmless if there are none.
   */
  release(): void {
    if (this.#next === this.#given) return;
    if (this.#header.length === 0) throw gone();
    this.#tail = this.#given = this.#next;
    Atomics.store(this.#header, TAIL_AT, this.#tail);
  }

  /**
   * Whether the other side waits for room and has to be woken: ask after releasing. It says so once
   * for each time it went to sleep.
   */
  wakes(): boolean {
    return takeFlag(this.#header, PRODUCER_SLEEPS_AT);
  }

  /**
   * Says that this side is going to wait for a message, and looks again.
   *
   * @returns Whether to wait; false: there is a message now, and nobody will wake this side.
   * @throws PatchbayError `protocol` as {@link peek}.
   */
  sleep(): boolean {
    if (this.#header.length === 0) throw gone();
    Atomics.store(this.#header, CONSUMER_SLEEPS_AT, 1);
    if (this.#look() === 0) return true;
    this.awake();
    return false;
  }

  /** Says that this side no longer waits: it was woken, or has given up. */
  awake(): void {
    if (this.#header.length === 0) throw gone();
    Atomics.store(this.#header, CONSUMER_SLEEPS_AT, 0);
  }

  /**
   * How many bytes wait to be read, headers and gaps included.
   *
   * @throws PatchbayError `protocol` if the other side has broken the ring.
   */
  get used(): number {
    return this.#look() * 8;
  }

  /** Looks where the writer is, in units past the tail. */
  #look(): number {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#header.length === 0) throw gone();
    const head = Atomics.load(this.#header, HEAD_AT);
    const used = (head - this.#tail) | 0;
    // A head that goes back would unsay what was said; one too far would have overwritten it.
    if (used < ((this.#seenHead - this.#tail) | 0) || used > this.#units) {
      throw this.#break(wrongDistance(used * 8, this.capacity));
    }
    this.#seenHead = head;
    return used;
  }

  #badLength(length: number | undefined): PatchbayError {
    if (this.#broken !== undefined) return this.#broken;
    if (this.#header.length === 0 || length === undefined) return gone();
    return this.#break(
      wrong(`a message of ${length} bytes is announced, which cannot be there`, {
        found: length,
        max: this.#maxBytes,
      }),
    );
  }

  /** What was announced is not read any more: every peek looks, and throws. */
  #break(error: PatchbayError): PatchbayError {
    this.#seenHead = this.#next = this.#tail;
    return this.#broken = error;
  }
}

/** Takes a flag down, if it is up; a plain look first, because it is down nearly always. */
function takeFlag(header: Int32Array, at: number): boolean {
  if (header.length === 0) throw gone();
  return Atomics.load(header, at) !== 0 && Atomics.exchange(header, at, 0) !== 0;
}
