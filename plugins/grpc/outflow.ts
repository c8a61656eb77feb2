/**
 * What is sent to one client over a stream that it may read slowly: a bounded queue before it, and
 * what happens when that is full.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { ServerDuplexStream } from "npm:@grpc/grpc-js@1.14.7";
import { Fifo, type Overflow, PatchbayError } from "@patchbay/core";
import { failureOf } from "./statuses.ts";
import { MAX_UNREAD_BYTES, type Unread } from "./unread.ts";

/** A stream of grpc-js, as bytes. */
export type ByteStream = ServerDuplexStream<Buffer, Buffer>;

/** Who counts what was dropped. */
export interface DropCounter {
  /** One more. */
  countDrop(reason: string): void;
}

/** What waits may be dropped for. */
export interface OutflowBounds {
  /** The most messages that wait. */
  readonly maxQueue: number;
  /** What waits for all streams of the connection: {@link MAX_UNREAD_BYTES} at most, and a message. */
  readonly unread: Unread;
  /** What happens to one more. */
  readonly overflow: Overflow;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly counter: DropCounter;
}

/** Sends to one client. */
export class Outflow {
  readonly #stream: ByteStream;
  readonly #bounds: OutflowBounds;
  readonly #waiting = new Fifo<Waiting>();
  #blocked = false;
  #ended = false;
  #drained: (() => void) | undefined;

  /**
   * @param stream The stream.
   * @param bounds How much may wait.
   */
  constructor(stream: ByteStream, bounds: OutflowBounds) {
    this.#stream = stream;
    this.#bounds = bounds;
    stream.on("drain", () => this.#drain());
    // Cut connections and late writes: what follows is `close` or `cancelled`.
    stream.on("error", () => {});
  }

  /** Whether nothing more is sent. */
  get ended(): boolean {
    return this.#ended;
  }

  /** How many messages wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Sends a message, now or when the client reads again.
   *
   * @param bytes The message.
   * @param counter Who counts it if it is dropped.
   */
  push(bytes: Buffer, counter: DropCounter): void {
    if (this.#ended) return;
    if (!this.#blocked) {
      this.#blocked = !this.#stream.write(bytes);
      return;
    }
    const { maxQueue, unread, overflow } = this.#bounds;
    const full = () =>
      this.#waiting.length >= maxQueue ||
      (unread.bytes + bytes.length > MAX_UNREAD_BYTES && this.#waiting.length > 0);
    if (full()) {
      if (overflow === "fail" || overflow === "block") {
        counter.countDrop("overflow_fail");
        return this.fail(
          new PatchbayError("overloaded", "the listener does not read as fast as is shouted", {
            details: { maxQueue },
          }),
        );
      }
      if (overflow === "drop_newest") return counter.countDrop("overflow_newest");
      while (full()) {
        this.#shift()?.counter.countDrop("overflow_oldest");
      }
    }
    this.#waiting.push({ bytes, counter });
    unread.bytes += bytes.length;
  }

  /** Ends the stream well, when all that waits is sent. Idempotent. */
  end(): void {
    this.#endBy(() => this.#stream.end());
  }

  /** Ends the stream with an error, when all that waits is sent. Idempotent. */
  fail(error: PatchbayError): void {
    // By `emit`, as grpc-js's servers take errors: `destroy` would lose what was written before.
    this.#endBy(() => this.#stream.emit("error", failureOf(error)));
  }

  /** The client has gone. */
  drop(): void {
    this.#ended = true;
    this.#drained = undefined;
    while (this.#shift() !== undefined);
  }

  #endBy(end: () => void): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#waiting.length === 0) end();
    else this.#drained = end;
  }

  /** The message that has waited longest, if one waits. */
  #shift(): Waiting | undefined {
    const next = this.#waiting.shift();
    if (next !== undefined) this.#bounds.unread.bytes -= next.bytes.length;
    return next;
  }

  #drain(): void {
    this.#blocked = false;
    while (!this.#blocked) {
      const next = this.#shift();
      if (next === undefined) break;
      this.#blocked = !this.#stream.write(next.bytes);
    }
    if (this.#waiting.length > 0) return;
    this.#drained?.();
    this.#drained = undefined;
  }
}
