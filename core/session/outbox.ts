/**
 * The way out of a session: two gates, four lanes, one hard cap. See decision 0002.
 *
 * A frame goes straight to the link while both gates are open and nothing waits before it;
 * otherwise it waits in the queue of its lane.
 *
 * @module
 */

import type { Link } from "../link.ts";
import { Fifo } from "../queue.ts";
import { Flag, FRAGMENT_BYTES, HEADER_BYTES, Kind, LANES, writeHeader } from "./envelope.ts";

/** How many bytes of the window each lane leaves to each lane above it. */
export const RESERVE_BYTES: number = 6 * 1024;
/** How many bytes may be in the link before the queue is used. */
const LINK_BYTES = 64 * 1024;
/** When a turn has committed so many bytes, they are sent without waiting for its end. */
const FLUSH_BYTES = 16 * 1024;
/** The largest buffer that is kept for the next message that has to wait. */
const MAX_SPARE_BYTES = 4 * 1024 * 1024;
/** The most entries that wait, whatever their size. */
const MAX_ENTRIES = 65_536;

/** A queue of one subscription or job, from which the lane takes one frame for each token. */
export interface FrameSource {
  /**
   * The next frame; `undefined` if it has been dropped meanwhile.
   *
   * @param lane The lane whose turn it is.
   */
  nextFrame(lane: number): Uint8Array | undefined;
  /** The frame has been handed to the link, down to its last fragment; or the session has ended. */
  frameSent?(): void;
}

/** A frame that waits, or a message that is being sent in fragments. */
export class Waiting implements FrameSource {
  /** The whole frame, or message with its header; `undefined` when it was taken, or taken back. */
  bytes: Uint8Array | undefined;
  /** Whether the link has it, down to its last fragment. */
  sent = false;

  /** @param bytes The frame; `undefined` if it cannot be taken back. */
  constructor(bytes: Uint8Array | undefined) {
    this.bytes = bytes;
  }

  #sent: PromiseWithResolvers<void> | undefined;

  /** Resolves when the link has it. */
  whenSent(): Promise<void> {
    if (this.sent) return Promise.resolve();
    return (this.#sent ??= Promise.withResolvers<void>()).promise;
  }

  /** The frame, unless it was taken back. From now on it cannot be. */
  nextFrame(): Uint8Array | undefined {
    const { bytes } = this;
    this.bytes = undefined;
    return bytes;
  }

  /** As {@link FrameSource.frameSent}. */
  frameSent(): void {
    this.sent = true;
    this.#sent?.resolve();
  }
}

/** A message that is being cut. */
interface Cutting {
  readonly bytes: Uint8Array;
  readonly source: FrameSource;
  readonly id: number;
  at: number;
  /** How large the message is: said with its first fragment. */
  readonly total: number;
  /** The buffer behind `bytes`, if it is the outbox's own. */
  readonly own?: Uint8Array;
}

/** One queue of a lane. */
class Line {
  readonly waiting = new Fifo<FrameSource>();
  cutting: Cutting | undefined = undefined;

  get empty(): boolean {
    return this.cutting === undefined && this.waiting.length === 0;
  }
}

/** The way out of one session. */
export class Outbox {
  readonly #link: Link;
  readonly #maxBytes: number;
  /** By lane: what needs credit. */
  readonly #paid: readonly Line[];
  /** By lane: what does not. */
  readonly #free: readonly Line[];
  #windowBytes = 0;
  #outstanding = 0;
  #queuedBytes = 0;
  #entries = 0;
  #nextFragment = 0;
  /** The largest body of a frame; larger ones are cut. */
  #pieceBytes = FRAGMENT_BYTES;
  #spare: Uint8Array | undefined;

  /**
   * @param link Where frames go.
   * @param maxBytes The most bytes that wait.
   */
  constructor(link: Link, maxBytes: number) {
    this.#link = link;
    this.#maxBytes = maxBytes;
    this.#paid = Array.from({ length: LANES }, () => new Line());
    this.#free = Array.from({ length: LANES }, () => new Line());
  }

  /** Whether at most half the window is in use: a speaker that was held back may go on. */
  get relaxed(): boolean {
    return this.#outstanding * 2 <= this.#windowBytes && this.#link.buffered * 2 <= LINK_BYTES;
  }

  /** Called whenever credit or room in the link has come back. */
  onRelaxed: Set<() => void> = new Set();

  /** Whether nothing waits in the lanes. */
  get idle(): boolean {
    return this.#entries === 0;
  }

  /** Bytes that need credit and have not been taken up by the peer. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Bytes that wait in the lanes. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether no more may be queued. */
  get full(): boolean {
    return this.#queuedBytes >= this.#maxBytes || this.#entries >= MAX_ENTRIES;
  }

  /**
   * Opens the credit gate.
   *
   * @param windowBytes What the peer takes before it has returned credit.
   */
  open(windowBytes: number): void {
    this.#windowBytes = windowBytes;
    this.#pieceBytes = wholeBytes(this.#link.maxFrameBytes, windowBytes) - HEADER_BYTES;
  }

  /** A frame up to this size goes whole. */
  get largestWhole(): number {
    return HEADER_BYTES + this.#pieceBytes;
  }

  /**
   * Whether a frame of a lane may go straight to the link.
   *
   * @param lane Its lane.
   * @param bytes Its size.
   * @param paid Whether it needs credit.
   */
  clear(lane: number, bytes: number, paid: boolean): boolean {
    if (this.#link.buffered >= LINK_BYTES) return false;
    const line = (paid ? this.#paid : this.#free)[lane];
    if (line.cutting !== undefined || line.waiting.length !== 0) return false;
    return !paid || this.#credit(lane, bytes);
  }

  /** Whether nothing waits in a lane. */
  isEmpty(lane: number, paid: boolean): boolean {
    return (paid ? this.#paid : this.#free)[lane].empty;
  }

  /**
   * Notes that a frame that needs credit has gone straight to the link.
   *
   * @param bytes Its size.
   */
  paid(bytes: number): void {
    this.#outstanding += bytes;
    // The peer can begin while this turn goes on.
    if (this.#link.buffered >= FLUSH_BYTES) this.#link.flush();
  }

  /**
   * Puts a frame into its lane.
   *
   * @param lane Its lane.
   * @param source The frame, or where it is taken from when its turn comes.
   * @param bytes Its size.
   * @param paid Whether it needs credit.
   */
  queue(lane: number, source: FrameSource, bytes: number, paid: boolean): void {
    (paid ? this.#paid : this.#free)[lane].waiting.push(source);
    this.#queuedBytes += bytes;
    this.#entries++;
    this.pump();
  }

  /**
   * Notes that bytes were taken out of a source without its token: dropped, or replaced.
   *
   * @param bytes How many more (positive) or fewer (negative) wait now.
   */
  changed(bytes: number): void {
    this.#queuedBytes += bytes;
  }

  /**
   * The peer has returned credit.
   *
   * @param bytes How many bytes it has taken up.
   */
  credited(bytes: number): void {
    this.#outstanding = Math.max(0, this.#outstanding - bytes);
    this.pump();
  }

  /** Sends what the gates let through, the most urgent lane first. */
  pump(): void {
    if (this.#entries > 0) this.#pump();
    if (this.onRelaxed.size > 0 && this.relaxed) {
      for (const tell of this.onRelaxed) tell();
    }
  }

  /** The session has ended: nothing waits any longer, and who waited goes on. */
  close(): void {
    for (const line of [...this.#paid, ...this.#free]) {
      line.cutting?.source.frameSent?.();
      line.cutting = undefined;
      for (let one = line.waiting.shift(); one !== undefined; one = line.waiting.shift()) {
        one.frameSent?.();
      }
    }
    this.#queuedBytes = this.#entries = this.#outstanding = 0;
    for (const tell of this.onRelaxed) tell();
    this.onRelaxed.clear();
  }

  #pump(): void {
    for (let lane = LANES - 1; lane >= 0; lane--) {
      if (!this.#drain(this.#free[lane], lane, false)) return;
      if (!this.#drain(this.#paid[lane], lane, true)) return;
    }
  }

  #credit(lane: number, bytes: number): boolean {
    const limit = this.#windowBytes - RESERVE_BYTES * (LANES - 1 - lane);
    return this.#outstanding + bytes <= limit || this.#outstanding === 0;
  }

  /** False when the link takes no more. */
  #drain(line: Line, lane: number, paid: boolean): boolean {
    while (!line.empty) {
      if (this.#link.buffered >= LINK_BYTES) return false;
      // The token's frame may be of any size up to a fragment's.
      if (paid && !this.#credit(lane, this.largestWhole)) return true;
      if (line.cutting === undefined) {
        const source = line.waiting.shift() as FrameSource;
        const frame = source.nextFrame(lane);
        if (frame === undefined) {
          this.#entries--;
          continue;
        }
        if (frame.length > this.largestWhole) {
          const id = this.#fragmentId();
          line.cutting = { bytes: frame, source, id, at: 0, total: frame.length };
        } else {
          this.#entries--;
          this.#queuedBytes -= frame.length;
          this.#put(frame);
          if (paid) this.#outstanding += frame.length;
          source.frameSent?.();
          continue;
        }
      }
      this.#cut(line, lane, paid);
    }
    return true;
  }

  /**
   * Sends a large message in fragments, as far as the gates let it through now; nothing waits before
   * it. What is left is copied, and waits.
   *
   * @param lane Its lane.
   * @param head Its header.
   * @param body Its body: read during the call only.
   * @param paid Whether it needs credit.
   * @returns What waits, if something does.
   */
  sendLarge(
    lane: number,
    head: Uint8Array,
    body: Uint8Array,
    paid: boolean,
  ): Waiting | undefined {
    const total = head.length + body.length;
    const id = this.#fragmentId();
    let at = 0;
    while (this.clear(lane, this.largestWhole, paid)) {
      const first = at === 0;
      const bytes = Math.min(this.#pieceBytes - (first ? head.length : 0), body.length - at);
      const size = first ? head.length + bytes : bytes;
      const last = at + bytes === body.length;
      let to = this.#beginFragment(lane, id, size, last, paid, first ? total : 0);
      if (first) {
        this.#link.buffer.set(head, to);
        to += head.length;
      }
      this.#link.buffer.set(body.subarray(at, at + bytes), to);
      this.#link.commit(HEADER_BYTES + size);
      if (paid) this.paid(HEADER_BYTES + size);
      at += bytes;
      if (last) return undefined;
    }
    const left = (at === 0 ? head.length : 0) + body.length - at;
    const spare = this.#spare;
    const own = spare !== undefined && spare.length >= left ? spare : new Uint8Array(left);
    this.#spare = undefined;
    const rest = own.subarray(0, left);
    if (at === 0) rest.set(head);
    rest.set(at === 0 ? body : body.subarray(at), at === 0 ? head.length : 0);
    const waiting = new Waiting(undefined);
    const line = (paid ? this.#paid : this.#free)[lane];
    line.cutting = { bytes: rest, source: waiting, id, at: 0, total: at === 0 ? total : 0, own };
    this.#queuedBytes += rest.length;
    this.#entries++;
    return waiting;
  }

  #fragmentId(): number {
    const id = this.#nextFragment;
    this.#nextFragment = (id + 1) >>> 0;
    return id;
  }

  /** Makes room for a fragment, and writes its header; returns where its bytes go. */
  #beginFragment(
    lane: number,
    id: number,
    bytes: number,
    last: boolean,
    paid: boolean,
    total: number,
  ): number {
    const link = this.#link;
    const at = link.claim(HEADER_BYTES + bytes, true);
    const flags = last ? Flag.last : 0;
    // A fragment's priority is its lane's lowest: the receiver needs only the lane.
    writeHeader(link.view, at, Kind.fragment, flags, 0, lane << 6, 0, id, paid ? 1 : 0, total);
    return at + HEADER_BYTES;
  }

  #cut(line: Line, lane: number, paid: boolean): void {
    const cutting = line.cutting as Cutting;
    const bytes = Math.min(this.#pieceBytes, cutting.bytes.length - cutting.at);
    const last = cutting.at + bytes === cutting.bytes.length;
    const total = cutting.at === 0 ? cutting.total : 0;
    const to = this.#beginFragment(lane, cutting.id, bytes, last, paid, total);
    this.#link.buffer.set(cutting.bytes.subarray(cutting.at, cutting.at + bytes), to);
    this.#link.commit(HEADER_BYTES + bytes);
    cutting.at += bytes;
    if (paid) this.#outstanding += HEADER_BYTES + bytes;
    if (!last) return;
    this.#queuedBytes -= cutting.bytes.length;
    this.#entries--;
    line.cutting = undefined;
    const { own } = cutting;
    // New memory costs more than the copy into it: the next large message takes this.
    if (own !== undefined && own.length <= MAX_SPARE_BYTES) this.#spare = own;
    cutting.source.frameSent?.();
  }

  #put(frame: Uint8Array): void {
    const at = this.#link.claim(frame.length, true);
    this.#link.buffer.set(frame, at);
    this.#link.commit(frame.length);
  }
}

/**
 * A frame up to this size goes whole: on a link that takes large ones a quarter of the window, so
 * that there is always something under way while credit is on its way back.
 *
 * @param maxFrameBytes The link's.
 * @param windowBytes The receiver's.
 */
export function wholeBytes(maxFrameBytes: number, windowBytes: number): number {
  return Math.max(LARGEST_WHOLE, Math.min(maxFrameBytes, windowBytes >>> 2));
}

/** A frame up to this size goes whole. */
export const LARGEST_WHOLE: number = HEADER_BYTES + FRAGMENT_BYTES;
