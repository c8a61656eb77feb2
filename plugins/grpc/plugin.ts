/**
 * The grpc plugin: what it declares, and how it is put together.
 *
 * @module
 */

import {
  type BayIdentity,
  configSchema,
  PatchbayError,
  type Plugin,
  type Transport,
  type TransportContext,
} from "@patchbay/core";
import { checkSocketPath, requireHostDirectory, socketPath } from "@patchbay/host";
import { Bodies } from "./bodies.ts";
import { complaint, FIELDS, type GrpcConfig, warnings } from "./config.ts";
import type { Place } from "./server.ts";
import { authority, readTarget } from "./targets.ts";
import { type GrpcExtras, GrpcTransport } from "./transport.ts";

/** The type of the plugin. */
export type GrpcPlugin = Plugin<
  "grpc",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  GrpcConfig,
  GrpcExtras
>;

/** What tests may hang into grpc. */
export interface GrpcHooks {
  /** Where to dial for a URL. */
  reroute?: (url: string) => string;
}

/**
 * Makes the plugin.
 *
 * @param hooks What tests hang into it.
 */
export function createGrpc(hooks: GrpcHooks = {}): GrpcPlugin {
  return {
    name: "grpc",
    summary:
      "over gRPC: Unix sockets or TCP, with or without a .proto, for programs in any language",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 30,
    traits: {
      // Each call is a stream of its own: a small one may overtake a large one.
      ordered: false,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: false,
      values: false,
      backpressure: true,
      noticesDeath: true,
    },
    config: configSchema<GrpcConfig>(FIELDS),
    permissions,
    available: (config) => complaint(config) ?? { available: true },
    async open(context, config): Promise<Transport<GrpcExtras>> {
      for (const warning of warnings(config)) console.warn(`patchbay: grpc: ${warning}`);
      const maxBytes = config.maxMessageBytes ?? context.maxMessageBytes;
      const msgpack = await context.codecs.load("msgpack");
      const transport = new GrpcTransport({
        context,
        config,
        bodies: new Bodies(context.codecs, msgpack, maxBytes),
        place: () => placeOf(context, config),
        reroute: hooks.reroute ?? ((url) => url),
      });
      try {
        await transport.open();
      } catch (error) {
        await transport.close();
        throw error;
      }
      return transport;
    },
  };
}

/** Where a bay listens. */
function placeOf(context: TransportContext, { listen }: GrpcConfig): Place {
  if (listen?.path !== undefined) return { path: listen.path };
  if (listen !== undefined) {
    return { hostname: listen.hostname ?? "127.0.0.1", port: listen.port ?? 0 };
  }
  if (Deno.build.os === "windows") return { hostname: "127.0.0.1", port: 0 };
  try {
    const { path } = requireHostDirectory(context);
    return { path: checkSocketPath(socketPath(path, context.identity.instance, "grpc")) };
  } catch (error) {
    if (error instanceof PatchbayError && error.code === "invalid") throw error;
    throw new PatchbayError("unavailable", "grpc has nowhere to listen", {
      transport: "grpc",
      retryable: false,
      remedy: "set config.grpc.listen to { port }, or open the bay with a runtime directory",
      cause: error,
    });
  }
}

/** What grpc-js reads of the environment, when it is imported and later: without leave it throws. */
const ENVIRONMENT = [
  "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
  "GRPC_EXPERIMENTAL_ENABLE_OUTLIER_DETECTION",
  "GRPC_NODE_DEBUG_SEND_ERROR_DETAILS",
  "GRPC_NODE_TRACE",
  "GRPC_NODE_USE_ALTERNATIVE_RESOLVER",
  "GRPC_NODE_VERBOSITY",
  "GRPC_SSL_CIPHER_SUITES",
  "GRPC_TRACE",
  "GRPC_VERBOSITY",
];

/** The permission flags that a configuration needs. */
function permissions(config: GrpcConfig, _identity: BayIdentity): readonly string[] {
  const { listen, peers } = config;
  const nets: string[] = [];
  if (listen?.path !== undefined) nets.push(`unix:${listen.path}`);
  else if (listen !== undefined) nets.push(authority(listen.hostname ?? "127.0.0.1", listen.port));
  for (const url of peers) {
    const target = readTarget(url);
    nets.push("path" in target ? `unix:${target.path}` : authority(target.host, target.port));
  }
  return [
    ...nets.map((net) => `--allow-net=${net}`),
    ...ENVIRONMENT.map((name) => `--allow-env=${name}`),
  ];
}
