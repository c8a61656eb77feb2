/**
 * What a bridge costs: calls and shouts from uds to websocket, beside both wires without it.
 *
 * @module
 */

import { freePort } from "@patchbay/core/conformance";
import { fileURLToPath } from "node:url";
import { openBoth } from "./bridge_mid.ts";
import { compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";
import { MESSAGE, type Message } from "./uds_far.ts";

/** How many messages are shouted in one round for each millisecond that it may take. */
const SHOUTS_PER_MS = 100;

type Via = "uds" | "websocket";
type Bay = Awaited<ReturnType<typeof openBoth>>;

interface Program extends AsyncDisposable {
  readonly pid: number;
}

/** Starts a program beside this one and waits until it is ready. */
async function start(cores: string | undefined, file: string, args: string[]): Promise<Program> {
  const program = fileURLToPath(new URL(file, import.meta.url));
  const [command, all] = pinned(cores, ["run", "-A", program, ...args]);
  const options = { args: all, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  if ((await reader.read()).done) throw new Error(`${file} did not start`);
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** A contender that listens, until it is closed. */
interface Listening extends Contender, AsyncDisposable {}

/** Has somebody shout, and takes the time until all of it has come, in order. */
async function pushed(pid: number, bay: Bay, who: string, via: Via): Promise<Listening> {
  let left = 0;
  let done = Promise.withResolvers<void>();
  const listener = await bay.listen(`${who}/tick`, (value) => {
    if ((value as Message).args.x !== MESSAGE.args.x) throw new Error("garbled");
    if (--left === 0) done.resolve();
  }, { overflow: "block", via: [via] });
  const push = bay.callable<number, void>(`${who}/push`, { via: [via] });
  return {
    pid,
    run: async (roundMs) => {
      const operations = left = roundMs * SHOUTS_PER_MS;
      done = Promise.withResolvers<void>();
      const start = performance.now();
      await push.call(operations);
      await done.promise;
      return { value: operations * 1000 / (performance.now() - start), operations };
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

/** The bridge beside one of its wires, each with a listener of its own only while it is measured. */
async function shouts(context: SuiteContext, pid: number, bay: Bay): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [who, via] of [["mid", "websocket"], ["far", "uds"]] as const) {
    const listening = (who: string, via: Via): Contender => ({
      pid,
      run: async (roundMs) => {
        await using contender = await pushed(pid, bay, who, via);
        return await contender.run(roundMs);
      },
    });
    rows.push(
      await compare(context, {
        figure: `shouts, overflow block, beside ${via} alone`,
        unit: "/s",
        ours: listening("far", "websocket"),
        floor: listening(who, via),
        floorName: via,
      }),
    );
  }
  return rows;
}

async function run(context: SuiteContext): Promise<Row[]> {
  const cores = context.placement.far;
  const folder = await Deno.makeTempDir({ prefix: "pb-bench-" });
  const port = freePort();
  try {
    await using _far = await start(cores, "./uds_far.ts", ["ours", folder, "msgpack"]);
    await using mid = await start(cores, "./bridge_mid.ts", [folder, String(port)]);
    await using bay = await openBoth("near", folder, { url: `ws://127.0.0.1:${port}` });
    const caller = (address: string, via: Via) => {
      const callable = bay.callable<Message, { sum: number }>(address, { via: [via] });
      return () => callable.call(MESSAGE);
    };
    const through = caller("far/add", "websocket");
    const overUds = caller("far/add", "uds");
    const overWebSocket = caller("mid/add", "websocket");
    for (const add of [through, overUds, overWebSocket]) {
      if ((await add()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
    }
    const both = async () => {
      await overUds();
      await overWebSocket();
    };
    const { pid } = mid;
    return [
      await compare(context, {
        figure: "call of 85 B, one at a time, p50",
        unit: "ns",
        ours: { ...latencies(through), pid },
        floor: {
          ...latencies(both),
          pid,
        },
        floorName: "uds, then websocket",
      }),
      await compare(context, {
        figure: "the same, beside websocket alone",
        unit: "ns",
        ours: { ...latencies(through), pid },
        floor: { ...latencies(overWebSocket), pid },
        floorName: "websocket",
      }),
      await compare(context, {
        figure: `calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(through), pid },
        floor: { ...pipelined(both), pid },
        floorName: "uds, then websocket",
      }),
      ...await shouts(context, pid, bay),
    ];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The suite. */
const suite: Suite = {
  summary: "a bridge from uds to websocket, a process of its own, beside the two wires",
  processes: 2,
  run,
};

export default suite;
