/**
 * How the tests run redis: a meeting is a `redis-server` of its own.
 *
 * @module
 */

import { type Fixture, freePort, type Json, type Meeting } from "@patchbay/core/conformance";
import { Broker } from "./redis_fixture.ts";
import redis, { durable, type RedisPlugin } from "./mod.ts";

/** Patience of the tests: connections are made anew at once. */
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 200, deathMs: 500 };

function meet(
  plugin: RedisPlugin,
  port: number,
  more: Partial<Meeting> & AsyncDisposable,
): Meeting {
  return {
    ...more,
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [plugin],
      config: { redis: { ...QUICK, port } },
    }),
    place: { port, durable: plugin === durable },
  };
}

async function meeting(plugin: RedisPlugin): Promise<Meeting> {
  const broker = await Broker.start();
  return meet(plugin, broker.port, {
    sever: () => broker.sever(),
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  });
}

function join(place: Json): Promise<Meeting> {
  const known = place as { port: number; durable: boolean };
  return Promise.resolve(
    meet(known.durable ? durable : redis, known.port, {
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  );
}

/** Shouts over pub/sub. */
const fixture: Fixture = {
  plugin: redis,
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: {
    alone: "a bay does not hear itself: in_process is for that",
    stranger: "a bay listens nowhere: strangers speak to the Redis server",
  },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting(redis),
  join,
  unavailable: () => {
    const port = freePort();
    return Promise.resolve({
      options: { module: "lonely", plugins: [redis], config: { redis: { port } } },
      reason: new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached: the connection was refused`),
      remedy: /redis-server/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  },
};

/** Shouts through Streams. */
export const atLeastOnce: Fixture = {
  ...fixture,
  plugin: durable,
  name: "redis (durable)",
  meeting: () => meeting(durable),
};

export default fixture;
