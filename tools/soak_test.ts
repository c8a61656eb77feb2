/** @module */
import assert from "node:assert/strict";
import { libcAvailability } from "@patchbay/ffi";
import { requireOrIgnore } from "../tests/require.ts";
import { soak, type Soaked, summary } from "./soak.ts";

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

Deno.test({
  name: here.name("soak: two seconds of random kills, and what it says of them"),
  ignore: here.ignore,
  fn: async () => {
    const told: number[] = [];
    const so = await soak({
      forMs: 2000,
      walk: false,
      onProgress: (_, kills) => void told.push(kills),
    });
    assert.deepEqual(so.violations, []);
    assert.ok(so.kills > 0 && so.messages > 0);
    assert.equal(told.at(-1), so.kills);
    assert.match(summary(so, 0.03), new RegExp(`random SIGKILLs +${so.kills} .*\n`));
    assert.match(summary(so, 0.03), /violations +none$/);
  },
});

Deno.test("soak: a violation is told", () => {
  const so: Soaked = {
    kills: 1,
    early: 0,
    both: 0,
    messages: 2,
    walks: 0,
    passed: 0,
    violations: ["requests to near: 3 of 7 after 1"],
  };
  assert.match(summary(so, 1), /violations +1\n {2}✗ requests to near: 3 of 7 after 1$/);
});

Deno.test("soak: what is no number of minutes is refused", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./soak.ts", import.meta.url).pathname, "soon"],
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 2);
  assert.match(new TextDecoder().decode(stderr), /soon is no number of minutes/);
});
