import assert from "node:assert/strict";
import { KeptBytes } from "./hub_kept.ts";

Deno.test("hub kept: what has no room is not kept, the old value neither, and told once", () => {
  const told: string[] = [];
  const kept = new KeptBytes(100, (address) => told.push(address));
  assert.equal(kept.replace("a", 0, 60), true);
  assert.equal(kept.replace("b", 0, 41), false);
  assert.equal(kept.replace("b", 0, 41), false);
  assert.equal(kept.bytes, 60);
  // A larger value pushes its own old one out.
  assert.equal(kept.replace("a", 60, 101), false);
  assert.equal(kept.bytes, 0);
  assert.equal(kept.replace("b", 0, 100), true);
  assert.equal(kept.replace("b", 100, 0), true);
  assert.deepEqual(told, ["b"]);
  // There was room in between: it is told anew.
  assert.equal(kept.replace("c", 0, 101), false);
  assert.deepEqual(told, ["b", "c"]);
});
