/**
 * One call and one job that the peer of a session has begun, as their handlers see them.
 *
 * @module
 */

import type { CallSink, HandlerContext, Headers } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { JobSink } from "../job_endpoint.ts";
import type { Peer } from "../plugin.ts";
import { Flag, Kind } from "./envelope.ts";
import type { Frame } from "./frame.ts";
import type { Inbound } from "./inbound.ts";
import type { CallTarget, JobTarget, RunTarget } from "./targets.ts";

export const NO_HEADERS: Headers = Object.freeze({});

/** A call: what its handler learns, and where its answer goes. */
export class InboundCall implements HandlerContext, CallSink {
  abandoned = false;
  settled = false;
  readonly endpoint: CallTarget;
  readonly peer: Peer;
  readonly headers: Headers;
  readonly #inbound: Inbound;
  readonly #id: number;
  readonly #codec: number;
  readonly priority: number;
  readonly #givenMs: number;
  /** When it came; 0 until somebody wants to know. */
  #startedMs = 0;
  #abort: AbortController | undefined = undefined;
  #gone = false;

  constructor(
    inbound: Inbound,
    endpoint: CallTarget,
    frame: Frame,
    peer: Peer,
  ) {
    this.#inbound = inbound;
    this.endpoint = endpoint;
    this.peer = peer;
    this.headers = frame.headers() ?? NO_HEADERS;
    this.#id = frame.id;
    this.#codec = frame.codec;
    this.priority = frame.priority;
    this.#givenMs = frame.number >= 0 ? frame.number : 0;
  }

  get address(): string {
    return this.endpoint.address;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.abort();
    return this.#abort.signal;
  }

  get remainingMs(): number {
    const nowMs = performance.now();
    if (this.#startedMs === 0) this.#startedMs = nowMs;
    return Math.max(0, this.#givenMs - (nowMs - this.#startedMs));
  }

  /** It outlives its frame: from now on it knows when it came. A look at the clock costs 90 ns. */
  came(nowMs: number): void {
    if (this.#startedMs === 0) this.#startedMs = nowMs;
  }

  abort(): void {
    this.#gone = true;
    this.#abort?.abort(new DOMException("the caller has given up", "AbortError"));
  }

  succeed(value: unknown): void {
    if (this.settled) return;
    this.#inbound.respond(this, this.#id, this.#codec, this.priority, value);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#inbound.refuse(this.#id, PatchbayError.fromThrown(error), this.priority);
    this.#inbound.settled(this.#id, this);
  }
}

/** A job's messages on their way to its owner. */
export class InboundJob implements JobSink {
  readonly endpoint: JobTarget;
  readonly #inbound: Inbound;
  readonly #id: number;
  readonly #priority: number;
  run: RunTarget | undefined = undefined;
  /** It is to be cancelled as soon as it runs: the cancel came while the verdict was pending. */
  cancelled: { readonly reason: string | undefined } | undefined = undefined;

  constructor(inbound: Inbound, endpoint: JobTarget, id: number, priority: number) {
    this.#inbound = inbound;
    this.endpoint = endpoint;
    this.#id = id;
    this.#priority = priority;
  }

  accepted(): void {
    this.#inbound.sendJob(this, Kind.accepted, 0, this.#id, this.#priority, 0, undefined);
  }

  feedback(value: unknown, sequence: number): void {
    this.#inbound.sendJob(this, Kind.feedback, 0, this.#id, this.#priority, sequence, value);
  }

  progressed(fraction: number, sequence: number): void {
    const { progress } = Flag;
    this.#inbound.sendJob(
      this,
      Kind.feedback,
      progress,
      this.#id,
      this.#priority,
      sequence,
      fraction,
    );
  }

  succeed(value: unknown): void {
    this.#inbound.sendJob(this, Kind.result, 0, this.#id, this.#priority, 0, value);
    this.#inbound.jobEnded(this.#id);
  }

  fail(error: PatchbayError): void {
    this.#inbound.jobFailed(this.#id, error, this.#priority);
    this.#inbound.jobEnded(this.#id);
  }
}
