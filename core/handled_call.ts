/**
 * A call that a transport of whole messages hands to a handler: what the handler learns of it, and
 * how it is given up.
 *
 * @module
 */

import type { CallSink, HandlerContext, Headers } from "./callable.ts";
import { PatchbayError } from "./errors.ts";
import type { Peer } from "./plugin.ts";

const NO_HEADERS: Headers = Object.freeze({});

/** What a message told of a call besides its value. */
export interface CallNotes {
  /** Who calls. */
  readonly peer: Peer;
  /** What the caller sent along. */
  readonly headers: Headers | undefined;
  /** How long the caller waits, in milliseconds; `Infinity`: it did not say. */
  readonly timeoutMs: number;
}

/** A call that came whole, with its value and notes; how it is answered is the transport's. */
export abstract class HandledCall implements HandlerContext, CallSink {
  /** As {@link CallSink.abandoned}. */
  abandoned = false;
  /** As {@link CallSink.running}. */
  running = false;
  /** Whether it was answered, or given up. */
  settled = false;
  /** As {@link HandlerContext.headers}. */
  readonly headers: Headers;
  /** As {@link HandlerContext.peer}. */
  readonly peer: Peer;
  readonly #timeoutMs: number;
  readonly #startedMs: number;
  #abort: AbortController | undefined = undefined;
  #gone = false;

  /**
   * A call that has come.
   *
   * @param notes What is known of it.
   */
  constructor({ peer, headers, timeoutMs }: CallNotes) {
    this.headers = headers ?? NO_HEADERS;
    this.peer = peer;
    this.#timeoutMs = timeoutMs;
    this.#startedMs = timeoutMs === Infinity ? 0 : performance.now();
  }

  /** As {@link HandlerContext.address}. */
  abstract get address(): string;

  /** Sends the outcome; called once. */
  protected abstract answer(value: unknown, error: PatchbayError | undefined): void;

  /** As {@link HandlerContext.remainingMs}. */
  get remainingMs(): number {
    if (this.#timeoutMs === Infinity) return Infinity;
    return Math.max(0, this.#timeoutMs - (performance.now() - this.#startedMs));
  }

  /** As {@link HandlerContext.signal}. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.abort();
    return this.#abort.signal;
  }

  /** The caller has given up, or is gone. */
  abort(): void {
    this.#gone = true;
    this.#abort?.abort(new DOMException("the caller has given up", "AbortError"));
  }

  /** As {@link CallSink.succeed}. */
  succeed(value: unknown): void {
    if (!this.settled) this.answer(value, undefined);
  }

  /** As {@link CallSink.fail}. */
  fail(error: unknown): void {
    if (!this.settled) this.answer(undefined, PatchbayError.fromThrown(error));
  }
}
