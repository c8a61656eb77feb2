/**
 * The retry layer: starts calls again that failed and may be repeated.
 *
 * @module
 */

import type { OutboundCall, ServerSchemas } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import { type Layer, wrapTransport } from "../layer.ts";
import type { CallPort } from "../plugin.ts";
import type { TransportStatistics } from "../statistics.ts";
import { TimerEntry, type TimerWheel } from "../timer_wheel.ts";
import { ForwardedCall } from "./forwarded.ts";

/** How {@link retry} goes about it. */
export interface RetryOptions {
  /** How often a call is started in all. Default 3. */
  attempts?: number;
  /** The longest first pause, in milliseconds; the bound doubles with each attempt. Default 50. */
  minMs?: number;
  /** The longest pause of all, in milliseconds. Default 2000. */
  maxMs?: number;
  /** Where in the pause's range it falls: 0–1. Default `Math.random`; tests give their own. */
  random?: () => number;
}

/**
 * A layer that starts a call again when its contract says `idempotent` and its error says
 * `retryable`; never another one, and neither jobs nor shouts.
 *
 * The pause before attempt n + 1 is a random part of `minMs · 2ⁿ⁻¹`, at most `maxMs` (exponential
 * back-off with full jitter). A pause that would outlast the caller's deadline is not begun: the
 * call then fails at once, with the error of the last attempt. Each attempt takes the same wire and
 * looks anew for the server. Attempts after the first are counted as
 * {@link TransportStatistics.retries}. Aborting the call and closing the bay end a pause at once.
 *
 * @param options How often, and with which pauses.
 * @throws {PatchbayError} `invalid`: an option out of its range.
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 *
 * @example
 * ```ts
 * import { defineCallable, Patchbay, PatchbayError, retry } from "@patchbay/core";
 * import inProcess from "@patchbay/in_process";
 *
 * const Read = defineCallable<null, string>({ address: "gauge/read", idempotent: true });
 * await using bay = await Patchbay.open({
 *   plugins: [inProcess],
 *   layers: [retry({ attempts: 4, minMs: 5 })],
 * });
 * let asked = 0;
 * await bay.serve(Read, () => {
 *   if (++asked < 3) throw new PatchbayError("unavailable", "the gauge is warming up");
 *   return "21 °C";
 * });
 * console.log(await bay.call(Read, null), "after", asked, "attempts");
 * ```
 */
export function retry(options: RetryOptions = {}): Layer {
  const { attempts = 3, minMs = 50, maxMs = 2000, random = Math.random } = options;
  if (!(Number.isInteger(attempts) && attempts >= 1)) {
    throw new PatchbayError("invalid", `retry: attempts ${attempts} is no whole number from 1 on`);
  }
  if (!(minMs >= 0 && maxMs >= minMs)) {
    throw new PatchbayError("invalid", `retry: minMs ${minMs} and maxMs ${maxMs} are no range`, {
      remedy: "give 0 <= minMs <= maxMs, in milliseconds",
    });
  }
  return (transport, { timers, statistics }) => {
    const pauses: Pauses = {
      timers,
      statistics,
      attempts,
      begun: new Set(),
      closed: false,
      pauseMs: (attempt) => random() * Math.min(maxMs, minMs * 2 ** (attempt - 1)),
    };
    return wrapTransport(transport, {
      caller: (address, next) => new RetryPort(() => next(address), pauses),
      close: (next) => {
        pauses.closed = true;
        for (const pause of pauses.begun) pause.discard();
        return next();
      },
    });
  };
}

/** What the calls over one transport have in common. */
interface Pauses {
  readonly timers: TimerWheel;
  readonly statistics: TransportStatistics;
  readonly attempts: number;
  /** The pauses that have not ended. */
  readonly begun: Set<Pause>;
  closed: boolean;
  /** How long to wait after an attempt, in milliseconds. */
  pauseMs(attempt: number): number;
}

class RetryPort implements CallPort {
  readonly #bind: () => CallPort;
  readonly #port: CallPort;
  readonly #pauses: Pauses;

  constructor(bind: () => CallPort, pauses: Pauses) {
    this.#bind = bind;
    this.#port = bind();
    this.#pauses = pauses;
  }

  get contract(): ServerSchemas | undefined {
    return this.#port.contract;
  }

  start(call: OutboundCall): void {
    if (!call.idempotent) return this.#port.start(call);
    const retried = new RetriedCall(call, this.#port, this.#bind, this.#pauses);
    call.slot = retried;
    this.#port.start(retried);
  }

  cancel(call: OutboundCall): void {
    if (!call.idempotent) return this.#port.cancel(call);
    (call.slot as RetriedCall).cancel();
  }

  close(): void {
    this.#port.close();
  }
}

class RetriedCall extends ForwardedCall {
  readonly #first: CallPort;
  readonly #bind: () => CallPort;
  readonly #pauses: Pauses;
  #port: CallPort;
  #attempt = 1;
  #pause: Pause | undefined = undefined;
  #over = false;

  constructor(call: OutboundCall, first: CallPort, bind: () => CallPort, pauses: Pauses) {
    super(call);
    this.#first = this.#port = first;
    this.#bind = bind;
    this.#pauses = pauses;
  }

  override succeed(value: unknown): void {
    if (this.#end()) super.succeed(value);
  }

  override fail(error: unknown): void {
    if (this.#over || this.#pause !== undefined) return;
    const pauses = this.#pauses;
    const again = error instanceof PatchbayError && error.retryable && !pauses.closed &&
      this.#attempt < pauses.attempts;
    const pauseMs = again ? pauses.pauseMs(this.#attempt) : Infinity;
    if (pauseMs >= this.remainingMs || !again) return this.giveUp(error);
    this.#pause = new Pause(this, error);
    pauses.begun.add(this.#pause);
    pauses.timers.arm(this.#pause, pauseMs);
  }

  /** The caller has given up. */
  cancel(): void {
    const waits = this.#pause !== undefined;
    const port = this.#port;
    if (!waits) port.cancel(this);
    this.#end();
  }

  /** The pause is over. */
  again(error: PatchbayError): void {
    this.#endPause();
    this.#leavePort();
    // A server may have gone and come back: the port knows the one that was there.
    const port = this.#bind();
    const { request, response } = this.#first.contract ?? {};
    if (port.contract?.request !== request || port.contract?.response !== response) {
      // Who validates what was settled when the call began: it cannot go on with another contract.
      port.close();
      return this.giveUp(error);
    }
    this.#port = port;
    this.#attempt++;
    this.#pauses.statistics.retries++;
    port.start(this);
  }

  giveUp(error: unknown): void {
    if (this.#end()) super.fail(error);
  }

  /** Frees what the call holds here; false if it had ended already. */
  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#endPause();
    this.#leavePort();
    return true;
  }

  #endPause(): void {
    if (this.#pause === undefined) return;
    this.#pauses.timers.disarm(this.#pause);
    this.#pauses.begun.delete(this.#pause);
    this.#pause = undefined;
  }

  /** The first port is the caller's; the others were bound for one attempt. */
  #leavePort(): void {
    if (this.#port !== this.#first) this.#port.close();
    this.#port = this.#first;
  }
}

/** The time between two attempts. */
class Pause extends TimerEntry {
  readonly #call: RetriedCall;
  readonly #error: PatchbayError;

  constructor(call: RetriedCall, error: PatchbayError) {
    super();
    this.#call = call;
    this.#error = error;
  }

  override expire(): void {
    this.#call.again(this.#error);
  }

  override discard(): void {
    this.#call.giveUp(
      new PatchbayError("closed", `${this.#call.address}: the bay was closed`, {
        cause: this.#error,
      }),
    );
  }
}
