import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "../errors.ts";
import { encodeHeaders, HEADER_BYTES, Kind } from "./envelope.ts";
import { Frame } from "./frame.ts";
import { rawFrame } from "./testing/rig.ts";

Deno.test("frame: header block and body lie where they should, wherever the frame lies", () => {
  const headers = fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }));
  fc.assert(
    fc.property(headers, fc.uint8Array({ maxLength: 50 }), fc.nat(20), (given, body, at) => {
      const bytes = rawFrame({ kind: Kind.request, headers: encodeHeaders(given), body });
      const outer = new Uint8Array(at + bytes.length + 9).fill(0xff);
      outer.set(bytes, at);
      const frame = new Frame();
      // In the middle of a larger memory.
      frame.read(outer.subarray(0, outer.length), at, at + bytes.length);
      assert.deepEqual({ ...frame.headers() }, { ...given });
      assert.deepEqual(frame.body(), body);
      assert.equal(frame.bodyBytes, body.length);
    }),
  );
});

Deno.test("frame: without a header block there are no headers", () => {
  const frame = new Frame();
  const bytes = rawFrame({ kind: Kind.request, body: new Uint8Array(3) });
  frame.read(bytes, 0, bytes.length);
  assert.equal(frame.headers(), undefined);
});

Deno.test("frame: too short, or with too long a header block, is refused", () => {
  const frame = new Frame();
  for (let length = 0; length < HEADER_BYTES; length++) {
    assert.throws(() => frame.read(new Uint8Array(100), 0, length), { code: "protocol" });
  }
  const bytes = rawFrame({ kind: Kind.request, headers: new Uint8Array(10) });
  assert.throws(() => frame.read(bytes, 0, bytes.length - 1), { code: "protocol" });
  frame.read(bytes, 0, bytes.length);
  assert.throws(() => frame.headers(), { code: "protocol" });
});

Deno.test("frame: whatever comes is read or refused, and never reaches beyond its end", () => {
  const frame = new Frame();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, length) => {
      const end = Math.min(length, bytes.length);
      try {
        frame.read(bytes, 0, end);
        assert.ok(frame.bodyBytes >= 0 && frame.bodyBytes <= end - HEADER_BYTES);
        assert.equal(frame.body().length, frame.bodyBytes);
        frame.headers();
      } catch (error) {
        assert.ok(error instanceof PatchbayError && error.code === "protocol", String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("frame: no text is decoded where the peer can still change it", () => {
  const bytes = rawFrame({
    kind: Kind.request,
    headers: encodeHeaders({ a: "b" }),
    body: new Uint8Array([1, 2]),
  });
  const decode = TextDecoder.prototype.decode;
  let inPlace = 0;
  TextDecoder.prototype.decode = function (input, options) {
    if (ArrayBuffer.isView(input) && input.buffer === bytes.buffer) inPlace++;
    return decode.call(this, input, options);
  };
  try {
    for (const shared of [false, true]) {
      const frame = new Frame(shared);
      frame.read(bytes, 0, bytes.length);
      assert.deepEqual({ ...frame.headers() }, { a: "b" });
      assert.equal(inPlace, 1, "memory of its own is read where it lies, shared memory is not");
      assert.equal(frame.body().buffer === bytes.buffer, !shared);
    }
  } finally {
    TextDecoder.prototype.decode = decode;
  }
});
