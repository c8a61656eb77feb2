import assert from "node:assert/strict";
import fc from "fast-check";
import { SequenceWindow } from "./sequence_window.ts";

Deno.test("sequence window: each number is new once, whatever overtakes what", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 900 }), { maxLength: 400 }),
      (numbers) => {
        const window = new SequenceWindow();
        const seen = new Set<number>();
        // Numbers before the first one are known only from the second message on.
        window.add(1000);
        for (const n of numbers) {
          assert.equal(window.add(1001 + n), !seen.has(n), `number ${n}`);
          seen.add(n);
        }
      },
    ),
  );
});

Deno.test("sequence window: the first to arrive may have overtaken the others", () => {
  const window = new SequenceWindow();
  assert.equal(window.add(3), true);
  assert.equal(window.add(1), true);
  assert.equal(window.add(2), true);
  for (const n of [1, 2, 3]) assert.equal(window.add(n), false);
});

Deno.test("sequence window: what is over 1,024 back counts as seen, and a jump forgets", () => {
  const window = new SequenceWindow();
  for (let n = 1; n <= 10; n++) assert.equal(window.add(n), true);
  assert.equal(window.add(5000), true);
  assert.equal(window.add(5000 - 1024), false);
  assert.equal(window.add(5000 - 1023), true);
  assert.equal(window.add(5000 - 1023), false);
  assert.equal(window.add(11), false);
});
