import assert from "node:assert/strict";
import { PatchbayError } from "./errors.ts";
import { Fifo, Inbox, type Overflow } from "./queue.ts";

/** An inbox of numbers, and what its owner was told. */
function inboxOf(max: number, overflow: Overflow) {
  const dropped: string[] = [];
  const left: number[] = [];
  const inbox = new Inbox<number>(max, overflow, {
    dropped: (reason) => dropped.push(reason),
    left: (item) => left.push(item),
  });
  return { inbox, dropped, left };
}

async function drain(inbox: Inbox<number>): Promise<number[]> {
  const items: number[] = [];
  for (let next = await inbox.next(); !next.done; next = await inbox.next()) items.push(next.value);
  return items;
}

Deno.test("fifo: first in, first out, through wrapping and growing", () => {
  const fifo = new Fifo<number>();
  let pushed = 0;
  let shifted = 0;
  for (let round = 1; round <= 40; round++) {
    for (let i = 0; i < round; i++) fifo.push(pushed++);
    for (let i = 0; i < round - 1; i++) assert.equal(fifo.shift(), shifted++);
  }
  assert.equal(fifo.length, pushed - shifted);
  assert.equal(fifo.peek(), shifted);
  while (fifo.length > 0) assert.equal(fifo.shift(), shifted++);
  assert.equal(fifo.shift(), undefined);
  assert.equal(fifo.peek(), undefined);
});

Deno.test("fifo: clear forgets everything, and it goes on", () => {
  const fifo = new Fifo<number>();
  for (let i = 0; i < 20; i++) fifo.push(i);
  fifo.clear();
  assert.equal(fifo.length, 0);
  fifo.push(7);
  assert.equal(fifo.shift(), 7);
});

Deno.test("inbox: an item goes to who waits, without queueing", async () => {
  const { inbox, left } = inboxOf(1, "fail");
  const waiting = inbox.next();
  inbox.push(1);
  assert.equal(inbox.length, 0);
  assert.deepEqual(left, [1]);
  assert.deepEqual(await waiting, { value: 1, done: false });
});

Deno.test("inbox: drop_oldest keeps the newest", async () => {
  const { inbox, dropped, left } = inboxOf(3, "drop_oldest");
  for (let i = 1; i <= 5; i++) assert.equal(inbox.push(i), true);
  assert.deepEqual(dropped, ["overflow_oldest", "overflow_oldest"]);
  assert.deepEqual(left, [1, 2]);
  inbox.end();
  assert.deepEqual(await drain(inbox), [3, 4, 5]);
  assert.deepEqual(left, [1, 2, 3, 4, 5]);
});

Deno.test("inbox: drop_newest keeps the oldest", async () => {
  const { inbox, dropped, left } = inboxOf(3, "drop_newest");
  for (let i = 1; i <= 5; i++) assert.equal(inbox.push(i), true);
  assert.deepEqual(dropped, ["overflow_newest", "overflow_newest"]);
  assert.deepEqual(left, [4, 5]);
  inbox.end();
  assert.deepEqual(await drain(inbox), [1, 2, 3]);
});

for (const overflow of ["fail", "block"] as const) {
  Deno.test(`inbox: ${overflow} gives what waits, then overloaded once, then the end`, async () => {
    const { inbox, dropped } = inboxOf(2, overflow);
    assert.deepEqual([1, 2, 3].map((n) => inbox.push(n)), [true, true, false]);
    assert.deepEqual(dropped, ["overflow_fail"]);
    assert.equal(inbox.ended, true);
    assert.deepEqual(await inbox.next(), { value: 1, done: false });
    assert.deepEqual(await inbox.next(), { value: 2, done: false });
    await assert.rejects(inbox.next(), (error) => {
      assert.ok(error instanceof PatchbayError);
      assert.equal(error.code, "overloaded");
      assert.deepEqual(error.details, { maxQueue: 2 });
      return true;
    });
    assert.deepEqual(await inbox.next(), { value: undefined, done: true });
  });
}

Deno.test("inbox: the end reaches who waits, with its error or without", async () => {
  const orderly = inboxOf(1, "fail").inbox;
  const end = orderly.next();
  orderly.end();
  orderly.end(new Error("too late"));
  assert.deepEqual(await end, { value: undefined, done: true });
  assert.deepEqual(await orderly.next(), { value: undefined, done: true });

  const broken = inboxOf(1, "fail").inbox;
  const failure = assert.rejects(broken.next(), /broken/);
  broken.end(new Error("broken"));
  await failure;
  assert.deepEqual(await broken.next(), { value: undefined, done: true }, "the error comes once");
});

Deno.test("inbox: after the end an item leaves at once", () => {
  const { inbox, left, dropped } = inboxOf(1, "fail");
  inbox.end();
  assert.equal(inbox.push(9), true);
  assert.deepEqual([left, dropped, inbox.length], [[9], [], 0]);
});

Deno.test("inbox: a second consumer is refused, the first still gets its item", async () => {
  const { inbox } = inboxOf(1, "fail");
  const first = inbox.next();
  await assert.rejects(inbox.next(), { code: "invalid" });
  inbox.push(1);
  assert.deepEqual(await first, { value: 1, done: false });
});

Deno.test("inbox: clear tells the owner of every item that leaves", () => {
  const { inbox, left } = inboxOf(9, "fail");
  for (let i = 1; i <= 4; i++) inbox.push(i);
  assert.equal(inbox.take(), 1);
  inbox.clear();
  assert.deepEqual(left, [1, 2, 3, 4]);
  assert.equal(inbox.take(), undefined);
});

Deno.test("inbox: a falsy item is an item", async () => {
  const { inbox } = inboxOf(2, "fail");
  inbox.push(0);
  assert.deepEqual(await inbox.next(), { value: 0, done: false });
});
