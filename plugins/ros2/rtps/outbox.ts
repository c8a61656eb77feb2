/**
 * What is sent to one participant: submessages are gathered into datagrams until the end of the
 * turn, so that many small samples cost one system call.
 *
 * @module
 */

import { Allowance } from "./allowance.ts";
import { Status, Submessage, VENDOR_ID } from "./constants.ts";
import { unhex } from "./guid.ts";
import type { Bits } from "./message_reader.ts";
import type { Address, DatagramSocket } from "./socket.ts";

/**
 * So often what is to be sent waits for the microtasks that are queued behind it, as long as they add
 * to it: whoever awaits each sample by itself fills datagrams, too.
 */
const MAX_HOPS = 16;

/** A buffer for one datagram. */
class Packet {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }
}

/** How many datagrams the system may be given before it has taken one. */
const MAX_SENDING = 4096;
const FULL = "too many under way";

/** Buffers for datagrams, used again when they were sent. */
class Buffers {
  readonly #free: Packet[] = [];
  readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  take(): Packet {
    return this.#free.pop() ?? new Packet(this.size);
  }

  give(packet: Packet): void {
    if (this.#free.length < 32) this.#free.push(packet);
  }
}

/** What all of a participant's destinations share. */
export class Outbox {
  readonly #prefix: Uint8Array;
  readonly #dirty: Destination[] = [];
  #scheduled = false;
  #hops = 0;
  #seen = 0;
  #sending = 0;
  readonly #drained: (() => void)[] = [];
  /** How many submessages were gathered. */
  gathered = 0;
  /** Buffers for datagrams. */
  readonly buffers: Buffers;
  /** How many datagrams were handed to the system. */
  datagrams = 0;
  /** How many the system refused, by reason. */
  readonly failed: Map<string, number> = new Map();

  /**
   * @param prefix This participant's.
   * @param maxDatagramBytes The largest datagram that any destination may take.
   */
  constructor(prefix: string, maxDatagramBytes: number) {
    this.#prefix = unhex(prefix);
    this.buffers = new Buffers(maxDatagramBytes);
  }

  /** Begins a datagram (8.3.5): header, and whom it is for. */
  begin({ bytes: buffer, view }: Packet, to: Uint8Array | undefined): number {
    view.setUint32(0, 0x52545053);
    view.setUint16(4, 0x0202);
    view.setUint16(6, VENDOR_ID);
    buffer.set(this.#prefix, 8);
    if (to === undefined) return 20;
    buffer[20] = Submessage.infoDestination;
    buffer[21] = 1;
    view.setUint16(22, 12, true);
    buffer.set(to, 24);
    return 36;
  }

  /** Sends what the destination holds at the end of this turn. */
  schedule(destination: Destination): void {
    this.#dirty.push(destination);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#flush);
  }

  readonly #flush = (): void => {
    if (this.gathered !== this.#seen && this.#hops < MAX_HOPS) {
      this.#seen = this.gathered;
      this.#hops++;
      return queueMicrotask(this.#flush);
    }
    this.#hops = 0;
    this.#scheduled = false;
    // One that is written to meanwhile comes in again behind.
    for (const destination of this.#dirty.splice(0)) destination.flush();
  };

  /** Resolves when everything gathered has been handed to the system. */
  async drained(): Promise<void> {
    // What is scheduled leaves with the microtasks of this turn.
    while (this.#scheduled) await Promise.resolve();
    if (this.#sending > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  /** Hands a datagram to the system. Not awaited: the send windows bound what is under way. */
  send(
    socket: DatagramSocket,
    packet: Packet,
    length: number,
    to: Address,
  ): void {
    if (this.#sending >= MAX_SENDING) {
      // What the system does not take is lost like anything on its way, and asked for again.
      this.failed.set(FULL, (this.failed.get(FULL) ?? 0) + 1);
      return this.buffers.give(packet);
    }
    this.datagrams++;
    this.#sending++;
    const done = () => {
      this.buffers.give(packet);
      if (--this.#sending > 0) return;
      for (const resolve of this.#drained.splice(0)) resolve();
    };
    socket.send(packet.bytes.subarray(0, length), to).then(done, (error) => {
      this.#fail(error);
      done();
    });
  }

  #fail(error: unknown): void {
    const reason = error instanceof Error ? error.name : String(error);
    this.failed.set(reason, (this.failed.get(reason) ?? 0) + 1);
  }
}

/** What wants a last word before a datagram leaves: a writer's heartbeat. */
export interface Closing {
  /** Appends it. */
  closeDatagram(): void;
}

/** One participant (or group) that is sent to, at one address. */
export class Destination {
  readonly #outbox: Outbox;
  readonly #socket: DatagramSocket;
  readonly #prefix: Uint8Array | undefined;
  #packet: Packet | undefined;
  #buffer: Uint8Array = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));
  #at = 0;
  #begin = 0;
  #timestampMs = -1;
  #closings: Closing[] = [];
  #scheduled = false;
  /** Where it is. */
  readonly address: Address;
  /** The largest datagram that is sent there. */
  readonly maxBytes: number;
  /** How much may be sent again there; shared by all destinations of one participant. */
  repairs: Allowance = new Allowance();

  /**
   * @param outbox The participant's.
   * @param socket What it is sent through.
   * @param address Where to.
   * @param prefix The participant it is for; undefined: whoever receives it.
   * @param maxBytes The largest datagram.
   */
  constructor(
    outbox: Outbox,
    socket: DatagramSocket,
    address: Address,
    prefix: string | undefined,
    maxBytes: number,
  ) {
    this.#outbox = outbox;
    this.#socket = socket;
    this.address = address;
    this.#prefix = prefix === undefined ? undefined : unhex(prefix);
    this.maxBytes = Math.min(maxBytes, outbox.buffers.size);
  }

  /** Room for one submessage of `size` bytes, header included; sends what is in its way. */
  #reserve(size: number): void {
    this.#outbox.gathered++;
    if (this.#packet !== undefined && this.#at + size > this.maxBytes) this.#send();
    if (this.#packet === undefined) {
      const packet = this.#packet = this.#outbox.buffers.take();
      this.#buffer = packet.bytes;
      this.#view = packet.view;
      this.#at = this.#begin = this.#outbox.begin(packet, this.#prefix);
      this.#timestampMs = -1;
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#outbox.schedule(this);
    }
  }

  #head(kind: number, flags: number, size: number): void {
    const buffer = this.#buffer;
    buffer[this.#at] = kind;
    buffer[this.#at + 1] = flags | 1;
    this.#view.setUint16(this.#at + 2, size, true);
    this.#at += 4;
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  /** Entity ids are big-endian always. */
  #entity(id: number): void {
    this.#view.setUint32(this.#at, id);
    this.#at += 4;
  }

  #sequence(value: number): void {
    this.#view.setInt32(this.#at, Math.floor(value / 2 ** 32), true);
    this.#view.setUint32(this.#at + 4, value >>> 0, true);
    this.#at += 8;
  }

  #bits(bits: Bits | undefined): void {
    const length = bits?.length ?? 0;
    this.#u32(length);
    for (let i = 0; i < (length + 31) >> 5; i++) this.#u32((bits as Bits).words[i]);
  }

  /** INFO_TS, unless the datagram has said the same. */
  #timestamp(ms: number): void {
    if (ms === this.#timestampMs) return;
    this.#timestampMs = ms;
    this.#head(Submessage.infoTimestamp, 0, 8);
    const seconds = Math.floor(ms / 1000);
    this.#u32(seconds);
    this.#u32(Math.min(0xffffffff, Math.floor((ms / 1000 - seconds) * 2 ** 32)));
  }

  /** How large a payload may be to fit into one datagram. */
  payloadRoom(inlineBytes: number): number {
    // Header, INFO_DST, INFO_TS, DATA's own fields, and room for a heartbeat.
    return this.maxBytes - 36 - 12 - 24 - 32 - inlineBytes;
  }

  /** DATA (8.3.8.2). `inline` is a whole parameter list. */
  data(
    reader: number,
    writer: number,
    sequence: number,
    timestampMs: number,
    payload: Uint8Array,
    isKey: boolean,
    inline: Uint8Array | undefined,
  ): void {
    const inlineBytes = inline?.length ?? 0;
    const padded = (payload.length + 3) & ~3;
    this.#reserve(12 + 24 + inlineBytes + padded);
    this.#timestamp(timestampMs);
    const holds = payload.length === 0 ? 0 : isKey ? 8 : 4;
    const size = 20 + inlineBytes + padded;
    this.#head(Submessage.data, holds | (inline === undefined ? 0 : 2), size);
    this.#view.setUint32(this.#at, 0x00001000); // extra flags 0, 16 bytes to the inline QoS
    this.#view.setUint16(this.#at + 2, 16, true);
    this.#at += 4;
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(sequence);
    this.#append(inline, payload, padded);
  }

  #append(inline: Uint8Array | undefined, payload: Uint8Array, padded: number): void {
    const buffer = this.#buffer;
    if (inline !== undefined) {
      buffer.set(inline, this.#at);
      this.#at += inline.length;
    }
    const { length } = payload;
    if (length < 64) {
      for (let i = 0, at = this.#at; i < length; i++) {
        buffer[at + i] = payload[i];
      }
    } else buffer.set(payload, this.#at);
    for (let i = length; i < padded; i++) buffer[this.#at + i] = 0;
    this.#at += padded;
  }

  /** DATA_FRAG (8.3.8.3) with one fragment. */
  dataFrag(
    reader: number,
    writer: number,
    sequence: number,
    timestampMs: number,
    fragment: number,
    fragmentBytes: number,
    payload: Uint8Array,
    inline: Uint8Array | undefined,
  ): void {
    const from = (fragment - 1) * fragmentBytes;
    const part = payload.subarray(from, from + fragmentBytes);
    const inlineBytes = inline?.length ?? 0;
    const padded = (part.length + 3) & ~3;
    this.#reserve(12 + 36 + inlineBytes + padded);
    this.#timestamp(timestampMs);
    const size = 32 + inlineBytes + padded;
    this.#head(Submessage.dataFrag, inline === undefined ? 0 : 2, size);
    this.#view.setUint16(this.#at, 0, true);
    this.#view.setUint16(this.#at + 2, 28, true);
    this.#at += 4;
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(sequence);
    this.#u32(fragment);
    this.#view.setUint16(this.#at, 1, true);
    this.#view.setUint16(this.#at + 2, fragmentBytes, true);
    this.#at += 4;
    this.#u32(payload.length);
    this.#append(inline, part, padded);
  }

  /** HEARTBEAT (8.3.8.6). */
  heartbeat(
    reader: number,
    writer: number,
    first: number,
    last: number,
    count: number,
    final: boolean,
    liveliness = false,
  ): void {
    this.#reserve(32);
    this.#head(Submessage.heartbeat, (final ? 2 : 0) | (liveliness ? 4 : 0), 28);
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(first);
    this.#sequence(last);
    this.#u32(count);
  }

  /** HEARTBEAT_FRAG (8.3.8.7). */
  heartbeatFrag(
    reader: number,
    writer: number,
    sequence: number,
    lastFragment: number,
    count: number,
  ): void {
    this.#reserve(28);
    this.#head(Submessage.heartbeatFrag, 0, 24);
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(sequence);
    this.#u32(lastFragment);
    this.#u32(count);
  }

  /** GAP (8.3.8.4): from `start` to before `end`. */
  gap(reader: number, writer: number, start: number, end: number): void {
    this.#reserve(32);
    this.#head(Submessage.gap, 0, 28);
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(start);
    this.#sequence(end);
    this.#u32(0);
  }

  /** ACKNACK (8.3.8.1). */
  ackNack(
    reader: number,
    writer: number,
    base: number,
    bits: Bits | undefined,
    count: number,
    final: boolean,
  ): void {
    const words = ((bits?.length ?? 0) + 31) >> 5;
    this.#reserve(28 + 4 * words);
    this.#head(Submessage.ackNack, final ? 2 : 0, 24 + 4 * words);
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(base);
    this.#bits(bits);
    this.#u32(count);
  }

  /** NACK_FRAG (8.3.8.10). */
  nackFrag(
    reader: number,
    writer: number,
    sequence: number,
    base: number,
    bits: Bits | undefined,
    count: number,
  ): void {
    const words = ((bits?.length ?? 0) + 31) >> 5;
    this.#reserve(32 + 4 * words);
    this.#head(Submessage.nackFrag, 0, 28 + 4 * words);
    this.#entity(reader);
    this.#entity(writer);
    this.#sequence(sequence);
    this.#u32(base);
    this.#bits(bits);
    this.#u32(count);
  }

  /** Asks for a last word before the datagram leaves. */
  beforeSending(closing: Closing): void {
    this.#closings.push(closing);
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#outbox.schedule(this);
    }
  }

  /** Sends what was gathered. */
  flush(): void {
    if (this.#closings.length > 0) {
      const closings = this.#closings;
      this.#closings = [];
      for (const closing of closings) closing.closeDatagram();
    }
    this.#scheduled = false;
    if (this.#packet !== undefined && this.#at > this.#begin) this.#send();
  }

  #send(): void {
    const packet = this.#packet as Packet;
    this.#packet = undefined;
    const outbox = this.#outbox;
    outbox.send(this.#socket, packet, this.#at, this.address);
  }
}

/** The four bytes of a status (9.6.4.9). */
export function statusInfo(kind: "disposed" | "unregistered" | "both"): Uint8Array {
  const both = Status.disposed | Status.unregistered;
  return Uint8Array.of(
    0,
    0,
    0,
    kind === "both" ? both : kind === "disposed" ? Status.disposed : Status.unregistered,
  );
}
