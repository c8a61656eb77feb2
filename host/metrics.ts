/**
 * Serves a bay's counters and health over HTTP, for Prometheus and for probes.
 *
 * @module
 */

import { type Bay, type Plugin, PROMETHEUS_CONTENT_TYPE, prometheusText } from "@patchbay/core";

/** How to serve metrics. */
export interface MetricsOptions {
  /** The address to listen on. Default 127.0.0.1: whoever can connect may read. */
  hostname?: string;
  /** The TCP port. Default 9464; 0 takes a free one. */
  port?: number;
  /** Labels for every series, such as the robot's name. */
  labels?: Readonly<Record<string, string>>;
}

/** Metrics that are being served. */
export interface MetricsServer extends AsyncDisposable {
  /** Where: `http://127.0.0.1:9464`. */
  readonly url: string;
  /** Ends it. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves `GET /metrics` (Prometheus text) and `GET /health` (JSON; 200 if every open wire is
 * healthy or degraded, 503 if one is down).
 *
 * @param bay The bay.
 * @param options Where, and with which labels.
 *
 * @example
 * ```ts
 * import { open, serveMetrics } from "@patchbay/host";
 * import inProcess from "@patchbay/in_process";
 *
 * await using bay = await open({ builtins: [inProcess], module: "desk", discover: false });
 * await using metrics = serveMetrics(bay, { port: 0 });
 * const text = await (await fetch(`${metrics.url}/metrics`)).text();
 * console.log(text.includes("patchbay_health"));
 * ```
 */
export function serveMetrics<Plugins extends readonly Plugin[]>(
  bay: Bay<Plugins>,
  options: MetricsOptions = {},
): MetricsServer {
  const { hostname = "127.0.0.1", port = 9464, labels } = options;
  const server = Deno.serve({ hostname, port, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("only GET\n", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    if (pathname === "/metrics") {
      const text = prometheusText(bay.statistics.snapshot(Date.now()), { labels });
      return new Response(text, { headers: { "content-type": PROMETHEUS_CONTENT_TYPE } });
    }
    if (pathname === "/health") {
      const wires = bay.wires();
      const well = !bay.closed && wires.every((wire) => wire.health?.status !== "down");
      return Response.json({ module: bay.identity.module, wires }, { status: well ? 200 : 503 });
    }
    return new Response("see /metrics and /health\n", { status: 404 });
  });
  let closing: Promise<void> | undefined;
  const close = () => closing ??= server.shutdown();
  return {
    url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${server.addr.port}`,
    close,
    [Symbol.asyncDispose]: close,
  };
}
