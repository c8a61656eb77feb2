/**
 * A link over a WebSocket: each binary message has the frames of one turn, each behind its length,
 * as on a stream. Runs in a page and in Deno.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { decodeControl, HEADER_BYTES, Kind } from "@patchbay/core/envelope";
import { type AnySocket, type SocketFacts, SocketFlow } from "./socket_flow.ts";

/** The sub-protocol: the binary envelope, version 1 and later. */
export const SUBPROTOCOL = "patchbay.v1";
/** The size of the length before each frame, in bytes. */
export const LENGTH_BYTES = 4;
/** Frames are gathered up to this size. */
const GATHERED_BYTES = 128 * 1024;
/**
 * The largest frame, in bytes: a piece of 64 KiB, a quarter of the window, with its heads. Fewer and
 * larger pieces make large values cheaper.
 */
export const WIRE_FRAME_BYTES: number = 64 * 1024 + MAX_FRAME_BYTES;
/** The largest message that is taken, in bytes. */
export const MAX_WIRE_MESSAGE_BYTES: number = 512 * 1024;
/**
 * What a server reads of a client that has not been let in, in bytes: its hello, which may have the
 * token, and what it sends with it. The rest stays where it is until the hello-ack.
 */
export const EARLY_BYTES: number = 64 * 1024;

/**
 * Where frames are gathered until they are sent. Links may share one: who comes next has what is
 * there sent first. So a thousand clients cost one buffer.
 */
export class Gathering {
  /** The bytes. */
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(GATHERED_BYTES);
  /** The same bytes. */
  readonly view: DataView = new DataView(this.bytes.buffer);
  /** Whose frames are in it. */
  owner: WebSocketLink | undefined = undefined;
  /** How much of it is used. */
  used = 0;
  /** Counts claims: one that another has interrupted is found out. */
  claims = 0;
}

/**
 * A link over a WebSocket that is open.
 *
 * `send()` of a WebSocket never blocks, and nothing tells when its bytes have left: so
 * {@link buffered} is read from `bufferedAmount`, and while it is high it is looked at again. The
 * session stops sending at 64 KiB.
 *
 * Frames of one turn go in one message: Deno's client leaves Nagle's algorithm on (RFC 896), so a
 * second small message would wait for the acknowledgement of the first, for 40 ms at worst.
 */
export class WebSocketLink implements Link {
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
  /** As {@link Link.buffer}. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** As {@link Link.view}. */
  readonly view: DataView;
  readonly #flow: SocketFlow;
  readonly #out: Gathering;
  #claimedAt = 0;
  #claim = 0;
  /** Whether a flush at the end of the turn is due. */
  #due = false;
  #handler: LinkHandler | undefined;
  #farewell: PatchbayError | undefined;

  /**
   * Takes over a socket.
   *
   * @param socket The socket; the link owns it.
   * @param facts What is known of it.
   * @param out Where frames are gathered.
   */
  constructor(socket: AnySocket, facts: SocketFacts, out: Gathering = new Gathering()) {
    this.local = facts.local;
    this.authorized = facts.authorized === true;
    this.identity = facts.identity;
    this.#out = out;
    this.buffer = out.bytes;
    this.view = out.view;
    this.#flow = new SocketFlow(
      socket,
      facts,
      () => this.#handler?.drained(),
      (error) => this.#shut(error),
    );
  }

  /** Resolves when the socket is closed, and nothing more can come. */
  get gone(): Promise<void> {
    return this.#flow.gone;
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    const out = this.#out;
    return this.#flow.buffered + (out.owner === this ? out.used : 0);
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#flow.start((data) => {
      if (data instanceof ArrayBuffer) this.#read(new Uint8Array(data), handler);
      else handler.malformed(new PatchbayError("protocol", "the peer sent a text message"));
      // Answers leave before the event loop goes on.
      this.flush();
    });
  }

  /** As {@link Link.claim}. */
  claim(bytes: number): number {
    const out = this.#out;
    if (out.owner !== this) {
      out.owner?.flush();
      out.owner = this;
    } else if (out.used + LENGTH_BYTES + bytes > GATHERED_BYTES) this.flush();
    this.#claim = ++out.claims;
    return this.#claimedAt = out.used + LENGTH_BYTES;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    const out = this.#out;
    if (this.#claim !== out.claims) throw interrupted();
    const at = this.#claimedAt;
    out.view.setUint32(at - LENGTH_BYTES, bytes, true);
    out.used = at + bytes;
    const kind = out.bytes[at];
    if (kind === Kind.goodbye) this.#farewell = reasonIn(out.bytes.subarray(at, out.used));
    else if (kind === Kind.helloAck) this.#flow.admit();
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(this.#flushDue);
  }

  /** As {@link Link.flush}. */
  flush(): void {
    const out = this.#out;
    if (out.owner !== this || out.used === 0) return;
    const bytes = out.used;
    out.used = 0;
    this.#flow.send(out.bytes.subarray(0, bytes), bytes);
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (!abrupt) this.flush();
    return this.#flow.close(abrupt, this.#farewell);
  }

  readonly #flushDue = (): void => {
    this.#due = false;
    this.flush();
  };

  #read(bytes: Uint8Array, handler: LinkHandler): void {
    const { length } = bytes;
    if (length > MAX_WIRE_MESSAGE_BYTES) {
      return handler.malformed(tooLarge("message", length, MAX_WIRE_MESSAGE_BYTES));
    }
    readFrames(bytes, 0, length, handler, this.#flow);
    if (!this.#flow.closed) handler.batchEnd();
  }

  #shut(error: PatchbayError | undefined): void {
    const out = this.#out;
    if (out.owner === this) {
      out.owner = undefined;
      out.used = 0;
    }
    this.#handler?.closed(error);
  }
}

/** The error for a claim during which something else was sent. */
export function interrupted(): PatchbayError {
  return new PatchbayError("invalid", "a value sent something while it was being written", {
    remedy: "values must be plain: no getter may call or shout",
  });
}

/**
 * Hands over the frames of one message.
 *
 * @param bytes Where the message lies.
 * @param at Its first byte.
 * @param end Behind its last byte.
 * @param handler Whom to tell.
 * @param socket Whether it is closed meanwhile.
 */
export function readFrames(
  bytes: Uint8Array,
  at: number,
  end: number,
  handler: LinkHandler,
  socket: { readonly closed: boolean },
): void {
  if (at === end) {
    return handler.malformed(new PatchbayError("protocol", "the peer sent an empty message"));
  }
  while (at < end && !socket.closed) {
    const size = end - at < LENGTH_BYTES
      ? -1
      : (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24) >>> 0;
    const start = at + LENGTH_BYTES;
    at = start + size;
    if (size > WIRE_FRAME_BYTES) {
      return handler.malformed(tooLarge("frame", size, WIRE_FRAME_BYTES));
    }
    if (size < 0 || at > end) {
      return handler.malformed(new PatchbayError("protocol", "the peer sent half a frame"));
    }
    handler.frame(bytes, start, at);
  }
}

function tooLarge(what: string, size: number, max: number): PatchbayError {
  return new PatchbayError(
    "protocol",
    `the peer sent a ${what} of ${size} bytes, the limit is ${max}`,
    { details: { size, max } },
  );
}

/**
 * Why this side says goodbye: it becomes the code with which the socket closes.
 *
 * @param frame The goodbye.
 */
export function reasonIn(frame: Uint8Array): PatchbayError {
  return PatchbayError.fromWire(decodeControl(frame.subarray(HEADER_BYTES)));
}
