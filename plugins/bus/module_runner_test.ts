import assert from "node:assert/strict";
import { MockComm, runLoop } from "./mod.ts";
import { Distance, frames, FrameType } from "./testdata/frames.ts";

Deno.test("module loop: keeps its rate, and counts the turns that took too long", async () => {
  await using comm = new MockComm({ frames });
  const ending = new AbortController();
  const begun: number[] = [];
  // Before the first beat: on a busy machine the first turn begins some time after it.
  const start = performance.now();
  const statistics = await runLoop(
    {
      async process() {
        begun.push(performance.now());
        if (begun.length === 3) await new Promise((resolve) => setTimeout(resolve, 35));
        if (begun.length === 6) ending.abort();
      },
    },
    comm,
    { rateHz: 100, signal: ending.signal },
  );
  assert.equal(statistics.turns, 6);
  assert.ok(statistics.overruns >= 1);
  // The beat is kept: turns are whole periods after the first beat, late by a timer's delay at most.
  const periods = begun.map((at) => (at - start) / 10);
  assert.ok(periods[3] >= 5.9, `the long turn took its time: ${periods}`);
});

Deno.test("module loop: by frames it is called once for each arrival, and not meanwhile", async () => {
  await using comm = new MockComm({ frames });
  await comm.listenFor([FrameType.DISTANCE]);
  const ending = new AbortController();
  const seen: number[] = [];
  let turns = 0;
  const loop = runLoop(
    {
      process() {
        turns++;
        while (comm.hasData()) seen.push(comm.getData().as(Distance)!.mm);
        if (seen.length === 3) ending.abort();
      },
    },
    comm,
    { rateHz: "frames", signal: ending.signal },
  );
  for (let mm = 1; mm <= 3; mm++) {
    comm.receive(new Distance({ mm }));
    await new Promise((resolve) => setTimeout(resolve));
  }
  await loop;
  assert.deepEqual(seen, [1, 2, 3]);
  assert.ok(turns <= 4);
});

Deno.test("module loop: by frames it ends when the comm stops, and refuses to spin", async () => {
  const comm = new MockComm({ frames });
  await comm.listenFor([FrameType.DISTANCE]);
  const { signal } = new AbortController();
  const ended = runLoop({ process() {} }, comm, { rateHz: "frames", signal });
  await comm.stop();
  assert.equal((await ended).turns, 1);
  await using other = new MockComm({ frames });
  await other.listenFor([FrameType.DISTANCE]);
  other.receive(new Distance());
  await assert.rejects(runLoop({ process() {} }, other, { rateHz: "frames", signal }), {
    code: "invalid",
    message: /has left the frame/,
  });
});

Deno.test("module loop: by frames it goes on when a frame comes while one is worked on", async () => {
  await using comm = new MockComm({ frames });
  await comm.listenFor([FrameType.DISTANCE]);
  comm.receive(new Distance({ mm: 1 }));
  const ending = new AbortController();
  const seen: number[] = [];
  await runLoop(
    {
      async process() {
        if (!comm.hasData()) return;
        seen.push(comm.getData().as(Distance)!.mm);
        await Promise.resolve();
        // As many wait as before: it has done its work all the same.
        if (seen.length === 4) ending.abort();
        else comm.receive(new Distance({ mm: seen.length + 1 }));
      },
    },
    comm,
    { rateHz: "frames", signal: ending.signal },
  );
  assert.deepEqual(seen, [1, 2, 3, 4]);
});

Deno.test("module loop: a turn that throws ends it, unless somebody is told", async () => {
  await using comm = new MockComm({ frames });
  const ending = new AbortController();
  const process = () => {
    throw new Error("broken");
  };
  await assert.rejects(runLoop({ process }, comm, { signal: ending.signal }), /broken/);
  let told = 0;
  const onError = () => {
    if (++told === 3) ending.abort();
  };
  await runLoop({ process }, comm, { rateHz: 1000, signal: ending.signal, onError });
  assert.equal(told, 3);
});

Deno.test("module loop: a rate that is none is refused", async () => {
  await using comm = new MockComm({ frames });
  const { signal } = new AbortController();
  for (const rateHz of [0, -1, NaN, 1e6]) {
    await assert.rejects(runLoop({ process() {} }, comm, { rateHz, signal }), { code: "invalid" });
  }
});
