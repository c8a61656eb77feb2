/**
 * Payloads: what goes in comes out, as large as agreed and no larger, and what cannot be carried is
 * refused by name.
 *
 * @module
 */

import { defineCallable, defineSpeaker } from "../../contract.ts";
import type { Case, CaseContext } from "../case.ts";
import { equal, ok, PATIENT, refused } from "../expect.ts";
import { describe, make, patternBytes, PORTABLE, UNPORTABLE } from "../recipes.ts";

/** The limit that the limit cases agree on, in bytes. */
const LIMIT = 100_000;

async function bothWays({ near, play, wait }: CaseContext, name: string): Promise<void> {
  await play("server", { address: "far/describe", kind: "describe" });
  await play("server", { address: "far/make", kind: "make" });
  const value = make(name);
  const told = await wait("the description", near.call("far/describe", value, PATIENT));
  equal(told, describe(value), `the far side should get ${name} as it was sent`);
  const made = await wait("the value", near.call("far/make", name, PATIENT));
  equal(describe(made), describe(value), `this side should get ${name} as it was sent`);
}

const RAW = defineCallable<Uint8Array, Uint8Array>({ address: "far/echo", codec: "raw" });

/** The cases. */
export const PAYLOADS: readonly Case[] = [
  ...Object.keys(PORTABLE).map((name): Case => ({
    name: `payloads: ${name} arrives as it was sent, both ways`,
    pattern: "callable",
    run: (context) => bothWays(context, name),
  })),
  {
    name: "payloads: a handler that returns nothing answers undefined",
    pattern: "callable",
    run: async ({ near, play }) => {
      await play("server", { address: "far/nothing", kind: "nothing" });
      equal(await near.call("far/nothing", "anything", PATIENT), undefined);
    },
  },
  {
    name: "payloads: shouts carry every portable value",
    pattern: "speaker",
    run: async ({ near, play, wait }) => {
      const ear = await play("listener", { pattern: "near/values" });
      const speaker = await near.speaker("near/values");
      const names = Object.keys(PORTABLE);
      for (const name of names) await speaker.shout(make(name));
      const heard = await wait(
        "the values to be heard",
        ear.ask<{ value: unknown }[]>("heard", { count: names.length }),
      );
      equal(
        heard.map((each) => typeof each.value === "number" ? String(each.value) : each.value),
        names.map((name) => describe(make(name))),
      );
    },
  },
  {
    name: "payloads: goals and results carry every portable value",
    pattern: "job",
    run: async ({ near, play, wait }) => {
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      await far.ask("release");
      for (const name of Object.keys(PORTABLE)) {
        const job = await wait("acceptance", near.execute("far/job", make(name)));
        equal(describe(await wait("the result", job.result)), describe(make(name)), name);
      }
      const told = await far.ask<string[]>("entered", { count: 1 });
      equal(told, Object.keys(PORTABLE).map((name) => describe(make(name))));
    },
  },
  {
    name: "payloads: a message of exactly the limit passes, one byte more is refused by size",
    pattern: "callable",
    overrides: { maxMessageBytes: LIMIT },
    run: async ({ near, play, traits, wait }) => {
      await play("server", { address: "far/echo", kind: "echo" });
      const most = patternBytes(LIMIT);
      const echo = near.callable(RAW);
      equal(describe(await wait("the largest", echo.call(most, PATIENT))), describe(most));
      const over = echo.call(patternBytes(LIMIT + 1), PATIENT);
      if (traits.values) {
        // Nothing is copied, so nothing can be too large.
        equal((await over).length, LIMIT + 1);
      } else {
        const error = await refused(over, "too_large", "one byte over the limit");
        equal(error.details, { size: LIMIT + 1, max: LIMIT });
        ok(!error.retryable, "what is too large stays too large");
      }
      equal(describe(await wait("a call after it", echo.call(most, PATIENT))), describe(most));
    },
  },
  {
    name: "payloads: an answer over the limit is refused to its caller, and nobody else",
    pattern: "callable",
    overrides: { maxMessageBytes: LIMIT },
    run: async ({ near, play, traits, wait }) => {
      await play("server", { address: "far/make", kind: "make" });
      const over = near.call<unknown, Uint8Array>("far/make", `bytes:${LIMIT * 2}`);
      if (traits.values) equal((await over).length, LIMIT * 2);
      else await refused(over, "too_large", "an answer over the limit");
      equal(describe(await wait("the next call", near.call("far/make", "zero", PATIENT))), "0");
    },
  },
  {
    name: "payloads: a shout over the limit is refused to its speaker, and the next is heard",
    pattern: "speaker",
    overrides: { maxMessageBytes: LIMIT },
    run: async ({ near, play, traits, wait }) => {
      const ear = await play("listener", { pattern: "near/large" });
      const contract = defineSpeaker<Uint8Array>({ address: "near/large", codec: "raw" });
      const speaker = await near.speaker(contract);
      const shout = async () => await speaker.shout(patternBytes(LIMIT + 1));
      if (traits.values) await shout();
      else await refused(shout(), "too_large", "a shout over the limit");
      await speaker.shout(patternBytes(5));
      const count = traits.values ? 2 : 1;
      const heard = await wait("the shout", ear.ask<{ value: string }[]>("heard", { count }));
      equal(heard.at(-1)?.value, describe(patternBytes(5)));
    },
  },
  {
    name: "payloads: the largest that is promised, both ways",
    pattern: "callable",
    overrides: { maxMessageBytes: 32 * 1024 * 1024 },
    run: async ({ near, play, fixture, wait }) => {
      await play("server", { address: "far/echo", kind: "echo" });
      const size = Math.min(fixture.largestPayloadBytes, fixture.plugin.traits.maxPayloadBytes);
      const sent = patternBytes(size);
      const got = await wait(
        `${size} bytes to come back`,
        near.call(RAW, sent, { timeoutMs: 25_000 }),
      );
      equal(describe(got), describe(sent));
    },
  },
  {
    name: "payloads: many sizes around the usual boundaries",
    pattern: "callable",
    run: async ({ near, play, wait, traits }) => {
      await play("server", { address: "far/echo", kind: "echo" });
      const echo = near.callable(RAW);
      for (const edge of [1, 128, 256, 4096, 32_768, 65_536, 131_072, 1_048_576]) {
        for (const size of [edge - 1, edge, edge + 1]) {
          if (size > traits.maxPayloadBytes) continue;
          const bytes = patternBytes(size);
          equal(describe(await wait(`${size} bytes`, echo.call(bytes, PATIENT))), describe(bytes));
        }
      }
    },
  },
  {
    name: "payloads: by reference where the wire passes values, a copy where it passes bytes",
    pattern: "callable",
    layouts: ["alone", "same_process"],
    run: async ({ near, open, traits }) => {
      const far = await open("mirror");
      let got: unknown;
      await far.serve("mirror/keep", (value) => (got = value));
      const sent = { inner: { n: 1 } };
      const answer = await near.call("mirror/keep", sent, PATIENT);
      equal(got, sent);
      ok((got === sent) === traits.values, `the same object arrived: ${got === sent}`);
      ok((answer === sent) === traits.values, `the same object came back: ${answer === sent}`);
    },
  },
  ...Object.entries(UNPORTABLE).map(([name, { make: bad, path }]): Case => ({
    name: `payloads: ${name} is refused, naming its path`,
    pattern: "callable",
    run: async ({ near, play, fixture }) => {
      const far = await play("server", { address: "far/describe", kind: "describe" });
      await play("server", { address: "far/make", kind: "make" });
      if (fixture.refusesUnportable === false) {
        await near.call("far/describe", bad(), PATIENT);
        return;
      }
      const request = await refused(near.call("far/describe", bad(), PATIENT), "invalid", name);
      ok(request.message.includes(path), `the message should name ${path}: ${request.message}`);
      equal(await far.ask("count"), 0, "the handler must not be reached");
      const response = await refused(near.call("far/make", name, PATIENT), "invalid", name);
      ok(response.message.includes(path), `the message should name ${path}: ${response.message}`);
      equal(await near.call("far/describe", 1, PATIENT), "1", "the next call must work");
    },
  })),
  {
    name: "payloads: an unportable shout is refused to its speaker, and the next is heard",
    pattern: "speaker",
    run: async ({ near, play, fixture, wait }) => {
      const ear = await play("listener", { pattern: "near/values" });
      const speaker = await near.speaker("near/values");
      const shout = async () => await speaker.shout({ when: [new Date(0)] });
      const refuses = fixture.refusesUnportable !== false;
      if (refuses) await refused(shout(), "invalid", "an unportable shout");
      else await shout();
      await speaker.shout(7);
      const count = refuses ? 1 : 2;
      const heard = await wait("the next", ear.ask<{ value: unknown }[]>("heard", { count }));
      equal(heard.at(-1)?.value, 7);
    },
  },
  {
    name: "payloads: an unportable goal, and an unportable result, fail that job alone",
    pattern: "job",
    run: async ({ near, play, fixture, wait, open }) => {
      if (fixture.refusesUnportable === false) return;
      await play("worker", { address: "far/count", kind: "count" });
      await refused(near.execute("far/count", { x: new Date() }), "invalid", "a goal");
      const bay = await open("clumsy");
      await bay.perform("clumsy/date", () => ({ when: new Date(0) }));
      const job = await near.execute("clumsy/date", 1);
      const error = await refused(job.result, "invalid", "an unportable result");
      ok(error.message.includes("when"), `the message should name the path: ${error.message}`);
      const good = await near.execute("far/count", 2);
      equal(await wait("a good job", good.result), "done 2");
    },
  },
];
