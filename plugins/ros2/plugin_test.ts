import assert from "node:assert/strict";
import { defineCallable, defineJob, defineSpeaker, type PatchbayError } from "@patchbay/core";
import type { RosActions, RosMessages, RosServices } from "./types/common_types.ts";
import ros2 from "./mod.ts";
import { actionParts, DiscoveryInfo, QOS_PROFILES, ServiceServer } from "./node/mod.ts";
import { Participant } from "./rtps/mod.ts";
import { Room } from "./testdata/room.ts";

type Pose = RosMessages["geometry_msgs/msg/PoseStamped"];
type SetBool = RosServices["std_srvs/srv/SetBool"];
type Fib = RosActions["example_interfaces/action/Fibonacci"];

const typed = (type: string, more: Record<string, unknown> = {}) => ({ ros2: { type, ...more } });
const PoseTopic = defineSpeaker<Pose>({
  address: "arm/pose",
  native: typed("geometry_msgs/msg/PoseStamped"),
});
const Light = defineCallable<SetBool["request"], SetBool["response"]>({
  address: "arm/light",
  native: typed("std_srvs/srv/SetBool"),
});
const Fibonacci = defineJob<Fib["goal"], Fib["feedback"], Fib["result"]>({
  address: "fibonacci",
  native: typed("example_interfaces/action/Fibonacci"),
});

Deno.test("plugin: typed shouts keep numbers, bytes and 64-bit integers; bad ones are refused by path", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const heard: Pose[] = [];
  await desk.listen(PoseTopic, (pose) => {
    heard.push(pose);
    room.touch();
  });
  const speaker = await arm.speaker(PoseTopic);
  const pose = {
    header: { stamp: { sec: 1, nanosec: 2 }, frame_id: "base" },
    pose: { position: { x: 1.5, y: -2, z: 0 }, orientation: { x: 0, y: 0, z: 0, w: 1 } },
  };
  await speaker.shout(pose);
  await room.until(() => heard.length === 1, "the pose");
  assert.deepEqual(heard, [pose]);
  const wrong = { ...pose, header: { stamp: { sec: "now", nanosec: 0 }, frame_id: "" } };
  const shout = async () => await speaker.shout(wrong as unknown as Pose);
  await assert.rejects(shout(), { code: "invalid", message: /header\.stamp\.sec/ });
  // A relative or absolute name, the type left out: it is seen on the wire.
  const untyped = Promise.withResolvers<unknown>();
  await desk.listen("arm/pose", untyped.resolve);
  const all = Promise.withResolvers<string>();
  await desk.listen("arm/*", (_value, { address }) => all.resolve(address));
  await speaker.shout(pose);
  assert.deepEqual(await untyped.promise, pose);
  assert.equal(await all.promise, "arm/pose");
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: a listener with a name and policies, but no type, joins the first who publishes", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const heard: unknown[] = [];
  const native = { ros2: { name: "/scan", qos: { reliability: "best_effort", depth: 7 } } };
  await desk.listen(defineSpeaker<unknown>({ address: "seen/scan", native }), (value) => {
    heard.push(value);
    room.touch();
  });
  const sensor = typed("std_msgs/msg/Bool", { qos: "sensor_data" });
  const speaker = await arm.speaker(
    defineSpeaker<{ data: boolean }>({ address: "scan", native: sensor }),
  );
  await room.until(
    () => speaker.listeners === 1 || (setTimeout(room.touch, 5), false),
    "the listener to join",
  );
  await speaker.shout({ data: true });
  await room.until(() => heard.length === 1, "the value");
  assert.deepEqual(heard, [{ data: true }]);
  const [{ qos }] = arm.transport(ros2).graph.subscribers("/scan");
  assert.deepEqual([qos.reliability, qos.depth], ["best_effort", 7]);
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: typed calls carry headers and errors between bays", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const seen: unknown[] = [];
  await arm.serve(Light, ({ data }, { headers, peer, remainingMs }) => {
    seen.push([headers, peer.module, remainingMs > 0 && remainingMs <= 5000]);
    if (!data) throw new RangeError("no bulb");
    return { success: true, message: "on" };
  });
  const options = { headers: { trace: "ab" }, timeoutMs: 5000 };
  assert.deepEqual(await desk.call(Light, { data: true }, options), {
    success: true,
    message: "on",
  });
  assert.deepEqual(seen, [[{ trace: "ab" }, "desk", true]]);
  await assert.rejects(desk.call(Light, { data: false }), {
    code: "remote",
    message: "no bulb",
    details: { name: "RangeError" },
  });
  await assert.rejects(desk.call(Light, { data: 3 } as unknown as { data: boolean }), {
    code: "invalid",
  });
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: a typed action between bays, with progress and the worker's own error", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  await arm.perform(Fibonacci, ({ order }, { feedback, progress }) => {
    if (order < 0) throw new RangeError("backwards");
    for (let n = 1; n <= order; n++) {
      feedback({ sequence: Array.from({ length: n }, (_, i) => i) });
      progress(n / order);
    }
    return { sequence: [order] };
  });
  const fractions: number[] = [];
  const onProgress = (fraction: number) => void fractions.push(fraction);
  const job = await desk.execute(Fibonacci, { order: 4 }, { onProgress });
  const lengths: number[] = [];
  for await (const { sequence } of job.feedback) lengths.push(sequence.length);
  assert.deepEqual([lengths, await job.result], [[1, 2, 3, 4], { sequence: [4] }]);
  assert.deepEqual(fractions, [0.25, 0.5, 0.75, 1]);
  const bad = await desk.execute(Fibonacci, { order: -1 });
  await assert.rejects(bad.result, { code: "remote", message: "backwards" });
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: an action is served when its feedback can be heard, too", async () => {
  await using room = new Room();
  await using foreign = await Participant.open({
    domain: room.domain,
    interfaces: ["127.0.0.1"],
  });
  const desk = await room.bay("desk");
  const { graph, types } = desk.transport(ros2);
  const type = types.action("example_interfaces/action/Fibonacci");
  const onReport = (error: unknown) => room.reports.push(error as PatchbayError);
  const parts = actionParts({ name: "/fibonacci", type, types, onReport });
  const services = [parts.sendGoal, parts.getResult, parts.cancelGoal];
  const servers = services.map((each) => new ServiceServer(foreign, each, () => undefined));
  await foreign.untilAcquainted(10_000);
  await assert.rejects(graph.untilServed("fibonacci", { timeoutMs: 20 }), {
    code: "deadline_exceeded",
  });
  await assert.rejects(desk.execute(Fibonacci, { order: 1 }), { code: "not_found" });
  foreign.createWriter({
    topic: parts.feedbackTopic,
    type: type.feedbackMessage.ddsName,
    qos: QOS_PROFILES.default,
  });
  await graph.untilServed("fibonacci");
  for (const server of servers) server.close();
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: the graph shows nodes, topics, services and actions with their types and policies", async () => {
  await using room = new Room();
  const arm = await room.bay("arm-2", { namespace: "/robot" });
  const desk = await room.bay("desk");
  const { graph, node } = desk.transport(ros2);
  assert.equal(node, "/desk");
  await arm.speaker({
    ...PoseTopic,
    native: typed("geometry_msgs/PoseStamped", { qos: "sensor_data" }),
  });
  await arm.serve(Light, () => ({ success: true, message: "" }));
  await arm.perform(Fibonacci, () => ({ sequence: [] }));
  await graph.untilServed("/robot/fibonacci");
  await graph.untilServed("/robot/arm/light");
  await graph.untilPublished("/robot/arm/pose");
  await room.until(
    () =>
      graph.nodes().some(({ actions }) => actions.length > 0) || (setTimeout(room.touch, 5), false),
    "the node to tell what it has",
  );
  const [own, other] = graph.nodes();
  assert.deepEqual([own.name, own.own, other.name, other.own], [
    "/desk",
    true,
    "/robot/arm_2",
    false,
  ]);
  const pose = { name: "/robot/arm/pose", types: ["geometry_msgs/msg/PoseStamped"] };
  assert.deepEqual(other.publishers, [pose]);
  assert.deepEqual(other.services, [{ name: "/robot/arm/light", types: ["std_srvs/srv/SetBool"] }]);
  const action = { name: "/robot/fibonacci", types: ["example_interfaces/action/Fibonacci"] };
  assert.deepEqual([other.actions, graph.actions()], [[action], [action]]);
  assert.deepEqual(graph.services(), other.services);
  assert.deepEqual(graph.topics(), [{ ...pose, publishers: 1, subscribers: 0 }]);
  const [publisher] = graph.publishers("/robot/arm/pose");
  assert.equal(publisher.node, "/robot/arm_2");
  assert.equal(publisher.vendor, "Patchbay");
  assert.match(publisher.typeHash ?? "", /^RIHS01_[0-9a-f]{64}$/);
  assert.deepEqual([publisher.qos.reliability, publisher.qos.depth], ["best_effort", 5]);
  assert.deepEqual(graph.subscribers("/robot/arm/pose"), []);
  await assert.rejects(graph.untilServed("nothing", { timeoutMs: 20 }), {
    code: "deadline_exceeded",
  });
  // The same at addresses, for bridges and `patchbay list`.
  const offers = await desk.explain("callable", "arm/light");
  assert.equal(offers.chosen, undefined, "it is in another namespace");
});

Deno.test("plugin: ros_discovery_info says which node has which endpoints, in both sizes of ids", async () => {
  for (const gidBytes of [16, 24] as const) {
    await using room = new Room();
    await using foreign = await Participant.open({
      domain: room.domain,
      interfaces: ["127.0.0.1"],
      wheel: undefined,
    });
    using info = new DiscoveryInfo(foreign, {
      gidBytes,
      onNodes: room.touch,
      onReport: (error) => room.reports.push(error as PatchbayError),
    });
    const arm = await room.bay("arm", { gidBytes });
    const speaker = await arm.speaker(PoseTopic);
    const nodes = () => [...info.remote.values()].flat();
    await room.until(() => nodes().some(({ writers }) => writers.length === 1), "the endpoint");
    assert.deepEqual(nodes().map(({ namespace, name }) => [namespace, name]), [["/", "arm"]]);
    await speaker.close();
    await room.until(() => nodes().every(({ writers }) => writers.length === 0), "its end");
    assert.deepEqual(room.reports, []);
  }
});

Deno.test("plugin: nodes of one name are reported, on both sides", async () => {
  await using room = new Room();
  const [one, two] = [await room.bay("arm"), await room.bay("arm")];
  await room.until(() => room.reports.length === 2, "both reports");
  for (const report of room.reports) {
    assert.match(report.message, /more than one node is called \/arm/);
  }
  for (const bay of [one, two]) {
    assert.deepEqual(bay.transport(ros2).graph.duplicates, ["/arm"]);
  }
});

Deno.test("plugin: names are remapped, and said by address in the configuration", async () => {
  await using room = new Room();
  const arm = await room.bay("arm", { remap: { "arm/pose": "/base/pose" } });
  const desk = await room.bay("desk", {
    endpoints: { "seen/pose": { name: "/base/pose", type: "geometry_msgs/msg/PoseStamped" } },
  });
  const heard = Promise.withResolvers<unknown>();
  await desk.listen<Pose>("seen/pose", ({ header }) => heard.resolve(header.frame_id));
  const speaker = await arm.speaker(PoseTopic);
  const origin = { x: 0, y: 0, z: 0 };
  await speaker.shout({
    header: { stamp: { sec: 0, nanosec: 0 }, frame_id: "far" },
    pose: { position: origin, orientation: { ...origin, w: 1 } },
  });
  assert.equal(await heard.promise, "far");
});

Deno.test("plugin: another type under the same name is reported by the policy `type`", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  await arm.speaker(PoseTopic);
  await desk.listen({ ...PoseTopic, native: typed("std_msgs/msg/String") }, () => {});
  await room.until(() => room.reports.length === 2, "both sides' reports");
  for (const { details } of room.reports) assert.deepEqual(details?.policies, ["type"]);
});

Deno.test("plugin: a deadline that is missed is reported", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  const qos = { deadlineMs: 60 };
  const contract = defineSpeaker<{ data: string }>({
    address: "beat",
    native: typed("std_msgs/msg/String", { qos }),
  });
  const heard = Promise.withResolvers<void>();
  await desk.listen(contract, () => heard.resolve());
  const speaker = await arm.speaker(contract);
  await speaker.shout({ data: "once" });
  await heard.promise;
  await room.until(() => room.reports.length > 0, "the report");
  assert.equal(room.reports[0].code, "deadline_exceeded");
  assert.match(room.reports[0].message, /deadline of 60 ms/);
});

Deno.test("plugin: with keep_all nothing is pushed out: who awaits is held back, who does not is told", async () => {
  await using room = new Room();
  const small = { maxQueueBytes: 64 * 1024 };
  const [arm, desk] = [await room.bay("arm", small), await room.bay("desk")];
  const contract = defineSpeaker<{ data: string }>({
    address: "log",
    native: typed("std_msgs/msg/String", { qos: { history: "keep_all" } }),
  });
  const heard: number[] = [];
  await desk.listen(contract, ({ data }) => {
    heard.push(data.length);
    room.touch();
  }, { maxQueue: 10_000 });
  const speaker = await arm.speaker(contract);
  const lengths = Array.from({ length: 3000 }, (_, n) => n % 1000);
  for (const n of lengths) await speaker.shout({ data: "x".repeat(n) });
  await room.until(() => heard.length === lengths.length, "all of them");
  assert.deepEqual(heard, lengths);
  assert.throws(
    () => {
      for (let n = 0; n < 1000; n++) void speaker.shout({ data: "x".repeat(500) });
    },
    { code: "overloaded" },
  );
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: without a ROS type and without json nothing is offered, and everybody is told why", async () => {
  await using room = new Room();
  const [arm, desk] = [await room.bay("arm"), await room.bay("desk")];
  await arm.serve("arm/plain", () => 1);
  const speaker = await arm.speaker("arm/talk");
  await speaker.shout("nobody");
  await assert.rejects(desk.call("arm/plain", 1), { code: "not_found" });
  const { endpoints } = arm.statistics.snapshot(Date.now());
  const talk = endpoints.find((each) => each.address === "arm/talk");
  assert.deepEqual(talk?.drops, { no_ros_type: 1 });
});

Deno.test("plugin: JSON in strings is what std_msgs/String listeners see", async () => {
  await using room = new Room();
  const arm = await room.bay("arm", { json: true });
  const desk = await room.bay("desk");
  const heard = Promise.withResolvers<unknown>();
  await desk.listen(
    defineSpeaker<{ data: string }>({ address: "arm/state", native: typed("std_msgs/msg/String") }),
    heard.resolve,
  );
  const speaker = await arm.speaker("arm/state");
  await speaker.shout({ mode: "auto", n: [1, 2] });
  assert.deepEqual(await heard.promise, { data: '{"mode":"auto","n":[1,2]}' });
  assert.deepEqual(room.reports, []);
});

Deno.test("plugin: interfaces of one's own, bounded and with wide strings", async () => {
  await using room = new Room();
  const definitions = {
    "my_msgs/msg/Note": "wstring title\nstring<=5 code\nint32[<=2] few\nuint64 id 7\nMode mode\n",
    "my_msgs/msg/Mode": "uint8 AUTO=1\nuint8 value",
  };
  const [arm, desk] = [
    await room.bay("arm", { definitions }),
    await room.bay("desk", { definitions }),
  ];
  const contract = defineSpeaker<Record<string, unknown>>({
    address: "note",
    native: typed("my_msgs/msg/Note"),
  });
  const heard = Promise.withResolvers<unknown>();
  await desk.listen(contract, heard.resolve);
  const speaker = await arm.speaker(contract);
  const shout = async (value: Record<string, unknown>) => await speaker.shout(value);
  await assert.rejects(shout({ code: "too long" }), { code: "invalid", message: /code/ });
  await assert.rejects(shout({ few: [1, 2, 3] }), { code: "invalid", message: /few/ });
  await shout({ title: "Grüße 𝄞", code: "abc", few: [1], mode: { value: 1 } });
  assert.deepEqual(await heard.promise, {
    title: "Grüße 𝄞",
    code: "abc",
    few: [1],
    id: 7n,
    mode: { value: 1 },
  });
  assert.equal(desk.transport(ros2).types.message("my_msgs/Mode").constants.AUTO, 1);
});

Deno.test("plugin: who may not call is refused", async () => {
  await using room = new Room();
  const arm = await room.bay("arm", {}, { authorize: (peer) => peer.module === "friend" });
  await arm.serve(Light, () => ({ success: true, message: "" }));
  const friend = await room.bay("friend");
  const foe = await room.bay("foe");
  assert.equal((await friend.call(Light, { data: true })).success, true);
  await assert.rejects(foe.call(Light, { data: true }), { code: "forbidden" });
});

Deno.test("plugin: without the unstable flag, or without permission, it says what to do", async () => {
  const program = `
    import { open } from "@patchbay/core";
    import ros2 from "@patchbay/ros2";
    const bay = await open({ module: "x", plugins: [ros2], config: { ros2: { range: "localhost" } } });
    const { open: is, reason, remedy } = bay.wires()[0];
    console.log(JSON.stringify({ is, reason, remedy }));
    await bay.close();
  `;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/main.ts`, program);
    const root = new URL("../../", import.meta.url);
    const imports = {
      "@patchbay/core": new URL("core/mod.ts", root).href,
      "@patchbay/core/errors": new URL("core/errors.ts", root).href,
      "@patchbay/ros2": new URL("plugins/ros2/mod.ts", root).href,
    };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports }));
    const ask = async (...flags: string[]) => {
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", "--allow-env", "--no-lock", ...flags, "main.ts"],
        cwd: folder,
      }).output();
      const text = new TextDecoder().decode(stdout);
      assert.notEqual(text, "", new TextDecoder().decode(stderr));
      return JSON.parse(text) as { is: boolean; reason: string; remedy: string };
    };
    const plain = await ask("--allow-net");
    assert.deepEqual([plain.is, /--unstable-net/.test(plain.remedy)], [false, true]);
    const locked = await ask("--unstable-net");
    assert.deepEqual([locked.is, locked.remedy], [false, "run with --allow-net"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
