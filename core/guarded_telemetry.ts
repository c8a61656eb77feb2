/**
 * The border to the user's telemetry, as `core/hook.ts` is to other hooks; loaded where there is one.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import { type Report, runHook } from "./hook.ts";
import type { ActiveSpan, Telemetry, TelemetryOperation } from "./telemetry.ts";

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
