/**
 * Who may serve a name, and who may speak for whom.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineCallable, defineJob } from "@patchbay/core";
import { writeMetadata } from "./metadata.ts";
import ros2 from "./mod.ts";
import { actionParts, QOS_PROFILES, uuidOf } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { Room } from "./testdata/room.ts";
import type { RosActions, RosServices } from "./types/common_types.ts";

type SetBool = RosServices["std_srvs/srv/SetBool"];
type Fib = RosActions["example_interfaces/action/Fibonacci"];

const light = (address: string, name: string) =>
  defineCallable<SetBool["request"], SetBool["response"]>({
    address,
    native: { ros2: { type: "std_srvs/srv/SetBool", name } },
  });
const Fibonacci = defineJob<Fib["goal"], Fib["feedback"], Fib["result"]>({
  address: "fibonacci",
  native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
});
const yes = () => ({ success: true, message: "" });

Deno.test("claims: two addresses of one bay are not one name, unless both are shared", async () => {
  await using room = new Room();
  const arm = await room.bay("arm");
  const first = await arm.serve(light("left", "/light"), yes);
  await assert.rejects(arm.serve(light("right", "/light"), yes), {
    code: "unavailable",
    message: /right is \/light, as left is/,
  });
  await assert.rejects(arm.serve(light("right", "/light"), yes, { sharing: "shared" }), {
    code: "unavailable",
  });
  await first.close();
  for (const address of ["left", "right"]) {
    await arm.serve(light(address, "/light"), yes, { sharing: "shared" });
  }
  assert.deepEqual(room.reports, []);
});

Deno.test("claims: calls go round among those who share a name", async () => {
  await using room = new Room();
  const bays = [await room.bay("arm"), await room.bay("leg")];
  for (const [i, bay] of bays.entries()) {
    const answer = () => ({ success: true, message: `${i}` });
    await bay.serve(light("light", "/light"), answer, { sharing: "shared" });
  }
  const desk = await room.bay("desk");
  const answered: string[] = [];
  for (let n = 0; n < 6; n++) {
    answered.push((await desk.call(light("light", "/light"), { data: true })).message);
  }
  assert.deepEqual(answered.sort(), ["0", "0", "0", "1", "1", "1"]);
  assert.deepEqual(room.reports, []);
});

Deno.test("claims: of two who serve a name at once one does, and who closes makes room", async () => {
  await using room = new Room();
  const bays = [await room.bay("arm"), await room.bay("leg"), await room.bay("desk")];
  for (let round = 0; round < 5; round++) {
    const told = await Promise.allSettled(
      bays.slice(0, 2).map((bay) => bay.serve(light("light", "/light"), yes)),
    );
    const served = told.filter((each) => each.status === "fulfilled");
    assert.equal(served.length, 1, `round ${round}`);
    assert.equal((await bays[2].call(light("light", "/light"), { data: true })).success, true);
    await served[0].value.close();
  }
  assert.deepEqual(room.reports, []);
});

Deno.test("claims: served, closed and served again at once, and each call is answered", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const contract = light("light", "/light");
  for (let round = 0; round < 5; round++) {
    const served = await arm.serve(contract, () => ({ success: true, message: `${round}` }));
    const { message } = await desk.call(contract, { data: true });
    assert.equal(message, `${round}`);
    await served.close();
    await assert.rejects(desk.call(contract, { data: true }), { code: "not_found" });
  }
  assert.deepEqual(room.reports, []);
});

Deno.test("claims: only who has a goal gives feedback of it", async () => {
  await using room = new Room();
  await using stranger = await Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
  });
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const said = Promise.withResolvers<void>();
  await arm.perform(Fibonacci, async ({ order }, { feedback }) => {
    await said.promise;
    feedback({ sequence: [order] });
    return { sequence: [order] };
  });
  const job = await desk.execute(Fibonacci, { order: 3 });
  const { types } = desk.transport(ros2);
  const type = types.action("example_interfaces/Fibonacci");
  const parts = actionParts({ name: "/fibonacci", type, types, onReport: () => {} });
  const writer = stranger.createWriter({
    topic: parts.feedbackTopic,
    type: type.feedbackMessage.ddsName,
    qos: QOS_PROFILES.default,
  });
  assert.ok(await writer.untilMatchedBy(desk.transport(ros2).participant.prefix, 20_000));
  const feedback = { sequence: [6, 6, 6] };
  const payload = type.feedbackMessage.encode({ goal_id: uuidOf(job.id), feedback });
  for (const metadata of [{}, { n: 1000 }, { n: 2000, g: 1 }]) {
    writer.write(payload, { inline: writeMetadata(metadata) });
  }
  assert.ok(await writer.untilAcknowledged(20_000, desk.transport(ros2).participant.prefix));
  said.resolve();
  const heard: number[][] = [];
  for await (const { sequence } of job.feedback) heard.push(sequence);
  assert.deepEqual([heard, job.progress, await job.result], [[[3]], undefined, { sequence: [3] }]);
  assert.deepEqual(room.reports, []);
});
