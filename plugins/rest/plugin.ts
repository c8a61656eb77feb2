/**
 * The rest plugin: what it declares, and how it is put together on Deno and in a page.
 *
 * @module
 */

import { configSchema, type Plugin, type Transport } from "@patchbay/core";
import { Bodies } from "./bodies.ts";
import { complaint, FIELDS, type RestConfig, warnings } from "./config.ts";
import type { Connect } from "./host.ts";
import type { MakeSite } from "./site.ts";
import { nowhereToListen, type RestExtras, RestTransport } from "./transport.ts";

/** The type of the plugin. */
export type RestPlugin = Plugin<
  "rest",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  RestConfig,
  RestExtras
>;

/** What the plugin is made with: on Deno all of it, in a page what a page has. */
export interface RestParts {
  /** How hosts are reached. */
  readonly connector: (config: RestConfig) => Connect;
  /** Makes the listening side of a bay; absent where nothing can listen. */
  readonly site?: MakeSite;
  /** The permissions that the configuration needs. */
  readonly permissions?: RestPlugin["permissions"];
}

/**
 * Makes the plugin.
 *
 * @param parts What it is made with.
 */
export function createRest(parts: RestParts): RestPlugin {
  return {
    name: "rest",
    summary: "over HTTP: curl, pages and any other program call, listen and run jobs",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 40,
    traits: {
      // Calls go over several connections at once.
      ordered: false,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: false,
      values: false,
      backpressure: false,
      noticesDeath: true,
    },
    config: configSchema<RestConfig>(FIELDS),
    permissions: parts.permissions,
    available: (config) => complaint(config, parts.site !== undefined) ?? { available: true },
    async open(context, config): Promise<Transport<RestExtras>> {
      for (const warning of warnings(config)) console.warn(`patchbay: rest: ${warning}`);
      const maxBytes = config.maxMessageBytes ?? context.maxMessageBytes;
      const msgpack = await context.codecs.load("msgpack");
      const bodies = new Bodies(context.codecs, msgpack, maxBytes);
      const transport = new RestTransport({
        context,
        config,
        bodies,
        hosts: {
          maxSockets: config.maxSockets,
          maxBytes,
          connect: parts.connector(config),
          onConnected(again) {
            context.statistics.connections++;
            if (again) context.statistics.reconnections++;
          },
          onDisconnected: () => void context.statistics.connections--,
        },
        makeSite() {
          const site = parts.site?.(context, config, bodies);
          if (site === undefined) throw nowhereToListen();
          return site;
        },
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
