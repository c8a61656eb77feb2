/**
 * Messages that are larger than the ring, and what overtakes them there.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { open, PatchbayError } from "@patchbay/core";
import { libcAvailability } from "@patchbay/ffi";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import { createSharedMemory, type SharedMemoryConfig } from "./plugin.ts";

const MIB = 1024 * 1024;
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

/** Two bays of this process. */
async function pair(config: Partial<SharedMemoryConfig> = {}) {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const bay = (module: string) =>
    open({
      module,
      plugins: [createSharedMemory()],
      config: { shared_memory: config },
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
  const [near, far] = await Promise.all([bay("near"), bay("far")]);
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      await Promise.all([near.close(), far.close()]);
      await Deno.remove(parent, { recursive: true });
    },
  };
}

/** Bytes in which no piece is like another. */
function pattern(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let n = 0; n < words.length; n++) words[n] = Math.imul(n, 0x9e3779b1);
  return new Uint8Array(words.buffer, 0, length);
}

Deno.test({
  name: here.name("shared_memory: 64 MiB is the largest message where nobody says otherwise"),
  ignore: here.ignore,
  async fn() {
    await using there = await pair();
    await there.far.serve("far/echo", (value) => value);
    const bytes = pattern(64 * MIB);
    const answer = await there.near.call("far/echo", bytes, { timeoutMs: 60_000 }) as Uint8Array;
    assert.equal(answer.byteOffset, 0);
    assert.equal(answer.buffer.byteLength, bytes.length, "it has a buffer of its own");
    assert.equal(Buffer.compare(answer, bytes), 0);
    await assert.rejects(
      there.near.call("far/echo", new Uint8Array(64 * MIB + 1)),
      (error: PatchbayError) =>
        error.code === "too_large" && (error.details as { max: number }).max === 64 * MIB,
    );
  },
});

Deno.test({
  name: here.name("shared_memory: the largest message can be raised to 1 GiB, and no further"),
  ignore: here.ignore,
  async fn() {
    const maxMessageBytes = 1024 * MIB;
    await assert.rejects(
      pair({ maxMessageBytes: maxMessageBytes + 1 }),
      (error: PatchbayError) => error.code === "invalid" && /maxMessageBytes/.test(error.message),
    );
    await using there = await pair({ maxMessageBytes });
    await there.far.serve("far/length", (value) => (value as Uint8Array).length);
    const bytes = new Uint8Array(65 * MIB);
    assert.equal(await there.near.call("far/length", bytes, { timeoutMs: 60_000 }), bytes.length);
  },
});

Deno.test({
  name: here.name("shared_memory: the ring's size is that of who dials, as a power of two"),
  ignore: here.ignore,
  async fn() {
    const parent = await Deno.makeTempDir({ prefix: "pb-" });
    const path = openRuntimeDir({ path: `${parent}/run` });
    const sizes: number[] = [];
    const bay = (module: string, ringBytes: number) =>
      open({
        module,
        plugins: [createSharedMemory({
          onRings: (...rings) => void sizes.push(...rings.map(({ capacity }) => capacity)),
        })],
        config: { shared_memory: { ringBytes } },
        directory: (identity) => HostDirectory.open(identity, { path }),
      });
    {
      await using far = await bay("far", 1 * MIB);
      await using near = await bay("near", 100_000);
      await far.serve("far/echo", (value) => value);
      assert.equal(await near.call("far/echo", 1, { timeoutMs: 60_000 }), 1);
    }
    assert.deepEqual(sizes, [131_072, 131_072, 131_072, 131_072]);
    await Deno.remove(parent, { recursive: true });
  },
});

Deno.test({
  name: here.name("shared_memory: whatever ring and window, messages of every size come whole"),
  ignore: here.ignore,
  async fn() {
    const sizes = [1, 16_384, 16_385, 65_536, 131_000, 262_145, MIB - 24, MIB, 3 * MIB + 7];
    for (
      const config of [
        { ringBytes: 64 * 1024, windowBytes: 64 * 1024 },
        { ringBytes: 64 * 1024, windowBytes: 4 * MIB },
        { ringBytes: 8 * MIB, windowBytes: 64 * 1024 },
        { ringBytes: 8 * MIB, windowBytes: 4 * MIB },
        { ringBytes: 128 * 1024, windowBytes: 100_000, codec: "json" },
      ]
    ) {
      await using there = await pair(config);
      await there.far.serve("far/echo", (value) => value);
      const echo = there.near.callable<unknown, unknown>("far/echo");
      // The first makes the connection, the second is bound to it.
      for (let n = 0; n < 2; n++) assert.equal(await echo.call(n), n);
      const calls = sizes.map(async (size) => {
        const bytes = pattern(size);
        const sent = bytes.slice();
        const answer = echo.call(sent, { timeoutMs: 60_000 });
        // What was handed over is the caller's again as soon as the call is on its way.
        sent.fill(0);
        return Buffer.compare(await answer as Uint8Array, bytes) === 0;
      });
      const text = "é".repeat(400_000);
      assert.deepEqual(await echo.call({ text }), { text });
      assert.deepEqual(await Promise.all(calls), sizes.map(() => true), JSON.stringify(config));
    }
  },
});

Deno.test({
  name: here.name("shared_memory: an urgent call waits behind a window of bulk at most"),
  ignore: here.ignore,
  async fn() {
    const windowBytes = 256 * 1024;
    await using there = await pair({ windowBytes });
    const order: string[] = [];
    await there.far.serve(
      "far/bulk",
      (value) => void order.push(`bulk ${(value as Uint8Array)[0]}`),
    );
    await there.far.serve("far/urgent", () => void order.push("urgent"));
    await there.near.call("far/bulk", new Uint8Array(1));
    order.length = 0;
    const bulk = Array.from(
      { length: 32 },
      (_, n) =>
        there.near.call("far/bulk", new Uint8Array(64 * 1024).fill(n), {
          priority: 10,
          timeoutMs: 60_000,
        }),
    );
    const urgent = there.near.call("far/urgent", 0, { priority: 255 });
    await Promise.all([...bulk, urgent]);
    assert.equal(order.length, 33);
    const before = order.indexOf("urgent");
    assert.ok(before * 64 * 1024 <= windowBytes, `behind ${before} messages of 64 KiB`);
    assert.deepEqual(order.filter((each) => each !== "urgent"), bulk.map((_, n) => `bulk ${n}`));
  },
});

Deno.test({
  name: here.name(
    "shared_memory: what is given up in the middle of a large message costs no credit",
  ),
  ignore: here.ignore,
  async fn() {
    await using there = await pair({ ringBytes: 64 * 1024, windowBytes: 64 * 1024 });
    const { near, far } = there;
    // Those of one side never answer while the other still sends.
    await near.serve("near/echo", (value) => value, { maxConcurrent: 1000 });
    await far.serve("far/echo", (value) => value, { maxConcurrent: 1000 });
    const sizes = [30_000, 70_000, 200_000, 500_000];
    const ends = { answered: 0, "given up": 0 };
    const call = async (bay: typeof near, address: string, n: number) => {
      const bytes = pattern(sizes[n % sizes.length]);
      const giveUp = new AbortController();
      const work = bay.call(address, bytes, { signal: giveUp.signal, timeoutMs: 60_000 });
      const settled = work.then((answer) => {
        ends.answered++;
        assert.equal(Buffer.compare(answer as Uint8Array, bytes), 0);
      }, (error) => {
        ends["given up"]++;
        assert.equal(error, "enough");
      });
      // Some at once, some after so many turns of the event loop; every fourth waits.
      for (let turns = n % 7; turns > 0; turns--) await new Promise((go) => setTimeout(go));
      if (n % 4 !== 3) giveUp.abort("enough");
      await settled;
    };
    // Each that kept a thousandth of the window would have taken all of it in the end.
    for (let round = 0; round < 40; round++) {
      const all = Array.from({ length: 16 }, (_, n) => [
        call(near, "far/echo", round + n),
        call(far, "near/echo", round + 3 * n),
      ]);
      await Promise.all(all.flat());
    }
    assert.ok(ends["given up"] > 300 && ends.answered > 200, JSON.stringify(ends));
    for (const [bay, address] of [[near, "far/echo"], [far, "near/echo"]] as const) {
      const bytes = pattern(2 * MIB);
      const answer = await bay.call(address, bytes, { timeoutMs: 60_000 }) as Uint8Array;
      assert.equal(Buffer.compare(answer, bytes), 0);
    }
  },
});
