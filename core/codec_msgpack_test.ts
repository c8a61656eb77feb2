import assert from "node:assert/strict";
import { encode as stdEncode } from "@std/msgpack/encode.js";
import { decode as stdDecode } from "@std/msgpack/decode.js";
import fc from "fast-check";
import suite from "msgpack-test-suite" with { type: "json" };
import { msgpack } from "./codec_msgpack.ts";
import { PatchbayError } from "./errors.ts";
import { MAX_DEPTH } from "./values.ts";

/** The npm copy of @std/msgpack has no types. */
const std = {
  encode: stdEncode as (value: unknown) => Uint8Array,
  decode: stdDecode as (bytes: Uint8Array) => unknown,
};

/** One value of https://github.com/kawanet/msgpack-test-suite and its legal encodings, in hex. */
type SuiteCase = { msgpack: string[] } & Record<string, unknown>;

const bytesOf = (hex: string) =>
  Uint8Array.from(hex === "" ? [] : hex.split("-"), (byte) => parseInt(byte, 16));
const hexOf = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("-");

function protocolError(hex: string): PatchbayError {
  try {
    msgpack.decode(bytesOf(hex));
  } catch (error) {
    assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
    assert.equal(error.code, "protocol");
    return error;
  }
  assert.fail(`decoded ${hex}`);
}

/** Whether the encoding is one of the 64-bit integer forms, which mean bigint here. */
const isInt64 = (hex: string) => hex.startsWith("cf-") || hex.startsWith("d3-");

Deno.test("msgpack decodes every encoding of the msgpack-test-suite, and encodes to a listed one", () => {
  let values = 0;
  let encodings = 0;
  for (const [group, cases] of Object.entries(suite as Record<string, SuiteCase[]>)) {
    for (const { msgpack: listed, ...typed } of cases) {
      values++;
      encodings += listed.length;
      const where = `${group} ${JSON.stringify(typed)}`;
      if ("ext" in typed || "timestamp" in typed) {
        for (const hex of listed) assert.match(protocolError(hex).message, /extension/, where);
        continue;
      }
      const expected = "binary" in typed
        ? bytesOf(typed.binary as string)
        : "bignum" in typed
        ? BigInt(typed.bignum as string)
        : Object.values(typed)[0];
      const isNumeric = "number" in typed || "bignum" in typed;
      for (const hex of listed) {
        const decoded = msgpack.decode(bytesOf(hex));
        const wanted = isNumeric
          ? isInt64(hex) ? BigInt(expected as number) : Number(expected)
          : expected;
        assert.deepEqual(decoded, wanted, `${where} from ${hex}`);
        assert.ok(!Object.is(wanted, 0) || Object.is(decoded, 0), where);
      }
      assert.ok(listed.includes(hexOf(msgpack.encode(expected))), `our encoding of ${where}`);
      if ("number" in typed && "bignum" in typed) {
        assert.ok(listed.includes(hexOf(msgpack.encode(typed.number))), `as a number: ${where}`);
      }
    }
  }
  assert.deepEqual([values, encodings], [85, 233]);
});

Deno.test("msgpack writes the shortest form, but float 64 for fractions and 64 bits for bigint", () => {
  const forms: [unknown, string][] = [
    [0, "00"],
    [-0, "cb-80-00-00-00-00-00-00-00"],
    [127, "7f"],
    [128, "cc-80"],
    [255, "cc-ff"],
    [256, "cd-01-00"],
    [65535, "cd-ff-ff"],
    [65536, "ce-00-01-00-00"],
    [2 ** 31, "ce-80-00-00-00"],
    [2 ** 32 - 1, "ce-ff-ff-ff-ff"],
    [2 ** 32, "cb-41-f0-00-00-00-00-00-00"],
    [-1, "ff"],
    [-32, "e0"],
    [-33, "d0-df"],
    [-128, "d0-80"],
    [-129, "d1-ff-7f"],
    [-32768, "d1-80-00"],
    [-32769, "d2-ff-ff-7f-ff"],
    [-(2 ** 31), "d2-80-00-00-00"],
    [-(2 ** 31) - 1, "cb-c1-e0-00-00-00-20-00-00"],
    [0.5, "cb-3f-e0-00-00-00-00-00-00"],
    [5n, "cf-00-00-00-00-00-00-00-05"],
    [-5n, "d3-ff-ff-ff-ff-ff-ff-ff-fb"],
    ["", "a0"],
    ["é", "a2-c3-a9"],
    [new Uint8Array(0), "c4-00"],
    [{ a: undefined }, "80"],
  ];
  for (const [value, hex] of forms) {
    assert.equal(hexOf(msgpack.encode(value)), hex);
    if (value !== null && !(typeof value === "object" && "a" in value)) {
      assert.deepEqual(msgpack.decode(bytesOf(hex)), value);
    }
  }
  const heads: [unknown, number][] = [
    ["x".repeat(31), 0xbf],
    ["x".repeat(32), 0xd9],
    ["é".repeat(15), 0xbe],
    ["é".repeat(16), 0xd9], // 16 units, 32 bytes: the header grows after the text was written
    ["x".repeat(255), 0xd9],
    ["é".repeat(128), 0xda],
    ["x".repeat(65_535), 0xda],
    ["é".repeat(32_768), 0xdb],
    [new Uint8Array(255), 0xc4],
    [new Uint8Array(256), 0xc5],
    [new Uint8Array(65_536), 0xc6],
    [new Array(15).fill(0), 0x9f],
    [new Array(16).fill(0), 0xdc],
    [new Array(65_536).fill(0), 0xdd],
  ];
  for (const [value, head] of heads) {
    const bytes = msgpack.encode(value);
    assert.equal(bytes[0], head);
    assert.deepEqual(msgpack.decode(bytes), value);
  }
});

Deno.test("msgpack: numbers stay numbers, bigints stay bigints, bytes are copies", () => {
  for (const value of [5n, 0n, -1n, 2n ** 64n - 1n, -(2n ** 63n), 2 ** 40, -(2 ** 40), -0]) {
    assert.ok(Object.is(msgpack.decode(msgpack.encode(value)), value));
  }
  for (const size of [0, 5, 300]) {
    const body = msgpack.encode({ bytes: Buffer.alloc(size, 7) });
    const { bytes } = msgpack.decode(body) as { bytes: Uint8Array };
    assert.equal(bytes.constructor, Uint8Array);
    body.fill(0);
    assert.deepEqual(bytes, new Uint8Array(size).fill(7));
    assert.notEqual(bytes.buffer, body.buffer);
  }
});

Deno.test("msgpack refuses what it cannot carry exactly", () => {
  for (const value of [2n ** 64n, -(2n ** 63n) - 1n, "\ud800", "x".repeat(99) + "\udc00"]) {
    for (const wrapped of [value, [value], { a: value }]) {
      assert.throws(() => msgpack.encode(wrapped), { code: "invalid" });
    }
  }
  assert.throws(() => msgpack.encode({ "\ud800": 1 }), { code: "invalid" });
});

Deno.test("msgpack: hostile bodies are protocol errors", () => {
  for (
    const hex of [
      "c1", // never used
      "92-c1-01",
      "c0-c0", // a second value
      "91", // truncated
      "a5-61",
      "81-a1-61",
      "cd-01",
      "cb-00",
      "dd-ff-ff-ff-ff", // an announced length that the body cannot hold
      "df-7f-ff-ff-ff",
      "db-ff-ff-ff-ff",
      "c6-ff-ff-ff-ff-00",
      "81-01-02", // keys that are not strings
      "81-c0-02",
      "81-c4-01-61-02",
      "81-90-02",
      "a3-ff-fe-61", // not UTF-8
      "a3-ed-a0-80", // a surrogate in UTF-8
      "a2-c0-80", // overlong
      "81-a2-c3-28-01",
      "d4-00-00", // what msgpackr and notepack read as undefined
      "d4-72-40-91-a1-61-01", // a msgpackr record
      "d4-65-00-92-a5-45-72-72-6f-72-a1-78", // a msgpackr Error
      "d4-78-00-92-a1-61-a0", // a msgpackr RegExp
      "c7-05-74-08-00-00-00-00", // a msgpackr typed array
      "d6-ff-00-00-00-00", // a timestamp
      "ca-7f-c0-00-00", // NaN
      "cb-7f-f0-00-00-00-00-00-00", // Infinity
      "81-a9-5f-5f-70-72-6f-74-6f-5f-5f-80", // {"__proto__": {}}
      "81-d9-09-5f-5f-70-72-6f-74-6f-5f-5f-80",
    ]
  ) protocolError(hex);
  const deep = (depth: number) => new Uint8Array(depth + 1).fill(0x91, 0, depth);
  msgpack.decode(deep(MAX_DEPTH));
  assert.throws(() => msgpack.decode(deep(MAX_DEPTH + 1)), { code: "protocol" });
  assert.throws(() => msgpack.decode(deep(1_000_000)), { code: "protocol" });
});

Deno.test("msgpack: every truncation of a message is a protocol error", () => {
  const bytes = msgpack.encode({
    a: [1, -200, 70_000, 1.5, 5n, "text", "x".repeat(40), new Uint8Array(3)],
    nested: { b: null, c: true },
  });
  for (let length = 1; length < bytes.length; length++) {
    protocolError(hexOf(bytes.subarray(0, length)));
  }
});

Deno.test("msgpack: keys that fall on one slot of the key table are told apart", () => {
  const keys = Array.from({ length: 5000 }, (_, index) => `k${index}`);
  const value = Object.fromEntries(keys.map((key, index) => [key, index]));
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(msgpack.decode(msgpack.encode(value)), value);
  }
});

Deno.test("msgpack: a getter may encode while a value is being encoded", () => {
  const value = {
    a: 1,
    get inner() {
      return msgpack.encode("inner");
    },
  };
  assert.deepEqual(msgpack.decode(msgpack.encode(value)), { a: 1, inner: msgpack.encode("inner") });
});

Deno.test("msgpack and @std/msgpack read each other", () => {
  const key = fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => text !== "__proto__");
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.integer(),
      // @std/msgpack writes −0 as 0.
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => Object.is(n, -0) ? 0 : n),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      // @std/msgpack drops a leading U+FEFF.
      fc.string({ unit: "binary", maxLength: 300 }).filter((text) => !text.startsWith("\ufeff")),
      fc.uint8Array({ maxLength: 300 }),
      fc.array(tie("value"), { maxLength: 20 }),
      fc.dictionary(key, tie("value"), { maxKeys: 20, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(value, (value) => {
      assert.deepEqual(msgpack.decode(std.encode(value)), value);
      assert.deepEqual(std.decode(msgpack.encode(value)), value);
    }),
    { numRuns: 500 },
  );
});
