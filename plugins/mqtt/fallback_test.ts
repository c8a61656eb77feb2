/**
 * `via: ["redis", "mqtt", "websocket"]`: the wires are tried in order, and it is said why one was not
 * taken.
 *
 * @module
 */
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import { freePort } from "@patchbay/core/conformance";
import type { Plugin } from "@patchbay/core";
import mqtt from "./mod.ts";
import { requireOrIgnore } from "../../tests/require.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";
import { testsWith, until } from "./testdata/places.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);
const test = testsWith(need);

const plugin = async (name: string): Promise<Plugin> =>
  (await import(new URL(`../${name}/mod.ts`, import.meta.url).href)).default;

test("redis is down: mqtt is taken; mqtt dies: websocket is; each time it is said why", async (place) => {
  const [redis, websocket] = [await plugin("redis"), await plugin("websocket")];
  const { broker } = place;
  const nowhere = freePort();
  const hubPort = freePort();
  const plugins = [redis, mqtt, websocket];
  const both = { redis: { port: nowhere }, mqtt: { port: broker.port } };
  await using hub = await open({
    module: "hub",
    plugins,
    config: { ...both, websocket: { listen: { port: hubPort } } },
  });
  await hub.serve("hub/echo", (value) => value, { via: ["mqtt", "websocket"] });
  await using guest = await open({
    module: "guest",
    plugins,
    config: { ...both, websocket: { url: `ws://127.0.0.1:${hubPort}` } },
  });
  const via = ["redis", "mqtt", "websocket"];
  const callable = guest.callable("hub/echo", { via });
  assert.equal(await callable.call(1), 1);
  assert.equal(callable.transport, "mqtt");
  const first = (await guest.explain("callable", "hub/echo", via)).considered;
  assert.deepEqual(first.slice(0, 2).map(({ transport, outcome }) => [transport, outcome]), [
    ["redis", "rejected"],
    ["mqtt", "chosen"],
  ]);
  assert.match(first[0].reason ?? "", new RegExp(`127\\.0\\.0\\.1:${nowhere} cannot be reached`));
  await broker.kill();
  await until("the next wire to be taken", async () => {
    await callable.call(2).catch(() => {});
    return callable.transport === "websocket";
  });
  const { considered } = await guest.explain("callable", "hub/echo", via);
  assert.match(considered[1].reason ?? "", /not connected/);
});
