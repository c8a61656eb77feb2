/**
 * How Deno reaches a URL: by `node:http`, or by `fetch` where HTTP/2 is wanted.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { RestConfig } from "./config.ts";
import { lanes } from "./fetch_lanes.ts";
import { fetchWay } from "./fetch_way.ts";
import type { Connect, Way, WayEvents } from "./host.ts";
import { fromNode, nodeWays } from "./node_way.ts";

/**
 * Makes ways to hosts.
 *
 * @param config The configuration.
 */
export function connector(config: RestConfig): Connect {
  return config.http2 ? fetchWays(config) : nodeWays(config);
}

function fetchWays(config: RestConfig): Connect {
  const { tls, poolSize, poolIdleTimeoutMs } = config;
  const options: Deno.CreateHttpClientOptions & Partial<Deno.TlsCertifiedKeyPem> = {
    poolMaxIdlePerHost: poolSize,
    poolIdleTimeout: poolIdleTimeoutMs,
    ...(tls?.ca === undefined ? {} : { caCerts: [...tls.ca] }),
    ...(tls?.clientCert === undefined ? {} : { cert: tls.clientCert, key: tls.clientKey }),
  };
  return (base, events) => lanes(() => fetchLane(base, options, events));
}

function fetchLane(
  base: string,
  options: Deno.CreateHttpClientOptions & Partial<Deno.TlsCertifiedKeyPem>,
  events: WayEvents,
): Way {
  const path = base.startsWith("unix:") ? base.slice("unix:".length) : undefined;
  const client = Deno.createHttpClient(
    path === undefined ? options : { ...options, proxy: { transport: "unix", path } },
  );
  return fetchWay({
    base,
    // A URL cannot say `unix:`, and no host is asked for by this name.
    origin: path === undefined ? base.replace(/\/+$/, "") : "http://localhost",
    init: { client } as RequestInit,
    translate: fromDenoFetch,
    events,
    close: () => client.close(),
  });
}

/** What goes wrong before anything is sent, as Deno's fetch words it. */
const NOT_SENT = /\(Connect\)|dns error|tcp connect error|Connection refused/;
/** Of that: somebody was there, and went away before TLS was agreed on. */
const LOST_EARLY = /tls handshake eof|unexpected eof|reset by peer|broken pipe/i;

/**
 * What an error of Deno's `fetch` means.
 *
 * @param error What it threw.
 * @param where Where the request went.
 */
export function fromDenoFetch(error: unknown, where: string): PatchbayError {
  const texts: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause) texts.push(each.message);
  const text = texts.join(": ");
  if (NOT_SENT.test(text) && !/certificate/i.test(text)) {
    const [code, what] = LOST_EARLY.test(text)
      ? ["closed", "the connection was lost"] as const
      : ["unavailable", "nobody answers"] as const;
    return new PatchbayError(code, `${where}: ${what}: ${text}`, {
      details: { notExecuted: true },
      cause: error,
    });
  }
  if (error instanceof Deno.errors.NotCapable) return fromNode(error, where);
  return fromNode(new Error(text, { cause: error }), where);
}
