/**
 * Callables: the caller's side ({@link Callable}), the server's side ({@link CallableEndpoint}),
 * and the call between them.
 *
 * @module
 */

import type { CallableContract, NativeNames } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import type { CallPort, Peer } from "./plugin.ts";
import { applySchema, type StandardSchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

/** Headers of a message: short strings by lower-case name. */
export type Headers = Readonly<Record<string, string>>;

/** What a handler learns about the message besides its value. */
export interface HandlerContext {
  /** Aborted when the caller gives up, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** What the caller sent along. */
  readonly headers: Headers;
  /** Who called. */
  readonly peer: Peer;
  /** The address that was called. */
  readonly address: string;
  /** How long the caller will still wait, in milliseconds; `Infinity` if it does not say. */
  readonly remainingMs: number;
  /** 0–255, as the caller said; absent where the wire does not tell. */
  readonly priority?: number;
}

/** Answers a call: with the response or a promise of it; what it throws reaches the caller. */
export type CallHandler<RequestOut, ResponseIn> = (
  request: RequestOut,
  context: HandlerContext,
) => ResponseIn | Promise<ResponseIn>;

/** How to serve a callable. */
export interface ServeOptions {
  /** The wires to serve it on, by plugin name; default: all that are open and can. */
  via?: readonly string[];
  /** Whether other servers may share the address; default: `exclusive`. */
  sharing?: "exclusive" | "shared";
  /** The most calls at once; one more is refused with `overloaded`. Default 64. */
  maxConcurrent?: number;
}

/** How to make a call. */
export interface CallOptions {
  /** How long to wait for the response, in milliseconds; `Infinity` for ever. */
  timeoutMs?: number;
  /** Sent along. */
  headers?: Headers;
  /** Cancels the call; it rejects with the signal's reason. */
  signal?: AbortSignal;
  /** 0–255, higher first when a queue forms. Default: the contract's, or 128. */
  priority?: number;
  /** What a wire calls it this once, by plugin name. Default: the contract's. */
  native?: NativeNames;
}

/** Where the outcome of a call goes. */
export interface CallSink {
  /** The caller's schemas where it is in this process. */
  readonly contract?: ServerSchemas;
  /** Set by the endpoint when the caller gave up before the handler was done. */
  abandoned: boolean;
  /** Set by the endpoint while the call takes one of its places. */
  running?: boolean;
  /** The handler's response. */
  succeed(value: unknown): void;
  /** The call failed. */
  fail(error: unknown): void;
}

/** The schemas of the two values of a callable. */
export interface ServerSchemas {
  /** The request's. */
  readonly request?: StandardSchema;
  /** The response's. */
  readonly response?: StandardSchema;
}

/** A call on its way out, as a {@link CallPort} sees it. */
export interface OutboundCall extends CallSink {
  /** The request, validated but untransformed. */
  readonly value: unknown;
  /** The address. */
  readonly address: string;
  /** What to send along. */
  headers: Headers | undefined;
  /** How long the caller waits in all, in milliseconds. */
  readonly timeoutMs: number;
  /** How long it still waits. */
  readonly remainingMs: number;
  /** The codec the contract asks for. */
  readonly codec: string | undefined;
  /** 0–255. */
  readonly priority: number;
  /** Whether a second execution does no harm. */
  readonly idempotent: boolean;
  /** What wires call it instead of its address, by plugin name: the call's, else the contract's. */
  readonly native?: NativeNames;
  /** The caller's counters: the port adds the bytes. */
  readonly statistics: EndpointStatistics;
  /** For the port: whatever it must find again in `cancel`. */
  slot: unknown;
}

/** A caller's binding to the wire it has chosen. */
export interface CallBinding {
  /** The way calls take. */
  readonly port: CallPort;
  /** The chosen plugin's name. */
  readonly transport: string;
  /** How long a call may take there by default, in milliseconds. */
  readonly defaultTimeoutMs: number;
  /** The caller's counters. */
  readonly statistics: EndpointStatistics;
}

/** What a caller needs of its bay. */
export interface CallRouter {
  /** Changes whenever a binding may have become wrong. */
  readonly epoch: number;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** Chooses a wire and binds to it. */
  bindCall(
    address: string,
    via: readonly string[] | undefined,
    native: NativeNames | undefined,
  ): Promise<CallBinding>;
  /** Gives a binding back that has been replaced. */
  release(binding: CallBinding): void;
}

const NO_OPTIONS: CallOptions = Object.freeze({});

// The executor of a call's promise, hoisted: a closure for each call would cost an allocation.
let takenResolve: (value: never) => void;
let takenReject: (error: unknown) => void;
function take(resolve: (value: never) => void, reject: (error: unknown) => void): void {
  takenResolve = resolve;
  takenReject = reject;
}

class PendingCall extends TimerEntry implements OutboundCall {
  readonly promise: Promise<never>;
  readonly #resolve: (value: never) => void;
  readonly #reject: (error: unknown) => void;
  readonly #binding: CallBinding;
  readonly #timers: TimerWheel;
  readonly #contract: CallableContract<never, unknown, never, unknown>;
  readonly value: unknown;
  headers: Headers | undefined;
  readonly timeoutMs: number;
  /** What the choice of a wire has taken of it, in milliseconds. */
  readonly #spentMs: number;
  readonly #options: CallOptions;
  slot: unknown = undefined;
  abandoned = false;
  running = false;
  settled = false;
  #startedMs = 0;
  #onAbort: (() => void) | undefined = undefined;

  constructor(
    contract: CallableContract<never, unknown, never, unknown>,
    binding: CallBinding,
    timers: TimerWheel,
    value: unknown,
    options: CallOptions,
    spentMs: number,
  ) {
    super();
    this.#spentMs = spentMs;
    this.promise = new Promise<never>(take);
    this.#resolve = takenResolve;
    this.#reject = takenReject;
    this.#contract = contract;
    this.#binding = binding;
    this.#timers = timers;
    this.value = value;
    this.#options = options;
    this.headers = options.headers;
    this.timeoutMs = options.timeoutMs ?? contract.timeoutMs ?? binding.defaultTimeoutMs;
  }

  /** Told only if the port tells the server's: then neither side validates what the other did. */
  get contract(): ServerSchemas | undefined {
    return this.#binding.port.contract === undefined ? undefined : this.#contract;
  }

  get address(): string {
    return this.#contract.address;
  }

  get codec(): string | undefined {
    return this.#contract.codec;
  }

  get statistics(): EndpointStatistics {
    return this.#binding.statistics;
  }

  get priority(): number {
    return this.#options.priority ?? this.#contract.priority ?? 128;
  }

  get idempotent(): boolean {
    return this.#contract.idempotent === true;
  }

  get native(): NativeNames | undefined {
    return this.#options.native ?? this.#contract.native;
  }

  get remainingMs(): number {
    const givenMs = this.timeoutMs - this.#spentMs;
    // The wheel turns in steps: what it says may be a step too much.
    return this.wheelList === undefined
      ? givenMs
      : Math.min(givenMs, this.#timers.remainingMs(this));
  }

  start(): void {
    const statistics = this.#binding.statistics;
    statistics.calls++;
    statistics.messagesOut++;
    statistics.pending++;
    if (statistics.sample()) this.#startedMs = performance.now();
    this.#binding.port.start(this);
    if (this.settled) return;
    this.#timers.arm(this, this.timeoutMs - this.#spentMs);
    const signal = this.#options.signal;
    if (signal !== undefined) {
      this.#onAbort = () => {
        this.#binding.port.cancel(this);
        this.#settle();
        this.#reject(signal.reason);
      };
      // A handler in this process, or an asynchronous schema, may have taken long enough for it.
      if (signal.aborted) this.#onAbort();
      else signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  succeed(value: unknown): void {
    if (this.settled) return;
    const schema = this.#contract.response;
    if (schema !== undefined && this.#binding.port.contract?.response !== schema) {
      try {
        const checked = applySchema(schema, value, "response");
        if (checked instanceof Promise) {
          checked.then((v) => this.#succeeded(v), (error) => this.fail(error));
          return;
        }
        value = checked;
      } catch (error) {
        return this.fail(error);
      }
    }
    this.#succeeded(value);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#settle();
    const known = PatchbayError.fromThrown(error).with({
      pattern: "callable",
      transport: this.#binding.transport,
      address: this.address,
    });
    this.#binding.statistics.countError(known.code);
    this.#reject(known);
  }

  override expire(): void {
    this.#binding.port.cancel(this);
    this.fail(
      new PatchbayError(
        "deadline_exceeded",
        `${this.address}: no response within ${this.timeoutMs} ms over ${this.#binding.transport}`,
        {
          details: { timeoutMs: this.timeoutMs },
          remedy: "pass a longer timeoutMs, or make the handler faster",
        },
      ),
    );
  }

  override discard(): void {
    this.#binding.port.cancel(this);
    this.fail(
      new PatchbayError("closed", `${this.address}: the bay was closed`, {
        retryable: false,
        remedy: "open another one: this one is over",
      }),
    );
  }

  #succeeded(value: unknown): void {
    if (this.settled) return;
    this.#settle();
    this.#binding.statistics.messagesIn++;
    this.#resolve(value as never);
  }

  #settle(): void {
    this.settled = true;
    const statistics = this.#binding.statistics;
    statistics.pending--;
    if (this.#startedMs !== 0) {
      statistics.observeDuration((performance.now() - this.#startedMs) / 1000);
    }
    if (this.wheelList !== undefined) this.#timers.disarm(this);
    if (this.#onAbort !== undefined) {
      this.#options.signal?.removeEventListener("abort", this.#onAbort);
    }
  }
}

/**
 * Calls one address. Made by `bay.callable(contract)`; bound to a wire at the first call, and anew
 * when that wire no longer leads there.
 *
 * @typeParam RequestIn What the request's schema takes.
 * @typeParam ResponseOut What the response's schema gives.
 */
export class Callable<RequestIn, ResponseOut> {
  readonly #contract: CallableContract<never, unknown, never, unknown>;
  readonly #router: CallRouter;
  readonly #via: readonly string[] | undefined;
  #binding: CallBinding | undefined;
  #binds: Promise<CallBinding> | undefined;
  #epoch = -1;

  /** @ignore Made by the bay. */
  constructor(
    contract: CallableContract<never, unknown, never, unknown>,
    router: CallRouter,
    via: readonly string[] | undefined,
  ) {
    this.#contract = contract;
    this.#router = router;
    this.#via = via;
  }

  /** The address it calls. */
  get address(): string {
    return this.#contract.address;
  }

  /** The wire it is bound to now, by plugin name; `undefined` before the first call. */
  get transport(): string | undefined {
    return this.#binding?.transport;
  }

  /**
   * Calls, and resolves with the response.
   *
   * @param request The request.
   * @param options Deadline, headers, signal, priority.
   * @throws {PatchbayError} `not_found` at once if nobody serves the address; `deadline_exceeded`;
   * `closed` if the server went away; `overloaded`; `invalid`; `remote` with the handler's message.
   */
  call(request: RequestIn, options: CallOptions = NO_OPTIONS): Promise<ResponseOut> {
    const binding = this.#binding;
    if (binding === undefined || this.#epoch !== this.#router.epoch) {
      return this.#bindAndCall(request, options);
    }
    if (options.native !== undefined) return this.#callByName(request, options);
    return this.#start(binding, request, options, 0);
  }

  /**
   * Chooses a wire now instead of at the first call.
   *
   * @throws {PatchbayError} `not_found` or `unavailable`, listing every wire with its reason.
   */
  async bind(): Promise<void> {
    await this.#bind();
  }

  #start(
    binding: CallBinding,
    request: RequestIn,
    options: CallOptions,
    spentMs: number,
  ): Promise<ResponseOut> {
    if (options !== NO_OPTIONS) {
      if (options.signal?.aborted) return Promise.reject(options.signal.reason);
      const wrong = checkOptions(options);
      if (wrong !== undefined) return this.#refuse(binding, wrong);
    }
    const schema = this.#contract.request;
    const { timers } = this.#router;
    const call = new PendingCall(this.#contract, binding, timers, request, options, spentMs);
    if (schema !== undefined && binding.port.contract?.request !== schema) {
      try {
        const checked = applySchema(schema, request, "request");
        if (checked instanceof Promise) {
          return checked.then(() => {
            call.start();
            return call.promise;
          }, (error) => this.#refuse(binding, error));
        }
      } catch (error) {
        return this.#refuse(binding, error);
      }
    }
    call.start();
    return call.promise;
  }

  /** The call is not made: its request did not pass, or its time is over. */
  #refuse(binding: CallBinding, error: unknown): Promise<never> {
    const known = PatchbayError.fromThrown(error).with({
      pattern: "callable",
      transport: binding.transport,
      address: this.address,
    });
    binding.statistics.countError(known.code);
    return Promise.reject(known);
  }

  async #bindAndCall(request: RequestIn, options: CallOptions): Promise<ResponseOut> {
    options.signal?.throwIfAborted();
    if (options.native !== undefined) return await this.#callByName(request, options);
    const beganMs = performance.now();
    const binding = await this.#bind();
    // The choice of a wire takes of the caller's time, too.
    const { timeoutMs = this.#contract.timeoutMs ?? binding.defaultTimeoutMs } = options;
    const spentMs = performance.now() - beganMs;
    if (spentMs >= timeoutMs) {
      return await this.#refuse(
        binding,
        new PatchbayError(
          "deadline_exceeded",
          `${this.address}: finding a wire took longer than ${timeoutMs} ms`,
          { details: { timeoutMs }, remedy: "pass a longer timeoutMs, or bind() beforehand" },
        ),
      );
    }
    return await this.#start(binding, request, options, spentMs);
  }

  /** A name for this call alone may lead elsewhere: it gets a binding for itself. */
  async #callByName(request: RequestIn, options: CallOptions): Promise<ResponseOut> {
    options.signal?.throwIfAborted();
    const router = this.#router;
    const binding = await router.bindCall(this.address, this.#via, options.native);
    try {
      return await this.#start(binding, request, options, 0);
    } finally {
      router.release(binding);
    }
  }

  async #bind(): Promise<CallBinding> {
    const epoch = this.#router.epoch;
    if (this.#binding !== undefined && this.#epoch === epoch) return this.#binding;
    // What is bound now answers only for the epoch in which the choice began.
    this.#binds ??= this.#router.bindCall(this.address, this.#via, this.#contract.native).then(
      (binding) => {
        if (this.#binding !== undefined) this.#router.release(this.#binding);
        this.#binding = binding;
        this.#epoch = epoch;
        return binding;
      },
    ).finally(() => {
      this.#binds = undefined;
    });
    return await this.#binds;
  }
}

/** What is wrong with the options of one call, if anything is. */
function checkOptions({ timeoutMs, priority }: CallOptions): PatchbayError | undefined {
  if (timeoutMs !== undefined && !(timeoutMs > 0)) {
    return new PatchbayError("invalid", `timeoutMs: ${timeoutMs} is not a time`, {
      details: { path: "options.timeoutMs" },
      remedy: "give milliseconds above 0, or Infinity",
    });
  }
  return checkPriority(priority);
}

/**
 * What is wrong with a priority, if anything is.
 *
 * @param priority What was given.
 */
export function checkPriority(priority: number | undefined): PatchbayError | undefined {
  if (priority === undefined || (Number.isInteger(priority) && priority >= 0 && priority <= 255)) {
    return undefined;
  }
  return new PatchbayError("invalid", `priority: ${priority} is not a whole number from 0 to 255`, {
    details: { path: "options.priority" },
  });
}
