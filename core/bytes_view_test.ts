import assert from "node:assert/strict";
import { BytesView } from "./bytes_view.ts";
import type { EventContext } from "./listener.ts";
import { ListenerEndpoint } from "./listener_endpoint.ts";
import { EndpointStatistics } from "./statistics.ts";
import { TimerWheel } from "./timer_wheel.ts";

const CONTEXT: EventContext = {
  address: "arm/image",
  sequence: 1,
  origin: "far",
  headers: undefined,
  priority: 128,
  retained: false,
  peer: undefined,
};

/** A listener to views, and how bytes come to it. */
function listening(
  callback: (view: BytesView) => void | Promise<void>,
  report: (error: Error) => void = () => {},
) {
  const timers = new TimerWheel();
  const endpoint = new ListenerEndpoint(
    "arm/image",
    undefined,
    callback as never,
    { views: true },
    { identity: { id: "near", module: "near", instance: "near" }, timers, report },
    new EndpointStatistics("speaker", "listener", "arm/image", "memory"),
    false,
  );
  const source = endpoint.attach();
  return {
    come: (bytes: Uint8Array) => source.deliver(bytes, CONTEXT),
    [Symbol.dispose]() {
      endpoint.end();
      timers.close();
    },
  };
}

/** Every way to get at the bytes. */
const USES: readonly ((view: BytesView) => unknown)[] = [
  (view) => view.copy(),
  (view) => view.copyTo(new Uint8Array(8)),
  (view) => view.getInt8(0),
  (view) => view.getUint8(0),
  (view) => view.getInt16(0),
  (view) => view.getUint16(0),
  (view) => view.getInt32(0),
  (view) => view.getUint32(0),
  (view) => view.getBigInt64(0),
  (view) => view.getBigUint64(0),
  (view) => view.getFloat32(0),
  (view) => view.getFloat64(0),
];

function over(view: BytesView): void {
  assert.equal(view.valid, false);
  for (const use of USES) assert.throws(() => use(view), { code: "closed" });
}

Deno.test("view: over when its callback has returned, thrown, or given its promise", async () => {
  const kept: BytesView[] = [];
  const { promise: later, resolve: go } = Promise.withResolvers<void>();
  const afterwards: unknown[] = [];
  const callbacks = [
    (view: BytesView) => void view.getUint8(0),
    (): void => {
      throw new Error("thrown");
    },
    async (view: BytesView) => {
      view.getUint8(0);
      await later;
      afterwards.push(view.valid);
      over(view);
    },
  ];
  for (const callback of callbacks) {
    using listener = listening((view) => {
      kept.push(view);
      return callback(view);
    });
    listener.come(new Uint8Array(8));
    listener.come(new Uint8Array(8));
    kept.slice(-1).forEach(over);
    go();
    await later;
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.equal(kept.length, 6);
  kept.forEach(over);
  assert.deepEqual(afterwards, [false, false]);
});

Deno.test("view: over also if the report of what its callback threw throws itself", () => {
  let kept: BytesView | undefined;
  using listener = listening((view) => {
    kept = view;
    throw new Error("thrown");
  }, (error) => {
    throw error;
  });
  assert.throws(() => listener.come(new Uint8Array(8)));
  over(kept as BytesView);
});

Deno.test("view: one within another shows its own bytes, and neither the memory round it", () => {
  const memory = new Uint8Array(32).fill(9);
  memory.set([1, 2, 3, 4], 8);
  memory.set([5, 6, 7, 8], 20);
  const seen: number[][] = [];
  const inner: { come(bytes: Uint8Array): void }[] = [];
  using outer = listening((view) => {
    if (view.getUint8(0) === 1) inner[0].come(memory.subarray(20, 24));
    seen.push([...view.copy()]);
    for (const at of [-1, 4, 1.5, NaN]) assert.throws(() => view.getUint8(at), RangeError);
    assert.throws(() => view.getUint32(1), RangeError);
    assert.equal(view.copyTo(new Uint8Array(99)), 4);
    assert.deepEqual([...view.copy(-9, 99)], seen.at(-1));
    assert.equal(view.copyTo(new Uint8Array(99), NaN), 0);
  });
  inner.push(outer);
  outer.come(memory.subarray(8, 12));
  assert.deepEqual(seen, [[5, 6, 7, 8], [1, 2, 3, 4]]);
});

Deno.test("view: what is posted to a worker has neither bytes nor a way to them", () => {
  let posted: unknown;
  using listener = listening((view) => void (posted = structuredClone(view)));
  listener.come(new Uint8Array([1, 2, 3]));
  assert.deepEqual(posted, { length: 3 });
  assert.ok(!(posted instanceof BytesView));
});
