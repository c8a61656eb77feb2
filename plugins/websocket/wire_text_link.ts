/**
 * A link over a WebSocket on a connection of Deno whose messages are JSON.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { JsonLink, type JsonLinkOptions } from "@patchbay/core/json-protocol";
import type { TextChannel, TextHandler } from "@patchbay/core/json-protocol";
import { closeCodeOf, closeReasonOf } from "./close_codes.ts";
import { EARLY_BYTES } from "./link.ts";
import type { SocketFacts } from "./socket_flow.ts";
import { Chunk, HEAD_BYTES, Op } from "./wire_frames.ts";
import { type WireOwner, WireSocket } from "./wire_socket.ts";

/** How a silent client is looked after. */
export interface Keepalive {
  /** How often it is pinged, in milliseconds. */
  readonly pingIntervalMs: number;
  /** After so much silence it is dead, in milliseconds. */
  readonly pingTimeoutMs: number;
}

const encoder = new TextEncoder();

/** A WebSocket whose messages are texts. */
class WireTexts implements TextChannel, WireOwner {
  readonly local: boolean;
  readonly detectsClose = true;
  readonly identity: string | undefined;
  readonly #socket: WireSocket;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  readonly #keepalive: Keepalive;
  readonly #waiting: Chunk[] = [];
  #buffered = 0;
  #handler: TextHandler | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #heardMs = 0;

  constructor(
    conn: Deno.Conn,
    rest: Uint8Array,
    facts: SocketFacts,
    maxBytes: number,
    keepalive: Keepalive,
  ) {
    this.local = facts.local;
    this.identity = facts.identity;
    this.#keepalive = keepalive;
    const options = { client: false, op: Op.text, maxBytes, earlyBytes: EARLY_BYTES };
    this.#socket = new WireSocket(conn, rest, options, this);
  }

  get gone(): Promise<void> {
    return this.#socket.gone;
  }

  get buffered(): number {
    return this.#buffered;
  }

  start(handler: TextHandler): void {
    this.#handler = handler;
    this.#heardMs = performance.now();
    const { pingIntervalMs, pingTimeoutMs } = this.#keepalive;
    this.#timer = setInterval(() => {
      const silentMs = performance.now() - this.#heardMs;
      if (silentMs <= pingTimeoutMs) return this.#socket.ping();
      const message = `the client has been silent for ${Math.round(silentMs)} ms`;
      this.#socket.shut(new PatchbayError("closed", message));
    }, pingIntervalMs);
    this.#socket.start();
  }

  send(text: string): void {
    // No more than three bytes for each UTF-16 code unit.
    const small = text.length <= 1024;
    const bytes = small ? undefined : encoder.encode(text);
    const room = HEAD_BYTES + (bytes?.length ?? text.length * 3);
    const chunk = new Chunk(Op.text, (room + 3) & ~3);
    if (bytes === undefined) {
      chunk.used += encoder.encodeInto(text, chunk.bytes.subarray(HEAD_BYTES)).written;
    } else {
      chunk.bytes.set(bytes, HEAD_BYTES);
      chunk.used += bytes.length;
    }
    this.#buffered += chunk.used;
    this.#waiting.push(chunk);
    this.#socket.flush();
  }

  admitted(): void {
    this.#socket.admit();
  }

  close(abrupt = false, why?: PatchbayError): Promise<void> {
    return this.#socket.close(abrupt, closeCodeOf(why), closeReasonOf(why));
  }

  take(): Chunk | undefined {
    return this.#waiting.shift();
  }

  sent(chunk: Chunk): void {
    this.#buffered -= chunk.used;
    if (!this.#socket.closed) this.#handler?.drained();
  }

  message(bytes: Uint8Array, at: number, end: number): void {
    let text: string;
    try {
      text = this.#decoder.decode(bytes.subarray(at, end));
    } catch {
      return this.malformed(new PatchbayError("invalid", "the peer sent a text that is no UTF-8"));
    }
    this.#handler?.text(text);
  }

  /** Anything is a sign of life, pongs as well. */
  batchEnd(): void {
    this.#heardMs = performance.now();
  }

  malformed(error: PatchbayError): void {
    this.#handler?.malformed(error);
  }

  closed(error: PatchbayError | undefined): void {
    clearInterval(this.#timer);
    this.#buffered = 0;
    this.#waiting.length = 0;
    this.#handler?.closed(error);
  }
}

/** A link over a WebSocket on a connection of Deno whose messages are JSON. */
export class WireTextLink extends JsonLink {
  /** Whether the peer has shown before the upgrade that it may come in. */
  readonly authorized: boolean;
  /** Resolves when the connection is closed, and nothing more can come. */
  readonly gone: Promise<void>;

  /**
   * Takes over a connection that has become a WebSocket.
   *
   * @param conn The connection; the link owns it.
   * @param rest What came behind the handshake.
   * @param facts What is known of it.
   * @param options How values are told in JSON.
   * @param keepalive How a silent client is looked after.
   * @param buffer Where frames are written before they become texts; links may share it.
   */
  constructor(
    conn: Deno.Conn,
    rest: Uint8Array,
    facts: SocketFacts,
    options: JsonLinkOptions,
    keepalive: Keepalive,
    buffer: Uint8Array<ArrayBuffer>,
  ) {
    const maxBytes = maxTextBytes(options.maxMessageBytes);
    const texts = new WireTexts(conn, rest, facts, maxBytes, keepalive);
    super(texts, options, buffer);
    this.authorized = facts.authorized === true;
    this.gone = texts.gone;
  }
}

/**
 * The largest text, in bytes: twice the largest value, in up to three bytes a character, and a head.
 *
 * @param maxMessageBytes The largest value.
 */
function maxTextBytes(maxMessageBytes: number): number {
  return maxMessageBytes * 3 + 64 * 1024;
}
