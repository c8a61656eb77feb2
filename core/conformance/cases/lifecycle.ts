/**
 * Lifecycle: opening, closing, closing twice, closing while something waits, and what is left.
 *
 * @module
 */

import { checkConfig } from "../../config.ts";
import { open } from "../../open.ts";
import type { EndpointSnapshot } from "../../statistics.ts";
import type { Case } from "../case.ts";
import { equal, ok, PATIENT, refused } from "../expect.ts";

const APART = ["same_process", "two_processes"] as const;

/** The cases. */
export const LIFECYCLE: readonly Case[] = [
  {
    name: "lifecycle: an open wire says so and is healthy",
    run: async ({ near, fixture, meeting, wait }) => {
      const status = near.wires().find((wire) => wire.name === fixture.plugin.name);
      ok(status?.open === true, `the wire is not open: ${status?.reason}; ${status?.remedy}`);
      ok(status.health?.status === "healthy", `it is ${JSON.stringify(status.health)}`);
      const config = checkConfig(
        fixture.plugin.config,
        meeting.options("x").config?.[status.name],
        "",
      );
      const answer = await wait("available()", Promise.resolve(fixture.plugin.available(config)));
      ok(answer.available, "a plugin that is open here is available here");
    },
  },
  {
    name: "lifecycle: closing twice, and twice at once, is one close",
    run: async ({ open, wait }) => {
      const bay = await open("closing");
      await wait("two closes at once", Promise.all([bay.close(), bay.close()]));
      await wait("a third close", bay.close());
      await bay[Symbol.asyncDispose]();
      ok(bay.closed, "a closed bay says that it is closed");
    },
  },
  {
    name: "lifecycle: a bay can be closed as soon as it is open, and opened again",
    run: async ({ meeting, wait }) => {
      for (let i = 0; i < 5; i++) {
        const bay = await wait("a bay to open", open(meeting.options("brief")));
        await wait("a bay to close", bay.close());
      }
    },
  },
  {
    name: "lifecycle: everything made on a bay is closed twice without harm, before it and after",
    run: async ({ open, fixture, wait }) => {
      const bay = await open("maker");
      const able = fixture.plugin.capabilities;
      const made: AsyncDisposable[] = [];
      if (able.callable) made.push(await bay.serve("maker/serve", (v) => v));
      if (able.speaker) {
        made.push(await bay.speaker("maker/shout"), await bay.listen("maker/shout"));
      }
      if (able.job) made.push(await bay.perform("maker/job", (v) => v));
      const again = () => Promise.all(made.map((one) => one[Symbol.asyncDispose]()));
      await wait("all to close", again());
      await wait("all to close again", again());
      await wait("the bay to close", bay.close());
      await wait("all to close after the bay", again());
    },
  },
  {
    name: "lifecycle: an address is free again as soon as its server has closed",
    pattern: "callable",
    run: async ({ open, near, wait }) => {
      const bay = await open("again");
      for (let i = 0; i < 3; i++) {
        const served = await bay.serve("again/one", () => i);
        equal(await wait("the call", near.call("again/one", null, PATIENT)), i);
        await wait("the server to close", served.close());
      }
    },
  },
  {
    name: "lifecycle: what is used after close is refused with closed",
    run: async ({ open, fixture, near }) => {
      const bay = await open("gone");
      const able = fixture.plugin.capabilities;
      if (able.callable) await near.serve("near/echo", (v) => v);
      const callable = bay.callable("near/echo");
      if (able.callable) equal(await callable.call(1, PATIENT), 1);
      const speaker = able.speaker ? await bay.speaker("gone/shout") : undefined;
      await bay.close();
      await refused(bay.serve("gone/x", () => 1), "closed", "serve after close");
      await refused(bay.speaker("gone/x"), "closed", "speaker after close");
      await refused(bay.listen("gone/x"), "closed", "listen after close");
      await refused(bay.perform("gone/x", () => 1), "closed", "perform after close");
      await refused(bay.execute("gone/x", 1), "closed", "execute after close");
      await refused(bay.call("near/echo", 1, PATIENT), "closed", "a call after close");
      await refused(
        callable.call(1, PATIENT),
        "closed",
        "a call on a caller that was bound before",
      );
      if (speaker !== undefined) {
        const shout = async () => await speaker.shout(1);
        await refused(shout(), "closed", "a shout after close");
      }
    },
  },
  {
    name: "lifecycle: pending calls reject with closed when their own bay closes",
    pattern: "callable",
    layouts: APART,
    run: async ({ open, play, wait, until }) => {
      const far = await play("server", { address: "far/gate", kind: "gate" });
      const bay = await open("impatient");
      const calls = [1, 2, 3].map((i) => bay.call("far/gate", i, { timeoutMs: Infinity }));
      const outcomes = calls.map((call) => refused(call, "closed", "a call pending at close"));
      await wait("the calls to arrive", far.ask("entered", { count: 3 }));
      await wait("the bay to close", bay.close());
      await wait("the calls to end", Promise.all(outcomes));
      await until("nothing to be pending", () => pending(bay) === 0);
    },
  },
  {
    name: "lifecycle: a server that closes lets running calls finish",
    pattern: "callable",
    run: async ({ near, play, wait }) => {
      const far = await play("server", { address: "far/gate", kind: "gate" });
      const call = near.call("far/gate", "patience", { timeoutMs: 20_000 });
      await wait("the call to arrive", far.ask("entered", { count: 1 }));
      // Closing the role releases the handler and drains.
      const closing = far.close();
      equal(await wait("the answer", call), "patience");
      await wait("the server to close", closing);
    },
  },
  {
    name: "lifecycle: closing while a shout is held back lets go of it",
    pattern: "speaker",
    run: async ({ open, play, traits, wait, near, until }) => {
      const ear = await play("listener", {
        pattern: "bay/flood",
        kind: "unread",
        options: { overflow: "block", maxQueue: 2 },
      });
      const bay = await open("bay");
      const speaker = await bay.speaker("bay/flood");
      await until("the listener to join", () => speaker.listeners > 0);
      let held: Promise<void> | undefined;
      for (let i = 0; i < 100_000 && held === undefined; i++) {
        held = speaker.shout(i) ?? undefined;
        if (!traits.backpressure && i > 1000) break;
      }
      ok(
        (held !== undefined) === traits.backpressure,
        `a full blocking listener ${held ? "held back" : "did not hold back"} the speaker`,
      );
      const settled = held?.then(() => {}, () => {});
      await wait("the bay to close", bay.close());
      await wait("the held shout to be let go", Promise.resolve(settled));
      await wait("the listener to close", ear.close());
      ok(!near.closed, "the other bay is not touched");
    },
  },
  {
    name: "lifecycle: counters move, by endpoint, and pending comes back to 0",
    pattern: "callable",
    run: async ({ near, play }) => {
      await play("server", { address: "far/echo", kind: "echo" });
      await play("server", { address: "far/throw", kind: "throw" });
      for (let i = 0; i < 10; i++) await near.call("far/echo", i, PATIENT);
      await refused(
        near.call("far/throw", { manner: "error" }, PATIENT),
        "remote",
        "a throwing handler",
      );
      const client = (address: string) => counters(near, "client", address);
      equal(client("far/echo").calls, 10);
      equal(client("far/echo").messagesOut, 10);
      equal(client("far/echo").messagesIn, 10);
      equal(client("far/echo").pending, 0);
      equal(client("far/echo").errors, {});
      equal(client("far/throw").errors, { remote: 1 });
      equal(client("far/throw").pending, 0);
    },
  },
  {
    name: "lifecycle: shouts and drops are counted",
    pattern: "speaker",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const heard = await near.listen("far/tick", { maxQueue: 4 });
      await until("the speaker to know", async () => await far.ask<number>("listeners") === 1);
      await wait("the shouts", far.ask("shout", { range: [1, 10] }));
      const ears = () => counters(near, "listener", "far/tick");
      await until("the shouts to arrive", () => ears().messagesIn >= 10);
      equal(ears().messagesIn, 10);
      equal(ears().drops, { overflow_oldest: 6 });
      await heard.close();
    },
  },
];

/** The counters of an endpoint of a bay. */
export function counters(
  bay: { statistics: { snapshot(nowMs: number): { endpoints: EndpointSnapshot[] } } },
  role: EndpointSnapshot["role"],
  address: string,
): EndpointSnapshot {
  const { endpoints } = bay.statistics.snapshot(Date.now());
  const found = endpoints.find((each) => each.role === role && each.address === address);
  ok(found !== undefined, `nothing is counted for the ${role} of ${address}`);
  return found;
}

/** How much is in flight at a bay. */
function pending(
  bay: { statistics: { snapshot(nowMs: number): { endpoints: EndpointSnapshot[] } } },
): number {
  return bay.statistics.snapshot(Date.now()).endpoints.reduce((sum, e) => sum + e.pending, 0);
}
