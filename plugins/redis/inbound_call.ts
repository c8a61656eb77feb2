/**
 * One call that came over Redis, and the address at which it came.
 *
 * @module
 */

import type { CallableEndpoint, CallSink, HandlerContext, Headers, Peer } from "@patchbay/core";
import { PatchbayError } from "@patchbay/core";

const NO_HEADERS: Headers = Object.freeze({});

/** Where answers go. */
export interface Answers {
  /** The handler has answered. */
  succeed(call: InboundCall, value: unknown): void;
  /** It failed. */
  fail(call: InboundCall, error: PatchbayError): void;
}

/** One call that came. */
export class InboundCall implements HandlerContext, CallSink {
  abandoned = false;
  running = false;
  settled = false;
  readonly desk: ServedAddress;
  readonly endpoint: CallableEndpoint;
  readonly entry: string;
  /** The caller's number for it. */
  readonly id: string;
  /** The stream that takes the reply. */
  readonly reply: string | undefined;
  /** The caller's bay; `undefined`: a foreign program. */
  readonly origin: string | undefined;
  readonly headers: Headers;
  readonly peer: Peer;
  readonly #answers: Answers;
  readonly #timeoutMs: number;
  readonly #startedMs: number;
  #abort: AbortController | undefined = undefined;
  #gone = false;

  constructor(
    answers: Answers,
    desk: ServedAddress,
    entry: string,
    told: {
      readonly id: string;
      readonly reply: string | undefined;
      readonly origin: string | undefined;
      readonly headers: Headers | undefined;
      readonly peer: Peer;
      readonly timeoutMs: number;
    },
  ) {
    this.#answers = answers;
    this.desk = desk;
    this.endpoint = desk.next();
    this.entry = entry;
    this.id = told.id;
    this.reply = told.reply;
    this.origin = told.origin;
    this.headers = told.headers ?? NO_HEADERS;
    this.peer = told.peer;
    this.#timeoutMs = told.timeoutMs;
    this.#startedMs = told.timeoutMs === Infinity ? 0 : performance.now();
  }

  get address(): string {
    return this.desk.address;
  }

  get remainingMs(): number {
    if (this.#timeoutMs === Infinity) return Infinity;
    return Math.max(0, this.#timeoutMs - (performance.now() - this.#startedMs));
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.abort();
    return this.#abort.signal;
  }

  abort(): void {
    this.#gone = true;
    this.#abort?.abort(new DOMException("the caller has given up", "AbortError"));
  }

  succeed(value: unknown): void {
    if (!this.settled) this.#answers.succeed(this, value);
  }

  fail(error: unknown): void {
    if (!this.settled) this.#answers.fail(this, PatchbayError.fromThrown(error));
  }
}

/** What this bay serves at one address. */
export class ServedAddress {
  readonly address: string;
  readonly key: string;
  readonly endpoints: CallableEndpoint[] = [];
  shared = false;
  /** Entries that came and are not acknowledged yet. */
  readonly open = new Set<string>();
  #turn = 0;

  constructor(address: string, key: string) {
    this.address = address;
    this.key = key;
  }

  /** The endpoint whose turn it is. */
  next(): CallableEndpoint {
    this.#turn = (this.#turn + 1) % this.endpoints.length;
    return this.endpoints[this.#turn];
  }
}
