/**
 * The same wire through Patchbay's API: shouts, calls and images between two bays, beside bare UDP.
 *
 * @module
 */

import type { Bay } from "@patchbay/core";
import { compare, type Contender, latencies } from "./measure.ts";
import type { Row } from "./report.ts";
import { openNode, STREAM_NAME, TEXT, type Wanted } from "./ros2_far.ts";
import type { SuiteContext } from "./suite.ts";

/** What has not come by then is lost, in milliseconds. */
const LOST_MS = 10_000;

/** What the rows are compared with. */
export interface Floors {
  /** A bare echo. */
  readonly echo: Contender;
  /** Small datagrams one way. */
  readonly small: Contender;
  /** Large datagrams one way. */
  readonly large: Contender;
}

/** A shout there and one back. */
async function pingPong(bay: Bay, pid: number): Promise<Contender> {
  let arrived: () => void = () => {};
  await bay.listen({ pattern: "speaker", address: "pong", native: TEXT }, () => arrived());
  const speaker = await bay.speaker({ pattern: "speaker", address: "ping", native: TEXT });
  // A payload of 64 bytes: its header, the length, the text and a zero.
  const value = { data: "x".repeat(55) };
  const { run } = latencies(() =>
    new Promise<void>((resolve) => {
      arrived = resolve;
      void speaker.shout(value);
    })
  );
  return { run, pid };
}

/** Shouts one way, all of which arrive: the figure is shouts, or bytes, a second. */
async function stream(
  bay: Bay,
  pid: number,
  { address, value, bytes }: { address: string; value: unknown; bytes: number },
): Promise<Contender> {
  const native = STREAM_NAME[address];
  const speaker = await bay.speaker({ pattern: "speaker", address, native });
  const count = bay.callable<Wanted, number>("count");
  let sent = 0;
  return {
    pid,
    async run(roundMs) {
      const start = performance.now();
      let operations = 0;
      while (performance.now() - start < roundMs) {
        for (let i = 0; i < 16; i++) {
          // What is shouted in one turn shares datagrams; a promise says that somebody is behind.
          const held = speaker.shout(value);
          if (held !== undefined) await held;
          operations++;
        }
      }
      sent += operations;
      await count.call({ address, atLeast: sent }, { timeoutMs: LOST_MS });
      const perSecond = operations * 1000 / (performance.now() - start);
      return { value: perSecond * bytes, operations };
    },
  };
}

/**
 * The rows.
 *
 * @param context How long, and where.
 * @param domain The domain in which the far process is.
 * @param pid The far process.
 * @param floors What they are compared with.
 */
export async function pluginRows(
  context: SuiteContext,
  domain: number,
  pid: number,
  floors: Floors,
): Promise<Row[]> {
  await using bay = await openNode("near", domain);
  const picture = {
    header: { frame_id: "camera" },
    encoding: "rgb8",
    data: new Uint8Array(1_000_000),
  };
  const call = bay.callable<Wanted, unknown>("count");
  const text = { address: "texts", value: { data: "x".repeat(55) }, bytes: 1 };
  const image = { address: "images", value: picture, bytes: 1_000_000 };
  return [
    await compare(context, {
      figure: "through the API: a typed shout of 64 B there and back, p50",
      unit: "ns",
      ours: await pingPong(bay, pid),
      floor: floors.echo,
      floorName: "bare UDP echo",
    }),
    await compare(context, {
      figure: "through the API: a call, JSON, p50",
      unit: "ns",
      ours: { ...latencies(() => call.call({ address: "texts", atLeast: 0 })), pid },
      floor: floors.echo,
      floorName: "bare UDP echo",
    }),
    await compare(context, {
      figure: "through the API: typed shouts of 64 B one way",
      unit: "/s",
      ours: await stream(bay, pid, text),
      floor: floors.small,
      floorName: "bare UDP, every 64th answered",
      target: { atLeast: 60_000 },
    }),
    await compare(context, {
      figure: "through the API: images of 1 MB one way, bytes",
      unit: "/s",
      ours: await stream(bay, pid, image),
      floor: floors.large,
      floorName: "bare UDP of 60 KB, every 3rd answered",
      target: { atLeast: 400e6 },
    }),
  ];
}
