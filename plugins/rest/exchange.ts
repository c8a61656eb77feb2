/**
 * One call that came over HTTP: what its handler sees of it, and the answer it ends with.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallSink,
  type HandlerContext,
  type Headers as UserHeaders,
  PatchbayError,
  type Peer,
  TimerEntry,
  type TimerWheel,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { FROM, readSender, readTimeout, TIMEOUT, userHeaders } from "./headers.ts";
import { problemResponse, statusOf } from "./statuses.ts";

/** Who sent a request, as far as the listener and authentication know. */
export interface Visit {
  /** Whether it came from this host. */
  readonly local: boolean;
  /** Who it has proved to be. */
  identity?: string;
  /** Cuts the connection, where the listener can. */
  readonly cut?: () => void;
  /** A header by its lower-case name, where that is quicker than making all of them. */
  readonly header?: (name: string) => string | null;
}

/**
 * One header of a request.
 *
 * @param request The request.
 * @param visit What the listener knows.
 * @param name The header's name, in lower case.
 */
export function headerOf(request: Request, visit: Visit, name: string): string | null {
  return visit.header === undefined ? request.headers.get(name) : visit.header(name);
}

/** What exchanges share. */
export interface ExchangeHost {
  /** How bodies are made. */
  readonly bodies: Bodies;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** The header that holds a key. */
  readonly apiKeyHeader: string;
  /** How long a handler may take for a caller that does not say, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * How long a call may run before the connection behind it is watched, in ms, unless its handler asks
 * for the signal: watching costs more than a short call, and a notice of Deno's (README, Limits).
 */
const WATCH_AFTER_MS = 250;

/** How much later than a Patchbay caller this side gives up, in ms: the caller's own error wins. */
const GRACE_MS = 250;

/** The parameters of a path. */
export type Params = Readonly<Record<string, string>>;

/** What a handler can see of the HTTP request behind its context. */
export interface HttpRequest {
  /** The request, its body read. */
  readonly request: Request;
  /** What stands in the path where its template has parameters. */
  readonly parameters: Params;
}

/**
 * The HTTP request behind a handler's context: method, URL, all headers, cookies.
 *
 * @param context What the handler was given.
 * @returns `undefined` if the call came over another wire.
 */
export function httpRequest(context: HandlerContext): HttpRequest | undefined {
  return context instanceof Exchange ? context.http() : undefined;
}

/**
 * The peer behind a request.
 *
 * @param headers Its headers.
 * @param visit What the listener knows.
 */
export function peerOf(headers: Headers, visit: Visit): Peer {
  const { module } = readSender(headers.get(FROM));
  const { identity, local } = visit;
  return identity === undefined
    ? { module, transport: "rest", local }
    : { module, transport: "rest", identity, local };
}

/** One call. */
export class Exchange extends TimerEntry implements HandlerContext, CallSink {
  abandoned = false;
  running = false;
  readonly endpoint: CallableEndpoint;
  readonly #host: ExchangeHost;
  readonly #request: Request;
  readonly #visit: Visit;
  readonly #status: number;
  readonly #parameters: Params;
  #abort: AbortController | undefined = undefined;
  #gone: string | undefined = undefined;
  #peer: Peer | undefined = undefined;
  #headers: UserHeaders | undefined = undefined;
  /** How long the handler may take; 0: not read yet. */
  #givenMs = 0;
  /** Whether the caller said so. */
  #stated = false;
  /** How much of it comes after the timer that runs. */
  #laterMs = 0;
  #watched = false;
  #answer: Response | undefined = undefined;
  #waiting: ((response: Response) => void) | undefined = undefined;

  /**
   * @param host What exchanges share.
   * @param endpoint What is called.
   * @param request The request.
   * @param visit Who sent it.
   * @param parameters The parameters of its path.
   * @param status What success is answered with.
   */
  constructor(
    host: ExchangeHost,
    endpoint: CallableEndpoint,
    request: Request,
    visit: Visit,
    parameters: Params,
    status: number,
  ) {
    super();
    this.#host = host;
    this.endpoint = endpoint;
    this.#request = request;
    this.#visit = visit;
    this.#status = status;
    this.#parameters = parameters;
  }

  /** @ignore As {@link httpRequest}. */
  http(): HttpRequest {
    return { request: this.#request, parameters: this.#parameters };
  }

  get address(): string {
    return this.endpoint.address;
  }

  get headers(): UserHeaders {
    return this.#headers ??= userHeaders(this.#request.headers, this.#host.apiKeyHeader);
  }

  get peer(): Peer {
    return this.#peer ??= peerOf(this.#request.headers, this.#visit);
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone !== undefined) this.#end(this.#gone);
    else if (this.#answer === undefined) this.#watch();
    return this.#abort.signal;
  }

  get remainingMs(): number {
    const given = this.#given();
    const left = this.wheelList === undefined
      ? given
      : this.#host.timers.remainingMs(this) + this.#laterMs;
    return Math.max(0, this.#stated ? left - GRACE_MS : left);
  }

  /**
   * Runs the handler.
   *
   * @param value The decoded request.
   */
  run(value: unknown): Response | Promise<Response> {
    this.endpoint.handle(value, this, this);
    if (this.#answer !== undefined) return this.#answer;
    // Only who waits needs a timer.
    const given = this.#given();
    const firstMs = this.#watched ? given : Math.min(given, WATCH_AFTER_MS);
    this.#laterMs = given === firstMs ? 0 : given - firstMs;
    this.#host.timers.arm(this, firstMs);
    return new Promise((resolve) => {
      if (this.#answer !== undefined) resolve(this.#answer);
      else this.#waiting = resolve;
    });
  }

  readonly #onGone = () => this.giveUp("the caller has gone");

  /** Keeps an eye on the connection. */
  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    const { signal } = this.#request;
    if (signal.aborted) this.giveUp("the caller has gone");
    else signal.addEventListener("abort", this.#onGone, { once: true });
  }

  #given(): number {
    if (this.#givenMs === 0) {
      const ms = readTimeout(headerOf(this.#request, this.#visit, TIMEOUT));
      this.#stated = ms !== undefined;
      this.#givenMs = ms === undefined ? this.#host.timeoutMs : ms + GRACE_MS;
    }
    return this.#givenMs;
  }

  succeed(value: unknown): void {
    if (this.#answer !== undefined) return;
    const { statistics, contract } = this.endpoint;
    try {
      const { bodies } = this.#host;
      this.#respond(bodies.answer(value, contract.codec, this.#status, statistics));
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      this.#respond(problemResponse(known, statusOf(known, true)));
    }
  }

  fail(error: unknown): void {
    if (this.#answer === undefined) this.#respond(problemResponse(PatchbayError.fromThrown(error)));
  }

  override expire(): void {
    const laterMs = this.#laterMs;
    if (laterMs > 0) {
      this.#laterMs = 0;
      this.#watch();
      if (this.#answer === undefined) this.#host.timers.arm(this, laterMs);
      return;
    }
    const timeoutMs = Math.round(this.#given() - (this.#stated ? GRACE_MS : 0));
    this.endpoint.statistics.countError("deadline_exceeded");
    this.#leave("the caller's time is up");
    this.fail(
      new PatchbayError("deadline_exceeded", `${this.address}: no answer within ${timeoutMs} ms`, {
        details: { timeoutMs },
        remedy: `send ${TIMEOUT} to wait longer, or make the handler faster`,
      }),
    );
  }

  override discard(): void {
    this.#leave("the bay is closing");
    this.fail(new PatchbayError("closed", `${this.address}: the bay was closed`));
  }

  /**
   * Nobody waits for the answer any more.
   *
   * @param reason What the handler's signal is aborted with.
   */
  giveUp(reason: string): void {
    if (this.#answer !== undefined) return;
    this.#leave(reason);
    // Whoever reads this is gone; 499 is no status of HTTP.
    this.#respond(new Response(null, { status: 408 }));
  }

  #leave(reason: string): void {
    this.endpoint.abandon(this);
    this.#end(reason);
  }

  #end(reason: string): void {
    this.#gone = reason;
    this.#abort?.abort(new DOMException(reason, "AbortError"));
  }

  #respond(response: Response): void {
    this.#answer = response;
    if (this.#waiting === undefined) return;
    this.#host.timers.disarm(this);
    if (this.#watched) this.#request.signal.removeEventListener("abort", this.#onGone);
    this.#waiting(response);
  }
}
