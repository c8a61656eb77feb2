/**
 * A WebSocket on a connection of Deno, at either end: reads in place, writes each message once and
 * waits until it is written, and leaves nothing behind.
 *
 * Deno's own client leaves Nagle's algorithm on (denoland/deno#35581) and writes the head of a
 * message of over a kilobyte apart from its body: each such message waits 40 ms for an
 * acknowledgement. Its own server keeps a connection for ever whose peer does not answer a close,
 * and neither tells when bytes have left.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { ReadTurns } from "@patchbay/host";
import { closedBy } from "./close_codes.ts";
import { Chunk, complaint, HEAD_BYTES, Op, seal, unmask } from "./wire_frames.ts";

/** What the read buffer begins with, in bytes; it grows to the largest message. */
const READ_BYTES = 1024;
/** It grows fourfold each time that it was filled, to this size or that of the largest message. */
const WIDE_READ_BYTES = 128 * 1024;
/** After so many reads that would not have needed that it is given back. */
const SMALL_READS = 256;
/** How long {@link WireSocket.close} waits for what waits, and for the peer, in milliseconds. */
const CLOSE_MS = 1000;

/** What a socket is made with. */
export interface WireOptions {
  /** Whether this is the client's end: it masks, and the other does not. */
  readonly client: boolean;
  /** The operation of messages: {@link Op.binary} or {@link Op.text}. */
  readonly op: number;
  /** The largest message that is taken, in bytes. */
  readonly maxBytes: number;
  /**
   * So much is read of a peer before {@link WireSocket.admit}, in bytes; its first message has to be
   * within. The rest stays with the kernel, and with the peer. Absent: it is let in.
   */
  readonly earlyBytes?: number;
}

/** Whose socket it is. */
export interface WireOwner {
  /** What is to be written next; `undefined`: nothing. It is not touched until it is {@link sent}. */
  take(): Chunk | undefined;
  /** It has been written. */
  sent(chunk: Chunk): void;
  /** A message came; its bytes are valid during the call only. */
  message(bytes: Uint8Array, at: number, end: number): void;
  /** All messages that came in one read have been handed over. */
  batchEnd(): void;
  /** What came breaks the protocol. */
  malformed(error: PatchbayError): void;
  /** Nothing more comes. Called once. */
  closed(error: PatchbayError | undefined): void;
}

/** A WebSocket on a connection of Deno. */
export class WireSocket {
  readonly #conn: Deno.Conn;
  readonly #options: WireOptions;
  readonly #owner: WireOwner;
  readonly #reader: { op: number; masked: boolean; maxBytes: number };
  /** Control frames that go before the next message: pongs, and the close frame. */
  readonly #control: Chunk[] = [];
  #writing: Promise<void> | undefined;
  #input: Uint8Array<ArrayBuffer>;
  #words: Uint32Array;
  #start = 0;
  #end: number;
  #smallReads = 0;
  /** How much may still be read of a peer that has not been let in. */
  #earlyBytes: number;
  /** Whether a message has come. */
  #heard = false;
  readonly #admitted = Promise.withResolvers<void>();
  /** The pieces of a message that comes in several frames, and their size. */
  #pieces: Uint8Array[] | undefined;
  #piecesBytes = 0;
  #closed = false;
  /** Whether what comes is thrown away: the peer was refused, or has said that it closes. */
  #deaf = false;
  #saidClose = false;
  #closing: Promise<void> | undefined;
  readonly #gone = Promise.withResolvers<void>();
  /** Resolves when the connection is closed, and nothing more can come. */
  readonly gone: Promise<void> = this.#gone.promise;

  /**
   * Takes over a connection that has become a WebSocket.
   *
   * @param conn The connection; it is owned from now on.
   * @param rest What came behind the handshake.
   * @param options Which end it is.
   * @param owner Whose it is.
   */
  constructor(conn: Deno.Conn, rest: Uint8Array, options: WireOptions, owner: WireOwner) {
    this.#conn = conn;
    this.#options = options;
    this.#owner = owner;
    const { earlyBytes = Infinity, maxBytes } = options;
    this.#reader = {
      op: options.op,
      masked: !options.client,
      maxBytes: Math.min(maxBytes, earlyBytes),
    };
    this.#earlyBytes = earlyBytes - rest.length;
    this.#input = new Uint8Array(Math.max(READ_BYTES, (rest.length + 3) & ~3));
    this.#words = new Uint32Array(this.#input.buffer);
    this.#input.set(rest);
    this.#end = rest.length;
  }

  /** Whether nothing more comes or goes. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether something is being written now. */
  get writing(): boolean {
    return this.#writing !== undefined;
  }

  /** Begins to read. */
  start(): void {
    void this.#read();
  }

  /** The peer is let in: all that it sends is read. */
  admit(): void {
    this.#earlyBytes = Infinity;
    this.#reader.maxBytes = this.#options.maxBytes;
    this.#admitted.resolve();
  }

  /** Writes what its owner has. */
  flush(): void {
    if (!this.#closed) this.#writing ??= this.#write();
  }

  /** Asks the peer whether it is there. */
  ping(): void {
    this.#say(Op.ping, new Uint8Array(0));
  }

  /**
   * Closes it: what its owner has is still written, for a second at most. Idempotent.
   *
   * @param abrupt Drop it instead.
   * @param code The code.
   * @param reason The reason.
   */
  close(abrupt: boolean, code: number, reason: string): Promise<void> {
    if (abrupt) this.shut(undefined);
    return this.#closing ??= (async () => {
      if (this.#closed) return;
      this.#sendAway();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
      const orderly = async () => {
        this.flush();
        await this.#writing;
        this.#sayClose(code, reason);
        await this.gone;
      };
      await Promise.race([orderly(), late]);
      clearTimeout(timer);
      this.shut(undefined);
    })();
  }

  /**
   * Nothing more comes or goes.
   *
   * @param error Why, unless it was closed as it should be.
   */
  shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // The peer was faster.
    }
    this.#owner.closed(error);
    this.#admitted.resolve();
    this.#gone.resolve();
  }

  // ----- writing -----

  async #write(): Promise<void> {
    try {
      while (!this.#closed) {
        const chunk = this.#control.shift() ?? (this.#saidClose ? undefined : this.#owner.take());
        if (chunk === undefined) break;
        const { bytes, used } = chunk;
        for (let at = seal(chunk, this.#options.client); at < used;) {
          at += await this.#conn.write(bytes.subarray(at, used));
        }
        if (chunk.op < Op.close) this.#owner.sent(chunk);
      }
    } catch (error) {
      this.shut(lost(error));
    }
    this.#writing = undefined;
  }

  /** Puts a control frame before what waits. */
  #say(op: number, payload: Uint8Array): void {
    if (this.#closed || (this.#saidClose && op !== Op.close)) return;
    // Of several pings the last one is answered, at the latest (section 5.5.3).
    if (this.#control.length > 0 && op !== Op.close) this.#control.pop();
    const chunk = new Chunk(op, (HEAD_BYTES + payload.length + 3) & ~3);
    chunk.bytes.set(payload, HEAD_BYTES);
    chunk.used += payload.length;
    this.#control.push(chunk);
    this.flush();
  }

  #sayClose(code: number, reason: string): void {
    if (this.#saidClose) return;
    const payload = new TextEncoder().encode(`  ${reason}`);
    payload[0] = code >> 8;
    payload[1] = code & 0xff;
    this.#say(Op.close, payload);
    this.#saidClose = true;
  }

  // ----- reading -----

  async #read(): Promise<void> {
    const turns = new ReadTurns();
    try {
      for (;;) {
        while (!this.#closed && this.#frame());
        if (this.#closed) return;
        this.#owner.batchEnd();
        // Only the end of such a peer is waited for.
        if (this.#deaf) this.#start = this.#end = 0;
        if (this.#earlyBytes <= 0 && !this.#deaf) {
          if (this.#heard) await this.#admitted.promise;
          else this.#refuse("too_large", this.#tooEarly());
          continue;
        }
        const others = turns.ofOthers();
        if (others !== undefined) await others;
        this.#makeRoom();
        const room = this.#input.length - this.#end;
        const end = this.#end + (this.#deaf ? room : Math.min(room, this.#earlyBytes));
        const read = await this.#conn.read(this.#input.subarray(this.#end, end));
        turns.came(read ?? 0);
        if (read === null) break;
        this.#end += read;
        this.#earlyBytes -= read;
        this.#smallReads = this.#end < READ_BYTES ? this.#smallReads + 1 : 0;
      }
      this.shut(this.#saidClose ? undefined : new PatchbayError("closed", "the connection broke"));
    } catch (error) {
      this.shut(lost(error));
    }
  }

  #makeRoom(): void {
    const { length } = this.#input;
    const full = this.#end === length;
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      if (full && length < WIDE_READ_BYTES) this.#resize(Math.min(WIDE_READ_BYTES, length * 4));
      else if (length > READ_BYTES && this.#smallReads > SMALL_READS) this.#resize(READ_BYTES);
      return;
    }
    if (this.#start > 0 && length - this.#end < length / 2) {
      this.#input.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    // The largest message, its head, and the beginning of the next.
    if (this.#end === length) {
      this.#resize(Math.min(this.#options.maxBytes + WIDE_READ_BYTES, length * 4));
    }
  }

  #resize(bytes: number): void {
    const other = new Uint8Array((bytes + 3) & ~3);
    other.set(this.#input.subarray(this.#start, this.#end));
    this.#input = other;
    this.#words = new Uint32Array(other.buffer);
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** Takes one frame out of the buffer; false if there is no whole one. */
  #frame(): boolean {
    const input = this.#input;
    const at = this.#start;
    const there = this.#end - at;
    if (there < 2 || this.#deaf) return false;
    const [first, second] = [input[at], input[at + 1]];
    let length = second & 0x7f;
    let head = 2;
    if (length > 125) {
      head = length === 126 ? 4 : 10;
      if (there < head) return false;
      length = 0;
      for (let i = 2; i < head; i++) length = length * 256 + input[at + i];
    }
    if (length > this.#reader.maxBytes && this.#reader.maxBytes < this.#options.maxBytes) {
      return this.#refuse("too_large", this.#tooEarly());
    }
    const wrong = complaint(first, second, length, this.#reader);
    if (wrong !== undefined) return this.#refuse(wrong.code, wrong.message);
    const masked = (second & 0x80) !== 0;
    const begin = at + head + (masked ? 4 : 0);
    const end = begin + length;
    if (end > this.#end) return false;
    if (masked) unmask(input, this.#words, begin - 4, begin, end);
    this.#start = end;
    return this.#take(first, begin, end);
  }

  #take(first: number, begin: number, end: number): boolean {
    const op = first & 0x0f;
    const last = (first & 0x80) !== 0;
    const input = this.#input;
    if (op === Op.ping) this.#say(Op.pong, input.slice(begin, end));
    else if (op === Op.close) this.#closedByPeer(input.slice(begin, end));
    if (op >= Op.close) return true;
    const begun = this.#pieces !== undefined;
    if (begun !== (op === Op.continuation)) {
      return this.#refuse("protocol", "the peer sent a message in a message");
    }
    if (last && !begun) {
      this.#tell(input, begin, end);
      return true;
    }
    const pieces = this.#pieces ??= [];
    pieces.push(input.slice(begin, end));
    this.#piecesBytes += end - begin;
    const { maxBytes } = this.#reader;
    if (this.#piecesBytes > maxBytes || pieces.length > maxBytes / 64) {
      return this.#refuse("too_large", `the peer's message has over ${maxBytes} bytes`);
    }
    if (!last) return true;
    const whole = new Uint8Array(this.#piecesBytes);
    this.#pieces = undefined;
    this.#piecesBytes = 0;
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#tell(whole, 0, whole.length);
    return true;
  }

  #tell(bytes: Uint8Array, at: number, end: number): void {
    if (!this.#heard) {
      this.#heard = true;
      // What comes next waits for the hello-ack, and is bounded by what is read until then.
      if (this.#earlyBytes !== Infinity) this.#reader.maxBytes = this.#options.maxBytes;
    }
    this.#owner.message(bytes, at, end);
  }

  /** It is closed before it was let in: no more than the answer to that is wanted of it. */
  #sendAway(): void {
    const { earlyBytes } = this.#options;
    if (earlyBytes === undefined || this.#earlyBytes === Infinity) return;
    this.#reader.maxBytes = Math.min(earlyBytes, this.#options.maxBytes);
    this.#earlyBytes = Infinity;
    this.#admitted.resolve();
  }

  #tooEarly(): string {
    return `the peer sent over ${this.#options.earlyBytes} bytes before it was let in`;
  }

  #refuse(code: "protocol" | "too_large", message: string): false {
    this.#deaf = true;
    this.#owner.malformed(new PatchbayError(code, message));
    return false;
  }

  #closedByPeer(payload: Uint8Array): void {
    // Nothing may follow a close frame (section 5.5.1).
    this.#deaf = true;
    const code = payload.length < 2 ? 1005 : payload[0] << 8 | payload[1];
    const reason = new TextDecoder().decode(payload.subarray(2));
    this.#sayClose(code === 1005 ? 1000 : code, "");
    // The answer leaves first; nothing may be in its way for long.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
    void Promise.race([this.#writing ?? Promise.resolve(), late]).then(() => {
      clearTimeout(timer);
      this.shut(closedBy(code, reason));
    });
  }
}

function lost(error: unknown): PatchbayError | undefined {
  // Closing while a read is pending is how an orderly end looks to Deno.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("closed", `the connection broke: ${message}`, { cause: error });
}
