import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "../errors.ts";
import { MAX_PARTIAL, MAX_UNEARNED_BYTES, Reassembly } from "./fragments.ts";

Deno.test("fragments: messages in pieces of any size, interleaved, come back whole", () => {
  const message = fc.tuple(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 1, max: 700 }));
  const plan = fc.tuple(
    fc.array(message, { minLength: 1, maxLength: 8 }),
    fc.infiniteStream(fc.nat()),
  );
  fc.assert(
    fc.property(plan, ([messages, choice]) => {
      const reassembly = new Reassembly(4096);
      const left = messages.map(([bytes, piece], id) => ({ id, bytes, piece, at: 0 }));
      const scratch = new Uint8Array(1000);
      while (left.length > 0) {
        const index = choice.next().value as number % left.length;
        const one = left[index];
        const end = Math.min(one.at + one.piece, one.bytes.length);
        const last = end === one.bytes.length;
        scratch.set(one.bytes.subarray(one.at, end));
        const whole = reassembly.add(one.id, scratch.subarray(0, end - one.at), last);
        // The bytes are only lent.
        scratch.fill(0xff);
        one.at = end;
        assert.equal(whole !== undefined, last);
        if (whole === undefined) continue;
        assert.deepEqual(whole, one.bytes);
        left.splice(index, 1);
      }
      assert.equal(reassembly.bytes, 0);
    }),
    { numRuns: 300 },
  );
});

Deno.test("fragments: a message over the limit is refused with its size", () => {
  const reassembly = new Reassembly(100);
  reassembly.add(1, new Uint8Array(60), false);
  assert.throws(() => reassembly.add(1, new Uint8Array(41), true), {
    code: "too_large",
    details: { size: 101, max: 100 },
  });
  assert.equal(new Reassembly(100).add(1, new Uint8Array(100), true)?.length, 100);
});

Deno.test("fragments: all partial messages together may be four times the largest", () => {
  const reassembly = new Reassembly(100);
  for (let id = 0; id < 4; id++) reassembly.add(id, new Uint8Array(100), false);
  assert.equal(reassembly.bytes, 400);
  assert.throws(() => reassembly.add(4, new Uint8Array(1), false), { code: "too_large" });
});

Deno.test("fragments: so many partial messages, and no more", () => {
  const reassembly = new Reassembly(100);
  for (let id = 0; id < MAX_PARTIAL; id++) reassembly.add(id, new Uint8Array(1), false);
  assert.throws(() => reassembly.add(MAX_PARTIAL, new Uint8Array(1), false), { code: "protocol" });
  reassembly.add(0, new Uint8Array(1), true);
  reassembly.add(MAX_PARTIAL, new Uint8Array(1), false);
});

Deno.test("fragments: an empty one that is not the last is refused: it could go on for ever", () => {
  assert.throws(() => new Reassembly(100).add(1, new Uint8Array(0), false), { code: "protocol" });
});

Deno.test("fragments: pieces of one byte take no more memory than large ones", () => {
  const { heapUsed: before, external: outside } = Deno.memoryUsage();
  const reassembly = new Reassembly(2 * 1024 * 1024);
  const piece = new Uint8Array(1);
  for (let i = 0; i < 1024 * 1024; i++) reassembly.add(1, piece, false);
  const { heapUsed, external } = Deno.memoryUsage();
  const taken = heapUsed - before + external - outside;
  // An object for each would be 100 MB and more; garbage of the growing may still be there.
  assert.ok(taken < 32 * 1024 * 1024, `${taken} bytes for one mebibyte`);
  assert.equal(reassembly.add(1, piece, true)?.length, 1024 * 1024 + 1);
});

Deno.test("fragments: who announces much in many messages and sends little gets little room", () => {
  const { external: before } = Deno.memoryUsage();
  const reassembly = new Reassembly(10 * 1024 * 1024);
  const piece = new Uint8Array(1);
  for (let id = 0; id < MAX_PARTIAL; id++) reassembly.add(id, piece, false, 10 * 1024 * 1024);
  const taken = Deno.memoryUsage().external - before;
  assert.ok(taken < 2 * MAX_UNEARNED_BYTES, `${taken} bytes for ${MAX_PARTIAL} that came`);
  // Each still comes whole, the last one as well as the first.
  for (const id of [0, MAX_PARTIAL - 1]) {
    const half = new Uint8Array(5 * 1024 * 1024 - 1).fill(id);
    reassembly.add(id, half, false);
    assert.equal(reassembly.add(id, new Uint8Array(half.length + 1), true)?.length, 10485760);
  }
});

Deno.test("fragments: room is bounded by what has come, whatever is announced", () => {
  const step = fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 200_000 }), fc.boolean(), fc.nat(1));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const maxBytes = 16 * 1024 * 1024;
      const reassembly = new Reassembly(maxBytes);
      try {
        for (const [id, size, last, known] of steps) {
          reassembly.add(id, new Uint8Array(size), last, known * maxBytes);
          const bound = 2 * reassembly.bytes + MAX_UNEARNED_BYTES + 10 * 65_536;
          assert.ok(reassembly.roomBytes <= bound, `${reassembly.roomBytes} over ${bound}`);
        }
      } catch (error) {
        assert.ok(error instanceof PatchbayError, String(error));
        // It ended before it was as large as announced.
        assert.equal(error.code, "protocol");
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("fragments: whatever comes, the budget holds", () => {
  const step = fc.tuple(fc.nat(100), fc.nat(40), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const reassembly = new Reassembly(100);
      try {
        for (const [id, size, last] of steps) {
          reassembly.add(id, new Uint8Array(size), last);
          assert.ok(reassembly.bytes >= 0 && reassembly.bytes <= 400);
        }
      } catch (error) {
        assert.ok(error instanceof PatchbayError, String(error));
        assert.ok(error.code === "too_large" || error.code === "protocol");
      }
    }),
  );
});
