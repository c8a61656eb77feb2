/**
 * Calls, payloads and many clients over WebSockets between two processes, beside Deno's bare ones.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { compare, type Contender, IN_FLIGHT, latencies, median, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";
import { MESSAGE, type Message } from "./uds_far.ts";
import { openWebSocket } from "./websocket_far.ts";

/** How many clients hear one shout. */
const CLIENTS = 1000;
const MIB = 1024 * 1024;

/** A far process, and the lines that it writes. */
class Far implements AsyncDisposable {
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<unknown, void, void>;

  constructor(cores: string | undefined, args: readonly string[]) {
    const program = fileURLToPath(new URL("./websocket_far.ts", import.meta.url));
    const [command, all] = pinned(cores, ["run", "-A", program, ...args]);
    const options = { args: all, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    this.#child = new Deno.Command(command, options).spawn();
    this.pid = this.#child.pid;
    this.#lines = this.#read();
  }

  async *#read(): AsyncGenerator<unknown, void, void> {
    let rest = "";
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield JSON.parse(line);
    }
  }

  async says(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the far process has ended");
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#lines.return();
    await this.#child.status;
  }
}

/** A bare WebSocket, and how its messages are waited for. */
async function dial(url: string): Promise<{ socket: WebSocket; next: () => Promise<unknown> }> {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let told: (data: unknown) => void = () => {};
  socket.onmessage = ({ data }) => told(data);
  await new Promise((resolve) => socket.onopen = resolve);
  return { socket, next: () => new Promise((resolve) => told = resolve) };
}

async function bareEcho(url: string, pid: number, bytes: Uint8Array<ArrayBuffer>) {
  const { socket, next } = await dial(`${url}/echo`);
  const { run } = latencies(async () => {
    socket.send(bytes);
    const answer = await next() as ArrayBuffer;
    if (answer.byteLength !== bytes.length) throw new Error("garbled");
  });
  return { run, pid };
}

/** A client as one would write it by hand: JSON, and answers that find their call by id. */
async function bareCalls(url: string, pid: number): Promise<Contender> {
  const { socket } = await dial(`${url}/add`);
  const waiting = new Map<number, (sum: number) => void>();
  let lastId = 0;
  socket.onmessage = ({ data }) => {
    const { id, sum } = JSON.parse(data) as { id: number; sum: number };
    waiting.get(id)?.(sum);
    waiting.delete(id);
  };
  const calls = pipelined(() => {
    const id = ++lastId;
    socket.send(JSON.stringify({ id, method: MESSAGE.method, args: MESSAGE.args }));
    return new Promise<number>((resolve) => waiting.set(id, resolve));
  });
  return { ...calls, pid };
}

/** As a contender's figure, bytes echoed a second. */
function asBytes({ run, pid }: Contender, size: number): Contender {
  return {
    pid,
    async run(roundMs) {
      const { value, operations } = await run(roundMs);
      return { value: size / (value / 1e9), operations };
    },
  };
}

async function callRows(context: SuiteContext, url: string, bare: Far): Promise<Row[]> {
  const rows: Row[] = [];
  const bytes = new TextEncoder().encode(JSON.stringify(MESSAGE));
  const echo = await bareEcho(url, bare.pid, bytes);
  const calls = await bareCalls(url, bare.pid);
  const large = asBytes(await bareEcho(url, bare.pid, new Uint8Array(MIB)), MIB);
  for (const codec of ["json", "msgpack"]) {
    await using far = new Far(context.placement.far, ["hub", codec]);
    await using bay = await openWebSocket("near", { url: await far.says(), codec });
    const name = codec === "json" ? "JSON" : "MessagePack";
    const { pid } = far;
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const add = () => adder.call(MESSAGE);
    if ((await add()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
    rows.push(
      await compare(context, {
        figure: `${name}: call of 85 B, one at a time, p50`,
        unit: "ns",
        ours: { ...latencies(add), pid },
        floor: echo,
        floorName: "bare echo",
        target: { ratioAtMost: 1.3 },
      }),
      await compare(context, {
        figure: `${name}: calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(add), pid },
        floor: calls,
        floorName: "by hand, JSON",
        target: { atLeast: 90e3 },
      }),
    );
    if (codec === "json") continue;
    const echoer = bay.callable<Uint8Array, Uint8Array>("far/echo");
    const value = new Uint8Array(MIB);
    const there = latencies(async () => {
      if ((await echoer.call(value)).length !== MIB) throw new Error("garbled");
    });
    rows.push(
      await compare(context, {
        figure: "1 MiB of bytes there and back: bytes a second each way",
        unit: "/s",
        ours: asBytes({ ...there, pid }, MIB),
        floor: large,
        floorName: "bare echo",
        target: { atLeast: 600e6 },
      }),
    );
  }
  return rows;
}

/** One shout to all: from the moment it is asked for until the last of them has it. */
async function shoutRows(context: SuiteContext): Promise<Row[]> {
  const near = context.placement.near;
  // Fresh processes: what others have left lying about would be counted as the clients'.
  await using bare = new Far(context.placement.far, ["bare"]);
  const url = await bare.says() as string;
  await using far = new Far(context.placement.far, ["hub", "msgpack"]);
  const ours = await far.says() as string;
  await using bay = await openWebSocket("near", { url: ours });
  const plain = await dial(`${url}/tell`);
  const bareRss = async () => {
    plain.socket.send("rss");
    return Number(await plain.next());
  };
  const ourRss = () => bay.call<number, number>("far/rss", 0);
  const [bareBefore, ourBefore] = [await bareRss(), await ourRss()];
  await using bareCrowd = new Far(near, ["crowd", url, String(CLIENTS), "bare"]);
  await bareCrowd.says();
  await using ourCrowd = new Far(near, ["crowd", ours, String(CLIENTS), "ours"]);
  await ourCrowd.says();
  const heard = (crowd: Far, tell: () => unknown): Contender => ({
    async run() {
      const took: number[] = [];
      for (let n = 0; n < 10; n++) {
        const start = performance.now();
        tell();
        await crowd.says();
        took.push((performance.now() - start) * 1e6);
      }
      return { value: median(took), operations: took.length };
    },
  });
  const memory = (before: number, now: () => Promise<number>): Contender => ({
    run: async () => ({ value: (await now() - before) / CLIENTS, operations: 1 }),
  });
  return [
    // Before anything is shouted: that leaves garbage.
    await compare({ ...context, rounds: 1 }, {
      figure: `memory of the server for each of ${CLIENTS} clients that listen`,
      unit: "B",
      ours: memory(ourBefore, ourRss),
      floor: memory(bareBefore, bareRss),
      floorName: "bare",
      target: { atMost: 60e3 },
    }),
    await compare(context, {
      figure: `one shout to ${CLIENTS} clients, until the last has it`,
      unit: "ns",
      ours: heard(ourCrowd, () => bay.call("far/tell", 0)),
      floor: heard(bareCrowd, () => plain.socket.send("tell")),
      floorName: "bare sends",
      target: { atMost: 50e6 },
    }),
  ];
}

async function run(context: SuiteContext): Promise<Row[]> {
  await using bare = new Far(context.placement.far, ["bare"]);
  const url = await bare.says() as string;
  const rows = await callRows(context, url, bare);
  return [...rows, ...await shoutRows(context)];
}

/** The suite. */
const suite: Suite = {
  summary: "over WebSockets between two processes, one of them the hub; CPU and memory: this + it",
  processes: 2,
  run,
};

export default suite;
