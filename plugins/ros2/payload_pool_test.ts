import assert from "node:assert/strict";
import { PayloadPool } from "./payload_pool.ts";

const MiB = 1024 * 1024;

Deno.test("payload pool: large places are used again, small ones are not", () => {
  const pool = new PayloadPool();
  const small = pool.take(100);
  pool.give(small);
  assert.notEqual(pool.take(100).buffer, small.buffer);
  const large = pool.take(1_000_000);
  assert.equal(large.length, 1_000_000);
  // As the codec does it, which reckons with more than it needs.
  pool.give(large.subarray(0, 999_990));
  const again = pool.take(1_001_000);
  assert.equal(again.buffer, large.buffer);
  assert.equal(again.length, 1_001_000);
  assert.notEqual(pool.take(1_000_000).buffer, large.buffer, "it is in use");
});

Deno.test("payload pool: nothing much larger than asked for is given", () => {
  const pool = new PayloadPool();
  pool.give(pool.take(4 * MiB));
  assert.ok(pool.take(MiB).buffer.byteLength < 2 * MiB);
});

Deno.test("payload pool: what lies idle is bounded", () => {
  const pool = new PayloadPool();
  const taken = Array.from({ length: 20 }, () => pool.take(MiB));
  const given = new Set(taken.map(({ buffer }) => buffer));
  for (const each of taken) pool.give(each);
  const again = Array.from({ length: 20 }, () => pool.take(MiB));
  assert.equal(again.filter(({ buffer }) => given.has(buffer)).length, 8);
});

Deno.test("payload pool: places of a size that is no longer asked for make room for others", () => {
  const pool = new PayloadPool();
  const small = Array.from({ length: 100 }, () => pool.take(100_000));
  for (const each of small) pool.give(each);
  const large = pool.take(MiB);
  pool.give(large);
  assert.equal(pool.take(MiB).buffer, large.buffer);
});
