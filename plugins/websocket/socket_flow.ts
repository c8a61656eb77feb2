/**
 * One open WebSocket: what has not left it yet, how it is closed, and with which code. Runs in a
 * page and in Deno.
 *
 * @module
 */

import type { PatchbayError } from "@patchbay/core";
import { closeCodeOf, closedBy, closeReasonOf } from "./close_codes.ts";
import { turns } from "./turn.ts";

/** So much may be under way without counting: the next frames are made while these leave. */
const UNDER_WAY_BYTES = 64 * 1024;
/** Above so many unsent bytes it is looked again and again whether they have left. */
const WATCHED_BYTES = 16 * 1024;
/** So many looks in vain may follow one another by turns of the event loop, before pauses begin. */
const QUICK_LOOKS = 64;
/** The longest pause between two looks, in milliseconds. */
const LOOK_MS = 16;
/** How long {@link SocketFlow.close} waits for the closing handshake, in milliseconds. */
const CLOSE_MS = 1000;

const nextTurn = turns();

/** What is used of a WebSocket: the standard's, or the library's `ws`. */
export interface AnySocket {
  /** How binary messages come. */
  binaryType: string;
  /** As the standard has it: 1 is open. */
  readonly readyState: number;
  /** Bytes that have not left yet. */
  readonly bufferedAmount: number;
  /** Sends one message. */
  send(data: string | Uint8Array<ArrayBuffer>): void;
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Ends the connection without one; the standard's lack it. */
  terminate?(): void;
  /** As the standard has it. */
  addEventListener(type: "close", listener: (event: CloseEvent) => void): void;
  /** As the standard has it. */
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  /** As the standard has it. */
  addEventListener(type: "error" | "open", listener: (event: Event) => void): void;
  /** As the standard has it. */
  removeEventListener(type: "close", listener: (event: CloseEvent) => void): void;
  /** As the standard has it. */
  removeEventListener(type: "error" | "open", listener: (event: Event) => void): void;
}

/** What is known of a WebSocket besides itself. */
export interface SocketFacts {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** Whether the peer has shown before the upgrade that it may come in. */
  readonly authorized?: boolean;
  /** Who the peer has proved to be before the upgrade. */
  readonly identity?: string;
  /** Whether this side has accepted it: only then is every code allowed for closing. */
  readonly accepted?: boolean;
  /** Called when the client is let in: what it sends has been held back. */
  readonly admit?: () => void;
  /** Whether `send()` keeps the bytes it is given instead of copying them, as `ws` does. */
  readonly keepsBytes?: boolean;
}

/** An open WebSocket, as links see it. */
export class SocketFlow {
  readonly #socket: AnySocket;
  readonly #facts: SocketFacts;
  readonly #drained: () => void;
  readonly #closedBy: (error: PatchbayError | undefined) => void;
  readonly #gone = Promise.withResolvers<void>();
  /** Resolves when the socket is closed, and nothing more can come. */
  readonly gone: Promise<void> = this.#gone.promise;
  #buffered = 0;
  /** Whether a look is due: by a turn, or by the timer. */
  #looking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The pause before the next look; 0: a turn of the event loop. Grows and shrinks with the peer. */
  #pauseMs = 0;
  /** Looks by turns that have found nothing moved. */
  #vain = 0;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * Takes over a socket.
   *
   * @param socket The socket; it is owned from now on.
   * @param facts What is known of it.
   * @param drained Called when {@link buffered} has become smaller.
   * @param closed Called once, when nothing more comes.
   */
  constructor(
    socket: AnySocket,
    facts: SocketFacts,
    drained: () => void,
    closed: (error: PatchbayError | undefined) => void,
  ) {
    this.#socket = socket;
    this.#facts = facts;
    this.#drained = drained;
    this.#closedBy = closed;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("close", (event: CloseEvent) => {
      this.shut(closedBy(event.code, String(event.reason ?? "")));
      this.#gone.resolve();
    });
    // Nobody else hears it; the close that follows tells the session.
    socket.addEventListener("error", (event: Event) => event.preventDefault?.());
  }

  /** Bytes that were sent and have not left, without the first 64 KiB. */
  get buffered(): number {
    return Math.max(0, this.#buffered - UNDER_WAY_BYTES);
  }

  /** Whether nothing more comes or goes. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The peer is let in. */
  admit(): void {
    this.#facts.admit?.();
  }

  /**
   * Begins to deliver.
   *
   * @param message Called with the data of each message.
   */
  start(message: (data: unknown) => void): void {
    this.#socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (!this.#closed) message(data);
    });
    // It may have been closed before anybody listened.
    if (this.#socket.readyState > 1) this.shut(undefined);
  }

  /**
   * Sends one message.
   *
   * @param data A text; or bytes, which may change afterwards.
   * @param bytes Its size.
   */
  send(data: string | Uint8Array<ArrayBuffer>, bytes: number): void {
    const socket = this.#socket;
    if (this.#closed || socket.readyState !== 1) return;
    socket.send(this.#facts.keepsBytes === true && typeof data !== "string" ? data.slice() : data);
    this.#buffered += bytes;
    if (this.#buffered < WATCHED_BYTES) return;
    this.#buffered = socket.bufferedAmount;
    // Even if it has left already: before it was sent it was in the way, and somebody may wait.
    const looks = this.#buffered >= WATCHED_BYTES || bytes >= WATCHED_BYTES;
    if (looks && !this.#looking) this.#lookLater();
  }

  /**
   * Closes it: what was sent still leaves, for a second at most. Idempotent.
   *
   * @param abrupt Drop what has not left.
   * @param why What the peer was told.
   */
  close(abrupt: boolean, why: PatchbayError | undefined): Promise<void> {
    if (abrupt) {
      this.#socket.terminate?.();
      this.shut(undefined);
    }
    return this.#closing ??= (async () => {
      if (this.#socket.readyState < 2) this.#sayClose(why);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
      await Promise.race([this.gone, late]);
      clearTimeout(timer);
      this.#socket.terminate?.();
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
    this.#buffered = 0;
    clearTimeout(this.#timer);
    if (this.#socket.readyState < 2) this.#socket.close();
    this.#closedBy(error);
  }

  #sayClose(why: PatchbayError | undefined): void {
    const code = closeCodeOf(why);
    // A page may say only this one (the standard's close(), step 1).
    if (this.#facts.accepted !== true || code === 1000) return this.#socket.close(1000);
    this.#socket.close(code, closeReasonOf(why));
  }

  #lookLater(): void {
    this.#looking = true;
    if (this.#pauseMs === 0) nextTurn(this.#look);
    else this.#timer = setTimeout(this.#look, this.#pauseMs);
  }

  readonly #look = (): void => {
    this.#looking = false;
    if (this.#closed) return;
    const before = this.#buffered;
    this.#buffered = this.#socket.bufferedAmount;
    const moved = this.#buffered < before;
    this.#pace(moved);
    // What does not count any longer is room as well.
    if (moved || this.#buffered <= UNDER_WAY_BYTES) this.#drained();
    // drained() may have sent more, and begun to look again.
    if (!this.#looking && this.#buffered >= WATCHED_BYTES) this.#lookLater();
  };

  /** A thousand slow peers must not keep the event loop spinning: their looks become rare. */
  #pace(moved: boolean): void {
    if (moved) {
      this.#vain = 0;
      this.#pauseMs = this.#pauseMs > 1 ? this.#pauseMs / 2 : 0;
    } else if (this.#pauseMs > 0) this.#pauseMs = Math.min(LOOK_MS, this.#pauseMs * 2);
    else if (++this.#vain > QUICK_LOOKS) this.#pauseMs = 1;
  }
}
