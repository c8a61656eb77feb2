/**
 * The ros2 plugin through Patchbay's own API, with programs on both DDS stacks: topics, services and a
 * whole action, both ways.
 *
 * @module
 */

import assert from "node:assert/strict";
import { defineCallable, defineJob, defineSpeaker, open, type PatchbayError } from "@patchbay/core";
import ros2 from "@patchbay/ros2";
import type { Ros2Config } from "@patchbay/ros2";
import type { RosActions, RosMessages, RosServices } from "@patchbay/ros2/common-types";
import { OwnDomain } from "../../../plugins/ros2/fixture.ts";
import { Waiter } from "../../../plugins/ros2/rtps/testdata/place.ts";
import { requireOrIgnore } from "../../require.ts";
import { checksum, Peer, probe, type Stack } from "./peers.ts";

const STACKS: Stack[] = ["cyclone", "fast"];
const needed = await Promise.all(
  STACKS.map((stack) =>
    requireOrIgnore(stack, () => probe(stack), "apt-get install its packages: see judges_test.ts")
  ),
);
const both = needed[1].name(needed[0].name(""));
const RELIABLE = { reliable: true, depth: 0 };
const TIMEOUT = { timeoutMs: 20_000 };

type Add = RosServices["example_interfaces/srv/AddTwoInts"];
type Fib = RosActions["example_interfaces/action/Fibonacci"];

const Chatter = defineSpeaker<RosMessages["std_msgs/msg/String"]>({
  address: "chatter",
  native: { ros2: { type: "std_msgs/msg/String" } },
});
const AddTwoInts = defineCallable<Add["request"], Add["response"]>({
  address: "add_two_ints",
  native: { ros2: { type: "example_interfaces/srv/AddTwoInts" } },
});
const Fibonacci = defineJob<Fib["goal"], Fib["feedback"], Fib["result"]>({
  address: "fibonacci",
  native: { ros2: { type: "example_interfaces/action/Fibonacci" } },
});

/** A bay in a domain, and what it reported. */
async function openBay(domain: number, config: Partial<Ros2Config> = {}) {
  const reports: PatchbayError[] = [];
  const waiter = new Waiter();
  const bay = await open({
    module: "desk",
    plugins: [ros2],
    config: { ros2: { domain, range: "localhost", ...config } },
    onReport: (error) => {
      reports.push(error);
      waiter.touch();
    },
  });
  return { bay, reports, waiter, [Symbol.asyncDispose]: () => bay.close() };
}

/** Waits until a speaker knows so many listeners: what is said before is for nobody. */
async function joined(waiter: Waiter, speaker: { listeners: number }, count: number) {
  const timer = setInterval(waiter.touch, 5);
  await waiter.until(() => speaker.listeners === count, `${count} listeners`)
    .finally(() => clearInterval(timer));
}

/** The first numbers of Fibonacci's, so many. */
function fibonacci(count: number): number[] {
  const numbers = [0, 1];
  while (numbers.length < count) numbers.push(numbers.at(-1)! + numbers.at(-2)!);
  return numbers.slice(0, count);
}

for (const [i, stack] of STACKS.entries()) {
  const { name, ignore } = needed[i];

  Deno.test({
    name: name(`plugin: shouts to and from a program on ${stack}`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using peer = await Peer.start(stack, domain);
      await using desk = await openBay(domain);
      const { bay, waiter } = desk;
      const heard: string[] = [];
      await bay.listen(Chatter, ({ data }) => {
        heard.push(data);
        waiter.touch();
      });
      await peer.make("writer", "w", "rt/chatter", "string", RELIABLE);
      await peer.until((line) => line === "matched w 1");
      await peer.tell("write w 1 10 3");
      await waiter.until(() => heard.length === 3, "three words");
      assert.deepEqual(heard, ["b", "c", "d"].map((letter) => letter.repeat(10)));

      await peer.make("reader", "r", "rt/answer", "string", RELIABLE);
      const speaker = await bay.speaker({ ...Chatter, address: "answer" });
      await joined(waiter, speaker, 1);
      await speaker.shout({ data: "plain" });
      // What goes along for other bays must not disturb foreign programs.
      await speaker.shout({ data: "with more" }, { headers: { unit: "mm" }, priority: 200 });
      for (const text of ["plain", "with more"]) {
        const bytes = new TextEncoder().encode(text);
        await peer.until((line) => line === `got r ${text.length} ${checksum(bytes)}`);
      }
      assert.deepEqual(desk.reports, []);
    },
  });

  Deno.test({
    name: name(`plugin: a retained shout is kept for a late reader on ${stack}, and the other way`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using desk = await openBay(domain);
      const { bay, waiter } = desk;
      const speaker = await bay.speaker({ ...Chatter, address: "map" }, { retain: true });
      for (const data of ["old", "new"]) await speaker.shout({ data });
      await using peer = await Peer.start(stack, domain);
      const late = { reliable: true, transient: true, depth: 10 };
      await peer.make("reader", "r", "rt/map", "string", late);
      await peer.until((line) => line === `got r 3 ${checksum(new TextEncoder().encode("new"))}`);
      await peer.done();
      assert.equal(peer.lines.filter((line) => line.startsWith("got r")).length, 1);

      await peer.make("writer", "w", "rt/state", "string", { ...late, depth: 1 });
      await peer.tell("write w 1 3 2");
      await peer.done();
      const heard: [string, boolean][] = [];
      await bay.listen({ ...Chatter, address: "state" }, ({ data }, { retained }) => {
        heard.push([data, retained]);
        waiter.touch();
      }, { retained: true });
      await waiter.until(() => heard.length === 1, "what was kept");
      await peer.tell("write w 5 3");
      await waiter.until(() => heard.length === 2, "what is fresh");
      assert.deepEqual(heard, [["ccc", true], ["fff", false]]);
      assert.deepEqual(desk.reports, []);
    },
  });

  Deno.test({
    name: name(`plugin: a policy that does not fit one on ${stack} is reported by its name`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using peer = await Peer.start(stack, domain);
      await using desk = await openBay(domain);
      const { bay, reports, waiter } = desk;
      await peer.make("writer", "w", "rt/scan", "string", { reliable: false, depth: 5 });
      await bay.listen({ ...Chatter, address: "scan" }, () => {});
      await waiter.until(() => reports.length === 1, "the report");
      assert.equal(reports[0].code, "unavailable");
      assert.deepEqual(reports[0].details?.policies, ["reliability"]);
      assert.match(reports[0].message, /reliability \(offered best_effort, requested reliable\)/);
      assert.match(reports[0].remedy ?? "", /qos/);
      // As a sensor's, by its profile's name or by hand, it is heard.
      const heard: string[] = [];
      for (const qos of ["sensor_data", { reliability: "best_effort" }] as const) {
        const native = { ros2: { type: "std_msgs/msg/String", qos } };
        await bay.listen({ ...Chatter, address: "scan", native }, ({ data }) => {
          heard.push(data);
          waiter.touch();
        });
      }
      await peer.until((line) => line === "matched w 2");
      await peer.tell("write w 0 4");
      await waiter.until(() => heard.length === 2, "both to hear");
      assert.deepEqual(heard, ["aaaa", "aaaa"]);
    },
  });

  Deno.test({
    name: name(`plugin: calls to and from a program on ${stack}`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using peer = await Peer.start(stack, domain);
      await using desk = await openBay(domain);
      const { bay } = desk;
      await assert.rejects(bay.call(AddTwoInts, { a: 1n, b: 2n }), { code: "not_found" });
      await peer.make("writer", "sw", "rr/add_two_intsReply", "response", RELIABLE);
      await peer.make("reader", "sr", "rq/add_two_intsRequest", "request", RELIABLE, "sw");
      await bay.transport(ros2).graph.untilServed("add_two_ints", TIMEOUT);
      assert.deepEqual(await bay.call(AddTwoInts, { a: 2n, b: 3n }, TIMEOUT), { sum: 5n });
      // Its type is seen on the wire: nobody has to say it.
      const untyped = await bay.call("add_two_ints", { a: 20n, b: 30n }, TIMEOUT);
      assert.deepEqual(untyped, { sum: 50n });
      const many = Array.from({ length: 50 }, (_, n) => BigInt(n));
      const sums = await Promise.all(
        many.map((n) => bay.call(AddTwoInts, { a: n, b: 2n ** 40n }, TIMEOUT)),
      );
      assert.deepEqual(sums, many.map((n) => ({ sum: n + 2n ** 40n })));

      const contract = { ...AddTwoInts, address: "sum" };
      await bay.serve(contract, ({ a, b }) => ({ sum: a + b }));
      await peer.make("reader", "cr", "rr/sumReply", "response", RELIABLE);
      await peer.make("writer", "cw", "rq/sumRequest", "request", RELIABLE, "cr");
      for (const each of ["cr", "cw"]) await peer.until((line) => line === `matched ${each} 1`);
      for (let n = 1; n <= 20; n++) await peer.tell(`write cw ${n} 100`);
      await peer.until((line) => line.startsWith("sum cr "), 20);
      assert.deepEqual(
        peer.lines.filter((line) => line.startsWith("sum ")).map((line) => line.split(" ").at(-1)),
        Array.from({ length: 20 }, (_, n) => String(n + 101)),
      );
      assert.deepEqual(desk.reports, []);
    },
  });

  Deno.test({
    name: name(`plugin: a whole action that a program on ${stack} performs`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using peer = await Peer.start(stack, domain, "actions");
      await using desk = await openBay(domain);
      const { bay } = desk;
      await peer.tell("server");
      await bay.transport(ros2).graph.untilServed("fibonacci", TIMEOUT);
      const job = await bay.execute(Fibonacci, { order: 8 }, TIMEOUT);
      const lengths: number[] = [];
      for await (const { sequence } of job.feedback) lengths.push(sequence.length);
      assert.deepEqual((await job.result).sequence, fibonacci(9));
      assert.deepEqual(lengths, [3, 4, 5, 6, 7, 8, 9]);
      assert.equal(job.state, "succeeded");
      await assert.rejects(bay.execute(Fibonacci, { order: -1 }, TIMEOUT), {
        code: "remote",
        details: { rejected: true },
      });
      const endless = await bay.execute(Fibonacci, { order: 40 }, TIMEOUT);
      for await (const { sequence } of endless.feedback) if (sequence.length === 3) break;
      const reason = new Error("enough");
      endless.cancel(reason);
      await assert.rejects(endless.result, reason);
      assert.equal(endless.state, "cancelled");
      assert.deepEqual(desk.reports, []);
    },
  });

  Deno.test({
    name: name(`plugin: a whole action that a program on ${stack} asks for`),
    ignore,
    fn: async () => {
      using own = new OwnDomain();
      const domain = own.number;
      await using peer = await Peer.start(stack, domain, "actions");
      await using desk = await openBay(domain);
      const { bay, waiter } = desk;
      await bay.perform(Fibonacci, async ({ order }, { feedback, signal }) => {
        for (let n = 3; n <= Math.min(order, 6); n++) feedback({ sequence: fibonacci(n) });
        if (order === 20) throw new Error("the paper is out");
        if (order >= 40 && !signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<void>();
          signal.addEventListener("abort", () => resolve(), { once: true });
          await promise;
        }
        return { sequence: fibonacci(order) };
      }, { accept: ({ order }) => order >= 0 });
      await peer.tell("client");
      // Three services and two topics, each with one endpoint of theirs; the requests are writers.
      await peer.until((line) => line.startsWith("matched "), 8);
      const { graph, participant } = bay.transport(ros2);
      const end = graph.watch(waiter.touch);
      await waiter.until(() => participant.remoteEndpoints.length === 8, "its endpoints");
      end();
      const goal = async (order: number) => {
        const sent = peer.lines.filter((line) => line.startsWith("sent ")).length;
        await peer.tell(`goal ${order}`);
        return (await peer.until((each) => each.startsWith("sent "), sent + 1)).split(" ")[1];
      };
      const id = await goal(6);
      await peer.until((line) => line === `result ${id} 4 6 5`);
      await peer.until((line) => line === `status ${id} 4`);
      // The acceptance first, then all feedback, then the result, although these are three topics.
      const told = peer.lines.filter((line) => /^(accepted|feedback|result) /.test(line));
      assert.deepEqual(told, [
        `accepted ${id} 1`,
        ...[3, 4, 5, 6].map((count) => `feedback ${id} ${count}`),
        `result ${id} 4 6 5`,
      ]);
      const refused = await goal(-1);
      await peer.until((line) => line === `accepted ${refused} 0`);
      const failed = await goal(20);
      await peer.until((line) => line === `result ${failed} 6 0 0`);
      const unknown = "ab".repeat(16);
      await peer.tell(`result ${unknown}`);
      await peer.until((line) => line === `result ${unknown} 0 0 0`);
      await peer.tell(`cancel ${unknown}`);
      await peer.until((line) => line === `canceling ${unknown} 2 0`);
      const endless = await goal(40);
      await peer.until((line) => line === `feedback ${endless} 6`);
      await peer.tell(`cancel ${endless}`);
      await peer.until((line) => line === `canceling ${endless} 0 1`);
      await peer.until((line) => line.startsWith(`result ${endless} 5 40 `));
      await peer.until((line) => line === `status ${endless} 5`);
      assert.deepEqual(desk.reports, []);
    },
  });
}

Deno.test({
  name: needed[1].name("plugin: wide strings are what Fast DDS takes them for, and come back"),
  ignore: needed[1].ignore,
  fn: async () => {
    using own = new OwnDomain();
    const domain = own.number;
    await using peer = await Peer.start("fast", domain);
    const definitions = { "std_msgs/msg/WString": "wstring data" };
    await using desk = await openBay(domain, { definitions });
    const { bay, waiter } = desk;
    const name = (address: string) =>
      defineSpeaker<{ data: string }>({
        address,
        native: { ros2: { type: "std_msgs/msg/WString" } },
      });
    await peer.make("reader", "seen", "rt/wide", "wide", RELIABLE);
    await peer.make("writer", "w", "rt/back", "wide", RELIABLE);
    await peer.make("reader", "r", "rt/wide", "wide", RELIABLE, "w");
    const heard: string[] = [];
    await bay.listen(name("back"), ({ data }) => {
      heard.push(data);
      waiter.touch();
    });
    const speaker = await bay.speaker(name("wide"));
    // It echoes only to whom it knows, and hears only who knows it.
    await joined(waiter, speaker, 2);
    await peer.until((line) => line === "matched w 1");
    const words = ["", "plain", "Grüße", "世界", "𝄞 clef"];
    for (const data of words) await speaker.shout({ data });
    await waiter.until(() => heard.length === words.length, "every echo");
    assert.deepEqual(heard, words);
    for (const each of words) await peer.until((line) => line === `got seen ${each.length}`);
  },
});

Deno.test({
  name: `plugin: one server answers both stacks and another bay at once${both}`,
  ignore: needed.some(({ ignore }) => ignore),
  fn: async () => {
    using own = new OwnDomain();
    const domain = own.number;
    await using desk = await openBay(domain);
    await desk.bay.serve(AddTwoInts, ({ a, b }) => ({ sum: a + b }));
    await using cyclone = await Peer.start("cyclone", domain);
    await using fast = await Peer.start("fast", domain);
    for (const peer of [cyclone, fast]) {
      await peer.make("reader", "cr", "rr/add_two_intsReply", "response", RELIABLE);
      await peer.make("writer", "cw", "rq/add_two_intsRequest", "request", RELIABLE, "cr");
      for (const each of ["cr", "cw"]) await peer.until((line) => line === `matched ${each} 1`);
    }
    await using other = await openBay(domain, { node: "other" });
    await other.bay.transport(ros2).graph.untilServed("add_two_ints", TIMEOUT);
    for (let n = 1; n <= 10; n++) {
      await cyclone.tell(`write cw ${n} 1000`);
      await fast.tell(`write cw ${n} 2000`);
      const { sum } = await other.bay.call(AddTwoInts, { a: BigInt(n), b: 3000n }, TIMEOUT);
      assert.equal(sum, BigInt(n + 3000));
    }
    for (const [peer, plus] of [[cyclone, 1000], [fast, 2000]] as const) {
      await peer.until((line) => line.startsWith("sum cr "), 10);
      assert.deepEqual(
        peer.lines.filter((line) => line.startsWith("sum ")).map((line) => line.split(" ").at(-1)),
        Array.from({ length: 10 }, (_, n) => String(n + 1 + plus)),
      );
    }
    assert.deepEqual([...desk.reports, ...other.reports], []);
  },
});
