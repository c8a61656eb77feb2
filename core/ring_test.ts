/** @module */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "./errors.ts";
import { createRing, ringBytes, RingConsumer, type RingPlace, RingProducer } from "./ring.ts";

const HEAD = 128 / 4;
const TAIL = 256 / 4;
const DATA = 640 / 4;

/** A new ring and both its sides; its counters can begin anywhere. */
function ringOf(capacity: number, place: RingPlace & { counter?: number } = {}) {
  const memory = new SharedArrayBuffer((place.offset ?? 0) + ringBytes(capacity));
  createRing(memory, capacity, place);
  const words = new Int32Array(memory, place.offset);
  words[HEAD] = words[TAIL] = place.counter ?? 0;
  return {
    memory,
    words,
    producer: RingProducer.attach(memory, place),
    consumer: RingConsumer.attach(memory, place),
  };
}

function send(producer: RingProducer, message: Uint8Array, type = 0): boolean {
  const at = producer.claim(message.length);
  if (at < 0) return false;
  producer.bytes.set(message, at);
  producer.commit(message.length, type);
  return true;
}

function receive(consumer: RingConsumer): { bytes: number[]; type: number } | undefined {
  const at = consumer.peek();
  if (at < 0) return undefined;
  const bytes = [...consumer.bytes.subarray(at, at + consumer.length)];
  const { type } = consumer;
  consumer.release();
  return { bytes, type };
}

function code(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    assert.ok(error instanceof PatchbayError, String(error));
    return error.code;
  }
  return "none";
}

/** A message of that length that is unlike others. */
function messageOf(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) & 0xff);
}

Deno.test("ring: what goes in comes out, in order, with its type", () => {
  const { producer, consumer } = ringOf(256);
  assert.equal(consumer.peek(), -1);
  consumer.release();
  assert.ok(send(producer, messageOf(0, 1), -7));
  assert.ok(send(producer, messageOf(13, 2), 2 ** 31 - 1));
  assert.equal(consumer.peek(), consumer.peek(), "it stays until it is released");
  assert.deepEqual(receive(consumer), { bytes: [], type: -7 });
  assert.deepEqual(receive(consumer), { bytes: [...messageOf(13, 2)], type: 2 ** 31 - 1 });
  assert.equal(receive(consumer), undefined);
  assert.equal(consumer.used, 0);
  assert.equal(producer.used, 0);
});

Deno.test("ring: nothing is seen before commit; abort and a new claim forget the old one", () => {
  const { producer, consumer, words } = ringOf(64);
  producer.bytes.fill(0xff, producer.claim(24), 32);
  assert.equal(consumer.peek(), -1);
  producer.abort();
  assert.equal(code(() => producer.commit(1)), "invalid");
  producer.claim(8);
  const at = producer.claim(24);
  assert.equal(at, 8);
  assert.equal(code(() => producer.commit(25)), "invalid");
  assert.equal(code(() => producer.commit(-1)), "invalid");
  assert.equal(code(() => producer.commit(NaN)), "invalid");
  assert.equal(words[HEAD], 0);
  producer.commit(2, 5);
  assert.equal(words[HEAD], 2, "a short message takes only its own room");
  assert.deepEqual(receive(consumer), { bytes: [0xff, 0xff], type: 5 });
});

Deno.test("ring: the longest message goes through from every position; a longer one is refused", () => {
  const { producer, consumer } = ringOf(64);
  assert.equal(producer.maxBytes, 24);
  for (let round = 0; round < 40; round++) {
    assert.ok(send(producer, messageOf(24, round)), `round ${round}`);
    assert.deepEqual(receive(consumer)?.bytes, [...messageOf(24, round)]);
    assert.ok(send(producer, messageOf(round % 8, round)));
    assert.deepEqual(receive(consumer)?.bytes, [...messageOf(round % 8, round)]);
  }
  assert.throws(() => producer.claim(25), (error) => {
    assert.ok(error instanceof PatchbayError);
    assert.equal(error.code, "too_large");
    assert.deepEqual(error.details, { size: 25, max: 24 });
    return true;
  });
  assert.equal(code(() => producer.claim(-1)), "invalid");
  assert.equal(code(() => producer.claim(NaN)), "invalid");
});

Deno.test("ring: full is full to the last byte, and one release makes room", () => {
  const { producer, consumer } = ringOf(64);
  for (let i = 0; i < 4; i++) assert.ok(send(producer, messageOf(8, i)));
  assert.equal(producer.used, 64);
  assert.equal(producer.claim(0), -1);
  assert.equal(code(() => producer.commit(0)), "invalid");
  receive(consumer);
  assert.ok(send(producer, messageOf(8, 4)));
  for (let i = 1; i <= 4; i++) assert.deepEqual(receive(consumer)?.bytes, [...messageOf(8, i)]);
});

Deno.test("ring: random operations are those of a queue", () => {
  const operation = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("send"), n: fc.nat(300) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("receive"), n: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("abort"), n: fc.nat(300) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("short"), n: fc.nat(300) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("producer dies"), n: fc.nat(300) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("consumer dies"), n: fc.nat(300) }) },
  );
  // Counters begin where they wrap, too: at 2^31 and at 2^32 units.
  const counter = fc.oneof(fc.constantFrom(0, -5, 2 ** 31 - 3, -(2 ** 31)), fc.integer());
  fc.assert(
    fc.property(
      fc.constantFrom(64, 128, 512),
      counter,
      fc.array(operation, { maxLength: 200 }),
      (capacity, counter, operations) => {
        const place = { offset: 128, counter };
        const made = ringOf(capacity, place);
        let { producer, consumer } = made;
        const model: { bytes: number[]; type: number }[] = [];
        let count = 0;
        for (const { do: what, n } of operations) {
          const length = n % (producer.maxBytes + 1);
          const message = messageOf(length, ++count);
          switch (what) {
            case "send":
            case "short": {
              const at = producer.claim(length);
              if (at < 0) {
                assert.ok(producer.used > 0, "an empty ring has room for every message");
                break;
              }
              assert.ok(at >= 8 && at % 8 === 0 && at + length <= capacity);
              const used = what === "send" ? length : length >> 1;
              producer.bytes.set(message.subarray(0, used), at);
              producer.commit(used, count);
              model.push({ bytes: [...message.subarray(0, used)], type: count });
              break;
            }
            case "receive":
              for (let i = 0; i <= n; i++) assert.deepEqual(receive(consumer), model.shift());
              break;
            case "abort":
              if (producer.claim(length) >= 0) producer.abort();
              break;
            case "producer dies": {
              const at = producer.claim(length);
              if (at >= 0) producer.bytes.fill(0xee, at, at + length);
              producer = RingProducer.attach(made.memory, place);
              break;
            }
            case "consumer dies":
              consumer.peek();
              consumer = RingConsumer.attach(made.memory, place);
              break;
          }
          assert.equal(producer.used, consumer.used);
        }
        for (const expected of model) assert.deepEqual(receive(consumer), expected);
        assert.equal(receive(consumer), undefined);
        assert.ok(new Uint8Array(made.memory, 0, 128).every((byte) => byte === 0));
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("ring: whatever the other side writes, it stays in its bounds and ends with protocol", () => {
  const GUARD = 256;
  const corruption = fc.record({
    // Words of the header and the first of the data: those are where messages begin.
    at: fc.oneof(
      fc.constantFrom(HEAD, TAIL),
      fc.nat(DATA + 15),
    ),
    value: fc.oneof(
      fc.constantFrom(-1, 0, 1, 7, 8, 9, 24, 25, 2 ** 31 - 1, -(2 ** 31), -8),
      fc.integer(),
      fc.integer({ min: -20, max: 80 }),
    ),
  });
  const step = fc.oneof(
    fc.record({ corrupt: corruption }),
    fc.record({ send: fc.nat(24) }),
    fc.record({ receive: fc.boolean() }),
  );
  let broken = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const memory = new SharedArrayBuffer(GUARD + ringBytes(64) + GUARD);
      const all = new Uint8Array(memory).fill(0xab);
      createRing(memory, 64, { offset: GUARD });
      const words = new Int32Array(memory, GUARD);
      const producer = RingProducer.attach(memory, { offset: GUARD });
      const consumer = RingConsumer.attach(memory, { offset: GUARD });
      const failed = new Set<unknown>();
      const attempt = (side: string, use: () => void) => {
        const before = failed.has(side);
        const seen = code(use);
        assert.ok(seen === "none" || seen === "protocol", seen);
        if (before) assert.equal(seen, "protocol", `${side} is broken for good`);
        if (seen === "protocol") {
          failed.add(side);
          broken++;
        }
      };
      for (const each of steps) {
        if ("corrupt" in each) words[each.corrupt.at] = each.corrupt.value;
        else if ("send" in each) {
          attempt("producer", () => {
            const at = producer.claim(each.send);
            assert.ok(at === -1 || (at >= 8 && at + each.send <= 64));
            if (at < 0) return;
            producer.bytes.fill(1, at, at + each.send);
            producer.commit(each.send);
          });
        } else {
          // More often than there can be messages: it must not go round for ever.
          for (let i = 0; i < 12; i++) {
            attempt("consumer", () => {
              const at = consumer.peek();
              assert.ok(at === -1 || (at >= 8 && at + consumer.length <= 64));
              consumer.release();
            });
          }
        }
      }
      assert.ok(all.subarray(0, GUARD).every((byte) => byte === 0xab), "before the ring");
      assert.ok(all.subarray(-GUARD).every((byte) => byte === 0xab), "behind the ring");
    }),
    { numRuns: 500 },
  );
  assert.ok(broken > 100, `only ${broken} were noticed: the test has no teeth`);
});

Deno.test("ring: a head that comes back to where it was does not heal a broken ring", () => {
  const memory = new SharedArrayBuffer(ringBytes(64));
  createRing(memory, 64);
  const words = new Int32Array(memory);
  const consumer = RingConsumer.attach(memory);
  words[HEAD] = -1;
  assert.throws(() => consumer.peek(), { code: "protocol" });
  words[HEAD] = 0;
  assert.throws(() => consumer.peek(), { code: "protocol" });
});

Deno.test("ring: every kind of nonsense in a message is named", () => {
  const cases: [name: string, spoil: (words: Int32Array) => void, told: RegExp][] = [
    ["a negative length", (words) => words[DATA] = -2, /message of -2 bytes/],
    ["a length past the ring", (words) => words[DATA] = 2 ** 31 - 1, /message of 2147483647 bytes/],
    ["a length past the head", (words) => words[DATA] = 17, /message of 17 bytes/],
    ["a wrap at the start", (words) => words[DATA] = -1, /message of -1 bytes/],
    ["a head before the tail", (words) => words[HEAD] = -1, /head is -8 bytes past its tail/],
    ["a head too far", (words) => words[HEAD] = 9, /head is 72 bytes past its tail, in 64/],
  ];
  for (const [name, spoil, told] of cases) {
    const { producer, consumer, words } = ringOf(64);
    send(producer, messageOf(16, 1));
    spoil(words);
    let first: unknown;
    for (let i = 0; i < 3; i++) {
      assert.throws(() => consumer.peek(), (error) => {
        assert.ok(error instanceof PatchbayError);
        assert.equal(error.code, "protocol", name);
        assert.match(error.message, told);
        assert.equal(error, first ??= error, "the same error each time");
        return true;
      });
    }
    consumer.release();
  }
  {
    // A wrap mark, 16 bytes before the end, that becomes a message of 24 bytes.
    const { producer, consumer, words } = ringOf(64);
    for (let i = 0; i < 3; i++) {
      send(producer, messageOf(8, i));
      receive(consumer);
    }
    send(producer, messageOf(24, 1));
    assert.equal(words[DATA + 12], -1);
    words[DATA + 12] = 24;
    assert.equal(code(() => consumer.peek()), "protocol");
  }
  {
    const { producer, consumer, words } = ringOf(64);
    send(producer, messageOf(8, 1));
    receive(consumer);
    assert.equal(producer.used, 0);
    words[TAIL] = 0;
    assert.equal(code(() => producer.used), "protocol", "a tail that goes back");
  }
  const { producer, words } = ringOf(64);
  send(producer, messageOf(24, 1));
  send(producer, messageOf(24, 1));
  words[TAIL] = 100;
  assert.equal(code(() => producer.claim(8)), "protocol");
  words[TAIL] = 0;
  assert.equal(code(() => producer.claim(8)), "protocol", "once broken, always broken");
});

Deno.test("ring: a wrong magic number, version, size, epoch or counter is refused with the reason", () => {
  const cases: [word: number, value: number, told: RegExp][] = [
    [0, 0, /wrong magic number: 0/],
    [1, 2, /wrong version: 2, and 1 was expected/],
    [2, 128, /wrong size: 128 bytes at 0 of 704/],
    [2, 0, /wrong size: 0 bytes/],
    [2, -64, /wrong size: -64 bytes/],
    [2, 63, /wrong size: 63 bytes/],
    [3, 8, /wrong epoch: 8, and 7 was expected/],
    [HEAD, 9, /head is 72 bytes past its tail/],
    [TAIL, 1, /head is -8 bytes past its tail/],
  ];
  for (const [word, value, told] of cases) {
    const { memory, words } = ringOf(64, { epoch: 7 });
    words[word] = value;
    for (const side of [RingProducer, RingConsumer]) {
      assert.throws(() => side.attach(memory, { epoch: 7 }), (error) => {
        assert.ok(error instanceof PatchbayError);
        assert.equal(error.code, "protocol");
        assert.match(error.message, told);
        return true;
      });
    }
  }
  const { memory } = ringOf(64);
  assert.match(
    (() => {
      try {
        RingProducer.attach(memory, { capacity: 128 });
      } catch (error) {
        return (error as PatchbayError).message;
      }
      return "";
    })(),
    /wrong size: 64, and 128 was expected/,
  );
});

Deno.test("ring: what does not fit is invalid", () => {
  for (const capacity of [0, 32, 63, 96, 2 ** 31, NaN, -64, 64.5]) {
    assert.equal(code(() => createRing(new ArrayBuffer(4096), capacity)), "invalid");
  }
  assert.equal(code(() => createRing(new ArrayBuffer(ringBytes(64) - 1), 64)), "invalid");
  for (const offset of [-8, 4, 8, NaN, 1e9]) {
    assert.equal(code(() => createRing(new ArrayBuffer(ringBytes(64)), 64, { offset })), "invalid");
    assert.equal(code(() => RingProducer.attach(new ArrayBuffer(640), { offset })), "invalid");
  }
  createRing(new ArrayBuffer(ringBytes(64)), 64);
});

Deno.test("ring: flags: set, look again, and exactly one wakes", () => {
  const { producer, consumer } = ringOf(64);
  assert.equal(producer.wakes(), false);
  assert.equal(consumer.sleep(), true);
  send(producer, messageOf(8, 1));
  assert.equal(producer.wakes(), true);
  assert.equal(producer.wakes(), false, "once for each sleep");
  assert.equal(consumer.sleep(), false, "there is one: it must not sleep");
  assert.equal(producer.wakes(), false, "and has taken its flag down");

  while (send(producer, messageOf(8, 1)));
  assert.equal(producer.sleep(8), true);
  receive(consumer);
  assert.equal(consumer.wakes(), true);
  assert.equal(consumer.wakes(), false);
  assert.equal(producer.sleep(8), false, "there is room");
  assert.equal(consumer.wakes(), false);
  assert.equal(code(() => producer.commit(0)), "invalid", "looking claims nothing");
  assert.equal(consumer.sleep(), false);
  while (receive(consumer) !== undefined);
  consumer.sleep();
  consumer.awake();
  producer.awake();
  assert.equal(producer.wakes(), false);
});

Deno.test("ring: after its memory was closed everything says so", () => {
  const memory = new ArrayBuffer(ringBytes(64));
  createRing(memory, 64);
  const producer = RingProducer.attach(memory);
  const consumer = RingConsumer.attach(memory);
  send(producer, messageOf(8, 1));
  consumer.peek();
  producer.claim(8);
  memory.transfer(0);
  const uses = [
    () => producer.commit(8),
    () => producer.wakes(),
    () => producer.sleep(8),
    () => producer.awake(),
    () => producer.used,
    () => consumer.peek(),
    () => consumer.release(),
    () => consumer.wakes(),
    () => consumer.sleep(),
    () => consumer.awake(),
    () => consumer.used,
  ];
  for (const use of uses) assert.equal(code(use), "closed", String(use));
});

Deno.test("ring: a worker echoes 50,000 messages of every length through a SharedArrayBuffer", async () => {
  const CAPACITY = 4096;
  const COUNT = 50_000;
  const memory = new SharedArrayBuffer(2 * ringBytes(CAPACITY));
  const back = ringBytes(CAPACITY);
  createRing(memory, CAPACITY);
  createRing(memory, CAPACITY, { offset: back });
  const requests = RingProducer.attach(memory);
  const answers = RingConsumer.attach(memory, { offset: back });
  const worker = new Worker(new URL("./testdata/ring_worker.ts", import.meta.url), {
    type: "module",
  });
  const done = new Promise<number>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
  });
  worker.postMessage({ memory, back });
  let sent = 0;
  let seen = 0;
  let idle = 0;
  while (seen < COUNT) {
    while (sent < COUNT && send(requests, messageOf(sent % 97, sent), sent)) sent++;
    const at = answers.peek();
    if (at < 0) {
      // The worker may need this core.
      if (++idle % 100 === 0) await new Promise((resolve) => setTimeout(resolve));
      continue;
    }
    if (answers.type !== seen || answers.length !== seen % 97) assert.fail(`message ${seen}`);
    for (let i = 0; i < answers.length; i++) {
      if (answers.bytes[at + i] !== ((seen * 31 + i * 7) & 0xff)) assert.fail(`byte ${i}`);
    }
    answers.release();
    seen++;
  }
  assert.ok(send(requests, messageOf(0, 0), -1));
  assert.equal(await done, COUNT);
  worker.terminate();
});

Deno.test("ring: what was skipped keeps its room until one release gives back all", () => {
  const memory = new SharedArrayBuffer(ringBytes(64));
  createRing(memory, 64);
  const producer = RingProducer.attach(memory);
  const consumer = RingConsumer.attach(memory);
  for (let n = 0; n < 4; n++) {
    producer.bytes[producer.claim(8)] = n;
    producer.commit(8);
  }
  assert.equal(producer.claim(8), -1);
  for (let n = 0; n < 3; n++) {
    assert.equal(consumer.bytes[consumer.peek()], n);
    consumer.skip();
    assert.equal(consumer.kept, 16 * (n + 1));
    assert.equal(producer.claim(8), -1, "none of it was given back");
  }
  consumer.release();
  assert.equal(consumer.kept, 0);
  for (let n = 4; n < 7; n++) {
    producer.bytes[producer.claim(8)] = n;
    producer.commit(8);
  }
  assert.equal(producer.claim(8), -1);
  for (let n = 3; n < 7; n++) {
    assert.equal(consumer.bytes[consumer.peek()], n);
    consumer.release();
  }
  assert.equal(consumer.peek(), -1);
  consumer.skip();
  consumer.release();
  assert.equal(consumer.kept, 0);
});

Deno.test("ring: one that was broken stays so, even if its head looks empty again", () => {
  const memory = new SharedArrayBuffer(ringBytes(64));
  createRing(memory, 64);
  const consumer = RingConsumer.attach(memory);
  const header = new Int32Array(memory);
  Atomics.store(header, 32, -1);
  assert.throws(() => consumer.peek(), { code: "protocol" });
  Atomics.store(header, 32, 0);
  assert.throws(() => consumer.peek(), { code: "protocol" });
});
