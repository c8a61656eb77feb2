import assert from "node:assert/strict";
import { createRing, ringBytes, RingConsumer, RingProducer } from "@patchbay/core";
import { Patience } from "./patience.ts";

/** A ring, and a patience whose giving away of the core is told. */
function waiting(onYield: (producer: RingProducer) => void) {
  const memory = new ArrayBuffer(ringBytes(1024));
  createRing(memory, 1024);
  const producer = RingProducer.attach(memory);
  const consumer = RingConsumer.attach(memory);
  let yields = 0;
  const patience = new Patience(consumer, () => {
    yields++;
    onYield(producer);
  });
  const take = () => {
    consumer.peek();
    consumer.release();
    patience.found();
  };
  return { producer, patience, take, yields: () => yields };
}

function send(producer: RingProducer): void {
  producer.claim(8);
  producer.commit(8);
}

function busyFor(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

Deno.test("patience: a frame that is there is found at once", () => {
  const { producer, patience, yields } = waiting(() => {});
  send(producer);
  let idle = 0;
  assert.equal(patience.look(() => idle++), true);
  assert.deepEqual([idle, yields()], [0, 0]);
});

Deno.test("patience: what comes while the core was given away is found, time and again", () => {
  const { patience, take, yields } = waiting((producer) => {
    busyFor(0.01);
    send(producer);
  });
  let idle = 0;
  for (let n = 1; n <= 20; n++) {
    assert.equal(patience.look(() => idle++), true);
    assert.deepEqual([idle, yields()], [n, n]);
    take();
  }
});

Deno.test("patience: with nothing to come it is over in the end, and begins anew after sleeping", () => {
  const { patience } = waiting(() => {});
  patience.found();
  let looks = 0;
  do assert.equal(patience.look(() => {}), false); while (!patience.over && ++looks < 1e6);
  assert.ok(patience.over, "it has no end");
  patience.begin();
  assert.equal(patience.over, false);
});

Deno.test("patience: where others take the core it is not given away again, and sleep comes at once", () => {
  const { producer, patience, take, yields } = waiting(() => busyFor(5));
  patience.found();
  assert.equal(patience.look(() => {}), false);
  assert.equal(yields(), 1);
  assert.equal(patience.over, true);
  patience.begin();
  assert.equal(patience.look(() => {}), false);
  assert.equal(yields(), 1, "once was enough");
  send(producer);
  assert.equal(patience.look(() => {}), true);
  take();
});

Deno.test("patience: it is tried again after four times as long as the core was away", () => {
  const aways: [from: number, to: number][] = [];
  const { patience } = waiting(() => {
    const from = performance.now();
    busyFor(5);
    aways.push([from, performance.now()]);
  });
  for (const end = performance.now() + 30_000; aways.length < 3;) {
    assert.ok(performance.now() < end, "never again");
    patience.look(() => {});
  }
  for (const at of [1, 2]) {
    const [from, to] = aways[at - 1];
    assert.ok(aways[at][0] - to >= Math.min(320, 4 * (to - from)), String(aways));
  }
});

Deno.test("patience: a peer that had to be woken gets the core at once", () => {
  let looked = false;
  const { producer, patience, yields } = waiting((producer) => {
    looked = true;
    send(producer);
  });
  patience.expectAnswer();
  assert.equal(patience.look(() => {}), true);
  assert.deepEqual([looked, yields()], [true, 1]);
  assert.ok(producer.used > 0);
});
