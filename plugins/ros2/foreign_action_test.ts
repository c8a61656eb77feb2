/**
 * Jobs whose server is no bay: its results say nothing of its feedback.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineJob, type PatchbayError } from "@patchbay/core";
import ros2 from "./mod.ts";
import { actionParts, GoalStatus, QOS_PROFILES, ServiceServer, type Uuid } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { type Faults, faultySockets } from "./rtps/testdata/place.ts";
import { Room } from "./testdata/room.ts";
import type { RosActions } from "./types/common_types.ts";

type Fib = RosActions["example_interfaces/action/Fibonacci"];
const Fibonacci = defineJob<Fib["goal"], Fib["feedback"], Fib["result"]>({
  address: "fibonacci",
  native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
});
const PATIENT = { timeoutMs: 30_000 };

/** Performs Fibonacci as a server that hurries: its last feedback is lost, its result is not. */
async function hurriedServer(room: Room, bay: Awaited<ReturnType<Room["bay"]>>) {
  const faults: Faults = {};
  const participant = await Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
    openSocket: faultySockets(faults),
  });
  const { graph, types, participant: own } = bay.transport(ros2);
  const type = types.action("example_interfaces/action/Fibonacci");
  const onReport = (error: unknown) => room.reports.push(error as PatchbayError);
  const parts = actionParts({ name: "/fibonacci", type, types, onReport });
  const feedback = participant.createWriter({
    topic: parts.feedbackTopic,
    type: type.feedbackMessage.ddsName,
    qos: QOS_PROFILES.default,
  });
  const { sendGoal, getResult } = type;
  new ServiceServer(participant, parts.getResult, async (payload) => {
    const { goal_id } = getResult.request.decode(payload) as { goal_id: Uuid };
    assert.ok(await feedback.untilMatchedBy(own.prefix, 30_000));
    const write = (length: number) =>
      feedback.write(type.feedbackMessage.encode({
        goal_id,
        feedback: { sequence: Array.from({ length }, (_, n) => n) },
      }));
    write(1);
    write(2);
    assert.ok(await feedback.untilAcknowledged(30_000, own.prefix));
    const lost = Promise.withResolvers<void>();
    faults.loss = 1;
    faults.record = () => lost.resolve();
    write(3);
    await lost.promise;
    faults.loss = 0;
    faults.record = undefined;
    return getResult.response.encode({
      status: GoalStatus.succeeded,
      result: { sequence: [3] },
    });
  });
  new ServiceServer(participant, parts.cancelGoal, () => undefined);
  new ServiceServer(
    participant,
    parts.sendGoal,
    () => sendGoal.response.encode({ accepted: true, stamp: { sec: 0, nanosec: 0 } }),
  );
  await graph.untilServed("fibonacci", PATIENT);
  return participant;
}

Deno.test("foreign action: a result waits for the feedback that was lost before it", async () => {
  await using room = new Room();
  const desk = await room.bay("desk");
  await using _server = await hurriedServer(room, desk);
  for (let round = 0; round < 3; round++) {
    const job = await desk.execute(Fibonacci, { order: 3 }, PATIENT);
    const lengths: number[] = [];
    for await (const { sequence } of job.feedback) lengths.push(sequence.length);
    assert.deepEqual([lengths, await job.result], [[1, 2, 3], { sequence: [3] }]);
  }
  assert.deepEqual(room.reports, []);
});
