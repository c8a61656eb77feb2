/**
 * What rest is made of on Deno: listeners, connections, the Unix socket in the runtime directory.
 *
 * @module
 */

import { type BayIdentity, PatchbayError, type TransportContext } from "@patchbay/core";
import { checkSocketPath, requireHostDirectory, socketPath } from "@patchbay/host";
import type { Bodies } from "./bodies.ts";
import { type RestConfig } from "./config.ts";
import { connector } from "./connector.ts";
import { serveGuarded } from "./guarded_listener.ts";
import type { RestParts } from "./plugin.ts";
import { serveQuickly } from "./quick_listener.ts";
import type { Place } from "./serving.ts";
import { Site } from "./site.ts";

/** Where a bay listens; `undefined` if there is no place for it. */
function placeOf(context: TransportContext, { listen }: RestConfig): Place | undefined {
  if (listen?.path !== undefined) return { path: listen.path };
  if (listen !== undefined) {
    const { hostname = "127.0.0.1", port = 0 } = listen;
    return { hostname, port };
  }
  if (Deno.build.os === "windows") return { hostname: "127.0.0.1", port: 0 };
  try {
    const { path } = requireHostDirectory(context);
    return {
      path: checkSocketPath(socketPath(path, context.identity.instance, "rest")),
      mode: 0o600,
    };
  } catch (error) {
    if (error instanceof PatchbayError && error.code !== "invalid") return undefined;
    throw error;
  }
}

function site(
  context: TransportContext,
  config: RestConfig,
  bodies: Bodies,
): Site | undefined {
  const place = placeOf(context, config);
  if (place === undefined) return undefined;
  const listeners = { quick: serveQuickly, guarded: serveGuarded };
  return new Site({ context, config, bodies, place, listeners });
}

/** The permission flags that a configuration needs. */
function permissions(config: RestConfig, _identity: BayIdentity): readonly string[] {
  const { listen, peers, baseUrl, auth } = config;
  const nets: string[] = [];
  if (listen?.path !== undefined) nets.push(`unix:${listen.path}`);
  else if (listen !== undefined) nets.push(`${listen.hostname ?? "127.0.0.1"}:${listen.port}`);
  for (const url of [...peers, baseUrl, auth?.introspection?.url]) {
    if (url === undefined) continue;
    const parsed = URL.parse(url);
    if (parsed !== null) {
      nets.push(parsed.host === "" ? `unix:${parsed.pathname}` : parsed.host);
    }
  }
  return nets.map((net) => `--allow-net=${net}`);
}

/** The parts. */
export const DENO_PARTS: RestParts = { connector, site, permissions };
