import assert from "node:assert/strict";
import { slotBytes, SlotReader, SlotWriter } from "./latest_slot.ts";

const PLACE = { offset: 0, capacity: 64 };

function slot(): { memory: SharedArrayBuffer; writer: SlotWriter; reader: SlotReader } {
  const memory = new SharedArrayBuffer(slotBytes(PLACE.capacity));
  return { memory, writer: new SlotWriter(memory, PLACE), reader: new SlotReader(memory, PLACE) };
}

Deno.test("slot: the newest is read once, and what it replaced is counted", () => {
  const { writer, reader } = slot();
  const value = new Uint8Array(64);
  assert.equal(reader.isNewer, false);
  assert.equal(reader.read(value), -1);
  for (let n = 1; n <= 100; n++) writer.write(new Uint8Array(n % 64).fill(n));
  assert.equal(reader.isNewer, true);
  assert.equal(reader.read(value), 36);
  assert.ok(value.subarray(0, 36).every((byte) => byte === 100));
  assert.equal(reader.overwritten, 99);
  assert.equal(reader.read(value), -1);
  writer.write(new Uint8Array(0));
  assert.equal(reader.read(value), 0);
  assert.equal(reader.overwritten, 0);
});

Deno.test("slot: the reader is told once, until it has looked", () => {
  const { writer, reader } = slot();
  writer.write(new Uint8Array(1));
  assert.equal(writer.tells(), true);
  writer.write(new Uint8Array(1));
  assert.equal(writer.tells(), false);
  reader.listen();
  assert.equal(reader.read(new Uint8Array(64)), 1);
  writer.write(new Uint8Array(1));
  assert.equal(writer.tells(), true);
});

Deno.test("slot: a writer that died in the middle of a value has not touched the newest", () => {
  const { memory, writer, reader } = slot();
  writer.write(new Uint8Array(8).fill(1));
  // What a writer does before it publishes, as far as it got.
  const next = 256 + 2 * (8 + PLACE.capacity);
  new Uint8Array(memory).fill(9, next, next + 40);
  const value = new Uint8Array(64);
  assert.equal(reader.read(value), 8);
  assert.equal(value[0], 1);
  // Another one goes on.
  new SlotWriter(memory, PLACE).write(new Uint8Array(3).fill(2));
  assert.equal(reader.read(value), 3);
  assert.equal(value[0], 2);
});

Deno.test("slot: a length that cannot be is protocol, a value that does not fit too_large", () => {
  const { memory, writer, reader } = slot();
  assert.throws(() => writer.write(new Uint8Array(65)), { code: "too_large" });
  writer.write(new Uint8Array(8));
  for (const length of [-1, 65, 0x7fff_ffff]) {
    new Int32Array(memory)[(256 + 72) / 4] = length;
    assert.throws(() => reader.read(new Uint8Array(64)), { code: "protocol" });
  }
});

Deno.test("slot: what does not fit is invalid", () => {
  const memory = new SharedArrayBuffer(slotBytes(64));
  for (
    const place of [{ offset: 8, capacity: 64 }, { offset: 0, capacity: 63 }, {
      offset: -8,
      capacity: 8,
    }]
  ) {
    assert.throws(() => new SlotWriter(memory, place), { code: "invalid" });
  }
});

Deno.test("slot: against a writer that never stops, every value read is whole and newer", async () => {
  const capacity = 2048;
  const count = 300_000;
  const memory = new SharedArrayBuffer(slotBytes(capacity));
  const reader = new SlotReader(memory, { offset: 0, capacity });
  const worker = new Worker(new URL("./testdata/slot_worker.ts", import.meta.url), {
    type: "module",
  });
  let done = false;
  const ended = new Promise<void>((resolve) => {
    worker.onmessage = () => {
      done = true;
      resolve();
    };
  });
  worker.postMessage({ memory, capacity, count });
  const bytes = new Uint8Array(capacity);
  const value = new Int32Array(bytes.buffer);
  let last = 0;
  let read = 0;
  let passed = 0;
  for (let looks = 0; last < count; looks++) {
    const over = done; // Asked before the look: what was written last must still be found by it.
    const length = reader.read(bytes);
    if (length >= 0) {
      const [n] = value;
      assert.ok(n > last, `${n} after ${last}`);
      assert.equal(length, 4 + (n * 52) % (capacity - 4) & ~3);
      assert.ok(value.subarray(0, length / 4).every((word) => word === n), `${n} is torn`);
      passed += reader.overwritten;
      read++;
      last = n;
    }
    // The other side is told to stop by nobody; it ends by itself.
    if (looks % 1000 === 0) await new Promise((resolve) => setTimeout(resolve));
    if (over && length < 0) break;
  }
  await ended;
  worker.terminate();
  assert.equal(last, count);
  assert.equal(read + passed, count);
});

Deno.test("slot: the writer knows whether what it told of has been read", () => {
  const { writer, reader } = slot();
  const value = new Uint8Array(64);
  assert.equal(writer.wasRead, true);
  writer.write(new Uint8Array(1));
  assert.equal(writer.tells(), true);
  assert.equal(writer.wasRead, false);
  reader.listen();
  assert.equal(writer.wasRead, false, "it is reading");
  reader.read(value);
  assert.equal(writer.wasRead, true);
  // Something new while it reads: it was told of that, and has not read it.
  reader.listen();
  writer.write(new Uint8Array(1));
  assert.equal(writer.tells(), true);
  reader.read(value);
  assert.equal(writer.wasRead, false);
  reader.listen();
  assert.equal(reader.read(value), -1);
  assert.equal(writer.wasRead, true);
});
