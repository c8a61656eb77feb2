/**
 * Programs without Patchbay: `mosquitto_sub`, `mosquitto_pub`, and MQTT.js on plain Node.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { defineCallable, defineSpeaker } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import mqtt from "./mod.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";
import { Lines, testsWith, until } from "./testdata/places.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);
const test = testsWith(need);

/** Resolves when a foreign subscriber hears what is published at a topic of its. */
async function subscribed(lines: Lines, publish: () => Promise<unknown>): Promise<void> {
  const first = lines.next();
  let heard = false;
  first.then(() => heard = true, () => {});
  await until("the subscription", async () => {
    await publish();
    return heard;
  });
}

for (const version of ["5", "3.1.1"] as const) {
  test(`mosquitto_sub hears shouts, mosquitto_pub shouts (${version})`, async (place) => {
    const { broker, bay, use } = place;
    const arm = await bay("arm", { version });
    const topic = "patchbay/shout/arm/pose";
    const sub = use(new Lines(broker.spawn("mosquitto_sub", ["-t", `${topic}/#`])));
    const pose = await arm.speaker("arm/pose");
    await subscribed(sub, async () => await pose.shout("probe"));
    await pose.shout({ x: 1.5, label: "grüße" });
    let line = await sub.next();
    while (line === '"probe"') line = await sub.next();
    assert.deepEqual(JSON.parse(line), { x: 1.5, label: "grüße" });

    const heard: [unknown, string][] = [];
    await arm.listen("dev/*", (value, { address }) => void heard.push([value, address]));
    await arm.listen("dev/**", () => {});
    await broker.run("mosquitto_pub", ["-t", "patchbay/shout/dev/temp", "-m", "21.5"]);
    await until("the shout", () => heard.length > 0);
    assert.deepEqual(heard, [[21.5, "dev/temp"]], "once, although two patterns match");
  });
}

test("mosquitto_rr calls by response topic, mosquitto_pub without an answer", async (place) => {
  const { broker, bay } = place;
  const arm = await bay("arm");
  const moved: unknown[] = [];
  await arm.serve("arm/move", (to) => {
    moved.push(to);
    if (Number(to) < 0) throw new Error("too far");
    return { at: to };
  });
  const rr = async (text: string) => {
    const { stdout } = await new Deno.Command("mosquitto_rr", {
      args: [
        ...["-h", "127.0.0.1", "-p", String(broker.port), "-V", "5", "-q", "1", "-W", "10"],
        ...["-t", "patchbay/call/arm/move", "-e", "my/replies", "-m", text, "-F", "%P|%p"],
      ],
      stdout: "piped",
      stderr: "null",
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  assert.equal(await rr("3"), '|{"at":3}');
  const failed = await rr("-1");
  assert.match(failed, /pb-error:remote/);
  assert.match(failed, /too far/);
  assert.match(await rr("{nonsense"), /pb-error:protocol/);
  await broker.run("mosquitto_pub", ["-t", "patchbay/call/arm/move", "-m", "9"]);
  await until("the call without an answer", () => moved.includes(9));
});

test("mosquitto_pub calls in MQTT 3.1.1, with a reply topic of its own", async (place) => {
  const { broker, bay, use } = place;
  const arm = await bay("arm", { version: "3.1.1" });
  await arm.serve("arm/move", (to) => ({ at: to }));
  const sub = use(new Lines(broker.spawn("mosquitto_sub", ["-v", "-t", "patchbay/to/me/#"])));
  await subscribed(sub, () => arm.transport(mqtt).publish("patchbay/to/me/probe", "1"));
  await broker.run("mosquitto_pub", ["-t", "patchbay/call/arm/move/@/me/17", "-m", "3"]);
  let line = await sub.next();
  while (line.includes("probe")) line = await sub.next();
  assert.equal(line, 'patchbay/to/me/reply/17 {"at":3}');
});

test("topics of one's own: a device is heard, told and asked", async (place) => {
  const { broker, bay, use } = place;
  const desk = await bay("desk");
  const heard: [unknown, string][] = [];
  const temperatures = defineSpeaker<number>({
    address: "plant/temp",
    native: { mqtt: "plant/+/temp" },
  });
  await desk.listen(temperatures, (value, { address }) => void heard.push([value, address]));
  await broker.run("mosquitto_pub", ["-t", "plant/line-1/temp", "-m", "42", "-r", "-q", "1"]);
  await until("the device", () => heard.length > 0);
  assert.deepEqual(heard, [[42, "plant/line-1/temp"]]);

  const sub = use(new Lines(broker.spawn("mosquitto_sub", ["-t", "plant/lamp"])));
  const lamp = await desk.speaker(
    defineSpeaker<unknown>({
      address: "plant/lamp",
      native: { mqtt: { topic: "plant/lamp", qos: 1 } },
    }),
  );
  await subscribed(sub, async () => await lamp.shout("on"));
  assert.equal(desk.wires()[0].health?.status, "healthy");

  const nobody = defineCallable<number, number>({
    address: "plant/nobody",
    native: { mqtt: "plant/nobody" },
  });
  await assert.rejects(desk.call(nobody, 1), { code: "not_found" });
});

test("a subscription by hand beside a listener: each hears it once", async (place) => {
  const { broker, bay } = place;
  const desk = await bay("desk");
  const heard: unknown[] = [];
  const raw: string[] = [];
  await desk.listen("dev/*", (value) => void heard.push(value));
  const ear = await desk.transport(mqtt).subscribe("patchbay/shout/#", ({ topic, payload }) => {
    raw.push(`${topic} ${new TextDecoder().decode(payload)}`);
  });
  const pub = (text: string) =>
    broker.run("mosquitto_pub", ["-t", "patchbay/shout/dev/x", "-m", text]);
  await pub("1");
  await pub("2");
  await until("both", () => heard.includes(2) && raw.length >= 2);
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(raw, ["patchbay/shout/dev/x 1", "patchbay/shout/dev/x 2"]);
  await ear.close();
  await assert.rejects(desk.transport(mqtt).publish("a/#", "x"), { code: "invalid" });
});

test("shared servers get what a foreign program asks in turn ($share)", async (place) => {
  const { broker, bay } = place;
  const seen = new Set<string>();
  for (const name of ["one", "two"]) {
    const server = await bay(name);
    await server.serve("both/job", () => void seen.add(name), { sharing: "shared" });
  }
  await until("both to be asked", async () => {
    await broker.run("mosquitto_pub", ["-t", "patchbay/call/both/job", "-m", "1"]);
    return seen.size === 2;
  });
});

test("listeners of one group share what is shouted", async (place) => {
  const { broker, bay } = place;
  const counts = { one: 0, two: 0 };
  for (const name of ["one", "two"] as const) {
    const ear = await bay(name, { group: "packers", atLeastOnce: ["order/**"] });
    await ear.listen("order/new", () => void counts[name]++);
  }
  for (let n = 0; n < 6; n++) {
    await broker.run("mosquitto_pub", [
      ...["-q", "1", "-t", "patchbay/shout/order/new", "-m", String(n)],
    ]);
  }
  await until("all to be taken", () => counts.one + counts.two >= 6);
  assert.deepEqual(counts, { one: 3, two: 3 });
});

test("a message that has expired is not given to who comes later", async ({ bay, broker }) => {
  const shop = await bay("shop", { expiryMs: 1000, keepRetained: true });
  const state = await shop.speaker("shop/state", { retain: true });
  await state.shout("fresh");
  const sub = ["-t", "patchbay/shout/shop/state", "-C", "1", "-W", "1"];
  assert.equal(await broker.run("mosquitto_sub", sub), '"fresh"');
  await until("it to expire", async () => {
    const text = await broker.run("mosquitto_sub", sub);
    return text !== '"fresh"';
  });
});

const node = await requireOrIgnore(
  "node",
  async () =>
    (await new Deno.Command("node", { args: ["--version"], stdout: "null" }).output()).success,
  "apt-get install nodejs",
);

test(node.name("MQTT.js on plain Node calls, is called, shouts and listens"), async (place) => {
  if (node.ignore) return;
  const { broker, bay, use } = place;
  const desk = await bay("desk");
  await desk.serve("desk/double", (n) => Number(n) * 2);
  const library = await nodeLibrary(broker.folder);
  const program = fileURLToPath(new URL("./testdata/node_peer.cjs", import.meta.url));
  const child = use(
    new Lines(
      new Deno.Command("node", {
        args: [program, library, String(broker.port)],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    ),
  );
  assert.equal(await child.next(), "answer 42");
  assert.equal(await desk.call("node/upper", "abc", { timeoutMs: 10_000 }), "ABC");
  await assert.rejects(desk.call("node/upper", 7), { code: "remote", message: "no text" });
  const heard: unknown[] = [];
  await desk.listen("node/tick", (value, { headers }) => void heard.push([value, headers?.unit]));
  const speaker = await desk.speaker("desk/tick");
  await speaker.shout("go");
  await until("the answer", () => heard.length > 0);
  assert.deepEqual(heard, [["go!", "mm"]]);
});

/** MQTT.js as Node finds it: a folder with what Deno has in its cache. */
async function nodeLibrary(folder: string): Promise<string> {
  const dependencies = { mqtt: "5.16.0" };
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify({ dependencies }));
  await Deno.writeTextFile(`${folder}/deno.json`, '{"nodeModulesDir":"manual"}');
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--cached-only"],
    cwd: folder,
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return `${folder}/node_modules/mqtt`;
}
