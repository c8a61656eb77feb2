import assert from "node:assert/strict";
import fc from "fast-check";
import { sameSecret } from "./secret.ts";

Deno.test("secret: the same only if every character is", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      assert.equal(sameSecret(a, b), a === b);
      assert.ok(sameSecret(a, a));
      assert.ok(!sameSecret(`${a}x`, a));
      assert.ok(!sameSecret(a, `${a}x`));
    }),
  );
});
