/**
 * A link over a WebSocket whose client this is, on a connection of Deno (RFC 6455 section 5).
 *
 * Deno's own `WebSocket` leaves Nagle's algorithm on (denoland/deno#35581) and writes the head of a
 * message of over a kilobyte apart from its body: each such message waits 40 ms for an
 * acknowledgement. It tells nobody when its bytes have left, either. This one writes once, waits
 * until it is written, and reads in place.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { MAX_WIRE_MESSAGE_BYTES } from "./link.ts";

/** The size of the length before each frame, in bytes. */
const LENGTH_BYTES = 4;
/** Frames are gathered into messages of up to this size. */
const CHUNK_BYTES = 128 * 1024;
/** Room for the head of a message: 2 bytes, 8 of length, 4 of mask. A multiple of four. */
const HEAD_BYTES = 16;
/** Room for a control frame, whole words of it. */
const CONTROL_BYTES = HEAD_BYTES + 128;
/** What the read buffer begins with, in bytes; it grows to the largest message. */
const READ_BYTES = 64 * 1024;
/** How long {@link WireLink.close} waits for what was committed, and for the peer, in ms. */
const CLOSE_MS = 1000;

/** Operations of frames (section 5.2). */
const Op = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

class Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly words: Uint32Array;
  readonly op: number;
  used = HEAD_BYTES;

  constructor(op: number, bytes: number) {
    this.op = op;
    this.bytes = new Uint8Array(bytes);
    this.view = new DataView(this.bytes.buffer);
    this.words = new Uint32Array(this.bytes.buffer);
  }
}

/**
 * Makes a message of what a chunk holds: head before it, and masked (section 5.3).
 *
 * @returns Where it begins.
 */
function seal(chunk: Chunk): number {
  const { view, words, bytes, used, op } = chunk;
  const length = used - HEAD_BYTES;
  const maskAt = HEAD_BYTES - 4;
  crypto.getRandomValues(bytes.subarray(maskAt, HEAD_BYTES));
  const mask = words[maskAt / 4];
  const end = Math.ceil(used / 4);
  // The head is a multiple of four bytes, so the mask falls on whole words.
  for (let at = HEAD_BYTES / 4; at < end; at++) words[at] ^= mask;
  const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const start = maskAt - size - 2;
  bytes[start] = 0x80 | op;
  bytes[start + 1] = 0x80 | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) view.setUint16(start + 2, length);
  else if (size === 8) view.setBigUint64(start + 2, BigInt(length));
  return start;
}

/** A link over a WebSocket, as its client. */
export class WireLink implements Link {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** A half-open connection looks alive: the session sends heartbeats. */
  readonly detectsClose = false;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  readonly #conn: Deno.Conn;
  readonly #full: Chunk[] = [];
  #chunk = new Chunk(Op.binary, CHUNK_BYTES);
  #spare: Chunk | undefined;
  #claimedAt = 0;
  #buffered = 0;
  #due = false;
  #writing: Promise<void> | undefined;
  /** Control frames that go before the next message: pongs, and the close frame. */
  readonly #control: Chunk[] = [];
  #handler: LinkHandler | undefined;
  #input: Uint8Array;
  #start = 0;
  #end: number;
  /** The pieces of a message that comes in several frames. */
  #pieces: Uint8Array[] | undefined;
  #closed = false;
  #saidClose = false;
  #closing: Promise<void> | undefined;
  readonly #gone = Promise.withResolvers<void>();
  /** Resolves when the connection is closed, and nothing more can come. */
  readonly gone: Promise<void> = this.#gone.promise;

  /**
   * Takes over a connection that has become a WebSocket.
   *
   * @param conn The connection; the link owns it.
   * @param rest What came behind the handshake.
   * @param local Whether the peer is on this host.
   */
  constructor(conn: Deno.Conn, rest: Uint8Array, local: boolean) {
    this.#conn = conn;
    this.local = local;
    this.#input = new Uint8Array(READ_BYTES);
    this.#input.set(rest);
    this.#end = rest.length;
  }

  /** As {@link Link.buffer}. */
  get buffer(): Uint8Array {
    return this.#chunk.bytes;
  }

  /** As {@link Link.view}. */
  get view(): DataView {
    return this.#chunk.view;
  }

  /** As {@link Link.buffered}; what is being written does not count: the next is made meanwhile. */
  get buffered(): number {
    return this.#buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    void this.#read(handler);
  }

  /** As {@link Link.claim}. */
  claim(bytes: number): number {
    if (this.#chunk.used + LENGTH_BYTES + bytes > CHUNK_BYTES) {
      this.#full.push(this.#chunk);
      this.#chunk = this.#fresh();
    }
    return this.#claimedAt = this.#chunk.used + LENGTH_BYTES;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    if (this.#closed) return;
    const chunk = this.#chunk;
    chunk.view.setUint32(this.#claimedAt - LENGTH_BYTES, bytes, true);
    chunk.used = this.#claimedAt + bytes;
    this.#buffered += LENGTH_BYTES + bytes;
    if (this.#due || this.#writing !== undefined) return;
    this.#due = true;
    queueMicrotask(this.#flushDue);
  }

  /** As {@link Link.flush}. */
  flush(): void {
    if (!this.#closed && (this.#buffered > 0 || this.#control.length > 0)) {
      this.#writing ??= this.#write();
    }
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (abrupt) this.#shut(undefined);
    return this.#closing ??= (async () => {
      if (this.#closed) return;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
      const orderly = async () => {
        // What was committed goes first.
        while ((this.#buffered > 0 || this.#writing !== undefined) && !this.#closed) {
          this.flush();
          await this.#writing;
        }
        this.#sayClose(1000);
        await this.gone;
      };
      await Promise.race([orderly(), late]);
      clearTimeout(timer);
      this.#shut(undefined);
    })();
  }

  // ----- writing -----

  readonly #flushDue = (): void => {
    this.#due = false;
    this.flush();
  };

  readonly #tellDrained = (): void => {
    if (!this.#closed) this.#handler?.drained();
  };

  #fresh(): Chunk {
    const chunk = this.#spare ?? new Chunk(Op.binary, CHUNK_BYTES);
    this.#spare = undefined;
    return chunk;
  }

  async #write(): Promise<void> {
    try {
      while (!this.#closed) {
        const control = this.#control.shift();
        if (control !== undefined) {
          await this.#put(control, seal(control));
          continue;
        }
        if (this.#buffered === 0) break;
        const chunk = this.#full.shift() ?? this.#takeChunk();
        this.#buffered -= chunk.used - HEAD_BYTES;
        const written = this.#put(chunk, seal(chunk));
        // Not at once: the session may be in the middle of sending.
        queueMicrotask(this.#tellDrained);
        await written;
        chunk.used = HEAD_BYTES;
        this.#spare ??= chunk;
      }
    } catch (error) {
      this.#shut(lost(error));
    }
    this.#writing = undefined;
  }

  #takeChunk(): Chunk {
    const chunk = this.#chunk;
    this.#chunk = this.#fresh();
    return chunk;
  }

  async #put({ bytes, used }: Chunk, start: number): Promise<void> {
    for (let at = start; at < used;) at += await this.#conn.write(bytes.subarray(at, used));
  }

  /** Puts a control frame before what waits. */
  #say(op: number, payload: Uint8Array): void {
    // Of several pings the last one is answered, at the latest (section 5.5.3).
    if (op === Op.pong && this.#control.length > 0) this.#control.pop();
    const chunk = new Chunk(op, CONTROL_BYTES);
    chunk.bytes.set(payload, HEAD_BYTES);
    chunk.used += payload.length;
    this.#control.push(chunk);
    this.flush();
  }

  #sayClose(code: number): void {
    if (this.#saidClose) return;
    this.#saidClose = true;
    this.#say(Op.close, new Uint8Array([code >> 8, code & 0xff]));
  }

  // ----- reading -----

  async #read(handler: LinkHandler): Promise<void> {
    try {
      for (;;) {
        while (!this.#closed && this.#frame(handler));
        if (this.#closed) return;
        handler.batchEnd();
        this.#makeRoom();
        const read = await this.#conn.read(this.#input.subarray(this.#end));
        if (read === null) break;
        this.#end += read;
      }
      this.#shut(this.#saidClose ? undefined : new PatchbayError("closed", "the connection broke"));
    } catch (error) {
      this.#shut(lost(error));
    }
  }

  #makeRoom(): void {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#start > 0 && this.#input.length - this.#end < READ_BYTES / 2) {
      this.#input.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end < this.#input.length) return;
    // The largest message, its head, and the beginning of the next.
    const most = MAX_WIRE_MESSAGE_BYTES + READ_BYTES;
    const wider = new Uint8Array(Math.min(most, this.#input.length * 2));
    wider.set(this.#input.subarray(this.#start, this.#end));
    this.#input = wider;
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** Takes one frame out of the buffer; false if there is no whole one. */
  #frame(handler: LinkHandler): boolean {
    const input = this.#input;
    const at = this.#start;
    const there = this.#end - at;
    if (there < 2) return false;
    const [first, second] = [input[at], input[at + 1]];
    let length = second & 0x7f;
    let head = 2;
    if (length > 125) {
      head = length === 126 ? 4 : 10;
      if (there < head) return false;
      length = 0;
      for (let i = 2; i < head; i++) length = length * 256 + input[at + i];
    }
    const wrong = complaint(first, second, length);
    if (wrong !== undefined) {
      handler.malformed(new PatchbayError("protocol", wrong));
      return false;
    }
    if (there < head + length) return false;
    const begin = at + head;
    this.#start = begin + length;
    this.#take(handler, first, begin, this.#start);
    return true;
  }

  #take(handler: LinkHandler, first: number, begin: number, end: number): void {
    const op = first & 0x0f;
    const last = (first & 0x80) !== 0;
    const input = this.#input;
    if (op === Op.ping) return this.#say(Op.pong, input.slice(begin, end));
    if (op === Op.pong) return;
    if (op === Op.close) return this.#closedByPeer(input.subarray(begin, end));
    const begun = this.#pieces !== undefined;
    if (begun !== (op === Op.continuation)) {
      return handler.malformed(new PatchbayError("protocol", "a message in a message"));
    }
    if (last && !begun) return this.#message(handler, input, begin, end);
    const pieces = this.#pieces ??= [];
    pieces.push(input.slice(begin, end));
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length > MAX_WIRE_MESSAGE_BYTES) {
      return handler.malformed(new PatchbayError("protocol", "the peer's message is too large"));
    }
    if (!last) return;
    this.#pieces = undefined;
    const whole = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#message(handler, whole, 0, length);
  }

  #message(handler: LinkHandler, bytes: Uint8Array, at: number, end: number): void {
    while (at < end && !this.#closed) {
      const size = end - at < LENGTH_BYTES
        ? -1
        : (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24) >>> 0;
      const start = at + LENGTH_BYTES;
      at = start + size;
      if (size > this.maxFrameBytes || size < 0 || at > end) {
        const what = `the peer sent a message with a frame of ${size} bytes`;
        return handler.malformed(new PatchbayError("protocol", what, { details: { size } }));
      }
      handler.frame(bytes, start, at);
    }
  }

  #closedByPeer(payload: Uint8Array): void {
    const code = payload.length < 2 ? 1005 : payload[0] << 8 | payload[1];
    const reason = new TextDecoder().decode(payload.subarray(2));
    this.#sayClose(code === 1005 ? 1000 : code);
    const orderly = code === 1000 || code === 1001 || code === 1005;
    const error = new PatchbayError("closed", `the peer closed: ${reason || `code ${code}`}`, {
      details: { code },
    });
    // The answer leaves first; it is small, and nothing may be in its way.
    const writing = this.#writing ?? Promise.resolve();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
    void Promise.race([writing, late]).then(() => {
      clearTimeout(timer);
      this.#shut(orderly ? undefined : error);
    });
  }

  #shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffered = 0;
    try {
      this.#conn.close();
    } catch {
      // The peer was faster.
    }
    this.#handler?.closed(error);
    this.#gone.resolve();
  }
}

/** What is wrong with the head of a frame (section 5.2). */
function complaint(first: number, second: number, length: number): string | undefined {
  const op = first & 0x0f;
  if ((first & 0x70) !== 0) return "the peer sent a frame with an extension that was not agreed on";
  if ((second & 0x80) !== 0) return "the server masked a frame";
  if (op === Op.text) return "the peer sent a text message";
  if (op > Op.pong || (op > Op.binary && op < Op.close)) return `a frame of operation ${op}`;
  if (op >= Op.close && (length > 125 || (first & 0x80) === 0)) return "a control frame too large";
  if (length > MAX_WIRE_MESSAGE_BYTES) {
    return `the peer sent a message of ${length} bytes, the limit is ${MAX_WIRE_MESSAGE_BYTES}`;
  }
  return undefined;
}

function lost(error: unknown): PatchbayError | undefined {
  // Closing while a read is pending is how an orderly end looks to Deno.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("closed", `the connection broke: ${message}`, { cause: error });
}
