/**
 * What counting, reading the counters and spans cost: the numbers of docs/telemetry.md.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import {
  DURATION_SCALE,
  EndpointStatistics,
  Histogram,
  prometheusText,
  Statistics,
} from "@patchbay/core";
import { batches, compare, type Contender } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

const ENDPOINTS = 100;

/** Counters of so many endpoints whose histograms have something in every bucket. */
function filled(): { statistics: Statistics; endpoints: EndpointStatistics[] } {
  const statistics = new Statistics();
  const endpoints: EndpointStatistics[] = [];
  for (let i = 0; i < ENDPOINTS; i++) {
    const endpoint = statistics.endpoint("callable", "client", `module_${i}/endpoint`, "uds");
    endpoints.push(endpoint);
    endpoint.calls = endpoint.messagesIn = endpoint.messagesOut = 1000 + i;
    for (let exponent = -24; exponent < 30; exponent++) {
      for (let eighth = 0; eighth < 8; eighth++) {
        const value = 2 ** exponent * (1 + eighth / 8);
        endpoint.observeDuration(value);
        endpoint.observeSize(value);
      }
    }
  }
  return { statistics, endpoints };
}

async function span(context: SuiteContext, collector?: number): Promise<number> {
  const program = fileURLToPath(new URL("./telemetry_spans.ts", import.meta.url));
  const [command, args] = pinned(context.placement.near, [
    "run",
    "-A",
    program,
    `${context.rounds}`,
    `${context.roundMs}`,
  ]);
  const env: Record<string, string> = collector === undefined ? {} : {
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector}`,
  };
  const { success, stdout } = await new Deno.Command(command, { args, env }).output();
  const { nanos, headers } = JSON.parse(new TextDecoder().decode(stdout));
  if (!success || (headers > 0) !== (collector !== undefined)) throw new Error("no such spans");
  return nanos;
}

async function run(context: SuiteContext): Promise<Row[]> {
  const rows: Row[] = [];
  const row = async (figure: string, ours: Contender) =>
    rows.push(await compare(context, { figure, unit: "ns", ours }));
  const one = new EndpointStatistics("callable", "client", "math/add", "uds");
  const two = new EndpointStatistics("callable", "server", "math/add", "uds");
  let sampled = 0;
  await row(
    "deciding whether to sample",
    batches((n) => {
      for (let i = 0; i < n; i++) if (one.sample()) sampled++;
    }),
  );
  await row(
    "the counter updates of a call on both sides, and that",
    batches((n) => {
      for (let i = 0; i < n; i++) {
        one.calls++;
        one.messagesOut++;
        one.pending++;
        two.calls++;
        two.messagesIn++;
        two.messagesOut++;
        if (one.sample()) sampled++;
        one.pending--;
        one.messagesIn++;
      }
    }),
  );
  const histogram = new Histogram(DURATION_SCALE);
  await row(
    "noting a duration (Histogram.observe)",
    batches((n) => {
      for (let i = 0; i < n; i++) histogram.observe(i * 1e-6);
    }),
  );
  await row(
    "deciding, and for 1 in 64 two clock readings and two histograms, a call",
    batches((n) => {
      for (let i = 0; i < n; i++) {
        if (!one.sample()) continue;
        const start = performance.now();
        one.observeSize(85);
        one.observeDuration((performance.now() - start) / 1000);
      }
    }),
  );
  await row(
    "counting an error",
    batches((n) => {
      for (let i = 0; i < n; i++) one.countError("invalid");
    }),
  );
  const { statistics, endpoints } = filled();
  let nowMs = 0;
  await row(
    `a look at ${ENDPOINTS} endpoints, each of which has counted`,
    batches((n) => {
      for (let i = 0; i < n; i++) {
        for (const endpoint of endpoints) endpoint.calls++;
        statistics.observe(++nowMs);
      }
    }, 10),
  );
  await row(
    `a snapshot of ${ENDPOINTS} endpoints with full histograms`,
    batches((n) => {
      for (let i = 0; i < n; i++) statistics.snapshot(++nowMs);
    }, 10),
  );
  const snapshot = statistics.snapshot(++nowMs);
  await row(
    `their Prometheus text (${Math.round(prometheusText(snapshot).length / 1024)} KiB)`,
    batches((n) => {
      for (let i = 0; i < n; i++) prometheusText(snapshot);
    }, 10),
  );
  // Spans are exported to somebody who answers, so that no failure is measured.
  const collector = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      await request.arrayBuffer();
      return new Response();
    },
  );
  const bare = await span(context);
  const exported = await span(context, collector.addr.port);
  await collector.shutdown();
  rows.push(
    { figure: "a span with headers, no SDK", unit: "ns", ours: { value: bare } },
    { figure: "a span with headers, OTEL_DENO=true", unit: "ns", ours: { value: exported } },
  );
  if (sampled === 0) throw new Error("nothing was sampled");
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "what counting, reading the counters and spans cost (docs/telemetry.md)",
  processes: 1,
  run,
};

export default suite;
