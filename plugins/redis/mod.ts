/**
 * redis: the three patterns over a Redis server. Calls and jobs are Streams, shouts are pub/sub or
 * Streams; payloads are plain JSON, so that `redis-cli` can take part.
 *
 * @module
 */

import { createRedis, type RedisPlugin } from "./plugin.ts";

export type { RedisConfig } from "./config.ts";
export type { Client } from "./connections.ts";
export type { KeyChange, KeyValues, SetOptions, WatchOptions } from "./keys.ts";
export type { RedisPlugin } from "./plugin.ts";
export type {
  ConsumeOptions,
  ReplayedEntry,
  ReplayOptions,
  StreamContext,
  Streams,
} from "./stream_access.ts";
export type { RedisExtras } from "./transport.ts";

/**
 * The plugin. Shouts go over pub/sub, at most once, unless `config.redis.streams` says otherwise.
 *
 * @example
 * ```ts ignore
 * import { Patchbay } from "@patchbay/core";
 * import redis from "@patchbay/redis";
 *
 * await using bay = await Patchbay.open({
 *   module: "desk",
 *   plugins: [redis],
 *   config: { redis: { url: "redis://127.0.0.1:6379" } },
 * });
 * console.log(await bay.call("arm/move", 3));
 * await bay.transport(redis).keys.set("robot:mode", "auto", { ttlMs: 60_000 });
 * ```
 */
const redis: RedisPlugin = createRedis("at_most_once");

/** The same with all shouts through Streams, at least once. Pass one of the two. */
export const durable: RedisPlugin = createRedis("at_least_once");

export default redis;
