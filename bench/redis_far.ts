/**
 * The far process of the redis suite: `redis_far.ts ROLE PORT`. Prints a line when it is ready, and
 * ends when its input does. Roles: `ours`, `durable`, `ioredis`, `node_redis`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Redis } from "npm:ioredis@6.0.0";
import { createClient } from "npm:redis@6.3.1";
import { open } from "@patchbay/core";
import redis, { durable } from "../plugins/redis/mod.ts";

/** The 85 bytes of JSON that calls and shouts carry. */
export const MESSAGE = {
  method: "math.add",
  args: { x: 12345, y: 3.25, name: "left_grip", tags: ["a", "b"] },
};

/** A message as it arrives. */
export type Message = typeof MESSAGE;

/** What a bay of this suite is opened with. */
export function openRedis(module: string, port: number, plugin: typeof redis) {
  return open({ module, plugins: [plugin], config: { redis: { port } } });
}

/** A connection as one writes it by hand. */
export function connect(port: number, enableAutoPipelining: boolean): Redis {
  const redis = new Redis({ port, enableAutoPipelining, protocol: 2 });
  // The suite's server ends before its clients.
  redis.on("error", () => {});
  return redis;
}

async function ours(port: number, plugin: typeof redis): Promise<void> {
  const bay = await openRedis("far", port, plugin);
  await bay.serve("far/add", (message) => {
    const { args } = message as Message;
    return { sum: args.x + args.y };
  });
  const pong = await bay.speaker<unknown>("far/pong");
  await bay.listen("near/ping", (value) => void pong.shout(value));
  const tick = await bay.speaker<unknown>("far/tick");
  await bay.serve("far/push", async (n) => {
    for (let i = 0; i < (n as number); i++) {
      const held = tick.shout(MESSAGE);
      if (held !== undefined) await held;
      else if (i % 512 === 511) await new Promise((resolve) => setImmediate(resolve));
    }
  }, { maxConcurrent: 1 });
}

/** The fields of an entry. */
export function fieldsOf(flat: readonly Buffer[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) fields.set(flat[i].toString(), flat[i + 1].toString());
  return fields;
}

type Read = [Buffer, [Buffer, Buffer[]][]][] | null;

/** The same commands as ours, by hand. */
async function bare(port: number): Promise<void> {
  const main = connect(port, true);
  const reader = connect(port, false);
  const subscriber = connect(port, false);
  await main.xgroup("CREATE", "bare:calls", "g", "0", "MKSTREAM");
  await subscriber.psubscribe("bare:ping:*");
  subscriber.on("pmessageBuffer", (_pattern: string, channel: Buffer, message: Buffer) => {
    const value = JSON.parse(message.toString());
    void main.publish(`bare:pong:${channel.toString().split(":")[2]}`, JSON.stringify(value));
  });
  let pushing = 0;
  await subscriber.subscribe("bare:push", "bare:append");
  subscriber.on("message", async (channel: string, text: string) => {
    for (let i = 0; i < Number(text); i++) {
      const json = JSON.stringify(MESSAGE);
      const sent = channel === "bare:push"
        ? main.publish(`bare:tick:${++pushing}`, json)
        : main.xadd(
          "bare:log",
          "MAXLEN",
          "~",
          100_000,
          "*",
          "value",
          json,
          "origin",
          "far",
          "seq",
          ++pushing,
          "from",
          "far",
        );
      void sent;
      // As often as ours gives way, neither waits for the server.
      if (i % 512 === 511) await new Promise((resolve) => setImmediate(resolve));
    }
  });
  console.log("ready");
  for (;;) {
    const read = await reader.xreadgroupBuffer(
      "GROUP",
      "g",
      "far",
      "COUNT",
      256,
      "BLOCK",
      0,
      "STREAMS",
      "bare:calls",
      ">",
    ) as Read;
    for (const [, entries] of read ?? []) {
      for (const [id, flat] of entries) {
        const fields = fieldsOf(flat);
        const { args } = JSON.parse(fields.get("value") as string) as Message;
        const sum = JSON.stringify({ sum: args.x + args.y });
        void main.xadd(
          fields.get("reply") as string,
          "NOMKSTREAM",
          "MAXLEN",
          "~",
          65_536,
          "*",
          "re",
          fields.get("id") as string,
          "value",
          sum,
        );
        void main.xack("bare:calls", "g", id);
        void main.xdel("bare:calls", id);
      }
    }
  }
}

/** The same with node-redis, which gathers commands by itself. */
async function nodeRedis(port: number): Promise<void> {
  const main = createClient({ url: `redis://127.0.0.1:${port}` }).on("error", () => {});
  await main.connect();
  const reader = main.duplicate().on("error", () => {});
  await reader.connect();
  await main.xGroupCreate("node:calls", "g", "0", { MKSTREAM: true });
  console.log("ready");
  for (;;) {
    const read = await reader.xReadGroup("g", "far", { key: "node:calls", id: ">" }, {
      COUNT: 256,
      BLOCK: 0,
    }) as { messages: { id: string; message: Record<string, string> }[] }[] | null;
    for (const { messages } of read ?? []) {
      for (const { id, message } of messages) {
        const { args } = JSON.parse(message.value) as Message;
        const value = JSON.stringify({ sum: args.x + args.y });
        void main.xAdd(message.reply, "*", { re: message.id, value }, {
          TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 65_536 },
        });
        void main.xAck("node:calls", "g", id);
        void main.xDel("node:calls", id);
      }
    }
  }
}

if (import.meta.main) {
  const [role, text] = Deno.args;
  const port = Number(text);
  const ended = (async () => {
    for await (const _ of Deno.stdin.readable) { /* Until it ends. */ }
  })();
  if (role === "ours" || role === "durable") {
    await ours(port, role === "ours" ? redis : durable);
    console.log("ready");
  } else (role === "ioredis" ? bare(port) : nodeRedis(port)).catch(() => {});
  await ended;
  Deno.exit(0);
}
