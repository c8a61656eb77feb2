/**
 * `via: ["redis", "websocket"]`: the wires are tried in order, and it is said why one was not taken.
 *
 * @module
 */
import assert from "node:assert/strict";
import { open, PatchbayError } from "@patchbay/core";
import redis from "@patchbay/redis";
import websocket from "@patchbay/websocket";
import { freePort } from "@patchbay/core/conformance";
import { Broker, probeRedis } from "../plugins/redis/redis_fixture.ts";
import { requireOrIgnore } from "./require.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");
const via = ["redis", "websocket"] as const;

/** A hub that also serves over a Redis server, if there is one at that port. */
async function hub(port: number) {
  const bay = await open({
    module: "hub",
    plugins: [redis, websocket],
    config: { redis: { port }, websocket: { listen: { port: 0 } } },
  });
  await bay.serve("hub/echo", (value) => value, {
    via: bay.wires().filter((w) => w.open).map((w) => w.name) as ["websocket"],
  });
  return bay;
}

function guest(port: number, url: string) {
  return open({
    module: "guest",
    plugins: [redis, websocket],
    config: { redis: { port }, websocket: { url } },
  });
}

Deno.test("redis is down: unavailable with host, port, reason and remedy; the next wire is taken", async () => {
  const port = freePort();
  await using server = await hub(port);
  await using bay = await guest(port, server.transport(websocket).url);
  const wire = bay.wires().find(({ name }) => name === "redis");
  assert.equal(wire?.open, false);
  assert.match(wire?.reason ?? "", new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached`));
  assert.match(wire?.remedy ?? "", /redis-server/);
  assert.equal(await bay.call("hub/echo", 5, { via }), 5);
  const { chosen, considered } = await bay.explain("callable", "hub/echo", via);
  assert.equal(chosen, "websocket");
  assert.deepEqual(considered.map(({ transport, outcome }) => [transport, outcome]), [
    ["redis", "rejected"],
    ["websocket", "chosen"],
  ]);
  assert.match(considered[0].reason ?? "", /cannot be reached: the connection was refused/);
  const error = await bay.call("hub/echo", 5, { via: ["redis"] }).catch((error) => error);
  assert.ok(error instanceof PatchbayError && error.code === "unavailable", String(error));
});

Deno.test({
  name: need.name("redis is up: it is taken first, and the next one when it dies"),
  ignore: need.ignore,
  fn: async () => {
    await using broker = await Broker.start();
    await using server = await hub(broker.port);
    await using bay = await guest(broker.port, server.transport(websocket).url);
    const callable = bay.callable("hub/echo", { via });
    assert.equal(await callable.call(1), 1);
    assert.equal(callable.transport, "redis");
    await broker.kill();
    const untilMs = performance.now() + 30_000;
    while (callable.transport === "redis" && performance.now() < untilMs) {
      await callable.call(2).catch((error) => assert.equal(error.code, "closed"));
    }
    assert.equal(callable.transport, "websocket");
    const { considered } = await bay.explain("callable", "hub/echo", via);
    assert.match(considered[0].reason ?? "", /not connected/);
  },
});
