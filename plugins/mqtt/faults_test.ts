/**
 * What breaks: the broker dies and comes back, a consumer dies, a peer dies, the broker is not there,
 * or what comes makes no sense.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import { CuttingProxy, freePort } from "@patchbay/core/conformance";
import { EmbeddedBroker } from "./embedded.ts";
import mqtt, { durable } from "./mod.ts";
import { requireOrIgnore } from "../../tests/require.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";
import { Lines, range, testsWith, until } from "./testdata/places.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);
const test = testsWith(need);

test("killed twice in 3000 shouts with QoS 1: none is lost", async ({ broker, bay }) => {
  const near = await bay("near", {}, durable);
  const far = await bay("far", {}, durable);
  const heard: number[] = [];
  const seen = new Set<number>();
  await near.listen<number>("far/count", (n) => {
    seen.add(n);
    heard.push(n);
  }, { maxQueue: 10_000 });
  const speaker = await far.speaker<number>("far/count");
  let shouted = 0;
  const shouting = (async () => {
    for (const n of range(1, 3000)) {
      await speaker.shout(shouted = n);
      // So that the broker dies while some are on their way.
      if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  })();
  for (const mark of [700, 1900]) {
    await until(`shout ${mark}`, () => shouted >= mark);
    await broker.kill();
    await until("the loss to be noticed", () => far.wires()[0].health?.status === "degraded");
    assert.match(far.wires()[0].health?.reason ?? "", /connecting anew: the MQTT broker at 127/);
    await broker.restart();
    await until(
      "it to be healthy",
      () => [near, far].every((each) => each.wires()[0].health?.status === "healthy"),
    );
  }
  await shouting;
  await until("all to be heard", () => seen.size === 3000);
  const { transports } = near.statistics.snapshot(Date.now());
  const copies = heard.length - seen.size;
  const dropped = transports[0].drops.duplicate ?? 0;
  console.log(`    ${copies + dropped} duplicates: ${dropped} dropped`);
  assert.equal(copies, 0, "what comes twice is delivered once");
  assert.deepEqual([...seen].sort((a, b) => a - b), range(1, 3000));
}, { persistence: true });

test("a consumer killed between receive and acknowledgement: it comes again", async (place) => {
  const { broker, bay, use } = place;
  const program = fileURLToPath(new URL("./testdata/consumer.ts", import.meta.url));
  const start = () =>
    new Lines(
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", program, String(broker.port)],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
  const shop = await bay("shop", {}, durable);
  const orders = await shop.speaker<number>("shop/order");
  {
    await using first = start();
    assert.equal(await first.next(), "ready");
    for (const n of range(1, 5)) await orders.shout(n);
    for (const n of range(1, 3)) assert.equal(await first.next(), `took ${n}`);
  }
  // While it is away one more comes.
  await until("its death to be known", () => orders.listeners === 0);
  await orders.shout(6);
  const taken: number[] = [];
  const second = use(
    await open({
      module: "packer",
      plugins: [durable],
      config: { mqtt: { port: broker.port, clientId: "packer-1" } },
    }),
  );
  await second.listen<number>("shop/order", (n) => void taken.push(n));
  await until("the rest", () => taken.includes(6));
  // What it had handled may come again, if it was killed before that was told.
  assert.deepEqual(taken.slice(taken.indexOf(3)), [3, 4, 5, 6]);
});

test("duplicates are dropped and counted; on request they are delivered", async (place) => {
  const { broker, bay } = place;
  for (const deduplicate of [true, false]) {
    const ear = await bay(`ear-${deduplicate}`, { deduplicate, atLeastOnce: ["**"] });
    const heard: unknown[] = [];
    await ear.listen("dev/pose", (value) => void heard.push(value));
    const twice = ["-V", "5", "-q", "1", "-t", "patchbay/shout/dev/pose", "-m", "7"];
    const id = ["-D", "publish", "user-property", "pb-id", `dev-${deduplicate}:1`];
    for (const _ of [1, 2]) await broker.run("mosquitto_pub", [...twice, ...id]);
    await broker.run("mosquitto_pub", [...twice.slice(0, -1), "8"]);
    await until("the last", () => heard.includes(8));
    assert.deepEqual(heard, deduplicate ? [7, 8] : [7, 7, 8]);
    const { drops } = ear.statistics.snapshot(Date.now()).transports[0];
    assert.equal(drops.duplicate ?? 0, deduplicate ? 1 : 0);
  }
});

test("what cannot be decoded is counted and reported, and the listener goes on", async (place) => {
  const { broker, bay, reports } = place;
  const ear = await bay("ear");
  const heard: unknown[] = [];
  await ear.listen("dev/pose", (value) => void heard.push(value));
  const pub = (text: string) =>
    broker.run("mosquitto_pub", ["-t", "patchbay/shout/dev/pose", "-q", "1", "-m", text]);
  await pub("{not json");
  await pub("[1, 2]");
  await until("the good one", () => heard.length === 1);
  assert.deepEqual(heard, [[1, 2]]);
  assert.equal(reports.length, 1);
  assert.equal(reports[0].code, "protocol");
  assert.equal(reports[0].address, "dev/pose");
  const { endpoints } = ear.statistics.snapshot(Date.now());
  assert.equal(endpoints.find(({ role }) => role === "listener")?.drops.undecodable, 1);
});

test("what is too large for the broker is refused here, and names its limit", async ({ bay }) => {
  const near = await bay("near", { maxMessageBytes: 1_000_000 });
  const speaker = await near.speaker("near/blob");
  const blob = new Uint8Array(300_000);
  assert.throws(() => speaker.shout(blob), { code: "too_large" });
  await speaker.shout("small");
}, { lines: ["max_packet_size 200000"] });

test("the broker is not there: told within the time, with host, port, reason, remedy", async () => {
  const port = freePort();
  await using bay = await open({ module: "near", plugins: [mqtt], config: { mqtt: { port } } });
  const [{ open: isOpen, reason, remedy }] = bay.wires();
  assert.equal(isOpen, false);
  assert.match(reason ?? "", new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached: .*refused`));
  assert.match(remedy ?? "", /mosquitto|patchbay broker/);
  // One that accepts and says nothing.
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of mute) accepted.push(connection);
  })();
  const config = { mqtt: { port: mute.addr.port, connectTimeoutMs: 200 } };
  {
    await using other = await open({ module: "near", plugins: [mqtt], config });
    assert.match(other.wires()[0].reason ?? "", /did not answer within 200 ms/);
  }
  for (const connection of accepted) connection.close();
  mute.close();
  await accepting;
});

test("the broker is lost: degraded; calls fail, or wait; listeners resume", async (place) => {
  const { broker, bay } = place;
  const far = await bay("far");
  const near = await bay("near");
  const patient = await bay("patient", { whenLost: "wait" });
  await far.serve("far/echo", (value) => value);
  await far.serve("far/hang", () => new Promise(() => {}));
  const heard: unknown[] = [];
  await near.listen("far/tick", (value) => void heard.push(value));
  const tick = await far.speaker("far/tick");
  const callable = near.callable("far/echo");
  const waiting = patient.callable("far/echo");
  assert.deepEqual([await callable.call(1), await waiting.call(1)], [1, 1]);
  const pending = near.call("far/hang", 1, { timeoutMs: Infinity }).catch((error) => error.code);
  await broker.kill();
  assert.equal(await pending, "closed");
  await until(
    "the loss to be noticed",
    () => [near, far, patient].every((each) => each.wires()[0].health?.status === "degraded"),
  );
  const refusal = await callable.call(2).then(() => "no error", (error) => error.code);
  assert.ok(["unavailable", "not_found"].includes(refusal), refusal);
  const patience = waiting.call(3, { timeoutMs: 20_000 });
  await broker.restart();
  assert.equal(await patience, 3);
  await until("a shout to be heard", async () => {
    await tick.shout("again");
    return heard.length > 0;
  });
  await until("a call to go through", () => callable.call(4).then((v) => v === 4, () => false));
});

test("a broker that is silent is noticed by keepalive", async ({ broker, bay }) => {
  const proxy = new CuttingProxy(broker.port);
  try {
    const near = await bay("near", { port: proxy.port, keepaliveMs: 1000 });
    proxy.stall();
    await until("the silence to be noticed", () => near.wires()[0].health?.status === "degraded");
    proxy.cut();
    await until("it to be healthy", () => near.wires()[0].health?.status === "healthy");
    await near.close();
  } finally {
    await proxy.close();
  }
});

test("a bay that says nothing gives signs of life, and is not cut", async ({ bay }) => {
  const near = await bay("near", { keepaliveMs: 1000, leaseMs: 60_000 });
  // A broker cuts after one and a half of it.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  assert.equal(near.wires()[0].health?.status, "healthy");
  assert.equal(near.statistics.snapshot(Date.now()).transports[0].reconnections, 0);
});

test("a bay that died together with its broker is gone after its lease", async (place) => {
  const { broker, bay } = place;
  const note = { module: "ghost", v: 5, rev: 1, leaseMs: 1000, serves: { "ghost/x": "exclusive" } };
  const topic = "patchbay/bay/0123456789abcdef";
  await broker.run("mosquitto_pub", ["-r", "-t", topic, "-q", "1", "-m", JSON.stringify(note)]);
  const near = await bay("near", { leaseMs: 1000 });
  const pending = near.call("ghost/x", 1, { timeoutMs: Infinity });
  await assert.rejects(pending, { code: /^(closed|not_found)$/ });
  await until("it to be nobody's", async () => {
    const code = await near.call("ghost/x", 1).then(() => "", (error) => error.code);
    return code === "not_found";
  });
  await near.serve("ghost/x", () => 1);
  const kept = ["-t", topic, "-C", "1", "-W", "1"];
  assert.doesNotMatch(await broker.run("mosquitto_sub", kept), /ghost/);
});

test("the user's last will is published when the process dies, and not when it closes", async (place) => {
  const { broker, bay, use } = place;
  const sub = use(new Lines(broker.spawn("mosquitto_sub", ["-t", "plant/#", "-v", "-q", "1"])));
  const will = { topic: "plant/arm", payload: "gone", qos: 1, retain: true } as const;
  // Until it hears, it has not subscribed yet.
  const peace = await bay("peace", { will });
  const probe = async () => await peace.transport(mqtt).publish("plant/probe", "1", { qos: 1 });
  const first = sub.next();
  let heard = false;
  first.then(() => heard = true);
  await until("the subscription", async () => {
    await probe();
    return heard;
  });
  await peace.close();
  const code = `
    import { open } from "@patchbay/core";
    import mqtt from ${JSON.stringify(new URL("./mod.ts", import.meta.url).href)};
    await open({ module: "arm", plugins: [mqtt], config: { mqtt: {
      port: ${broker.port}, will: ${JSON.stringify(will)} } } });
    console.log("ready");`;
  {
    const file = await Deno.makeTempFile({ dir: broker.folder, suffix: ".ts" });
    await Deno.writeTextFile(file, code);
    const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
    await using child = new Lines(
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--config", config, file],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
    assert.equal(await child.next(), "ready");
  }
  let line = await sub.next();
  while (line.startsWith("plant/probe")) line = await sub.next();
  assert.equal(line, "plant/arm gone");
  assert.equal(
    await broker.run("mosquitto_sub", ["-t", "plant/arm", "-C", "1", "-W", "5"]),
    "gone",
    "it is kept",
  );
});

Deno.test("mqtt: the embedded broker needs no set-up, and another bay takes it over", async () => {
  const port = freePort();
  const config = {
    mqtt: { broker: "embedded" as const, port, reconnectMinMs: 10, reconnectMaxMs: 50 },
  };
  const options = (module: string) => ({ module, plugins: [mqtt], config });
  const first = await open(options("first"));
  assert.equal(first.transport(mqtt).hosting, true);
  await using second = await open(options("second"));
  await using third = await open(options("third"));
  assert.equal(second.transport(mqtt).version, "3.1.1");
  await second.serve("second/echo", (value) => value);
  assert.equal(await third.call("second/echo", 1), 1);
  await first.close();
  await until("somebody to be the broker", async () => {
    const hosting = [second, third].some((bay) => bay.transport(mqtt).hosting);
    return hosting && await third.call("second/echo", 2).then((v) => v === 2, () => false);
  });
});

Deno.test("mqtt: a broker without MQTT 5 is spoken to in 3.1.1", async () => {
  await using broker = await EmbeddedBroker.start({ port: 0 });
  const open_ = (version: "auto" | "5") =>
    open({ module: "near", plugins: [mqtt], config: { mqtt: { port: broker.port, version } } });
  await using bay = await open_("auto");
  assert.equal(bay.transport(mqtt).version, "3.1.1");
  await using strict = await open_("5");
  assert.match(strict.wires()[0].reason ?? "", /does not speak this version/);
  assert.match(strict.wires()[0].remedy ?? "", /version: "auto"/);
});
