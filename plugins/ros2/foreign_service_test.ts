/**
 * Services between a bay and nodes that are none: what becomes of errors, and of who dies.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineCallable } from "@patchbay/core";
import ros2 from "./mod.ts";
import { ServiceClient, ServiceServer } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { type Faults, faultySockets } from "./rtps/testdata/place.ts";
import { Room } from "./testdata/room.ts";
import type { RosServices } from "./types/common_types.ts";

type SetBool = RosServices["std_srvs/srv/SetBool"];
type Add = RosServices["example_interfaces/srv/AddTwoInts"];
const Light = defineCallable<SetBool["request"], SetBool["response"]>({
  address: "light",
  native: { ros2: { type: "std_srvs/srv/SetBool" } },
});
const AddTwoInts = defineCallable<Add["request"], Add["response"]>({
  address: "add_two_ints",
  native: { ros2: { type: "example_interfaces/srv/AddTwoInts" } },
});
const PATIENT = { timeoutMs: 30_000 };

function foreigner(room: Room, faults: Faults = {}, leaseMs = 20_000): Promise<Participant> {
  return Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
    openSocket: faultySockets(faults),
    leaseMs,
    announceMs: leaseMs / 10,
  });
}

Deno.test("foreign service: an error goes into success and message; else there is no reply, and it is told", async () => {
  await using room = new Room();
  const arm = await room.bay("arm");
  const { types } = arm.transport(ros2);
  await arm.serve(Light, () => {
    throw new RangeError("no bulb");
  });
  await arm.serve(AddTwoInts, ({ a, b }) => {
    if (a < 0n) throw new RangeError("too small");
    return { sum: a + b };
  });
  await using participant = await foreigner(room);
  const client = (name: string, type: string) => {
    const { request, response } = types.service(type);
    const made = new ServiceClient(participant, {
      name,
      requestType: request.ddsName,
      responseType: response.ddsName,
      onReport: (error) => {
        throw error;
      },
    });
    return async (value: unknown, signal = AbortSignal.timeout(30_000)) => {
      await made.untilServed(signal);
      return response.decode(await made.call(request.encode(value), signal));
    };
  };
  const light = client("/light", "std_srvs/srv/SetBool");
  assert.deepEqual(await light({ data: true }), { success: false, message: "no bulb" });
  assert.deepEqual(room.reports, []);
  const add = client("/add_two_ints", "example_interfaces/srv/AddTwoInts");
  const given = new AbortController();
  const unanswered = assert.rejects(add({ a: -1n, b: 0n }, given.signal), { name: "AbortError" });
  await room.until(() => room.reports.length > 0, "the report");
  const [{ code, message, address }] = room.reports;
  assert.deepEqual([code, address], ["remote", "add_two_ints"]);
  assert.match(message, /gets no reply: too small/);
  // The next one is answered.
  assert.deepEqual(await add({ a: 1n, b: 2n }), { sum: 3n });
  given.abort();
  await unanswered;
  assert.equal(room.reports.length, 1);
});

Deno.test("foreign service: a call ends with closed when its server's lease is over", async () => {
  await using room = new Room();
  const desk = await room.bay("desk");
  const faults: Faults = {};
  await using participant = await foreigner(room, faults, 1000);
  const { request, response } = desk.transport(ros2).types.service("std_srvs/srv/SetBool");
  const asked = Promise.withResolvers<void>();
  new ServiceServer(participant, {
    name: "/light",
    requestType: request.ddsName,
    responseType: response.ddsName,
    onReport: () => {},
  }, () => {
    asked.resolve();
    return new Promise(() => {});
  });
  await desk.waitFor(Light, PATIENT);
  const call = assert.rejects(desk.call(Light, { data: true }, PATIENT), { code: "closed" });
  await asked.promise;
  faults.cut = true;
  await call;
  await assert.rejects(desk.call(Light, { data: true }), { code: "not_found" });
  assert.deepEqual(room.reports, []);
});

Deno.test("foreign service: what a node serves already is not served again, until it stops", async () => {
  await using room = new Room();
  const desk = await room.bay("desk");
  await using participant = await foreigner(room);
  const { request, response } = desk.transport(ros2).types.service("std_srvs/srv/SetBool");
  const server = new ServiceServer(participant, {
    name: "/light",
    requestType: request.ddsName,
    responseType: response.ddsName,
    onReport: () => {},
  }, () => undefined);
  await desk.waitFor(Light, PATIENT);
  const serve = () => desk.serve(Light, () => ({ success: true, message: "" }));
  await assert.rejects(serve(), { code: "unavailable" });
  server.close();
  const { graph } = desk.transport(ros2);
  const end = graph.watch(room.touch);
  await room.until(() => graph.services().length === 0, "its end");
  end();
  await serve();
  assert.deepEqual(room.reports, []);
});
