import assert from "node:assert/strict";
import { ERROR_CODES, PatchbayError } from "./errors.ts";

Deno.test("errors: retryable follows the code, unless it is said", () => {
  const retryable = ERROR_CODES.filter((code) => new PatchbayError(code, "x").retryable);
  assert.deepEqual(retryable, ["unavailable", "closed", "overloaded"]);
  assert.equal(new PatchbayError("unavailable", "x", { retryable: false }).retryable, false);
  assert.equal(new PatchbayError("remote", "x", { retryable: true }).retryable, true);
});

Deno.test("errors: the wire form is JSON without stack and cause, and comes back the same", () => {
  for (const code of ERROR_CODES) {
    const error = new PatchbayError(code, "what happened", {
      pattern: "callable",
      transport: "uds",
      address: "a/b",
      details: { size: 11, max: 10 },
      remedy: "do this",
      retryable: code === "remote",
      cause: new Error("below"),
    });
    const wire = JSON.parse(JSON.stringify(error.toWire()));
    assert.deepEqual(
      Object.keys(wire).filter((k) =>
        !["code", "message", "details", "retryable", "remedy"].includes(k)
      ),
      [],
    );
    const known = { pattern: "callable", transport: "uds", address: "a/b" } as const;
    const back = PatchbayError.fromWire(wire, known);
    assert.ok(back instanceof Error);
    assert.equal(back.cause, undefined);
    for (const key of ["code", "message", "details", "retryable", "remedy", "pattern"] as const) {
      assert.deepEqual(back[key], error[key], `${code}: ${key}`);
    }
  }
});

Deno.test("errors: what cannot be read from a wire becomes internal, and never throws", () => {
  for (const wire of [undefined, null, 7, "text", [], {}, { code: 1, message: 2 }, { code: "x" }]) {
    const error = PatchbayError.fromWire(wire);
    assert.equal(error.code, "internal");
    assert.equal(error.message, "the peer sent an unreadable error");
  }
  const odd = PatchbayError.fromWire({
    code: "closed",
    message: "m",
    details: 1,
    retryable: "no",
    remedy: 2,
  });
  assert.deepEqual([odd.code, odd.details, odd.retryable, odd.remedy], [
    "closed",
    undefined,
    true,
    new PatchbayError("closed", "").remedy,
  ]);
});

Deno.test("errors: what a handler throws keeps message and code, and becomes remote", () => {
  const own = new PatchbayError("forbidden", "no");
  assert.equal(PatchbayError.fromThrown(own), own);
  const range = PatchbayError.fromThrown(new RangeError("too far"));
  assert.deepEqual([range.code, range.message, range.details], [
    "remote",
    "too far",
    { name: "RangeError" },
  ]);
  const coded = PatchbayError.fromThrown(Object.assign(new Error("m"), { code: "ENOENT" }));
  assert.equal(coded.details?.code, "ENOENT");
  assert.equal(PatchbayError.fromThrown(new TypeError("")).message, "TypeError");
  for (const thrown of ["text", 7, undefined, null, Symbol("s"), {}]) {
    assert.equal(PatchbayError.fromThrown(thrown).code, "remote");
  }
});

Deno.test("errors: with() fills in what was not known, and keeps what was, stack included", () => {
  const error = new PatchbayError("closed", "m", {
    address: "a/b",
    details: { n: 1 },
    remedy: "r",
    retryable: false,
    cause: 7,
  });
  const known = error.with({ address: "x/y", transport: "uds", pattern: "job" });
  assert.deepEqual([known.address, known.transport, known.pattern], ["a/b", "uds", "job"]);
  assert.deepEqual([known.details, known.remedy, known.retryable, known.cause], [
    { n: 1 },
    "r",
    false,
    7,
  ]);
  assert.equal(known.stack, error.stack);
  assert.equal(known.name, "PatchbayError");
});
