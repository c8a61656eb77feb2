/**
 * How Deno reaches a URL: pooled keep-alive connections over TCP or a Unix socket, HTTP/2 where the
 * other side has it, its own authorities and client certificate.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { RestConfig } from "./config.ts";
import type { Connect, Way } from "./host.ts";

/**
 * Makes ways to hosts.
 *
 * @param config The configuration.
 */
export function connector(config: RestConfig): Connect {
  const { tls, poolSize, poolIdleTimeoutMs } = config;
  const options: Deno.CreateHttpClientOptions & Partial<Deno.TlsCertifiedKeyPem> = {
    poolMaxIdlePerHost: poolSize,
    poolIdleTimeout: poolIdleTimeoutMs,
    ...(tls?.ca === undefined ? {} : { caCerts: [...tls.ca] }),
    ...(tls?.clientCert === undefined ? {} : { cert: tls.clientCert, key: tls.clientKey }),
  };
  return (base): Way => {
    const path = base.startsWith("unix:") ? base.slice("unix:".length) : undefined;
    const client = Deno.createHttpClient(
      path === undefined ? options : { ...options, proxy: { transport: "unix", path } },
    );
    // A page would not understand `unix:`, and no host is asked for by this name.
    const origin = path === undefined ? base.replace(/\/+$/, "") : "http://localhost";
    return {
      fetch: (target, init) => fetch(origin + target, { ...init, client }),
      close: () => client.close(),
    };
  };
}

/** What goes wrong below HTTP, as Deno's fetch words it. */
const NOT_SENT = /\(Connect\)|dns error|tcp connect error|os error 2\)|Connection refused/;
const NOT_TRUSTED = /invalid peer certificate|UnknownIssuer|NotValidForName|certificate/i;

/**
 * What an error of `fetch` means.
 *
 * @param error What it threw.
 * @param where Where the request went.
 */
export function fromFetch(error: unknown, where: string): PatchbayError {
  if (error instanceof PatchbayError) return error;
  const text = messages(error);
  if (error instanceof Deno.errors.NotCapable) {
    return new PatchbayError("unavailable", `${where}: Deno was started without the permission`, {
      retryable: false,
      remedy: "run deno with --allow-net for that host",
      cause: error,
    });
  }
  if (NOT_TRUSTED.test(text)) {
    return new PatchbayError("unavailable", `${where}: its certificate is not believed: ${text}`, {
      retryable: false,
      remedy: "set config.rest.tls.ca to the authority's certificate",
      cause: error,
    });
  }
  if (NOT_SENT.test(text)) {
    return new PatchbayError("unavailable", `${where}: nobody answers: ${text}`, {
      details: { notExecuted: true },
      cause: error,
    });
  }
  return new PatchbayError("closed", `${where}: the connection was lost: ${text}`, {
    cause: error,
  });
}

function messages(error: unknown): string {
  const texts: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause) texts.push(each.message);
  return texts.join(": ");
}
