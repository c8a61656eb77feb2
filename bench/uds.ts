/**
 * Calls, shouts and payloads between two processes over a Unix socket, beside bare sockets.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";
import { MESSAGE, type Message, openUds, readLines, writeAll } from "./uds_far.ts";

/** How many messages are shouted in one round for each millisecond that it may take. */
const SHOUTS_PER_MS = 800;
/** 1 KB to 10 MB. */
const SIZES = [1e3, 1e4, 1e5, 1e6, 1e7];

type Bay = Awaited<ReturnType<typeof openUds>>;

interface Far extends AsyncDisposable {
  readonly folder: string;
  readonly pid: number;
}

/** Starts the far process and waits until it is ready. */
async function startFar(cores: string | undefined, role: string, codec: string): Promise<Far> {
  const folder = await Deno.makeTempDir({ prefix: "pb-bench-" });
  const program = fileURLToPath(new URL("./uds_far.ts", import.meta.url));
  const [command, args] = pinned(cores, ["run", "-A", program, role, folder, codec]);
  const options = { args, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  if ((await reader.read()).done) throw new Error(`the far process (${role}) did not start`);
  return {
    folder,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

const dial = (far: Far, name: string) =>
  Deno.connect({ transport: "unix", path: `${far.folder}/${name}` });

/** A bare echo: writes and, meanwhile, reads as many bytes back. */
async function bareEcho(far: Far, bytes: Uint8Array): Promise<Contender> {
  const conn = await dial(far, "echo");
  const buffer = new Uint8Array(256 * 1024);
  const { run } = latencies(async () => {
    const written = writeAll(conn, bytes);
    for (let left = bytes.length; left > 0;) left -= await conn.read(buffer) ?? Infinity;
    await written;
  });
  return { run, pid: far.pid };
}

/** A client as one would write it by hand: answers find their call by id, writes are joined. */
async function bareCalls(far: Far): Promise<Contender> {
  const conn = await dial(far, "add");
  const encoder = new TextEncoder();
  const waiting = new Map<number, (sum: number) => void>();
  let lastId = 0;
  let text = "";
  let writing = false;
  const flush = async () => {
    while (text !== "") {
      const bytes = encoder.encode(text);
      text = "";
      await writeAll(conn, bytes);
    }
    writing = false;
  };
  void readLines(conn, (lines) => {
    for (const line of lines) {
      const { id, sum } = JSON.parse(line) as { id: number; sum: number };
      waiting.get(id)?.(sum);
      waiting.delete(id);
    }
  });
  const calls = pipelined(() => {
    const id = ++lastId;
    text += JSON.stringify({ id, method: MESSAGE.method, args: MESSAGE.args }) + "\n";
    if (!writing) {
      writing = true;
      queueMicrotask(flush);
    }
    return new Promise<number>((resolve) => waiting.set(id, resolve));
  });
  return { ...calls, pid: far.pid };
}

/** Counts what is pushed until all of a round has come. */
class Counter {
  #left = 0;
  #done = Promise.withResolvers<void>();

  count(n: number): void {
    this.#left -= n;
    if (this.#left === 0) this.#done.resolve();
  }

  contender(pid: number, begin: (n: number) => Promise<unknown>): Contender {
    return {
      pid,
      run: async (roundMs) => {
        const operations = roundMs * SHOUTS_PER_MS;
        this.#left = operations;
        this.#done = Promise.withResolvers<void>();
        const start = performance.now();
        await begin(operations);
        await this.#done.promise;
        return { value: operations * 1000 / (performance.now() - start), operations };
      },
    };
  }
}

async function barePush(far: Far): Promise<Contender> {
  const conn = await dial(far, "push");
  const counter = new Counter();
  void readLines(conn, (lines) => {
    for (const line of lines) {
      if ((JSON.parse(line) as Message).args.x !== MESSAGE.args.x) throw new Error("garbled");
    }
    counter.count(lines.length);
  });
  return counter.contender(far.pid, (n) => writeAll(conn, new TextEncoder().encode(`${n}\n`)));
}

async function ourPush(far: Far, bay: Bay): Promise<Contender> {
  const counter = new Counter();
  let last = 0;
  await bay.listen("far/tick", (value, { sequence }) => {
    if (sequence !== ++last) throw new Error(`shout ${sequence} came instead of ${last}`);
    if ((value as Message).args.x !== MESSAGE.args.x) throw new Error("garbled");
    counter.count(1);
  }, { overflow: "block" });
  return counter.contender(far.pid, (n) => bay.call("far/push", n));
}

/** What a payload row sends, and how many bytes that is on the wire. */
interface Payload {
  readonly name: string;
  readonly codec: string;
  value(size: number): unknown;
  same(answer: unknown, size: number): boolean;
}

const PAYLOADS: readonly Payload[] = [
  {
    name: "JSON string",
    codec: "json",
    value: (size) => ({ blob: "x".repeat(size - 11) }),
    same: (answer, size) => (answer as { blob: string }).blob.length === size - 11,
  },
  {
    name: "MessagePack bytes",
    codec: "msgpack",
    value: (size) => ({ blob: new Uint8Array(size - 11) }),
    same: (answer, size) => (answer as { blob: Uint8Array }).blob.length === size - 11,
  },
  {
    name: "raw bytes",
    codec: "msgpack",
    value: (size) => new Uint8Array(size),
    same: (answer, size) => (answer as Uint8Array).length === size,
  },
];

function sizeName(size: number): string {
  return size < 1e6 ? `${size / 1e3} KB` : `${size / 1e6} MB`;
}

async function run(context: SuiteContext): Promise<Row[]> {
  const cores = context.placement.far;
  await using bare = await startFar(cores, "bare", "");
  const rows: Row[] = [];
  const bytes = new TextEncoder().encode(JSON.stringify(MESSAGE));
  if (bytes.length !== 85) throw new Error(`the message has ${bytes.length} bytes`);
  const echo = await bareEcho(bare, bytes);
  const calls = await bareCalls(bare);
  const push = await barePush(bare);
  for (const codec of ["json", "msgpack"]) {
    await using far = await startFar(cores, "ours", codec);
    await using bay = await openUds("near", far.folder, codec);
    const { pid } = far;
    const name = codec === "json" ? "JSON" : "MessagePack";
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
        target: { ratioAtMost: 1.4 },
      }),
      await compare(context, {
        figure: `${name}: the same, p99`,
        unit: "ns",
        ours: { ...latencies(add, 0.99), pid },
      }),
      await compare(context, {
        figure: `${name}: calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(add), pid },
        floor: calls,
        floorName: "by hand",
        target: { ratioAtLeast: 0.75 },
      }),
      await compare(context, {
        figure: `${name}: shouts, overflow block`,
        unit: "/s",
        ours: await ourPush(far, bay),
        floor: push,
        floorName: "by hand",
        target: { atLeast: 800e3, ratioAtLeast: 0.55 },
      }),
    );
    for (const payload of PAYLOADS.filter((one) => one.codec === codec)) {
      const echoer = bay.callable<unknown, unknown>("far/echo");
      for (const size of SIZES) {
        const value = payload.value(size);
        const there = async () => {
          const answer = await echoer.call(value, { timeoutMs: 20_000 });
          if (!payload.same(answer, size)) throw new Error("garbled");
        };
        rows.push(
          await compare(context, {
            figure: `${payload.name}, ${sizeName(size)} there and back, p50`,
            unit: "ns",
            ours: { ...latencies(there), pid },
            floor: await bareEcho(bare, new Uint8Array(size)),
            floorName: "bare echo",
          }),
        );
      }
    }
  }
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "between two processes over a Unix socket; CPU and memory: this process + the other",
  processes: 2,
  run,
};

export default suite;
