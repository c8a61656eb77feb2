/**
 * A link over a WebSocket on a connection of Deno, at either end.
 *
 * @module
 */

import { type Link, type LinkHandler, PatchbayError } from "@patchbay/core";
import { Kind } from "@patchbay/core/envelope";
import { ChunkPool, type PoolOwner } from "./chunk_pool.ts";
import { closeCodeOf, closeReasonOf } from "./close_codes.ts";
import {
  EARLY_BYTES,
  interrupted,
  LENGTH_BYTES,
  MAX_WIRE_MESSAGE_BYTES,
  readFrames,
  reasonIn,
  WIRE_FRAME_BYTES,
} from "./link.ts";
import type { SocketFacts } from "./socket_flow.ts";
import { type Chunk, HEAD_BYTES, Op } from "./wire_frames.ts";
import { type WireOwner, WireSocket } from "./wire_socket.ts";

/** From this size on the next message is made while one is being written, in bytes. */
const DRAINED_BYTES = 16 * 1024;

/** A link over a WebSocket on a connection of Deno. */
export class WireLink implements Link, WireOwner, PoolOwner {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** A half-open connection looks alive: the session sends heartbeats. */
  readonly detectsClose = false;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = WIRE_FRAME_BYTES;
  /** Whether the peer has shown before the upgrade that it may come in. */
  readonly authorized: boolean;
  /** As {@link Link.identity}. */
  readonly identity: string | undefined;
  readonly #socket: WireSocket;
  readonly #pool: ChunkPool;
  readonly #waiting: Chunk[] = [];
  #claimedAt = 0;
  #claim = 0;
  #buffered = 0;
  #due = false;
  #handler: LinkHandler | undefined;
  #farewell: PatchbayError | undefined;

  /**
   * Takes over a connection that has become a WebSocket.
   *
   * @param conn The connection; the link owns it.
   * @param rest What came behind the handshake.
   * @param facts What is known of it.
   * @param pool Where frames are gathered; links may share it.
   */
  constructor(
    conn: Deno.Conn,
    rest: Uint8Array,
    facts: SocketFacts,
    pool: ChunkPool = new ChunkPool(),
  ) {
    this.#pool = pool;
    this.local = facts.local;
    this.authorized = facts.authorized === true;
    this.identity = facts.identity;
    const client = facts.accepted !== true;
    const earlyBytes = client ? undefined : EARLY_BYTES;
    const options = { client, op: Op.binary, maxBytes: MAX_WIRE_MESSAGE_BYTES, earlyBytes };
    this.#socket = new WireSocket(conn, rest, options, this);
  }

  /** Resolves when the connection is closed, and nothing more can come. */
  get gone(): Promise<void> {
    return this.#socket.gone;
  }

  /** As {@link Link.buffer}. */
  get buffer(): Uint8Array {
    return this.#pool.chunk.bytes;
  }

  /** As {@link Link.view}. */
  get view(): DataView {
    return this.#pool.chunk.view;
  }

  /** As {@link Link.buffered}; what is being written does not count: the next is made meanwhile. */
  get buffered(): number {
    return this.#buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#socket.start();
  }

  /** As {@link Link.claim}. */
  claim(bytes: number): number {
    const pool = this.#pool;
    if (pool.owner !== this) {
      pool.owner?.yieldChunk();
      pool.owner = this;
    } else if (!pool.hasRoom(LENGTH_BYTES + bytes)) this.yieldChunk();
    this.#claim = ++pool.claims;
    return this.#claimedAt = pool.chunk.used + LENGTH_BYTES;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    if (this.#claim !== this.#pool.claims) throw interrupted();
    const { chunk } = this.#pool;
    if (this.#socket.closed) return;
    const at = this.#claimedAt;
    chunk.view.setUint32(at - LENGTH_BYTES, bytes, true);
    chunk.used = at + bytes;
    const kind = chunk.bytes[at];
    if (kind === Kind.goodbye) this.#farewell = reasonIn(chunk.bytes.subarray(at, chunk.used));
    else if (kind === Kind.helloAck) this.#socket.admit();
    this.#buffered += LENGTH_BYTES + bytes;
    if (this.#due || this.#socket.writing) return;
    this.#due = true;
    queueMicrotask(this.#flushDue);
  }

  /** As {@link Link.flush}. */
  flush(): void {
    if (this.#buffered > 0) this.#socket.flush();
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    const why = this.#farewell;
    return this.#socket.close(abrupt, closeCodeOf(why), closeReasonOf(why));
  }

  // ----- for the socket -----

  /** As {@link PoolOwner.yieldChunk}. */
  yieldChunk(): void {
    const chunk = this.#pool.take();
    if (chunk !== undefined) this.#waiting.push(chunk);
  }

  /** As {@link WireOwner.take}. */
  take(): Chunk | undefined {
    const chunk = this.#waiting.shift() ??
      (this.#pool.owner === this ? this.#pool.take() : undefined);
    if (chunk === undefined) return undefined;
    this.#buffered -= chunk.used - HEAD_BYTES;
    // Not at once: the session may be in the middle of sending.
    if (chunk.used > DRAINED_BYTES) queueMicrotask(this.#tellDrained);
    return chunk;
  }

  /** As {@link WireOwner.sent}. */
  sent(chunk: Chunk): void {
    this.#pool.release(chunk);
    if (chunk.used <= DRAINED_BYTES) this.#tellDrained();
  }

  /** As {@link WireOwner.message}. */
  message(bytes: Uint8Array, at: number, end: number): void {
    readFrames(bytes, at, end, this.#handler as LinkHandler, this.#socket);
  }

  /** As {@link WireOwner.batchEnd}. */
  batchEnd(): void {
    this.#handler?.batchEnd();
  }

  /** As {@link WireOwner.malformed}. */
  malformed({ code, message }: PatchbayError): void {
    // Among ourselves an oversize message is a breach: larger values come in fragments.
    const known = code === "too_large" ? new PatchbayError("protocol", message) : undefined;
    this.#handler?.malformed(known ?? new PatchbayError(code, message));
  }

  /** As {@link WireOwner.closed}. */
  closed(error: PatchbayError | undefined): void {
    this.#buffered = 0;
    this.#waiting.length = 0;
    const pool = this.#pool;
    if (pool.owner === this) {
      pool.owner = undefined;
      pool.chunk.used = HEAD_BYTES;
    }
    this.#handler?.closed(error);
  }

  readonly #flushDue = (): void => {
    this.#due = false;
    this.flush();
  };

  readonly #tellDrained = (): void => {
    if (!this.#socket.closed) this.#handler?.drained();
  };
}
