/**
 * Topics between bays: what policies and patterns do at speakers and listeners, and what the graph
 * tells of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineJob, defineSpeaker } from "@patchbay/core";
import ros2 from "./mod.ts";
import { QOS_PROFILES } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { type Faults, faultySockets } from "./rtps/testdata/place.ts";
import { Room } from "./testdata/room.ts";

const text = (address: string, qos?: unknown) =>
  defineSpeaker<{ data: string }>({
    address,
    native: { ros2: { type: "std_msgs/msg/String", qos } as { type: string } },
  });
const TYPE = "std_msgs::msg::dds_::String_";

Deno.test("profiles: have the numbers of ROS 2", () => {
  const told = Object.entries(QOS_PROFILES).map(([name, qos]) =>
    `${name}: ${qos.reliability} ${qos.durability} ${qos.history} ${qos.depth}`
  );
  assert.deepEqual(told, [
    "default: reliable volatile keep_last 10",
    "sensor_data: best_effort volatile keep_last 5",
    "services_default: reliable volatile keep_last 10",
    "parameters: reliable volatile keep_last 1000",
    "parameter_events: reliable volatile keep_last 1000",
    "system_default: reliable volatile keep_last 1",
    "action_status: reliable transient_local keep_last 1",
  ]);
});

Deno.test("topics: the graph tells who publishes and who subscribes, with their policies", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const qos = { profile: "sensor_data", depth: 3, deadlineMs: 250, lifespanMs: 500 };
  await arm.speaker(text("scan", qos));
  await desk.listen(text("scan", { reliability: "best_effort", depth: 7 }), () => {});
  const { graph } = desk.transport(ros2);
  const other = arm.transport(ros2).graph;
  await graph.untilPublished("scan");
  const [publisher] = graph.publishers("/scan");
  assert.deepEqual([publisher.node, publisher.type], ["/arm", "std_msgs/msg/String"]);
  const { reliability, depth, deadlineMs, lifespanMs } = publisher.qos;
  assert.deepEqual([reliability, depth, deadlineMs, lifespanMs], ["best_effort", 3, 250, 500]);
  await room.until(
    () => other.subscribers("scan")[0]?.node === "/desk" || (setTimeout(room.touch, 5), false),
    "the listener, and whose it is",
  );
  const [subscriber] = other.subscribers("/scan");
  assert.deepEqual([subscriber.qos.reliability, subscriber.qos.depth], ["best_effort", 7]);
  assert.deepEqual(graph.subscribers("scan").map(({ node }) => node), ["/desk"]);
  assert.deepEqual(graph.topics(), [
    { name: "/scan", types: ["std_msgs/msg/String"], publishers: 1, subscribers: 1 },
  ]);
});

Deno.test("topics: what a listener that is behind misses counts at the speaker", async () => {
  await using room = new Room();
  const arm = await room.bay("arm");
  const faults: Faults = {};
  await using participant = await Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
    openSocket: faultySockets(faults),
    // It is not dead, it is behind.
    leaseMs: 600_000,
  });
  participant.createReader({ topic: "rt/log", type: TYPE, onSample: () => {} });
  const speaker = await arm.speaker(text("log", { depth: 3 }));
  await room.until(
    () => speaker.listeners === 1 || (setTimeout(room.touch, 5), false),
    "the listener",
  );
  await speaker.shout({ data: "" });
  faults.cut = true;
  for (let n = 0; n < 10; n++) void speaker.shout({ data: `${n}` });
  const { endpoints } = arm.statistics.snapshot(Date.now());
  const { drops } = endpoints.find(({ address }) => address === "log")!;
  assert.ok(drops.overflow_oldest >= 6, JSON.stringify(drops));
  // Who awaits is held back for a while, not for ever.
  let told = false;
  void Promise.resolve(speaker.shout({ data: "last" })).then(() => {
    told = true;
    room.touch();
  });
  await room.until(() => told, "the end of the patience");
});

Deno.test("topics: a listener for what was kept hears speakers that keep nothing as well", async () => {
  await using room = new Room();
  const [arm, leg, desk] = [await room.bay("arm"), await room.bay("leg"), await room.bay("desk")];
  const keeps = await arm.speaker(text("state"), { retain: true });
  await keeps.shout({ data: "old" });
  const keepsNothing = await leg.speaker(text("state"));
  await keepsNothing.shout({ data: "for nobody" });
  const heard: [string, boolean][] = [];
  await desk.listen(text("state"), ({ data }, { retained }) => {
    heard.push([data, retained]);
    room.touch();
  }, { retained: true });
  await room.until(() => heard.length === 1, "what was kept");
  await keepsNothing.shout({ data: "passing" });
  await room.until(() => heard.length === 2, "what nobody keeps");
  await keeps.shout({ data: "new" });
  await room.until(() => heard.length === 3, "what is fresh");
  assert.deepEqual(heard, [["old", true], ["passing", false], ["new", false]]);
  assert.deepEqual(room.reports, []);
});

Deno.test("topics: a pattern joins every topic with its own type, and no part of an action", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm", { namespace: "/robot" }), await room.bay("desk")];
  const near = await room.bay("near", { namespace: "/robot" });
  const heard: string[] = [];
  const hear = (who: string) => (value: unknown, { address }: { address: string }) => {
    heard.push(`${who} ${address} ${JSON.stringify(value)}`);
    room.touch();
  };
  await near.listen("**", hear("near"));
  await desk.listen("robot/*", hear("desk"));
  const Count = defineJob<{ order: number }, { sequence: number[] }, { sequence: number[] }>({
    address: "count",
    native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
  });
  await arm.perform(Count, ({ order }, { feedback }) => {
    feedback({ sequence: [order] });
    return { sequence: [order] };
  });
  const job = await near.execute(Count, { order: 2 });
  await job.result;
  const level = defineSpeaker<{ data: number }>({
    address: "level",
    native: { ros2: { type: "std_msgs/msg/Int32" } },
  });
  const speakers = [await arm.speaker(text("talk")), await arm.speaker(level)] as const;
  await room.until(
    () => speakers.every(({ listeners }) => listeners === 2) || (setTimeout(room.touch, 5), false),
    "both listeners at both",
  );
  await speakers[0].shout({ data: "hi" });
  await speakers[1].shout({ data: 7 });
  await room.until(() => heard.length >= 4, "both at both");
  assert.deepEqual(heard.sort(), [
    'desk robot/level {"data":7}',
    'desk robot/talk {"data":"hi"}',
    'near level {"data":7}',
    'near talk {"data":"hi"}',
  ]);
  assert.deepEqual(room.reports, []);
});

Deno.test("topics: a listener that says neither type nor policies takes what is offered", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const heard: unknown[] = [];
  await desk.listen("scan", (value) => {
    heard.push(value);
    room.touch();
  });
  const speaker = await arm.speaker(text("scan", "sensor_data"));
  await room.until(
    () => speaker.listeners === 1 || (setTimeout(room.touch, 5), false),
    "the listener",
  );
  // What is best effort may be lost: then it is said again.
  const timer = setInterval(() => void speaker.shout({ data: "near" }), 50);
  await room.until(() => heard.length > 0, "a scan").finally(() => clearInterval(timer));
  assert.deepEqual(heard[0], { data: "near" });
  assert.deepEqual(room.reports, []);
});

Deno.test("topics: what is lost counts at the listener, and who falls silent is reported", async () => {
  await using room = new Room();
  const desk = await room.bay("desk");
  const faults: Faults = {};
  await using participant = await Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
    openSocket: faultySockets(faults),
  });
  const heard: string[] = [];
  const reliability = "best_effort";
  const liveliness = "manual_by_topic";
  const wanted = { reliability, liveliness, livelinessLeaseMs: 60_000 };
  await desk.listen(text("beat", wanted), ({ data }) => {
    heard.push(data);
    room.touch();
  });
  const qos = { reliability, liveliness, livelinessLeaseMs: 500 } as const;
  const writer = participant.createWriter({ topic: "rt/beat", type: TYPE, qos });
  assert.ok(await writer.untilMatchedBy(desk.transport(ros2).participant.prefix, 30_000));
  const string = desk.transport(ros2).types.message("std_msgs/String");
  let said = 0;
  // Even here a datagram may be lost by itself: then another is said.
  const say = async () => {
    const data = `${++said}`;
    const sent = new Promise<void>((resolve) => faults.record = () => resolve());
    writer.write(string.encode({ data }));
    await sent;
    return data;
  };
  const sayUntilHeard = async () => {
    const before = heard.length;
    const timer = setInterval(() => void say(), 50);
    await say();
    await room.until(() => heard.length > before, "a beat").finally(() => clearInterval(timer));
  };
  await sayUntilHeard();
  faults.loss = 1;
  const lost = await say();
  faults.loss = 0;
  await sayUntilHeard();
  assert.ok(!heard.includes(lost));
  const { endpoints } = desk.statistics.snapshot(Date.now());
  const { drops } = endpoints.find(({ address }) => address === "beat")!;
  assert.ok(drops.lost >= 1, JSON.stringify(drops));
  await room.until(() => room.reports.length > 0, "the report");
  assert.equal(room.reports[0].code, "unavailable");
  assert.match(room.reports[0].message, /^beat: .* gives no sign of life$/);
});

Deno.test("topics: a bay does not hear itself", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const heard: string[] = [];
  for (const bay of [arm, desk]) {
    await bay.listen(text("talk"), ({ data }) => {
      heard.push(`${bay === arm ? "arm" : "desk"} ${data}`);
      room.touch();
    });
  }
  const speaker = await arm.speaker(text("talk"));
  assert.equal(speaker.listeners, 1);
  for (const data of ["a", "b"]) await speaker.shout({ data });
  await room.until(() => heard.includes("desk b"), "the other");
  assert.deepEqual(heard, ["desk a", "desk b"]);
});

Deno.test("authorize: is asked for goals", async () => {
  await using room = new Room();
  const asked: string[] = [];
  const arm = await room.bay("arm", {}, {
    authorize: ({ module }, verb, address) => {
      asked.push(`${module} ${verb} ${address}`);
      return module === "friend";
    },
  });
  const Count = defineJob<{ order: number }, { sequence: number[] }, { sequence: number[] }>({
    address: "count",
    native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
  });
  let performed = 0;
  await arm.perform(Count, ({ order }) => {
    performed++;
    return { sequence: [order] };
  });
  const [friend, foe] = [await room.bay("friend"), await room.bay("foe")];
  assert.deepEqual(await (await friend.execute(Count, { order: 1 })).result, { sequence: [1] });
  await assert.rejects(foe.execute(Count, { order: 1 }), { code: "forbidden" });
  assert.deepEqual([asked, performed], [["friend execute count", "foe execute count"], 1]);
});

Deno.test("security: what is only asked for is told as missing, and the wire opens", async () => {
  await using room = new Room();
  const before = Deno.env.get("ROS_SECURITY_ENABLE");
  Deno.env.set("ROS_SECURITY_ENABLE", "true");
  try {
    const arm = await room.bay("arm");
    assert.equal(arm.wires()[0].open, true);
    const [{ code, message, remedy }] = room.reports;
    assert.equal(code, "unauthenticated");
    assert.match(message, /no DDS Security: it goes on without/);
    assert.match(remedy ?? "", /ROS_SECURITY_STRATEGY=Enforce/);
  } finally {
    if (before === undefined) Deno.env.delete("ROS_SECURITY_ENABLE");
    else Deno.env.set("ROS_SECURITY_ENABLE", before);
  }
});
