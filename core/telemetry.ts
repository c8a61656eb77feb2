/**
 * The hook through which core reports spans, and the trace context that travels in headers.
 *
 * @module
 */

import type { Pattern } from "./errors.ts";

/** What a span is about. */
export interface TelemetryOperation {
  /** The pattern in use. */
  readonly pattern: Pattern;
  /** What this side does: `call`, `serve`, `shout`, `listen`, `perform`, `execute` or `cancel`. */
  readonly verb: string;
  /** The address it is done to. */
  readonly address: string;
  /** The wire it goes over, by plugin name. */
  readonly transport: string;
}

/**
 * What core asks of a tracer. With none set it costs one branch.
 *
 * Neither method may throw. `@patchbay/core/open-telemetry` is the implementation for
 * OpenTelemetry; a log line can be another.
 *
 * @example
 * ```ts
 * import type { Telemetry, TelemetryOperation } from "@patchbay/core";
 *
 * function started({ verb, address }: TelemetryOperation) {
 *   return {
 *     headers: {},
 *     run: <T>(fn: () => T): T => fn(),
 *     end: (error?: unknown) => console.log(verb, address, error === undefined ? "ok" : "failed"),
 *   };
 * }
 * const telemetry: Telemetry = { startClient: started, startServer: started };
 * telemetry.startClient({
 *   pattern: "callable",
 *   verb: "call",
 *   address: "math/add",
 *   transport: "uds",
 * }).end();
 * ```
 */
export interface Telemetry {
  /**
   * Starts a span for an operation that this side begins.
   *
   * @param operation What it is about.
   * @returns The span; its `headers` are to travel with the message.
   */
  startClient(operation: TelemetryOperation): ActiveSpan;
  /**
   * Starts the span of a handler.
   *
   * @param operation What it is about.
   * @param headers The headers that came in, in lower case; `traceparent` among them names the parent.
   */
  startServer(
    operation: TelemetryOperation,
    headers: Readonly<Record<string, string>>,
  ): ActiveSpan;
}

/** A span that has started and not ended. */
export interface ActiveSpan {
  /** What carries this span to the other side: `traceparent`, `tracestate`, what else is set up. */
  readonly headers: Record<string, string>;
  /**
   * Runs a function with this span as the current one, its asynchronous continuations included.
   *
   * @param fn The function.
   * @returns What the function returned.
   */
  run<T>(fn: () => T): T;
  /**
   * Notes that something happened: a retry, a feedback.
   *
   * @param name What happened.
   * @param attributes Facts about it.
   */
  event?(name: string, attributes?: Record<string, string | number | boolean>): void;
  /**
   * Ends the span; a second time does nothing.
   *
   * @param error Why the operation failed, if it did.
   */
  end(error?: unknown): void;
}

/** Where in which trace a message belongs: W3C Trace Context §3.2.2. */
export interface TraceParent {
  /** 32 lower-case hex digits, not all zero (§3.2.2.3). */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero (§3.2.2.4): the span of the sender. */
  readonly parentId: string;
  /** Whether the sender may have recorded its span (§3.2.2.5.1). */
  readonly sampled: boolean;
}

/** The fields of version 00, and behind them what a later version may add (§3.2.4). */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
const ALL_ZERO = /^0+$/;

/**
 * Reads a `traceparent` header by W3C Trace Context (Recommendation, 2021-11-23) §3.2.2.
 *
 * Strict and total: whatever is not exactly of the format gives `undefined` and the trace starts
 * anew, as §3.2.2.3 asks. A version above 00 is read by its first four fields (§3.2.4).
 *
 * @param header The header's value.
 *
 * @example
 * ```ts
 * import { formatTraceparent, parseTraceparent } from "@patchbay/core";
 *
 * const header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
 * const parent = parseTraceparent(header);
 * if (parent === undefined || formatTraceparent(parent) !== header) throw new Error("unexpected");
 * ```
 */
export function parseTraceparent(header: string | undefined): TraceParent | undefined {
  const match = typeof header === "string" ? TRACEPARENT.exec(header) : null;
  if (match === null) return undefined;
  const [, version, traceId, parentId, flags, more] = match;
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (ALL_ZERO.test(traceId) || ALL_ZERO.test(parentId)) return undefined;
  return { traceId, parentId, sampled: (parseInt(flags, 16) & 1) === 1 };
}

/**
 * Writes a `traceparent` header of version 00, by W3C Trace Context §3.2.2. Never throws.
 *
 * @param parent Where the message belongs.
 * @returns `undefined` when the identifiers are not valid: such a header must not be sent.
 */
export function formatTraceparent(parent: TraceParent): string | undefined {
  // §3.2.2.5.2: all flags but the sampled one are sent as zero.
  const header = `00-${parent.traceId}-${parent.parentId}-${parent.sampled ? "01" : "00"}`;
  return parseTraceparent(header) === undefined ? undefined : header;
}
