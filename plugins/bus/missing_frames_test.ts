import assert from "node:assert/strict";
import fc from "fast-check";
import { MissingFrames } from "./missing_frames.ts";

Deno.test("missing frames: in any order, those that never came are counted, and no other", () => {
  const frames = fc.integer({ min: 1, max: 5000 }).chain((first) =>
    fc.record({
      first: fc.constant(first),
      // Which of those after the first come, and in which order.
      rest: fc.uniqueArray(fc.integer({ min: first + 1, max: first + 60 }), { maxLength: 60 }),
    })
  );
  fc.assert(fc.property(frames, ({ first, rest }) => {
    const missing = new MissingFrames();
    for (const sequence of [first, ...rest]) missing.came("a", sequence);
    const last = Math.max(first, ...rest);
    assert.equal(missing.count, last - first - rest.length);
  }));
});

Deno.test("missing frames: what was overtaken is missing until it comes, however far back it is", () => {
  const missing = new MissingFrames();
  missing.came("a", 1);
  missing.came("a", 5001);
  assert.equal(missing.count, 4999);
  for (let sequence = 2; sequence <= 5000; sequence++) missing.came("a", sequence);
  assert.equal(missing.count, 0);
  // What the first one had overtaken was not sent for this side.
  missing.came("b", 7);
  missing.came("b", 6);
  assert.equal(missing.count, 0);
});

Deno.test("missing frames: senders that come and go are forgotten, and who is there is not", () => {
  const missing = new MissingFrames();
  missing.came("steady", 1);
  for (let n = 0; n < 10_000; n++) {
    missing.came(`passing ${n}`, 1);
    missing.came(`passing ${n}`, 3);
    missing.came("steady", n + 2);
  }
  assert.equal(missing.count, 10_000);
  missing.came("steady", 10_003);
  assert.equal(missing.count, 10_001);
});
