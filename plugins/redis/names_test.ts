import assert from "node:assert/strict";
import fc from "fast-check";
import { Names, ShoutReader } from "./names.ts";
import { isAfter, numberOf, readFields, readHeaders, textOf } from "./payload.ts";
import { Buffer } from "node:buffer";

const names = new Names("patchbay");
const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("redis names: what a shout's channel is made of is read from it again", () => {
  const address = fc.stringMatching(/^[a-z0-9_][a-z0-9_.-]*(\/[a-z0-9_][a-z0-9_.-]*){0,3}$/);
  const origin = fc.stringMatching(/^[0-9a-f]{16}$/);
  const codec = fc.constantFrom("json", "msgpack", "raw", "mine");
  const shout = fc.tuple(address, origin, fc.integer({ min: 1, max: 2 ** 53 - 1 }), codec);
  const reader = new ShoutReader(names);
  fc.assert(fc.property(fc.array(shout), (shouts) => {
    for (const [address, origin, sequence, codec] of shouts) {
      for (const n of [sequence, Math.max(1, sequence - 1), sequence]) {
        const channel = names.shout(address, origin, n, codec);
        const name = { address, origin, sequence: n, codec };
        assert.deepEqual(names.readShout(channel), name);
        assert.deepEqual(reader.read(bytes(channel)), name);
      }
    }
  }));
});

Deno.test("redis names: a channel that resembles the one before is not mistaken for it", () => {
  const reader = new ShoutReader(names);
  const read = (text: string) => reader.read(bytes(text));
  const origin = "0123456789abcdef";
  for (
    const text of [
      `patchbay:shout:a/b:${origin}:12:j`,
      `patchbay:shout:a/b:${origin}:13:m`,
      `patchbay:shout:a/b:${origin}:13:mine`,
      `patchbay:shout:a/b:${origin}::j`,
      `patchbay:shout:a/b:${origin}:1x:j`,
      `patchbay:shout:a/b:${origin}:14`,
      `patchbay:shout:a/b`,
      `patchbay:shout:a/b:${origin}:${"9".repeat(30)}:j`,
      `patchbay:shout:a/c:${origin}:15:j`,
      `other:shout:a/c:${origin}:15:j`,
      `patchbay:shout:a/c:${origin}:16:j`,
    ]
  ) {
    const shout = `patchbay:shout:a/b:${origin}:12:j`;
    assert.deepEqual(read(text), names.readShout(text), text);
    read(shout);
    assert.deepEqual(read(text), names.readShout(text), text);
  }
});

Deno.test("redis names: any bytes are read, or refused, and never more", () => {
  const reader = new ShoutReader(names);
  fc.assert(fc.property(fc.uint8Array(), fc.string(), (raw, text) => {
    for (const channel of [raw, bytes(`patchbay:shout:${text}`)]) {
      assert.deepEqual(reader.read(channel), names.readShout(new TextDecoder().decode(channel)));
    }
  }));
});

Deno.test("redis fields: any entry is read; what is not known is passed over", () => {
  const field = fc.tuple(
    fc.oneof(fc.string(), fc.constantFrom("value", "vital", "id", "re")),
    fc.string(),
  );
  fc.assert(fc.property(fc.array(field), (entry) => {
    const flat = entry.flatMap(([key, value]) => [Buffer.from(key), Buffer.from(value)]);
    const fields = readFields(flat);
    const last = new Map(entry);
    assert.equal(fields.value?.toString(), last.get("value"));
    assert.equal(fields.id?.toString(), last.get("id"));
    for (const each of Object.values(fields)) assert.equal(textOf(each), each.toString());
  }));
});

Deno.test("redis fields: numbers, headers, and the order of ids", () => {
  for (
    const [text, number] of [["0", 0], ["42", 42], ["", NaN], ["-1", NaN], ["1e3", NaN]] as const
  ) {
    assert.equal(numberOf(Buffer.from(text)), number);
  }
  assert.equal(numberOf(undefined), NaN);
  assert.equal(readHeaders({}), undefined);
  assert.deepEqual(readHeaders({ headers: Buffer.from('{"a":"b"}') }), { a: "b" });
  for (const bad of ["", "[]", "1", "null", '{"a":1}', '{"__proto__":"x"}']) {
    assert.throws(() => readHeaders({ headers: Buffer.from(bad) }), { code: "protocol" });
  }
  const ids = ["9-9", "10-0", "10-2", "10-10", "999-0", "1000-0"];
  for (const [i, a] of ids.entries()) {
    for (const [j, b] of ids.entries()) assert.equal(isAfter(a, b), i > j, `${a} ${b}`);
  }
});
