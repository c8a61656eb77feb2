/**
 * One event stream to one client: what waits for it is bounded, and what finds no room is dropped
 * as it asked. A client that does not read costs its bound and no more.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { encodeFailure, EVENT_STREAM, PING } from "./events.ts";

/** What happens to an event that finds the queue full. */
export type StreamOverflow = "drop_oldest" | "drop_newest" | "fail";

/** How a stream is bounded. */
export interface StreamBounds {
  /** The most events that wait. */
  readonly maxQueue: number;
  /** Their bytes. */
  readonly maxBytes: number;
  /** What happens to one more. */
  readonly overflow: StreamOverflow;
  /** Cuts the connection of a client that does not read, where the listener can. */
  readonly cut?: () => void;
}

/** Who counts a drop. */
export interface DropCounter {
  /** Counts messages that were not delivered. */
  countDrop(reason: string, n?: number): void;
}

interface Item {
  readonly bytes: Uint8Array;
  readonly owner: DropCounter | undefined;
}

/** Events are joined into chunks up to this size, in bytes. */
const CHUNK_BYTES = 64 * 1024;

/** How many pings in a row a client may leave unread before it is let go. */
const MAX_UNREAD_PINGS = 3;

/** One event stream. */
export class EventStream {
  /** What the client is answered with. */
  readonly response: Response;
  readonly #bounds: StreamBounds;
  readonly #gone: () => void;
  #items: (Item | undefined)[] = [];
  #first = 0;
  #bytes = 0;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #hungry = false;
  #ended = false;
  #finished = false;
  /** Whether something was sent or read since the last ping. */
  #moved = false;
  #unread = 0;

  /**
   * @param bounds How it is bounded.
   * @param status The status of the answer.
   * @param headers Further headers of the answer.
   * @param gone Called once when the client has gone, or the stream has ended.
   */
  constructor(
    bounds: StreamBounds,
    status: number,
    headers: Readonly<Record<string, string>>,
    gone: () => void,
  ) {
    this.#bounds = bounds;
    this.#gone = gone;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => {
        this.#moved = this.#hungry = true;
        this.#unread = 0;
        this.#feed();
      },
      cancel: () => this.#finish(),
    }, { highWaterMark: 1 });
    this.response = new Response(body, {
      status,
      headers: {
        "content-type": EVENT_STREAM,
        "cache-control": "no-store",
        // nginx would collect the events otherwise.
        "x-accel-buffering": "no",
        ...headers,
      },
    });
  }

  /** How many events wait. */
  get queued(): number {
    return this.#items.length - this.#first;
  }

  /** How many bytes wait. */
  get queuedBytes(): number {
    return this.#bytes;
  }

  /** Whether nothing more is sent. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Sends an event, or has it wait; what finds no room is dropped and counted.
   *
   * @param bytes The event.
   * @param owner Who counts it, if it is dropped; without one it is never dropped.
   */
  push(bytes: Uint8Array, owner?: DropCounter): void {
    if (this.#ended) return owner?.countDrop("closed");
    this.#moved = true;
    const { maxQueue, maxBytes, overflow } = this.#bounds;
    while (
      owner !== undefined && this.queued > 0 &&
      (this.queued >= maxQueue || this.#bytes + bytes.length > maxBytes)
    ) {
      if (overflow === "drop_newest") return owner.countDrop("overflow_newest");
      if (overflow === "fail") {
        owner.countDrop("overflow_fail");
        return this.fail(
          new PatchbayError("overloaded", `${this.queued} events wait for this client`, {
            details: { maxQueue },
            remedy: "read faster, or choose overflow=drop_oldest",
          }),
        );
      }
      const oldest = this.#shift() as Item;
      oldest.owner?.countDrop("overflow_oldest");
    }
    this.#items.push({ bytes, owner });
    this.#bytes += bytes.length;
    if (this.#hungry) this.#feed();
  }

  /** Says that the stream lives, if nothing else did; lets go of a client that does not read. */
  ping(): void {
    // What has ended may still wait for its reader.
    if (this.#finished) return;
    if (this.queued > 0 && !this.#hungry) {
      if (++this.#unread > MAX_UNREAD_PINGS) this.abort();
      return;
    }
    this.#unread = 0;
    if (!this.#moved) this.push(PING);
    this.#moved = false;
  }

  /**
   * Ends the stream with an error that a Patchbay client understands.
   *
   * @param error The error.
   */
  fail(error: PatchbayError): void {
    this.push(encodeFailure(error));
    this.end();
  }

  /** Ends the stream behind what still waits. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#feed();
  }

  /** Ends the stream at once; what waits is dropped and counted. */
  abort(): void {
    if (this.#finished) return;
    this.#ended = true;
    this.#finish();
    if (this.#bounds.cut !== undefined) return this.#bounds.cut();
    try {
      this.#controller.error(new DOMException("the client does not read", "AbortError"));
    } catch {
      // It was closed before.
    }
  }

  /** Ends a stream whose answer nobody has been given. */
  discard(): void {
    if (this.#finished) return;
    this.#finish();
    this.#controller.close();
  }

  #shift(): Item | undefined {
    const item = this.#items[this.#first];
    if (item === undefined) return undefined;
    this.#items[this.#first++] = undefined;
    this.#bytes -= item.bytes.length;
    if (this.#first > 512 && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** Hands over what waits, as much as goes into one chunk. */
  #feed(): void {
    if (this.#finished) return;
    const first = this.#hungry ? this.#shift() : undefined;
    if (first !== undefined) {
      this.#hungry = false;
      this.#controller.enqueue(this.#join(first.bytes));
    }
    // What is handed over may be read at once, and then this has been here already.
    if (this.#ended && this.queued === 0 && !this.#finished) {
      this.#finish();
      this.#controller.close();
    }
  }

  #join(first: Uint8Array): Uint8Array {
    let size = first.length;
    const pieces = [first];
    for (;;) {
      const next = this.#items[this.#first];
      if (next === undefined || size + next.bytes.length > CHUNK_BYTES) break;
      this.#shift();
      pieces.push(next.bytes);
      size += next.bytes.length;
    }
    if (pieces.length === 1) return first;
    const whole = new Uint8Array(size);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = this.#ended = true;
    for (let item = this.#shift(); item !== undefined; item = this.#shift()) {
      item.owner?.countDrop("closed");
    }
    this.#gone();
  }
}

/** Says of all open streams from time to time that they live. */
export class Streams {
  readonly #streams = new Set<EventStream>();
  readonly #everyMs: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #drained: (() => void) | undefined;

  /** @param everyMs How often. */
  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** How many are open. */
  get size(): number {
    return this.#streams.size;
  }

  /**
   * Opens a stream.
   *
   * @param bounds How it is bounded.
   * @param status The status of the answer.
   * @param headers Further headers of the answer.
   * @param gone Called once when it has ended.
   */
  open(
    bounds: StreamBounds,
    status: number,
    headers: Readonly<Record<string, string>>,
    gone: () => void,
  ): EventStream {
    const stream = new EventStream(bounds, status, headers, () => {
      this.#streams.delete(stream);
      if (this.#streams.size === 0) {
        this.#stop();
        this.#drained?.();
      }
      gone();
    });
    this.#streams.add(stream);
    this.#timer ??= setInterval(() => {
      for (const each of this.#streams) each.ping();
    }, this.#everyMs);
    return stream;
  }

  /**
   * Ends all of them; who has not read what still waits after a while is let go.
   *
   * @param graceMs The while.
   */
  async close(graceMs: number): Promise<void> {
    for (const stream of [...this.#streams]) stream.end();
    if (this.#streams.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#drained = resolve;
      const timer = setTimeout(resolve, graceMs);
      await promise;
      clearTimeout(timer);
    }
    for (const stream of [...this.#streams]) stream.abort();
    this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
