/** What a manager does with neighbours that lie. */
import assert from "node:assert/strict";
import { type Bay, type EventContext, open, PatchbayError } from "@patchbay/core";
import { createBus } from "../plugin.ts";
import { EXCHANGE, type Exchange } from "./exchange.ts";
import { type BridgesHost, ManagerBridges } from "./manager_bridges.ts";
import type { ManagerRecord } from "./reach.ts";

const bus = createBus();

/** A manager, and somebody on its bus. */
async function meeting() {
  const hub = await open({
    module: "manager",
    plugins: [bus] as const,
    config: { bus: { listen: { port: 0 } } },
  });
  const url = hub.transport(bus).where[0];
  const client = await open({
    module: "client",
    plugins: [bus] as const,
    config: { bus: { url } },
  });
  return {
    hub,
    client,
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await hub.close();
    },
  };
}

const record = (id: string, more: Partial<ManagerRecord> = {}): ManagerRecord => (
  { id, name: id, hops: 0, hears: [], modules: [], ...more }
);

const exchange = (id: string, records: readonly ManagerRecord[] = [record(id)]): Exchange => (
  { id, name: id, client: id, table: null, records }
);

const told = (client: Bay, value: Exchange) =>
  client.call<Exchange, Exchange>(EXCHANGE, value, { timeoutMs: 20_000 });

Deno.test("bridged managers: a table that is too long stays with who told it, and others get what they take", async () => {
  await using pair = await meeting();
  const { hub, client } = pair;
  await using _ = await hub.transport(bus).bridge(hub, {});
  // A neighbour of which 63 others are told: with this manager and the next one there are too many.
  const many = Array.from({ length: 63 }, (_, n) => record(`far${n}`, { hops: 1 }));
  await told(client, exchange("crowd", [record("crowd"), ...many]));
  const { records } = await told(client, exchange("other"));
  assert.equal(records.length, 64);
  assert.deepEqual(records.slice(0, 2).map(({ hops }) => hops), [0, 1]);
  assert.equal(records[1].id, "crowd");
  // Nobody tells of managers without an end.
  let refusal: unknown;
  for (let n = 0; n < 100 && refusal === undefined; n++) {
    await told(client, exchange(`guest${n}`)).catch((error) => refusal = error);
  }
  assert.ok(refusal instanceof PatchbayError);
  assert.match(refusal.message, /over 64 managers have dialled this one/);
  // Who was there is heard as before.
  await told(client, exchange("other"));
});

Deno.test("bridged managers: only frames are asked for, and of too many patterns all frames", async () => {
  await using pair = await meeting();
  const { hub, client } = pair;
  await using _ = await hub.transport(bus).bridge(hub, {});
  for (const hears of [["**"], ["motor/raw"], ["frame/NO SUCH"], ["frame/**/x"]]) {
    await assert.rejects(told(client, exchange("liar", [record("liar", { hears })])), {
      code: "invalid",
    });
  }
  for (let n = 0; n < 600; n++) await client.listen(`frame/x${n}`, () => {});
  const { records: [own] } = await told(client, exchange("other"));
  assert.deepEqual(own.hears, ["frame/**"]);
});

Deno.test("bridged managers: what comes over a bridge is a frame, whatever it is called there", async () => {
  await using pair = await meeting();
  const { hub, client } = pair;
  const heard: string[] = [];
  const came = Promise.withResolvers<void>();
  for (const pattern of ["motor/**", "frame/**"]) {
    await client.listen(pattern, (_, { address }) => {
      heard.push(address);
      if (address === "frame/x") came.resolve();
    }, { retained: true });
  }
  const listening = Promise.withResolvers<(body: Uint8Array, context: EventContext) => void>();
  const far = {
    identity: { id: "dialler" },
    statistics: { snapshot: () => ({ endpoints: [] }) },
    call: () => Promise.resolve(exchange("liar")),
    listen: (pattern: string, callback: (body: Uint8Array, context: EventContext) => void) => {
      if (pattern.startsWith("frame/")) listening.resolve(callback);
      return Promise.resolve({ close: () => Promise.resolve() });
    },
    close: () => Promise.resolve(),
  } as unknown as Bay;
  const up = Promise.withResolvers<void>();
  const host: BridgesHost = {
    modules: () => hub.transport(bus).modules(),
    table: undefined,
    onListening: () => () => {},
    onAttendance: () => () => {},
    dial: () => Promise.resolve(far),
  };
  await using bridges = await ManagerBridges.open(hub, host, {
    urls: ["tcp://there"],
    onChange: ({ state }) => {
      if (state === "up") up.resolve();
    },
  }, "here");
  await up.promise;
  const hears = await listening.promise;
  const context = { origin: "liar", sequence: 1, priority: 128, retained: false };
  for (const [n, address] of ["motor/raw", "bus/exchange", "frame/x"].entries()) {
    hears(new Uint8Array(1), { ...context, sequence: n + 1, address } as unknown as EventContext);
  }
  await came.promise;
  assert.deepEqual(heard, ["frame/x"]);
  assert.deepEqual(bridges.status[0].drops, { invalid: 2 });
});
