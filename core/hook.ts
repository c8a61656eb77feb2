/**
 * The border to the user's hooks: what one of them throws, at once or later, is told and costs nobody
 * anything.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import type { ActiveSpan, Telemetry, TelemetryOperation } from "./telemetry.ts";

/** Gets what nobody awaits. Never throws once it was {@link guardReport}ed. */
export type Report = (error: PatchbayError) => void;

/**
 * Calls a hook of the user. Never throws.
 *
 * @param hook Calls it; a hook that was declared to return nothing may be an asynchronous function.
 * @param threw Gets what it threw, or rejected with.
 */
export function runHook(hook: () => unknown, threw: (error: unknown) => void): void {
  try {
    const result = hook();
    if (result instanceof Promise) result.catch(threw);
  } catch (error) {
    threw(error);
  }
}

/**
 * Makes the `onReport` of a user one that never throws: it is called in the middle of deliveries,
 * handshakes and timers. What it throws has nowhere else to go than the console, together with the
 * report that was lost by it.
 *
 * @param onReport The user's; without one nothing is told.
 */
export function guardReport(onReport: Report | undefined): Report {
  if (onReport === undefined) return () => {};
  return (error) => {
    runHook(() => onReport(error), (thrown) => {
      console.error(`patchbay: onReport threw; its report was ${error.code}: ${error.message}`);
      console.error(thrown);
    });
  };
}

/**
 * Makes the telemetry of a user one that never throws, and whose spans do not: a message goes on
 * without its span.
 *
 * @param telemetry The user's.
 * @param report Gets what it throws.
 */
export function guardTelemetry(telemetry: Telemetry, report: Report): Telemetry {
  const threw = (operation: TelemetryOperation) => (error: unknown) => {
    const { pattern, address, transport } = operation;
    report(PatchbayError.fromThrown(error).with({ pattern, address, transport }));
  };
  const started = (operation: TelemetryOperation, start: () => ActiveSpan): ActiveSpan => {
    try {
      return new GuardedSpan(start(), threw(operation));
    } catch (error) {
      threw(operation)(error);
      return NO_SPAN;
    }
  };
  return {
    startClient: (operation) => started(operation, () => telemetry.startClient(operation)),
    startServer: (operation, headers) =>
      started(operation, () => telemetry.startServer(operation, headers)),
  };
}

/** What goes on where no span could be started. */
const NO_SPAN: ActiveSpan = { headers: {}, run: (fn) => fn(), end: () => {} };

class GuardedSpan implements ActiveSpan {
  readonly headers: Record<string, string>;
  readonly #span: ActiveSpan;
  readonly #threw: (error: unknown) => void;

  constructor(span: ActiveSpan, threw: (error: unknown) => void) {
    this.#span = span;
    this.#threw = threw;
    this.headers = span.headers;
  }

  run<T>(fn: () => T): T {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
    runHook(() => {
      this.#span.run(() => {
        try {
          outcome = { value: fn() };
        } catch (error) {
          outcome = { error };
        }
      });
    }, this.#threw);
    // The span may have failed before it called the function.
    if (outcome === undefined) return fn();
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  event(name: string, attributes?: Record<string, string | number | boolean>): void {
    runHook(() => this.#span.event?.(name, attributes), this.#threw);
  }

  end(error?: unknown): void {
    runHook(() => this.#span.end(error), this.#threw);
  }
}
