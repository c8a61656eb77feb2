/**
 * OpenTelemetry for a bay: the {@link Telemetry} hook and the counters on `@opentelemetry/api`.
 *
 * The only file of core that imports it. Under `OTEL_DENO=true` Deno itself is the SDK.
 *
 * @module
 */

import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  createTraceState,
  metrics,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
  type TraceState,
} from "@opentelemetry/api";
import { PatchbayError } from "./errors.ts";
import { METRICS } from "./prometheus.ts";
import type { StatisticsSnapshot } from "./statistics.ts";
import {
  type ActiveSpan,
  formatTraceparent,
  parseTraceparent,
  type Telemetry,
  type TelemetryOperation,
} from "./telemetry.ts";

/** Who the spans and metrics are from, in OpenTelemetry's words: the instrumentation scope. */
const SCOPE = "@patchbay/core";

/**
 * Where a context keeps the `tracestate` that came in. W3C Trace Context §3.5 wants it passed on,
 * and Deno's own spans forget that of their parent.
 */
const INHERITED_STATE = createContextKey("patchbay: inherited tracestate");

/** What {@link openTelemetry} may be told. */
export interface OpenTelemetryOptions {
  /** Attributes that every span gets. */
  attributes?: Readonly<Record<string, string | number | boolean>>;
}

/**
 * A telemetry hook that makes OpenTelemetry spans.
 *
 * Spans are named `verb address`. Their kind is `CLIENT` / `SERVER` for callables and jobs,
 * `PRODUCER` / `CONSUMER` for speakers. They carry `rpc.system`, `rpc.method` and, of a failure,
 * its code as `error.type`. The context travels as W3C `traceparent` and `tracestate`, with or
 * without a registered propagator, and in whatever else a registered propagator writes. A handler
 * without a `traceparent` starts a trace of its own.
 *
 * With no SDK registered the API's own no-ops run and no header is sent.
 *
 * @param options Attributes to add.
 * @see https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
 *
 * @example
 * ```ts
 * import { openTelemetry } from "@patchbay/core/open-telemetry";
 *
 * const telemetry = openTelemetry({ attributes: { "service.instance.id": "left-arm" } });
 * const operation = { pattern: "callable", address: "math/add", transport: "uds" } as const;
 * const outgoing = telemetry.startClient({ ...operation, verb: "call" });
 * const incoming = telemetry.startServer({ ...operation, verb: "serve" }, outgoing.headers);
 * incoming.run(() => console.log("handling"));
 * incoming.end();
 * outgoing.end();
 * ```
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Telemetry {
  const tracer = trace.getTracer(SCOPE);
  const common = options.attributes;
  return {
    startClient: (operation) => {
      const kind = operation.pattern === "speaker" ? SpanKind.PRODUCER : SpanKind.CLIENT;
      return start(tracer, operation, kind, common, context.active());
    },
    startServer: (operation, headers) => {
      const kind = operation.pattern === "speaker" ? SpanKind.CONSUMER : SpanKind.SERVER;
      return start(tracer, operation, kind, common, extract(headers));
    },
  };
}

function start(
  tracer: Tracer,
  { pattern, verb, address, transport }: TelemetryOperation,
  kind: SpanKind,
  common: OpenTelemetryOptions["attributes"],
  parent: Context,
): ActiveSpan {
  const attributes: Attributes = {
    ...common,
    "rpc.system": "patchbay",
    "rpc.method": address,
    "patchbay.pattern": pattern,
    "patchbay.verb": verb,
    "patchbay.transport": transport,
  };
  const span = tracer.startSpan(`${verb} ${address}`, { kind, attributes }, parent);
  const own = trace.setSpan(parent, span);
  const inherited = trace.getSpanContext(parent)?.traceState;
  return new OpenTelemetrySpan(
    span,
    inherited === undefined ? own : own.setValue(INHERITED_STATE, inherited),
  );
}

class OpenTelemetrySpan implements ActiveSpan {
  readonly #span: Span;
  readonly #context: Context;
  #headers: Record<string, string> | undefined;
  #ended = false;

  constructor(span: Span, context: Context) {
    this.#span = span;
    this.#context = context;
  }

  /** Written when first asked for: few handlers answer with headers. */
  get headers(): Record<string, string> {
    return this.#headers ??= inject(this.#context);
  }

  run<T>(fn: () => T): T {
    return context.with(this.#context, fn);
  }

  event(name: string, attributes?: Record<string, string | number | boolean>): void {
    this.#span.addEvent(name, attributes);
  }

  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error !== undefined) record(this.#span, error);
    this.#span.end();
  }
}

function record(span: Span, error: unknown): void {
  const known = error instanceof Error ? error : new Error(String(error));
  span.setAttribute("error.type", known instanceof PatchbayError ? known.code : known.name);
  span.recordException(known);
  span.setStatus({ code: SpanStatusCode.ERROR, message: known.message });
}

function inject(from: Context): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(from, headers);
  const span = trace.getSpanContext(from);
  if (span === undefined) return headers;
  const traceparent = headers.traceparent ?? formatTraceparent({
    traceId: span.traceId,
    parentId: span.spanId,
    sampled: (span.traceFlags & TraceFlags.SAMPLED) !== 0,
  });
  // Without a traceparent a tracestate means nothing.
  if (traceparent === undefined) return headers;
  headers.traceparent = traceparent;
  const state = span.traceState ?? from.getValue(INHERITED_STATE) as TraceState | undefined;
  const tracestate = headers.tracestate ?? state?.serialize();
  if (tracestate) headers.tracestate = tracestate;
  return headers;
}

/** From the root, not from the current context: that of a read loop is nobody's parent. */
function extract(headers: Readonly<Record<string, string>>): Context {
  const extracted = propagation.extract(ROOT_CONTEXT, headers);
  if (trace.getSpanContext(extracted) !== undefined) return extracted;
  const parent = parseTraceparent(headers.traceparent);
  if (parent === undefined) return extracted;
  return trace.setSpanContext(extracted, {
    traceId: parent.traceId,
    spanId: parent.parentId,
    traceFlags: parent.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    traceState: headers.tracestate === undefined ? undefined : createTraceState(headers.tracestate),
    isRemote: true,
  });
}

/** What an {@link ObservableMeter} is read into: OpenTelemetry's `BatchObservableResult`. */
export interface ObservableResult {
  /** Tells one value of one instrument. */
  observe(instrument: object, value: number, attributes: Record<string, string>): void;
}

/** The part of OpenTelemetry's `Meter` that {@link exportMetrics} uses: any `Meter` is one. */
export interface ObservableMeter {
  /** Makes an instrument whose value only grows. */
  createObservableCounter(name: string, options: { description: string; unit: string }): object;
  /** Makes an instrument whose value goes both ways. */
  createObservableGauge(name: string, options: { description: string; unit: string }): object;
  /** Has the callback called whenever the instruments are collected. */
  addBatchObservableCallback(
    callback: (result: ObservableResult) => void,
    instruments: object[],
  ): void;
  /** Has it called no more. */
  removeBatchObservableCallback(
    callback: (result: ObservableResult) => void,
    instruments: object[],
  ): void;
}

/**
 * Registers every metric of `METRICS` with OpenTelemetry, under the names it has in Prometheus,
 * read only when the SDK collects: one snapshot a collection.
 *
 * The API has no asynchronous histogram, so one comes out as two counters, `…_count` and `…_sum`,
 * and as a gauge with the attribute `quantile` of 0.5 and 0.99.
 *
 * @param snapshotSource Gives the counters, such as `() => statistics.snapshot(Date.now())`.
 * @param meter The meter to use. Default: that of the globally registered provider.
 * @returns Dispose of it to unregister.
 *
 * @example
 * ```ts
 * import { Statistics } from "@patchbay/core";
 * import { exportMetrics } from "@patchbay/core/open-telemetry";
 *
 * const statistics = new Statistics();
 * using _exported = exportMetrics(() => statistics.snapshot(Date.now()));
 * ```
 */
export function exportMetrics(
  snapshotSource: () => StatisticsSnapshot,
  meter: ObservableMeter = metrics.getMeter(SCOPE),
): Disposable {
  const instruments: object[] = [];
  const made = (instrument: object) => (instruments.push(instrument), instrument);
  const readers = METRICS.map((family) => {
    const { name, unit, help: description } = family;
    if (family.type !== "histogram") {
      const create = family.type === "counter"
        ? "createObservableCounter"
        : "createObservableGauge";
      const instrument = made(meter[create](name, { description, unit }));
      return (snapshot: StatisticsSnapshot, result: ObservableResult) => {
        for (const { labels, value } of family.samples(snapshot)) {
          result.observe(instrument, value, labels);
        }
      };
    }
    const count = made(
      meter.createObservableCounter(`${name}_count`, { description, unit: "{sample}" }),
    );
    const sum = made(meter.createObservableCounter(`${name}_sum`, { description, unit }));
    const quantile = made(meter.createObservableGauge(name, { description, unit }));
    return (snapshot: StatisticsSnapshot, result: ObservableResult) => {
      for (const { labels, value } of family.samples(snapshot)) {
        result.observe(count, value.count, labels);
        result.observe(sum, value.sum, labels);
        result.observe(quantile, value.p50, { ...labels, quantile: "0.5" });
        result.observe(quantile, value.p99, { ...labels, quantile: "0.99" });
      }
    };
  });
  const collect = (result: ObservableResult) => {
    const snapshot = snapshotSource();
    for (const read of readers) read(snapshot, result);
  };
  meter.addBatchObservableCallback(collect, instruments);
  return {
    [Symbol.dispose]: () => meter.removeBatchObservableCallback(collect, instruments),
  };
}
