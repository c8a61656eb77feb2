/**
 * Turns values into frames and hands them to the outbox; turns bodies back into values.
 *
 * @module
 */

import { encodeControl } from "./envelope.ts";
import type { Codec } from "../codec.ts";
import type { Compressor } from "../compression.ts";
import { PatchbayError } from "../errors.ts";
import type { Link } from "../link.ts";
import type { EndpointStatistics, TransportStatistics } from "../statistics.ts";
import {
  encodeHeaders,
  Flag,
  FRAGMENT_BYTES,
  HEADER_BYTES,
  laneOf,
  writeHeader,
} from "./envelope.ts";
import type { Frame } from "./frame.ts";
import { LARGEST_WHOLE, Outbox, Waiting } from "./outbox.ts";
import { type Origin, Passing } from "./passing.ts";

/** Most bodies are smaller: while there is credit for so much, they are encoded in place. */
const LIKELY_BYTES = 4 * 1024;
/**
 * What {@link Sender} does with a value: nothing, it encodes it, or something was sent meanwhile.
 * Numbers, and no `finally`: with words and one a call took 0.4 to 1.1 µs longer.
 */
const IDLE = 0;
const ENCODING = 1;
const DISTURBED = 2;

/** The longest error message that is sent, in UTF-16 code units. */
const MAX_MESSAGE_LENGTH = 4096;

/** What a frame says besides its body. */
export interface FrameHead {
  /** What it is. */
  readonly kind: number;
  /** Bits of {@link Flag}. */
  readonly flags: number;
  /** 0–255. */
  readonly priority: number;
  /** Sent along. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** Of the request, subscription or job. */
  readonly id: number;
  /** The address's number. */
  readonly route: number;
  /** Remaining ms, sequence, or credit, by kind. */
  readonly number: number;
  /** Goes before the encoded value, as it is. */
  readonly prefix?: Uint8Array;
  /** Whether it needs credit. */
  readonly paid: boolean;
  /** Hops left; default {@link DEFAULT_TTL}. */
  readonly ttl?: number;
}

/** How a {@link Sender} is made. */
export interface SenderOptions {
  /** The plugin's name. */
  readonly transport: string;
  /** The largest message this side takes, in bytes. */
  readonly maxMessageBytes: number;
  /** The most bytes that wait to be sent. */
  readonly maxQueueBytes: number;
  /** Bodies from this size on are compressed, in bytes. */
  readonly compressionThreshold: number;
  /** The transport's counters. */
  readonly statistics: TransportStatistics;
}

/** The sending half of a session. */
export class Sender {
  /** The way out. */
  readonly outbox: Outbox;
  /** The codecs both sides know; the first is the default. */
  codecs: readonly Codec[] = [];
  /** The agreed compressor. */
  compressor: Compressor | undefined = undefined;
  /** The largest message both sides take, in bytes. */
  maxMessageBytes: number;
  readonly #link: Link;
  readonly #options: SenderOptions;
  #sampleTick = 0;
  /** The size of the last body that was not encoded in place: after a large one, few are small. */
  #lastBytes = 0;
  /** Whether a value is being encoded, and whether its own code has sent something meanwhile. */
  #encoding: number = IDLE;

  /**
   * @param link Where frames go.
   * @param options Everything else.
   */
  constructor(link: Link, options: SenderOptions) {
    this.#link = link;
    this.#options = options;
    this.maxMessageBytes = options.maxMessageBytes;
    this.outbox = new Outbox(link, options.maxQueueBytes);
  }

  /** The codec for a value: the one its contract names, raw for bytes, else the default. */
  codecFor(name: string | undefined, value: unknown): Codec {
    if (value instanceof Passing) return this.codecs[0];
    if (name === undefined) {
      return value instanceof Uint8Array ? this.#named("raw") : this.codecs[0];
    }
    return this.#named(name);
  }

  /**
   * Encodes a value and sends it, straight into the link's buffer where it can.
   *
   * @returns What waits in the queue, if it had to wait.
   * @throws {PatchbayError} `invalid`, `too_large`, `overloaded`; nothing was sent then.
   */
  value(
    head: FrameHead,
    codec: Codec,
    value: unknown,
    count: EndpointStatistics | undefined,
  ): Waiting | undefined {
    this.checkIdle();
    const lane = laneOf(head.priority);
    if (value instanceof Passing) {
      const { body, ttl } = value;
      if (this.#goesBare(head, body.length)) {
        return this.#bytes(head, this.#numberOf(value), body, lane, count, ttl);
      }
      return this.#counted(this.encoded(head, codec, value), head, count, body.length);
    }
    if (codec.name === "raw" && value instanceof Uint8Array && this.#goesBare(head, value.length)) {
      return this.#bytes(head, this.codecs.indexOf(codec), value, lane, count);
    }
    if (
      head.headers === undefined && head.prefix === undefined &&
      this.#lastBytes <= FRAGMENT_BYTES &&
      this.outbox.clear(lane, HEADER_BYTES + LIKELY_BYTES, head.paid)
    ) {
      const link = this.#link;
      const at = link.claim(LARGEST_WHOLE);
      const bytes = this.encodeInto(codec, value, link.buffer, at + HEADER_BYTES);
      if (
        bytes >= 0 && bytes <= FRAGMENT_BYTES && !this.#compresses(bytes) &&
        (bytes <= LIKELY_BYTES || this.outbox.clear(lane, HEADER_BYTES + bytes, head.paid))
      ) {
        this.#checkSize(bytes);
        this.#commit(head, this.codecs.indexOf(codec), at, bytes);
        this.#count(count, bytes);
        return undefined;
      }
    }
    const number = this.codecs.indexOf(codec);
    if (
      codec.encodeBehind !== undefined && head.headers === undefined && head.prefix === undefined
    ) {
      const frame = this.#apart(() =>
        codec.encodeBehind?.(value, HEADER_BYTES, this.#lastBytes) as Uint8Array
      );
      const bytes = frame.length - HEADER_BYTES;
      if (!this.#compresses(bytes)) {
        this.#checkSize(bytes);
        const { kind, flags, priority, id, route } = head;
        const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
        writeHeader(view, 0, kind, flags, number, priority, 0, id, route, head.number);
        return this.#counted(frame, head, count, bytes);
      }
      const body = frame.subarray(HEADER_BYTES);
      return this.#counted(this.build(head, number, body), head, count, bytes);
    }
    const body = this.#apart(() => codec.encode(value));
    return this.#counted(this.build(head, number, body), head, count, body.length);
  }

  /**
   * As {@link Codec.encodeInto}, into room that is to be sent next.
   *
   * @throws {PatchbayError} `invalid`: also when the value's own code (an accessor, a proxy) sends
   *   something over this connection: that would lie where the value is being written.
   */
  encodeInto(codec: Codec, value: unknown, target: Uint8Array, at: number): number {
    this.#encoding = ENCODING;
    let bytes: number;
    try {
      bytes = codec.encodeInto(value, target, at);
    } catch (error) {
      this.#encoding = IDLE;
      throw error;
    }
    const after = this.#encoding;
    this.#encoding = IDLE;
    if (after !== ENCODING) throw sentMeanwhile();
    return bytes;
  }

  /**
   * To be asked before a value is sent.
   *
   * @throws {PatchbayError} `invalid`: another value is being encoded, whose own code sends this one.
   */
  checkIdle(): void {
    if (this.#encoding !== IDLE) throw sentMeanwhile();
  }

  /** Encodes into memory of its own: what is sent meanwhile lies elsewhere, but is in its place. */
  #apart(encode: () => Uint8Array): Uint8Array {
    this.#encoding = ENCODING;
    try {
      return encode();
    } finally {
      this.#encoding = IDLE;
    }
  }

  /** Something is sent that cannot be refused. */
  #disturb(): void {
    if (this.#encoding === ENCODING) this.#encoding = DISTURBED;
  }

  /** Whether bytes are the whole of a frame's body, as they are. */
  #goesBare({ headers, prefix }: FrameHead, bytes: number): boolean {
    return headers === undefined && prefix === undefined && bytes > 0 && !this.#compresses(bytes);
  }

  /** Sends bytes as they are, with one copy if the gates let it: their size is known beforehand. */
  #bytes(
    head: FrameHead,
    number: number,
    value: Uint8Array,
    lane: number,
    count: EndpointStatistics | undefined,
    ttl = head.ttl,
  ): Waiting | undefined {
    const { length } = value;
    this.#checkSize(length);
    const built = () => this.build(ttl === head.ttl ? head : { ...head, ttl }, number, value);
    const frameBytes = HEADER_BYTES + length;
    const { outbox } = this;
    if (frameBytes <= outbox.largestWhole) {
      if (!outbox.clear(lane, frameBytes, head.paid)) {
        return this.#counted(built(), head, count, length);
      }
      const at = this.#link.claim(frameBytes, true);
      this.#link.buffer.set(value, at + HEADER_BYTES);
      this.#commit(head, number, at, length, ttl);
      this.#count(count, length);
      return undefined;
    }
    if (!outbox.isEmpty(lane, head.paid)) {
      return this.#counted(built(), head, count, length);
    }
    if (outbox.full) throw this.overloaded();
    const { kind, flags, priority, id, route } = head;
    const header = new Uint8Array(HEADER_BYTES);
    const view = new DataView(header.buffer);
    writeHeader(view, 0, kind, flags, number, priority, 0, id, route, head.number, ttl);
    this.#sent(frameBytes);
    this.#count(count, length);
    return outbox.sendLarge(lane, header, value, head.paid);
  }

  /**
   * Sends a value that was encoded before (for several subscribers).
   *
   * @returns False if it has to wait: nothing was sent.
   */
  body(head: FrameHead, codec: number, body: Uint8Array, count: EndpointStatistics): boolean {
    const bytes = body.length;
    if (head.headers !== undefined || bytes > FRAGMENT_BYTES || this.#compresses(bytes)) {
      return false;
    }
    if (!this.outbox.clear(laneOf(head.priority), HEADER_BYTES + bytes, head.paid)) return false;
    const at = this.#link.claim(HEADER_BYTES + bytes, true);
    this.#link.buffer.set(body, at + HEADER_BYTES);
    this.#commit(head, codec, at, bytes);
    this.#count(count, bytes);
    return true;
  }

  /**
   * Sends a built frame, in fragments if it is large.
   *
   * @returns What waits in the queue, if it had to wait.
   * @throws {PatchbayError} `overloaded`: the queue is full.
   */
  frame(frame: Uint8Array, head: FrameHead): Waiting | undefined {
    this.#disturb();
    const lane = laneOf(head.priority);
    if (
      frame.length <= this.outbox.largestWhole && this.outbox.clear(lane, frame.length, head.paid)
    ) {
      this.#sent(frame.length);
      const at = this.#link.claim(frame.length, true);
      this.#link.buffer.set(frame, at);
      this.#link.commit(frame.length);
      if (head.paid) this.outbox.paid(frame.length);
      return undefined;
    }
    if (this.outbox.full) throw this.overloaded();
    this.#sent(frame.length);
    const waiting = new Waiting(frame);
    this.outbox.queue(lane, waiting, frame.length, head.paid);
    return waiting;
  }

  /**
   * The bytes of a whole frame.
   *
   * @throws {PatchbayError} `too_large`; `invalid`: the headers.
   */
  build(head: FrameHead, codec: number, body: Uint8Array): Uint8Array {
    this.#checkSize(body.length);
    let flags = head.flags;
    if (this.#compresses(body.length)) {
      const small = (this.compressor as Compressor).compress(body);
      if (small.length < body.length) {
        body = small;
        flags |= Flag.compressed;
      }
    }
    const block = head.headers === undefined ? undefined : encodeHeaders(head.headers);
    const prefixAt = HEADER_BYTES + (block?.length ?? 0);
    const bodyAt = prefixAt + (head.prefix?.length ?? 0);
    const frame = new Uint8Array(bodyAt + body.length);
    writeHeader(
      new DataView(frame.buffer),
      0,
      head.kind,
      flags,
      codec,
      head.priority,
      block?.length ?? 0,
      head.id,
      head.route,
      head.number,
      head.ttl,
    );
    if (block !== undefined) frame.set(block, HEADER_BYTES);
    if (head.prefix !== undefined) frame.set(head.prefix, prefixAt);
    frame.set(body, bodyAt);
    return frame;
  }

  /**
   * The bytes of a whole frame with a value; one that is passed on keeps its encoding.
   *
   * @throws {PatchbayError} `invalid`, `too_large`.
   */
  encoded(head: FrameHead, codec: Codec, value: unknown): Uint8Array {
    if (!(value instanceof Passing)) {
      const body = this.#apart(() => codec.encode(value));
      return this.build(head, this.codecs.indexOf(codec), body);
    }
    return this.build({ ...head, ttl: value.ttl }, this.#numberOf(value), value.body);
  }

  /**
   * What a frame carries, to be passed on.
   *
   * @param frame The frame.
   * @param origin Whose it is.
   * @param skip Bytes before the value.
   * @param lent Whether it is passed on before the next frame is read, and needs no copy.
   * @throws {PatchbayError} `protocol`, `too_large`.
   */
  passing(frame: Frame, origin: Origin | undefined, skip = 0, lent = false): Passing {
    const known = this.codecs[frame.codec];
    if (known === undefined || frame.bodyBytes < skip) {
      throw new PatchbayError("protocol", "a frame's codec or body is not what was agreed on");
    }
    const body = skip === 0 ? frame.body() : frame.body().subarray(skip);
    if ((frame.flags & Flag.compressed) === 0) {
      return new Passing(known.name, lent ? body : body.slice(), frame, origin);
    }
    if (this.compressor === undefined) {
      throw new PatchbayError("protocol", "a compressed body, but no compression was agreed on");
    }
    const whole = this.compressor.decompress(body, this.#options.maxMessageBytes);
    return new Passing(known.name, whole.slice(), frame, origin);
  }

  /** Sends a control frame, ahead of everything that waits. */
  control(kind: number, id: number, number: number, body?: Uint8Array, route = 0, flags = 0): void {
    this.#disturb();
    const bytes = body?.length ?? 0;
    const at = this.#link.claim(HEADER_BYTES + bytes, true);
    writeHeader(this.#link.view, at, kind, flags, 0, 255, 0, id, route, number);
    if (body !== undefined) this.#link.buffer.set(body, at + HEADER_BYTES);
    this.#link.commit(HEADER_BYTES + bytes);
    this.#sent(HEADER_BYTES + bytes);
  }

  /**
   * Sends a small frame behind everything that waits in its lane, whose kind would otherwise
   * overtake: the cancel of what has not wholly left yet. Counts as data, so {@link Flag.paid} is
   * set.
   */
  behind(head: FrameHead, body: Uint8Array): void {
    this.#disturb();
    const frame = this.build({ ...head, flags: head.flags | Flag.paid, paid: true }, 0, body);
    this.#sent(frame.length);
    this.outbox.queue(laneOf(head.priority), new Waiting(frame), frame.length, true);
  }

  /** The bytes of an error, cut down if need be. Never throws. */
  errorBody(error: PatchbayError): Uint8Array {
    const wire = error.toWire();
    wire.message = wire.message.slice(0, MAX_MESSAGE_LENGTH);
    try {
      const body = encodeControl(wire);
      if (body.length <= FRAGMENT_BYTES) return body;
    } catch {
      // The details are no JSON: a bigint, a circle.
    }
    // Six bytes for each unit at most.
    return encodeControl({ code: wire.code, message: wire.message.slice(0, 2048) });
  }

  /** Whether a frame's body is the value itself: bytes as they are. */
  isBare(codec: number, flags: number): boolean {
    return (flags & Flag.compressed) === 0 && this.codecs[codec]?.name === "raw";
  }

  /**
   * The value in a body. `body` may be reused afterwards.
   *
   * @throws {PatchbayError} `protocol`, `too_large`.
   */
  decode(codec: number, flags: number, body: Uint8Array): unknown {
    const known = this.codecs[codec];
    if (known === undefined) {
      throw new PatchbayError("protocol", `codec number ${codec} was not agreed on`);
    }
    if ((flags & Flag.compressed) !== 0) {
      if (this.compressor === undefined) {
        throw new PatchbayError("protocol", "a compressed body, but no compression was agreed on");
      }
      body = this.compressor.decompress(body, this.#options.maxMessageBytes);
    }
    return known.decode(body);
  }

  /** Counts a message that went through shared memory instead. */
  passedBy(frameBytes: number, count: EndpointStatistics, bytes: number): void {
    this.#sent(frameBytes);
    this.#count(count, bytes);
  }

  /**
   * Counts a message that is not delivered over this wire.
   *
   * @param reason Why.
   */
  dropped(reason: string): void {
    this.#options.statistics.countDrop(reason);
  }

  /** The error for a full queue. */
  overloaded(): PatchbayError {
    const { maxQueueBytes, transport } = this.#options;
    return new PatchbayError(
      "overloaded",
      `${transport}: ${this.outbox.queuedBytes} bytes already wait to be sent to this peer`,
      {
        transport,
        details: { queuedBytes: this.outbox.queuedBytes, maxQueueBytes },
        remedy: "send less at once; the peer does not keep up",
      },
    );
  }

  /** The number of the codec of what is passed on; the error names one that the peer does not know. */
  #numberOf({ codec }: Passing): number {
    const { codecs } = this;
    for (let n = 0; n < codecs.length; n++) if (codecs[n].name === codec) return n;
    return codecs.indexOf(this.#named(codec));
  }

  #named(name: string): Codec {
    for (const codec of this.codecs) if (codec.name === name) return codec;
    throw new PatchbayError("invalid", `the codec ${name} was not agreed on with the peer`, {
      details: { codec: name, agreed: this.codecs.map((c) => c.name) },
      remedy: "use a codec that both sides know",
    });
  }

  #commit(head: FrameHead, codec: number, at: number, bytes: number, ttl = head.ttl): void {
    const { kind, flags, priority, id, route, number } = head;
    writeHeader(this.#link.view, at, kind, flags, codec, priority, 0, id, route, number, ttl);
    this.#link.commit(HEADER_BYTES + bytes);
    this.#sent(HEADER_BYTES + bytes);
    if (head.paid) this.outbox.paid(HEADER_BYTES + bytes);
  }

  #counted(
    frame: Uint8Array,
    head: FrameHead,
    count: EndpointStatistics | undefined,
    bytes: number,
  ): Waiting | undefined {
    const waiting = this.frame(frame, head);
    this.#lastBytes = bytes;
    this.#count(count, bytes);
    return waiting;
  }

  #sent(bytes: number): void {
    this.#options.statistics.messagesOut++;
    this.#options.statistics.bytesOut += bytes;
  }

  #count(count: EndpointStatistics | undefined, bytes: number): void {
    if (count === undefined) return;
    count.bytesOut += bytes;
    if ((this.#sampleTick++ & 63) === 0) count.observeSize(bytes);
  }

  #compresses(bytes: number): boolean {
    return this.compressor !== undefined && bytes >= this.#options.compressionThreshold;
  }

  #checkSize(bytes: number): void {
    if (bytes <= this.maxMessageBytes) return;
    const { transport } = this.#options;
    throw new PatchbayError(
      "too_large",
      `the message has ${bytes} bytes, the limit over ${transport} is ${this.maxMessageBytes}`,
      {
        transport,
        details: { size: bytes, max: this.maxMessageBytes },
        remedy: "raise maxMessageBytes on both sides, or send it in parts",
      },
    );
  }
}

function sentMeanwhile(): PatchbayError {
  return new PatchbayError("invalid", "a value sends something itself while it is being sent", {
    details: { path: "value" },
    remedy: "read its accessors first, and send a plain object",
  });
}
