/**
 * Actions with programs on both DDS stacks, each with the request header of its own ROS 2
 * middleware: goals, feedback, states, results, and goals that are canceled, refused or unknown.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type AcceptedGoal,
  ActionClient,
  ActionServer,
  type ActionServerOptions,
} from "@patchbay/ros2/node";
import { Types } from "@patchbay/ros2/types";
import { Place } from "../../../plugins/ros2/rtps/testdata/place.ts";
import { requireOrIgnore } from "../../require.ts";
import { Peer, probe, type Stack } from "./peers.ts";

const types = new Types();
const type = types.action("example_interfaces/Fibonacci");
const SECONDS_20 = 20_000;
/** Three services and two topics, each with one endpoint of theirs; the requests are writers. */
const ENDPOINTS = 8;

const common = (reports: unknown[]) => ({
  name: "/fibonacci",
  type,
  types,
  onReport: (error: unknown) => reports.push(error),
});

/** As the programs do it: a goal below 0 is refused, one from 40 on never ends by itself. */
const fibonacci: Pick<ActionServerOptions, "accept" | "execute"> = {
  accept: (goal) => (goal as { order: number }).order >= 0,
  execute: async ({ goal, signal, feedback }: AcceptedGoal) => {
    const { order } = goal as { order: number };
    const sequence = [0, 1];
    while (sequence.length <= (order < 40 ? order : 2)) {
      sequence.push(sequence.at(-1)! + sequence.at(-2)!);
      feedback({ sequence: [...sequence] });
    }
    if (order >= 40 && !signal.aborted) {
      await new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => resolve(), { once: true })
      );
    }
    return { sequence };
  },
};

const STACKS: Stack[] = ["cyclone", "fast"];

for (const stack of STACKS) {
  const need = await requireOrIgnore(
    stack,
    () => probe(stack),
    "apt-get install its packages: see judges_test.ts",
  );

  Deno.test({
    name: need.name(`action: a server on ${stack} works for our client`),
    ignore: need.ignore,
    fn: async () => {
      await using place = new Place();
      await using peer = await Peer.start(stack, place.domain, "actions");
      const us = await place.participant();
      const reports: unknown[] = [];
      using client = new ActionClient(us, common(reports));
      await assert.rejects(client.send({ order: 1 }), { code: "not_found" });
      await peer.tell("server");
      const signal = AbortSignal.timeout(SECONDS_20);
      await client.untilServed(signal);

      const heard: number[] = [];
      const id = await client.send(
        { order: 5 },
        (value) => void heard.push((value as { sequence: number[] }).sequence.length),
        signal,
      );
      assert.deepEqual(await client.result(id!, signal), {
        status: "succeeded",
        result: { sequence: [0, 1, 1, 2, 3, 5] },
      });
      assert.deepEqual(heard, [3, 4, 5, 6]);

      assert.equal(await client.send({ order: -1 }, undefined, signal), undefined);
      assert.equal((await client.result("ab".repeat(16), signal)).status, "unknown");
      await assert.rejects(client.cancel("ab".repeat(16), signal), { code: "not_found" });

      const started = Promise.withResolvers<void>();
      const endless = await client.send({ order: 40 }, () => started.resolve(), signal);
      await started.promise;
      const result = client.result(endless!, signal);
      await client.cancel(endless!, signal);
      assert.deepEqual(await result, { status: "canceled", result: { sequence: [0, 1, 1] } });
      await client.cancel(endless!, signal); // It has ended: no error.
      assert.deepEqual(reports, []);
    },
  });

  Deno.test({
    name: need.name(`action: our server works for a client on ${stack}`),
    ignore: need.ignore,
    fn: async () => {
      await using place = new Place();
      await using peer = await Peer.start(stack, place.domain, "actions");
      const us = await place.participant();
      const reports: unknown[] = [];
      using _server = new ActionServer(us, { ...common(reports), ...fibonacci });
      await peer.tell("client");
      await peer.until((line) => line.startsWith("matched "), ENDPOINTS);
      await place.until(() => us.remoteEndpoints.length === ENDPOINTS, "its endpoints");
      const goal = async (order: number) => {
        const sent = peer.lines.filter((line) => line.startsWith("sent ")).length;
        await peer.tell(`goal ${order}`);
        const line = await peer.until((each) => each.startsWith("sent "), sent + 1);
        return line.split(" ")[1];
      };

      const id = await goal(5);
      await peer.until((line) => line === `result ${id} 4 6 5`);
      assert.ok(peer.lines.includes(`accepted ${id} 1`));
      assert.deepEqual(
        peer.lines.filter((line) => line.startsWith(`feedback ${id}`)),
        [3, 4, 5, 6].map((count) => `feedback ${id} ${count}`),
      );
      await peer.until((line) => line === `status ${id} 4`);

      const refused = await goal(-1);
      await peer.until((line) => line === `accepted ${refused} 0`);
      const unknown = "ab".repeat(16);
      await peer.tell(`result ${unknown}`);
      await peer.until((line) => line === `result ${unknown} 0 0 0`);
      await peer.tell(`cancel ${unknown}`);
      await peer.until((line) => line === `canceling ${unknown} 2 0`);

      const endless = await goal(40);
      await peer.until((line) => line === `feedback ${endless} 3`);
      await peer.tell(`cancel ${endless}`);
      await peer.until((line) => line === `canceling ${endless} 0 1`);
      await peer.until((line) => line === `result ${endless} 5 3 1`);
      await peer.until((line) => line === `status ${endless} 5`);
      await peer.tell(`cancel ${endless}`);
      await peer.until((line) => line === `canceling ${endless} 3 0`);
      assert.deepEqual(reports, []);
    },
  });
}
