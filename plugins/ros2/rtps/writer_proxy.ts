/**
 * One writer as a reader sees it: what has come from it, what is missing, and what waits for that.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import { EPROSIMA, VENDOR_ID } from "./constants.ts";
import type { EndpointData } from "./discovery_data.ts";
import type { LossReason } from "./endpoints.ts";
import { entityOf } from "./guid.ts";
import { Bits, type DataSubmessage, type Incoming } from "./message_reader.ts";
import type { Destination } from "./outbox.ts";
import { type FragmentMemory, isShredded, Reassembly } from "./reassembly.ts";
import { Alarm } from "./timers.ts";

/** A sample on its way to the user. */
export interface Arrived {
  readonly sequence: number;
  /** Where it is a view into a datagram it is good only until the next one. */
  readonly payload: Uint8Array;
  readonly holds: DataSubmessage["holds"];
  readonly status: number;
  readonly inline: ReadonlyMap<number, Uint8Array> | undefined;
  readonly timestampMs: number | undefined;
}

/** What a proxy needs of its reader. */
export interface WriterProxyOwner {
  readonly entity: number;
  readonly wheel: TimerWheel;
  readonly maxSampleBytes: number;
  /** What fragments are kept in. */
  readonly memory: FragmentMemory;
  /** How many bytes may wait for what is missing, for all writers together. */
  readonly maxHeldBytes: number;
  heldBytes: number;
  /**
   * Makes room for what a writer's order waits for: whose participant holds most gives way.
   *
   * @returns Whether there is room now.
   */
  makeRoom(proxy: WriterProxy, bytes: number): boolean;
  /** Takes a sample; false if it has no room and the sample is to be offered again. */
  deliver(proxy: WriterProxy, arrived: Arrived): boolean;
  count(reason: LossReason, samples: number): void;
}

/** How many samples may wait behind one that is missing. */
const MAX_HELD = 1024;
/** How many samples may be incomplete at once. */
const MAX_PARTIAL = 16;
/** How many ranges that will not come are remembered. */
const MAX_GAPS = 64;
/** The same is not asked for again within this time. */
const NACK_SUPPRESSION_MS = 4;
/** Fragments are asked for only when none has come for so long: the rest may be on its way. */
const FRAGMENT_PATIENCE_MS = 3;
/** What is missing is asked for again by itself, since a writer may be silent for seconds. */
const NACK_MIN_MS = 20;
const NACK_MAX_MS = 500;
/** How much is asked for at once: what a receive buffer holds. */
const ASK_BYTES = 128 * 1024;

const bits = new Bits();

/** What a parameter costs beside its bytes. */
const PARAMETER_OVERHEAD_BYTES = 64;

function parameterBytes(inline: ReadonlyMap<number, Uint8Array> | undefined): number {
  let bytes = 0;
  for (const value of inline?.values() ?? []) bytes += value.length + PARAMETER_OVERHEAD_BYTES;
  return bytes;
}

function bytesOf({ payload, inline }: Arrived): number {
  return payload.length + parameterBytes(inline);
}

/** One matched writer. */
export class WriterProxy {
  readonly #owner: WriterProxyOwner;
  readonly #destination: Destination;
  readonly #entity: number;
  readonly #held = new Map<number, Arrived>();
  readonly #partial = new Map<number, Reassembly>();
  /** What will not come: from, to before. */
  readonly #gaps: [number, number][] = [];
  readonly #answersParts: boolean;
  readonly #isFast: boolean;
  #count = 0;
  #lastHeartbeat = -1;
  #nackedMs = -Infinity;
  #nackedBase = 0;
  #fragmentsNackedMs = -Infinity;
  /** The highest number that is known to exist. */
  #known = 0;
  /** The highest number of which the writer has said that it was written. */
  #written = 0;
  readonly #alarm: Alarm;
  #alarmMs = NACK_MIN_MS;
  #alarmNext = 0;
  /** A running mean of sizes, to guess what asking for several would bring. */
  #meanBytes = 1024;
  /** What the writer said of itself. */
  readonly remote: EndpointData;
  /** Whether it sends again what is missing. */
  readonly reliable: boolean;
  /** Everything before this has come, or will not. */
  next = 1;
  /** The newest number that was written before this reader came; undefined: not known yet. */
  #historyLast: number | undefined;
  /** Whether it is known where the writer begins. */
  #begun = false;
  /** When it last gave a sign of life, on the clock of `performance.now()`. */
  aliveMs: number = performance.now();
  /** Since when its sign of life is overdue, on the same clock; undefined: it is not. */
  overdueMs: number | undefined;
  /** Whether it is taken for alive. */
  alive = true;
  /** How many bytes of it wait for what is missing. */
  heldBytes = 0;
  /** How often it has said how far it is. */
  heartbeats = 0;

  /**
   * @param owner The reader.
   * @param remote The writer.
   * @param vendor Who made it.
   * @param reliable Whether what is missing is asked for.
   * @param destination Where it is.
   */
  constructor(
    owner: WriterProxyOwner,
    remote: EndpointData,
    vendor: number,
    reliable: boolean,
    destination: Destination,
  ) {
    this.#owner = owner;
    this.remote = remote;
    this.reliable = reliable;
    this.#destination = destination;
    this.#entity = entityOf(remote.guid);
    this.#answersParts = vendor === VENDOR_ID;
    this.#isFast = vendor === EPROSIMA;
    this.#alarm = new Alarm(owner.wheel, () => this.#nag());
  }

  /** Asks the writer where it stands, so that what it has kept comes at once. */
  greet(): void {
    if (!this.reliable) return;
    this.#destination.ackNack(this.#owner.entity, this.#entity, 1, undefined, ++this.#count, false);
  }

  /**
   * Asks the writer how far it is: an ACKNACK that is not final has to be answered (8.3.8.1). Fast
   * DDS does that at once only where it begins at 0; any other puts its next heartbeat off.
   */
  inquire(): void {
    const { entity } = this.#owner;
    const base = this.#isFast ? 0 : this.next;
    this.#destination.ackNack(entity, this.#entity, base, undefined, ++this.#count, false);
  }

  /** Whether a sample was written before this reader came, as far as can be told. */
  isHistory(sequence: number): boolean {
    return this.reliable && (this.#historyLast === undefined || sequence <= this.#historyLast);
  }

  /** Whether everything has come of which the writer has spoken, and it has spoken. */
  get complete(): boolean {
    return !this.reliable || this.#historyLast !== undefined && this.next > this.#written;
  }

  /** Whether everything has come that is known to exist, or will not come. */
  get hasAll(): boolean {
    return this.next > this.#known;
  }

  /** A sample has come whole. */
  data(context: Incoming, data: DataSubmessage): void {
    const { sequence } = data;
    if (this.#isKnown(sequence)) return this.#owner.count("duplicate", 1);
    const { inline, holds, status } = data;
    const { timestampMs } = context;
    const payload = context.bytes.subarray(data.at, data.end);
    this.#arrived({ sequence, payload, holds, status, inline, timestampMs });
    this.#watch(sequence);
  }

  /** Something is known to exist: if it, or something before it, is missing, it is asked for. */
  #watch(sequence: number): void {
    if (sequence > this.#known) this.#known = sequence;
    if (!this.reliable) return;
    if (this.next > this.#known || this.#held.has(this.next)) {
      if (this.#alarm.armed) this.#alarm.disarm();
    } else if (!this.#alarm.armed) {
      this.#alarmMs = NACK_MIN_MS;
      this.#alarmNext = this.next;
      this.#alarm.arm(NACK_MIN_MS);
    }
  }

  /** What is missing has not come. */
  #nag(): void {
    if (this.next > this.#known || this.#held.has(this.next)) return;
    this.#alarmMs = this.next > this.#alarmNext
      ? NACK_MIN_MS
      : Math.min(2 * this.#alarmMs, NACK_MAX_MS);
    this.#alarmNext = this.next;
    this.#acknowledge(this.#known, true);
    this.#alarm.arm(this.#alarmMs);
  }

  #isKnown(sequence: number): boolean {
    return sequence < this.next || this.#held.has(sequence) ||
      this.#gaps.some(([from, to]) => sequence >= from && sequence < to);
  }

  #arrived(arrived: Arrived): void {
    const { sequence } = arrived;
    this.#meanBytes += (arrived.payload.length - this.#meanBytes) / 8;
    if (!this.reliable) {
      if (this.#begun && sequence > this.next) this.#owner.count("lost", sequence - this.next);
      this.#begun = true;
      this.next = sequence + 1;
      this.#dropPartialBefore(this.next);
      if (!this.#owner.deliver(this, arrived)) this.#owner.count("overflow", 1);
      return;
    }
    if (sequence === this.next && this.#owner.deliver(this, arrived)) {
      this.next++;
      this.drain();
      return;
    }
    const bytes = bytesOf(arrived);
    if (sequence !== this.next && this.#held.size >= MAX_HELD || !this.#hasRoom(sequence, bytes)) {
      return this.#owner.count("no_room", 1);
    }
    this.#hold(bytes);
    this.#held.set(sequence, { ...arrived, payload: arrived.payload.slice() });
  }

  #hold(bytes: number): void {
    this.heldBytes += bytes;
    this.#owner.heldBytes += bytes;
  }

  /** Whether so many bytes can be held; the one that everybody waits for must have a place. */
  #hasRoom(sequence: number, bytes: number): boolean {
    const { heldBytes, maxHeldBytes } = this.#owner;
    return heldBytes + bytes <= maxHeldBytes ||
      sequence === this.next && this.#owner.makeRoom(this, bytes);
  }

  /** Gives up what waits here, for others; a reliable writer is asked for it again. */
  yield(): void {
    const { size } = this.#held;
    const partial = this.#partial.size;
    this.#free();
    this.#owner.count(this.reliable ? "no_room" : "lost", size + partial);
  }

  #free(): void {
    this.#hold(-this.heldBytes);
    for (const partial of this.#partial.values()) partial.release();
    this.#held.clear();
    this.#partial.clear();
  }

  /** Delivers what has waited for its turn, as long as there is room. */
  drain(): void {
    for (;;) {
      const arrived = this.#held.get(this.next);
      if (arrived !== undefined) {
        if (!this.#owner.deliver(this, arrived)) return;
        this.#held.delete(this.next);
        this.#hold(-bytesOf(arrived));
        this.next++;
        continue;
      }
      const gap = this.#gaps.find(([from, to]) => from <= this.next && this.next < to);
      if (gap === undefined) break;
      this.next = gap[1];
    }
    if (this.#gaps.length > 0) {
      const left = this.#gaps.filter(([, to]) => to > this.next);
      if (left.length < this.#gaps.length) this.#gaps.splice(0, Infinity, ...left);
    }
    if (this.#partial.size > 0) this.#dropPartialBefore(this.next);
  }

  /** Gives up what comes before a number. */
  #skipTo(next: number): void {
    if (next <= this.next) return;
    const left = Array.from(this.#held.keys()).filter((sequence) => sequence < next);
    for (const sequence of left.sort((a, b) => a - b)) {
      const arrived = this.#held.get(sequence) as Arrived;
      this.#held.delete(sequence);
      this.#hold(-bytesOf(arrived));
      // It has come, if not those before it: what is left of the order is kept.
      if (!this.#owner.deliver(this, arrived)) this.#owner.count("overflow", 1);
    }
    this.next = next;
    this.#dropPartialBefore(next);
    this.drain();
  }

  #dropPartialBefore(next: number): void {
    for (const sequence of this.#partial.keys()) if (sequence < next) this.#dropPartial(sequence);
  }

  #dropPartial(sequence: number): void {
    const partial = this.#partial.get(sequence);
    if (partial === undefined) return;
    this.#partial.delete(sequence);
    this.#hold(-partial.heldBytes);
    partial.release();
  }

  /** Fragments of a sample have come. */
  dataFrag(
    context: Incoming,
    data: DataSubmessage,
    first: number,
    fragments: number,
    fragmentBytes: number,
    sampleBytes: number,
  ): void {
    const owner = this.#owner;
    const { sequence } = data;
    if (this.#isKnown(sequence)) return owner.count("duplicate", 1);
    if (sampleBytes > owner.maxSampleBytes) {
      owner.count("too_large", 1);
      // Nobody will ever want it: a reliable writer may go on.
      if (this.reliable) this.#addGap(sequence, sequence + 1);
      return;
    }
    let partial = this.#partial.get(sequence);
    if (partial === undefined) {
      if (isShredded(sampleBytes, fragmentBytes)) return owner.count("malformed", 1);
      if (this.#partial.size >= MAX_PARTIAL) {
        const [oldest] = this.#partial.keys();
        if (this.reliable && sequence > oldest) return owner.count("no_room", 1);
        this.#dropPartial(oldest);
        if (!this.reliable) owner.count("lost", 1);
      }
      partial = new Reassembly(sampleBytes, fragmentBytes, owner.memory);
      this.#partial.set(sequence, partial);
    } else if (partial.sampleBytes !== sampleBytes || partial.fragmentBytes !== fragmentBytes) {
      this.#dropPartial(sequence);
      return owner.count("malformed", 1);
    }
    const bytes = context.bytes.subarray(data.at, data.end);
    if (!this.#hasRoom(sequence, bytes.length)) {
      this.#dropPartial(sequence);
      return owner.count("no_room", 1);
    }
    let grown = partial.add(first, fragments, bytes);
    if (partial.inline === undefined && data.inline !== undefined) {
      partial.inline = data.inline;
      const more = parameterBytes(data.inline);
      partial.heldBytes += more;
      grown += more;
    }
    this.#hold(grown);
    if (grown > 0) {
      partial.touchedMs = performance.now();
      this.#alarmMs = NACK_MIN_MS;
    }
    if (!partial.complete) {
      this.#watch(sequence);
      // What was asked for is there, and the writer sends no more by itself.
      if (grown > 0 && partial.askedUpTo > 0 && partial.firstMissing > partial.askedUpTo) {
        if (sequence <= this.#written) this.#nackFragments(sequence, partial, performance.now());
      }
      return;
    }
    const { holds, status } = data;
    const { timestampMs } = context;
    const payload = partial.join();
    this.#dropPartial(sequence);
    this.#arrived({ sequence, payload, holds, status, inline: partial.inline, timestampMs });
    this.#watch(sequence);
  }

  #addGap(from: number, to: number): void {
    if (from <= this.next) this.#skipTo(to);
    // One more than fits is asked for again when its turn comes.
    else if (this.#gaps.length < MAX_GAPS) this.#gaps.push([from, to]);
  }

  /** The writer says what will not come. */
  gap(start: number, base: number, which: Bits): void {
    if (!this.reliable) return;
    this.#begun = true;
    if (base > start) this.#addGap(start, base);
    for (let i = 0; i < which.length; i++) {
      if (which.has(i)) this.#addGap(base + i, base + i + 1);
    }
  }

  /** The writer says what it has. */
  heartbeat(first: number, last: number, count: number, final: boolean): void {
    if (!this.reliable) return;
    if (count <= this.#lastHeartbeat && this.#lastHeartbeat - count < 0x80000000) return;
    this.#lastHeartbeat = count;
    this.heartbeats++;
    if (first > this.next) {
      if (this.#begun) this.#owner.count("lost", this.#lostBefore(first));
      this.#skipTo(first);
    }
    this.#begun = true;
    this.#historyLast ??= last;
    if (last > this.#written) this.#written = last;
    this.#acknowledge(last, final);
    this.#watch(last);
  }

  /** How many before a number have neither come nor been said not to come. */
  #lostBefore(first: number): number {
    let lost = first - this.next;
    for (const sequence of this.#held.keys()) if (sequence < first) lost--;
    for (const [from, to] of this.#gaps) lost -= Math.max(0, Math.min(to, first) - from);
    return Math.max(0, lost);
  }

  /** Answers a heartbeat: what has come, and what is missing. */
  #acknowledge(last: number, final: boolean): void {
    const now = performance.now();
    const suppressed = this.#nackedBase === this.next &&
      now - this.#nackedMs < NACK_SUPPRESSION_MS;
    const length = suppressed ? 0 : Math.max(0, Math.min(256, last - this.next + 1));
    bits.reset(length);
    let missing = false;
    let budget = Math.max(1, ASK_BYTES / this.#meanBytes);
    for (let i = 0; i < length && budget > 0; i++) {
      const sequence = this.next + i;
      if (this.#isKnown(sequence) || this.#partial.has(sequence)) continue;
      bits.set(i);
      missing = true;
      budget--;
    }
    if (missing) {
      this.#nackedMs = now;
      this.#nackedBase = this.next;
    }
    if (missing || !final) {
      this.#destination.ackNack(
        this.#owner.entity,
        this.#entity,
        this.next,
        missing ? bits : undefined,
        ++this.#count,
        !missing,
      );
    }
    if (this.#partial.size === 0) return;
    for (const [sequence, partial] of this.#partial) {
      // A writer of ours speaks only of what it has sent whole.
      const patienceMs = this.#answersParts ? 0 : FRAGMENT_PATIENCE_MS;
      if (sequence > last || now - partial.touchedMs < patienceMs) continue;
      if (now - partial.askedMs < NACK_SUPPRESSION_MS) continue;
      this.#nackFragments(sequence, partial, now);
      // One at a time: what comes of it must fit into a receive buffer.
      break;
    }
  }

  #nackFragments(sequence: number, partial: Reassembly, now: number): void {
    const first = partial.firstMissing;
    const most = Math.max(1, Math.floor(ASK_BYTES / partial.fragmentBytes));
    if (!partial.missing(first + Math.min(most, 256) - 1, bits)) return;
    partial.askedMs = now;
    partial.askedUpTo = first + bits.length - 1;
    this.#sendNackFrag(sequence, first);
  }

  /** The writer asks, in the middle of a sample, how much of it has come. */
  heartbeatFrag(sequence: number, lastFragment: number): void {
    if (!this.reliable) return;
    const partial = this.#partial.get(sequence);
    if (partial === undefined) {
      if (this.#isKnown(sequence)) return this.#acknowledge(this.next - 1, false);
      // Not one fragment has come.
      const now = performance.now();
      if (now - this.#fragmentsNackedMs < NACK_SUPPRESSION_MS) return;
      this.#fragmentsNackedMs = now;
      bits.reset(Math.min(256, lastFragment));
      for (let i = 0; i < bits.length; i++) bits.set(i);
      if (bits.length > 0) this.#sendNackFrag(sequence, 1);
      return;
    }
    const now = performance.now();
    if (partial.missing(lastFragment, bits)) {
      if (now - partial.askedMs >= NACK_SUPPRESSION_MS) {
        partial.askedMs = now;
        return this.#sendNackFrag(sequence, partial.firstMissing);
      }
      bits.reset(0);
    }
    // That all of it has come moves the window of those who know what no bits mean.
    if (this.#answersParts) this.#sendNackFrag(sequence, partial.firstMissing);
  }

  #sendNackFrag(sequence: number, base: number): void {
    this.#destination.nackFrag(
      this.#owner.entity,
      this.#entity,
      sequence,
      base,
      bits,
      ++this.#count,
    );
  }

  /** The reader has room again: goes on, and says how far it has got. */
  resume(): void {
    const before = this.next;
    this.drain();
    if (this.reliable && this.next > before) this.#acknowledge(this.next - 1, false);
  }

  /** Frees what it holds. */
  close(): void {
    this.#alarm.disarm();
    this.#free();
  }
}
