/**
 * The metrics of a bay: which there are, and their Prometheus text form.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import {
  DURATION_SCALE,
  type HistogramScale,
  type HistogramSnapshot,
  SIZE_SCALE,
} from "./histogram.ts";
import type {
  BridgeSnapshot,
  EndpointSnapshot,
  HealthStatus,
  StatisticsSnapshot,
  TransportSnapshot,
} from "./statistics.ts";

/** One value of a metric and what it is the value of. */
export interface MetricSample<Value = number> {
  /** Label names and values. */
  labels: Record<string, string>;
  /** The value. */
  value: Value;
}

/** A metric that is a number. */
export interface NumberFamily {
  /** Its name, in Prometheus and in OpenTelemetry. */
  readonly name: string;
  /** Whether it only grows. */
  readonly type: "counter" | "gauge";
  /** What it counts, in a sentence. */
  readonly help: string;
  /** Its unit in UCUM, as OpenTelemetry wants it. */
  readonly unit: string;
  /** Its values in a snapshot. */
  samples(snapshot: StatisticsSnapshot): MetricSample[];
}

/** A metric that is a distribution. */
export interface HistogramFamily {
  /** Its name, in Prometheus and in OpenTelemetry. */
  readonly name: string;
  /** Always `"histogram"`. */
  readonly type: "histogram";
  /** What it measures, in a sentence. */
  readonly help: string;
  /** Its unit in UCUM, as OpenTelemetry wants it. */
  readonly unit: string;
  /** Where its buckets lie. */
  readonly scale: HistogramScale;
  /** How many powers of two one written bucket spans. */
  readonly octaves: number;
  /** Its values in a snapshot. */
  samples(
    snapshot: StatisticsSnapshot,
  ): MetricSample<HistogramSnapshot & { p50: number; p99: number }>[];
}

/** The content type of {@link prometheusText}. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const HEALTH: Readonly<Record<HealthStatus, number>> = { healthy: 1, degraded: 0.5, down: 0 };

// A page that never asks for them need not carry them: hence the note for bundlers.
/** The metrics, in the order in which they are written. */
export const METRICS: readonly (NumberFamily | HistogramFamily)[] = /* @__PURE__ */ (() => [
  {
    name: "patchbay_calls_total",
    type: "counter",
    help: "Calls and jobs started (client) or handled (server). Exact.",
    unit: "{call}",
    samples: endpoints((e) => e.pattern === "speaker" ? [] : [[{}, e.calls]]),
  },
  {
    name: "patchbay_pending",
    type: "gauge",
    help: "Calls and jobs in flight now.",
    unit: "{call}",
    samples: endpoints((e) => e.pattern === "speaker" ? [] : [[{}, e.pending]]),
  },
  {
    name: "patchbay_feedback_total",
    type: "counter",
    help: "Feedback messages of jobs. Exact.",
    unit: "{message}",
    samples: endpoints((e) => e.pattern === "job" ? [[{}, e.feedback]] : []),
  },
  {
    name: "patchbay_call_duration_seconds",
    type: "histogram",
    help:
      "Durations of calls, jobs and handlers, sampled 1 in 64: _count counts samples, not calls.",
    unit: "s",
    scale: DURATION_SCALE,
    octaves: 1,
    samples: endpoints((e) => e.durations === undefined ? [] : [[{}, e.durations]]),
  },
  {
    name: "patchbay_errors_total",
    type: "counter",
    help: "Failures by error code. Exact.",
    unit: "{error}",
    samples: endpoints((e) => labelled("code", e.errors)),
  },
  {
    name: "patchbay_messages_total",
    type: "counter",
    help: "Messages of an endpoint. Exact.",
    unit: "{message}",
    samples: endpoints((e) => inAndOut(e.messagesIn, e.messagesOut)),
  },
  {
    name: "patchbay_bytes_total",
    type: "counter",
    help: "Payload bytes of an endpoint; 0 on wires that pass references. Exact.",
    unit: "By",
    samples: endpoints((e) => inAndOut(e.bytesIn, e.bytesOut)),
  },
  {
    name: "patchbay_message_size_bytes",
    type: "histogram",
    help: "Payload sizes, sampled 1 in 64: _count counts samples, not messages.",
    unit: "By",
    scale: SIZE_SCALE,
    octaves: 2,
    samples: endpoints((e) => e.sizes === undefined ? [] : [[{}, e.sizes]]),
  },
  {
    name: "patchbay_drops_total",
    type: "counter",
    help: "Messages not delivered, by reason. Exact.",
    unit: "{message}",
    samples: endpoints((e) => labelled("reason", e.drops)),
  },
  {
    name: "patchbay_last_activity_timestamp_seconds",
    type: "gauge",
    help: "When a counter was last seen to have moved, as fine as the looks at it.",
    unit: "s",
    samples: endpoints((e) => e.lastActivityMs === null ? [] : [[{}, e.lastActivityMs / 1000]]),
  },
  {
    name: "patchbay_transport_messages_total",
    type: "counter",
    help: "Messages of a transport, control included. Exact.",
    unit: "{message}",
    samples: transports((t) => inAndOut(t.messagesIn, t.messagesOut)),
  },
  {
    name: "patchbay_transport_bytes_total",
    type: "counter",
    help: "Bytes of a transport, framing included. Exact.",
    unit: "By",
    samples: transports((t) => inAndOut(t.bytesIn, t.bytesOut)),
  },
  {
    name: "patchbay_transport_errors_total",
    type: "counter",
    help: "Failures of a transport itself, by error code. Exact.",
    unit: "{error}",
    samples: transports((t) => labelled("code", t.errors)),
  },
  {
    name: "patchbay_transport_drops_total",
    type: "counter",
    help: "Messages a transport dropped before they had an endpoint, by reason. Exact.",
    unit: "{message}",
    samples: transports((t) => labelled("reason", t.drops)),
  },
  {
    name: "patchbay_reconnections_total",
    type: "counter",
    help: "Connections made again after a loss. Exact.",
    unit: "{connection}",
    samples: transports((t) => [[{}, t.reconnections]]),
  },
  {
    name: "patchbay_retries_total",
    type: "counter",
    help: "Calls started again by the retry layer. Exact.",
    unit: "{call}",
    samples: transports((t) => [[{}, t.retries]]),
  },
  {
    name: "patchbay_connections",
    type: "gauge",
    help: "Connections open now.",
    unit: "{connection}",
    samples: transports((t) => [[{}, t.connections]]),
  },
  {
    name: "patchbay_health",
    type: "gauge",
    help: "How a transport does: 1 healthy, 0.5 degraded, 0 down.",
    unit: "1",
    samples: transports((t) => [[{}, HEALTH[t.health]]]),
  },
  {
    name: "patchbay_bridge_carried_total",
    type: "counter",
    help: "Calls, shouts, jobs and feedback that a bridge has carried. Exact.",
    unit: "{message}",
    samples: bridges(({ calls, shouts, jobs, feedback }) =>
      labelled("what", { calls, shouts, jobs, feedback })
    ),
  },
  {
    name: "patchbay_bridge_pending",
    type: "gauge",
    help: "Calls and jobs in flight over a bridge now.",
    unit: "{call}",
    samples: bridges((b) => [[{}, b.pending]]),
  },
  {
    name: "patchbay_bridge_offers",
    type: "gauge",
    help: "Addresses that a bridge offers on its far wire now.",
    unit: "{address}",
    samples: bridges((b) => [[{}, b.offers]]),
  },
  {
    name: "patchbay_bridge_errors_total",
    type: "counter",
    help: "Calls and jobs that failed over a bridge, by error code. Exact.",
    unit: "{error}",
    samples: bridges((b) => labelled("code", b.errors)),
  },
  {
    name: "patchbay_bridge_drops_total",
    type: "counter",
    help: "Messages that a bridge did not carry, by reason. Exact.",
    unit: "{message}",
    samples: bridges((b) => labelled("reason", b.drops)),
  },
])();

/** What {@link prometheusText} may be told. */
export interface PrometheusOptions {
  /** Labels that every sample gets, such as the module's name. */
  labels?: Readonly<Record<string, string>>;
}

/** Names that the metrics themselves use. */
const OWN_LABELS: ReadonlySet<string> = new Set(
  [
    "pattern",
    "role",
    "address",
    "transport",
    "direction",
    "code",
    "reason",
    "le",
    "from",
    "to",
    "what",
  ],
);

/**
 * The counters in Prometheus' text exposition format 0.0.4; serve it as
 * {@link PROMETHEUS_CONTENT_TYPE}.
 *
 * Every metric has its HELP and TYPE once; one without values is left out. The `le` bounds never
 * change: durations have every power of two of their scale, sizes every second one.
 *
 * @param snapshot What `Statistics.snapshot` gave.
 * @param options Labels to add.
 * @throws {PatchbayError} `invalid`: a label's name is not Prometheus' or taken by the metrics.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 *
 * @example
 * ```ts
 * import { prometheusText, Statistics } from "@patchbay/core";
 *
 * const statistics = new Statistics();
 * statistics.endpoint("callable", "server", "math/add", "uds").calls = 3;
 * const text = prometheusText(statistics.snapshot(Date.now()), { labels: { module: "math" } });
 * const line = 'patchbay_calls_total{module="math",pattern="callable",role="server",' +
 *   'address="math/add",transport="uds"} 3';
 * if (!text.split("\n").includes(line)) throw new Error("unexpected");
 * ```
 */
export function prometheusText(
  snapshot: StatisticsSnapshot,
  options: PrometheusOptions = {},
): string {
  const common = options.labels ?? {};
  for (const name of Object.keys(common)) {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name.startsWith("__") || OWN_LABELS.has(name)) {
      throw new PatchbayError(
        "invalid",
        `labels: ${JSON.stringify(name)} cannot be a label's name`,
        {
          remedy: `use letters, digits and _, not "__…" and not ${[...OWN_LABELS].join(", ")}`,
        },
      );
    }
  }
  const prefix = labelText(common);
  const lines: string[] = [];
  for (const family of METRICS) {
    const values = family.type === "histogram"
      ? histogramLines(family, snapshot, prefix)
      : family.samples(snapshot).map(({ labels, value }) =>
        `${family.name}{${joined(prefix, labelText(labels))}} ${numberText(value)}`
      );
    if (values.length === 0) continue;
    const help = family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    lines.push(`# HELP ${family.name} ${help}`, `# TYPE ${family.name} ${family.type}`);
    for (const value of values) lines.push(value);
  }
  return lines.length === 0 ? "" : lines.join("\n") + "\n";
}

function histogramLines(
  family: HistogramFamily,
  snapshot: StatisticsSnapshot,
  prefix: string,
): string[] {
  const { lowest, highest } = family.scale;
  const bounds: { le: number; tail: string }[] = [];
  for (let octave = lowest; octave <= highest; octave += family.octaves) {
    bounds.push({ le: 2 ** octave, tail: `,le="${numberText(2 ** octave)}"} ` });
  }
  const lines: string[] = [];
  for (const { labels, value } of family.samples(snapshot)) {
    const text = joined(prefix, labelText(labels));
    const bucket = `${family.name}_bucket{${text}`;
    let i = 0;
    let below = 0;
    for (const { le, tail } of bounds) {
      for (; i < value.bounds.length && value.bounds[i] <= le; i++) below += value.counts[i];
      lines.push(bucket + tail + below);
    }
    lines.push(
      `${bucket},le="+Inf"} ${value.count}`,
      `${family.name}_sum{${text}} ${numberText(value.sum)}`,
      `${family.name}_count{${text}} ${value.count}`,
    );
  }
  return lines;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`).join(",");
}

function joined(prefix: string, labels: string): string {
  return prefix === "" ? labels : `${prefix},${labels}`;
}

/** Exposition formats, "Comments, help text, and type information": `\`, `"` and line feed only. */
function escaped(value: string): string {
  return String(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** As Go's ParseFloat reads it. */
function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

type Labelled<Value> = [labels: Record<string, string>, value: Value][];

function endpoints<Value>(
  read: (endpoint: EndpointSnapshot) => Labelled<Value>,
): (snapshot: StatisticsSnapshot) => MetricSample<Value>[] {
  return (snapshot) =>
    snapshot.endpoints.flatMap((endpoint) => {
      const { pattern, role, address, transport } = endpoint;
      return read(endpoint).map(([more, value]) => ({
        labels: { pattern, role, address, transport, ...more },
        value,
      }));
    });
}

function transports<Value>(
  read: (transport: TransportSnapshot) => Labelled<Value>,
): (snapshot: StatisticsSnapshot) => MetricSample<Value>[] {
  return (snapshot) =>
    snapshot.transports.flatMap((transport) =>
      read(transport).map(([more, value]) => ({
        labels: { transport: transport.name, ...more },
        value,
      }))
    );
}

function bridges<Value>(
  read: (bridge: BridgeSnapshot) => Labelled<Value>,
): (snapshot: StatisticsSnapshot) => MetricSample<Value>[] {
  return (snapshot) =>
    (snapshot.bridges ?? []).flatMap((bridge) =>
      read(bridge).map(([more, value]) => ({
        labels: { from: bridge.from, to: bridge.to, ...more },
        value,
      }))
    );
}

function inAndOut(incoming: number, outgoing: number): Labelled<number> {
  return [[{ direction: "in" }, incoming], [{ direction: "out" }, outgoing]];
}

function labelled(name: string, counts: Readonly<Record<string, number>>): Labelled<number> {
  return Object.entries(counts).map(([key, n]) => [{ [name]: key }, n]);
}
