/**
 * Takes GOAWAY frames out of a stream of HTTP/2 bytes, and looks at a client's first words.
 *
 * Deno's `node:http2` (2.9) corrupts memory when it is given a GOAWAY frame: the process dies, and
 * no handler can prevent that. What a frame says is told instead, so that its receiver can act on it.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** What a peer has said that goes away: RFC 9113 §6.8. */
export interface Goaway {
  /** Why: RFC 9113 §7. */
  readonly code: number;
  /** The last stream that it has looked at. */
  readonly lastStreamId: number;
  /** What it says besides; 1 KiB of it at most. */
  readonly data: Buffer;
}

/** What a client says first: RFC 9113 §3.4. */
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** The header of a frame: RFC 9113 §4.1. */
const HEADER_BYTES = 9;
const GOAWAY = 7;
/** The last stream's id and the code. */
const GOAWAY_BYTES = 8;
const KEPT_BYTES = GOAWAY_BYTES + 1024;

/** The peer speaks something else. */
export class NoHttp2 extends Error {}

/** Passes HTTP/2 on, without GOAWAY. One for each direction of each connection. */
export class FrameFilter {
  /** How much of the preface is still to come. */
  #preface: number;
  /** A header that came in pieces. */
  readonly #header: Buffer = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** How much of the frame's payload is still to come. */
  #left = 0;
  /** What has come of a GOAWAY frame's payload; `undefined` in any other frame. */
  #goaway: Buffer[] | undefined;
  #kept = 0;
  readonly #onGoaway: (goaway: Goaway) => void;

  /**
   * @param from Who speaks: a client begins with the preface.
   * @param onGoaway Told of each GOAWAY frame.
   */
  constructor(from: "client" | "server", onGoaway: (goaway: Goaway) => void) {
    this.#preface = from === "client" ? PREFACE.length : 0;
    this.#onGoaway = onGoaway;
  }

  /** Whether the preface has come, where there is one. */
  get greeted(): boolean {
    return this.#preface === 0;
  }

  /**
   * Looks at what has come.
   *
   * @param chunk The bytes, as they came.
   * @returns What is to be passed on, mostly the chunk itself.
   * @throws {Error} It is no HTTP/2.
   */
  filter(chunk: Buffer): readonly Buffer[] {
    const { length } = chunk;
    const passed: Buffer[] = [];
    let at = 0;
    /** From here on nothing has been passed yet. */
    let from = 0;
    while (at < length) {
      if (this.#preface > 0) {
        at += this.#greeted(chunk, at);
      } else if (this.#left > 0) {
        const taken = Math.min(this.#left, length - at);
        if (this.#goaway !== undefined) {
          this.#keep(chunk.subarray(at, at + taken));
          from = at + taken;
        }
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) this.#told();
      } else if (this.#headerBytes === 0 && length - at >= HEADER_BYTES) {
        if (this.#begin(chunk, at)) {
          if (at > from) passed.push(chunk.subarray(from, at));
          from = at + HEADER_BYTES;
        }
        at += HEADER_BYTES;
      } else {
        // The header comes in pieces: it waits until it is whole.
        if (this.#headerBytes === 0 && at > from) passed.push(chunk.subarray(from, at));
        const taken = Math.min(HEADER_BYTES - this.#headerBytes, length - at);
        chunk.copy(this.#header, this.#headerBytes, at, at + taken);
        this.#headerBytes += taken;
        at += taken;
        from = at;
        if (this.#headerBytes === HEADER_BYTES) {
          this.#headerBytes = 0;
          if (!this.#begin(this.#header, 0)) passed.push(Buffer.from(this.#header));
        }
      }
    }
    if (from === 0) return [chunk];
    if (from < length) passed.push(chunk.subarray(from));
    return passed;
  }

  /** A frame begins; says whether it is a GOAWAY. */
  #begin(bytes: Buffer, at: number): boolean {
    this.#left = bytes.readUIntBE(at, 3);
    if (bytes[at + 3] !== GOAWAY) return false;
    if (this.#left < GOAWAY_BYTES) throw new Error("a GOAWAY frame is too short");
    this.#goaway = [];
    this.#kept = 0;
    return true;
  }

  #keep(bytes: Buffer): void {
    const room = KEPT_BYTES - this.#kept;
    if (room <= 0) return;
    const kept = Buffer.from(bytes.subarray(0, room));
    this.#kept += kept.length;
    this.#goaway?.push(kept);
  }

  #told(): void {
    if (this.#goaway === undefined) return;
    const payload = Buffer.concat(this.#goaway);
    this.#goaway = undefined;
    this.#onGoaway({
      lastStreamId: payload.readUInt32BE(0) & 0x7fff_ffff,
      code: payload.readUInt32BE(4),
      data: payload.subarray(GOAWAY_BYTES),
    });
  }

  /** Compares with the preface; says how many bytes of it there were. */
  #greeted(chunk: Buffer, at: number): number {
    const done = PREFACE.length - this.#preface;
    const taken = Math.min(this.#preface, chunk.length - at);
    if (PREFACE.compare(chunk, at, at + taken, done, done + taken) !== 0) {
      throw new NoHttp2("the peer does not speak HTTP/2");
    }
    this.#preface -= taken;
    return taken;
  }
}
