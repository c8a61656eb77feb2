/**
 * A peer that writes whatever it likes wherever it likes into the memory of a pair, and pairs that
 * come and go by the hundred: nobody hangs, nothing is left.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type BytesView, open, PatchbayError } from "@patchbay/core";
import { libcAvailability } from "@patchbay/ffi";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import { MIN_RING_BYTES, segmentBytes } from "./control.ts";
import { createSharedMemory, type SharedMemoryConfig } from "./plugin.ts";

const WATCHDOG_MS = 30_000;
/** `PATCHBAY_PAIRS=1000 PATCHBAY_RUNS=2000` for the long form. */
const PAIRS = Number(Deno.env.get("PATCHBAY_PAIRS") ?? 30);
const RUNS = Number(Deno.env.get("PATCHBAY_RUNS") ?? 40);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: here.name(`shared_memory: ${title}`), ignore: here.ignore, fn });
}

/** Bays of this process, and the memory of their pairs. */
async function place(doorbell: SharedMemoryConfig["doorbell"] = "socket") {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const memories: ArrayBufferLike[] = [];
  const plugin = createSharedMemory({ onRings: ({ bytes }) => memories.push(bytes.buffer) });
  const config = { ringBytes: MIN_RING_BYTES, reconnectMinMs: 1, reconnectMaxMs: 5, doorbell };
  return {
    memories,
    open: (module: string) =>
      open({
        module,
        plugins: [plugin],
        config: { shared_memory: config },
        directory: (identity) => HostDirectory.open(identity, { path }),
      }),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

async function watched<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: still waiting`)), WATCHDOG_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const WORDS = segmentBytes(MIN_RING_BYTES) / 4;
const SECOND = (segmentBytes(MIN_RING_BYTES) - MIN_RING_BYTES - 640) / 4;
const scribbles = fc.array(
  fc.record({
    at: fc.oneof(
      // Heads, tails, flags and the first messages of both rings; the slots; anything.
      fc.nat(200),
      fc.nat(200).map((word) => SECOND + word),
      fc.integer({ min: (MIN_RING_BYTES + 640) / 4, max: SECOND - 1 }),
      fc.nat(WORDS - 1),
    ),
    value: fc.oneof(
      fc.constantFrom(-1, 0, 1, 8, 24, 2 ** 31 - 1, -(2 ** 31)),
      fc.integer(),
      fc.nat(100),
    ),
    turns: fc.nat(2),
  }),
  { minLength: 1, maxLength: 12 },
);

test("a peer that scribbles over all of the memory ends its own connection at most", async () => {
  await using there = await place();
  await using far = await there.open("far");
  await using near = await there.open("near");
  await far.serve("far/echo", (value) => value);
  const state = await far.speaker<number>("far/state");
  const image = await far.speaker<Uint8Array>("far/image");
  await near.listen("far/state", () => {}, { latest: true });
  await near.listen("far/image", (view: BytesView) => void view.copy(), { views: true });
  const callTo = (value: unknown) => near.call("far/echo", value, { timeoutMs: 300 });
  /** Calls until one is answered: what lies in the memory may be spoilt, and a new pair made. */
  const answered = async () => {
    for (let n = 0;; n++) {
      try {
        return assert.equal(await callTo(n), n);
      } catch (error) {
        if (!(error instanceof PatchbayError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  };
  await watched("the first answer", answered());
  await fc.assert(
    fc.asyncProperty(scribbles, async (all) => {
      const memory = there.memories.findLast(({ byteLength }) => byteLength > 0);
      const under = [1, 2, 3].map((n) => callTo({ n, text: "x".repeat(1000 * n) }));
      under.push(callTo(new Uint8Array(100_000)));
      const settled = Promise.allSettled(under);
      for (const { at, value, turns } of all) {
        if (memory !== undefined && memory.byteLength > 0) new Int32Array(memory)[at] = value;
        state.shout(at);
        image.shout(new Uint8Array(1000));
        for (let n = 0; n < turns; n++) await new Promise((resolve) => setTimeout(resolve));
      }
      const ends = await watched("what was under way", settled);
      for (const end of ends) {
        if (end.status === "rejected") assert.ok(end.reason instanceof PatchbayError, end.reason);
      }
      // A ring that only looks full or empty is noticed by nobody: it is cut as a user would.
      await watched("an answer", Promise.race([answered(), cutLater(there.memories)]));
      await watched("an answer in the end", answered());
    }),
    { numRuns: RUNS },
  );
});

/** Breaks the newest pair's rings for good if it has got stuck. */
async function cutLater(memories: readonly ArrayBufferLike[]): Promise<void> {
  await new Promise((resolve) => Deno.unrefTimer(setTimeout(resolve, 1000)));
  for (const memory of memories) if (memory.byteLength > 0) new Int32Array(memory).fill(-1);
}

for (const doorbell of ["socket", "semaphore"] as const) {
  test(`pairs that come and go leave nothing behind, woken by the ${doorbell}`, async () => {
    await using there = await place(doorbell);
    const count = (path: string) => [...Deno.readDirSync(path)].length;
    const now = () => ({
      files: count("/proc/self/fd"),
      maps: Deno.readTextFileSync("/proc/self/maps").split("\n")
        .filter((line) => line.includes("/dev/shm/pb-")).length,
    });
    await using far = await there.open("far");
    await far.serve("far/echo", (value) => value);
    const once = async () => {
      await using near = await there.open("near");
      assert.equal(await near.call("far/echo", 1, { timeoutMs: WATCHDOG_MS }), 1);
    };
    // What is made once and stays: libraries, watchers, the pool's own.
    for (let n = 0; n < 3; n++) await once();
    const settled = async () => {
      const start = performance.now();
      for (;;) {
        const is = now();
        if (performance.now() - start > 2000 || is.maps <= (doorbell === "socket" ? 0 : 1)) {
          return is;
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const before = await settled();
    for (let n = 0; n < PAIRS; n++) await once();
    const after = await settled();
    assert.deepEqual(after.maps, before.maps);
    assert.ok(after.files <= before.files + 2, `${before.files} files, then ${after.files}`);
  });
}
