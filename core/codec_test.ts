import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecTable, json, loadMsgpack, raw } from "./codec.ts";
import type { Codec } from "./codec.ts";
import { PatchbayError } from "./errors.ts";
import { checkPortable, MAX_DEPTH } from "./values.ts";

const msgpack = await loadMsgpack();

function thrown(run: () => unknown, code: string): PatchbayError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
    assert.equal(error.code, code, error.message);
    return error;
  }
  assert.fail("did not throw");
}

const utf8 = (text: string) => new TextEncoder().encode(text);

/** Arbitrary portable values; `scalars` are those that the codec can carry. */
function portable(...scalars: fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> {
  const key = fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => text !== "__proto__");
  return fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      ...scalars,
      fc.array(tie("value"), { maxLength: 20 }),
      fc.dictionary(key, tie("value"), { maxKeys: 20, noNullPrototype: true }),
    ),
  })).value;
}

const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const integer = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.integer({ min: -200, max: 300 }));
const text = fc.string({ unit: "binary", maxLength: 100 });
const common = [fc.constant(null), fc.boolean(), integer];
const portableJson = portable(
  ...common,
  number.map((value) => Object.is(value, -0) ? 0 : value), // the one documented loss
  text,
  // Lone surrogates too: JSON escapes them.
  fc.array(fc.nat(0xffff), { maxLength: 20 }).map((units) => String.fromCharCode(...units)),
);
const portableMsgpack = portable(
  ...common,
  number,
  text,
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.uint8Array({ maxLength: 300 }),
);

function roundTrip(codec: Codec, value: unknown): void {
  const bytes = codec.encode(value);
  assert.equal(bytes.constructor, Uint8Array);
  const room = new Uint8Array(bytes.length + 7);
  assert.equal(codec.encodeInto(value, room, 7), bytes.length, "fits exactly");
  assert.deepEqual(room.subarray(7), bytes, "encodeInto writes the same");
  assert.deepEqual(codec.decode(room.subarray(7)), value);
  if (bytes.length > 0) assert.equal(codec.encodeInto(value, room, 8), -1, "one byte too few");
}

for (const [codec, values] of [[json, portableJson], [msgpack, portableMsgpack]] as const) {
  Deno.test(`${codec.name}: every portable value comes back`, () => {
    fc.assert(fc.property(values, (value) => roundTrip(codec, value)), { numRuns: 1000 });
  });

  Deno.test(`${codec.name}: notable values come back`, () => {
    for (
      const value of [
        ..."abc",
        "",
        "\u2028\u2029\0\x7f\x80",
        "\ufeff",
        "\ufeff".padEnd(100, "x"),
        "🤖".repeat(20),
        "é".repeat(20),
        "é".repeat(40),
        "é".repeat(200),
        "x".repeat(70_000),
        "é".repeat(40_000),
        2 ** 40,
        2 ** 53,
        -(2 ** 53),
        Number.MAX_VALUE,
        5e-324,
        [],
        {},
        { constructor: 1, toString: 2, hasOwnProperty: 3, length: 4, "": 5 },
        Array.from({ length: 70_000 }, (_, index) => index % 300),
        Object.fromEntries(Array.from({ length: 70_000 }, (_, index) => [`k${index}`, index])),
      ]
    ) roundTrip(codec, value);
    assert.deepEqual(codec.decode(codec.encode({ a: undefined, b: 1 })), { b: 1 });
  });

  Deno.test(`${codec.name}: arbitrary and damaged bytes decode to a portable value or protocol`, () => {
    const check = (bytes: Uint8Array) => {
      let value: unknown;
      try {
        value = codec.decode(bytes);
      } catch (error) {
        assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
        assert.equal(error.code, "protocol");
        return;
      }
      checkPortable(value, "decoded");
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), check), { numRuns: 2000 });
    const damaged = fc.tuple(values, fc.nat(), fc.nat(255), fc.boolean()).map(
      ([value, position, byte, cut]) => {
        const bytes = codec.encode(value);
        if (bytes.length === 0) return bytes;
        bytes[position % bytes.length] = byte;
        return cut ? bytes.subarray(0, position % bytes.length) : bytes;
      },
    );
    fc.assert(fc.property(damaged, check), { numRuns: 2000 });
  });

  Deno.test(`${codec.name}: refuses what is not portable, with its path, before writing`, () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    for (const bad of [NaN, Infinity, new Date(0), new Map(), () => 1, Symbol(), [undefined]]) {
      const error = thrown(() => codec.encode({ pose: { joints: [0, bad] } }), "invalid");
      assert.match(String(error.details?.path), /^value\.pose\.joints\[1\]/);
      thrown(() => codec.encodeInto({ bad: [bad] }, new Uint8Array(100), 0), "invalid");
    }
    thrown(() => codec.encode(cycle), "invalid");
    thrown(() => codec.encode(JSON.parse('{"__proto__":1}')), "invalid");
  });

  Deno.test(`${codec.name}: nothing is a body of no bytes`, () => {
    assert.equal(codec.encode(undefined).length, 0);
    assert.equal(codec.encodeInto(undefined, new Uint8Array(0), 0), 0);
    assert.equal(codec.decode(new Uint8Array(0)), undefined);
  });

  Deno.test(`${codec.name}: decodes a part of a larger buffer that is reused at once`, () => {
    const value = { frame: "map", list: ["x".repeat(80), 1.5, { key: "é" }] };
    const buffer = new Uint8Array(256 * 1024).fill(0xc1);
    const written = codec.encodeInto(value, buffer, 200_001);
    const decoded = codec.decode(buffer.subarray(200_001, 200_001 + written));
    buffer.fill(0);
    assert.deepEqual(decoded, value);
    const node = Buffer.from(codec.encode(value));
    assert.deepEqual(codec.decode(node), value);
  });
}

Deno.test("json: refuses bytes and bigint, and says what carries them", () => {
  const bytes = thrown(() => json.encode({ frame: new Uint8Array(2) }), "invalid");
  assert.equal(bytes.details?.path, "value.frame");
  assert.match(bytes.message, /MessagePack/);
  assert.equal(thrown(() => json.encode([5n]), "invalid").details?.path, "value[0]");
});

Deno.test("json: −0 arrives as 0, lone surrogates arrive as they are", () => {
  assert.ok(Object.is(json.decode(json.encode(-0)), 0));
  assert.equal(json.decode(json.encode("\ud800")), "\ud800");
});

Deno.test("json: hostile bodies are protocol errors", () => {
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  json.decode(utf8(deep(MAX_DEPTH)));
  json.decode(utf8(JSON.stringify([deep(500), Array.from({ length: 500 }, () => [])])));
  for (
    const body of [
      "{",
      "1 2",
      "nul",
      " ",
      deep(MAX_DEPTH + 1),
      deep(1_000_000),
      "[".repeat(1_000_000),
      '{"a":'.repeat(1_000_000),
      "1e999",
      "[-1E+400]",
      `[1,${"9".repeat(400)}]`,
      "9".repeat(309),
      '{"__proto__":{"admin":true}}',
      '{"\\u005f_proto__":1}',
      '{"a":[{"__pr\\u006fto__":1}]}',
    ]
  ) thrown(() => json.decode(utf8(body)), "protocol");
  thrown(() => json.decode(Uint8Array.of(0x22, 0xff, 0xfe, 0x22)), "protocol");
  assert.deepEqual(json.decode(utf8('["__proto__","1e999","\\u0000",1e100]')), [
    "__proto__",
    "1e999",
    "\0",
    1e100,
  ]);
  assert.equal(({} as { admin?: boolean }).admin, undefined);
});

Deno.test("raw: copies bytes both ways and carries nothing else", () => {
  const value = Uint8Array.of(1, 2, 3);
  const encoded = raw.encode(value);
  const decoded = raw.decode(encoded) as Uint8Array;
  value.fill(0);
  encoded.fill(9);
  assert.deepEqual(decoded, Uint8Array.of(1, 2, 3));
  assert.equal((raw.decode(Buffer.from("ab")) as Uint8Array).constructor, Uint8Array);
  assert.deepEqual(raw.decode(new Uint8Array(0)), new Uint8Array(0));
  assert.equal(raw.encode(undefined).length, 0);
  const target = new Uint8Array(4);
  assert.equal(raw.encodeInto(Uint8Array.of(7), target, 3), 1);
  assert.equal(raw.encodeInto(Uint8Array.of(7), target, 4), -1);
  for (const bad of ["text", null, [1], new Float64Array(1)]) {
    thrown(() => raw.encode(bad), "invalid");
  }
});

Deno.test("CodecTable finds by name and content type, and loads MessagePack when asked", async () => {
  const table = new CodecTable();
  assert.equal(table.get("json"), json);
  assert.equal(table.get("Application/JSON; charset=utf-8"), json);
  assert.equal(table.get("application/octet-stream"), raw);
  assert.deepEqual(table.names, ["json", "raw", "msgpack"]);
  assert.ok(table.has("application/x-msgpack") && !table.has("cbor"));
  assert.match(thrown(() => table.get("msgpack"), "invalid").remedy!, /load\("msgpack"\)/);
  const [first, second] = await Promise.all([table.load("msgpack"), table.load("msgpack")]);
  assert.equal(first, second);
  assert.equal(table.get("application/vnd.msgpack"), msgpack);
  assert.equal(await table.load("json"), json);
});

Deno.test("CodecTable suggests the nearest name, or lists what it knows", () => {
  const table = new CodecTable();
  assert.match(thrown(() => table.get("jsn"), "invalid").remedy!, /did you mean "json"/);
  assert.match(thrown(() => table.get("application/bson"), "invalid").remedy!, /application\/json/);
  assert.match(thrown(() => table.get("protobuf"), "invalid").remedy!, /json, raw, msgpack/);
});

Deno.test("CodecTable takes further codecs and refuses a taken name", async () => {
  const table = new CodecTable();
  const text: Codec = { ...raw, name: "text", contentType: "text/plain" };
  table.register(text);
  assert.equal(table.get("text/plain;charset=utf-8"), text);
  thrown(() => table.register({ ...text, contentType: "text/other" }), "invalid");
  thrown(() => table.register({ ...text, name: "other", contentType: "Text/Plain" }), "invalid");
  assert.ok(!table.has("other"), "a refused codec leaves no trace");
  let tries = 0;
  table.register({
    name: "flaky",
    contentType: "x/flaky",
    load: () => ++tries === 1 ? Promise.reject(new Error("offline")) : Promise.resolve(text),
  });
  await assert.rejects(table.load("flaky"), { code: "unavailable" });
  assert.equal(await table.load("flaky"), text);
  assert.equal(tries, 2);
});
