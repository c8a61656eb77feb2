/**
 * Calls and shouts over mosquitto, beside the same messages written by hand on bare MQTT.js.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import mqtt, { durable } from "../plugins/mqtt/mod.ts";
import { Mosquitto } from "../plugins/mqtt/mosquitto_fixture.ts";
import { compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import { connect, MESSAGE, type Message, openMqtt } from "./mqtt_far.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

/** How many messages are shouted in one round for each millisecond that it may take. */
const SHOUTS_PER_MS = 30;
/** The same with QoS 1. */
const CONFIRMED_PER_MS = 5;

const SUM = MESSAGE.args.x + MESSAGE.args.y;

interface Far extends AsyncDisposable {
  readonly pid: number;
}

async function startFar(cores: string | undefined, role: string, port: number): Promise<Far> {
  const program = fileURLToPath(new URL("./mqtt_far.ts", import.meta.url));
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

  contender(pid: number, perMs: number, begin: (n: number) => unknown): Contender {
    return {
      pid,
      run: async (roundMs) => {
        const operations = roundMs * perMs;
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

/** A caller and a listener by hand. */
async function byHand(port: number, far: Far) {
  const client = await connect(port);
  // Ours has one for what is confirmed, too.
  const confirmed = await connect(port);
  await client.subscribeAsync(["bare/reply", "bare/pong", "bare/tick"]);
  const waiting = new Map<string, (value: unknown) => void>();
  const ticks = new Counter();
  const kept = new Counter();
  let answered: (() => void) | undefined;
  client.on("message", (topic, payload: Buffer, packet) => {
    const value = JSON.parse(payload.toString());
    if (topic === "bare/reply") {
      const key = packet.properties?.correlationData?.toString("latin1") ?? "";
      waiting.get(key)?.(value);
      return void waiting.delete(key);
    }
    check(value);
    if (topic === "bare/pong") answered?.();
    else ticks.count(1);
  });
  confirmed.on("message", (_topic, payload: Buffer) => {
    check(JSON.parse(payload.toString()));
    kept.count(1);
  });
  let id = 0;
  let shouted = 0;
  const call = () => {
    const key = String(++id);
    const answer = new Promise((resolve) => waiting.set(key, resolve));
    client.publish("bare/call", JSON.stringify(MESSAGE), {
      properties: {
        responseTopic: "bare/reply",
        correlationData: Buffer.from(key, "latin1"),
        userProperties: { "pb-call": "near 5000" },
      },
    });
    return answer;
  };
  const ping = () => {
    const answer = new Promise<void>((resolve) => answered = resolve);
    client.publish("bare/ping", JSON.stringify(MESSAGE), {
      properties: { userProperties: { "pb-id": `near:${++shouted}` } },
    });
    return answer;
  };
  return {
    call,
    ping,
    push: ticks.contender(
      far.pid,
      SHOUTS_PER_MS,
      (n) => client.publish("bare/push", String(n)),
    ),
    /** With QoS 1: another subscription, so that the first one hears none of it. */
    append: async () => {
      await client.unsubscribeAsync("bare/tick");
      await confirmed.subscribeAsync("bare/tick", { qos: 1 });
      return kept.contender(
        far.pid,
        CONFIRMED_PER_MS,
        (n) => confirmed.publish("bare/append", String(n)),
      );
    },
  };
}

async function run(context: SuiteContext): Promise<Row[]> {
  const cores = context.placement.far;
  await using broker = await Mosquitto.start();
  const { port } = broker;
  await using bare = await startFar(cores, "mqttjs", port);
  const hand = await byHand(port, bare);
  const floorName = "by hand, MQTT.js";
  const rows: Row[] = [];
  {
    await using far = await startFar(cores, "ours", port);
    await using bay = await openMqtt("near", port, mqtt);
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const add = () => adder.call(MESSAGE);
    if ((await add()).sum !== SUM) throw new Error("wrong sum");
    rows.push(
      await compare(context, {
        figure: "call of 85 B, one at a time, p50",
        unit: "ns",
        ours: { ...latencies(add), pid: far.pid },
        floor: { ...latencies(hand.call), pid: bare.pid },
        floorName,
        target: { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: `calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(add, 1), pid: far.pid },
        floor: { ...pipelined(hand.call, 1), pid: bare.pid },
        floorName,
        target: { ratioAtLeast: 0.85 },
      }),
    );
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
      SHOUTS_PER_MS,
      (n) => bay.call("far/push", n, { timeoutMs: 60_000 }).catch((error) => console.error(error)),
    );
    rows.push(
      await compare(context, {
        figure: "shout and a shout back, p50",
        unit: "ns",
        ours: { ...latencies(shout), pid: far.pid },
        floor: { ...latencies(hand.ping), pid: bare.pid },
        floorName,
        target: { ratioAtMost: 1.2 },
      }),
      await compare(context, {
        figure: "shouts with QoS 0",
        unit: "/s",
        ours: push,
        floor: hand.push,
        floorName,
        target: { ratioAtLeast: 0.85 },
      }),
    );
  }
  await using kept = await startFar(cores, "durable", port);
  await using bay = await openMqtt("near", port, durable);
  const counter = new Counter();
  await bay.listen("far/tick", (value) => {
    check(value as Message);
    counter.count(1);
  });
  rows.push(
    await compare(context, {
      figure: "shouts with QoS 1, each acknowledged",
      unit: "/s",
      ours: counter.contender(
        kept.pid,
        CONFIRMED_PER_MS,
        (n) => bay.call("far/push", n, { timeoutMs: 60_000 }).catch((e) => console.error(e)),
      ),
      floor: await hand.append(),
      floorName,
      target: { ratioAtLeast: 0.85 },
    }),
  );
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "over mosquitto (on this process's core); CPU and memory: this process + the other",
  processes: 2,
  run,
};

export default suite;
