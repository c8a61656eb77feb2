/**
 * Reads a datagram: header and submessages (8.3.7, 9.4.5), every length checked before it is used.
 * It throws nothing and allocates no more than a packet holds.
 *
 * @module
 */

import { Pid, Submessage } from "./constants.ts";
import { hex } from "./guid.ts";
import { readParameters, valueBytes } from "./parameters.ts";
import type { Address } from "./socket.ts";

/** What is known while a datagram is read. One object serves all datagrams of a socket. */
export class Incoming {
  /** The datagram; overwritten by the next one. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Reads of it. */
  view: DataView = new DataView(this.bytes.buffer);
  /** Who sent it. */
  from: Address = { hostname: "0.0.0.0", port: 0 };
  /** The prefix of the participant that speaks. */
  prefix = "";
  /** Who made it. */
  vendor = 0;
  /** When the following samples were written, in milliseconds since 1970, if that was said. */
  timestampMs: number | undefined = undefined;
}

/** One sample, or part of one, as it lies in the datagram. */
export interface DataSubmessage {
  readonly reader: number;
  readonly writer: number;
  readonly sequence: number;
  /** Where its payload lies. */
  readonly at: number;
  readonly end: number;
  /** Whether the payload is data, a key, or nothing. */
  readonly holds: "data" | "key" | "nothing";
  /** The parameters sent with it, by their ids; copies. */
  readonly inline: ReadonlyMap<number, Uint8Array> | undefined;
  /** Bits of {@link Status}. */
  readonly status: number;
  /** Whether numbers in `inline` are little-endian. */
  readonly little: boolean;
}

/** What {@link readMessage} tells of. */
export interface MessageSink {
  /** The prefix that packets to this participant name, 12 bytes. */
  readonly prefix: Uint8Array;
  /** Whether who sent the datagram may speak under this prefix; left out: everybody. */
  accepts?(context: Incoming): boolean;
  data(context: Incoming, data: DataSubmessage): void;
  dataFrag(
    context: Incoming,
    data: DataSubmessage,
    firstFragment: number,
    fragments: number,
    fragmentBytes: number,
    sampleBytes: number,
  ): void;
  heartbeat(
    context: Incoming,
    reader: number,
    writer: number,
    first: number,
    last: number,
    count: number,
    final: boolean,
    liveliness: boolean,
  ): void;
  heartbeatFrag(
    context: Incoming,
    reader: number,
    writer: number,
    sequence: number,
    lastFragment: number,
  ): void;
  /** `start` to before `base`, and what `bits` say from `base` on, will not come. */
  gap(
    context: Incoming,
    reader: number,
    writer: number,
    start: number,
    base: number,
    bits: Bits,
  ): void;
  ackNack(
    context: Incoming,
    reader: number,
    writer: number,
    base: number,
    bits: Bits,
    count: number,
    final: boolean,
  ): void;
  nackFrag(
    context: Incoming,
    reader: number,
    writer: number,
    sequence: number,
    base: number,
    bits: Bits,
    count: number,
  ): void;
}

/** A bitmap of up to 256 numbers (9.4.2.6). One object serves all. */
export class Bits {
  readonly words: Uint32Array = new Uint32Array(8);
  /** How many of its bits count. */
  length = 0;

  /** Whether a bit is set. */
  has(i: number): boolean {
    return (this.words[i >>> 5] & (0x80000000 >>> (i & 31))) !== 0;
  }

  /** Sets a bit. */
  set(i: number): void {
    this.words[i >>> 5] |= 0x80000000 >>> (i & 31);
  }

  /** Forgets all bits. */
  reset(length: number): void {
    this.words.fill(0);
    this.length = length;
  }

  /** Reads it; returns where it ended, or −1 if it is malformed. */
  read(view: DataView, at: number, end: number, little: boolean): number {
    if (at + 4 > end) return -1;
    const length = view.getUint32(at, little);
    if (length > 256) return -1;
    const words = (length + 31) >> 5;
    if (at + 4 + 4 * words > end) return -1;
    this.reset(length);
    for (let i = 0; i < words; i++) this.words[i] = view.getUint32(at + 4 + 4 * i, little);
    return at + 4 + 4 * words;
  }
}

/** Sequence numbers are 64 bits on the wire and 53 here: years at any rate, and exact. */
function readSequence(view: DataView, at: number, little: boolean): number {
  const high = view.getInt32(at, little);
  if (high < 0 || high > 0x1fffff) return -1;
  return high * 2 ** 32 + view.getUint32(at + 4, little);
}

const bits = new Bits();

/** Somebody speaks under the prefix of a participant that is elsewhere. */
export const FOREIGN = "from elsewhere than its participant";

/**
 * Reads one datagram.
 *
 * @param context What is known of it; `bytes`, `view` and `from` are set.
 * @param sink What is told.
 * @returns `undefined`, or what is wrong with it. What came before that was told.
 */
export function readMessage(context: Incoming, sink: MessageSink): string | undefined {
  const { bytes, view } = context;
  const length = bytes.length;
  if (length < 20) return "shorter than a header";
  if (view.getUint32(0) !== 0x52545053) return "not RTPS";
  if (bytes[4] !== 2) return "another major version of RTPS";
  context.vendor = view.getUint16(6);
  context.timestampMs = undefined;
  setPrefix(context, 8);
  if (sink.accepts?.(context) === false) return FOREIGN;
  let mine = true;
  for (let at = 20; at + 4 <= length;) {
    const kind = bytes[at];
    const flags = bytes[at + 1];
    const little = (flags & 1) !== 0;
    let size = view.getUint16(at + 2, little);
    at += 4;
    // Zero means: to the end of the packet (9.4.5.1.3), but for those that may be empty.
    if (size === 0 && kind !== Submessage.pad && kind !== Submessage.infoTimestamp) {
      size = length - at;
    }
    const end = at + size;
    if (end > length) return "a submessage longer than its packet";
    const told = kind === Submessage.infoDestination || kind === Submessage.infoSource
      ? undefined
      : mine
      ? readSubmessage(context, sink, kind, flags, little, at, end)
      : undefined;
    if (told !== undefined) return told;
    if (kind === Submessage.infoDestination) {
      if (size < 12) return "a short INFO_DST";
      mine = isZero(bytes, at) || isPrefix(bytes, at, sink.prefix);
    } else if (kind === Submessage.infoSource) {
      if (size < 20) return "a short INFO_SRC";
      context.vendor = view.getUint16(at + 6);
      setPrefix(context, at + 8);
      if (sink.accepts?.(context) === false) return FOREIGN;
      context.timestampMs = undefined;
    }
    at = end;
  }
  return undefined;
}

/** The prefix last seen: most packets come from who sent the one before. */
let knownPrefix = "";
const known = new Uint8Array(12);

function setPrefix(context: Incoming, at: number): void {
  const { bytes } = context;
  let same = knownPrefix !== "";
  for (let i = 0; same && i < 12; i++) same = known[i] === bytes[at + i];
  if (!same) {
    known.set(bytes.subarray(at, at + 12));
    knownPrefix = hex(known);
  }
  context.prefix = knownPrefix;
}

function isZero(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < 12; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

function isPrefix(bytes: Uint8Array, at: number, prefix: Uint8Array): boolean {
  for (let i = 0; i < 12; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

function readSubmessage(
  context: Incoming,
  sink: MessageSink,
  kind: number,
  flags: number,
  little: boolean,
  at: number,
  end: number,
): string | undefined {
  const { view } = context;
  const size = end - at;
  switch (kind) {
    case Submessage.infoTimestamp: {
      if ((flags & 2) !== 0) {
        context.timestampMs = undefined;
        return undefined;
      }
      if (size < 8) return "a short INFO_TS";
      context.timestampMs = view.getUint32(at, little) * 1000 +
        view.getUint32(at + 4, little) / 2 ** 32 * 1000;
      return undefined;
    }
    case Submessage.data:
      return readData(context, sink, flags, little, at, end);
    case Submessage.dataFrag:
      return readDataFrag(context, sink, flags, little, at, end);
    case Submessage.heartbeat: {
      if (size < 28) return "a short HEARTBEAT";
      const first = readSequence(view, at + 8, little);
      const last = readSequence(view, at + 16, little);
      if (first < 1 || last < first - 1) return "a HEARTBEAT of impossible numbers";
      const count = view.getUint32(at + 24, little);
      sink.heartbeat(
        context,
        view.getUint32(at),
        view.getUint32(at + 4),
        first,
        last,
        count,
        (flags & 2) !== 0,
        (flags & 4) !== 0,
      );
      return undefined;
    }
    case Submessage.heartbeatFrag: {
      if (size < 24) return "a short HEARTBEAT_FRAG";
      const sequence = readSequence(view, at + 8, little);
      if (sequence < 1) return "a HEARTBEAT_FRAG of impossible numbers";
      const last = view.getUint32(at + 16, little);
      sink.heartbeatFrag(context, view.getUint32(at), view.getUint32(at + 4), sequence, last);
      return undefined;
    }
    case Submessage.gap: {
      if (size < 28) return "a short GAP";
      const start = readSequence(view, at + 8, little);
      const base = readSequence(view, at + 16, little);
      if (start < 1 || base < start) return "a GAP of impossible numbers";
      if (bits.read(view, at + 24, end, little) < 0) return "a GAP with a bad bitmap";
      sink.gap(context, view.getUint32(at), view.getUint32(at + 4), start, base, bits);
      return undefined;
    }
    case Submessage.ackNack: {
      if (size < 24) return "a short ACKNACK";
      const base = readSequence(view, at + 8, little);
      const after = bits.read(view, at + 16, end, little);
      if (base < 0 || after < 0 || after + 4 > end) return "an ACKNACK with a bad bitmap";
      sink.ackNack(
        context,
        view.getUint32(at),
        view.getUint32(at + 4),
        base,
        bits,
        view.getUint32(after, little),
        (flags & 2) !== 0,
      );
      return undefined;
    }
    case Submessage.nackFrag: {
      if (size < 28) return "a short NACK_FRAG";
      const sequence = readSequence(view, at + 8, little);
      const base = view.getUint32(at + 16, little);
      const after = bits.read(view, at + 20, end, little);
      if (sequence < 1 || base < 1 || after < 0 || after + 4 > end) {
        return "a NACK_FRAG with a bad bitmap";
      }
      sink.nackFrag(
        context,
        view.getUint32(at),
        view.getUint32(at + 4),
        sequence,
        base,
        bits,
        view.getUint32(after, little),
      );
      return undefined;
    }
    default:
      // Unknown kinds are skipped (8.3.4.1): later versions and vendors add some.
      return undefined;
  }
}

/** What goes with a sample are a few parameters, each of which costs an object. */
const MAX_PARAMETERS = 64;

/** Reads inline QoS; returns where it ended, or −1. */
function readInline(
  context: Incoming,
  little: boolean,
  at: number,
  end: number,
  into: Map<number, Uint8Array>,
): number {
  const after = readParameters(context.bytes, at, end, little, (pid, value) => {
    // Those beyond are not worth a copy: the list is refused.
    if (into.size <= MAX_PARAMETERS) into.set(pid, valueBytes(value).slice());
  });
  return into.size > MAX_PARAMETERS ? -1 : after;
}

function statusOf(inline: ReadonlyMap<number, Uint8Array> | undefined): number {
  const info = inline?.get(Pid.statusInfo);
  // Big-endian whatever the list is (9.6.4.9).
  return info !== undefined && info.length >= 4 ? info[3] & 3 : 0;
}

function readData(
  context: Incoming,
  sink: MessageSink,
  flags: number,
  little: boolean,
  at: number,
  end: number,
): string | undefined {
  const { view } = context;
  if (end - at < 20) return "a short DATA";
  const sequence = readSequence(view, at + 12, little);
  if (sequence < 1) return "a DATA of an impossible number";
  let from = at + 4 + view.getUint16(at + 2, little);
  if (from < at + 20 || from > end) return "a DATA whose payload lies outside";
  let inline: Map<number, Uint8Array> | undefined;
  if ((flags & 2) !== 0) {
    inline = new Map();
    from = readInline(context, little, from, end, inline);
    if (from < 0) return "a DATA with bad inline QoS";
  }
  sink.data(context, {
    reader: view.getUint32(at + 4),
    writer: view.getUint32(at + 8),
    sequence,
    at: from,
    end,
    holds: (flags & 4) !== 0 ? "data" : (flags & 8) !== 0 ? "key" : "nothing",
    inline,
    status: statusOf(inline),
    little,
  });
  return undefined;
}

function readDataFrag(
  context: Incoming,
  sink: MessageSink,
  flags: number,
  little: boolean,
  at: number,
  end: number,
): string | undefined {
  const { view } = context;
  if (end - at < 32) return "a short DATA_FRAG";
  const sequence = readSequence(view, at + 12, little);
  const first = view.getUint32(at + 20, little);
  const fragments = view.getUint16(at + 24, little);
  const fragmentBytes = view.getUint16(at + 26, little);
  const sampleBytes = view.getUint32(at + 28, little);
  let from = at + 4 + view.getUint16(at + 2, little);
  if (sequence < 1 || first < 1 || fragments < 1 || fragmentBytes < 1 || sampleBytes < 1) {
    return "a DATA_FRAG of impossible numbers";
  }
  if (from < at + 32 || from > end) return "a DATA_FRAG whose payload lies outside";
  let inline: Map<number, Uint8Array> | undefined;
  if ((flags & 2) !== 0) {
    inline = new Map();
    from = readInline(context, little, from, end, inline);
    if (from < 0) return "a DATA_FRAG with bad inline QoS";
  }
  const offset = (first - 1) * fragmentBytes;
  const wanted = Math.min(fragments * fragmentBytes, sampleBytes - offset);
  if (wanted <= (fragments - 1) * fragmentBytes || from + wanted > end) {
    return "a DATA_FRAG whose fragments lie outside";
  }
  sink.dataFrag(
    context,
    {
      reader: view.getUint32(at + 4),
      writer: view.getUint32(at + 8),
      sequence,
      at: from,
      end: from + wanted,
      holds: (flags & 4) !== 0 ? "key" : "data",
      inline,
      status: statusOf(inline),
      little,
    },
    first,
    fragments,
    fragmentBytes,
    sampleBytes,
  );
  return undefined;
}
