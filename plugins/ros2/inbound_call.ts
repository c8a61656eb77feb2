/**
 * One call that came over a service: what its handler learns, and where the outcome goes.
 *
 * @module
 */

import type { CallSink, HandlerContext, Headers, PatchbayError, Peer } from "@patchbay/core";
import { PatchbayError as Failure } from "@patchbay/core";
import type { Metadata } from "./metadata.ts";

const NO_HEADERS: Headers = Object.freeze({});

/** One call that came. */
export class InboundCall implements HandlerContext, CallSink {
  abandoned = false;
  running = false;
  settled = false;
  /** The address. */
  readonly address: string;
  /** What the caller sent along. */
  readonly headers: Headers;
  /** Who calls. */
  readonly peer: Peer;
  /** How urgent it is. */
  readonly priority: number | undefined;
  readonly #ended: (value: unknown, error: PatchbayError | undefined) => void;
  readonly #timeoutMs: number;
  readonly #startedMs = performance.now();
  #abort: AbortController | undefined;
  #gone = false;

  /**
   * @param address The address.
   * @param peer Who calls.
   * @param metadata What came along.
   * @param ended Takes the outcome, once.
   */
  constructor(
    address: string,
    peer: Peer,
    metadata: Metadata,
    ended: (value: unknown, error: PatchbayError | undefined) => void,
  ) {
    this.address = address;
    this.peer = peer;
    this.headers = metadata.h ?? NO_HEADERS;
    this.priority = metadata.p;
    this.#timeoutMs = metadata.t ?? Infinity;
    this.#ended = ended;
  }

  /** How long the caller still waits. */
  get remainingMs(): number {
    if (this.#timeoutMs === Infinity) return Infinity;
    return Math.max(0, this.#timeoutMs - (performance.now() - this.#startedMs));
  }

  /** Aborted when the caller has given up, or is gone. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.abort();
    return this.#abort.signal;
  }

  /** The caller has given up. */
  abort(): void {
    this.#gone = true;
    this.#abort?.abort(new DOMException("the caller has given up", "AbortError"));
  }

  succeed(value: unknown): void {
    this.#end(value, undefined);
  }

  fail(error: unknown): void {
    this.#end(undefined, Failure.fromThrown(error));
  }

  #end(value: unknown, error: PatchbayError | undefined): void {
    if (this.settled) return;
    this.settled = true;
    this.#ended(value, error);
  }
}
