/**
 * Proves that a test with an unmet need is ignored by name, and fails where it is required.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deno } from "../tools/deno.ts";
import { syntheticTree } from "../tools/synthetic_tree.ts";
import { PROJECT_ROOT } from "../tools/workspace.ts";
import { ask, isRequired, requirement } from "./require.ts";

Deno.test("require: REQUIRE lists needs, or all", () => {
  assert.equal(isRequired("redis", undefined), false);
  assert.equal(isRequired("redis", ""), false);
  assert.equal(isRequired("redis", "mqtt"), false);
  assert.equal(isRequired("redis", "mqtt, redis"), true);
  assert.equal(isRequired("redis", "all"), true);
  assert.equal(isRequired("redis", "redis_cluster"), false);
});

Deno.test("require: a met need changes nothing", async () => {
  for (const answer of [true, { available: true, detail: "8.0" } as const]) {
    const { ignore, name } = requirement(await ask("redis", () => answer, "install it"));
    assert.deepEqual([ignore, name("a call")], [false, "a call"]);
  }
});

Deno.test("require: no, a rejection and silence are reasons", async () => {
  const told = async (need: ReturnType<typeof ask>) => requirement(await need).name("a call");
  assert.equal(
    await told(ask("redis", () => false, "install it")),
    "a call [ignored: redis: not found; remedy: install it]",
  );
  assert.equal(
    await told(ask("redis", () => ({ available: false, reason: "old", remedy: "update" }), "x")),
    "a call [ignored: redis: old; remedy: update]",
  );
  assert.equal(
    await told(ask("redis", () => Promise.reject(new Error("refused")), "start it")),
    "a call [ignored: redis: refused; remedy: start it]",
  );
  assert.equal(
    await told(ask("redis", () => new Promise<never>(() => {}), "start it", 5)),
    "a call [ignored: redis: no answer in 5 ms; remedy: start it]",
  );
});

Deno.test("require: an unmet need is ignored, and fails where REQUIRE names it", async () => {
  const require = pathToFileURL(join(PROJECT_ROOT, "tests/require.ts")).href;
  await using tree = await syntheticTree({
    "need_test.ts": `import { requireOrIgnore } from ${JSON.stringify(require)};
      const need = await requireOrIgnore("unicorn", () => false, "find one");
      Deno.test({ name: need.name("it flies"), ignore: need.ignore, fn() { throw new Error(); } });`,
  });
  const run = (REQUIRE: string) =>
    deno(["test", "-A", "--no-config", "need_test.ts"], { cwd: tree.root, env: { REQUIRE } });
  const free = await run("");
  assert.equal(free.code, 0, free.stdout + free.stderr);
  assert.match(
    free.stdout,
    /it flies \[ignored: unicorn: not found; remedy: find one\] \.\.\. ign/,
  );
  assert.match(free.stdout, /0 passed \| 0 failed \| 1 ignored/);
  for (const names of ["all", "redis,unicorn"]) {
    const required = await run(names);
    assert.equal(required.code, 1);
    assert.match(required.stdout, /unicorn cannot be used: not found; remedy: find one/);
    assert.match(required.stdout, /0 passed \| 1 failed \| 1 ignored/);
  }
});
