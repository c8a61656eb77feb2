import assert from "node:assert/strict";
import fc from "fast-check";
import type { Overflow } from "../queue.ts";
import { Kind } from "./envelope.ts";
import type { SubscriptionTerms } from "./publication.ts";
import { jsonBody, RawPair, type SeenFrame, settled, turn, until } from "./testing/rig.ts";

/** A session whose peer has subscribed and reads only when it is told to. */
async function subscribed(terms: Partial<SubscriptionTerms>): Promise<RawPair> {
  const pair = new RawPair({ maxQueueBytes: 1024 * 1024 }, false, { capacityBytes: 1 });
  await pair.peer.shakeHands();
  const full = { pattern: "t", overflow: "drop_oldest", maxQueue: 10, retained: false, ...terms };
  pair.peer.send({ kind: Kind.subscribe, id: 5, body: jsonBody(full) });
  await until("the acknowledgement", () => pair.peer.find(Kind.subscribeAck, 5) !== undefined);
  pair.peer.seen.length = 0;
  return pair;
}

function heard({ peer }: RawPair): number[] {
  return peer.seen.filter(({ kind }) => kind === Kind.event).map(valueOf);
}

function valueOf({ body }: SeenFrame): number {
  return parseInt(new TextDecoder().decode(body.subarray(1)));
}

/** A value of a size that begins with a number. */
function value(n: number, size = 3000): string {
  return `${n} `.padEnd(size, "x");
}

/** Gives the connection's credit back as it comes, and reads everything. */
async function readAll(pair: RawPair): Promise<void> {
  pair.peer.link.resume();
  let credited = 0;
  for (let quiet = 0; quiet < 3;) {
    await turn();
    const bytes = pair.peer.seen.filter(({ kind }) => kind >= 16 || kind === Kind.fragment)
      .reduce((sum, frame) => sum + frame.bytes, 0);
    quiet = bytes === credited ? quiet + 1 : 0;
    if (bytes > credited) pair.peer.send({ kind: Kind.credit, number: bytes - credited });
    credited = bytes;
  }
}

Deno.test("drop_oldest: the newest arrive, in order, and what was dropped is counted", async () => {
  await using pair = await subscribed({ overflow: "drop_oldest" });
  const speaker = pair.side.speak("t");
  pair.peer.link.pause();
  for (let n = 0; n < 100; n++) assert.equal(speaker.shout(value(n)), undefined);
  await readAll(pair);
  const seen = heard(pair);
  assert.deepEqual(seen.slice(-10), [90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
  assert.equal(speaker.endpoint.statistics.drops.get("overflow_oldest"), 100 - seen.length);
});

Deno.test("drop_newest: the oldest arrive, in order, and what was dropped is counted", async () => {
  await using pair = await subscribed({ overflow: "drop_newest" });
  const speaker = pair.side.speak("t");
  pair.peer.link.pause();
  for (let n = 0; n < 100; n++) assert.equal(speaker.shout(value(n)), undefined);
  await readAll(pair);
  const seen = heard(pair);
  assert.deepEqual(seen, Array.from({ length: seen.length }, (_, n) => n));
  assert.equal(speaker.endpoint.statistics.drops.get("overflow_newest"), 100 - seen.length);
});

Deno.test("block: the listener's own credit counts messages; held, then let go, none lost", async () => {
  await using pair = await subscribed({ overflow: "block", maxQueue: 3 });
  const speaker = pair.side.speak("t");
  for (let n = 0; n < 3; n++) assert.equal(speaker.shout(value(n, 20)), undefined);
  const held = speaker.shout(value(3, 20));
  assert.ok(held instanceof Promise);
  await turn();
  assert.deepEqual(heard(pair), [0, 1, 2]);
  // Credit for one: the held one goes, and the next is held.
  pair.peer.send({ kind: Kind.credit, id: 5, number: 1 });
  await until("the fourth", () => heard(pair).length === 4);
  pair.peer.send({ kind: Kind.credit, id: 5, number: 3 });
  await settled("the speaker to be let go", held);
  for (let n = 4; n < 7; n++) speaker.shout(value(n, 20));
  await until("the rest", () => heard(pair).length === 7);
  assert.deepEqual(heard(pair), [0, 1, 2, 3, 4, 5, 6]);
});

Deno.test("block: who does not await is refused at the second bound, and the rest arrives", async () => {
  await using pair = await subscribed({ overflow: "block", maxQueue: 3 });
  const speaker = pair.side.speak("t");
  const waits: unknown[] = [];
  for (let n = 0; n < 6; n++) waits.push(speaker.shout(value(n, 20)));
  assert.throws(() => speaker.shout(value(6, 20)), {
    code: "overloaded",
    details: { maxQueue: 3 },
  });
  pair.peer.send({ kind: Kind.credit, id: 5, number: 10 });
  await settled("all", Promise.all(waits));
  await until("all", () => heard(pair).length === 6);
  assert.deepEqual(heard(pair), [0, 1, 2, 3, 4, 5]);
});

Deno.test("block: unsubscribing lets the speaker go, and frees what was held", async () => {
  await using pair = await subscribed({ overflow: "block", maxQueue: 2 });
  const speaker = pair.side.speak("t");
  const waits: unknown[] = [];
  for (let n = 0; n < 4; n++) waits.push(speaker.shout(value(n)));
  assert.ok(pair.session.sender.outbox.queuedBytes > 0);
  pair.peer.send({ kind: Kind.unsubscribe, id: 5 });
  await settled("the speaker to be let go", Promise.all(waits));
  assert.equal(pair.session.sender.outbox.queuedBytes, 0);
  assert.equal(speaker.way.listeners, 0);
  assert.equal(speaker.shout(value(9)), undefined);
});

Deno.test("fail: the listener is told with overloaded", async () => {
  await using pair = await subscribed({ overflow: "fail", maxQueue: 2 });
  const speaker = pair.side.speak("t");
  pair.peer.link.pause();
  for (let n = 0; n < 100; n++) speaker.shout(value(n));
  await readAll(pair);
  const told = JSON.parse(new TextDecoder().decode(pair.peer.find(Kind.error, 5)?.body));
  assert.equal(told.code, "overloaded");
  assert.equal(speaker.endpoint.statistics.drops.get("overflow_fail"), 1);
});

Deno.test("whatever the policy, sizes and priorities: in order, counted, and nothing left over", async () => {
  const shout = fc.tuple(
    fc.constantFrom(0, 64, 128, 255),
    fc.constantFrom(30, 3000, 16_384, 50_000),
  );
  const overflows = fc.constantFrom<Overflow>("drop_oldest", "drop_newest", "block");
  await fc.assert(
    fc.asyncProperty(
      overflows,
      fc.integer({ min: 1, max: 20 }),
      fc.array(shout, { maxLength: 60 }),
      async (overflow, maxQueue, shouts) => {
        await using pair = await subscribed({ overflow, maxQueue });
        const speaker = pair.side.speak("t");
        pair.peer.link.pause();
        const waits: unknown[] = [];
        let refused = 0;
        shouts.forEach(([priority, size], n) => {
          try {
            waits.push(speaker.shout(value(n, size), priority));
          } catch {
            refused++;
          }
        });
        if (overflow === "block") pair.peer.send({ kind: Kind.credit, id: 5, number: 100 });
        await readAll(pair);
        await settled("the speaker", Promise.all(waits));
        const { drops } = speaker.endpoint.statistics;
        const dropped = drops.values().reduce((sum, n) => sum + n, 0);
        const whole = heard(pair);
        const pieces = pair.peer.seen.filter((f) =>
          f.kind === Kind.fragment && (f.flags & 4) !== 0
        );
        assert.equal(whole.length + pieces.length + dropped + refused, shouts.length);
        for (const lane of [0, 64, 128, 255]) {
          const order = whole.filter((n) => shouts[n][0] === lane);
          assert.deepEqual(order, order.toSorted((a, b) => a - b));
        }
        assert.ok(pair.session.sender.outbox.idle);
        assert.equal(pair.session.sender.outbox.queuedBytes, 0);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("unsubscribe: what still waited for the subscriber is counted as dropped", async () => {
  await using pair = await subscribed({ overflow: "drop_newest" });
  const speaker = pair.side.speak("t");
  pair.peer.link.pause();
  for (let n = 0; n < 100; n++) speaker.shout(value(n));
  const dropped = speaker.endpoint.statistics.drops.get("overflow_newest") ?? 0;
  pair.peer.send({ kind: Kind.unsubscribe, id: 5 });
  await readAll(pair);
  const atEnd = pair.side.statistics.drops.get("closed") ?? 0;
  assert.ok(atEnd > 0);
  assert.equal(heard(pair).length + dropped + atEnd, 100);
});
