/**
 * One reader as a writer sees it: what was sent to it, what it has, what it asks for again.
 *
 * @module
 */

import { EPROSIMA, VENDOR_ID } from "./constants.ts";
import type { EndpointData } from "./discovery_data.ts";
import { entityOf } from "./guid.ts";
import type { Change, History } from "./history.ts";
import type { Bits } from "./message_reader.ts";
import type { Closing, Destination } from "./outbox.ts";
import { SendWindow } from "./send_window.ts";

/** What a proxy needs of its writer. */
export interface ProxyOwner {
  readonly entity: number;
  readonly history: History;
  /** Whether it asks for how long a reader has taken nothing: to know that costs a look at the clock. */
  readonly watchesStalls: boolean;
  /** The next number for a heartbeat. */
  nextCount(): number;
  /** A proxy has got further: what all have may be forgotten. */
  progressed(): void;
  /** A reader asks for more at once than it is sent: it has to ask again. */
  putOff(): void;
  /** Whether this is past its lifespan. */
  isExpired(change: Change): boolean;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/**
 * A volatile reader takes for history what was written before it came to know the writer, and
 * leaves it out: so nothing is sent before it has answered a heartbeat, or for so long.
 */
const CONFIRM_MS = 3000;

/** What may be under way to a reliable reader that has not answered yet: perhaps nobody is there. */
const UNCONFIRMED_BYTES = 64 * 1024;

/** So often is asked without a longer pause each time: an answer gets lost now and then. */
const PATIENT_REMINDERS = 16;
/** Who never answers is asked as often as this, until it is lost. */
const MAX_REMINDER_MS = 3000;

/** What a sample that is sent again costs beside its bytes. */
const REPAIR_OVERHEAD_BYTES = 64;

/** Who answers to no window is given so long to take what was sent. */
const PACE_MS = 1;

/** One matched reader. */
export class ReaderProxy implements Closing {
  readonly #owner: ProxyOwner;
  readonly #destination: Destination;
  readonly #entity: number;
  /** Whether the reader acknowledges parts of a sample, so that the window needs no clock. */
  readonly #answers: boolean;
  /** Whether the reader takes the payload of an instance's end for its key hash. */
  readonly #misreadsKeys: boolean;
  readonly #vendor: number;
  readonly #bornMs = performance.now();
  /** Whether it asks for what was written before it came. */
  readonly #late: boolean;
  readonly #window: SendWindow;
  readonly #windowBytes: number;
  readonly #fragmentBytes: number;
  #pacing: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #wantsAnswer = false;
  /** How many fragments of the change after `sent` were sent. */
  #fragments = 0;
  #lastCount = -1;
  #lastNackFragCount = -1;
  #closed = false;
  /** How often it was reminded since it last answered, and when. */
  #reminded = 0;
  #remindedMs = 0;
  /** When it last got further, or began to lack something. */
  #progressMs = performance.now();
  /** What the reader said of itself. */
  readonly remote: EndpointData;
  /** Whether what it lacks is sent again. */
  readonly reliable: boolean;
  /** The first number that concerns it. */
  readonly start: number;
  /** The number of the last change that was sent, or need not be. */
  sent: number;
  /** It has everything before this. */
  acked: number;
  /** Whether it has ever answered: until then it may not know this writer yet. */
  confirmed = false;

  /**
   * @param owner The writer.
   * @param remote The reader.
   * @param vendor Who made it.
   * @param reliable Whether what it lacks is sent again.
   * @param destination Where it is.
   * @param late How many of the samples that were written before it came it gets.
   * @param windowBytes How much may be under way.
   */
  constructor(
    owner: ProxyOwner,
    remote: EndpointData,
    vendor: number,
    reliable: boolean,
    destination: Destination,
    late: number,
    windowBytes: number,
  ) {
    this.#owner = owner;
    this.remote = remote;
    this.reliable = reliable;
    this.#destination = destination;
    this.#entity = entityOf(remote.guid);
    this.#answers = reliable && vendor === VENDOR_ID;
    // Fast DDS 2.9 copies up to 16 bytes of it over the hash, header and all.
    this.#misreadsKeys = vendor === EPROSIMA;
    this.#windowBytes = windowBytes;
    this.#window = new SendWindow(
      reliable ? Math.min(windowBytes, UNCONFIRMED_BYTES) : windowBytes,
    );
    // Of a size that is a multiple of eight, and of 16 bits on the wire.
    this.#fragmentBytes = Math.min(destination.payloadRoom(256), 0xfff8) & ~7;
    this.#vendor = vendor;
    this.#late = late > 0;
    this.start = this.acked = Math.max(1, owner.history.last + 1 - late);
    this.sent = this.start - 1;
  }

  /** Whether it waits for nothing. */
  get satisfied(): boolean {
    return !this.reliable || this.acked > this.#owner.history.last && this.confirmed;
  }

  /** What need not be kept for its sake: everything before this. */
  get needs(): number {
    return this.reliable ? this.acked : this.sent + 1;
  }

  /** For how long it has lacked something without taking any of it, in milliseconds. */
  stalledMs(nowMs: number): number {
    return this.reliable && this.acked <= this.#owner.history.last ? nowMs - this.#progressMs : 0;
  }

  /** Nothing that was written so far is kept for it any longer; answers with how much that was. */
  giveUp(): number {
    const { history } = this.#owner;
    let lost = 0;
    for (
      let change = history.after(this.acked - 1);
      change !== undefined;
      change = history.after(change.sequence)
    ) if (this.#relevant(change)) lost++;
    this.acked = history.last + 1;
    this.sent = history.last;
    this.#fragments = 0;
    this.#window.acknowledge(this.acked);
    return Math.max(1, lost);
  }

  /** Whether it may know this writer: see {@link CONFIRM_MS}. */
  get #ready(): boolean {
    return this.confirmed || this.#late || !this.reliable ||
      performance.now() - this.#bornMs > CONFIRM_MS;
  }

  /** Sends what was not sent yet, as far as the window admits. */
  pump(): void {
    const { history } = this.#owner;
    if (this.#closed) return;
    if (!this.#ready) return this.#close(true);
    if (
      this.#owner.watchesStalls && this.acked > this.sent && this.sent < history.last &&
      this.#fragments === 0
    ) {
      this.#progressMs = performance.now();
    }
    const before = this.sent;
    for (;;) {
      const change = history.after(this.sent);
      if (change === undefined) break;
      if (change.sequence > this.sent + 1) {
        // What is no longer kept will not come.
        this.#gap(this.sent + 1, change.sequence);
        this.#fragments = 0;
        this.sent = change.sequence - 1;
      }
      if (!this.#relevant(change)) {
        this.#gap(change.sequence, change.sequence + 1);
        this.sent = change.sequence;
        continue;
      }
      if (!this.#sendMore(change)) {
        this.#hold();
        break;
      }
    }
    if (this.sent < history.last && history.after(this.sent) === undefined) {
      this.#gap(this.sent + 1, history.last + 1);
      this.sent = history.last;
    }
    // A heartbeat speaks of whole samples: in the middle of one it has nothing to say.
    if (this.sent > before) this.#close(this.#window.answerDue());
  }

  #relevant(change: Change): boolean {
    return (change.only === undefined || this.remote.guid.startsWith(change.only)) &&
      !this.#owner.isExpired(change);
  }

  #gap(start: number, end: number): void {
    if (this.reliable) this.#destination.gap(this.#entity, this.#owner.entity, start, end);
    // A best-effort reader counts what it misses by itself.
  }

  /** Sends a change, or some of its fragments; false if the window is full before its end. */
  #sendMore(change: Change): boolean {
    const { length } = change.payload;
    if (length <= this.#destination.payloadRoom(change.inline?.length ?? 0)) {
      if (!this.#window.admits(length)) return false;
      this.#data(change);
      this.#window.sent(change.sequence, length, true);
      this.sent = change.sequence;
      return true;
    }
    const count = Math.ceil(length / this.#fragmentBytes);
    while (this.#fragments < count) {
      const bytes = Math.min(this.#fragmentBytes, length - this.#fragments * this.#fragmentBytes);
      if (!this.#window.admits(bytes)) return false;
      const last = ++this.#fragments === count;
      this.#dataFrag(change, this.#fragments);
      this.#window.sent(change.sequence, bytes, last);
      if (this.#answers && !last && this.#window.answerDue(2)) {
        this.#destination.heartbeatFrag(
          this.#entity,
          this.#owner.entity,
          change.sequence,
          this.#fragments,
          this.#owner.nextCount(),
        );
      }
    }
    this.#fragments = 0;
    this.sent = change.sequence;
    this.#wantsAnswer = true;
    return true;
  }

  #data(change: Change): void {
    this.#destination.data(
      this.#entity,
      this.#owner.entity,
      change.sequence,
      change.timestampMs,
      change.isKey && this.#misreadsKeys ? NOTHING : change.payload,
      change.isKey,
      change.inline,
    );
  }

  #dataFrag(change: Change, fragment: number): void {
    this.#destination.dataFrag(
      this.#entity,
      this.#owner.entity,
      change.sequence,
      change.timestampMs,
      fragment,
      this.#fragmentBytes,
      change.payload,
      change.inline,
    );
  }

  /** The window is full: who does not answer is given time. */
  #hold(): void {
    // Who answers has been asked when a quarter was full; who never has may not be there at all.
    if (this.#answers || this.reliable && !this.confirmed) return;
    this.#pacing ??= setTimeout(() => {
      this.#pacing = undefined;
      this.#window.presumeArrived();
      this.pump();
      this.#owner.progressed();
    }, PACE_MS);
  }

  /** A heartbeat ends the datagram; where an answer is wanted it asks for one. */
  #close(wantsAnswer: boolean): void {
    if (!this.reliable) return;
    if (wantsAnswer) this.#wantsAnswer = true;
    if (this.#closing) return;
    this.#closing = true;
    this.#destination.beforeSending(this);
  }

  /** Sends a heartbeat at the end of this turn that asks for an answer. */
  askForAnswer(): void {
    this.#close(true);
  }

  /** Called by the destination. */
  closeDatagram(): void {
    this.#closing = false;
    if (this.#closed) return;
    this.heartbeat(!this.#wantsAnswer);
    this.#wantsAnswer = false;
  }

  /** A heartbeat now. */
  heartbeat(final: boolean, liveliness = false): void {
    const { history, entity } = this.#owner;
    // It speaks only of what was sent whole: else what is still to be sent would be asked for.
    const first = Math.max(this.start, Math.min(history.first, this.sent + 1));
    const last = Math.max(this.sent, first - 1);
    this.#destination.heartbeat(
      this.#entity,
      entity,
      first,
      last,
      this.#owner.nextCount(),
      final,
      liveliness,
    );
  }

  /** The reader says what it has, and what it lacks. */
  acknowledge(base: number, bits: Bits, count: number, final: boolean): void {
    this.#reminded = 0;
    if (count <= this.#lastCount && this.#lastCount - count < 0x80000000) return;
    this.#lastCount = count;
    const { history } = this.#owner;
    if (base > history.last + 1) return;
    const confirmed = this.confirmed;
    if (!confirmed && this.#confirms(base, bits, final)) this.#confirm();
    let progressed = this.confirmed !== confirmed;
    if (base > this.acked && base <= this.sent + 1) {
      this.acked = base;
      if (this.#owner.watchesStalls) this.#progressMs = performance.now();
      this.#window.acknowledge(base);
      progressed = true;
    }
    const repaired = this.#repair(base, bits);
    if (repaired || (!final && !confirmed)) this.#close(repaired || !this.confirmed);
    // One that asks for a heartbeat and lacks nothing wants to know where this writer stands.
    else if (!final && bits.length === 0) this.#close(false);
    this.pump();
    if (progressed || repaired) this.#owner.progressed();
  }

  /**
   * Whether an ACKNACK answers a heartbeat. One that was sent before any came asks for one, with
   * nothing in it: Cyclone DDS counts from 1, Fast DDS from 0.
   */
  #confirms(base: number, bits: Bits, final: boolean): boolean {
    if (final || bits.length > 0 || base > 1 || this.#answers) return true;
    return this.#vendor === EPROSIMA && base === 1;
  }

  #confirm(): void {
    this.confirmed = true;
    this.#window.maxBytes = this.#windowBytes;
  }

  /**
   * Sends again what is asked for, no more than a window of it, and than its participant may have:
   * it asks again for the rest.
   */
  #repair(base: number, bits: Bits): boolean {
    const { history } = this.#owner;
    const { repairs } = this.#destination;
    let budget = this.#windowBytes;
    let any = false;
    for (let i = 0; i < bits.length && budget > 0; i++) {
      const sequence = base + i;
      if (!bits.has(i)) continue;
      if (sequence > this.sent) break;
      const change = history.get(sequence);
      const isSent = change !== undefined && sequence >= this.start && this.#relevant(change);
      const length = isSent ? change.payload.length : 0;
      const isWhole = isSent &&
        length <= this.#destination.payloadRoom(change.inline?.length ?? 0);
      // It is taken at once: a part that is taken when nothing is left would cost nothing.
      if (!repairs.take(REPAIR_OVERHEAD_BYTES + (isWhole ? length : 0))) {
        this.#owner.putOff();
        break;
      }
      any = true;
      if (!isSent) {
        this.#gap(sequence, sequence + 1);
        budget -= 32;
        continue;
      }
      if (isWhole) {
        this.#data(change);
        budget -= length + REPAIR_OVERHEAD_BYTES;
        continue;
      }
      for (let n = 1; n <= Math.ceil(length / this.#fragmentBytes) && budget > 0; n++) {
        if (!repairs.take(this.#fragmentBytes)) break;
        this.#dataFrag(change, n);
        budget -= this.#fragmentBytes;
      }
    }
    return any;
  }

  /** The reader says which fragments it lacks, or with no bits, up to where it has them. */
  acknowledgeFragments(sequence: number, base: number, bits: Bits, count: number): void {
    this.#reminded = 0;
    if (count <= this.#lastNackFragCount && this.#lastNackFragCount - count < 0x80000000) return;
    this.#lastNackFragCount = count;
    this.#confirm();
    const change = this.#owner.history.get(sequence);
    const { repairs } = this.#destination;
    if (change === undefined || !this.#relevant(change)) {
      if (sequence <= this.sent && repairs.take(REPAIR_OVERHEAD_BYTES)) {
        this.#gap(sequence, sequence + 1);
        this.#close(true);
      }
      return;
    }
    const fragments = Math.ceil(change.payload.length / this.#fragmentBytes);
    const known = sequence <= this.sent ? fragments : this.#fragments;
    if (base > known + 1) return;
    // Only of the first that is not acknowledged does the window know parts.
    let progressed = false;
    if (sequence === Math.max(this.acked, this.start)) {
      progressed = this.#window.acknowledgePart((base - 1) * (this.#fragmentBytes + 512));
    }
    if (progressed && this.#owner.watchesStalls) this.#progressMs = performance.now();
    let budget = this.#windowBytes;
    let repaired = false;
    for (let i = 0; i < bits.length && budget > 0; i++) {
      if (!bits.has(i) || base + i > known) continue;
      if (!repairs.take(this.#fragmentBytes)) {
        this.#owner.putOff();
        break;
      }
      this.#dataFrag(change, base + i);
      budget -= this.#fragmentBytes;
      repaired = true;
    }
    if (repaired) {
      if (sequence <= this.sent) this.#close(true);
      else if (this.#answers) {
        this.#destination.heartbeatFrag(
          this.#entity,
          this.#owner.entity,
          sequence,
          this.#fragments,
          this.#owner.nextCount(),
        );
      }
    }
    this.pump();
    if (progressed || repaired) this.#owner.progressed();
  }

  /** Whether to ask again: who has not answered for long is asked ever more seldom. */
  isDue(nowMs: number): boolean {
    const beyond = this.#reminded - PATIENT_REMINDERS;
    if (beyond < 0) return true;
    return nowMs - this.#remindedMs >= Math.min(MAX_REMINDER_MS, 100 * 2 ** Math.min(beyond, 10));
  }

  /** Asks again where an answer is overdue, also in the middle of a large sample. */
  remind(nowMs: number): void {
    this.#reminded++;
    this.#remindedMs = nowMs;
    if (!this.confirmed && this.sent < this.#owner.history.last) this.pump();
    const change = this.#fragments > 0 ? this.#owner.history.get(this.sent + 1) : undefined;
    if (change !== undefined && this.#answers) {
      this.#destination.heartbeatFrag(
        this.#entity,
        this.#owner.entity,
        change.sequence,
        this.#fragments,
        this.#owner.nextCount(),
      );
    }
    this.heartbeat(false);
  }

  /** Nothing more is sent to it. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#pacing);
    this.#pacing = undefined;
  }
}
