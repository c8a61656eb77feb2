import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { metrics, propagation, SpanKind } from "@opentelemetry/api";
import { PatchbayError } from "./errors.ts";
import { exportMetrics, openTelemetry } from "./open_telemetry.ts";
import { Statistics } from "./statistics.ts";
import { parseTraceparent } from "./telemetry.ts";

const call = { pattern: "callable", verb: "call", address: "math/add", transport: "uds" } as const;
const serve = { ...call, verb: "serve" } as const;
const shout = {
  pattern: "speaker",
  verb: "shout",
  address: "math/log",
  transport: "redis",
} as const;

function counted(): Statistics {
  const statistics = new Statistics();
  const server = statistics.endpoint("callable", "server", "math/add", "uds");
  server.calls = 130;
  server.countError("remote");
  server.observeDuration(0.5);
  server.observeDuration(0.25);
  statistics.transport("uds").connections = 3;
  return statistics;
}

/** What the child process does under OTEL_DENO: Deno is the SDK, nothing of it is ours. */
async function emit() {
  using _exported = exportMetrics(() => counted().snapshot(Date.now()));
  const telemetry = openTelemetry({ attributes: { "test.common": "yes" } });
  const outgoing = telemetry.startClient(call);
  const incoming = telemetry.startServer(serve, {
    ...outgoing.headers,
    tracestate: "congo=t61rcWkgMzE",
  });
  await incoming.run(async () => {
    await Promise.resolve();
    const nested = telemetry.startClient(shout);
    const nestedAgain = nested.run(() => telemetry.startClient(call));
    console.log(JSON.stringify([nested.headers, nestedAgain.headers, propagation.fields()]));
    nested.end();
  });
  incoming.event?.("retry", { attempt: 2 });
  incoming.end(new PatchbayError("overloaded", "64 calls are running"));
  incoming.end();
  outgoing.end();
  telemetry.startServer({ ...shout, verb: "listen" }, { traceparent: "not one" }).end(
    new RangeError("far"),
  );
  // Deno reads observable metrics by the clock, not at exit: stay until the parent has seen them.
  await Deno.stdin.read(new Uint8Array(1));
}

if (import.meta.main && Deno.args[0] === "emit") await emit();

// deno-lint-ignore no-explicit-any -- OTLP's JSON, read field by field
type Otlp = any;

/** Runs `emit` in a child process and gives what arrived at an OTLP receiver. */
async function received(
  propagators: string,
): Promise<{ spans: Otlp[]; metrics: Map<string, Otlp>; printed: string }> {
  const spans: Otlp[] = [];
  const metrics = new Map<string, Otlp>();
  const allMetrics = Promise.withResolvers<void>();
  await using receiver = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const body: Otlp = await request.json();
      for (const resource of body.resourceSpans ?? []) {
        for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      }
      for (const resource of body.resourceMetrics ?? []) {
        for (const scope of resource.scopeMetrics) {
          for (const metric of scope.metrics) metrics.set(metric.name, metric);
        }
      }
      if (metrics.has("patchbay_health")) allMetrics.resolve();
      return new Response("{}", { headers: { "content-type": "application/json" } });
    },
  );
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", fileURLToPath(import.meta.url), "emit"],
    env: {
      OTEL_DENO: "true",
      OTEL_DENO_CONSOLE: "ignore",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.addr.port}`,
      OTEL_METRIC_EXPORT_INTERVAL: "20",
      OTEL_PROPAGATORS: propagators,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const watchdog = setTimeout(() => child.kill(), 60_000);
  const printed = child.stdout.text();
  const exited = child.status.then(() => assert.ok(metrics.has("patchbay_health"), "no metrics"));
  try {
    await Promise.race([allMetrics.promise, exited]);
    await child.stdin.close();
    assert.ok((await child.status).success);
  } finally {
    clearTimeout(watchdog);
  }
  return { spans, metrics, printed: await printed };
}

const attributes = (of: Otlp): Record<string, unknown> =>
  Object.fromEntries(
    of.attributes.map(({ key, value }: Otlp) => [key, Object.values(value)[0]]),
  );

Deno.test("open telemetry: one trace links caller and handler, through Deno's exporter", async () => {
  await exported("tracecontext,baggage");
});

Deno.test("open telemetry: the context travels without a registered propagator too", async () => {
  await exported("none");
});

async function exported(propagators: string) {
  const { spans, metrics, printed } = await received(propagators);
  const named = (name: string) => {
    const found = spans.find((span) => span.name === name);
    assert.ok(found, `${name} among ${spans.map((span) => span.name)}`);
    return found;
  };
  const [client, server, nested, orphan] = [
    "call math/add",
    "serve math/add",
    "shout math/log",
    "listen math/log",
  ].map(named);
  assert.equal(spans.length, 4, "a span that did not end is not exported, one ended twice once");

  assert.equal(client.parentSpanId, "");
  assert.equal(server.traceId, client.traceId);
  assert.equal(server.parentSpanId, client.spanId);
  assert.equal(nested.traceId, client.traceId);
  assert.equal(nested.parentSpanId, server.spanId);
  assert.notEqual(orphan.traceId, client.traceId);
  assert.equal(orphan.parentSpanId, "");

  // OTLP's SpanKind is one more than the API's: 0 is unspecified.
  assert.equal(client.kind, SpanKind.CLIENT + 1);
  assert.equal(server.kind, SpanKind.SERVER + 1);
  assert.equal(nested.kind, SpanKind.PRODUCER + 1);
  assert.equal(orphan.kind, SpanKind.CONSUMER + 1);

  assert.deepEqual(attributes(client), {
    "test.common": "yes",
    "rpc.system": "patchbay",
    "rpc.method": "math/add",
    "patchbay.pattern": "callable",
    "patchbay.verb": "call",
    "patchbay.transport": "uds",
  });
  assert.deepEqual(client.status, { message: "", code: 0 });
  assert.equal(attributes(server)["error.type"], "overloaded");
  assert.deepEqual(server.status, { message: "64 calls are running", code: 2 });
  assert.deepEqual(server.events.map((event: Otlp) => event.name), ["retry", "exception"]);
  assert.equal(attributes(orphan)["error.type"], "RangeError");

  const [headers, again, fields] = JSON.parse(printed);
  assert.equal(fields.includes("traceparent"), propagators !== "none");
  assert.deepEqual(parseTraceparent(headers.traceparent), {
    traceId: client.traceId,
    parentId: nested.spanId,
    sampled: true,
  });
  assert.equal(headers.tracestate, "congo=t61rcWkgMzE");
  assert.equal(again.tracestate, "congo=t61rcWkgMzE");

  const points = (name: string): Otlp[] => {
    const metric = metrics.get(name);
    assert.ok(metric, `${name} among ${[...metrics.keys()]}`);
    return (metric.sum ?? metric.gauge).dataPoints;
  };
  const [calls] = points("patchbay_calls_total");
  assert.equal(Number(calls.asInt ?? calls.asDouble), 130);
  assert.equal(attributes(calls).address, "math/add");
  assert.equal(metrics.get("patchbay_calls_total").sum.isMonotonic, true);
  assert.equal(attributes(points("patchbay_errors_total")[0]).code, "remote");
  assert.equal(Number(points("patchbay_call_duration_seconds_count")[0].asDouble), 2);
  assert.equal(Number(points("patchbay_call_duration_seconds_sum")[0].asDouble), 0.75);
  assert.deepEqual(
    points("patchbay_call_duration_seconds").map((point) => attributes(point).quantile).sort(),
    ["0.5", "0.99"],
  );
}

Deno.test("open telemetry: without an SDK nothing is sent and nothing fails", () => {
  const telemetry = openTelemetry();
  const span = telemetry.startClient(call);
  assert.deepEqual(span.headers, {});
  assert.equal(span.run(() => 7), 7);
  span.event?.("retry");
  span.end("not even an error");
  const server = telemetry.startServer(serve, {});
  assert.throws(() => server.run(() => assert.fail("thrown through")), /thrown through/);
  server.end();
  exportMetrics(() => assert.fail("nobody collects"))[Symbol.dispose]();
  // Any Meter of the API is accepted as it is.
  exportMetrics(() => assert.fail("nobody collects"), metrics.getMeter("mine"));
});
