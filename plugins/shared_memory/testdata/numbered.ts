/**
 * Messages that say which they are: numbered, checksummed, of a length that follows from the number.
 *
 * @module
 */

const HEADER_BYTES = 16;
const MAX_BODY_BYTES = 2048;

/** What a message says it is. */
export interface Numbered {
  /** Who sent it: new for each process. */
  readonly sender: number;
  /** Which of its sender's. */
  readonly number: number;
}

/** A step of xorshift: the same numbers on both sides, and no two neighbours alike. */
function next(x: number): number {
  x ^= x << 13;
  x ^= x >>> 17;
  return x ^ (x << 5);
}

/** FNV-1a over 32-bit words, and the bytes that are left. */
function checksum(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let hash = 0x811c9dc5;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    hash = Math.imul(hash ^ view.getInt32(at, true), 0x01000193);
  }
  for (; at < bytes.length; at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  return hash;
}

/**
 * Makes a message.
 *
 * @param sender Who sends it.
 * @param number Which it is.
 * @param bytes How many bytes it has after its header; default: something that follows from both.
 */
export function numbered(sender: number, number: number, bytes?: number): Uint8Array {
  let x = next((sender ^ Math.imul(number + 1, 0x9e3779b1)) | 1);
  const length = bytes ?? (x >>> 0) % MAX_BODY_BYTES;
  const message = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(message.buffer);
  view.setUint32(0, sender, true);
  view.setUint32(4, number, true);
  view.setUint32(8, length, true);
  let at = HEADER_BYTES;
  for (; at + 4 <= message.length; at += 4) view.setInt32(at, x = next(x), true);
  for (; at < message.length; at++) message[at] = x = next(x);
  view.setInt32(12, checksum(message.subarray(HEADER_BYTES)) ^ sender ^ number, true);
  return message;
}

/**
 * Reads a message.
 *
 * @param value What has come.
 * @returns What it is, or a sentence that says what is wrong with it.
 */
export function readNumbered(value: unknown): Numbered | string {
  if (!(value instanceof Uint8Array)) return `it is no bytes but ${typeof value}`;
  if (value.length < HEADER_BYTES) return `it has ${value.length} bytes`;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const sender = view.getUint32(0, true);
  const number = view.getUint32(4, true);
  const length = view.getUint32(8, true);
  if (value.length !== HEADER_BYTES + length) {
    return `${number} of ${sender} has ${value.length} bytes, and says ${HEADER_BYTES + length}`;
  }
  const sum = checksum(value.subarray(HEADER_BYTES)) ^ sender ^ number;
  if (sum !== view.getInt32(12, true)) return `${number} of ${sender} is corrupt`;
  return { sender, number };
}

/** A stream of messages in which none may be wrong, missing, twice or invented. */
export class Stream {
  /** How many have come. */
  count = 0;
  readonly #what: string;
  readonly #violation: (text: string) => void;
  readonly #senders: ReadonlySet<number> | undefined;
  readonly #gaps: boolean;
  readonly #last = new Map<number, number>();

  /**
   * Begins.
   *
   * @param what What it is, for people.
   * @param violation Told of each message that may not be.
   * @param options The senders that there are, if known; whether messages may be missing, because
   *   the listener's policy drops them.
   */
  constructor(
    what: string,
    violation: (text: string) => void,
    options: { senders?: ReadonlySet<number>; gaps?: boolean } = {},
  ) {
    this.#what = what;
    this.#violation = violation;
    this.#senders = options.senders;
    this.#gaps = options.gaps ?? false;
  }

  /** Takes a message. */
  take(value: unknown): Numbered | undefined {
    this.count++;
    const read = readNumbered(value);
    if (typeof read === "string") {
      this.#violation(`${this.#what}: ${read}`);
      return undefined;
    }
    const { sender, number } = read;
    const before = this.#last.get(sender);
    if (this.#senders !== undefined && !this.#senders.has(sender)) {
      this.#violation(`${this.#what}: ${number} of ${sender}, whom nobody knows`);
    } else if (before !== undefined && (this.#gaps ? number <= before : number !== before + 1)) {
      this.#violation(`${this.#what}: ${number} of ${sender} after ${before}`);
    }
    this.#last.set(sender, number);
    return read;
  }
}
