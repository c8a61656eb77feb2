/**
 * Callables: questions and their answers, deadlines, limits, errors and schemas.
 *
 * @module
 */

import { type Case, ofPattern } from "../case.ts";
import { equal, ok, PATIENT, range, reasonOf, refused } from "../expect.ts";
import { numericText } from "../roles_callable.ts";
import { defineCallable } from "../../contract.ts";

/** The cases. */
export const CALLABLE: readonly Case[] = ofPattern("callable", [
  {
    name: "callable: a thousand calls at once, each with its own answer",
    run: async ({ near, play, wait }) => {
      await play("server", { address: "far/echo", kind: "echo_later", maxConcurrent: 1000 });
      const echo = near.callable<number, number>("far/echo");
      const numbers = range(1, 1000);
      const calls = Promise.all(numbers.map((n) => echo.call(n, { timeoutMs: 20_000 })));
      equal(await wait("a thousand answers", calls), numbers);
    },
  },
  {
    name: "callable: answers may overtake one another, and still find their questions",
    run: async ({ near, play, wait }) => {
      const gate = await play("server", { address: "far/gate", kind: "gate" });
      await play("server", { address: "far/echo", kind: "echo" });
      const slow = near.call("far/gate", "slow", { timeoutMs: 20_000 });
      await wait("the slow call to arrive", gate.ask("entered", { count: 1 }));
      for (const n of range(1, 20)) {
        equal(await wait("a fast call", near.call("far/echo", n, PATIENT)), n);
      }
      await gate.ask("release");
      equal(await wait("the slow answer", slow), "slow");
    },
  },
  {
    name: "callable: calls made one after the other arrive in that order",
    run: async ({ near, play, traits, wait }) => {
      const far = await play("server", {
        address: "far/gate",
        kind: "gate",
        maxConcurrent: 1000,
      });
      const callable = near.callable("far/gate");
      const numbers = range(1, 500);
      const first = callable.call(0, { timeoutMs: 25_000 });
      await wait("the first to arrive", far.ask("entered", { count: 1 }));
      const calls = numbers.map((n) => callable.call(n, { timeoutMs: 25_000 }));
      const arrived = await wait("all to arrive", far.ask<string[]>("entered", { count: 501 }));
      const order = arrived.slice(1).map(Number);
      if (!traits.ordered) order.sort((a, b) => a - b);
      equal(order, numbers);
      await far.ask("release");
      await wait("the answers", Promise.all([first, ...calls]));
    },
  },
  {
    name: "callable: the 65th call at once is refused with overloaded, and the others go on",
    run: async ({ near, play, wait }) => {
      const far = await play("server", { address: "far/gate", kind: "gate" });
      const callable = near.callable("far/gate");
      const calls = range(1, 64).map((n) => callable.call(n, { timeoutMs: 25_000 }));
      await wait("64 calls to arrive", far.ask("entered", { count: 64 }));
      const error = await refused(callable.call(65, PATIENT), "overloaded", "the 65th call");
      ok(error.retryable, "what is overloaded may be tried again");
      equal(error.details?.maxConcurrent, 64);
      await far.ask("release");
      equal(await wait("64 answers", Promise.all(calls)), range(1, 64));
      equal(await wait("a call after it", callable.call(66, PATIENT)), 66);
    },
  },
  {
    name: "callable: a call aborted before it is made rejects with the reason, and is not sent",
    run: async ({ near, play }) => {
      const far = await play("server", { address: "far/echo", kind: "echo" });
      const reason = { mine: true };
      const signal = AbortSignal.abort(reason);
      const callable = near.callable("far/echo");
      ok(await reasonOf(callable.call(1, { signal }), "an aborted call") === reason, "unbound");
      equal(await callable.call(2, PATIENT), 2);
      ok(await reasonOf(callable.call(3, { signal }), "an aborted call") === reason, "bound");
      ok(await reasonOf(near.call("far/none", 1, { signal }), "an aborted call") === reason, "");
      equal(await far.ask("count"), 1);
    },
  },
  {
    name: "callable: a call aborted on its way rejects at once with the signal's own reason",
    run: async ({ near, play, wait, traits }) => {
      const far = await play("server", { address: "far/hang", kind: "hang", maxConcurrent: 1 });
      const control = new AbortController();
      const call = near.call("far/hang", 1, { signal: control.signal, timeoutMs: Infinity });
      await wait("the call to arrive", far.ask("entered", { count: 1 }));
      const reason = new Error("changed my mind");
      control.abort(reason);
      ok(await reasonOf(call, "an aborted call") === reason, "the reason is not the signal's");
      if (traits.headers) {
        equal(await wait("the handler to learn of it", far.ask("aborted", { count: 1 })), [
          "AbortError",
        ]);
      }
    },
  },
  {
    name: "callable: a signal aborted after the answer harms nobody",
    run: async ({ near, play }) => {
      await play("server", { address: "far/echo", kind: "echo_later" });
      const control = new AbortController();
      equal(await near.call("far/echo", 1, { signal: control.signal }), 1);
      control.abort();
      equal(await near.call("far/echo", 2, PATIENT), 2);
    },
  },
  {
    name: "callable: the deadline rejects, tells the handler, and frees its place",
    run: async ({ near, play, wait, traits }) => {
      const far = await play("server", { address: "far/hang", kind: "hang", maxConcurrent: 2 });
      await play("server", { address: "far/echo", kind: "echo" });
      // On a busy machine connecting takes longer than a call may.
      await near.call("far/echo", 0, { timeoutMs: 10_000 });
      const callable = near.callable("far/hang");
      // A hung handler costs its own call only: its place is free when its caller gives up.
      for (const round of [1, 2, 3]) {
        const calls = [1, 2].map((n) => callable.call(n, { timeoutMs: 60 }));
        const errors = await wait(
          "the deadlines",
          Promise.all(calls.map((call) => refused(call, "deadline_exceeded", "a hung call"))),
        );
        equal(errors[0].details?.timeoutMs, 60);
        ok(errors[0].remedy !== undefined, "a deadline has a remedy");
        if (!traits.headers) return;
        await wait(
          `the handlers of round ${round} to learn of it`,
          far.ask("aborted", { count: round * 2 }),
        );
      }
    },
  },
  {
    name: "callable: a deadline does not fire early, nor for an answer in time",
    run: async ({ near, play, wait }) => {
      await play("server", { address: "far/hang", kind: "hang" });
      await play("server", { address: "far/echo", kind: "echo" });
      await near.call("far/echo", 0, PATIENT);
      const startedMs = performance.now();
      // Awaited from the start: on a slow wire or machine the deadline comes before the last answer.
      const end = refused(
        near.call("far/hang", 1, { timeoutMs: 100 }),
        "deadline_exceeded",
        "a hung call",
      ).then(() => performance.now() - startedMs);
      for (const n of range(1, 50)) await near.call("far/echo", n, { timeoutMs: 5000 });
      ok(await wait("the deadline", end) >= 100, "the deadline fired early");
    },
  },
  {
    name: "callable: what a handler throws arrives as remote, with its message and no stack",
    run: async ({ near, play, traits }) => {
      await play("server", { address: "far/throw", kind: "throw" });
      for (const later of [false, true]) {
        const attempt = (manner: string) => near.call("far/throw", { manner, later }, PATIENT);
        const error = await refused(attempt("error"), "remote", "a thrown error");
        equal(error.message, "the handler's own words");
        equal(error.details?.name, "RangeError");
        equal(error.address, "far/throw");
        equal(error.pattern, "callable");
        ok(!JSON.stringify(error.toWire()).includes(".ts:"), "the stack crossed the wire");
        if (!traits.values) {
          ok(error.cause === undefined, "the cause crossed the wire");
          ok(!(error.stack ?? "").includes("throwAs"), "the handler's stack crossed the wire");
        }
        const coded = await refused(attempt("coded"), "remote", "an error with a code");
        equal(coded.details?.code, "EHANDLER");
        const own = await refused(attempt("patchbay"), "forbidden", "a PatchbayError");
        equal([own.message, own.details, own.remedy], [
          "not for you",
          { need: "a key" },
          "ask the porter",
        ]);
        equal((await refused(attempt("text"), "remote", "a thrown text")).message, "only text");
        await refused(attempt("nothing"), "remote", "a thrown undefined");
      }
    },
  },
  {
    name: "callable: an address that nobody serves is not_found at once, not at the deadline",
    run: async ({ near, wait }) => {
      const call = near.call("nobody/home", 1, { timeoutMs: Infinity });
      const error = await refused(wait("the refusal", call), "not_found", "an unknown address");
      ok(error.remedy !== undefined, "not_found has a remedy");
      ok(error.message.includes("nobody/home"), "it names the address");
    },
  },
  {
    name: "callable: the context says who, what, how long, and what was sent along",
    run: async ({ near, play, traits, fixture }) => {
      await play("server", { address: "far/context", kind: "context" });
      const headers = { "trace-id": "ab-12", "note": "grüße" };
      const told = await near.call("far/context", 1, { headers, timeoutMs: 5000 }) as {
        headers: unknown;
        peer: { module: string; transport: string; local: boolean };
        address: string;
        remainingMs: number | string;
        aborted: boolean;
      };
      equal(told.address, "far/context");
      equal(told.headers, traits.headers ? headers : {});
      equal(told.peer.transport, fixture.plugin.name);
      equal(told.aborted, false);
      if (traits.headers) {
        equal(told.peer.module, "near");
        const left = told.remainingMs as number;
        ok(left > 0 && left <= 5000, `remaining: ${left} of 5000 ms`);
      } else equal(told.remainingMs, "Infinity");
      const bare = await near.call("far/context", 1, PATIENT) as { headers: unknown };
      equal(bare.headers, {});
    },
  },
  {
    name: "callable: a request that fails its schema never reaches the handler",
    run: async ({ near, play }) => {
      for (const request of ["now", "later"]) {
        const address = `far/${request}`;
        const far = await play("server", { address, kind: "echo", request });
        const error = await refused(near.call(address, "abc", PATIENT), "invalid", "a bad request");
        ok(error.message.includes("request.text"), `it names the path: ${error.message}`);
        equal(await far.ask("count"), 0);
        // The handler gets the schema's output, and nobody validates what no schema covers.
        equal(await near.call(address, "12", PATIENT), 12);
        const strict = defineCallable({ address, request: numericText(request === "later") });
        await refused(near.call(strict, "x", PATIENT), "invalid", "refused on this side");
        equal(await far.ask("count"), 1);
        equal(
          await near.call(strict, "13", PATIENT),
          13,
          "the sender sends what was given, once parsed",
        );
      }
    },
  },
  {
    name: "callable: a response that fails its schema is the server's error, and its alone",
    run: async ({ near, play }) => {
      for (const response of ["now", "later"]) {
        const address = `far/${response}`;
        await play("server", { address, kind: "echo", response });
        const error = await refused(
          near.call(address, "abc", PATIENT),
          "invalid",
          "a bad response",
        );
        ok(error.message.includes("response.text"), `it names the path: ${error.message}`);
        equal(await near.call(address, "12", PATIENT), "12", "the sender's original travels");
        const strict = defineCallable({ address, response: numericText(response === "later") });
        equal(await near.call(strict, "12", PATIENT), 12, "the receiver gets its schema's output");
      }
    },
  },
  {
    name: "callable: a deadline while a response is still being validated does no harm",
    run: async ({ near, play, wait }) => {
      const far = await play("server", {
        address: "far/gate",
        kind: "gate",
        response: "later",
        maxConcurrent: 1,
      });
      await refused(near.call("far/gate", "1", { timeoutMs: 40 }), "deadline_exceeded", "a wait");
      await far.ask("release");
      const calls = async () => {
        for (const n of range(1, 20)) equal(await near.call("far/gate", `${n}`, PATIENT), `${n}`);
      };
      await wait("calls after it", calls());
    },
  },
]);
