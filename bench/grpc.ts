/**
 * Calls over gRPC between two processes, beside the same calls written by hand on bare grpc-js: the
 * same service, JSON, a deadline.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { credentials } from "npm:@grpc/grpc-js@1.14.7";
import { bareService, MESSAGE, type Message, openGrpc } from "./grpc_far.ts";
import { compare, type Contender, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

const SUM = MESSAGE.args.x + MESSAGE.args.y;
const TIMEOUT_MS = 5000;

interface Far extends AsyncDisposable {
  readonly pid: number;
  readonly where: string;
}

async function startFar(cores: string | undefined, kind: string, place: string): Promise<Far> {
  const program = fileURLToPath(new URL("./grpc_far.ts", import.meta.url));
  const [command, args] = pinned(cores, ["run", "-A", program, kind, place]);
  const options = { args, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  const { value, done } = await reader.read();
  if (done) throw new Error(`the far process (${kind}) did not start`);
  return {
    pid: child.pid,
    where: new TextDecoder().decode(value).trim(),
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** A client by hand. It is never closed: the server is killed first, and so says no goodbye. */
function bareCall({ where }: Far): () => Promise<{ sum: number }> {
  const client = new (bareService())(where, credentials.createInsecure());
  return () =>
    new Promise((resolve, reject) =>
      client.Call(
        { address: "far/add", json: JSON.stringify(MESSAGE) },
        { deadline: Date.now() + TIMEOUT_MS },
        (error: Error | null, answer: { json: string }) => {
          if (error) reject(error);
          else resolve(JSON.parse(answer.json));
        },
      )
    );
}

async function run(context: SuiteContext): Promise<Row[]> {
  const cores = context.placement.far;
  const rows: Row[] = [];
  const folder = await Deno.makeTempDir({ prefix: "pb-bench-" });
  for (const wire of ["Unix socket", "TCP"]) {
    const place = (name: string) => wire === "TCP" ? "tcp" : `${folder}/${name}.sock`;
    await using bare = await startFar(cores, "bare", place("bare"));
    await using far = await startFar(cores, "ours", place("ours"));
    await using bay = await openGrpc("near", { peers: [far.where] });
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const ours = () => adder.call(MESSAGE, { timeoutMs: TIMEOUT_MS });
    const floor = bareCall(bare);
    for (const call of [ours, floor]) if ((await call()).sum !== SUM) throw new Error("wrong sum");
    const contender = (made: Omit<Contender, "pid">, { pid }: Far): Contender => ({ ...made, pid });
    rows.push(
      await compare(context, {
        figure: `${wire}: call of 85 B, one at a time, p50`,
        unit: "ns",
        ours: contender(latencies(ours), far),
        floor: contender(latencies(floor), bare),
        floorName: "bare grpc-js",
        target: { ratioAtMost: 1.15 },
      }),
      await compare(context, {
        figure: `${wire}: the same, p99`,
        unit: "ns",
        ours: contender(latencies(ours, 0.99), far),
        floor: contender(latencies(floor, 0.99), bare),
        floorName: "bare grpc-js",
      }),
      await compare(context, {
        figure: `${wire}: calls with ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: contender(pipelined(ours), far),
        floor: contender(pipelined(floor), bare),
        floorName: "bare grpc-js",
        target: { ratioAtLeast: 0.9 },
      }),
    );
  }
  await Deno.remove(folder, { recursive: true });
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary:
    "between two processes over gRPC, beside grpc-js by hand; CPU and memory: this process + the other",
  processes: 2,
  run,
};

export default suite;
