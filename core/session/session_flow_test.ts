import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "../errors.ts";
import type { EventContext } from "../listener.ts";
import { FRAGMENT_BYTES, HEADER_BYTES, Kind } from "./envelope.ts";
import { call, Pair, settled, TestCall, turn, until } from "./testing/rig.ts";

const WINDOW = 64 * 1024;
/** What a receiver may have taken up without returning credit for it. */
const CREDIT_STEP = 30_696;
const MIB = 1024 * 1024;

/** Bytes that tell where they come from: a number, then a pattern. */
function numbered(n: number, size: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(4, size));
  new DataView(bytes.buffer).setUint32(0, n);
  for (let i = 4; i < bytes.length; i++) bytes[i] = (n + i) & 0xff;
  return bytes;
}

function numberOf(bytes: unknown): number {
  const { buffer, byteOffset } = bytes as Uint8Array;
  return new DataView(buffer, byteOffset).getUint32(0);
}

function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Nothing waits in either direction, and no credit was lost on the way. */
function atRest({ dialled, accepted }: Pair): void {
  for (const { sender: { outbox }, outbound } of [dialled, accepted]) {
    assert.ok(outbox.idle, "something is still queued");
    assert.equal(outbox.queuedBytes, 0);
    assert.ok(outbox.outstanding < CREDIT_STEP, `${outbox.outstanding} bytes were never credited`);
    assert.equal(outbound.pending, 0);
  }
}

for (const bulk of [0, 64, 128]) {
  for (const size of [300, 4000, 16_000, 40_000, 300_000]) {
    Deno.test(`an urgent call waits behind at most 64 KiB: bulk of ${size} bytes at ${bulk}`, async () => {
      await using pair = await new Pair({ maxQueueBytes: 256 * MIB }).ready();
      let before = 0;
      let urgentAfter: number | undefined;
      pair.far.serve("bulk", () => null);
      pair.far.serve("urgent", () => null);
      pair.farLink.onRead = (frame) => {
        const { 0: kind, 3: priority } = frame;
        if (kind === Kind.request && priority === 255) urgentAfter ??= before;
        else if (kind >= 16 || kind === Kind.fragment) before += frame.length;
      };
      pair.farLink.pause();
      const value = new Uint8Array(size);
      const calls = Array.from(
        { length: Math.ceil(MIB / 4 / size) + 4 },
        () => call(pair.dialled, "bulk", value, { priority: bulk }),
      );
      for (let round = 0; round < 3; round++) {
        // Once with nothing read yet, then in the middle of it.
        for (let i = 0; i < round * 40; i++) {
          pair.farLink.step();
          await turn();
        }
        before = 0;
        urgentAfter = undefined;
        const urgent = call(pair.dialled, "urgent", round, { priority: 255 });
        while (urgentAfter === undefined) {
          pair.farLink.step();
          await turn();
        }
        assert.ok(urgentAfter <= WINDOW, `${urgentAfter} bytes went before it`);
        await settled("the urgent call", urgent);
      }
      pair.farLink.resume();
      await settled("the bulk", Promise.all(calls));
      atRest(pair);
    });
  }
}

Deno.test("an urgent shout overtakes what waits for the same listener", async () => {
  await using pair = await new Pair().ready();
  const heard: number[] = [];
  await pair.listen("**", (value) => void heard.push(numberOf(value)));
  const bulk = pair.far.speak("bulk");
  const urgent = pair.far.speak("urgent");
  pair.nearLink.pause();
  for (let n = 0; n < 100; n++) void bulk.shout(numbered(n, 5000), 0);
  void urgent.shout(numbered(1000, 10), 255);
  pair.nearLink.resume();
  await until("all to be heard", () => heard.length === 101);
  assert.ok(heard.indexOf(1000) <= WINDOW / 5000, `it came as number ${heard.indexOf(1000)}`);
  heard.splice(heard.indexOf(1000), 1);
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, n) => n));
});

Deno.test("large messages come whole, and higher lanes go in between", async () => {
  await using pair = await new Pair().ready();
  pair.far.serve("echo", (value) => value);
  for (const size of [MIB, 10 * MIB]) {
    let large = false;
    const bytes = numbered(7, size);
    const answer = call(pair.dialled, "echo", bytes, { priority: 0 }).then((value) => {
      large = true;
      assert.deepEqual(value, bytes);
    });
    let small = 0;
    for (; small < 20 && !large; small++) {
      await settled("a small call", call(pair.dialled, "echo", small, { priority: 200 }));
    }
    assert.ok(small >= 5, "the small calls waited for the large one");
    await settled("the large call", answer);
  }
  const over = call(pair.dialled, "echo", new Uint8Array(10 * MIB + 1));
  await assert.rejects(over, { code: "too_large", details: { size: 10 * MIB + 1, max: 10 * MIB } });
  atRest(pair);
});

Deno.test("a response over the caller's limit is an error of that call alone", async () => {
  await using pair = await new Pair({ maxMessageBytes: 1000 }).ready();
  pair.far.serve("large", () => new Uint8Array(1001));
  pair.far.serve("fits", () => new Uint8Array(1000));
  await assert.rejects(call(pair.dialled, "large", null), { code: "too_large" });
  assert.equal((await call(pair.dialled, "fits", null) as Uint8Array).length, 1000);
});

Deno.test("FIFO within one address and priority, whatever the sizes", async () => {
  const near = (limit: number) => fc.integer({ min: limit - 40, max: limit + 40 });
  const sizes = fc.oneof(fc.nat(200), near(4096), near(FRAGMENT_BYTES), near(65_536), near(8192));
  const message = fc.tuple(sizes, fc.constantFrom(0, 63, 64, 128, 255));
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 60 }), async (messages) => {
      await using pair = await new Pair().ready();
      const called: [number, number][] = [];
      const heard: [number, number][] = [];
      pair.far.serve("call", (value, context) => {
        called.push([Number(context.headers.priority), numberOf(value)]);
        return null;
      });
      await pair.listen("shout", (value, context: EventContext) => {
        heard.push([context.priority, numberOf(value)]);
      }, { maxQueue: 10_000 });
      const speaker = pair.far.speak("shout");
      const calls: Promise<unknown>[] = [];
      messages.forEach(([size, priority], n) => {
        const headers = { priority: String(priority) };
        calls.push(call(pair.dialled, "call", numbered(n, size), { priority, headers }));
        void speaker.shout(numbered(n, size), priority);
      });
      await settled("the calls", Promise.all(calls));
      await until("the shouts", () => heard.length === messages.length);
      for (const [seen, which] of [[called, "calls"], [heard, "shouts"]] as const) {
        for (const priority of new Set(messages.map(([, p]) => p))) {
          const order = seen.filter(([p]) => p === priority).map(([, n]) => n);
          assert.deepEqual(order, order.toSorted((a, b) => a - b), `${which} at ${priority}`);
        }
        assert.equal(seen.length, messages.length);
      }
      atRest(pair);
    }),
    { numRuns: 40 },
  );
});

Deno.test("the lowest lane never waits for credit that was not returned", async () => {
  // What a receiver has taken up without saying so must not keep a sender from its next frame.
  for (const priority of [0, 64, 128, 255]) {
    for (let first = 26_000; first <= 47_000; first += 250) {
      await using pair = await new Pair().ready();
      pair.far.serve("sink", () => null);
      const sizes = [first % 4000, ...Array(Math.floor(first / 4000)).fill(3970), 17_000, 10];
      const calls = sizes.map((size) =>
        call(pair.dialled, "sink", new Uint8Array(size), { priority })
      );
      await settled(`${first} bytes at ${priority}`, Promise.all(calls));
    }
  }
});

Deno.test("failing jobs return the credit they took", async () => {
  await using pair = await new Pair().ready();
  pair.far.perform(
    "fail",
    (goal) => Promise.reject(new Error(`no ${String(goal)}: ${"x".repeat(300)}`)),
    {
      retainMs: 1,
    },
  );
  for (let n = 0; n < 600; n++) {
    await assert.rejects(settled("a job", pair.execute("fail", n).result), { code: "remote" });
  }
  atRest(pair);
});

Deno.test("random traffic both ways: everything arrives, in order, and the counters agree", async () => {
  for (const seed of [1, 2, 3]) {
    const chance = random(seed * 7919);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(chance() * items.length)];
    const size = () => {
      const kind = chance();
      if (kind < 0.6) return Math.floor(chance() * 300);
      if (kind < 0.9) return Math.floor(chance() * 20_000);
      return Math.floor(chance() * 200 * 1024);
    };
    const link = { capacityBytes: 32 * 1024 + Math.floor(chance() * 128 * 1024) };
    await using pair = await new Pair({}, {}, link).ready();
    const wrong: string[] = [];
    const last = new Map<string, number>();
    const inOrder = (key: string, value: unknown) => {
      const n = numberOf(value);
      if (n <= (last.get(key) ?? -1)) wrong.push(`${key}: ${n} after ${last.get(key)}`);
      last.set(key, n);
      const bytes = value as Uint8Array;
      if (bytes.length > 4 && bytes.at(-1) !== ((n + bytes.length - 1) & 0xff)) {
        wrong.push(`${key}: ${n} is damaged`);
      }
    };
    for (const [side, name] of [[pair.near, "near"], [pair.far, "far"]] as const) {
      side.serve("a", (value, { headers }) => {
        inOrder(`${name} call ${headers.priority}`, value);
        // Some answer later, and with something of another size.
        const answer = numbered(numberOf(value), size());
        return chance() < 0.3 ? turn().then(() => answer) : answer;
      });
    }
    pair.far.perform("job", async function* (goal) {
      for (let n = 0; n < 5; n++) yield numbered(n, size());
      await turn();
      if (numberOf(goal) % 3 === 0) throw new Error("as planned");
      return goal;
    }, { maxConcurrent: 10_000, retainMs: 1 });
    let heard = 0;
    await pair.listen("s/**", (value, context) => {
      heard++;
      inOrder(`${context.address} ${context.priority}`, value);
    }, { maxQueue: 1_000_000 });
    const blocked: number[] = [];
    await pair.listen("b", async (value) => {
      if (chance() < 0.1) await turn();
      blocked.push(numberOf(value));
    }, { overflow: "block", maxQueue: 16 });
    const speakers = ["s/a", "s/b"].map((address) => pair.far.speak(address));
    const block = pair.far.speak("b");
    const priorities = [0, 64, 127, 128, 255];
    const work: Promise<unknown>[] = [];
    let shouts = 0;
    let blocks = 0;
    for (let n = 0; n < 1500; n++) {
      const priority = pick(priorities);
      const headers = { priority: String(priority) };
      const kind = chance();
      if (kind < 0.5) {
        const session = pick([pair.dialled, pair.accepted]);
        const sent = call(session, "a", numbered(n, size()), { priority, headers });
        work.push(sent.then((value) => assert.equal(numberOf(value), n)));
      } else if (kind < 0.85) {
        shouts++;
        void pick(speakers).shout(numbered(n, size()), priority);
      } else if (kind < 0.95) {
        pair.nearLink.resume();
        pair.farLink.resume();
        await settled("a blocking shout", Promise.resolve(block.shout(numbered(blocks++, size()))));
      } else {
        const job = pair.execute("job", numbered(n, size()), { priority });
        work.push(job.result.then(
          () => assert.notEqual(n % 3, 0),
          (error) => assert.equal((error as PatchbayError).message, "as planned"),
        ));
      }
      const pause = chance();
      if (pause < 0.02) pick([pair.nearLink, pair.farLink]).pause();
      else if (pause < 0.3) {
        pair.nearLink.resume();
        pair.farLink.resume();
        if (pause < 0.15) await turn();
      }
    }
    pair.nearLink.resume();
    pair.farLink.resume();
    await settled("the calls and jobs", Promise.all(work));
    await until("the shouts", () => heard === shouts && blocked.length === blocks);
    assert.deepEqual(blocked, Array.from({ length: blocks }, (_, n) => n));
    assert.deepEqual(wrong, []);
    atRest(pair);
  }
});

Deno.test("a full queue refuses with overloaded, and loses nothing that it took", async () => {
  const maxQueueBytes = 256 * 1024;
  await using pair = await new Pair({ maxQueueBytes }).ready();
  const seen: number[] = [];
  pair.far.serve("sink", (value) => {
    seen.push(numberOf(value));
    return numberOf(value);
  });
  pair.farLink.pause();
  const taken: Promise<unknown>[] = [];
  let refused = 0;
  for (let n = 0; n < 500; n++) {
    const calling = call(pair.dialled, "sink", numbered(n, 4000));
    // Whether it was refused is known at once.
    const state = await Promise.race([calling.catch((error) => error), turn()]);
    if (state instanceof PatchbayError) {
      assert.equal(state.code, "overloaded");
      assert.ok(state.remedy);
      refused++;
    } else taken.push(calling);
  }
  assert.ok(refused > 300, "it takes without end");
  assert.ok(pair.dialled.sender.outbox.queuedBytes <= maxQueueBytes + 4096);
  pair.farLink.resume();
  const answers = await settled("what was taken", Promise.all(taken));
  assert.deepEqual(answers, seen);
  assert.equal(await call(pair.dialled, "sink", numbered(9999, 10)), 9999);
  atRest(pair);
});

Deno.test("a blocked listener holds back nobody but its speaker", async () => {
  await using pair = await new Pair().ready();
  const gate = Promise.withResolvers<void>();
  const slow: number[] = [];
  await pair.listen("slow", async (value) => {
    await gate.promise;
    slow.push(value as number);
  }, { overflow: "block", maxQueue: 4 });
  let quick = 0;
  await pair.listen("quick", () => void quick++, { maxQueue: 10_000 });
  pair.far.serve("echo", (value) => value);
  const slowSpeaker = pair.far.speak("slow");
  const quickSpeaker = pair.far.speak("quick");
  let held: Promise<void> | undefined;
  let shouted = 0;
  while (held === undefined) held = slowSpeaker.shout(shouted++) as Promise<void> | undefined;
  for (let n = 0; n < 500; n++) {
    void quickSpeaker.shout(new Uint8Array(1000));
    assert.equal(await settled("a call", call(pair.dialled, "echo", n)), n);
  }
  await until("the quick listener", () => quick === 500);
  assert.equal(slow.length, 0);
  gate.resolve();
  await settled("the slow speaker to be let go", held);
  await until("the slow listener", () => slow.length === shouted);
  assert.deepEqual(slow, Array.from({ length: shouted }, (_, n) => n));
});

Deno.test("a large shout to a blocking listener resolves, sent at once or later, or cut", async () => {
  await using pair = await new Pair().ready();
  await pair.listen("large", () => {}, { overflow: "block", maxQueue: 4 });
  const speaker = pair.far.speak("large");
  for (const size of [20_000, 40_000, 100_000, MIB]) {
    await settled(`${size} bytes`, Promise.resolve(speaker.shout(new Uint8Array(size))));
  }
  pair.nearLink.pause();
  const shouted = Promise.resolve(speaker.shout(new Uint8Array(MIB)));
  pair.farLink.cut();
  await settled("the shout of a connection that was cut", shouted);
});

Deno.test("cancelling what still waits takes it back; the queue's size stays true", async () => {
  await using pair = await new Pair().ready();
  const handled: number[] = [];
  pair.far.serve("sink", (value) => {
    handled.push(numberOf(value));
    return null;
  });
  pair.farLink.pause();
  const { outbox } = pair.dialled.sender;
  // The first is partly gone, the others wait.
  const calls = [0, 1, 2, 3].map((n) =>
    new TestCall(pair.dialled, "sink", numbered(n, 300_000), { priority: 0 })
  );
  assert.ok(outbox.queuedBytes > 1_000_000);
  for (const each of [0, 1, 3]) calls[each].cancel();
  assert.ok(outbox.queuedBytes > 0 && outbox.queuedBytes < 700_000, `${outbox.queuedBytes}`);
  calls[1].cancel();
  pair.farLink.resume();
  await settled("the call that was not cancelled", calls[2].promise);
  // What had begun to leave is cancelled behind itself.
  assert.deepEqual(handled, [0, 2]);
  assert.equal(pair.dialled.outbound.pending, 0);
  await until("rest", () => outbox.idle);
  atRest(pair);
});

Deno.test("a cancel after the response is harmless, and so is one for a call that never was", async () => {
  await using pair = await new Pair().ready();
  pair.far.serve("echo", (value) => value);
  const done = new TestCall(pair.dialled, "echo", 1);
  assert.equal(await done.promise, 1);
  done.cancel();
  pair.dialled.sender.control(Kind.cancel, 4711, 0);
  assert.equal(await call(pair.dialled, "echo", 2), 2);
  assert.ok(pair.dialled.isOpen && pair.accepted.isOpen);
});

Deno.test("an abandoned job never runs on, wherever its goal was", async () => {
  for (const size of [10, 20_000, 500_000]) {
    await using pair = await new Pair().ready();
    const ends: Promise<void>[] = [];
    pair.far.perform("long", (_goal, { signal }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      ends.push(promise);
      return new Promise((_, reject) => {
        const stop = () => {
          resolve();
          reject(signal.reason);
        };
        if (signal.aborted) stop();
        else signal.addEventListener("abort", stop);
      });
    }, { retainMs: 1 });
    pair.far.serve("sink", () => null);
    pair.farLink.pause();
    void call(pair.dialled, "sink", new Uint8Array(200_000));
    const abort = new AbortController();
    const job = pair.execute("long", new Uint8Array(size), { signal: abort.signal });
    abort.abort(new Error("enough"));
    await assert.rejects(job.result, /enough/);
    pair.farLink.resume();
    await settled("a call behind it", call(pair.dialled, "sink", 1));
    await settled("the worker to stop", Promise.all(ends));
    await until("no job to run", () => pair.far.job("long")?.active === 0);
    atRest(pair);
  }
});

Deno.test("closing sends what is queued before it says goodbye", async () => {
  await using pair = await new Pair().ready();
  const heard: number[] = [];
  await pair.listen("bulk", (value) => void heard.push(numberOf(value)), { maxQueue: 10_000 });
  const speaker = pair.far.speak("bulk");
  for (let n = 0; n < 100; n++) void speaker.shout(numbered(n, 20_000));
  assert.ok(!pair.accepted.sender.outbox.idle);
  await settled("closing", pair.accepted.close());
  await settled("the other side", pair.dialled.ended);
  assert.equal(heard.length, 100);
});

Deno.test("the header is told truly: a frame's size is the header, the headers and the body", async () => {
  await using pair = await new Pair().ready();
  pair.far.serve("sink", () => null);
  const sizes: number[] = [];
  pair.farLink.onRead = (frame) => {
    if (frame[0] === Kind.request) sizes.push(frame.length);
  };
  await call(pair.dialled, "sink", new Uint8Array(10));
  await call(pair.dialled, "sink", new Uint8Array(FRAGMENT_BYTES));
  assert.deepEqual(sizes, [HEADER_BYTES + 10, HEADER_BYTES + FRAGMENT_BYTES]);
});
