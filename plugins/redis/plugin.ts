/**
 * The redis plugin: what it declares.
 *
 * @module
 */

import { configSchema, deriveJobs, type Plugin } from "@patchbay/core";
import { complaint, fields, MAX_PAYLOAD_BYTES, type RedisConfig, withUrl } from "./config.ts";
import { type RedisExtras, RedisTransport } from "./transport.ts";

/** The type of the plugin. */
export type RedisPlugin = Plugin<
  "redis",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  RedisConfig,
  RedisExtras
>;

/**
 * Makes the plugin.
 *
 * @param delivery How speakers deliver if the configuration says nothing: over pub/sub, or Streams.
 */
export function createRedis(delivery: "at_most_once" | "at_least_once"): RedisPlugin {
  const logged = delivery === "at_least_once";
  return {
    name: "redis",
    summary: logged
      ? "over a Redis server; shouts through Streams, at least once"
      : "over a Redis server, or a cluster of them; readable with redis-cli",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 40,
    traits: {
      ordered: true,
      delivery,
      retained: true,
      headers: true,
      shoutHeaders: logged,
      job: "derived",
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
      zeroCopy: false,
      values: false,
      backpressure: false,
      noticesDeath: true,
    },
    config: configSchema<RedisConfig>(fields(logged ? ["**"] : [])),
    permissions(given) {
      const config = withUrl(given);
      if (config.path !== undefined) return [`--allow-net=unix:${config.path}`];
      const hosts = [...config.cluster, ...config.sentinels];
      return [
        `--allow-net=${hosts.length > 0 ? hosts.join(",") : `${config.host}:${config.port}`}`,
      ];
    },
    available: (config) => complaint(config) ?? { available: true },
    async open(context, given) {
      const transport = await RedisTransport.open(context, withUrl(given));
      return deriveJobs(transport, context);
    },
  };
}
