/**
 * The far process of the mqtt suite: `mqtt_far.ts ROLE PORT`. Prints a line when it is ready, and
 * ends when its input does. Roles: `ours`, `durable`, `mqttjs`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import library, { type MqttClient } from "npm:mqtt@5.16.0";
import { open } from "@patchbay/core";
import mqtt, { durable } from "../plugins/mqtt/mod.ts";

/** The 85 bytes of JSON that calls and shouts carry. */
export const MESSAGE = {
  method: "math.add",
  args: { x: 12345, y: 3.25, name: "left_grip", tags: ["a", "b"] },
};

/** A message as it arrives. */
export type Message = typeof MESSAGE;

/** What a bay of this suite is opened with. */
export function openMqtt(module: string, port: number, plugin: typeof mqtt) {
  return open({ module, plugins: [plugin], config: { mqtt: { port } } });
}

/** A client as one writes it by hand, in MQTT 5. */
export async function connect(port: number): Promise<MqttClient> {
  const client = await library.connectAsync({
    host: "127.0.0.1",
    port,
    protocolVersion: 5,
    reconnectPeriod: 0,
    timerVariant: "native",
  });
  // The suite's broker ends before its clients.
  client.on("error", () => {});
  (client.stream as unknown as { setNoDelay?: (on: boolean) => void }).setNoDelay?.(true);
  return client;
}

async function ours(port: number, plugin: typeof mqtt): Promise<void> {
  const bay = await openMqtt("far", port, plugin);
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

/** The same sequence by hand: what goes with a payload, too. */
async function bare(port: number): Promise<void> {
  const client = await connect(port);
  let shouted = 0;
  const id = () => ({ userProperties: { "pb-id": `far:${++shouted}` } });
  await client.subscribeAsync(["bare/call", "bare/ping", "bare/push", "bare/append"]);
  client.on("message", async (topic, payload: Buffer, packet) => {
    if (topic === "bare/call") {
      const { args } = JSON.parse(payload.toString()) as Message;
      const { responseTopic, correlationData } = packet.properties as {
        responseTopic: string;
        correlationData: Buffer;
      };
      const sum = JSON.stringify({ sum: args.x + args.y });
      return void client.publish(responseTopic, sum, { properties: { correlationData } });
    }
    if (topic === "bare/ping") {
      const value = JSON.parse(payload.toString());
      return void client.publish("bare/pong", JSON.stringify(value), { properties: id() });
    }
    const qos = topic === "bare/append" ? 1 : 0;
    for (let i = 0; i < Number(payload); i++) {
      client.publish("bare/tick", JSON.stringify(MESSAGE), { qos, properties: id() });
      if (i % 512 === 511) await new Promise((resolve) => setImmediate(resolve));
    }
  });
}

if (import.meta.main) {
  const [role, text] = Deno.args;
  const port = Number(text);
  const ended = (async () => {
    for await (const _ of Deno.stdin.readable) { /* Until it ends. */ }
  })();
  if (role === "mqttjs") await bare(port);
  else await ours(port, role === "ours" ? mqtt : durable);
  console.log("ready");
  await ended;
  Deno.exit(0);
}
