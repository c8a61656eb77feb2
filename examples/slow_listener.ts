/**
 * Slow listeners: what happens to messages that come faster than they are read. Each listener
 * chooses; every dropped message is counted.
 *
 * ```sh
 * deno run examples/slow_listener.ts
 * ```
 *
 * Ten messages for listeners that read nothing until all were shouted, and hold four. It prints:
 *
 * ```text
 * drop_oldest  read 7 8 9 10    dropped 6 (…)
 * drop_newest  read 1 2 3 4     dropped 6 (…)
 * fail         read 1 2 3 4     ended with overloaded
 * block        read 1 2 3 4 5 6 7 8 9 10, dropped 0; the speaker waited … times
 * ```
 *
 * @module
 */
import { defineSpeaker, Patchbay, PatchbayError } from "@patchbay/patchbay";

const Count = defineSpeaker<number>({ address: "counter/count" });

await using bay = await Patchbay.open({ module: "counter" });

/** What was dropped at the listener: reason and number. */
function drops(): [string, number][] {
  const { endpoints } = bay.statistics.snapshot(Date.now());
  const listener = endpoints.find((e) => e.role === "listener" && e.address === Count.address);
  return Object.entries(listener?.drops ?? {});
}

for (const overflow of ["drop_oldest", "drop_newest"] as const) {
  await using listener = await bay.listen(Count, { overflow, maxQueue: 4 });
  await using speaker = await bay.speaker(Count);
  for (let n = 1; n <= 10; n++) speaker.shout(n);
  const [[reason, dropped]] = drops();
  const read: number[] = [];
  for await (const n of listener) {
    read.push(n);
    if (read.length === 4) break;
  }
  console.log(
    `${overflow.padEnd(12)} read ${read.join(" ").padEnd(11)} dropped ${dropped} (${reason})`,
  );
}

// Where a gap is worse than an end: the listener ends, and says so.
{
  await using listener = await bay.listen(Count, { overflow: "fail", maxQueue: 4 });
  await using speaker = await bay.speaker(Count);
  for (let n = 1; n <= 10; n++) speaker.shout(n);
  const read: number[] = [];
  try {
    for await (const n of listener) read.push(n);
  } catch (error) {
    if (!(error instanceof PatchbayError)) throw error;
    console.log(`fail         read ${read.join(" ").padEnd(11)} ended with ${error.code}`);
  }
}

// Where nothing may be lost: the speaker waits, if it awaits its shouts.
{
  await using listener = await bay.listen(Count, { overflow: "block", maxQueue: 4 });
  await using speaker = await bay.speaker(Count);
  const reading = (async () => {
    const read: number[] = [];
    for await (const n of listener) {
      read.push(n);
      if (read.length === 10) break;
    }
    return read;
  })();
  let waits = 0;
  for (let n = 1; n <= 10; n++) {
    const full = speaker.shout(n);
    if (full !== undefined) {
      waits++;
      await full;
    }
  }
  const read = (await reading).join(" ");
  const dropped = drops().reduce((sum, [, n]) => sum + n, 0);
  console.log(`block        read ${read}, dropped ${dropped}; the speaker waited ${waits} times`);
}
