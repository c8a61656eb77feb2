/**
 * Metrics: every bay counts, and the counts can be read as JSON or served to Prometheus.
 *
 * ```sh
 * deno run --allow-net=127.0.0.1 examples/metrics.ts
 * ```
 *
 * It prints:
 *
 * ```text
 * server: 100 calls, 1 error (remote), 0 pending
 * GET /metrics: 200 text/plain; version=0.0.4; charset=utf-8
 * patchbay_calls_total{…role="client",…} 100
 * patchbay_calls_total{…role="server",…} 100
 * patchbay_errors_total{…role="client",…,code="remote"} 1
 * patchbay_errors_total{…role="server",…,code="remote"} 1
 * ```
 *
 * @module
 */
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from "@patchbay/core";
import { defineCallable, Patchbay } from "@patchbay/patchbay";

const Root = defineCallable<number, number>({ address: "math/root" });

await using bay = await Patchbay.open({ module: "math" });
await bay.serve(Root, (n) => {
  if (n < 0) throw new RangeError(`${n} has no root`);
  return Math.sqrt(n);
});
const root = bay.callable(Root);
for (let n = 98; n >= -1; n--) await root.call(n).catch(() => {});

// As JSON.
const { endpoints } = bay.statistics.snapshot(Date.now());
const server = endpoints.find((endpoint) => endpoint.role === "server");
console.log(
  `server: ${server?.calls} calls, ${server?.errors.remote} error (remote), ${server?.pending} pending`,
);

// As Prometheus wants it, on a free port of the loopback interface.
await using http = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: () => {} },
  () =>
    new Response(prometheusText(bay.statistics.snapshot(Date.now())), {
      headers: { "content-type": PROMETHEUS_CONTENT_TYPE },
    }),
);
const response = await fetch(`http://127.0.0.1:${http.addr.port}/metrics`);
console.log(`GET /metrics: ${response.status} ${response.headers.get("content-type")}`);
const interesting = /^patchbay_(calls|errors)_total\{/;
const lines = (await response.text()).split("\n").filter((line) => interesting.test(line));
console.log(lines.sort().join("\n"));
