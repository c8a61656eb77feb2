/**
 * One link over two rings, its peer played by hand: what it makes of its own messages, and of a peer
 * that lies.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  createRing,
  type LinkHandler,
  type PatchbayError,
  ringBytes,
  RingConsumer,
  RingProducer,
} from "@patchbay/core";
import { RingLink } from "./ring_link.ts";

const CAPACITY = 1024 * 1024;

/** A link, and the far ends of its rings and its socket. */
async function played(handler: Partial<LinkHandler> = {}) {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = `${parent}/control.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const [conn, far] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  listener.close();
  const [out, back] = [new ArrayBuffer(ringBytes(CAPACITY)), new ArrayBuffer(ringBytes(CAPACITY))];
  for (const memory of [out, back]) createRing(memory, CAPACITY);
  const link = new RingLink({
    conn,
    producer: RingProducer.attach(out),
    consumer: RingConsumer.attach(back),
    yieldCore() {},
    free() {},
  });
  const broken = Promise.withResolvers<PatchbayError>();
  const gone = Promise.withResolvers<void>();
  link.start({
    frame() {},
    batchEnd() {},
    drained() {},
    malformed: broken.resolve,
    closed: () => gone.resolve(),
    ...handler,
  });
  return {
    link,
    out,
    back,
    taken: RingConsumer.attach(out),
    given: RingProducer.attach(back),
    broken: broken.promise,
    gone: gone.promise,
    async [Symbol.asyncDispose]() {
      await link.close(true);
      far.close();
      await Deno.remove(parent, { recursive: true });
    },
  };
}

function send(link: RingLink, bytes: number, fill: number, between = () => {}): void {
  const at = link.claim(bytes, true);
  link.buffer.fill(fill, at, at + bytes);
  between();
  link.commit(bytes);
}

/** The lengths and first bytes of what has come. */
function drain(consumer: RingConsumer, most = Infinity): string[] {
  const found: string[] = [];
  while (found.length < most) {
    const at = consumer.peek();
    if (at < 0) break;
    found.push(`${consumer.length}x${consumer.bytes[at]}`);
    consumer.release();
  }
  return found;
}

Deno.test("ring link: a frame that found room after all is not sent a second time", async () => {
  await using there = await played();
  const { link, taken } = there;
  for (let n = 0; n < 3; n++) send(link, 256 * 1024, 1);
  // No room when it is claimed, and room when it is committed.
  send(link, 256 * 1024, 2, () => assert.equal(drain(taken, 2).length, 2));
  assert.equal(link.buffered, 0);
  let small = 0;
  while (link.buffered === 0) {
    send(link, 20_000, 3);
    small++;
  }
  assert.equal(link.buffered, 20_000);
  const found = drain(taken);
  link.flush();
  found.push(...drain(taken));
  assert.deepEqual(found, ["262144x1", "262144x2", ...new Array(small).fill("20000x3")]);
  assert.equal(link.buffered, 0);
});

/** Waits until something is so. */
async function until(what: string, so: () => boolean): Promise<void> {
  const start = performance.now();
  while (!so()) {
    assert.ok(performance.now() - start < 30_000, `${what}: still waiting`);
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** The word of a ring's header that says that its reader sleeps. */
const SLEEPS = 384 / 4;

Deno.test("ring link: who waits for an answer need not be woken by it, however soon it comes", async () => {
  let came = 0;
  let expectsAnswer = true;
  await using there = await played({
    frame: () => void came++,
    get expectsAnswer() {
      return expectsAnswer;
    },
  });
  const { link, taken, given } = there;
  const flags = new Int32Array(there.back);
  const asleep = () => Atomics.load(flags, SLEEPS) === 1;
  const seen: boolean[] = [];
  let atRing = () => {};
  link.ringWith({
    ring() {
      seen.push(asleep());
      atRing();
    },
    [Symbol.dispose]() {},
  });
  for (expectsAnswer of [true, false]) {
    for (const answers of [true, false]) {
      await until("sleep", asleep);
      drain(taken);
      assert.ok(taken.sleep());
      const before = came;
      // The peer shares the core, and answers before this side goes on: nobody rings.
      atRing = () => {
        if (!answers) return;
        given.claim(8);
        given.commit(8);
        assert.equal(given.wakes(), false);
      };
      send(link, 100, 1);
      if (answers) await until("the answer", () => came > before);
    }
  }
  assert.deepEqual(seen, [false, false, false, false]);
  await until("sleep", asleep);
  assert.equal(came, 2);
});
