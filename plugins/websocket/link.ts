/**
 * A link over a WebSocket: each frame is one binary message. Runs in a page and in Deno.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { decodeControl, HEADER_BYTES, Kind } from "@patchbay/core/envelope";
import { type AnySocket, type SocketFacts, SocketFlow } from "./socket_flow.ts";

/** The sub-protocol: the binary envelope, version 1 and later. */
export const SUBPROTOCOL = "patchbay.v1";
/** Frames are written here before they are sent. */
export const BUFFER_BYTES: number = 2 * MAX_FRAME_BYTES;

/**
 * A link over a WebSocket that is open.
 *
 * `send()` of a WebSocket never blocks, and nothing tells when its bytes have left: so
 * {@link buffered} is read from `bufferedAmount`, and while it is high it is looked at again, in
 * pauses of up to 16 ms. The session stops sending at 64 KiB.
 */
export class WebSocketLink implements Link {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** A half-open connection looks alive: the session sends heartbeats. */
  readonly detectsClose = false;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  /** Whether the peer has shown before the upgrade that it may come in. */
  readonly authorized: boolean;
  /** As {@link Link.identity}. */
  readonly identity: string | undefined;
  /** As {@link Link.buffer}. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** As {@link Link.view}. */
  readonly view: DataView;
  readonly #flow: SocketFlow;
  #handler: LinkHandler | undefined;
  #farewell: PatchbayError | undefined;

  /**
   * Takes over a socket.
   *
   * @param socket The socket; the link owns it.
   * @param facts What is known of it.
   */
  constructor(socket: AnySocket, facts: SocketFacts) {
    this.local = facts.local;
    this.authorized = facts.authorized === true;
    this.identity = facts.identity;
    this.buffer = facts.buffer ?? new Uint8Array(BUFFER_BYTES);
    this.view = new DataView(this.buffer.buffer);
    this.#flow = new SocketFlow(
      socket,
      facts,
      () => this.#handler?.drained(),
      (error) => this.#handler?.closed(error),
    );
  }

  /** Resolves when the socket is closed, and nothing more can come. */
  get gone(): Promise<void> {
    return this.#flow.gone;
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    return this.#flow.buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#flow.start((data) => {
      if (!(data instanceof ArrayBuffer)) {
        return handler.malformed(new PatchbayError("protocol", "the peer sent a text message"));
      }
      const size = data.byteLength;
      if (size > this.maxFrameBytes) {
        return handler.malformed(
          new PatchbayError(
            "protocol",
            `the peer sent a frame of ${size} bytes, the limit is ${this.maxFrameBytes}`,
            { details: { size, max: this.maxFrameBytes } },
          ),
        );
      }
      handler.frame(new Uint8Array(data), 0, size);
      if (!this.#flow.closed) handler.batchEnd();
    });
  }

  /** As {@link Link.claim}. */
  claim(_bytes: number): number {
    return 0;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    const frame = this.buffer.subarray(0, bytes);
    if (frame[0] === Kind.goodbye) this.#farewell = reasonIn(frame);
    this.#flow.send(frame, bytes);
  }

  /** As {@link Link.flush}: everything has been sent already. */
  flush(): void {}

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    return this.#flow.close(abrupt, this.#farewell);
  }
}

/** Why this side says goodbye: it becomes the code with which the socket closes. */
function reasonIn(frame: Uint8Array): PatchbayError {
  return PatchbayError.fromWire(decodeControl(frame.subarray(HEADER_BYTES)));
}
