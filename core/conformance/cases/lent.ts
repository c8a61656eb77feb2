/**
 * Bytes that are lent to a listener for one callback, and values of which only the newest counts.
 *
 * @module
 */

import type { BytesView } from "../../bytes_view.ts";
import { type Case, ofPattern } from "../case.ts";
import { equal, isRefusal, ok, reasonOf } from "../expect.ts";
import { describe, patternBytes } from "../recipes.ts";
import { Gate, Tally } from "../tally.ts";
import { counters } from "./lifecycle.ts";

/** From one that fits anywhere to one that goes in pieces everywhere. */
const SIZES = [0, 5, 64, 4096, 16_384, 100_000, 1_000_000];

async function isOver(view: BytesView): Promise<void> {
  ok(!view.valid, "a view is over after its callback");
  const looks: (() => unknown)[] = [
    () => view.getUint8(0),
    () => view.copy(),
    () => view.copyTo(new Uint8Array(1)),
  ];
  for (const look of looks) {
    isRefusal(await reasonOf(Promise.resolve().then(look), "an old view"), ["closed"], "a view");
  }
}

/** The cases. */
export const LENT: readonly Case[] = ofPattern("speaker", [
  {
    name: "views: bytes of any size are lent for the callback, and what is kept of it throws",
    run: async ({ near, play, wait }) => {
      const far = await play("speaker", { address: "far/blob" });
      const heard = new Tally<string>();
      const kept: BytesView[] = [];
      await near.listen("far/blob", (view) => {
        kept.push(view);
        const bytes = view.copy();
        equal(view.length, bytes.length);
        if (view.length >= 8) {
          const { buffer } = bytes;
          equal(view.getUint32(4, true), new DataView(buffer).getUint32(4, true));
          const last = new Uint8Array(2);
          equal(view.copyTo(last, 0, view.length - 2), 2);
          equal(last, bytes.subarray(-2));
        }
        heard.add(describe(bytes));
      }, { views: true });
      for (const [n, size] of SIZES.entries()) {
        await far.ask("make", { recipe: `bytes:${size}` });
        const all = await wait(`${size} bytes`, heard.reach(n + 1));
        equal(all[n], describe(patternBytes(size)));
      }
      for (const view of kept) await isOver(view);
    },
  },
  {
    name: "views: one that has to wait for a slow callback is whole when its turn comes",
    run: async ({ near, play, wait }) => {
      const far = await play("speaker", { address: "far/blob" });
      const heard = new Tally<string>();
      const gate = new Gate();
      const kept: BytesView[] = [];
      await near.listen("far/blob", (view) => {
        kept.push(view);
        heard.add(describe(view.copy()));
        return gate.opened;
      }, { views: true });
      const sizes = [100, 200, 300, 70_000, 50];
      for (const size of sizes) await far.ask("make", { recipe: `bytes:${size}` });
      await wait("the first", heard.reach(1));
      gate.open();
      const all = await wait("all", heard.reach(sizes.length));
      equal(all, sizes.map((size) => describe(patternBytes(size))));
      for (const view of kept) await isOver(view);
    },
  },
  {
    name: "views: what is not bare bytes is refused and counted, and the listener goes on",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/blob" });
      const heard = new Tally<number>();
      await near.listen("far/blob", (view) => heard.add(view.length), { views: true });
      await far.ask("make", { recipe: "an empty object" });
      await far.ask("make", { recipe: "bytes:3" });
      equal(await wait("the bytes", heard.reach(1)), [3]);
      await until(
        "the other to be counted",
        () => counters(near, "listener", "far/blob").drops.invalid === 1,
      );
    },
  },
  {
    name: "latest: a newer value takes the place of one that waits, and each is counted",
    run: async ({ near, play, wait, until }) => {
      const far = await play("speaker", { address: "far/state" });
      const listener = await near.listen<number>("far/state", { latest: true });
      equal(listener.latest(), undefined);
      await far.ask("shout", { range: [1, 200] });
      await until("the newest to come", () => listener.latest()?.value === 200);
      equal(listener.latest()?.context.sequence, 200);
      equal(listener.queued, 1);
      const { overwritten = 0, ...others } = counters(near, "listener", "far/state").drops;
      equal(overwritten, 199);
      equal(others, {});
      const iterated = listener[Symbol.asyncIterator]();
      equal((await wait("the newest", iterated.next())).value, 200);
      equal(listener.latest()?.value, 200);
      await far.ask("shout", { range: [201, 201] });
      equal((await wait("the next", iterated.next())).value, 201);
      await iterated.return?.();
    },
  },
  {
    name: "latest: a callback is told of the newest, never of an older one after it",
    run: async ({ near, play, wait }) => {
      const far = await play("speaker", { address: "far/state" });
      const heard: number[] = [];
      const last = Promise.withResolvers<void>();
      await near.listen<number>("far/state", (value, { sequence }) => {
        equal(sequence, value);
        heard.push(value);
        if (value === 1000) last.resolve();
      }, { latest: true });
      await far.ask("shout", { range: [1, 1000] });
      await wait("the last", last.promise);
      ok(heard.every((value, n) => n === 0 || value > heard[n - 1]), `in order: ${heard}`);
    },
  },
  {
    name: "latest: two addresses do not take each other's place",
    run: async ({ near, play, wait }) => {
      const one = await play("speaker", { address: "far/state/one" });
      const two = await play("speaker", { address: "far/state/two" });
      const listener = await near.listen<number>("far/state/*", { latest: true });
      await one.ask("shout", { range: [1, 50] });
      await two.ask("shout", { range: [101, 150] });
      await one.ask("shout", { range: [51, 60] });
      const found = new Map<string, number>();
      const read = async () => {
        for await (const { value, context } of listener.events()) {
          found.set(context.address, value);
          if (found.get("far/state/one") === 60 && found.get("far/state/two") === 150) break;
        }
      };
      await wait("both", read());
    },
  },
]);
