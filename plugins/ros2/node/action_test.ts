/**
 * Actions between two participants of ours; programs on other stacks judge them in
 * `tests/interop/ros2/actions_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Types } from "../types/mod.ts";
import { type Faults, Place } from "../rtps/testdata/place.ts";
import { actionParts, type Uuid, uuidOf } from "./action_messages.ts";
import {
  type AcceptedGoal,
  ActionClient,
  ActionServer,
  type ActionServerOptions,
  QOS_PROFILES,
  ServiceClient,
  ServiceServer,
} from "./mod.ts";

const types = new Types();
const type = types.action("example_interfaces/Fibonacci");

async function fibonacci({ goal, signal, feedback }: AcceptedGoal): Promise<unknown> {
  const { order } = goal as { order: number };
  if (order === 13) throw new Error("unlucky");
  const sequence = [0, 1];
  while (sequence.length <= order) {
    sequence.push(sequence.at(-1)! + sequence.at(-2)!);
    feedback({ sequence: [...sequence] });
    // Goals that are canceled in these tests have no end of their own.
    if (order >= 40) {
      await new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => resolve(), { once: true })
      );
    }
    if (signal.aborted) break;
  }
  return { sequence };
}

async function pair(
  place: Place,
  options: Partial<ActionServerOptions> = {},
  faults?: Faults,
) {
  const [a, b] = [await place.participant({}, faults), await place.participant({}, faults)];
  const reports: unknown[] = [];
  const common = {
    name: "/fibonacci",
    type,
    types,
    onReport: (error: unknown) => reports.push(error),
  };
  const server = new ActionServer(a, { ...common, execute: fibonacci, ...options });
  const client = new ActionClient(b, common);
  await client.untilServed(AbortSignal.timeout(20_000));
  return { server, client, reports, a, b };
}

for (const loss of [0, 0.25]) {
  Deno.test(`action: goals are done, with feedback and result, ${loss * 100} % of datagrams lost`, async () => {
    await using place = new Place();
    const { client, reports } = await pair(place, {}, { loss });
    const heard: number[] = [];
    const id = await client.send({ order: 5 }, (value) => {
      heard.push((value as { sequence: number[] }).sequence.length);
      place.touch();
    });
    assert.notEqual(id, undefined);
    assert.deepEqual(await client.result(id!), {
      status: "succeeded",
      result: { sequence: [0, 1, 1, 2, 3, 5] },
    });
    // Asked again, it is still known.
    assert.equal((await client.result(id!)).status, "succeeded");
    assert.deepEqual(heard, [3, 4, 5, 6]);
    assert.deepEqual(reports, []);
  });
}

Deno.test("action: feedback waits for its reader, and the result for the feedback", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const a = await place.participant({}, faults);
  const b = await place.participant();
  const reports: unknown[] = [];
  const common = {
    name: "/fibonacci",
    type,
    types,
    onReport: (error: unknown) => reports.push(error),
  };
  const parts = actionParts(common);
  using _server = new ActionServer(a, { ...common, execute: fibonacci });
  using goals = new ServiceClient(b, parts.sendGoal);
  using results = new ServiceClient(b, parts.getResult);
  const signal = AbortSignal.timeout(20_000);
  await goals.untilServed(signal);
  await results.untilServed(signal);
  const goal_id = uuidOf("ab".repeat(16));
  await goals.call(type.sendGoal.request.encode({ goal_id, goal: { order: 5 } }), signal);
  const told: string[] = [];
  // It is made only now, so the server knows of it later than of the goal.
  using _feedback = b.createReader({
    topic: parts.feedbackTopic,
    type: type.feedbackMessage.ddsName,
    qos: QOS_PROFILES.default,
    onMatched: () => {
      // The first copies get lost; those that are sent again come later than a result could.
      faults.loss = 1;
      setTimeout(() => faults.loss = 0, 50);
    },
    onSample: () => void told.push("feedback"),
  });
  await results.call(type.getResult.request.encode({ goal_id }), signal);
  told.push("result");
  assert.deepEqual(told, ["feedback", "feedback", "feedback", "feedback", "result"]);
  assert.deepEqual(reports, []);
});

Deno.test("action: a result waits for feedback that its server has not seen arrive", async () => {
  await using place = new Place();
  const faults: Faults = {};
  const a = await place.participant({}, faults);
  const b = await place.participant();
  const reports: unknown[] = [];
  const onReport = (error: unknown) => reports.push(error);
  const common = { name: "/fibonacci", type, types, onReport };
  const parts = actionParts(common);
  const { sendGoal, getResult, feedbackMessage } = type;
  const feedback = a.createWriter({
    topic: parts.feedbackTopic,
    type: feedbackMessage.ddsName,
    qos: QOS_PROFILES.default,
  });
  const accepted = sendGoal.response.encode({ accepted: true, stamp: { sec: 0, nanosec: 0 } });
  using _goals = new ServiceServer(a, parts.sendGoal, () => accepted);
  using _cancel = new ServiceServer(a, parts.cancelGoal, () => undefined);
  using _results = new ServiceServer(a, parts.getResult, async (payload) => {
    const { goal_id } = getResult.request.decode(payload) as { goal_id: Uuid };
    assert.ok(await feedback.untilMatchedBy(b.prefix, 30_000));
    faults.loss = 1;
    feedback.write(feedbackMessage.encode({ goal_id, feedback: { sequence: [7] } }));
    await new Promise<void>((lost) => faults.record = () => lost());
    faults.loss = 0;
    return getResult.response.encode({ status: 4, result: { sequence: [7] } });
  });
  using client = new ActionClient(b, common);
  const signal = AbortSignal.timeout(20_000);
  await client.untilServed(signal);
  const heard: unknown[] = [];
  const id = await client.send({ order: 7 }, (value) => heard.push(value), signal);
  assert.equal((await client.result(id!, signal)).status, "succeeded");
  assert.deepEqual(heard, [{ sequence: [7] }]);
  assert.deepEqual(reports, []);
});

Deno.test("action: several goals at once, one refused, one aborted, one unknown", async () => {
  await using place = new Place();
  const accept = (goal: unknown) => (goal as { order: number }).order >= 0;
  const { client, reports } = await pair(place, { accept });
  assert.equal(await client.send({ order: -1 }), undefined);
  const ids = await Promise.all([2, 3, 13].map((order) => client.send({ order })));
  const results = await Promise.all(ids.map((id) => client.result(id!)));
  assert.deepEqual(results.map(({ status }) => status), ["succeeded", "succeeded", "aborted"]);
  assert.equal((await client.result("ab".repeat(16))).status, "unknown");
  assert.deepEqual(reports.map(String), ["Error: unlucky"]);
});

Deno.test("action: a goal is canceled, unless the server refuses", async () => {
  await using place = new Place();
  let refuse = true;
  const { client } = await pair(place, { acceptCancel: () => !refuse });
  const started = Promise.withResolvers<void>();
  const id = await client.send({ order: 40 }, () => started.resolve());
  await started.promise;
  await assert.rejects(client.cancel(id!), { code: "forbidden" });
  refuse = false;
  await client.cancel(id!);
  assert.deepEqual(await client.result(id!), {
    status: "canceled",
    result: { sequence: [0, 1, 1] },
  });
  // Once more, after the end: no error.
  await client.cancel(id!);
  await assert.rejects(client.cancel("ab".repeat(16)), { code: "not_found" });
});

Deno.test("action: its states are told, also to who comes late", async () => {
  await using place = new Place();
  const { client, b, server } = await pair(place);
  const id = await client.send({ order: 2 });
  await client.result(id!);
  const statusType = types.message("action_msgs/GoalStatusArray");
  let list: { status: number }[] = [];
  b.createReader({
    topic: "rt/fibonacci/_action/status",
    type: statusType.ddsName,
    qos: { durability: "transient_local", depth: 1 },
    onSample: ({ payload }) => {
      list = (statusType.decode(payload) as { status_list: { status: number }[] }).status_list;
      place.touch();
    },
  });
  await place.until(() => list.length === 1 && list[0].status === 4, "its success");
  // Closing cancels what is still worked on.
  const ended = Promise.withResolvers<void>();
  await client.send({ order: 40 }, () => ended.resolve());
  await ended.promise;
  server.close();
});

Deno.test("action: nobody there is not_found", async () => {
  await using place = new Place();
  const participant = await place.participant();
  using client = new ActionClient(participant, { name: "/dig", type, types, onReport: () => {} });
  await assert.rejects(client.send({ order: 1 }), { code: "not_found" });
});
