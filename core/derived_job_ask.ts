/**
 * One message of a derived job on its way to the worker: a call that core makes by itself;
 * and a wait that can be ended.
 *
 * @module
 */

import type { Headers, OutboundCall } from "./callable.ts";
import { PatchbayError } from "./errors.ts";
import type { CallPort } from "./plugin.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

/** How long a question and its answer may be on their way, in milliseconds. */
export const WAY_MS = 5_000;

/** What a message is, and how long its answer may take. */
export interface AskOptions {
  /** Where it goes. */
  readonly address: string;
  /** The message. */
  readonly value: unknown;
  /** How long to wait, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether the job's own deadline ends the wait instead. */
  readonly untimed?: boolean;
  /** What to send along. */
  readonly headers?: Headers;
  /** The codec. */
  readonly codec: string | undefined;
  /** 0–255. */
  readonly priority: number;
  /** The job's counters, for the bytes. */
  readonly statistics: EndpointStatistics;
}

/** A call with a promise of its answer. */
export class Ask extends TimerEntry implements OutboundCall {
  /** The answer; rejects with a `PatchbayError`. */
  readonly answer: Promise<unknown>;
  readonly address: string;
  readonly value: unknown;
  readonly timeoutMs: number;
  headers: Headers | undefined;
  readonly codec: string | undefined;
  readonly priority: number;
  readonly idempotent = true;
  readonly statistics: EndpointStatistics;
  slot: unknown = undefined;
  abandoned = false;
  running = false;
  readonly #port: CallPort;
  readonly #timers: TimerWheel;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;
  #over = false;

  constructor(port: CallPort, timers: TimerWheel, options: AskOptions) {
    super();
    this.#port = port;
    this.#timers = timers;
    this.address = options.address;
    this.value = options.value;
    this.timeoutMs = options.timeoutMs;
    this.headers = options.headers;
    this.codec = options.codec;
    this.priority = options.priority;
    this.statistics = options.statistics;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.answer.catch(() => {});
    port.start(this);
    if (!this.#over) timers.arm(this, options.untimed === true ? Infinity : this.timeoutMs);
  }

  get remainingMs(): number {
    const armed = this.wheelList !== undefined && this.wheelDelayMs !== Infinity;
    return armed ? this.#timers.remainingMs(this) : this.timeoutMs;
  }

  succeed(value: unknown): void {
    if (this.#end()) this.#resolve(value);
  }

  fail(error: unknown): void {
    if (this.#end()) this.#reject(error);
  }

  /** The answer is not wanted any longer. */
  cancel(error: PatchbayError): void {
    if (this.#over) return;
    this.#port.cancel(this);
    this.fail(error);
  }

  override expire(): void {
    this.cancel(
      new PatchbayError("deadline_exceeded", `${this.address}: no answer in ${this.timeoutMs} ms`),
    );
  }

  override discard(): void {
    this.cancel(new PatchbayError("closed", `${this.address}: the bay was closed`));
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#timers.disarm(this);
    this.#port.close();
    return true;
  }
}

/** Some time, or less: until somebody ends it or the bay closes. */
export class Wait extends TimerEntry {
  /** Resolves when it is over; never rejects. */
  readonly over: Promise<void>;
  readonly #timers: TimerWheel;
  #resolve!: () => void;

  constructor(timers: TimerWheel, ms: number) {
    super();
    this.#timers = timers;
    this.over = new Promise((resolve) => this.#resolve = resolve);
    timers.arm(this, ms);
  }

  /** Ends it now. Idempotent. */
  end(): void {
    this.#timers.disarm(this);
    this.#resolve();
  }

  override expire(): void {
    this.#resolve();
  }

  override discard(): void {
    this.#resolve();
  }
}
