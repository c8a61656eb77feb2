/**
 * Speakers: who hears what, in which order, and what comes along.
 *
 * @module
 */

import { defineSpeaker } from "../../contract.ts";
import type { EventContext } from "../../listener.ts";
import type { Traits } from "../../plugin.ts";
import { type Case, ofPattern } from "../case.ts";
import { equal, ok, ownHeaders, range, refused } from "../expect.ts";
import { numericText } from "../roles_callable.ts";
import { Tally } from "../tally.ts";
import { counters } from "./lifecycle.ts";

/** Whether headers, number and urgency travel with shouts. */
function headersOf(traits: Traits): boolean {
  return traits.shoutHeaders ?? traits.headers;
}

/** What a far listener has heard. */
interface Heard {
  readonly value: number;
  readonly address: string;
  readonly sequence: number;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly priority: number;
  readonly retained: boolean;
}

/** The cases. */
export const SPEAKER: readonly Case[] = ofPattern("speaker", [
  {
    name: "speaker: every listener gets every shout once, in order",
    run: async ({ near, play, wait, traits, open }) => {
      const ear = await open("ear");
      const there = await play("listener", { pattern: "near/tick", options: { maxQueue: 5000 } });
      const here = [new Tally<number>(), new Tally<number>()];
      for (const tally of here) {
        await ear.listen<number>("near/tick", (n) => tally.add(n), { maxQueue: 5000 });
      }
      const speaker = await near.speaker<number>("near/tick");
      const numbers = range(1, 2000);
      for (const n of numbers) await speaker.shout(n);
      const far = await wait("the far", there.ask<Heard[]>("heard", { count: numbers.length }));
      const all = [far.map((each) => each.value)];
      for (const tally of here) {
        all.push([...await wait("the near", tally.reach(numbers.length))]);
      }
      for (const heard of all) {
        if (!traits.ordered) heard.sort((a, b) => a - b);
        equal(heard, numbers);
      }
      if (headersOf(traits)) equal(far.map((each) => each.sequence), numbers, "no gap in sequence");
    },
  },
  {
    name: "speaker: when listen() has resolved, a later shout is delivered",
    run: async ({ near, play, wait }) => {
      for (const n of range(1, 5)) {
        const address = `far/tick${n}`;
        const far = await play("speaker", { address });
        const heard = new Tally<unknown>();
        await wait("listen()", near.listen(address, (value) => heard.add(value)));
        await far.ask("shout", { range: [n, n] });
        equal(await wait("the shout", heard.reach(1)), [n]);
      }
    },
  },
  {
    name: "speaker: when speaker() has resolved, the first shout is heard by the known listeners",
    run: async ({ near, play, wait }) => {
      for (const n of range(1, 5)) {
        const address = `near/tick${n}`;
        const far = await play("listener", { pattern: address });
        const speaker = await wait("speaker()", near.speaker<number>(address));
        await speaker.shout(n);
        const [first] = await wait("the shout", far.ask<Heard[]>("heard", { count: 1 }));
        equal(first.value, n);
      }
    },
  },
  {
    name: "speaker: a late speaker is joined, and another after the first has closed",
    run: async ({ near, play, wait }) => {
      const heard = new Tally<unknown>();
      await near.listen("far/late", (value) => heard.add(value));
      for (const n of range(1, 3)) {
        const far = await play("speaker", { address: "far/late" });
        await far.ask("shout", { range: [n, n] });
        equal(await wait("the shout", heard.reach(n)), range(1, n));
        await wait("the speaker to close", far.close());
      }
    },
  },
  {
    name: "speaker: two speakers of one address are both heard",
    run: async ({ near, play, wait, open }) => {
      const heard = new Tally<unknown>();
      await (await open("ear")).listen("both/tick", (value) => heard.add(value));
      const far = await play("speaker", { address: "both/tick" });
      const speaker = await near.speaker<number>("both/tick");
      for (const n of range(1, 10)) {
        await speaker.shout(n);
        await far.ask("shout", { range: [100 + n, 100 + n] });
      }
      const all = await wait("all shouts", heard.reach(20)) as number[];
      equal(all.filter((n) => n < 100), range(1, 10));
      equal(all.filter((n) => n > 100), range(101, 110));
    },
  },
  {
    name: "speaker: `*` is one segment, `**` the rest, and nobody hears what is not theirs",
    run: async ({ near, play, wait }) => {
      const addresses = ["arm/pose", "arm/left/pose", "leg/pose", "arm/pose2"];
      const wanted: Record<string, string[]> = {
        "arm/pose": ["arm/pose"],
        "arm/*": ["arm/pose", "arm/pose2"],
        "arm/**": ["arm/pose", "arm/left/pose", "arm/pose2"],
        "*/pose": ["arm/pose", "leg/pose"],
        "**": addresses,
        "head/**": [],
      };
      const ears = new Map<string, Tally<string>>();
      const listen = async (pattern: string) => {
        const tally = new Tally<string>();
        ears.set(pattern, tally);
        await near.listen(pattern, (_value, context) => tally.add(context.address));
      };
      // Some listen before there is a speaker, some after.
      for (const pattern of ["arm/pose", "arm/*", "**"]) await listen(pattern);
      const speakers = [];
      for (const address of addresses) speakers.push(await play("speaker", { address }));
      for (const pattern of ["arm/**", "*/pose", "head/**"]) await listen(pattern);
      for (const speaker of speakers) await speaker.ask("shout", { range: [1, 1] });
      for (const [pattern, tally] of ears) {
        const heard = await wait(`what ${pattern} hears`, tally.reach(wanted[pattern].length));
        equal([...heard].sort(), [...wanted[pattern]].sort(), pattern);
      }
    },
  },
  {
    name: "speaker: a shout tells where it was shouted, its number, its headers and its urgency",
    run: async ({ near, play, wait, traits }) => {
      const far = await play("speaker", { address: "far/tick" });
      const heard = new Tally<EventContext>();
      await near.listen("far/tick", (_value, context) => heard.add({ ...context }));
      await far.ask("shout", { range: [1, 1] });
      await far.ask("shout", { range: [2, 2], headers: { unit: "mm" }, priority: 200 });
      const [plain, rich] = await wait("both shouts", heard.reach(2));
      equal([plain.address, plain.retained], ["far/tick", false]);
      equal(ownHeaders(plain.headers), {});
      equal(ownHeaders(rich.headers), headersOf(traits) ? { unit: "mm" } : {});
      if (headersOf(traits)) {
        equal([plain.sequence, rich.sequence], [1, 2]);
        equal([plain.priority, rich.priority], [128, 200]);
        ok(rich.origin !== "", "the origin is the id of the bay that shouts");
      }
    },
  },
  {
    name: "speaker: a late listener gets the last value, if it asks and the speaker keeps it",
    run: async ({ near, play, wait, traits }) => {
      const keeper = await play("speaker", { address: "far/kept", retain: true });
      const other = await play("speaker", { address: "far/other" });
      for (const far of [keeper, other]) await far.ask("shout", { range: [1, 3] });
      const asks = new Tally<{ value: unknown; retained: boolean }>();
      const asksNot = new Tally<unknown>();
      const inVain = new Tally<unknown>();
      await near.listen("far/kept", (value, { retained }) => asks.add({ value, retained }), {
        retained: true,
      });
      await near.listen("far/kept", (value) => asksNot.add(value));
      await near.listen("far/other", (value) => inVain.add(value), { retained: true });
      for (const far of [keeper, other]) await far.ask("shout", { range: [4, 4] });
      const kept = traits.retained ? [{ value: 3, retained: true }] : [];
      const fresh = { value: 4, retained: false };
      equal(await wait("what the asker hears", asks.reach(kept.length + 1)), [...kept, fresh]);
      equal(await wait("what the other hears", asksNot.reach(1)), [4]);
      equal(await wait("what nobody kept", inVain.reach(1)), [4]);
    },
  },
  {
    name: "speaker: leaving the loop unsubscribes, at the speaker too",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const listener = await near.listen<number>("far/tick");
      await until("the speaker to know", async () => await far.ask("listeners") === 1);
      await far.ask("shout", { range: [1, 5] });
      const seen: number[] = [];
      const loop = async () => {
        for await (const value of listener) if (seen.push(value) === 3) break;
      };
      await wait("the loop", loop());
      equal(seen, [1, 2, 3]);
      await until("the speaker to know", async () => await far.ask("listeners") === 0);
      equal(await far.ask("shout", { range: [6, 10] }), "done");
      equal(listener.queued <= 2, true, "nothing more comes");
    },
  },
  {
    name: "speaker: a closed listener is not called any more, and a signal closes it",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/tick" });
      const control = new AbortController();
      const closed = new Tally<unknown>();
      const aborted = new Tally<unknown>();
      const other = new Tally<unknown>();
      const listener = await near.listen("far/tick", (value) => closed.add(value));
      await near.listen("far/tick", (v) => aborted.add(v), { signal: control.signal });
      await near.listen("far/tick", (value) => other.add(value));
      await far.ask("shout", { range: [1, 1] });
      await wait("all to hear", Promise.all([closed, aborted, other].map((t) => t.reach(1))));
      await wait("the listener to close", listener.close());
      control.abort();
      await until("the speaker to know", async () => await far.ask("listeners") === 1);
      await far.ask("shout", { range: [2, 3] });
      equal(await wait("the other to hear", other.reach(3)), [1, 2, 3]);
      equal([closed.count, aborted.count], [1, 1]);
    },
  },
  {
    name: "speaker: closing a listener ends the loop that reads it",
    run: async ({ near, play, wait }) => {
      await play("speaker", { address: "far/tick" });
      const listener = await near.listen("far/tick");
      const loop = (async () => {
        for await (const _ of listener) { /* nothing comes */ }
        return "ended";
      })();
      await wait("the listener to close", listener.close());
      equal(await wait("the loop to end", loop), "ended");
    },
  },
  {
    name: "speaker: a schema refuses at the speaker, and the listener gets its output",
    run: async ({ near, play, wait, until, reports, open }) => {
      const ear = await open("ear");
      const contract = defineSpeaker({ address: "near/text", value: numericText() });
      const later = defineSpeaker({ address: "near/text", value: numericText(true) });
      const heard = [new Tally<number>(), new Tally<number>()];
      await ear.listen(contract, (value) => heard[0].add(value));
      await ear.listen(later, (value) => heard[1].add(value));
      const speaker = await near.speaker(contract);
      const shout = async () => await speaker.shout("no number");
      await refused(shout(), "invalid", "a shout that fails its schema");
      for (const n of range(1, 20)) await speaker.shout(`${n}`);
      for (const tally of heard) {
        equal(await wait("the numbers", tally.reach(20)), range(1, 20));
      }
      // A speaker without the contract can shout what the listener's schema refuses.
      const far = await play("speaker", { address: "near/text" });
      await far.ask("make", { recipe: "an empty string" });
      await speaker.shout("21");
      for (const tally of heard) await wait("the next number", tally.reach(21));
      // Between two speakers no order is promised: the refused one may come last.
      await until("a report by each listener", () => reports.length >= 2);
      ok(reports.every((report) => report.code === "invalid"), "as invalid");
      equal(counters(ear, "listener", "near/text").drops, { invalid: 2 });
    },
  },
  {
    name: "speaker: a shout from within a listener keeps the order for the others",
    layouts: ["alone"],
    run: async ({ near, play, wait, traits }) => {
      const speaker = await near.speaker<number>("near/echo");
      await near.listen<number>("near/echo", (n) => {
        if (n % 2 === 1) void speaker.shout(n + 1);
      });
      const far = await play("listener", { pattern: "near/echo" });
      const late = new Tally<number>();
      await near.listen<number>("near/echo", (n) => late.add(n));
      for (const n of [1, 3, 5]) await speaker.shout(n);
      const there = await wait("the far", far.ask<Heard[]>("heard", { count: 6 }));
      const here = [...await wait("the near", late.reach(6))];
      for (const order of [there.map((each) => each.value), here]) {
        if (!traits.ordered) order.sort();
        const odd = order.filter((n) => n % 2 === 1);
        const even = order.filter((n) => n % 2 === 0);
        equal([odd, even], [[1, 3, 5], [2, 4, 6]]);
        for (const n of odd) {
          ok(order.indexOf(n) < order.indexOf(n + 1), `${n + 1} came before ${n}: ${order}`);
        }
      }
    },
  },
  {
    name: "speaker: a listener that dies is forgotten, and the speaker goes on",
    layouts: ["two_processes"],
    run: async ({ near, play, wait, until, far, traits, open }) => {
      await play("listener", { pattern: "near/tick", kind: "unread" });
      const heard = new Tally<number>();
      await (await open("ear")).listen<number>("near/tick", (n) => heard.add(n));
      const speaker = await near.speaker<number>("near/tick");
      await until("both to join", () => speaker.listeners === 2);
      await wait("the far process to be killed", far.kill());
      for (const n of range(1, 100)) await wait("a shout", Promise.resolve(speaker.shout(n)));
      equal(await wait("the near one to hear", heard.reach(100)), range(1, 100));
      if (traits.noticesDeath) await until("it to be forgotten", () => speaker.listeners === 1);
    },
  },
  {
    name: "speaker: a dead blocking listener holds nobody back",
    layouts: ["two_processes"],
    run: async ({ near, play, wait, until, far, traits }) => {
      if (!traits.backpressure || !traits.noticesDeath) return;
      const options = { overflow: "block", maxQueue: 2 };
      await play("listener", { pattern: "near/flood", kind: "unread", options });
      const speaker = await near.speaker<number>("near/flood");
      await until("it to join", () => speaker.listeners === 1);
      let held: Promise<void> | undefined;
      for (let n = 1; held === undefined && n < 1_000_000; n++) {
        held = speaker.shout(n) ?? undefined;
      }
      await wait("the far process to be killed", far.kill());
      await wait("the held shout", Promise.resolve(held?.then(() => {}, () => {})));
    },
  },
  {
    name: "speaker: after a speaker has died, another is joined by the same listener",
    layouts: ["two_processes"],
    run: async ({ near, play, wait, far, open }) => {
      const heard = new Tally<number>();
      await near.listen<number>("far/tick", (n) => heard.add(n));
      const there = await play("speaker", { address: "far/tick" });
      await there.ask("shout", { range: [1, 3] });
      equal(await wait("the first speaker", heard.reach(3)), [1, 2, 3]);
      await wait("the far process to be killed", far.kill());
      const heir = await open("heir");
      const speaker = await heir.speaker<number>("far/tick");
      await speaker.shout(4);
      equal(await wait("the second speaker", heard.reach(4)), [1, 2, 3, 4]);
    },
  },
]);
