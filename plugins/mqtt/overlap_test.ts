/**
 * What is begun at an address while something else there is still being begun or ended, and what
 * ends while the broker is away.
 *
 * @module
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { type Bay, defineCallable, defineSpeaker, type PatchbayError } from "@patchbay/core";
import { CuttingProxy } from "@patchbay/core/conformance";
import mqtt, { durable } from "./mod.ts";
import { requireOrIgnore } from "../../tests/require.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";
import { testsWith, until } from "./testdata/places.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);
const test = testsWith(need);

/** How often each overlap is tried: which of the two is first at the broker is not ours to say. */
const ROUNDS = 20;

const sharing = "shared";

for (const version of ["5", "3.1.1"] as const) {
  test(`two shared servers of one bay that begin at once both get calls (${version})`, async (place) => {
    const far = await place.bay("far", { version });
    const near = await place.bay("near", { version });
    const [one, two] = await Promise.all([
      far.serve("far/x", () => "one", { sharing }),
      far.serve("far/x", () => "two", { sharing }),
    ]);
    const answers = new Set<unknown>();
    for (let i = 0; i < 4; i++) answers.add(await near.call("far/x", i));
    assert.deepEqual([...answers].sort(), ["one", "two"]);
    await one.close();
    assert.equal(await near.call("far/x", 0), "two");
    await two.close();
    await assert.rejects(near.call("far/x", 0), { code: "not_found" });
  });

  test(`what is served again while the server before it ends is served (${version})`, async (place) => {
    const far = await place.bay("far", { version });
    const near = await place.bay("near", { version });
    let server = await far.serve("far/x", () => -1, { sharing });
    for (let i = 0; i < ROUNDS; i++) {
      const closing = server.close();
      const next = far.serve("far/x", () => i, { sharing });
      await closing;
      server = await next;
      assert.equal(await near.call("far/x", null), i);
    }
  });

  test(`what one bay has ceased to serve another one may serve at once (${version})`, async (place) => {
    const bays = [await place.bay("one", { version }), await place.bay("two", { version })];
    for (let i = 0; i < ROUNDS; i++) {
      const server = await bays[i % 2].serve("far/x", () => i);
      await server.close();
    }
  });

  test(`who begins to listen while another one ends hears (${version})`, async (place) => {
    const far = await place.bay("far", { version });
    const near = await place.bay("near", { version });
    const speaker = await far.speaker("far/tick");
    const heard: number[] = [];
    const hear = () =>
      near.listen("far/tick", (value) => void heard.push(value as number), { retained: true });
    let listener = await hear();
    for (let i = 0; i < ROUNDS; i++) {
      const next = hear();
      const closing = listener.close();
      listener = await next;
      await closing;
      await speaker.shout(i);
      await until(`shout ${i} to be heard`, () => heard.includes(i));
    }
  });

  test(`the last value stays while one of its speakers is there (${version})`, async (place) => {
    const far = await place.bay("far", { version });
    const near = await place.bay("near", { version });
    const first = await far.speaker("far/state", { retain: true });
    const second = await far.speaker("far/state", { retain: true });
    await first.shout("up");
    await first.close();
    const kept = async () => {
      const heard: unknown[] = [];
      const ear = await near.listen("far/state", (value) => void heard.push(value), {
        retained: true,
      });
      await until("the last value", () => heard.length > 0);
      await ear.close();
      return heard[0];
    };
    assert.equal(await kept(), "up");
    await second.shout("down");
    assert.equal(await kept(), "down");
    // Another bay's newer one stays, too.
    const elsewhere = await place.bay("elsewhere", { version });
    const third = await elsewhere.speaker("far/state", { retain: true });
    await third.shout("sideways");
    await second.close();
    assert.equal(await kept(), "sideways");
    await third.close();
    const all = ["-t", "patchbay/shout/far/state/#", "-C", "1", "-W", "1"];
    assert.doesNotMatch(await place.broker.run("mosquitto_sub", all), /up|down|sideways/);
  });
}

test("speakers that begin at once all know who listens", async ({ bay }) => {
  const far = await bay("far");
  const near = await bay("near");
  await near.listen("far/*", () => {});
  const speakers = await Promise.all([1, 2, 3].map((n) => far.speaker(`far/${n}`)));
  assert.deepEqual(speakers.map(({ listeners }) => listeners), [1, 1, 1]);
});

test("a listener and a subscription by hand at one filter: each hears, and goes alone", async (place) => {
  const near = await place.bay("near");
  const heard: unknown[] = [];
  const raw: string[] = [];
  const listener = await near.listen("dev/x", (value) => void heard.push(value));
  const subscribe = () =>
    near.transport(mqtt).subscribe(
      "patchbay/shout/dev/x",
      ({ payload }) => void raw.push(new TextDecoder().decode(payload)),
    );
  const pub = (text: string) =>
    place.broker.run("mosquitto_pub", ["-t", "patchbay/shout/dev/x", "-m", text]);
  const ear = await subscribe();
  await pub("1");
  await until("both to hear", () => heard.length === 1 && raw.length === 1);
  await ear.close();
  await pub("2");
  await until("the listener to hear", () => heard.length === 2);
  await using _again = await subscribe();
  await listener.close();
  await pub("3");
  await until("the subscription to hear", () => raw.length === 2);
  assert.deepEqual([heard, raw], [[1, 2], ["1", "3"]]);
});

test("a second subscription by hand with a lower quality leaves the first one its own", async (place) => {
  const near = await place.bay("near");
  const seen: number[] = [];
  const extras = near.transport(mqtt);
  await extras.subscribe("plant/x", ({ qos }) => void seen.push(qos), { qos: 1 });
  await extras.subscribe("plant/x", () => {});
  await place.broker.run("mosquitto_pub", ["-t", "plant/x", "-q", "1", "-m", "1"]);
  await until("it", () => seen.length > 0);
  assert.deepEqual(seen, [1]);
});

test("a served topic of one's own beside a listener of the same topic: both, once", async (place) => {
  const near = await place.bay("near");
  const asked: unknown[] = [];
  const heard: unknown[] = [];
  const go = defineCallable<unknown, unknown>({
    address: "plant/go",
    native: { mqtt: "plant/go" },
  });
  const all = defineSpeaker<unknown>({ address: "plant/all", native: { mqtt: "plant/#" } });
  const same = defineSpeaker<unknown>({ address: "plant/same", native: { mqtt: "plant/go" } });
  const server = await near.serve(go, (value) => void asked.push(value));
  const ears = [
    await near.listen(all, (value) => void heard.push(value)),
    await near.listen(same, (value) => void heard.push(value)),
  ];
  const pub = (text: string) =>
    place.broker.run("mosquitto_pub", ["-V", "5", "-t", "plant/go", "-q", "1", "-m", text]);
  await pub("1");
  await until("it", () => asked.length >= 1 && heard.length >= 2);
  for (const ear of ears) await ear.close();
  await pub("2");
  await until("the second", () => asked.includes(2));
  assert.deepEqual(asked, [1, 2]);
  assert.deepEqual(heard, [1, 1]);
  await server.close();
});

test("what was closed while the broker was away is not subscribed when a session goes on", async (place) => {
  const { broker, bay, use } = place;
  const proxy = new CuttingProxy(broker.port);
  use({ [Symbol.asyncDispose]: () => proxy.close() });
  const far = await bay("far", { port: proxy.port, reconnectMinMs: 200 }, durable);
  const near = await bay("near", {}, durable);
  const other = await bay("other", {}, durable);
  const server = await far.serve("both/x", () => "far", { sharing });
  await other.serve("both/x", () => "other", { sharing });
  const ear = await far.listen("near/tick", () => {});
  proxy.cut();
  await until("the loss to be noticed", () => far.wires()[0].health?.status === "degraded");
  await Promise.all([server.close(), ear.close()]);
  await until("it to be healthy", () => far.wires()[0].health?.status === "healthy");
  const speaker = await near.speaker("near/tick");
  // Behind its answer it is known that what was to be unsubscribed is.
  await far.call("both/x", 0);
  for (let i = 0; i < 6; i++) assert.equal(await near.call("both/x", i), "other");
  await speaker.shout(1);
  await far.call("both/x", 0);
  const { drops } = far.statistics.snapshot(Date.now()).transports[0];
  assert.deepEqual([drops.unclaimed ?? 0, drops.foreign_topic ?? 0], [0, 0]);
});

/** A bay behind a proxy at which nothing moves any more. */
async function stalled(
  place: Parameters<Parameters<typeof test>[1]>[0],
  config: object = {},
  plugin = mqtt,
): Promise<{ near: Bay; proxy: CuttingProxy }> {
  const proxy = new CuttingProxy(place.broker.port);
  place.use({ [Symbol.asyncDispose]: () => proxy.close() });
  const near = await place.bay("near", { port: proxy.port, ...config }, plugin);
  return { near, proxy };
}

test("closing ends although the broker says nothing any more", async (place) => {
  const { near, proxy } = await stalled(place, { maxUnconfirmed: 1 }, durable);
  const speaker = await near.speaker("near/tick");
  proxy.stall();
  const settled: string[] = [];
  const outcome = (what: string, promise: Promise<unknown> | void) =>
    promise?.then(() => settled.push(what), () => settled.push(what));
  const all = [
    outcome("shout", speaker.shout(1) as Promise<void>),
    outcome("publish", near.transport(mqtt).publish("plant/x", "1", { qos: 1 })),
    outcome("subscribe", near.transport(mqtt).subscribe("plant/x", () => {})),
    outcome("listen", near.listen("far/tick", () => {})),
    outcome("serve", near.serve("near/x", () => {})),
    outcome("speak", near.speaker("near/other")),
    outcome("call", near.call("near/nobody", 1)),
  ];
  await near.close();
  await until("all to be settled", () => settled.length === all.length);
});

test("a speaker that retains closes although the broker is lost just then", async (place) => {
  const { near, proxy } = await stalled(place);
  const speaker = await near.speaker("near/state", { retain: true });
  await speaker.shout("up");
  proxy.stall();
  const closing = speaker.close();
  await place.broker.kill();
  proxy.cut();
  await closing;
});

test("a call that asks first waits for the broker, too, if it may", async (place) => {
  const far = await place.bay("far");
  const echo = defineCallable<number, number>({ address: "far/echo", idempotent: true });
  await far.serve(echo, (value) => value);
  const { near, proxy } = await stalled(place, { whenLost: "wait" });
  const callable = near.callable(echo);
  await until(
    "the server to be known",
    async () => (await near.explain("callable", "far/echo")).chosen === "mqtt",
  );
  proxy.stall();
  const answer = callable.call(1, { timeoutMs: 20_000 });
  // It has been sent when the next turn comes.
  await new Promise((resolve) => setTimeout(resolve, 50));
  proxy.cut();
  assert.equal(await answer, 1);
});

test("what begins while the connection is lost begins not at all, and can begin again", async (place) => {
  const { near, proxy } = await stalled(place);
  const far = await place.bay("far");
  const speaker = await far.speaker("far/tick");
  const heard: unknown[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    if (i % 2 === 0) proxy.stall();
    const refused = (error: PatchbayError) => assert.equal(error.code, "closed");
    const beginning = near.listen("far/tick", (value) => void heard.push(value)).then(
      (listener) => listener.close(),
      refused,
    );
    const serving = near.serve(`near/x${i}`, () => 1).then((server) => server.close(), refused);
    // Cut sometimes before it was granted, and sometimes before it was told to all.
    const cutMs = performance.now() + i / 5;
    while (performance.now() < cutMs) await new Promise((resolve) => setImmediate(resolve));
    proxy.cut();
    await Promise.all([beginning, serving]);
    const times = () => near.statistics.snapshot(Date.now()).transports[0].reconnections;
    await until("it to be back", () => times() === i + 1);
  }
  await near.listen("far/tick", (value) => void heard.push(value));
  // Nobody takes what was not served for served.
  for (let i = 0; i < ROUNDS; i++) await (await far.serve(`near/x${i}`, () => 1)).close();
  await speaker.shout("once");
  await speaker.shout("last");
  await until("the last", () => heard.includes("last"));
  assert.deepEqual(heard, ["once", "last"]);
});

test("an address that is called like something that every object has is found", async ({ bay }) => {
  const far = await bay("far");
  const near = await bay("near");
  for (const address of ["constructor", "__proto__"]) {
    await far.serve(address, () => address);
    assert.equal(await near.call(address, 1), address);
  }
});

test(
  "what is a little too large for the broker with its topic is refused here",
  async ({ bay }) => {
    const near = await bay("near", { maxMessageBytes: 1_000_000 }, durable);
    const speaker = await near.speaker("near/blob");
    assert.throws(() => speaker.shout("x".repeat(19_980)), { code: "too_large" });
    await speaker.shout("small");
    assert.equal(near.wires()[0].health?.status, "healthy");
  },
  { lines: ["max_packet_size 20000"] },
);
