/**
 * A bridge between MQTT and another wire needs no list of addresses: what is there is carried, and
 * what is gone is gone on the other side, too.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open } from "@patchbay/core";
import { freePort } from "@patchbay/core/conformance";
import websocket from "@patchbay/websocket";
import mqtt from "../plugins/mqtt/mod.ts";
import { Mosquitto, probeMosquitto } from "../plugins/mqtt/mosquitto_fixture.ts";
import { requireOrIgnore } from "./require.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

for (const version of ["5", "3.1.1"] as const) {
  Deno.test({
    name: need.name(`bridge: MQTT ${version} tells what is there; two bridges carry it once`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Mosquitto.start());
      const quick = { reconnectMinMs: 10, reconnectMaxMs: 100 };
      const onMqtt = { port: broker.port, version, ...quick };
      const port = freePort();
      const onHub = { url: `ws://127.0.0.1:${port}`, ...quick };
      const bay = async (module: string, config: Record<string, object>): Promise<Bay> =>
        stack.use(
          await open({
            module,
            plugins: [mqtt, websocket].filter(({ name }) => name in config),
            config,
          }),
        );
      // What is no address is no offer, and harms nobody.
      const nonsense = {
        module: "?",
        serves: { "": "shared", "A B": "each" },
        speaks: ["**", "a//b"],
      };
      const note = ["-r", "-q", "1", "-t", "patchbay/bay/nonsense", "-m", JSON.stringify(nonsense)];
      await broker.run("mosquitto_pub", note);
      await bay("hub", { websocket: { listen: { port } } });
      const gates = [
        await bay("gate-1", { mqtt: onMqtt, websocket: onHub }),
        await bay("gate-2", { mqtt: onMqtt, websocket: onHub }),
      ];
      const bridges = [];
      for (const gate of gates) {
        bridges.push(await gate.bridge({ from: "mqtt", to: "websocket" }));
      }
      const arm = await bay("arm", { mqtt: onMqtt });
      const desk = await bay("desk", { websocket: onHub });

      const move = await arm.serve("arm/move", (to) => `at ${to}`);
      await arm.perform("arm/job", (n, { feedback }) => {
        feedback("half");
        return n;
      });
      const state = await arm.speaker<string>("arm/state", { retain: true });
      await state.shout("idle");
      await until(
        "the arm to be there",
        () => desk.call("arm/move", 3).then((answer) => answer === "at 3", () => false),
      );
      const heard: unknown[] = [];
      await until("its state to be there", async () => {
        const ear = await desk.listen("arm/state", (value) => void heard.push(value), {
          retained: true,
        });
        if (heard.length > 0) return true;
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (heard.length === 0) await ear.close();
        return heard.length > 0;
      });
      await state.shout("busy");
      await until("the news", () => heard.includes("busy"));
      assert.deepEqual(heard, ["idle", "busy"]);
      let job: unknown;
      await until("the job to be there", async () => {
        job = await desk.execute("arm/job", 7).then((one) => one.result).catch(() => undefined);
        return job !== undefined;
      });
      assert.equal(job, 7);

      // The other way round.
      await desk.serve("desk/ask", (value) => value);
      await until(
        "the desk to be there",
        () => arm.call("desk/ask", 1).then((answer) => answer === 1, () => false),
      );

      const offered = (await gates[0].offers("mqtt")).map(({ pattern, address, by }) =>
        by === arm.identity.id ? `${pattern} ${address}` : ""
      );
      assert.deepEqual(offered.filter((each) => each !== "").sort(), [
        "callable arm/move",
        "job arm/job",
        "speaker arm/state",
      ]);
      const states = bridges.map(({ status: [{ addresses }] }) =>
        addresses.find(({ address }) => address === "arm/move")?.state
      );
      assert.deepEqual(states.sort(), ["carried", "standby"]);

      // A device that no note tells of is heard, too, and not only at first.
      const seen: unknown[] = [];
      await desk.listen("dev/temp", (value) => void seen.push(value));
      const temp = ["-q", "1", "-t", "patchbay/shout/dev/temp", "-m"];
      await until("the device to be heard", async () => {
        await broker.run("mosquitto_pub", [...temp, "1"]);
        return seen.length > 0;
      });
      // A bridge looks again after a second.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const there = await desk.offers("websocket", "dev/*");
      assert.ok(there.length > 0, "its speaker stays");
      await broker.run("mosquitto_pub", [...temp, "2"]);
      await until("it to be heard again", () => seen.includes(2));

      await move.close();
      await until(
        "the server to be gone there, too",
        () => desk.call("arm/move", 3).then(() => false, (error) => error.code === "not_found"),
      );
    },
  });
}
