/**
 * A link over a WebSocket: each frame is one binary message. Runs in a page and in Deno.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";

/** The sub-protocol: the binary envelope, version 1 and later. */
export const SUBPROTOCOL = "patchbay.v1";
/** Frames are written here before they are sent. */
const BUFFER_BYTES = 2 * MAX_FRAME_BYTES;
/** Above so many unsent bytes it is looked again and again whether they have left. */
const WATCHED_BYTES = 16 * 1024;
/** The longest pause between two looks, in milliseconds. */
const LOOK_MS = 16;
/** How long {@link WebSocketLink.close} waits for the closing handshake, in milliseconds. */
const CLOSE_MS = 1000;

/** What is known of a WebSocket besides itself. */
export interface WebSocketLinkOptions {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** Whether the peer has shown a bearer token before the upgrade. */
  readonly authorized?: boolean;
}

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
  /** Whether the peer has shown a bearer token before the upgrade. */
  readonly authorized: boolean;
  /** As {@link Link.buffer}. */
  readonly buffer: Uint8Array<ArrayBuffer> = new Uint8Array(BUFFER_BYTES);
  /** As {@link Link.view}. */
  readonly view: DataView = new DataView(this.buffer.buffer);
  readonly #socket: WebSocket;
  #buffered = 0;
  #handler: LinkHandler | undefined;
  #looking: ReturnType<typeof setTimeout> | undefined;
  #pauseMs = 0;
  #closed = false;
  #closing: Promise<void> | undefined;
  readonly #gone = Promise.withResolvers<void>();
  /** Resolves when the socket is closed, and nothing more can come. */
  readonly gone: Promise<void> = this.#gone.promise;

  /**
   * Takes over a socket.
   *
   * @param socket The socket; the link owns it.
   * @param options What is known of it.
   */
  constructor(socket: WebSocket, options: WebSocketLinkOptions) {
    this.#socket = socket;
    this.local = options.local;
    this.authorized = options.authorized === true;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("close", (event) => {
      this.#shut(event.wasClean ? undefined : lost(event));
      this.#gone.resolve();
    });
    socket.addEventListener("error", (event) => {
      // Nobody else hears it; the close that follows tells the session.
      event.preventDefault();
    });
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    return this.#buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (this.#closed) return;
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
      if (!this.#closed) handler.batchEnd();
    });
    // It may have been closed before anybody listened.
    if (this.#socket.readyState > WebSocket.OPEN) this.#shut(undefined);
  }

  /** As {@link Link.claim}. */
  claim(_bytes: number): number {
    return 0;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    if (this.#closed || this.#socket.readyState !== WebSocket.OPEN) return;
    // send() takes a copy, as the standard demands.
    this.#socket.send(this.buffer.subarray(0, bytes));
    this.#buffered += bytes;
    if (this.#buffered < WATCHED_BYTES) return;
    this.#buffered = this.#socket.bufferedAmount;
    if (this.#buffered >= WATCHED_BYTES && this.#looking === undefined) this.#lookLater(0);
  }

  /** As {@link Link.flush}: everything has been sent already. */
  flush(): void {}

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (abrupt) this.#shut(undefined);
    return this.#closing ??= (async () => {
      if (this.#socket.readyState < WebSocket.CLOSING) this.#socket.close(1000);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
      await Promise.race([this.gone, late]);
      clearTimeout(timer);
      this.#shut(undefined);
    })();
  }

  #lookLater(pauseMs: number): void {
    this.#pauseMs = pauseMs;
    this.#looking = setTimeout(this.#look, pauseMs);
  }

  readonly #look = (): void => {
    this.#looking = undefined;
    if (this.#closed) return;
    const before = this.#buffered;
    this.#buffered = this.#socket.bufferedAmount;
    const moved = this.#buffered < before;
    if (moved) this.#handler?.drained();
    // drained() may have sent more, and begun to look again.
    if (this.#looking !== undefined || this.#buffered < WATCHED_BYTES) return;
    this.#lookLater(moved ? 0 : Math.min(LOOK_MS, this.#pauseMs * 2 + 1));
  };

  #shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffered = 0;
    clearTimeout(this.#looking);
    this.#looking = undefined;
    if (this.#socket.readyState < WebSocket.CLOSING) this.#socket.close();
    this.#handler?.closed(error);
  }
}

function lost({ code, reason }: CloseEvent): PatchbayError {
  const why = reason === "" ? `code ${code}` : reason;
  return new PatchbayError("closed", `the connection broke: ${why}`, { details: { code } });
}

/**
 * Dials a WebSocket server.
 *
 * @param url Where it listens: `ws://…` or `wss://…`.
 * @param signal Gives up.
 * @param onSocket Called with the socket before it is used.
 * @throws {PatchbayError} `unavailable`; `unauthenticated` or `forbidden` if it said so.
 */
export async function dialWebSocket(
  url: string,
  signal: AbortSignal,
  onSocket: (socket: WebSocket) => void = () => {},
): Promise<WebSocketLink> {
  signal.throwIfAborted();
  const socket = new WebSocket(url, [SUBPROTOCOL]);
  onSocket(socket);
  const opened = Promise.withResolvers<void>();
  const fail = (message: string) => opened.reject(refused(url, message));
  const onError = (event: Event) => {
    event.preventDefault();
    // A page is not told why; Deno says it.
    fail((event as Partial<ErrorEvent>).message || "nobody answers there, or it refuses");
  };
  const onClose = (event: CloseEvent) => fail(event.reason || `code ${event.code}`);
  const onOpen = () => opened.resolve();
  const onAbort = () => {
    opened.reject(signal.reason);
    socket.close();
  };
  socket.addEventListener("open", onOpen);
  socket.addEventListener("error", onError);
  socket.addEventListener("close", onClose);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await opened.promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.removeEventListener("open", onOpen);
    socket.removeEventListener("close", onClose);
  }
  return new WebSocketLink(socket, { local: isLoopback(new URL(url).hostname) });
}

function refused(url: string, message: string): PatchbayError {
  const status = /\b(401|403)\b/.exec(message)?.[1];
  if (status === "401") {
    return new PatchbayError("unauthenticated", `${url} refuses the token`, {
      remedy: "set the same token on both sides",
    });
  }
  if (status === "403") {
    return new PatchbayError("forbidden", `${url} refuses connections from here`, {
      remedy: "add this page's origin to `origins` of the hub",
    });
  }
  return new PatchbayError("unavailable", `${url} cannot be reached: ${message}`, {
    remedy: "start the hub there, or correct `url`",
  });
}

/**
 * Whether a host name means this host.
 *
 * @param hostname A name or address, in a URL's form.
 */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
