/**
 * A bridge between a ROS graph and another wire: typed topics, services and actions are there with the
 * types that are seen on the wire.
 *
 * @module
 */
import assert from "node:assert/strict";
import { defineCallable, defineJob, defineSpeaker, open } from "@patchbay/core";
import inProcess, { Room } from "@patchbay/in_process";
import ros2 from "@patchbay/ros2";
import { OwnDomain } from "../plugins/ros2/fixture.ts";

const type = (name: string) => ({ ros2: { type: name } });

Deno.test("bridge: a ROS node's topic, service and action are used on another wire", async () => {
  using own = new OwnDomain();
  const config = { ros2: { domain: own.number, range: "localhost" } } as const;
  const room = { in_process: { room: new Room() } };
  await using arm = await open({ module: "arm", plugins: [ros2], config });
  const contract = defineSpeaker<{ data: string }>({
    address: "arm/state",
    native: type("std_msgs/msg/String"),
  });
  await arm.serve(
    defineCallable<{ data: boolean }, { success: boolean; message: string }>({
      address: "arm/light",
      native: type("std_srvs/srv/SetBool"),
    }),
    ({ data }) => ({ success: data, message: "seen" }),
  );
  await arm.perform(
    defineJob<{ order: number }, { sequence: number[] }, { sequence: number[] }>({
      address: "arm/count",
      native: type("example_interfaces/action/Fibonacci"),
    }),
    ({ order }, { feedback }) => {
      feedback({ sequence: [1] });
      return { sequence: [order] };
    },
  );
  const speaker = await arm.speaker(contract);
  await using joint = await open({
    module: "joint",
    plugins: [ros2, inProcess],
    config: { ...config, ...room },
  });
  await using _bridge = await joint.bridge({ from: "ros2", to: "in_process", match: "arm/**" });
  await using desk = await open({ module: "desk", plugins: [inProcess], config: room });
  assert.deepEqual(await desk.call("arm/light", { data: true }), {
    success: true,
    message: "seen",
  });
  const heard = Promise.withResolvers<unknown>();
  await desk.listen("arm/state", heard.resolve);
  await speaker.shout({ data: "hello" });
  assert.deepEqual(await heard.promise, { data: "hello" });
  const job = await desk.execute("arm/count", { order: 3 });
  assert.deepEqual(await job.result, { sequence: [3] });
});
