/**
 * Services and nodes among participants that are broken or mean harm.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Entity, EntityKind } from "../rtps/constants.ts";
import { ParameterWriter } from "../rtps/parameters.ts";
import { Lonely, prefixOfNumber, readerId, Stranger, writerId } from "../rtps/testdata/stranger.ts";
import { Types } from "../types/mod.ts";
import { ActionServer, DiscoveryInfo, ServiceClient, ServiceServer } from "./mod.ts";
import { idParameters } from "./request_header.ts";

const OPTIONS = { name: "/s", requestType: "Q", responseType: "R" };
const BODY = Uint8Array.of(0, 1, 0, 0, 1, 2, 3, 4);

/** A stranger with the ends of a service's server or client, known to a participant. */
async function stranger(lonely: Lonely, n: number, role: "server" | "client" | "asks only") {
  const made = new Stranger(lonely, prefixOfNumber(n));
  await lonely.hear(made.announce());
  const [request, reply] = [{ topic: "rq/sRequest", type: "Q" }, { topic: "rr/sReply", type: "R" }];
  const [reads, writes] = role === "server" ? [request, reply] : [reply, request];
  if (role !== "asks only") await lonely.hear(made.endpoint("reader", readerId(1), reads));
  await lonely.hear(made.endpoint("writer", writerId(1), writes));
  return made;
}

function inlineOf(parameters: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const list = new ParameterWriter(false);
  for (const [pid, value] of parameters) list.bytes(pid, value);
  return list.finish();
}

Deno.test("hostile: only who was asked answers a call", async () => {
  await using lonely = await Lonely.open();
  const reports: unknown[] = [];
  using client = new ServiceClient(lonely.participant, {
    ...OPTIONS,
    onReport: (error) => reports.push(error),
  });
  const server = await stranger(lonely, 1, "server");
  const other = await stranger(lonely, 2, "server");
  const [asked] = client.servers.filter(({ guid }) => guid.startsWith(server.prefix));
  const replies: number[] = [];
  client.ask(asked, BODY, undefined, ({ payload }) => replies.push(payload[4]), () => {});
  // The reader of replies is the client's first endpoint, and this its first request.
  const reader = lonely.participant.prefix +
    ((1 << 8 | EntityKind.readerNoKey) >>> 0).toString(16).padStart(8, "0");
  const inline = inlineOf(idParameters({ client: reader, number: 1n }));
  const answer = (from: Stranger, byte: number) =>
    from.say((to) => to.data(Entity.unknown, writerId(1), 1, 0, BODY.with(4, byte), false, inline));
  await lonely.hear(answer(other, 66));
  assert.deepEqual(replies, []);
  await lonely.hear(answer(server, 7));
  assert.deepEqual([replies, reports], [[7], []]);
});

Deno.test("service: what waits for a server, or for a reply, ends when its client is closed", async () => {
  await using lonely = await Lonely.open();
  const client = new ServiceClient(lonely.participant, { ...OPTIONS, onReport: () => {} });
  const waits = client.untilServed();
  await stranger(lonely, 1, "server");
  await waits;
  const closed = { code: "closed", message: /the client of \/s is closed/ };
  const ends = [assert.rejects(client.call(BODY), closed)];
  client.close();
  client.close();
  ends.push(
    assert.rejects(client.untilServed(), closed),
    assert.rejects(client.call(BODY), closed),
  );
  const other = new ServiceClient(lonely.participant, {
    ...OPTIONS,
    name: "/nobody",
    onReport: () => {},
  });
  ends.push(assert.rejects(other.untilServed(), { code: "closed" }));
  other.close();
  await Promise.all(ends);
});

Deno.test("hostile: one client's flood of requests leaves room for others, and is told once", async () => {
  await using lonely = await Lonely.open();
  const reports: unknown[] = [];
  const asked = new Map<string, number>();
  const options = { ...OPTIONS, onReport: (error: unknown) => reports.push(error) };
  using server = new ServiceServer(lonely.participant, options, (_, { writer: { guid } }) => {
    const prefix = guid.slice(0, 24);
    asked.set(prefix, (asked.get(prefix) ?? 0) + 1);
    return new Promise(() => {});
  });
  const flood = await stranger(lonely, 1, "client");
  const modest = await stranger(lonely, 2, "client");
  for (let n = 1; n <= 3000; n++) {
    await lonely.hear(flood.say((to) => to.data(0, writerId(1), n, 0, BODY, false, undefined)));
  }
  await lonely.hear(modest.say((to) => to.data(0, writerId(1), 1, 0, BODY, false, undefined)));
  assert.deepEqual([...asked], [[flood.prefix, 1024], [modest.prefix, 1]]);
  assert.equal(server.refused, 3000 - 1024);
  assert.equal(reports.length, 1);
});

Deno.test("hostile: replies to those who never come push out no others, and are few", async () => {
  await using lonely = await Lonely.open();
  const reports: unknown[] = [];
  const options = { ...OPTIONS, onReport: (error: unknown) => reports.push(error) };
  using _ = new ServiceServer(lonely.participant, options, (payload) => payload);
  const early = await stranger(lonely, 1, "asks only");
  const flood = await stranger(lonely, 2, "asks only");
  await lonely.hear(early.say((to) => to.data(0, writerId(1), 1, 0, BODY, false, undefined)));
  for (let n = 1; n <= 400; n++) {
    await lonely.hear(flood.say((to) => to.data(0, writerId(1), n, 0, BODY, false, undefined)));
  }
  assert.equal(reports.length, 1);
  lonely.sent.splice(0);
  const reader = early.endpoint("reader", readerId(1), { topic: "rr/sReply", type: "R" });
  await lonely.hear(reader);
  // Whether it gets the reply is seen when it has answered the first heartbeat.
  for (const id of [1, 2]) {
    const writerEntity = (id << 8 | EntityKind.writerNoKey) >>> 0;
    await lonely.hear(
      early.say((to) => to.ackNack(readerId(1), writerEntity, 1, undefined, 5, true)),
    );
  }
  const hasBody = lonely.sent.some(({ bytes }) => bytes.join().includes(BODY.join()));
  assert.ok(hasBody, "its reply was pushed out");
});

Deno.test("hostile: goals that never end are few, also when they are decided on at once", async () => {
  await using lonely = await Lonely.open();
  const types = new Types();
  const type = types.action("example_interfaces/Fibonacci");
  const decision = Promise.withResolvers<boolean>();
  let begun = 0;
  const asked = Promise.withResolvers<void>();
  const working = Promise.withResolvers<void>();
  let questions = 0;
  using server = new ActionServer(lonely.participant, {
    name: "/f",
    type,
    types,
    onReport: () => {},
    accept: () => {
      if (++questions === 2000) asked.resolve();
      return decision.promise;
    },
    execute: () => {
      if (++begun === 1024) working.resolve();
      return new Promise(() => {});
    },
  });
  for (let n = 1; n <= 2; n++) {
    const made = new Stranger(lonely, prefixOfNumber(n));
    await lonely.hear(made.announce());
    const topic = "rq/f/_action/send_goalRequest";
    await lonely.hear(
      made.endpoint("writer", writerId(1), { topic, type: type.sendGoal.request.ddsName }),
    );
    for (let i = 1; i <= 1000; i++) {
      const uuid = new Uint8Array(16);
      new DataView(uuid.buffer).setUint32(0, n * 10_000 + i);
      const goal = type.sendGoal.request.encode({ goal_id: { uuid }, goal: { order: 1 } });
      await lonely.hear(made.say((to) => to.data(0, writerId(1), i, 0, goal, false, undefined)));
      // Once more: an id that is known is no new goal.
      if (i === 1000) {
        await lonely.hear(
          made.say((to) => to.data(0, writerId(1), i + 1, 0, goal, false, undefined)),
        );
      }
    }
  }
  await asked.promise;
  decision.resolve(true);
  // Each begins when its owner's reader of feedback, which never comes, has been waited for.
  await working.promise;
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(begun, 1024);
  assert.equal(server.active, 1024);
});

Deno.test("action: feedback waits for the owner to have the answer", async () => {
  await using lonely = await Lonely.open();
  const types = new Types();
  const type = types.action("example_interfaces/Fibonacci");
  const begun = Promise.withResolvers<void>();
  using _server = new ActionServer(lonely.participant, {
    name: "/f",
    type,
    types,
    onReport: () => {},
    execute: ({ feedback }) => {
      feedback({ sequence: [7] });
      begun.resolve();
    },
  });
  const made = new Stranger(lonely, prefixOfNumber(1));
  await lonely.hear(made.announce());
  const { request, response } = type.sendGoal;
  const reads = [
    { topic: "rr/f/_action/send_goalReply", type: response.ddsName },
    { topic: "rt/f/_action/feedback", type: type.feedbackMessage.ddsName },
  ];
  for (const [i, each] of reads.entries()) {
    await lonely.hear(made.endpoint("reader", readerId(i + 1), each));
  }
  const goals = { topic: "rq/f/_action/send_goalRequest", type: request.ddsName };
  await lonely.hear(made.endpoint("writer", writerId(1), goals));
  let count = 0;
  // Writers are known by their order: feedback, states, then the replies to goals.
  const writers = [3, 1].map((n) => (n << 8 | EntityKind.writerNoKey) >>> 0);
  const answer = (reader: 1 | 2, base: number) =>
    made.say((to) =>
      to.ackNack(readerId(reader), writers[reader - 1], base, undefined, ++count, true)
    );
  // Its reader of feedback has met the writer, that of answers has not yet.
  await lonely.hear(answer(2, 1));
  const goal_id = { uuid: new Uint8Array(16).fill(9) };
  const goal = request.encode({ goal_id, goal: { order: 1 } });
  await lonely.hear(made.say((to) => to.data(0, writerId(1), 1, 0, goal, false, undefined)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await lonely.hear(answer(1, 1));
  await lonely.hear(answer(1, 2));
  await begun.promise;
  await new Promise((resolve) => setTimeout(resolve, 0));
  const feedback = type.feedbackMessage.encode({ goal_id, feedback: { sequence: [7] } });
  const at = (bytes: Uint8Array) =>
    lonely.sent.findIndex((each) => each.bytes.join().includes(bytes.join()));
  const accepted = response.encode({ accepted: true, stamp: { sec: 0, nanosec: 0 } }).subarray(
    0,
    8,
  );
  assert.ok(at(accepted) > 0, "no answer was sent");
  assert.ok(at(feedback) > at(accepted), "feedback came first");
});

Deno.test("hostile: who waits for one result thousands of times is bounded", async () => {
  await using lonely = await Lonely.open();
  const types = new Types();
  const type = types.action("example_interfaces/Fibonacci");
  const reports: unknown[] = [];
  const end = Promise.withResolvers<unknown>();
  using server = new ActionServer(lonely.participant, {
    name: "/f",
    type,
    types,
    onReport: (error) => reports.push(error),
    execute: () => end.promise,
  });
  const made = new Stranger(lonely, prefixOfNumber(1));
  await lonely.hear(made.announce());
  const { sendGoal, getResult } = type;
  for (
    const [n, name, { request }] of [[1, "send_goal", sendGoal], [
      2,
      "get_result",
      getResult,
    ]] as const
  ) {
    const topic = `rq/f/_action/${name}Request`;
    await lonely.hear(made.endpoint("writer", writerId(n), { topic, type: request.ddsName }));
  }
  const goal_id = { uuid: new Uint8Array(16).fill(9) };
  const goal = sendGoal.request.encode({ goal_id, goal: { order: 1 } });
  await lonely.hear(made.say((to) => to.data(0, writerId(1), 1, 0, goal, false, undefined)));
  const question = getResult.request.encode({ goal_id });
  for (let n = 1; n <= 3000; n++) {
    await lonely.hear(made.say((to) => to.data(0, writerId(2), n, 0, question, false, undefined)));
  }
  assert.equal(server.refused, 3000 - 1024);
  assert.deepEqual(reports.map((each) => (each as { code: string }).code), ["overloaded"]);
  end.resolve({ sequence: [1] });
});

Deno.test("hostile: who tells of too many nodes is not believed", async () => {
  await using lonely = await Lonely.open();
  const reports: unknown[] = [];
  using info = new DiscoveryInfo(lonely.participant, { onReport: (error) => reports.push(error) });
  const made = new Stranger(lonely, prefixOfNumber(1));
  await lonely.hear(made.announce());
  const type = "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_";
  const qos = { durability: "transient_local" } as const;
  await lonely.hear(
    made.endpoint("writer", writerId(1), { topic: "ros_discovery_info", type, qos }),
  );
  const large = new Uint8Array(400_000);
  large[1] = 1;
  for (let i = 1; i <= 8; i++) {
    await lonely.hear(
      made.say((to) => to.dataFrag(0, writerId(1), 1, 0, i, 60_000, large, undefined)),
    );
  }
  assert.equal(info.remote.size, 0);
  assert.deepEqual(reports.map((each) => (each as { code: string }).code), ["too_large"]);
});
