/**
 * The suite must catch liars: transports that are in_process but for one broken promise.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PatchbayError } from "../errors.ts";
import { CASES, runCase } from "./mod.ts";
import { calling, executing, liar, type Lie, shouting } from "./testdata/liar.ts";

let held: (() => void) | undefined;

const LIARS: readonly [what: string, lie: Lie, caughtBy: string][] = [
  [
    "loses every tenth shout",
    shouting((v, e, deliver) => e.sequence % 10 === 0 ? undefined : deliver(v, e)),
    "speaker: every listener gets every shout once, in order",
  ],
  [
    "swaps neighbouring shouts",
    shouting((v, e, deliver) => {
      if (held === undefined) return void (held = () => void deliver(v, e));
      const before = held;
      held = undefined;
      const now = deliver(v, e);
      before();
      return now;
    }),
    "speaker: every listener gets every shout once, in order",
  ],
  [
    "shouts twice",
    shouting((v, e, deliver) => {
      void deliver(v, e);
      return deliver(v, e);
    }),
    "speaker: every listener gets every shout once, in order",
  ],
  [
    "forgets the headers of shouts",
    shouting((v, e, deliver) => deliver(v, { ...e, headers: undefined })),
    "speaker: a shout tells where it was shouted, its number, its headers and its urgency",
  ],
  [
    "never holds a speaker back",
    shouting((v, e, deliver) => void deliver(v, e)),
    "listener: block loses nothing and holds the speaker back",
  ],
  [
    "does not keep the last value",
    (transport) => ({
      listen: (endpoint) => {
        Object.defineProperty(endpoint, "retained", { value: false });
        return transport.listen?.(endpoint) ?? Promise.reject();
      },
    }),
    "speaker: a late listener gets the last value, if it asks and the speaker keeps it",
  ],
  [
    "gives the last value to who did not ask",
    (transport) => ({
      listen: (endpoint) => {
        Object.defineProperty(endpoint, "retained", { value: true });
        return transport.listen?.(endpoint) ?? Promise.reject();
      },
    }),
    "speaker: a late listener gets the last value, if it asks and the speaker keeps it",
  ],
  [
    "never unsubscribes",
    (transport) => ({
      listen: async (endpoint) => {
        await transport.listen?.(endpoint);
        return { close: () => Promise.resolve() };
      },
    }),
    "speaker: leaving the loop unsubscribes, at the speaker too",
  ],
  [
    "joins late although listen() has resolved",
    (transport) => ({
      listen: (endpoint) => {
        const joining = new Promise<void>((resolve) => setTimeout(resolve, 5))
          .then(() => transport.listen?.(endpoint));
        return Promise.resolve({ close: async () => void await (await joining)?.close() });
      },
    }),
    "speaker: when listen() has resolved, a later shout is delivered",
  ],
  [
    "does not tell the handler that its caller gave up",
    (transport) => ({
      caller: (address) => {
        const port = transport.caller?.(address);
        assert.ok(port);
        return { start: (call) => port.start(call), cancel: () => {}, close: () => {} };
      },
    }),
    "callable: a call aborted on its way rejects at once with the signal's own reason",
  ],
  [
    "leaves an unknown address to the deadline",
    (transport) => ({
      find: () => ({ found: "unknown" }),
      caller: (address) => {
        const port = transport.caller?.(address);
        assert.ok(port);
        const find = () => transport.find("callable", address, undefined) as { found: boolean };
        return {
          start: (call) => find().found ? port.start(call) : undefined,
          cancel: (call) => port.cancel(call),
          close: () => {},
        };
      },
    }),
    "callable: an address that nobody serves is not_found at once, not at the deadline",
  ],
  [
    "swallows what handlers throw",
    calling((call, start) => {
      call.fail = () => call.succeed(undefined);
      start();
    }),
    "callable: what a handler throws arrives as remote, with its message and no stack",
  ],
  [
    "sends the stack along",
    calling((call, start) => {
      const fail = call.fail.bind(call);
      call.fail = (error) => {
        const known = PatchbayError.fromThrown(error);
        fail(new PatchbayError(known.code, known.message, { details: { at: known.stack } }));
      };
      start();
    }),
    "callable: what a handler throws arrives as remote, with its message and no stack",
  ],
  [
    "mixes up answers",
    (() => {
      let last: unknown;
      return calling((call, start) => {
        const succeed = call.succeed.bind(call);
        call.succeed = (value) => {
          const before = last ?? value;
          last = value;
          succeed(before);
        };
        start();
      });
    })(),
    "callable: a thousand calls at once, each with its own answer",
  ],
  [
    "forgets headers",
    calling((call, start) => {
      call.headers = undefined;
      start();
    }),
    "callable: the context says who, what, how long, and what was sent along",
  ],
  [
    "lets two servers have one address",
    (transport) => ({
      serve: (endpoint) => {
        const attempt = transport.serve?.(endpoint);
        return attempt?.catch(() => ({ close: () => Promise.resolve() })) ?? Promise.reject();
      },
    }),
    "callable: a second server of an exclusive address is refused, and the first goes on",
  ],
  [
    "keeps a server that was closed",
    (transport) => ({
      serve: async (endpoint) => {
        await transport.serve?.(endpoint);
        return { close: () => Promise.resolve() };
      },
    }),
    "lifecycle: an address is free again as soon as its server has closed",
  ],
  [
    "cuts strings",
    calling((call, start) => {
      const succeed = call.succeed.bind(call);
      call.succeed = (value) => succeed(typeof value === "string" ? value.slice(0, 20) : value);
      start();
    }),
    "payloads: unicode arrives as it was sent, both ways",
  ],
  [
    "delivers feedback after the result",
    executing((job, start) => {
      const succeed = job.succeed.bind(job);
      const feedback = job.feedback.bind(job);
      const late: (() => void)[] = [];
      job.feedback = (value, sequence) => void late.push(() => feedback(value, sequence));
      job.succeed = (value) => {
        succeed(value);
        for (const deliver of late) deliver();
      };
      start();
    }),
    "job: all feedback comes in order and before the result (count)",
  ],
  [
    "loses a feedback",
    executing((job, start) => {
      const feedback = job.feedback.bind(job);
      job.feedback = (value, sequence) => sequence === 7 ? undefined : feedback(value, sequence);
      start();
    }),
    "job: all feedback comes in order and before the result (generate)",
  ],
  [
    "does not pass cancelling on",
    (transport) => ({
      executor: (address) => {
        const port = transport.executor?.(address);
        assert.ok(port);
        return {
          start: (job) => port.start(job),
          cancel: () => {},
          abandon: (job) => port.abandon(job),
          close: () => {},
        };
      },
    }),
    "job: cancel reaches the worker, and the result rejects with the reason",
  ],
  [
    "does not stop what its owner abandoned",
    (transport) => ({
      executor: (address) => {
        const port = transport.executor?.(address);
        assert.ok(port);
        return {
          start: (job) => port.start(job),
          cancel: (job, reason) => port.cancel(job, reason),
          abandon: () => {},
          close: () => {},
        };
      },
    }),
    "job: silence is deadline_exceeded, and the worker is stopped",
  ],
  [
    "hangs when it is closed",
    () => ({ close: () => new Promise(() => {}) }),
    "lifecycle: closing twice, and twice at once, is one close",
  ],
  [
    "is ill and does not say so to itself",
    () => ({ health: () => ({ status: "degraded", reason: "a cold" }) }),
    "lifecycle: an open wire says so and is healthy",
  ],
];

for (const [what, lie, caughtBy] of LIARS) {
  Deno.test(`conformance: a wire that ${what} is caught`, async () => {
    held = undefined;
    const one = CASES.find((each) => each.name === caughtBy);
    assert.ok(one, `there is no case ${caughtBy}`);
    await assert.rejects(runCase(one, liar(lie), "same_process", 1000));
  });
}

Deno.test("conformance: an honest wire is not accused", async () => {
  for (const name of new Set(LIARS.map(([, , caughtBy]) => caughtBy))) {
    const one = CASES.find((each) => each.name === name);
    assert.ok(one);
    await runCase(one, liar(() => ({})), "same_process");
  }
});

Deno.test("conformance: no two cases have one name", () => {
  const names = CASES.map((each) => each.name);
  assert.deepEqual([...new Set(names)], names);
});
