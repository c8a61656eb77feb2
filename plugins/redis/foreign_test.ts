/**
 * Foreign programs: `redis-cli` calls, answers, shouts and listens.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, defineSpeaker, open, type Plugin } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { Broker, probeRedis } from "./redis_fixture.ts";
import type { RedisConfig } from "./config.ts";
import redis, { durable } from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");

/** A broker, and bays on it. */
interface Place {
  readonly broker: Broker;
  readonly reports: unknown[];
  bay(module: string, plugin?: Plugin, config?: Partial<RedisConfig>): Promise<Bay>;
}

function test(title: string, run: (place: Place) => Promise<void>): void {
  Deno.test({
    name: need.name(`redis-cli: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Broker.start());
      const reports: unknown[] = [];
      await run({
        broker,
        reports,
        bay: async (module, plugin = redis, config = {}) =>
          stack.use(
            await open({
              module,
              plugins: [plugin],
              config: { redis: { port: broker.port, ...config } },
              onReport: (error) => reports.push(error),
            }),
          ),
      });
    },
  });
}

/** Waits until the text holds something. */
async function reads(
  stream: ReadableStream<Uint8Array>,
  enough: (text: string) => boolean,
): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (enough(text)) return text;
  }
  return text;
}

test("calls by XADD, and reads the answer", async ({ broker, bay }) => {
  const arm = await bay("arm");
  await arm.serve("arm/add", (request, { peer, headers, remainingMs }) => {
    assert.equal(remainingMs, Infinity, "it does not say how long it waits");
    const { a, b } = request as { a: number; b: number };
    return { sum: a + b, peer: peer.module, headers };
  });
  const id = await broker.cli([
    ..."XADD patchbay:call:{arm}/add NOMKSTREAM * reply my:replies id 7 from cli".split(" "),
    "headers",
    '{"trace":"x"}',
    "value",
    '{"a":2,"b":3}',
  ]);
  assert.match(id, /^\d+-\d+$/);
  const answer = await broker.cli(["XREAD", "BLOCK", "5000", "STREAMS", "my:replies", "0"]);
  assert.match(answer, /\nre\n7\nvalue\n/);
  const value = JSON.parse(answer.split("\nvalue\n")[1]);
  assert.deepEqual(value, { sum: 5, peer: "cli", headers: { trace: "x" } });
  assert.equal(await broker.cli(["XLEN", "patchbay:call:{arm}/add"]), "0", "it is done with");
});

test("an address that nobody serves is told at once: (nil)", async ({ broker, bay }) => {
  await bay("arm");
  assert.equal(
    await broker.cli(["XADD", "patchbay:call:{arm}/none", "NOMKSTREAM", "*", "value", "1"]),
    "",
  );
  const arm = await bay("arm2");
  const served = await arm.serve("arm/none", () => 1);
  await served.close();
  assert.equal(await broker.cli(["EXISTS", "patchbay:call:{arm}/none"]), "0");
});

test("what it cannot mean is answered with an error, and the server goes on", async (place) => {
  const { broker, bay } = place;
  const arm = await bay("arm");
  await arm.serve("arm/echo", (value) => value);
  const bad: readonly (readonly [readonly string[], RegExp])[] = [
    [["value", "{not json"], /"code":"protocol"/],
    [["other", "1"], /no field `value`/],
    [["value", "1", "type", "application/nonsense"], /is unknown/],
    [["value", "1", "headers", "[1]"], /`headers` is no object/],
    [["value", "{}", "type", "application/vnd.msgpack"], /"code":"protocol"/],
  ];
  for (const [fields, expected] of bad) {
    await broker.cli(["DEL", "r"]);
    await broker.cli(["XADD", "patchbay:call:{arm}/echo", "*", "reply", "r", ...fields]);
    const answer = await broker.cli(["XREAD", "BLOCK", "5000", "STREAMS", "r", "0"]);
    assert.match(answer, expected);
  }
  const desk = await bay("desk");
  assert.equal(await desk.call("arm/echo", 7), 7);
  const { endpoints } = arm.statistics.snapshot(Date.now());
  const server = endpoints.find(({ role }) => role === "server");
  assert.equal(server?.drops.undecodable, 5);
});

test("a reply that goes to what is no stream harms nobody", async ({ broker, bay, reports }) => {
  const arm = await bay("arm");
  await arm.serve("arm/echo", (value) => value);
  await broker.cli(["SET", "text", "1"]);
  await broker.cli(["XADD", "patchbay:call:{arm}/echo", "*", "reply", "text", "value", "1"]);
  const desk = await bay("desk");
  assert.equal(await desk.call("arm/echo", 7), 7);
  for (let left = 100; reports.length === 0 && left > 0; left--) {
    assert.equal(await desk.call("arm/echo", left), left);
  }
  assert.match(String(reports[0]), /WRONGTYPE/);
});

test("serves: a group, a registration, and an answer", async ({ broker, bay }) => {
  const desk = await bay("desk");
  const key = "patchbay:call:{cli}/double";
  await broker.cli(["XGROUP", "CREATE", key, "servers", "0", "MKSTREAM"]);
  await broker.cli(["HSET", "patchbay:servers:{cli}/double", "my-script", "always"]);
  const call = desk.call("cli/double", 21, { headers: { unit: "mm" }, timeoutMs: 20_000 });
  call.catch(() => {});
  const request = await broker.cli(
    `XREADGROUP GROUP servers my-script BLOCK 5000 STREAMS ${key} >`.split(" "),
  );
  const lines = request.split("\n");
  const field = (name: string) => lines[lines.indexOf(name) + 1];
  assert.equal(field("value"), "21");
  assert.equal(field("headers"), '{"unit":"mm"}');
  assert.equal(field("from"), "desk");
  assert.ok(Number(field("timeout")) > 0);
  await broker.cli(["XADD", field("reply"), "*", "re", field("id"), "value", "42"]);
  assert.equal(await call, 42);
  const failing = assert.rejects(desk.call("cli/double", 1), {
    code: "remote",
    message: "the script broke",
  });
  const again = await broker.cli(
    `XREADGROUP GROUP servers my-script BLOCK 5000 STREAMS ${key} >`.split(" "),
  );
  const more = again.split("\n");
  const id = more[more.indexOf("id") + 1];
  await broker.cli(["XADD", field("reply"), "*", "re", id, "error", "the script broke"]);
  await failing;
});

test("hears shouts by PSUBSCRIBE, the channel tells who and which", async ({ broker, bay }) => {
  const arm = await bay("arm");
  const speaker = await arm.speaker("arm/pose");
  const cli = broker.spawnCli(["PSUBSCRIBE", "patchbay:shout:arm/pose:*"]);
  const hears = reads(cli.stdout, (text) => text.includes('{"x":2}'));
  const until = Date.now() + 10_000;
  while (await broker.cli(["PUBSUB", "NUMPAT"]) !== "1" && Date.now() < until);
  await speaker.shout({ x: 1 });
  await speaker.shout({ x: 2 });
  const text = await hears;
  const { id } = arm.identity;
  assert.ok(text.includes(`patchbay:shout:arm/pose:${id}:1:j\n{"x":1}\n`), text);
  assert.ok(text.includes(`patchbay:shout:arm/pose:${id}:2:j\n{"x":2}\n`), text);
  cli.kill("SIGKILL");
  await cli.stderr.cancel();
  await cli.status;
});

test("hears shouts by SUBSCRIBE where the channels are plain", async ({ broker, bay }) => {
  const arm = await bay("arm", redis, { shoutIds: false });
  const desk = await bay("desk", redis, { shoutIds: false });
  const heard: unknown[] = [];
  const both = Promise.withResolvers<void>();
  for (const pattern of ["arm/pose", "arm/*"]) {
    await desk.listen(pattern, (value) => {
      if (heard.push(value) === 2) both.resolve();
    });
  }
  const speaker = await arm.speaker("arm/pose");
  const cli = broker.spawnCli(["SUBSCRIBE", "patchbay:shout:arm/pose"]);
  const hears = reads(cli.stdout, (text) => text.includes('{"x":1}'));
  const until = Date.now() + 10_000;
  const count = async () => (await broker.cli(["PUBSUB", "NUMSUB", "patchbay:shout:arm/pose"]));
  while (!(await count()).endsWith("2") && Date.now() < until);
  await speaker.shout({ x: 1 });
  assert.match(await hears, /message\npatchbay:shout:arm\/pose\n\{"x":1\}\n/);
  await both.promise;
  assert.deepEqual(heard, [{ x: 1 }, { x: 1 }]);
  await assert.rejects(async () => await speaker.shout(new Uint8Array(3)), { code: "invalid" });
  cli.kill("SIGKILL");
  await cli.stderr.cancel();
  await cli.status;
});

test("plain channels carry what the contracts of both sides say", async ({ bay }) => {
  const bytes = defineSpeaker<Uint8Array>({ address: "arm/bytes", codec: "raw" });
  const arm = await bay("arm", redis, { shoutIds: false });
  const desk = await bay("desk", redis, { shoutIds: false });
  const heard = Promise.withResolvers<Uint8Array>();
  await desk.listen(bytes, (value) => heard.resolve(value));
  await (await arm.speaker(bytes)).shout(Uint8Array.of(0, 255, 123));
  assert.deepEqual(await heard.promise, Uint8Array.of(0, 255, 123));
});

test("some addresses go through Streams, the rest over pub/sub; a pattern hears both", async (place) => {
  const { broker, bay } = place;
  const streams = ["order/**"];
  const arm = await bay("arm", redis, { streams });
  const desk = await bay("desk", redis, { streams });
  const heard: unknown[] = [];
  const four = Promise.withResolvers<void>();
  for (const pattern of ["**", "order/new", "arm/pose"]) {
    await desk.listen(pattern, (value, { address, headers }) => {
      if (heard.push([pattern, address, value, headers]) === 4) four.resolve();
    });
  }
  const order = await arm.speaker("order/new");
  const pose = await arm.speaker("arm/pose");
  assert.deepEqual([order.listeners, pose.listeners], [2, 2]);
  await order.shout(1, { headers: { a: "b" } });
  await pose.shout(2, { headers: { a: "b" } });
  await four.promise;
  heard.sort();
  assert.deepEqual(heard, [
    ["**", "arm/pose", 2, undefined],
    ["**", "order/new", 1, { a: "b" }],
    ["arm/pose", "arm/pose", 2, undefined],
    ["order/new", "order/new", 1, { a: "b" }],
  ]);
  assert.equal(await broker.cli(["XLEN", "patchbay:log:{order}/new"]), "1");
  assert.equal(await broker.cli(["EXISTS", "patchbay:log:{arm}/pose"]), "0");
});

test("shouts by PUBLISH; what nobody can read is counted, reported, and the next is heard", async (place) => {
  const { broker, bay, reports } = place;
  const desk = await bay("desk");
  const heard: unknown[] = [];
  const two = Promise.withResolvers<void>();
  await desk.listen("cli/*", (value, { address, origin }) => {
    if (heard.push([address, origin, value]) === 2) two.resolve();
  });
  assert.equal(await broker.cli(["PUBLISH", "patchbay:shout:cli/tick", "1"]), "1");
  await broker.cli(["PUBLISH", "patchbay:shout:cli/tick", "{broken"]);
  await broker.cli(["PUBLISH", "patchbay:shout:cli/tick:x:y", "1"]);
  await broker.cli(["PUBLISH", "patchbay:shout:cli/tick", '"last"']);
  await two.promise;
  assert.deepEqual(heard, [["cli/tick", "", 1], ["cli/tick", "", "last"]]);
  const { endpoints, transports } = desk.statistics.snapshot(Date.now());
  assert.deepEqual(endpoints.find(({ role }) => role === "listener")?.drops, { undecodable: 1 });
  assert.deepEqual(transports[0].drops, { foreign_channel: 1 });
  assert.equal(reports.length, 1);
  assert.match(String(reports[0]), /not JSON/);
});

test("writes and reads the log of a speaker that delivers at least once", async (place) => {
  const { broker, bay, reports } = place;
  const desk = await bay("desk", durable);
  const heard: unknown[] = [];
  const three = Promise.withResolvers<void>();
  await desk.listen("cli/log", (value, { headers, peer }) => {
    if (heard.push([value, headers, peer?.module]) === 3) three.resolve();
  });
  const key = "patchbay:log:{cli}/log";
  await broker.cli(["XADD", key, "*", "value", "1"]);
  await broker.cli(["XADD", key, "*", "value", "{broken"]);
  await broker.cli(["XADD", key, "*", "no", "value"]);
  await broker.cli(["XADD", key, "*", "value", "2", "headers", '{"a":"b"}', "from", "cli"]);
  const arm = await bay("arm", durable);
  const speaker = await arm.speaker("cli/log");
  await speaker.shout({ n: 3 }, { headers: { c: "d" } });
  await three.promise;
  assert.deepEqual(heard, [[1, undefined, undefined], [2, { a: "b" }, "cli"], [
    { n: 3 },
    { c: "d" },
    "arm",
  ]]);
  assert.equal(reports.length, 2, "what nobody can read is reported, and not given again");
  const last = await broker.cli(["XREVRANGE", key, "+", "-", "COUNT", "1"]);
  assert.ok(last.includes('\nvalue\n{"n":3}\norigin\n'), last);
  const until = Date.now() + 10_000;
  const group = `bay:${desk.identity.id}`;
  while (!(await broker.cli(["XPENDING", key, group])).startsWith("0") && Date.now() < until);
  assert.match(await broker.cli(["XPENDING", key, group]), /^0/, "all is acknowledged");
});

test("owns a job by four plain messages", async ({ broker, bay }) => {
  const arm = await bay("arm");
  await arm.perform("arm/count", async function* (n) {
    for (let i = 1; i <= (n as number); i++) yield i;
    return await Promise.resolve("done");
  });
  const id = "0123456789abcdef".repeat(2);
  const ask = async (what: string, message: unknown) => {
    await broker.cli(["DEL", "r"]);
    const key = `patchbay:call:{arm}/count/_job/${what}`;
    await broker.cli(["XADD", key, "*", "reply", "r", "value", JSON.stringify(message)]);
    const answer = await broker.cli(["XREAD", "BLOCK", "5000", "STREAMS", "r", "0"]);
    return JSON.parse(answer.split("\nvalue\n")[1]);
  };
  assert.deepEqual(await ask("goal", { id, goal: 3 }), {});
  const answer = await ask("result", { id, waitMs: 5000, after: 0 });
  assert.equal(answer.last, 3);
  assert.deepEqual((await ask("result", { id, waitMs: 5000 })).ended, { ok: true, value: "done" });
});
