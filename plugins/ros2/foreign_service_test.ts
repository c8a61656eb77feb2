/**
 * Services between a bay and nodes that are none: what becomes of errors, and of who dies.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineCallable } from "@patchbay/core";
import ros2 from "./mod.ts";
import { fileURLToPath } from "node:url";
import { JSON_ACTION, JSON_DEFINITIONS, JSON_SERVICE } from "./json_text.ts";
import { ActionClient, ServiceClient, ServiceServer } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { type Faults, faultySockets } from "./rtps/testdata/place.ts";
import { Room } from "./testdata/room.ts";
import type { RosServices } from "./types/common_types.ts";
import { Types } from "./types/mod.ts";

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

Deno.test("foreign service: a node that has the package patchbay_msgs calls and executes JSON", async () => {
  await using room = new Room();
  const arm = await room.bay("arm", { json: true });
  await arm.serve("arm/double", (value) => {
    const { n } = value as { n: number };
    if (n > 9) throw new RangeError("too much");
    return { n: 2 * n };
  });
  await arm.perform("arm/count", (value, { feedback }) => {
    feedback([value]);
    return "done";
  });
  // What the package says is what is built in.
  const folder = fileURLToPath(new URL("./", import.meta.url));
  const types = new Types({ folders: [folder] });
  const builtIn = new Types({ definitions: JSON_DEFINITIONS });
  const { request, response, hash } = types.service(JSON_SERVICE);
  assert.equal(hash, builtIn.service(JSON_SERVICE).hash);
  const type = types.action(JSON_ACTION);
  assert.equal(type.hash, builtIn.action(JSON_ACTION).hash);
  await using participant = await foreigner(room);
  const onReport = (error: unknown) => {
    throw error;
  };
  const signal = AbortSignal.timeout(30_000);
  using client = new ServiceClient(participant, {
    name: "/arm/double",
    requestType: request.ddsName,
    responseType: response.ddsName,
    onReport,
  });
  await client.untilServed(signal);
  const call = async (value: string) =>
    response.decode(await client.call(request.encode({ value }), signal)) as {
      value: string;
      error: string;
    };
  assert.deepEqual(await call('{"n":4}'), { value: '{"n":8}', error: "" });
  const { value, error } = await call('{"n":10}');
  const { code, message } = JSON.parse(error);
  assert.deepEqual([value, code, message], ["", "remote", "too much"]);
  using action = new ActionClient(participant, { name: "/arm/count", type, types, onReport });
  await action.untilServed(signal);
  const heard: unknown[] = [];
  const id = await action.send({ value: "3" }, (each) => heard.push(each), signal);
  assert.deepEqual(await action.result(id!, signal), {
    status: "succeeded",
    result: { value: '"done"', error: "" },
  });
  assert.deepEqual(heard, [{ value: "[3]" }]);
  assert.deepEqual(room.reports, []);
});
