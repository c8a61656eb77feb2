import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkAddress,
  checkPattern,
  isPattern,
  matches,
  MAX_ADDRESS_LENGTH,
  nearest,
} from "./address.ts";
import { PatchbayError } from "./errors.ts";

Deno.test("address: what is allowed", () => {
  for (const address of ["a", "arm/pick", "a/b/c/d", "0/1", "_x/y-z", "v1.2/x", "a".repeat(255)]) {
    assert.equal(checkAddress(address), address);
  }
});

Deno.test("address: what is refused, with what to do instead", () => {
  const long = "a".repeat(MAX_ADDRESS_LENGTH + 1);
  for (
    const address of [
      "",
      "/",
      "/a",
      "a/",
      "a//b",
      "A/b",
      "a b",
      "a/ü",
      "a\n",
      "-a",
      ".",
      "..",
      "a/../b",
      "a/.",
      "a/*",
      "*",
      "**",
      "a*",
      long,
    ]
  ) {
    assert.throws(() => checkAddress(address), (error) => {
      assert.ok(error instanceof PatchbayError, address);
      assert.equal(error.code, "invalid");
      assert.ok(error.remedy);
      return true;
    }, address);
  }
  for (const none of [undefined, null, 7, {}]) {
    assert.throws(() => checkAddress(none as unknown as string), { code: "invalid" });
  }
});

Deno.test("pattern: `*` is one whole segment, `**` the last", () => {
  for (const pattern of ["*", "**", "a/*", "*/a", "a/*/b", "a/**", "*/**", "a"]) {
    assert.equal(checkPattern(pattern), pattern);
    assert.equal(isPattern(pattern), pattern !== "a");
  }
  for (const pattern of ["**/a", "a/**/b", "a*", "***", "a/b*", "*a/b"]) {
    assert.throws(() => checkPattern(pattern), { code: "invalid" }, pattern);
  }
});

Deno.test("matches: by example", () => {
  const yes: [string, string][] = [
    ["a/b", "a/b"],
    ["*", "a"],
    ["**", "a"],
    ["**", "a/b/c"],
    ["a/*", "a/b"],
    ["*/b", "a/b"],
    ["a/*/c", "a/b/c"],
    ["a/**", "a/b"],
    ["a/**", "a/b/c"],
    ["*/*", "a/b"],
  ];
  const no: [string, string][] = [
    ["a/b", "a/c"],
    ["*", "a/b"],
    ["a/*", "a"],
    ["a/*", "a/b/c"],
    ["a/**", "a"],
    ["a/**", "b/a"],
    ["a/*/c", "a/c"],
    ["*/*", "a"],
    ["a.b", "axb"],
  ];
  for (const [pattern, address] of yes) {
    assert.ok(matches(pattern, address), `${pattern} ${address}`);
  }
  for (const [pattern, address] of no) {
    assert.ok(!matches(pattern, address), `${pattern} ${address}`);
  }
});

Deno.test("matches: the same as a regular expression made from the pattern", () => {
  const segment = fc.constantFrom("a", "b", "cc", "d.e", "_f");
  const address = fc.array(segment, { minLength: 1, maxLength: 4 }).map((s) => s.join("/"));
  const pattern = fc.tuple(
    fc.array(fc.oneof(segment, fc.constant("*")), { maxLength: 3 }),
    fc.oneof(segment, fc.constant("*"), fc.constant("**")),
  ).map(([head, last]) => [...head, last].join("/"));
  fc.assert(fc.property(pattern, address, (p, a) => {
    const source = p.split("/").map((s) =>
      s === "*" ? "[^/]+" : s === "**" ? ".+" : s.replaceAll(".", "\\.")
    );
    assert.equal(matches(p, a), new RegExp(`^${source.join("/")}$`).test(a), `${p} ${a}`);
  }));
});

Deno.test("nearest: the word that was meant, or none", () => {
  const wires = ["in_process", "uds", "redis", "websocket", "shared_memory"];
  assert.equal(nearest("redsi", wires), "redis");
  assert.equal(nearest("websockets", wires), "websocket");
  assert.equal(nearest("shard_memory", wires), "shared_memory");
  assert.equal(nearest("udp", wires), "uds");
  assert.equal(nearest("kafka", wires), undefined);
  assert.equal(nearest("x", []), undefined);
});
