/**
 * One call that came over MQTT, and the address at which it came.
 *
 * @module
 */

import type { CallableEndpoint, CallSink, HandlerContext, Headers, Peer } from "@patchbay/core";
import { PatchbayError } from "@patchbay/core";
import type { QoS } from "./config.ts";
import type { Sharing } from "./presence.ts";

const NO_HEADERS: Headers = Object.freeze({});

/** Where answers go. */
export interface Answers {
  /** The handler has answered. */
  succeed(call: InboundCall, value: unknown): void;
  /** It failed. */
  fail(call: InboundCall, error: PatchbayError): void;
}

/** How a call is answered. */
export interface Return {
  /** The topic; `undefined`: nobody asks for an answer. */
  readonly topic: string | undefined;
  /** What MQTT 5 calls correlation data; `undefined`: the form of MQTT 3.1.1. */
  readonly correlation: Uint8Array | undefined;
  /** The caller's bay; `undefined`: a foreign program. */
  readonly bay: string | undefined;
  /** The caller's number. */
  readonly id: string;
  /** The quality with which the call came: a foreign program is answered with the same. */
  readonly qos: QoS;
}

/** What is known of a call besides its value. */
export interface Told {
  readonly to: Return;
  readonly headers: Headers | undefined;
  readonly peer: Peer;
  readonly timeoutMs: number;
}

/** One call that came. */
export class InboundCall implements HandlerContext, CallSink {
  abandoned = false;
  running = false;
  settled = false;
  readonly desk: ServedAddress;
  readonly endpoint: CallableEndpoint;
  readonly to: Return;
  readonly headers: Headers;
  readonly peer: Peer;
  readonly #answers: Answers;
  readonly #timeoutMs: number;
  readonly #startedMs: number;
  #abort: AbortController | undefined = undefined;
  #gone = false;

  constructor(answers: Answers, desk: ServedAddress, told: Told) {
    this.#answers = answers;
    this.desk = desk;
    this.endpoint = desk.next();
    this.to = told.to;
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
  readonly sharing: Sharing;
  /** What is subscribed to for it. */
  readonly filters: readonly string[];
  readonly endpoints: CallableEndpoint[] = [];
  /** What came while it was not known yet whether the address is this bay's. */
  held: (() => void)[] | undefined = [];
  /** Resolves when it can be called. */
  ready: Promise<void> = Promise.resolve();
  #turn = 0;

  constructor(address: string, sharing: Sharing, filters: readonly string[]) {
    this.address = address;
    this.sharing = sharing;
    this.filters = filters;
  }

  /** The endpoint whose turn it is. */
  next(): CallableEndpoint {
    const { length } = this.endpoints;
    if (length > 1) this.#turn = (this.#turn + 1) % length;
    else this.#turn = 0;
    return this.endpoints[this.#turn];
  }
}
