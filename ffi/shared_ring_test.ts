/**
 * The ring of core in shared memory, between processes, with producers that are killed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createRing, ringBytes, RingConsumer, RingProducer } from "../core/ring.ts";
import { requireOrIgnore } from "../tests/require.ts";
import { Doorbell, DoorbellReader, libcAvailability, openLibc, SharedMemory } from "./mod.ts";
import { isRight, lengthOf, wordsOf } from "./testdata/ring_messages.ts";
import { assertNothingLeft, Child, freshName } from "./testdata/spawn.ts";

const PRODUCER = new URL("./testdata/ring_producer.ts", import.meta.url);
const SLEEPER = new URL("./testdata/ring_sleeper.ts", import.meta.url);
const CAPACITY = 1 << 17;
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

/** A ring in a new segment, and its reader, who checks every message. */
function place() {
  const libc = openLibc();
  const name = freshName();
  const memory = SharedMemory.create(name, ringBytes(CAPACITY), { libc });
  createRing(memory.buffer, CAPACITY, { epoch: 3 });
  const consumer = RingConsumer.attach(memory.buffer, { epoch: 3 });
  const words = wordsOf(consumer.bytes);
  let next = 0;
  return {
    name,
    consumer,
    libc,
    get next() {
      return next;
    },
    /** Reads one, if there is one. */
    read(): boolean {
      const at = consumer.peek();
      if (at < 0) return false;
      if (
        consumer.type !== next || consumer.length !== lengthOf(next) ||
        !isRight(consumer.bytes, words, at, next)
      ) assert.fail(`message ${next} came as ${consumer.type}, ${consumer.length} bytes`);
      consumer.release();
      next++;
      return true;
    },
    [Symbol.dispose]() {
      memory.unlink();
      memory[Symbol.dispose]();
      libc[Symbol.dispose]();
    },
  };
}

Deno.test({
  name: here.name("shared ring: 2,000,000 messages of 4 to 512 bytes, and none is wrong"),
  ignore: here.ignore,
  fn: async () => {
    const COUNT = 2_000_000;
    {
      using ring = place();
      await using child = new Child(PRODUCER, [ring.name, `${COUNT}`]);
      assert.equal(await child.line(), "from 0");
      for (let idle = 0; ring.next < COUNT;) {
        if (ring.read()) idle = 0;
        // A child that has died is not waited for.
        else if (++idle % 100_000 === 0) await new Promise((resolve) => setTimeout(resolve));
        else ring.libc.schedYield();
        assert.ok(idle < 1e8, "the producer is gone");
      }
      assert.equal(await child.line(), "done");
      assert.equal(await child.end(), 0);
      assert.equal(ring.consumer.used, 0);
    }
    assertNothingLeft();
  },
});

Deno.test({
  name: here.name(
    "shared ring: a producer killed 20 times at random leaves whole messages, no gap",
  ),
  ignore: here.ignore,
  fn: async () => {
    {
      using ring = place();
      for (let round = 0; round < 20; round++) {
        const first = ring.next;
        await using child = new Child(PRODUCER, [ring.name, "100000000"]);
        assert.equal(await child.line(), `from ${first}`);
        const untilMs = performance.now() + Math.random() * 10;
        while (performance.now() < untilMs) if (!ring.read()) ring.libc.schedYield();
        // In some rounds it is killed while the ring is full and it waits for room.
        if (round % 4 === 3) await new Promise((resolve) => setTimeout(resolve, 5));
        child.kill();
        await child.end();
        while (ring.read());
        assert.equal(ring.consumer.used, 0);
      }
      assert.ok(ring.next > 20, `${ring.next}`);
    }
    assertNothingLeft();
  },
});

Deno.test({
  name: here.name("shared ring: two sides that sleep whenever they may lose no wake-up"),
  ignore: here.ignore,
  fn: async () => {
    const COUNT = 30_000;
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    try {
      const name = freshName();
      // Small, so that both sides find it empty and full all the time.
      using memory = SharedMemory.create(name, ringBytes(64));
      createRing(memory.buffer, 64, { epoch: 3 });
      const producer = RingProducer.attach(memory.buffer, { epoch: 3 });
      using listener = Deno.listen({ transport: "unix", path: `${folder}/producer` });
      await using child = new Child(SLEEPER, [name, folder, `${COUNT}`]);
      using ear = new DoorbellReader(await listener.accept());
      assert.equal(await child.line(), "listening");
      memory.unlink();
      using bell = Doorbell.connect(`${folder}/consumer`);
      let sleeps = 0;
      for (let n = 0; n < COUNT;) {
        const length = n % 25;
        if (producer.claim(length) >= 0) {
          producer.commit(length, n++);
          if (producer.wakes()) bell.ring();
        } else if (producer.sleep(length)) {
          sleeps++;
          // A lost wake-up would leave both asleep, until the watchdog kills the child.
          assert.equal(await ear.wait(), "rung", `at message ${n}`);
          producer.awake();
        }
      }
      assert.equal(await child.line(), "slept true");
      assert.ok(sleeps > 0);
      assert.equal(await child.end(), 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    assertNothingLeft();
  },
});
