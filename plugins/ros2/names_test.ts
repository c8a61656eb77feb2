import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecTable, PatchbayError } from "@patchbay/core";
import { availability, FIELDS, permissionsOf, type Ros2Config, settingsOf } from "./config.ts";
import { discoveryRange, type Variable } from "./environment.ts";
import { JsonText } from "./json_text.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import { addressToName, nameToAddress, Naming, qosOf, readRosName } from "./ros_name.ts";
import { nodeNameOf } from "./ros_node.ts";

const DEFAULTS = Object.fromEntries(
  Object.entries(FIELDS).map(([key, field]) => [key, field.default]),
) as unknown as Ros2Config;
const env = (values: Partial<Record<Variable, string>>) => (name: Variable) => values[name];

Deno.test("names: addresses become ROS names and come back, and no two are one", () => {
  assert.equal(addressToName("arm/left_joint"), "arm/left_joint");
  assert.equal(addressToName("lidar-front/0"), "lidarXfront/N0");
  assert.equal(addressToName("camera.info"), "cameraInfo");
  assert.equal(nameToAddress("cameraInfo"), "camera.info");
  assert.equal(nameToAddress("Camera"), undefined);
  assert.throws(() => addressToName("a__b"), /cannot be a ROS name/);
  const segment = fc.stringMatching(/^[a-z0-9_][a-z0-9_.-]{0,8}$/);
  const addresses = fc.array(segment, { minLength: 1, maxLength: 4 }).map((all) => all.join("/"));
  fc.assert(fc.property(addresses, (address) => {
    let name: string;
    try {
      name = addressToName(address);
    } catch (error) {
      return (error as PatchbayError).code === "invalid";
    }
    assert.match(name, /^(\w+)(\/\w+)*$/);
    assert.equal(nameToAddress(name), address);
    return true;
  }));
});

Deno.test("names: namespaces, remapping, and what the configuration says", () => {
  const naming = new Naming("arm", "/robot", { chatter: "/base/talk" }, {
    "lidar/scan": { name: "/scan", type: "sensor_msgs/msg/LaserScan", qos: "sensor_data" },
  });
  assert.equal(naming.nameOf("arm/pose", {}), "/robot/arm/pose");
  assert.equal(naming.nameOf("chatter", {}), "/base/talk");
  assert.equal(naming.nameOf("x", { name: "~/state" }), "/robot/arm/state");
  const said = naming.said("lidar/scan", { qos: "default" });
  assert.deepEqual([naming.nameOf("lidar/scan", said), said.qos], ["/scan", "default"]);
  assert.equal(naming.addressOf("/scan"), "lidar/scan");
  assert.equal(naming.addressOf("/base/talk"), "chatter");
  assert.equal(naming.addressOf("/robot/arm/pose"), "arm/pose");
  assert.equal(naming.addressOf("/elsewhere"), undefined);
  assert.equal(nodeNameOf("lidar-front.2"), "lidar_front_2");
  assert.equal(nodeNameOf("3d"), "n_3d");
  assert.throws(() => new Naming("a b", "/", {}, {}), /no name of a node/);
});

Deno.test("names: what a contract says is checked, and the right word suggested", () => {
  const refused = (given: unknown, message: RegExp, remedy: RegExp) =>
    assert.throws(() => readRosName("arm/pose", given), (error: PatchbayError) => {
      assert.equal(error.code, "invalid");
      assert.match(error.message, message);
      assert.match(error.remedy ?? "", remedy);
      return true;
    });
  refused({ typ: "x" }, /unknown key typ/, /type, name, qos/);
  refused({ qos: "sensordata" }, /profile "sensordata"/, /sensor_data/);
  refused({ qos: { reliabilty: "reliable" } }, /unknown policy/, /did you mean reliability/);
  refused({ qos: { durability: "persistant" } }, /durability/, /transient_local/);
  assert.equal(qosOf({ qos: "sensor_data" }, "default").reliability, "best_effort");
  const mixed = qosOf({ qos: { profile: "sensor_data", depth: 3, deadlineMs: 50 } }, "default");
  assert.deepEqual([mixed.reliability, mixed.depth, mixed.deadlineMs], ["best_effort", 3, 50]);
});

Deno.test("environment: the variables of ROS 2 are heeded, and the configuration wins", () => {
  assert.equal(discoveryRange(env({ ROS_LOCALHOST_ONLY: "1" })).range, "localhost");
  const range = (value: string) => discoveryRange(env({ ROS_AUTOMATIC_DISCOVERY_RANGE: value }));
  assert.deepEqual(range("SUBNET"), { range: "subnet" });
  assert.deepEqual(range("OFF"), { range: "off" });
  assert.deepEqual(range("SYSTEM_DEFAULT"), {});
  assert.match(range("EVERYWHERE").wrong ?? "", /EVERYWHERE/);
  const local = settingsOf(DEFAULTS, env({ ROS_DOMAIN_ID: "42", ROS_LOCALHOST_ONLY: "1" }));
  assert.deepEqual([local.domain, local.interfaces, local.local], [42, ["127.0.0.1"], true]);
  assert.deepEqual(local.peers, ["127.0.0.1"], "nodes of Jazzy use no multicast on one machine");
  const own = settingsOf({ ...DEFAULTS, domain: 7, range: "subnet" }, env({ ROS_DOMAIN_ID: "42" }));
  assert.deepEqual([own.domain, own.interfaces, own.multicast], [7, undefined, true]);
  const off = settingsOf(DEFAULTS, env({ ROS_AUTOMATIC_DISCOVERY_RANGE: "OFF" }));
  assert.equal(off.multicast, false);
  const static_ = settingsOf(DEFAULTS, env({ ROS_STATIC_PEERS: "10.0.0.1; 10.0.0.2" }));
  assert.deepEqual(static_.peers, ["10.0.0.1", "10.0.0.2"]);
  assert.throws(() => settingsOf(DEFAULTS, env({ ROS_DOMAIN_ID: "233" })), /ROS_DOMAIN_ID/);
  assert.throws(() => settingsOf({ ...DEFAULTS, gidBytes: 20 }, env({})), /gidBytes/);
});

Deno.test("environment: a plugin that was merely found joins no network of robots", () => {
  const answer = availability(DEFAULTS, env({}));
  assert.equal(answer.available, false);
  assert.match(answer.available ? "" : answer.remedy, /domain/);
  for (const config of [{ domain: 3 }, { range: "localhost" as const }]) {
    assert.equal(availability({ ...DEFAULTS, ...config }, env({})).available, true);
  }
  assert.equal(availability(DEFAULTS, env({ ROS_DISTRO: "jazzy" })).available, true);
});

Deno.test("environment: enforced security refuses to open, permissive goes on and says so", () => {
  const enforce = env({ ROS_SECURITY_ENABLE: "true", ROS_SECURITY_STRATEGY: "Enforce" });
  const answer = availability({ ...DEFAULTS, range: "localhost" }, enforce);
  assert.equal(answer.available, false);
  if (answer.available) return;
  assert.match(answer.reason, /no DDS Security/);
  assert.match(answer.remedy, /ROS_SECURITY_ENABLE/);
  assert.equal(settingsOf(DEFAULTS, env({ ROS_SECURITY_ENABLE: "true" })).plain, true);
  assert.equal(settingsOf(DEFAULTS, env({})).plain, false);
  assert.deepEqual(permissionsOf({ ...DEFAULTS, range: "localhost" }), [
    "--unstable-net",
    "--allow-net",
    "--allow-env=ROS_*,AMENT_PREFIX_PATH",
  ]);
});

Deno.test("metadata: travels in one parameter; what is nonsense is passed over", () => {
  const told = { n: 7, h: { unit: "mm", note: "grüße" }, t: 1000, p: 200 };
  const read = readMetadata(writeMetadata(told));
  assert.deepEqual({ ...read, ...told }, read);
  const absurd = '{"h":{"a":1},"n":-1,"p":999,"e":{"code":1}}';
  const endless = '{"n":1e300,"l":1e999,"t":1e999,"g":1e999,"p":1e999}';
  for (const text of ["", "{", "[]", "null", absurd, endless]) {
    const inline = new Map([[0x8b50, new TextEncoder().encode(text)]]);
    assert.deepEqual(Object.values(readMetadata(inline)).filter((each) => each !== undefined), []);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
    readMetadata(new Map([[0x8b50, bytes]]));
  }));
  const large = { h: { big: "x".repeat(30_000) } };
  assert.throws(() => writeMetadata(large), { code: "too_large" });
});

Deno.test("json text: what JSON cannot carry is base64 with its type in front", async () => {
  const text = await JsonText.load(new CodecTable(), 1000);
  assert.equal(text.write({ a: 1 }, undefined), '{"a":1}');
  assert.equal(text.write(Uint8Array.of(1, 2, 3), undefined).split(",")[1], "AQID");
  const nested = { id: 5n, frame: Uint8Array.of(9) };
  assert.match(text.write(nested, undefined), /^data:application\/vnd\.msgpack;base64,/);
  assert.deepEqual(text.read(text.write(nested, undefined)), nested);
  assert.throws(() => text.write("x".repeat(1000), undefined), { code: "too_large" });
  for (const wrong of ["{", "data:image/png;base64,AAAA", "data:application/msgpack;base64,!"]) {
    assert.throws(() => text.read(wrong), { code: "protocol" });
  }
});
