import assert from "node:assert/strict";
import vm from "node:vm";
import { PatchbayError } from "./errors.ts";
import { checkPortable, deepFreeze, isPlainObject, MAX_DEPTH } from "./values.ts";
import type { Portable, PortableRules } from "./values.ts";

function refusal(value: unknown, rules?: PortableRules): PatchbayError {
  try {
    checkPortable(value, "request", rules);
  } catch (error) {
    assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
    assert.equal(error.code, "invalid");
    assert.ok(error.message.startsWith(`${error.details?.path} is `), error.message);
    return error;
  }
  assert.fail(`accepted ${String(value)}`);
}

function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { value };
  return value;
}

Deno.test("checkPortable() accepts every portable value", () => {
  const portable: Portable = {
    nothing: null,
    flags: [true, false],
    numbers: [0, -0, 1.5, 2 ** 53, 5e-324],
    text: "\u2028 \ud800 🤖",
    big: -(5n ** 80n),
    bytes: new Uint8Array(3),
    absent: undefined,
    "odd key": { "": [] },
  };
  checkPortable(portable, "request");
  checkPortable(Object.create(null), "request");
  checkPortable(undefined, "result");
  const shared = { a: 1 };
  checkPortable([shared, shared], "request");
  checkPortable(nested(MAX_DEPTH), "request");
});

Deno.test("checkPortable() names the path and what it found there", () => {
  class Pose {}
  const cases: [unknown, string, RegExp][] = [
    [{ pose: { joints: [0, 1, 2, NaN] } }, "request.pose.joints[3]", /NaN/],
    [[Infinity], "request[0]", /Infinity/],
    [{ at: new Date(0) }, "request.at", /a Date/],
    [{ "odd key": new Map() }, 'request["odd key"]', /a Map/],
    [new Set(), "request", /a Set/],
    [{ run: () => 1 }, "request.run", /a function/],
    [{ s: Symbol("s") }, "request.s", /a symbol/],
    [[1, undefined], "request[1]", /undefined/],
    [new Array(2), "request[0]", /undefined/],
    [{ pose: new Pose() }, "request.pose", /a Pose/],
    [{ f: new Float32Array(2) }, "request.f", /a Float32Array/],
    [new Proxy({}, { getPrototypeOf: () => ({}) }), "request", /a Object|instance/],
    [JSON.parse('{"a":{"__proto__":1}}'), "request.a.__proto__", /the key __proto__/],
    [nested(MAX_DEPTH + 1), "", /nested deeper than 128/],
  ];
  for (const [value, path, found] of cases) {
    const error = refusal(value);
    if (path !== "") assert.equal(error.details?.path, path);
    assert.match(error.message, found);
  }
});

Deno.test("checkPortable() finds a cycle and names both ends", () => {
  const arm: Record<string, unknown> = { name: "left" };
  arm.links = [{ parent: arm }];
  const error = refusal({ robot: { arm } });
  assert.equal(error.details?.path, "request.robot.arm.links[0].parent");
  assert.match(error.message, /the same object as request\.robot\.arm/);
});

Deno.test("checkPortable() keeps the rules of an encoding", () => {
  assert.match(refusal({ b: new Uint8Array(1) }, { bytes: false }).message, /bytes/);
  assert.match(refusal([1n], { bigint: "none" }).message, /bigint/);
  checkPortable([2n ** 64n - 1n, -(2n ** 63n)], "request", { bigint: "int64" });
  refusal([2n ** 64n], { bigint: "int64" });
  refusal([-(2n ** 63n) - 1n], { bigint: "int64" });
  refusal("a\udc00", { wellFormed: true });
  refusal({ "\ud800": 1 }, { wellFormed: true });
});

Deno.test("isPlainObject() knows the plain objects of another realm", () => {
  assert.ok(isPlainObject(vm.runInNewContext("({ a: 1 })")));
  assert.ok(!isPlainObject(Object.create(Object.assign(Object.create(null), { inherited: 1 }))));
});

Deno.test("deepFreeze() freezes what can be frozen, cycles included", () => {
  const value: Record<string, unknown> = { list: [{ a: 1 }], bytes: new Uint8Array(2) };
  value.self = value;
  assert.equal(deepFreeze(value), value);
  assert.ok(Object.isFrozen(value) && Object.isFrozen((value.list as unknown[])[0]));
  assert.throws(() => (value.list as unknown[]).push(1), TypeError);
  (value.bytes as Uint8Array)[0] = 1;
  assert.equal(deepFreeze(5n), 5n);
  deepFreeze(nested(100_000));
});

Deno.test("Portable refuses other types at compile time", () => {
  // @ts-expect-error: a Date is not portable
  const date: Portable = new Date(0);
  // @ts-expect-error: nor is a function inside an object
  const run: Portable = { run: () => 1 };
  assert.ok(date && run);
});
