import assert from "node:assert/strict";
import { readStamp, RecentIds, STAMP_HEADER, stamped } from "./stamp.ts";

Deno.test("stamp: what is written is read, and the other headers stay", () => {
  const headers = stamped({ unit: "mm" }, { ttl: 7, origin: "0123456789abcdef", sequence: 42 });
  assert.deepEqual(headers, { unit: "mm", [STAMP_HEADER]: "7 0123456789abcdef 42" });
  assert.deepEqual(readStamp(headers), { ttl: 7, origin: "0123456789abcdef", sequence: 42 });
});

Deno.test("stamp: what no bridge has written is none", () => {
  assert.equal(readStamp(undefined), undefined);
  assert.equal(readStamp({}), undefined);
  const wrong = ["", "7", "7 a", "-1 a 1", "10 a 1", "7 A 1", "7 a 1 ", "7 a 1e3", "7  1", "x a 1"];
  for (const text of [...wrong, `7 ${"a".repeat(65)} 1`, `7 a ${"9".repeat(16)}`]) {
    assert.equal(readStamp({ [STAMP_HEADER]: text }), undefined, text);
  }
});

Deno.test("recent ids: each is new once, and memory is bounded", () => {
  const recent = new RecentIds(100);
  for (let i = 0; i < 1000; i++) {
    assert.equal(recent.add(`id ${i}`), true);
    assert.equal(recent.add(`id ${i}`), false);
    if (i >= 99) assert.equal(recent.add(`id ${i - 99}`), false, "a hundred are remembered");
  }
  assert.equal(recent.add("id 0"), true, "the oldest are forgotten");
});
