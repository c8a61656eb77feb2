import assert from "node:assert/strict";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { loadCompressor } from "./compression.ts";
import type { CompressorName } from "./compression.ts";
import { PatchbayError } from "./errors.ts";

const deflate = await loadCompressor("deflate");

function code(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
    return error.code;
  }
}

/** Bytes that compress: few letters, long repeats, and noise between them. */
const bytes = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.nat(255), fc.nat(5000)).map(([byte, size]) => new Uint8Array(size).fill(byte)),
    fc.string({ maxLength: 300 }).map((text) => new TextEncoder().encode(text)),
  ),
  { maxLength: 8 },
).map((parts) => new Uint8Array(Buffer.concat(parts)));

Deno.test("deflate: what is compressed comes back, up to the exact limit and no further", () => {
  fc.assert(
    fc.property(bytes, (original) => {
      const small = deflate.compress(original);
      const restored = deflate.decompress(small, original.length);
      assert.equal(restored.constructor, Uint8Array);
      assert.deepEqual(restored, original);
      if (original.length > 0) {
        assert.equal(code(() => deflate.decompress(small, original.length - 1)), "too_large");
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("deflate is raw DEFLATE: zlib reads ours and we read zlib's, at every level", () => {
  fc.assert(
    fc.property(bytes, fc.integer({ min: 0, max: 9 }), (original, level) => {
      assert.deepEqual(new Uint8Array(inflateRawSync(deflate.compress(original))), original);
      const theirs = new Uint8Array(deflateRawSync(original, { level }));
      assert.deepEqual(deflate.decompress(theirs, original.length), original);
    }),
    { numRuns: 300 },
  );
});

Deno.test("deflate: messages of many slices come back", () => {
  const noise = new Uint8Array(1_000_000);
  for (let at = 0; at < noise.length; at += 50_000) {
    crypto.getRandomValues(noise.subarray(at, at + 25_000));
  }
  for (const maxBytes of [noise.length, 10 << 20]) {
    assert.deepEqual(deflate.decompress(deflate.compress(noise), maxBytes), noise);
    const theirs = new Uint8Array(deflateRawSync(noise));
    assert.deepEqual(deflate.decompress(theirs, maxBytes), noise);
  }
});

Deno.test("deflate: a bomb is refused while inflating, soon after the limit", () => {
  const bomb = new Uint8Array(deflateRawSync(new Uint8Array(50_000_000), { level: 9 }));
  for (const max of [0, 1, 1000, 1_000_000]) {
    try {
      deflate.decompress(bomb, max);
      assert.fail("inflated a bomb");
    } catch (error) {
      assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
      assert.equal(error.code, "too_large");
      const { size, max: stated } = error.details as { size: number; max: number };
      assert.equal(stated, max);
      assert.ok(size - max < 600_000, `inflated ${size} bytes for a limit of ${max}`);
    }
  }
});

Deno.test("deflate: every truncation is a protocol error", () => {
  const original = new TextEncoder().encode(JSON.stringify(
    Array.from({ length: 60 }, (_, id) => ({ id, name: `sensor-${id % 7}`, x: Math.sin(id) })),
  ));
  for (const small of [deflate.compress(original), new Uint8Array(deflateRawSync(original))]) {
    for (let length = 0; length < small.length; length++) {
      assert.equal(code(() => deflate.decompress(small.subarray(0, length), 1e6)), "protocol");
    }
  }
});

Deno.test("deflate: arbitrary and damaged bytes inflate within the limit or fail as PatchbayError", () => {
  const max = 100_000;
  const check = (damaged: Uint8Array) => {
    let restored: Uint8Array | undefined;
    const failure = code(() => restored = deflate.decompress(damaged, max));
    if (failure === undefined) assert.ok(restored !== undefined && restored.length <= max);
    else assert.ok(failure === "protocol" || failure === "too_large", failure);
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 2000 }), check), { numRuns: 1000 });
  const damaged = fc.tuple(bytes, fc.nat(), fc.nat(255)).map(([original, position, byte]) => {
    const small = deflate.compress(original);
    small[position % small.length] = byte;
    return small;
  });
  fc.assert(fc.property(damaged, check), { numRuns: 1000 });
});

Deno.test("deflate: a long tail after the stream is refused", () => {
  const tail = new Uint8Array(1_000_000);
  tail.set(deflate.compress(new Uint8Array(100)));
  assert.equal(code(() => deflate.decompress(tail, 1e6)), "protocol");
});

Deno.test("loadCompressor() refuses a name that it does not know", async () => {
  await assert.rejects(loadCompressor("zstd" as CompressorName), { code: "invalid" });
});
