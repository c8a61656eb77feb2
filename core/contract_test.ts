/**
 * Contracts at run time, and the types that flow from them: what must not compile is marked with
 * `@ts-expect-error`, so that `deno check` fails if it ever does.
 *
 * @module
 */

import assert from "node:assert/strict";
import inProcess, { type Room } from "@patchbay/in_process";
import { z } from "zod";
import type { Bay } from "./bay.ts";
import { defineCallable, defineJob, defineSpeaker } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import { open } from "./open.ts";
import type { Plugin } from "./plugin.ts";

/** Compiles only if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

function same<A, B>(_claim: Same<A, B>): void {}

const Add = defineCallable({
  address: "math/add",
  request: z.object({ a: z.string().transform(Number), b: z.number().default(1) }),
  response: z.number().transform(String),
});
const Greet = defineCallable<{ name: string }, string>({ address: "desk/greet" });
const Pose = defineSpeaker({ address: "base/pose", value: z.string().transform(Number) });
const Pick = defineJob({
  address: "arm/pick",
  goal: z.string().transform(Number),
  feedback: z.number().transform(String),
  result: z.string().transform((text) => text.length),
});

Deno.test("contract: unknown options, bad addresses and priorities are refused by name", () => {
  const refusals: [() => unknown, RegExp][] = [
    [() => defineCallable({ address: "Math/Add" }), /Math/],
    [() => defineCallable({ address: "a/*" }), /wildcards/],
    [() => defineCallable({ address: "a/b", priority: 256 }), /priority 256/],
    [() => defineSpeaker({ address: "a/b", priority: 1.5 }), /priority 1.5/],
    [() => defineJob({ address: "a/b", priority: -1 }), /priority -1/],
    [() => defineCallable({ address: "a/b", retain: true } as never), /"retain"/],
    [() => defineSpeaker({ address: "a/b", request: z.string() } as never), /"request"/],
    [() => defineJob({ address: "a/b", value: z.string() } as never), /"value"/],
  ];
  for (const [define, message] of refusals) {
    assert.throws(define, (error) => {
      assert.ok(error instanceof PatchbayError);
      assert.equal(error.code, "invalid");
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("contract: it is frozen, and carries what was said", () => {
  assert.ok(Object.isFrozen(Add));
  assert.deepEqual([Add.pattern, Pose.pattern, Pick.pattern], ["callable", "speaker", "job"]);
  assert.equal(defineCallable({ address: "a/b", idempotent: true }).idempotent, true);
  assert.equal(defineSpeaker({ address: "a/b", retain: true, maxSilenceMs: 5 }).maxSilenceMs, 5);
});

Deno.test("contract: the sender sees input types and the receiver output types, with zod", async () => {
  await using bay = await open({ plugins: [inProcess] });
  await bay.serve(Add, (request, context) => {
    same<typeof request, { a: number; b: number }>(true);
    same<typeof context.remainingMs, number>(true);
    return request.a + request.b;
  });
  const sum = await bay.call(Add, { a: "2" });
  same<typeof sum, string>(true);
  assert.equal(sum, "3");
  const add = bay.callable(Add);
  assert.equal(await add.call({ a: "2", b: 5 }), "7");

  await bay.serve(Greet, ({ name }) => `Hello ${name}`);
  const hello = await bay.call(Greet, { name: "Ada" });
  same<typeof hello, string>(true);
  assert.equal(hello, "Hello Ada");

  const speaker = await bay.speaker(Pose);
  const listener = await bay.listen(Pose);
  await speaker.shout("41");
  for await (const value of listener) {
    same<typeof value, number>(true);
    assert.equal(value, 41);
    break;
  }

  await bay.perform(Pick, (goal, context) => {
    same<typeof goal, number>(true);
    context.feedback(goal * 2);
    return "four";
  });
  const job = await bay.execute(Pick, "21");
  for await (const feedback of job.feedback) {
    same<typeof feedback, string>(true);
    assert.equal(feedback, "42");
  }
  const result = await job.result;
  same<typeof result, number>(true);
  assert.equal(result, 4);
});

Deno.test("contract: a generator's feedback and result are typed", async () => {
  await using bay = await open({ plugins: [inProcess] });
  await bay.perform(Pick, async function* (goal) {
    yield goal;
    await Promise.resolve();
    return "done";
  });
  const job = await bay.execute(Pick, "7");
  assert.deepEqual(await Array.fromAsync(job.feedback), ["7"]);
  assert.equal(await job.result, 4);
});

Deno.test("contract: an asynchronous schema serves as well as a synchronous one", async () => {
  await using bay = await open({ plugins: [inProcess] });
  const slow = z.number().refine((n) => Promise.resolve(n < 10), "too much");
  const Slow = defineCallable({ address: "slow/echo", request: slow, response: slow });
  await bay.serve(Slow, (n) => n * 2);
  assert.equal(await bay.call(Slow, 2), 4);
  await assert.rejects(bay.call(Slow, 11), { code: "invalid", address: "slow/echo" });
  await assert.rejects(bay.call(Slow, 6), { code: "invalid", address: "slow/echo" });
});

const callOnly: Plugin<
  "call_only",
  { readonly callable: true; readonly speaker: false; readonly job: false },
  unknown,
  { readonly gauge: number }
> = {
  ...(inProcess as Plugin),
  name: "call_only",
  capabilities: { callable: true, speaker: false, job: false },
  open: async (context, config) => ({
    ...await inProcess.open(context, config as never),
    extras: { gauge: 7 },
  }),
};

/** Never run: what must not compile. */
export async function mustNotCompile(
  bay: Bay<readonly [typeof inProcess, typeof callOnly]>,
  anyBay: Bay,
): Promise<void> {
  // @ts-expect-error: a request of the wrong type
  await bay.call(Add, { a: 2 });
  // @ts-expect-error: a missing request
  await bay.call(Greet);
  // @ts-expect-error: a handler that answers the wrong type
  await bay.serve(Greet, () => 7);
  // @ts-expect-error: a shout of the wrong type
  (await bay.speaker(Pose)).shout(41);
  // @ts-expect-error: a goal of the wrong type
  await bay.execute(Pick, 21);
  // @ts-expect-error: a speaker's contract cannot be called
  await bay.call(Pose, "1");
  // @ts-expect-error: a callable's contract cannot be listened to
  await bay.listen(Greet);
  // @ts-expect-error: a job's contract cannot be served
  await bay.serve(Pick, () => 7);
  // @ts-expect-error: a misspelt wire
  await bay.call(Greet, { name: "Ada" }, { via: ["in_proces"] });
  // @ts-expect-error: a wire that is not loaded
  bay.callable(Greet, { via: ["redis"] });
  // @ts-expect-error: a wire that has no speaker
  await bay.speaker(Pose, { via: ["call_only"] });
  // @ts-expect-error: a wire that has no job
  await bay.execute(Pick, "1", { via: ["call_only"] });
  // @ts-expect-error: extras are typed by the plugin
  bay.transport(callOnly).meter;
  // @ts-expect-error: an option that the pattern does not have
  defineSpeaker({ address: "a/b", idempotent: true });
  // @ts-expect-error: an unknown overflow policy
  await bay.listen(Pose, { overflow: "drop" });

  // And what must.
  await bay.call(Greet, { name: "Ada" }, { via: ["call_only", "in_process"] });
  const gauge = bay.transport(callOnly).gauge;
  same<typeof gauge, number>(true);
  const room = bay.transport(inProcess).room;
  same<typeof room, Room>(true);
  await anyBay.call(Greet, { name: "Ada" }, { via: ["whatever"] });
  await bay.call("desk/greet", { anything: true });
}
