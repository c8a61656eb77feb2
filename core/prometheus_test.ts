import assert from "node:assert/strict";
import fc from "fast-check";
import parsePrometheusTextFormat from "npm:parse-prometheus-text-format@1.1.1";
import { METRICS, prometheusText } from "./prometheus.ts";
import { Statistics } from "./statistics.ts";

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/;

/** Reads the format more strictly than Prometheus does, and fails on the first thing amiss. */
function parseStrictly(text: string): Map<string, Sample[]> {
  assert.ok(text === "" || text.endsWith("\n"), "the last line must end");
  const families = new Map<string, Sample[]>();
  const types = new Map<string, string>();
  const seen = new Set<string>();
  let current = "";
  let helped = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const head = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (head?.[1] === "HELP") {
      assert.ok(!types.has(head[2]), `${head[2]} is described twice`);
      helped = head[2];
      continue;
    }
    if (head?.[1] === "TYPE") {
      assert.equal(head[2], helped, "TYPE follows HELP");
      assert.match(head[3], /^(counter|gauge|histogram)$/);
      current = head[2];
      types.set(current, head[3]);
      families.set(current, []);
      continue;
    }
    const match = LINE.exec(line);
    assert.ok(match, `not a sample: ${line}`);
    const [, name, braces = "", value] = match;
    const suffix = types.get(current) === "histogram" ? /^(_bucket|_sum|_count)$/ : /^$/;
    assert.ok(name.startsWith(current), `${name} outside its family`);
    assert.match(name.slice(current.length), suffix);
    if (types.get(current) === "counter") assert.ok(name.endsWith("_total"));
    assert.ok(!seen.has(name + braces), `twice: ${line}`);
    seen.add(name + braces);
    const labels: Record<string, string> = {};
    for (const [, key, raw] of braces.matchAll(/([a-zA-Z_0-9]+)="((?:[^"\\]|\\.)*)"/g)) {
      assert.ok(!(key in labels), `label twice: ${line}`);
      labels[key] = raw.replace(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    }
    assert.ok(value === "+Inf" || !Number.isNaN(Number(value)), `not a number: ${line}`);
    families.get(current)!.push({ name, labels, value: Number(value.replace("+Inf", "Infinity")) });
  }
  for (const [family, type] of types) {
    assert.ok(families.get(family)!.length > 0, `${family} is empty`);
    if (type === "histogram") checkHistograms(family, families.get(family)!);
  }
  return families;
}

function checkHistograms(family: string, samples: Sample[]) {
  const groups = Map.groupBy(samples, ({ labels: { le: _, ...rest } }) => JSON.stringify(rest));
  for (const group of groups.values()) {
    const buckets = group.filter((sample) => sample.name === `${family}_bucket`);
    const bounds = buckets.map((bucket) => Number(bucket.labels.le.replace("+Inf", "Infinity")));
    assert.deepEqual(
      bounds,
      Float64Array.from(bounds).sort().reduce<number[]>((a, b) => [...a, b], []),
    );
    assert.equal(bounds.at(-1), Infinity);
    buckets.reduce((before, { value }) => (assert.ok(value >= before, "not cumulative"), value), 0);
    const count = group.find((sample) => sample.name === `${family}_count`);
    assert.equal(buckets.at(-1)!.value, count?.value);
    assert.ok(group.some((sample) => sample.name === `${family}_sum`));
  }
}

function busy(): Statistics {
  const statistics = new Statistics();
  const server = statistics.endpoint("callable", "server", "math/add", "uds");
  server.calls = 130;
  server.pending = 2;
  server.messagesIn = 130;
  server.messagesOut = 128;
  server.bytesIn = 1300;
  server.bytesOut = 2560;
  server.countError("remote");
  server.countError("overloaded");
  for (const seconds of [3e-7, 2 ** -10, 0.5, 100]) server.observeDuration(seconds);
  server.observeSize(1024);
  const job = statistics.endpoint("job", "client", "arm/move", "redis");
  job.feedback = 9;
  const listener = statistics.endpoint("speaker", "listener", "camera/*", "uds");
  listener.countDrop("overflow_oldest", 7);
  const uds = statistics.transport("uds");
  uds.connections = 3;
  uds.messagesIn = 200;
  uds.bytesOut = 9000;
  const redis = statistics.transport("redis");
  redis.reconnections = 4;
  redis.retries = 6;
  redis.health = "degraded";
  redis.countError("unavailable");
  redis.countDrop("undecodable");
  const bridge = statistics.bridge("uds", "redis");
  bridge.countError("closed");
  bridge.countDrop("loop");
  return statistics;
}

Deno.test("prometheus: every metric is written, and strictly by the format", () => {
  const families = parseStrictly(prometheusText(busy().snapshot(1_700_000_000_500)));
  assert.deepEqual([...families.keys()], METRICS.map((family) => family.name));
  const value = (name: string, labels: Record<string, string>) =>
    [...families.values()].flat().find((sample) =>
      sample.name === name && Object.entries(labels).every(([k, v]) => sample.labels[k] === v)
    )?.value;
  assert.equal(value("patchbay_calls_total", { role: "server" }), 130);
  assert.equal(value("patchbay_pending", { role: "server" }), 2);
  assert.equal(value("patchbay_feedback_total", { address: "arm/move" }), 9);
  assert.equal(value("patchbay_errors_total", { code: "overloaded" }), 1);
  assert.equal(value("patchbay_bytes_total", { role: "server", direction: "out" }), 2560);
  assert.equal(value("patchbay_drops_total", { reason: "overflow_oldest" }), 7);
  assert.equal(value("patchbay_last_activity_timestamp_seconds", {}), 1_700_000_000.5);
  assert.equal(value("patchbay_reconnections_total", { transport: "redis" }), 4);
  assert.equal(value("patchbay_retries_total", { transport: "redis" }), 6);
  assert.equal(value("patchbay_health", { transport: "redis" }), 0.5);
  assert.equal(value("patchbay_health", { transport: "uds" }), 1);
  // 3e-7 lies in (2^-22, 2^-21], 2^-10 on a bound, 0.5 on another, 100 above the scale.
  const bucket = (le: string) => value("patchbay_call_duration_seconds_bucket", { le });
  assert.equal(bucket(String(2 ** -22)), 0);
  assert.equal(bucket(String(2 ** -21)), 1);
  assert.equal(bucket(String(2 ** -11)), 1);
  assert.equal(bucket(String(2 ** -10)), 2);
  assert.equal(bucket("0.5"), 3);
  assert.equal(bucket("64"), 3);
  assert.equal(bucket("+Inf"), 4);
  assert.equal(value("patchbay_message_size_bytes_bucket", { le: "256" }), 0);
  assert.equal(value("patchbay_message_size_bytes_bucket", { le: "1024" }), 1);
  assert.equal(value("patchbay_message_size_bytes_bucket", { le: String(2 ** 30) }), 1);
});

Deno.test("prometheus: an independent parser reads the same families", () => {
  const parsed = parsePrometheusTextFormat(prometheusText(busy().snapshot(0)));
  const names = parsed.map((family: { name: string }) => family.name);
  assert.deepEqual(names, METRICS.map((family) => family.name));
  const calls = parsed.find((family: { name: string }) => family.name === "patchbay_calls_total");
  assert.equal(calls.type, "COUNTER");
  assert.deepEqual(calls.metrics[0], {
    value: "130",
    labels: { pattern: "callable", role: "server", address: "math/add", transport: "uds" },
  });
  const durations = parsed.find((family: { name: string }) =>
    family.name === "patchbay_call_duration_seconds"
  );
  assert.equal(durations.type, "HISTOGRAM");
  assert.equal(durations.metrics[0].buckets["0.5"], "3");
  assert.equal(durations.metrics[0].buckets["+Inf"], "4");
  assert.match(durations.help, /sampled 1 in 64/);
});

Deno.test("prometheus: golden text", () => {
  const statistics = new Statistics();
  const endpoint = statistics.endpoint("speaker", "listener", 'odd\\"\n', "uds");
  endpoint.messagesIn = 2;
  endpoint.countDrop("ttl");
  const text = prometheusText(statistics.snapshot(1500), { labels: { module: "camera" } });
  const labels = String.raw`module="camera",pattern="speaker",role="listener",` +
    String.raw`address="odd\\\"\n",transport="uds"`;
  assert.equal(
    text,
    `# HELP patchbay_messages_total Messages of an endpoint. Exact.
# TYPE patchbay_messages_total counter
patchbay_messages_total{${labels},direction="in"} 2
patchbay_messages_total{${labels},direction="out"} 0
# HELP patchbay_bytes_total Payload bytes of an endpoint; 0 on wires that pass references. Exact.
# TYPE patchbay_bytes_total counter
patchbay_bytes_total{${labels},direction="in"} 0
patchbay_bytes_total{${labels},direction="out"} 0
# HELP patchbay_drops_total Messages not delivered, by reason. Exact.
# TYPE patchbay_drops_total counter
patchbay_drops_total{${labels},reason="ttl"} 1
# HELP patchbay_last_activity_timestamp_seconds When a counter was last seen to have moved, as fine as the looks at it.
# TYPE patchbay_last_activity_timestamp_seconds gauge
patchbay_last_activity_timestamp_seconds{${labels}} 1.5
`,
  );
});

Deno.test("prometheus: nothing counted is an empty text", () => {
  assert.equal(prometheusText(new Statistics().snapshot(0)), "");
});

Deno.test("prometheus: any label value comes back as it went in", () => {
  const value = fc.oneof(
    fc.string({ unit: fc.constantFrom("\\", '"', "\n", "n", "a", ",", "}", "=", "\r", " ", "é") }),
    fc.string(),
  );
  fc.assert(fc.property(value, value, value, (address, transport, module) => {
    const statistics = new Statistics();
    statistics.endpoint("callable", "client", address, transport).calls = 1;
    const families = parseStrictly(
      prometheusText(statistics.snapshot(0), { labels: { module } }),
    );
    assert.deepEqual(families.get("patchbay_calls_total"), [{
      name: "patchbay_calls_total",
      labels: { module, pattern: "callable", role: "client", address, transport },
      value: 1,
    }]);
  }));
});

Deno.test("prometheus: a label's name that is not one, or is taken, is refused", () => {
  const snapshot = new Statistics().snapshot(0);
  for (const name of ["", "1a", "a-b", 'a"', "é", "__name__", "le", "pattern", "transport"]) {
    assert.throws(() => prometheusText(snapshot, { labels: { [name]: "x" } }), { code: "invalid" });
  }
});
