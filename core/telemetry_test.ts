import assert from "node:assert/strict";
import fc from "fast-check";
import { formatTraceparent, parseTraceparent } from "./telemetry.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const parentId = "00f067aa0ba902b7";

Deno.test("traceparent: what is formatted is read back", () => {
  const hex = (length: number) =>
    fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length })
      .map((digits) => digits.join("")).filter((id) => !/^0+$/.test(id));
  fc.assert(fc.property(hex(32), hex(16), fc.boolean(), (traceId, parentId, sampled) => {
    const parent = { traceId, parentId, sampled };
    assert.deepEqual(parseTraceparent(formatTraceparent(parent)), parent);
  }));
});

Deno.test("traceparent: flags are a bit field", () => {
  for (const [flags, sampled] of [["00", false], ["01", true], ["09", true], ["fe", false]]) {
    assert.equal(parseTraceparent(`00-${traceId}-${parentId}-${flags}`)?.sampled, sampled);
  }
});

Deno.test("traceparent: a later version is read by its first four fields", () => {
  const expected = { traceId, parentId, sampled: true };
  for (const header of [`01-${traceId}-${parentId}-01`, `cc-${traceId}-${parentId}-01-new-thing`]) {
    assert.deepEqual(parseTraceparent(header), expected);
  }
  assert.equal(parseTraceparent(`cc-${traceId}-${parentId}-01.new`), undefined);
});

Deno.test("traceparent: what is not exactly of the format is no parent", () => {
  const bad = [
    "",
    " ",
    "00",
    `00-${traceId}-${parentId}`,
    `00-${traceId}-${parentId}-1`,
    `00-${traceId}-${parentId}-01-`,
    `00-${traceId}-${parentId}-01-x`,
    `00-${traceId}-${parentId}-01\n`,
    ` 00-${traceId}-${parentId}-01`,
    `ff-${traceId}-${parentId}-01`,
    `00-${traceId.toUpperCase()}-${parentId}-01`,
    `00-${"0".repeat(32)}-${parentId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.slice(1)}-${parentId}-01`,
    `00_${traceId}_${parentId}_01`,
    `0g-${traceId}-${parentId}-01`,
  ];
  for (const header of bad) assert.equal(parseTraceparent(header), undefined, header);
  assert.equal(parseTraceparent(undefined), undefined);
  assert.equal(parseTraceparent({} as string), undefined);
});

Deno.test("traceparent: no string makes reading throw", () => {
  fc.assert(fc.property(fc.string(), (header) => {
    const parent = parseTraceparent(header);
    if (parent !== undefined) assert.ok(formatTraceparent(parent));
  }));
});

Deno.test("traceparent: identifiers that are not valid give no header", () => {
  const good = { traceId, parentId, sampled: true };
  assert.equal(formatTraceparent({ ...good, traceId: "0".repeat(32) }), undefined);
  assert.equal(formatTraceparent({ ...good, parentId: "" }), undefined);
  assert.equal(formatTraceparent({ ...good, parentId: `${parentId}-01` }), undefined);
  assert.equal(formatTraceparent({ ...good, traceId: `${traceId}\r\nx: y` }), undefined);
});
