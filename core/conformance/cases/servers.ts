/**
 * Callables: who serves what, servers that come, go and die.
 *
 * @module
 */

import { type Case, ofPattern } from "../case.ts";
import { equal, ok, PATIENT, range, refused } from "../expect.ts";

const APART = ["same_process", "two_processes"] as const;

/** The cases. */
export const SERVERS: readonly Case[] = ofPattern("callable", [
  {
    name: "callable: a caller finds a server that appears later",
    run: async ({ near, play, until }) => {
      const callable = near.callable("far/late");
      await refused(callable.call(1, PATIENT), "not_found", "a call before there is a server");
      await play("server", { address: "far/late", kind: "echo" });
      // Which bay learns of it when is the wire's affair, but nobody has to be asked.
      await until("the caller to find it", async () => {
        return await callable.call(2).then((v) => v === 2, () => false);
      });
    },
  },
  {
    name: "callable: a server closed and served again is found by the same caller",
    run: async ({ near, play, until }) => {
      const first = await play("server", { address: "far/tag", kind: "tag", tag: "first" });
      const callable = near.callable("far/tag");
      equal(await callable.call(1, PATIENT), "first");
      await first.close();
      await refused(
        callable.call(2, PATIENT),
        ["not_found", "closed"],
        "a call after the server closed",
      );
      await play("server", { address: "far/tag", kind: "tag", tag: "second" });
      await until("the caller to find it", async () => {
        return await callable.call(3).then((v) => v === "second", () => false);
      });
    },
  },
  {
    name: "callable: a bay closed and opened again is found by the same caller",
    layouts: APART,
    run: async ({ near, play, until, far, wait }) => {
      await play("server", { address: "far/tag", kind: "tag", tag: "first" });
      const callable = near.callable("far/tag");
      equal(await callable.call(1, PATIENT), "first");
      await wait("the far bay to close", far.close());
      await refused(
        callable.call(2, PATIENT),
        ["not_found", "closed"],
        "a call after the bay closed",
      );
      await wait("the far bay to open again", far.reopen());
      await play("server", { address: "far/tag", kind: "tag", tag: "second" });
      await until("the caller to find it", async () => {
        return await callable.call(3).then((v) => v === "second", () => false);
      });
    },
  },
  {
    name: "callable: a second server of an exclusive address is refused, and the first goes on",
    run: async ({ near, play }) => {
      await play("server", { address: "far/tag", kind: "tag", tag: "first" });
      for (const sharing of ["exclusive", "shared"] as const) {
        const second = near.serve("far/tag", () => "second", { sharing });
        const error = await refused(second, "unavailable", `a second, ${sharing} server`);
        ok(error.message.includes("far/tag"), `it names the address: ${error.message}`);
      }
      for (const n of range(1, 5)) equal(await near.call("far/tag", n, PATIENT), "first");
    },
  },
  {
    name: "callable: shared servers both get calls, and what one leaves the other takes",
    run: async ({ near, play, wait, open, until }) => {
      const first = await play("server", {
        address: "far/tag",
        kind: "tag",
        tag: "first",
        sharing: "shared",
      });
      const second = await open("second");
      await second.serve("far/tag", () => "second", { sharing: "shared" });
      const callable = near.callable<number, string>("far/tag");
      const seen = new Set<string>();
      await until("both to be called", async () => {
        seen.add(await callable.call(1, PATIENT));
        return seen.size === 2;
      });
      await wait("one to close", first.close());
      await until("the other to take all", async () => {
        for (let n = 0; n < 10; n++) {
          if (await callable.call(n).catch(() => "nobody") !== "second") return false;
        }
        return true;
      });
    },
  },
  {
    name: "callable: two bays that call each other at once",
    run: async ({ near, play, wait }) => {
      await play("server", { address: "far/echo", kind: "echo_later" });
      await near.serve("near/echo", (v) => Promise.resolve(v));
      const far = await play("caller", { address: "near/echo" });
      const mine = range(1, 50).map((n) => near.call("far/echo", n, { timeoutMs: 20_000 }));
      const theirs = range(1, 50).map((n) => far.ask("call", { value: n, timeoutMs: 20_000 }));
      equal(await wait("my answers", Promise.all(mine)), range(1, 50));
      equal(
        await wait("their answers", Promise.all(theirs)),
        range(1, 50).map((n) => ({ value: String(n) })),
      );
    },
  },
  {
    name: "callable: a server that dies rejects what was pending with closed, not by deadline",
    layouts: ["two_processes"],
    run: async ({ near, play, traits, wait, far, until }) => {
      const server = await play("server", { address: "far/hang", kind: "hang" });
      const timeoutMs = traits.noticesDeath ? Infinity : 1000;
      const calls = range(1, 3).map((n) => near.call("far/hang", n, { timeoutMs }));
      await wait("the calls to arrive", server.ask("entered", { count: 3 }));
      const code = traits.noticesDeath ? "closed" : "deadline_exceeded";
      const outcomes = calls.map((call) => refused(call, code, "a call whose server died"));
      await wait("the far process to be killed", far.kill());
      await wait("the calls to end", Promise.all(outcomes));
      await until("it to be not_found", async () => {
        return await near.call("far/hang", 1, { timeoutMs: 500 }).then(
          () => false,
          (error) => !traits.noticesDeath || error.code === "not_found",
        );
      });
    },
  },
  {
    name: "callable: a caller that dies aborts its handler's signal",
    layouts: ["two_processes"],
    run: async ({ near, play, traits, wait, far }) => {
      if (!traits.noticesDeath) return;
      const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
      const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
      await near.serve("near/hang", (_value, context) => {
        context.signal.addEventListener("abort", () => abort(), { once: true });
        enter();
        return aborted;
      });
      const caller = await play("caller", { address: "near/hang" });
      await caller.ask("begin", { value: 1, timeoutMs: 25_000 });
      await wait("the call to arrive", entered);
      await wait("the far process to be killed", far.kill());
      await wait("the handler's signal", aborted);
    },
  },
]);
