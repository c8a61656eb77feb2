/**
 * `patchbay list --via ros2` shows what is on the ROS graph, foreign nodes included, and the command
 * line's other verbs go over it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { defineSpeaker, open } from "@patchbay/core";
import ros2 from "@patchbay/ros2";
import { OwnDomain } from "../plugins/ros2/fixture.ts";

const CLI = new URL("../cli/main.ts", import.meta.url).pathname;
const PLUGIN = new URL("../plugins/ros2/mod.ts", import.meta.url).pathname;

const text = (address: string) =>
  defineSpeaker<{ data: string }>({
    address,
    native: { ros2: { type: "std_msgs/msg/String" } },
  });

Deno.test("list --via ros2: topics, services and actions with their types and nodes", async () => {
  using own = new OwnDomain();
  const folder = await Deno.makeTempDir();
  const config = { ros2: { domain: own.number, range: "localhost" } } as const;
  // No directory: as a node of somebody else's.
  await using arm = await open({ module: "arm", plugins: [ros2], config });
  await arm.serve({
    pattern: "callable",
    address: "arm/light",
    native: { ros2: { type: "std_srvs/srv/SetBool" } },
  }, () => ({ success: true, message: "on" }));
  await arm.speaker({
    pattern: "speaker",
    address: "arm/pose",
    native: { ros2: { type: "geometry_msgs/msg/Pose" } },
  });
  await arm.perform({
    pattern: "job",
    address: "arm/count",
    native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
  }, (_goal, { feedback }) => {
    feedback({ sequence: [1] });
    return { sequence: [1, 2, 3] };
  });
  await arm.serve({
    pattern: "callable",
    address: "add_two_ints",
    native: { ros2: { type: "example_interfaces/srv/AddTwoInts" } },
  }, (numbers) => {
    const { a, b } = numbers as { a: bigint; b: bigint };
    return { sum: a + b };
  });
  const file = `${folder}/patchbay.json`;
  await Deno.writeTextFile(
    file,
    JSON.stringify({
      plugins: [PLUGIN],
      pluginDirectories: [],
      runtimeDirectory: `${folder}/run`,
      wires: config,
    }),
  );
  const patchbay = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--unstable-net", CLI, ...args, "--config", file],
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert.equal(code, 0, err);
    return out;
  };
  try {
    const shown = await patchbay("list", "--via", "ros2");
    assert.match(shown, /on ros2, by others/);
    assert.match(shown, /arm\/count +job +example_interfaces\/action\/Fibonacci by \/arm/);
    assert.match(shown, /arm\/light +callable +std_srvs\/srv\/SetBool by \/arm/);
    assert.match(shown, /arm\/pose +speaker +geometry_msgs\/msg\/Pose by \/arm/);
    const [line] = (await patchbay("list", "--via", "ros2", "--json")).trim().split("\n");
    assert.equal(JSON.parse(line).wire, "ros2");
    const called = await patchbay("call", "arm/light", '{"data":true}', "--via", "ros2", "--json");
    assert.match(called, /"success":true/);
    const added = await patchbay(
      "call",
      "add_two_ints",
      '{"a":2,"b":3}',
      "--via",
      "ros2",
      "--json",
    );
    assert.match(added, /"sum":\{"\$bigint":"5"\}/);
    const counted = await patchbay("job", "arm/count", '{"order":3}', "--via", "ros2", "--json");
    assert.match(counted, /"sequence":\[1,2,3\]/);
    const heard = Promise.withResolvers<string>();
    await arm.listen(text("arm/word"), ({ data }) => heard.resolve(data));
    const shouted = await patchbay("shout", "arm/word", '{"data":"hi"}', "--via", "ros2");
    assert.match(shouted, /to 1 listener/);
    assert.equal(await heard.promise, "hi");
    const speaker = await arm.speaker(text("arm/said"), { retain: true });
    await speaker.shout({ data: "kept" });
    const listened = [
      "listen",
      "arm/said",
      "--retained",
      "--count",
      "1",
      "--via",
      "ros2",
      "--json",
    ];
    assert.match(await patchbay(...listened), /"data":"kept"/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
