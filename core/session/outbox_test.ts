import assert from "node:assert/strict";
import { FRAGMENT_BYTES, HEADER_BYTES, Kind, LANES } from "./envelope.ts";
import { type FrameSource, LARGEST_WHOLE, Outbox, RESERVE_BYTES, Waiting } from "./outbox.ts";
import { MemoryLink } from "./testing/memory_link.ts";

const WINDOW = 64 * 1024;

/** An outbox on a link that accepts without end, and what it has sent. */
function outbox(maxBytes = 1_000_000): { box: Outbox; sent: Uint8Array[]; link: MemoryLink } {
  const [link, other] = MemoryLink.pair({ capacityBytes: 1e9 });
  const sent: Uint8Array[] = [];
  link.onWrite = (frame) => {
    sent.push(frame);
    link.flush();
  };
  other.pause();
  const box = new Outbox(link, maxBytes);
  box.open(WINDOW);
  return { box, sent, link };
}

function frame(size: number, mark = 0): Waiting {
  const bytes = new Uint8Array(size);
  bytes[0] = Kind.request;
  bytes[size - 1] = mark;
  return new Waiting(bytes);
}

Deno.test("lanes: each leaves to those above it what is theirs", () => {
  for (let lane = 0; lane < LANES; lane++) {
    const { box } = outbox();
    let sent = 0;
    for (; box.clear(lane, 1024, true); sent += 1024) box.paid(1024);
    const limit = WINDOW - RESERVE_BYTES * (LANES - 1 - lane);
    assert.equal(sent, Math.floor(limit / 1024) * 1024);
    for (let above = lane + 1; above < LANES; above++) {
      assert.ok(box.clear(above, RESERVE_BYTES, true), `lane ${above} has no room above ${lane}`);
    }
    assert.ok(box.outstanding <= WINDOW);
  }
});

Deno.test("lanes: what waits goes out by urgency, in order within a lane, when credit comes", () => {
  const { box, sent } = outbox();
  box.paid(WINDOW);
  for (let n = 0; n < 3; n++) {
    for (let lane = 0; lane < LANES; lane++) box.queue(lane, frame(100, lane * 10 + n), 100, true);
  }
  assert.equal(sent.length, 0);
  assert.equal(box.queuedBytes, 1200);
  box.credited(WINDOW);
  assert.deepEqual(sent.map((bytes) => bytes[99]), [30, 31, 32, 20, 21, 22, 10, 11, 12, 0, 1, 2]);
  assert.equal(box.queuedBytes, 0);
  assert.equal(box.outstanding, 1200);
  assert.ok(box.idle);
});

Deno.test("what needs no credit does not wait for it", () => {
  const { box, sent } = outbox();
  box.paid(WINDOW);
  assert.ok(box.clear(0, 1000, false));
  box.queue(0, frame(100, 1), 100, true);
  box.queue(0, frame(100, 2), 100, false);
  assert.deepEqual(sent.map((bytes) => bytes[99]), [2]);
});

Deno.test("one frame may go however small the window is, when nothing is outstanding", () => {
  const { box, sent } = outbox();
  box.open(1);
  box.queue(0, frame(5000), 5000, true);
  box.queue(0, frame(5000), 5000, true);
  assert.equal(sent.length, 1);
  box.credited(5000);
  assert.equal(sent.length, 2);
});

Deno.test("large messages are cut, and higher lanes go in between", () => {
  const { box, sent } = outbox();
  const size = 100_000;
  box.queue(0, frame(size, 9), size, true);
  const before = sent.length;
  assert.ok(before >= 1 && before < 4);
  assert.ok(sent.every((bytes) => bytes[0] === Kind.fragment && bytes.length <= LARGEST_WHOLE));
  box.queue(3, frame(50, 7), 50, true);
  assert.equal(sent.at(-1)?.[49], 7);
  while (!box.idle) box.credited(WINDOW);
  const pieces = sent.filter((bytes) => bytes[0] === Kind.fragment);
  assert.equal(pieces.length, Math.ceil(size / FRAGMENT_BYTES));
  const bytes = pieces.reduce((sum, piece) => sum + piece.length - HEADER_BYTES, 0);
  assert.equal(bytes, size);
  assert.equal(box.queuedBytes, 0);
});

Deno.test("a frame of a whole fragment's size goes whole, one byte more is cut", () => {
  for (const [size, frames] of [[LARGEST_WHOLE, 1], [LARGEST_WHOLE + 1, 2]]) {
    const { box, sent } = outbox();
    box.queue(3, frame(size), size, true);
    assert.equal(sent.length, frames);
  }
});

Deno.test("the link's gate: nothing more while 64 KiB are in it, and on when they are out", () => {
  const [link, other] = MemoryLink.pair({ capacityBytes: 1 });
  other.start({ frame() {}, batchEnd() {}, drained() {}, malformed() {}, closed() {} });
  other.pause();
  const box = new Outbox(link, 1e6);
  box.open(1e9);
  link.start({ frame() {}, batchEnd() {}, drained: () => box.pump(), malformed() {}, closed() {} });
  for (let n = 0; n < 100; n++) box.queue(0, frame(1000), 1000, false);
  assert.ok(link.buffered <= WINDOW + 1000, `${link.buffered}`);
  assert.ok(!box.idle && !box.clear(3, 10, false));
  other.step(0);
  while (other.step(1) > 0);
  assert.ok(box.idle);
});

Deno.test("what was taken back is skipped; what is being cut is not counted twice", () => {
  const { box, sent } = outbox();
  box.paid(WINDOW);
  const [one, two] = [frame(500, 1), frame(500, 2)];
  box.queue(0, one, 500, true);
  box.queue(0, two, 500, true);
  one.bytes = undefined;
  box.changed(-500);
  assert.deepEqual([box.idle, box.queuedBytes], [false, 500]);
  box.credited(WINDOW);
  assert.deepEqual(sent.map((bytes) => bytes[499]), [2]);
  assert.deepEqual([box.idle, box.queuedBytes], [true, 0]);
  const large = frame(200_000);
  box.queue(0, large, 200_000, true);
  assert.equal(large.bytes, undefined, "it has begun to leave: it cannot be taken back");
  assert.ok(!large.sent);
});

Deno.test("whoever waits for a message to be sent goes on: then, before, or when it ends", async () => {
  const { box } = outbox();
  const small = frame(10);
  box.queue(0, small, 10, true);
  await small.whenSent();
  const waiting = [frame(200_000), frame(10)];
  for (const each of waiting) box.queue(0, each, each.bytes?.length ?? 0, true);
  const sent = waiting.map((each) => each.whenSent());
  box.close();
  await Promise.all(sent);
  assert.deepEqual([box.idle, box.queuedBytes], [true, 0]);
});

Deno.test("full: by bytes, and by number whatever the size", () => {
  const { box } = outbox(10_000);
  box.paid(WINDOW);
  for (let n = 0; n < 10; n++) box.queue(0, frame(1000), 1000, true);
  assert.ok(box.full);
  const { box: many } = outbox(1e9);
  many.paid(WINDOW);
  const nothing: FrameSource = { nextFrame: () => undefined };
  for (let n = 0; n < 65_536; n++) many.queue(0, nothing, 0, true);
  assert.ok(many.full);
  many.credited(WINDOW);
  assert.ok(!many.full && many.idle);
});

Deno.test("relaxed: told when half the window is free again", () => {
  const { box } = outbox();
  let told = 0;
  box.onRelaxed.add(() => told++);
  box.paid(WINDOW);
  box.credited(1000);
  assert.equal(told, 0);
  box.credited(WINDOW / 2);
  assert.equal(told, 1);
});
