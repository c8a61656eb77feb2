/**
 * Calls and shouts over a Redis server, beside the same commands written by hand on bare ioredis,
 * and on node-redis.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import type { Redis } from "npm:ioredis@6.0.0";
import { createClient } from "npm:redis@6.3.1";
import { Broker } from "../plugins/redis/redis_fixture.ts";
import redis, { durable } from "../plugins/redis/mod.ts";
import { compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import { connect, fieldsOf, MESSAGE, type Message, openRedis } from "./redis_far.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

/** How many messages are shouted in one round for each millisecond that it may take. */
const SHOUTS_PER_MS = 50;

const SUM = MESSAGE.args.x + MESSAGE.args.y;

interface Far extends AsyncDisposable {
  readonly pid: number;
}

async function startFar(cores: string | undefined, role: string, port: number): Promise<Far> {
  const program = fileURLToPath(new URL("./redis_far.ts", import.meta.url));
  const [command, args] = pinned(cores, ["run", "-A", program, role, String(port)]);
  const options = { args, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  if ((await reader.read()).done) throw new Error(`the far process (${role}) did not start`);
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** Counts what is pushed until all of a round has come. */
class Counter {
  #left = 0;
  #done = Promise.withResolvers<void>();

  count(n: number): void {
    this.#left -= n;
    if (this.#left === 0) this.#done.resolve();
  }

  contender(pid: number, begin: (n: number) => unknown): Contender {
    return {
      pid,
      run: async (roundMs) => {
        const operations = roundMs * SHOUTS_PER_MS;
        this.#left = operations;
        this.#done = Promise.withResolvers<void>();
        const start = performance.now();
        begin(operations);
        await this.#done.promise;
        return { value: operations * 1000 / (performance.now() - start), operations };
      },
    };
  }
}

function check(message: Message): void {
  if (message.args.x !== MESSAGE.args.x) throw new Error("garbled");
}

type Read = [Buffer, [Buffer, Buffer[]][]][] | null;

/** A caller by hand: an entry for each call, one loop that reads the replies. */
async function bareCalls(port: number): Promise<() => Promise<unknown>> {
  const main = connect(port, true);
  const reader = connect(port, false);
  let last = await main.xadd("bare:reply", "MAXLEN", "=", 0, "*", "hello", "") as string;
  const waiting = new Map<string, (value: unknown) => void>();
  let id = 0;
  let read = 0;
  void (async () => {
    for (;;) {
      const streams = await reader.xreadBuffer(
        "COUNT",
        512,
        "BLOCK",
        0,
        "STREAMS",
        "bare:reply",
        last,
      ) as Read;
      for (const [, entries] of streams ?? []) {
        for (const [entry, flat] of entries) {
          last = entry.toString();
          const fields = fieldsOf(flat);
          const key = fields.get("re") as string;
          waiting.get(key)?.(JSON.parse(fields.get("value") as string));
          waiting.delete(key);
          if (++read % 256 === 0) void main.xtrim("bare:reply", "MINID", last);
        }
      }
    }
  })().catch(() => {}); // The server has ended.
  return () => {
    const key = String(++id);
    const answer = new Promise((resolve) => waiting.set(key, resolve));
    void main.xadd(
      "bare:calls",
      "NOMKSTREAM",
      "*",
      "value",
      JSON.stringify(MESSAGE),
      "id",
      key,
      "reply",
      "bare:reply",
      "from",
      "near",
      "timeout",
      "5000",
    );
    return answer;
  };
}

/** The same with node-redis. */
async function nodeCalls(port: number): Promise<() => Promise<unknown>> {
  const main = createClient({ url: `redis://127.0.0.1:${port}` }).on("error", () => {});
  await main.connect();
  const reader = main.duplicate().on("error", () => {});
  await reader.connect();
  let last = await main.xAdd("node:reply", "*", { hello: "" }) as string;
  const waiting = new Map<string, (value: unknown) => void>();
  let id = 0;
  let count = 0;
  void (async () => {
    for (;;) {
      const streams = await reader.xRead({ key: "node:reply", id: last }, {
        COUNT: 512,
        BLOCK: 0,
      }) as { messages: { id: string; message: Record<string, string> }[] }[] | null;
      for (const { messages } of streams ?? []) {
        for (const each of messages) {
          last = each.id;
          waiting.get(each.message.re)?.(JSON.parse(each.message.value));
          waiting.delete(each.message.re);
          if (++count % 256 === 0) void main.xTrim("node:reply", "MINID", last as never);
        }
      }
    }
  })().catch(() => {}); // The server has ended.
  return () => {
    const key = String(++id);
    const answer = new Promise((resolve) => waiting.set(key, resolve));
    void main.xAdd("node:calls", "*", {
      value: JSON.stringify(MESSAGE),
      id: key,
      reply: "node:reply",
      from: "near",
      timeout: "5000",
    });
    return answer;
  };
}

async function bareShouts(port: number, far: Far) {
  const main = connect(port, true);
  const subscriber: Redis = connect(port, false);
  await subscriber.psubscribe("bare:pong:*", "bare:tick:*");
  const counter = new Counter();
  let answered: (() => void) | undefined;
  subscriber.on("pmessageBuffer", (pattern: string, channel: Buffer, message: Buffer) => {
    channel.toString();
    check(JSON.parse(message.toString()));
    if (pattern === "bare:pong:*") answered?.();
    else counter.count(1);
  });
  let n = 0;
  const ping = () => {
    const answer = new Promise<void>((resolve) => answered = resolve);
    void main.publish(`bare:ping:${++n}`, JSON.stringify(MESSAGE));
    return answer;
  };
  const push = counter.contender(far.pid, (count) => main.publish("bare:push", String(count)));
  return { ping, push };
}

async function bareLog(port: number, far: Far): Promise<Contender> {
  const main = connect(port, true);
  const reader = connect(port, false);
  await main.xgroup("CREATE", "bare:log", "near", "$", "MKSTREAM");
  const counter = new Counter();
  void (async () => {
    for (;;) {
      const read = await reader.xreadgroupBuffer(
        "GROUP",
        "near",
        "me",
        "COUNT",
        512,
        "BLOCK",
        0,
        "STREAMS",
        "bare:log",
        ">",
      ) as Read;
      for (const [, entries] of read ?? []) {
        const ids: string[] = [];
        for (const [id, flat] of entries) {
          check(JSON.parse(fieldsOf(flat).get("value") as string));
          ids.push(id.toString());
        }
        void main.xack("bare:log", "near", ...ids).then(() => counter.count(ids.length));
      }
    }
  })().catch(() => {});
  return counter.contender(far.pid, (n) => main.publish("bare:append", String(n)));
}

async function run(context: SuiteContext): Promise<Row[]> {
  const cores = context.placement.far;
  await using broker = await Broker.start();
  const { port } = broker;
  await using bare = await startFar(cores, "ioredis", port);
  await using node = await startFar(cores, "node_redis", port);
  const rows: Row[] = [];
  const byHand = await bareCalls(port);
  const byNode = await nodeCalls(port);
  {
    await using far = await startFar(cores, "ours", port);
    await using bay = await openRedis("near", port, redis);
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const add = () => adder.call(MESSAGE);
    if ((await add()).sum !== SUM) throw new Error("wrong sum");
    rows.push(
      await compare(context, {
        figure: "call of 85 B, one at a time, p50",
        unit: "ns",
        ours: { ...latencies(add), pid: far.pid },
        floor: { ...latencies(byHand), pid: bare.pid },
        floorName: "by hand, ioredis",
        target: { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: `calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(add, 1), pid: far.pid },
        floor: { ...pipelined(byHand, 1), pid: bare.pid },
        floorName: "by hand, ioredis",
        target: { ratioAtLeast: 0.85 },
      }),
      await compare(context, {
        figure: "the same by hand on node-redis, p50",
        unit: "ns",
        ours: { ...latencies(byNode), pid: node.pid },
        floor: { ...latencies(byHand), pid: bare.pid },
        floorName: "by hand, ioredis",
      }),
      await compare(context, {
        figure: `the same by hand on node-redis, ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(byNode, 1), pid: node.pid },
        floor: { ...pipelined(byHand, 1), pid: bare.pid },
        floorName: "by hand, ioredis",
      }),
    );
    const hand = await bareShouts(port, bare);
    const counter = new Counter();
    let answered: (() => void) | undefined;
    await bay.listen("far/pong", (value) => {
      check(value as Message);
      answered?.();
    });
    await bay.listen("far/tick", (value) => {
      check(value as Message);
      counter.count(1);
    });
    const ping = await bay.speaker<Message>("near/ping");
    const shout = () => {
      const answer = new Promise<void>((resolve) => answered = resolve);
      void ping.shout(MESSAGE);
      return answer;
    };
    await shout();
    const push = counter.contender(
      far.pid,
      (n) => bay.call("far/push", n, { timeoutMs: 60_000 }).catch((error) => console.error(error)),
    );
    rows.push(
      await compare(context, {
        figure: "shout and a shout back, p50",
        unit: "ns",
        ours: { ...latencies(shout), pid: far.pid },
        floor: { ...latencies(hand.ping), pid: bare.pid },
        floorName: "by hand, ioredis",
        target: { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: "shouts over pub/sub",
        unit: "/s",
        ours: push,
        floor: hand.push,
        floorName: "by hand, ioredis",
        target: { ratioAtLeast: 0.85 },
      }),
    );
  }
  await using log = await startFar(cores, "durable", port);
  await using bay = await openRedis("near", port, durable);
  const counter = new Counter();
  await bay.listen("far/tick", (value) => {
    check(value as Message);
    counter.count(1);
  });
  rows.push(
    await compare(context, {
      figure: "shouts over Streams, each acknowledged",
      unit: "/s",
      ours: counter.contender(
        log.pid,
        (n) => bay.call("far/push", n, { timeoutMs: 60_000 }).catch((e) => console.error(e)),
      ),
      floor: await bareLog(port, bare),
      floorName: "by hand, ioredis",
      target: { atLeast: 50_000, ratioAtLeast: 0.85 },
    }),
  );
  // The last acknowledgements may be on their way.
  for (let tries = 0;; tries++) {
    const pending = await broker.cli([
      "XPENDING",
      "patchbay:log:{far}/tick",
      `bay:${bay.identity.id}`,
    ]);
    if (pending.startsWith("0")) break;
    if (tries === 100) throw new Error(`not all was acknowledged: ${pending}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "over a Redis server (on this process's core); CPU and memory: this process + the other",
  processes: 2,
  run,
};

export default suite;
