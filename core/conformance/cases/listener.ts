/**
 * Listeners: what a queue does when it is full, callbacks that throw or take long, and silence.
 *
 * @module
 */

import { type Case, ofPattern } from "../case.ts";
import { equal, isRefusal, ok, range } from "../expect.ts";
import { Gate, Tally } from "../tally.ts";
import { counters } from "./lifecycle.ts";

/** Reads a listener until there are so many values, or it ends. */
async function read(from: AsyncIterable<number>, count: number): Promise<number[]> {
  const values: number[] = [];
  for await (const value of from) if (values.push(value) === count) break;
  return values;
}

/** The cases. */
export const LISTENER: readonly Case[] = ofPattern("speaker", [
  {
    name: "listener: drop_oldest keeps the newest, and counts the rest",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const listener = await near.listen<number>("far/tick", {
        maxQueue: 4,
        overflow: "drop_oldest",
      });
      await far.ask("shout", { range: [1, 20] });
      const counted = () => counters(near, "listener", "far/tick");
      await until("all to arrive", () => counted().messagesIn === 20);
      equal(listener.queued, 4);
      equal(counted().drops, { overflow_oldest: 16 });
      equal(await wait("the newest", read(listener, 4)), [17, 18, 19, 20]);
    },
  },
  {
    name: "listener: drop_newest keeps the oldest, and counts the rest",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const listener = await near.listen<number>("far/tick", {
        maxQueue: 4,
        overflow: "drop_newest",
      });
      await far.ask("shout", { range: [1, 20] });
      const counted = () => counters(near, "listener", "far/tick");
      await until("all to arrive", () => counted().messagesIn === 20);
      equal(counted().drops, { overflow_newest: 16 });
      equal(await wait("the oldest", read(listener, 4)), [1, 2, 3, 4]);
    },
  },
  {
    name: "listener: fail gives what came without a gap, then ends with overloaded",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const listener = await near.listen<number>("far/tick", { maxQueue: 4, overflow: "fail" });
      // Else nobody at all would look like the end of the listener.
      await until("the speaker to know", async () => await far.ask("listeners") === 1);
      await far.ask("shout", { range: [1, 20] });
      await until("the speaker to be told", async () => await far.ask("listeners") === 0);
      const seen: number[] = [];
      const loop = async () => {
        for await (const value of listener) seen.push(value);
      };
      const reason = await wait("the end", loop().then(() => undefined, (error) => error));
      isRefusal(reason, "overloaded", "a full listener with overflow fail");
      equal(seen, [1, 2, 3, 4]);
    },
  },
  {
    name: "listener: block loses nothing and holds the speaker back",
    run: async ({ near, play, wait, traits }) => {
      const far = await play("speaker", { address: "far/flood" });
      const maxQueue = 8;
      const listener = await near.listen<number>("far/flood", { maxQueue, overflow: "block" });
      await far.ask("begin", { range: [1, 500], yielding: true });
      if (!traits.backpressure) {
        equal(await wait("the speaker to finish", far.ask("finished")), "done");
        return;
      }
      const sent = await wait("the speaker to be held", far.ask<number>("blocked", { count: 1 }));
      ok(sent <= 2 * maxQueue, `${sent} shouts went out to a queue of ${maxQueue}`);
      ok(listener.queued <= maxQueue, `${listener.queued} wait in a queue of ${maxQueue}`);
      equal(await wait("all values", read(listener, 500)), range(1, 500));
      equal(await wait("the speaker to finish", far.ask("finished")), "done");
      equal(counters(near, "listener", "(removed)").drops, {});
    },
  },
  {
    name: "listener: block with a slow callback loses nothing",
    run: async ({ near, play, wait, traits }) => {
      if (!traits.backpressure) return;
      const ear = await play("listener", {
        pattern: "near/flood",
        kind: "gate",
        options: { overflow: "block", maxQueue: 4 },
      });
      const speaker = await near.speaker<number>("near/flood");
      const shouting = (async () => {
        for (const n of range(1, 100)) await speaker.shout(n);
      })();
      await wait("the first to arrive", ear.ask("heard", { count: 1 }));
      equal(await ear.ask("count"), 1, "one at a time");
      await ear.ask("release");
      await wait("the shouts", shouting);
      const heard = await wait("all", ear.ask<{ value: number }[]>("heard", { count: 100 }));
      equal(heard.map((each) => each.value), range(1, 100));
    },
  },
  {
    name: "listener: who does not await a held shout is told, and the other listeners miss nothing",
    run: async ({ near, play, wait, traits, until, open }) => {
      if (!traits.backpressure) return;
      const ear = await open("ear");
      const speaker = await near.speaker<number>("near/flood");
      const options = { overflow: "block", maxQueue: 2 };
      await play("listener", { pattern: "near/flood", kind: "unread", options });
      const other = new Tally<number>();
      await ear.listen<number>("near/flood", (n) => other.add(n), { maxQueue: 100_000 });
      await until("both to join", () => speaker.listeners === 2);
      let refusal: unknown;
      let sent = 0;
      while (refusal === undefined && sent < 100_000) {
        sent++;
        try {
          speaker.shout(sent)?.catch(() => {});
        } catch (error) {
          refusal = error;
        }
      }
      isRefusal(refusal, "overloaded", "a speaker that does not await");
      equal(await wait("the other to hear", other.reach(sent)), range(1, sent));
    },
  },
  {
    name: "listener: one that is never read is bounded, and every drop is counted somewhere",
    run: async ({ near, play, until, far, wait }) => {
      const speaker = await play("speaker", { address: "far/tick" });
      const listener = await near.listen<number>("far/tick");
      await speaker.ask("shout", { range: [1, 5000] });
      // A wire whose own queue is full drops at the speaker, by the listener's policy.
      const dropsThere = async () => {
        const { endpoints } = await far.statistics();
        const there = endpoints.find((e) => e.role === "speaker" && e.address === "far/tick");
        return there?.drops.overflow_oldest ?? 0;
      };
      const counted = () => counters(near, "listener", "far/tick");
      await until("all to arrive or be counted as dropped", async () => {
        return counted().messagesIn + await dropsThere() === 5000;
      });
      equal(listener.queued, 1024);
      equal((counted().drops.overflow_oldest ?? 0) + await dropsThere(), 5000 - 1024);
      const kept = await wait("what is kept", read(listener, 1024));
      equal(kept.at(-1), 5000, "the newest is kept");
      equal(kept, [...kept].sort((a, b) => a - b), "in order");
    },
  },
  {
    name: "listener: a slow one holds up nobody else",
    run: async ({ near, play, wait, open }) => {
      await play("listener", { pattern: "near/tick", kind: "gate" });
      const heard = new Tally<number>();
      await (await open("ear")).listen<number>("near/tick", (n) => heard.add(n));
      const speaker = await near.speaker<number>("near/tick");
      for (const n of range(1, 200)) await speaker.shout(n);
      equal(await wait("the quick one", heard.reach(200)), range(1, 200));
    },
  },
  {
    name: "listener: a callback that throws, now or later, is reported and called again",
    run: async ({ near, play, wait, reports, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const heard = new Tally<number>();
      await near.listen<number>("far/tick", (n) => {
        heard.add(n);
        if (n === 1) throw new Error("now");
        if (n === 2) return Promise.reject(new Error("later"));
      });
      await far.ask("shout", { range: [1, 5] });
      equal(await wait("all shouts", heard.reach(5)), range(1, 5));
      await until("both to be reported", () => reports.length === 2);
      equal(reports.map((report) => report.message), ["now", "later"]);
      equal(counters(near, "listener", "far/tick").errors, { remote: 2 });
    },
  },
  {
    name: "listener: an asynchronous callback runs one at a time, in order",
    run: async ({ near, play, wait }) => {
      const far = await play("speaker", { address: "far/tick" });
      const log = new Tally<string>();
      const gate = new Gate();
      await near.listen<number>("far/tick", async (n) => {
        log.add(`begin ${n}`);
        if (n === 1) await gate.opened;
        else await Promise.resolve();
        log.add(`end ${n}`);
      });
      await far.ask("shout", { range: [1, 50] });
      await wait("the first", log.reach(1));
      equal(log.count, 1);
      gate.open();
      const order = range(1, 50).flatMap((n) => [`begin ${n}`, `end ${n}`]);
      equal(await wait("all", log.reach(100)), order);
    },
  },
  {
    name: "listener: a closed one with an asynchronous callback is not called any more",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const heard = new Tally<number>();
      const gate = new Gate();
      const listener = await near.listen<number>("far/tick", (n) => {
        heard.add(n);
        return gate.opened;
      });
      await far.ask("shout", { range: [1, 10] });
      await until("the rest to wait", () => listener.queued === 9);
      await wait("the listener to close", listener.close());
      gate.open();
      await wait("a turn", new Promise<void>((resolve) => setTimeout(resolve)));
      equal(heard.items, [1]);
    },
  },
  {
    name: "listener: silence is told once for each silence",
    run: async ({ near, play, wait }) => {
      const far = await play("speaker", { address: "far/beat" });
      const silences = new Tally<number>();
      const clock = new Tally<number>();
      const heard = new Tally<unknown>();
      await near.listen("far/beat", (value) => heard.add(value), {
        maxSilenceMs: 40,
        onSilent: () => silences.add(1),
      });
      // A second watch, three times as patient, is the clock.
      const patience = { maxSilenceMs: 150, onSilent: () => clock.add(1) };
      await near.listen("far/beat", () => {}, patience);
      await wait("the first silence", silences.reach(1));
      await wait("the clock", clock.reach(1));
      equal(silences.count, 1, "once for each silence");
      await far.ask("shout", { range: [1, 1] });
      await wait("the shout", heard.reach(1));
      await wait("the second silence", silences.reach(2));
      await wait("the clock", clock.reach(2));
      equal(silences.count, 2, "once for each silence");
    },
  },
  {
    name: "listener: a speaker in step with maxSilenceMs is not silent, and close ends the watch",
    run: async ({ near, play, wait, reports }) => {
      const far = await play("speaker", { address: "far/beat" });
      const silences = new Tally<number>();
      const listener = await near.listen("far/beat", () => {}, {
        maxSilenceMs: 20_000,
        onSilent: () => silences.add(1),
      });
      for (const n of range(1, 20)) await far.ask("shout", { range: [n, n] });
      equal(silences.count, 0);
      await listener.close();
      const failing = new Tally<number>();
      await near.listen("far/beat", () => {}, {
        maxSilenceMs: 20,
        onSilent: () => {
          failing.add(1);
          throw new Error("the watch threw");
        },
      });
      await wait("the silence", failing.reach(1));
      await wait("a turn", new Promise<void>((resolve) => setTimeout(resolve)));
      equal(reports.map((report) => report.message), ["the watch threw"]);
    },
  },
]);
