import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "../errors.ts";
import {
  commonVersion,
  decodeControl,
  decodeHeaders,
  decodeHello,
  decodeHelloAck,
  encodeControl,
  encodeHeaders,
  encodeHello,
  HEADER_BYTES,
  type Hello,
  type HelloAck,
  Kind,
  laneOf,
  MAGIC,
  MAX_HEADERS_BYTES,
  MAX_HELLO_BYTES,
  VERSIONS,
  writeHeader,
} from "./envelope.ts";
import { Frame } from "./frame.ts";
import { HELLO } from "./testing/rig.ts";

const { versions: _, credentials: __, ...rest } = HELLO;
const ACK: HelloAck = { ...rest, version: 1 };

/** Runs a decoder on bytes that nobody vouches for: it decodes, or throws a `protocol` error. */
function decodesOrRefuses(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    decode(bytes);
  } catch (error) {
    assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
    assert.equal(error.code, "protocol");
  }
}

/** Bytes that are nearly right: cut, with bytes changed, with JSON values exchanged. */
function nearly(original: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc.tuple(
    fc.nat(original.length),
    fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 4 }),
    fc.boolean(),
  ).map(([end, changes, cut]) => {
    const bytes = original.slice();
    for (const [at, byte] of changes) bytes[at] = byte;
    return cut ? bytes.subarray(0, end) : bytes;
  });
}

/** A JSON object in which some fields of a good one are something else. */
function exchanged(original: object): fc.Arbitrary<object> {
  const keys = Object.keys(original);
  return fc.dictionary(fc.constantFrom(...keys, "__proto__", "x"), fc.jsonValue(), { maxKeys: 4 })
    .map((changes) => ({ ...original, ...changes }));
}

function withMagic(value: unknown): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(value));
  const bytes = new Uint8Array(MAGIC.length + json.length);
  bytes.set(MAGIC);
  bytes.set(json, MAGIC.length);
  return bytes;
}

Deno.test("header: what is written is read, whatever it is", () => {
  const byte = fc.nat(255);
  const word = fc.nat(0xffff_ffff);
  const fields = fc.tuple(byte, byte, byte, byte, byte, word, word, fc.double(), fc.nat(40));
  fc.assert(
    fc.property(fields, ([kind, flags, codec, priority, ttl, id, route, number, at]) => {
      const buffer = new Uint8Array(at + HEADER_BYTES + 5);
      const view = new DataView(buffer.buffer);
      writeHeader(view, at, kind, flags, codec, priority, 2, id, route, number, ttl);
      const frame = new Frame();
      frame.read(buffer, at, buffer.length);
      const { kind: k, flags: f, codec: c, priority: p, ttl: t, id: i, route: r } = frame;
      assert.deepEqual([k, f, c, p, t, i, r], [kind, flags, codec, priority, ttl, id, route]);
      assert.ok(Object.is(frame.number, number));
      assert.equal(frame.bodyBytes, 3);
    }),
    { numRuns: 500 },
  );
});

Deno.test("header: the layout is that of the document, byte for byte", () => {
  const bytes = new Uint8Array(HEADER_BYTES);
  writeHeader(new DataView(bytes.buffer), 0, 1, 2, 3, 4, 0x0506, 0x0708090a, 0x0b0c0d0e, 1.5, 15);
  const expected = "01020304" + "0f000605" + "0a090807" + "0e0d0c0b" + "000000000000f83f";
  assert.equal(bytes.toHex(), expected);
});

Deno.test("kinds: the numbers do not change, and none is used twice", () => {
  const numbers = Object.values(Kind);
  assert.equal(new Set(numbers).size, numbers.length);
  // Others may be added.
  const first = "hello=1 helloAck=2 goodbye=3 heartbeat=4 credit=5 route=6 fragment=7 request=16 " +
    "response=17 error=18 cancel=19 send=20 subscribe=32 subscribeAck=33 unsubscribe=34 " +
    "event=35 broadcast=36 goal=48 accepted=49 feedback=50 result=51 cancelJob=52 attach=53";
  const now = Object.entries(Kind).map(([name, n]) => `${name}=${n}`);
  for (const pair of first.split(" ")) assert.ok(now.includes(pair), `${pair} has changed`);
});

Deno.test("lanes: 64 priorities each, the most urgent is 3", () => {
  for (let priority = 0; priority < 256; priority++) {
    assert.equal(laneOf(priority), Math.floor(priority / 64));
  }
});

Deno.test("versions: overlapping ranges give the highest common one, disjoint ones none", () => {
  assert.equal(commonVersion([1, 7], [1, 3]), 3);
  assert.equal(commonVersion([2, 2], [1, 3]), 2);
  assert.equal(commonVersion([3, 9], [1, 3]), 3);
  assert.equal(commonVersion([4, 9], [1, 3]), undefined);
  assert.equal(commonVersion([1, 2], [3, 4]), undefined);
  const range = fc.tuple(fc.nat(9), fc.nat(9));
  fc.assert(fc.property(range, range, (theirs, ours) => {
    const both = [...Array(10).keys()].filter((v) =>
      v >= theirs[0] && v <= theirs[1] && v >= ours[0] && v <= ours[1]
    );
    assert.equal(commonVersion(theirs, ours), both.at(-1));
  }));
});

Deno.test("hello: what is said is heard, unknown fields are left alone", () => {
  assert.deepEqual(decodeHello(encodeHello(HELLO)), HELLO);
  assert.deepEqual(decodeHelloAck(encodeHello(ACK)), ACK);
  const later = { ...HELLO, versions: [1, 9], mood: "good" };
  assert.deepEqual(decodeHello(withMagic(later)).versions, [1, 9]);
  const { metadata: _, ...bare } = HELLO;
  assert.deepEqual(decodeHello(withMagic(bare)).metadata, {});
});

Deno.test("hello: a disjoint version range is told before anything else is looked at", () => {
  for (const versions of [[7, 9], [-3, 0], [5, 1]]) {
    assert.throws(() => decodeHello(withMagic({ versions, future: true })), {
      code: "protocol",
      message: new RegExp(`versions ${versions[0]} to ${versions[1]}.*${VERSIONS[0]} to`),
    });
  }
  assert.throws(() => decodeHelloAck(encodeHello({ ...ACK, version: 2 })), { code: "protocol" });
  assert.throws(() => decodeHelloAck(encodeHello({ ...ACK, version: 1.5 })), { code: "protocol" });
});

Deno.test("hello: a wrong field is refused", () => {
  const wrong: Record<string, unknown>[] = [
    { bay: null },
    { bay: [] },
    { bay: { id: "a".repeat(65), module: "m", instance: "i" } },
    { bay: { id: 1, module: "m", instance: "i" } },
    { codecs: "json" },
    { codecs: Array(65).fill("json") },
    { codecs: ["a".repeat(256)] },
    { compression: [1] },
    { capabilities: null },
    { maxMessageBytes: 0 },
    { maxMessageBytes: "1" },
    { windowBytes: -1 },
    { windowBytes: 65_535 },
    { metadata: { a: 1 } },
    { metadata: [] },
    { metadata: "text" },
    { credentials: 5 },
    { versions: [1] },
    { versions: [1, "1"] },
    { versions: [0.5, 1.5] },
  ];
  for (const field of wrong) {
    const told = JSON.stringify(field);
    const bytes = withMagic({ ...HELLO, ...field });
    assert.throws(() => decodeHello(bytes), { code: "protocol" }, told);
    if ("credentials" in field || "versions" in field) continue;
    const ack = withMagic({ ...ACK, ...field });
    assert.throws(() => decodeHelloAck(ack), { code: "protocol" }, told);
  }
  const large = withMagic({ ...HELLO, more: "x".repeat(MAX_HELLO_BYTES) });
  assert.throws(() => decodeHello(large), { code: "protocol" });
  assert.throws(() => decodeHelloAck(withMagic({ ...ACK, codecs: [] })), { code: "protocol" });
});

Deno.test("hello, hello-ack, headers, control bodies: whatever comes is decoded or refused", () => {
  const garbage = fc.uint8Array({ maxLength: 300 });
  const json = fc.json().map((text) => new TextEncoder().encode(text));
  const hello = fc.oneof(
    garbage,
    nearly(encodeHello(HELLO)),
    exchanged(HELLO).map(withMagic),
    fc.jsonValue().map(withMagic),
  );
  const ack = fc.oneof(garbage, nearly(encodeHello(ACK)), exchanged(ACK).map(withMagic));
  fc.assert(fc.property(hello, (bytes) => decodesOrRefuses(decodeHello, bytes)), { numRuns: 2000 });
  fc.assert(fc.property(ack, (bytes) => decodesOrRefuses(decodeHelloAck, bytes)), {
    numRuns: 2000,
  });
  for (const decode of [decodeHeaders, decodeControl]) {
    fc.assert(
      fc.property(fc.oneof(garbage, json), (bytes) => decodesOrRefuses(decode, bytes)),
      { numRuns: 1000 },
    );
  }
});

Deno.test("a decoded hello can be used: every field has its type", () => {
  fc.assert(
    fc.property(exchanged(HELLO).map(withMagic), (bytes) => {
      let hello: Hello;
      try {
        hello = decodeHello(bytes);
      } catch {
        return;
      }
      assert.ok(hello.codecs.every((name) => typeof name === "string"));
      assert.ok(hello.windowBytes > 0 && hello.maxMessageBytes > 0);
      assert.equal(typeof hello.bay.module, "string");
      assert.equal(Object.getPrototypeOf(hello), Object.prototype);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("headers: strings come back, anything else is refused before it is sent", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string(), { maxKeys: 8 }), (headers) => {
      assert.deepEqual({ ...decodeHeaders(encodeHeaders(headers)) }, { ...headers });
    }),
  );
  const bad = { n: 1 } as unknown as Record<string, string>;
  assert.throws(() => encodeHeaders(bad), { code: "invalid" });
  assert.throws(() => encodeHeaders({ a: "x".repeat(MAX_HEADERS_BYTES) }), { code: "too_large" });
  for (const wrong of ["[]", '{"a":1}', "null", '"a"', "{", ""]) {
    assert.throws(() => decodeHeaders(new TextEncoder().encode(wrong)), { code: "protocol" });
  }
});

Deno.test("control bodies: objects come back", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
    const back = decodeControl(encodeControl(value));
    assert.equal(JSON.stringify(back), JSON.stringify(value));
  }));
});
