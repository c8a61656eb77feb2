/**
 * What both kinds of link to another thread share: the port, the end of the link, and the death of
 * the other side.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { heard, say } from "./greeting.ts";
import { type Watch, watchLife } from "./life.ts";

/** How long {@link PortLink.close} waits for what was committed, in milliseconds. */
const FLUSH_MS = 1000;
/** What a thread posted before it died may come later than the news of its death, in milliseconds. */
const LAST_WORDS_MS = 10;

/** What a link takes over. */
export interface PortLinkParts {
  /** The port to the other side, on which nothing but this link goes; the link owns it. */
  readonly port: MessagePort;
  /** The lock that tells the other side that this one lives. */
  readonly life?: Watch;
  /** The name of the other side's lock. */
  readonly peerLife?: string;
}

/** A link to another thread. */
export abstract class PortLink implements Link {
  /** Threads are on one host. */
  readonly local = true;
  /** Whether the death of the other side is noticed; otherwise the session sends heartbeats. */
  readonly detectsClose: boolean;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  /** As {@link Link.buffer}. */
  abstract readonly buffer: Uint8Array;
  /** As {@link Link.view}. */
  abstract readonly view: DataView;
  /** The port to the other side. */
  protected readonly port: MessagePort;
  /** Whom to tell, once started. */
  protected handler: LinkHandler | undefined;
  /** Whether it has ended. */
  protected isClosed = false;
  readonly #life: Watch | undefined;
  readonly #peerLife: Watch | undefined;
  readonly #gone = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;
  #emptied: (() => void) | undefined;
  #dying: ReturnType<typeof setTimeout> | undefined;
  #cause: PatchbayError | undefined;

  /** @param parts What it is made of. */
  constructor({ port, life, peerLife }: PortLinkParts) {
    this.port = port;
    this.#life = life;
    this.#peerLife = watchLife(peerLife, () => this.#lastWords());
    this.detectsClose = this.#peerLife !== undefined;
  }

  /** Resolves when it has ended, and nothing more comes. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** As {@link Link.buffered}. */
  abstract get buffered(): number;
  /** As {@link Link.claim}. */
  abstract claim(bytes: number): number;
  /** As {@link Link.commit}. */
  abstract commit(bytes: number): void;
  /** As {@link Link.flush}. */
  abstract flush(): void;
  /** Something came that is no greeting. */
  protected abstract came(data: number | ArrayBuffer, handler: LinkHandler): void;
  /** Hands over what came before the other side ended. */
  protected abstract takeRest(handler: LinkHandler): void;
  /** Lets go of what the kind of link holds. */
  protected abstract release(): void;

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.handler = handler;
    this.port.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (this.isClosed) return;
      try {
        if (typeof data === "number" || data instanceof ArrayBuffer) this.came(data, handler);
        else if (heard(data)?.say === "bye") this.ended(undefined);
        else throw new PatchbayError("protocol", "the other side sent something that is no frame");
      } catch (error) {
        this.fail(error);
      }
    });
    this.port.addEventListener("messageerror", () => {
      this.fail(new PatchbayError("protocol", "the other side sent what cannot be read here"));
    });
    this.port.start();
    // It may have been closed before anybody listened.
    if (this.isClosed) handler.closed(this.#cause);
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (abrupt) this.#end(undefined);
    return this.#closing ??= (async () => {
      this.flush();
      if (!this.isClosed && this.buffered > 0 && this.handler !== undefined) {
        let timer: ReturnType<typeof setTimeout> | undefined;
        await new Promise<void>((resolve) => {
          this.#emptied = resolve;
          timer = setTimeout(resolve, FLUSH_MS);
        });
        clearTimeout(timer);
      }
      this.#end(undefined);
    })();
  }

  /**
   * The other side has ended: what it sent before is handed over.
   *
   * @param error Why, if it was no orderly end.
   */
  ended(error: PatchbayError | undefined): void {
    if (this.isClosed) return;
    try {
      if (this.handler !== undefined) this.takeRest(this.handler);
    } catch {
      // It has broken what it left behind; there is nothing more to lose.
    }
    this.#shut(error);
  }

  /** {@link buffered} has become 0. */
  protected emptied(): void {
    this.#emptied?.();
  }

  /** The other side sent what cannot be: the session tells it, and the link ends. */
  protected fail(thrown: unknown): void {
    if (this.isClosed) return;
    const error = PatchbayError.fromThrown(thrown);
    // Whoever commits is in the middle of something.
    queueMicrotask(() => {
      if (this.isClosed) return;
      this.handler?.malformed(error);
      this.flush();
      this.#end(error);
    });
  }

  #lastWords(): void {
    const error = new PatchbayError("closed", "the other thread has ended");
    this.#dying ??= setTimeout(() => this.ended(error), LAST_WORDS_MS);
  }

  #end(error: PatchbayError | undefined): void {
    if (this.isClosed) return;
    say(this.port, { say: "bye" });
    this.#shut(error);
  }

  #shut(error: PatchbayError | undefined): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#cause = error;
    clearTimeout(this.#dying);
    this.release();
    this.port.close();
    this.#life?.stop();
    this.#peerLife?.stop();
    this.#emptied?.();
    this.handler?.closed(error);
    this.#gone.resolve();
  }
}
