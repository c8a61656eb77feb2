/**
 * Calls over HTTP beside hono alone, on both listeners, asked by the same client; and the whole way,
 * `bay.call` to handler, beside `fetch` to hono.
 *
 * @module
 */

import { freePort } from "@patchbay/core/conformance";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import rest from "@patchbay/rest";
import { compare, IN_FLIGHT, latencies, pipelined } from "./measure.ts";
import type { Row } from "./report.ts";
import type { Message } from "./rest_far.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

const MESSAGE: Message = {
  id: 1,
  method: "arm/move",
  args: { x: 1.5, y: 2.25, label: "the left arm" },
};

interface Far extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
}

async function startFar(cores: string | undefined, role: string): Promise<Far> {
  const port = freePort();
  const program = fileURLToPath(new URL("./rest_far.ts", import.meta.url));
  const [command, args] = pinned(cores, ["run", "-A", program, role, String(port)]);
  const options = { args, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  if ((await reader.read()).done) throw new Error(`the far process (${role}) did not start`);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** The quickest client that Deno has, the same for both sides: the servers are compared. */
function poster(port: number, agent: Agent): () => Promise<void> {
  const body = JSON.stringify(MESSAGE);
  const headers = { "content-type": "application/json", "content-length": body.length };
  const sum = MESSAGE.args.x + MESSAGE.args.y;
  return () =>
    new Promise((resolve, reject) => {
      const sent = request(
        { host: "127.0.0.1", port, path: "/far/add", method: "POST", agent, headers },
        (answer) => {
          let text = "";
          answer.on("data", (chunk) => text += chunk);
          answer.on("end", () => {
            if (JSON.parse(text).sum === sum) resolve();
            else reject(new Error(`garbled: ${text}`));
          });
        },
      );
      sent.on("error", reject);
      sent.end(body);
    });
}

async function run(context: SuiteContext): Promise<Row[]> {
  const { far: cores } = context.placement;
  const rows: Row[] = [];
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 256 });
  for (const listener of ["quick", "guarded"]) {
    await using bare = await startFar(cores, `bare ${listener}`);
    await using far = await startFar(cores, `ours ${listener}`);
    const ours = poster(far.port, agent);
    const floor = poster(bare.port, agent);
    await ours();
    await floor();
    rows.push(
      await compare(context, {
        figure: `${listener}: server, one call at a time, p50`,
        unit: "ns",
        ours: { ...latencies(ours), pid: far.pid },
        floor: { ...latencies(floor), pid: bare.pid },
        floorName: "bare hono",
        target: { ratioAtMost: 1.18 },
      }),
      await compare(context, {
        figure: `${listener}: server, ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(ours, 1), pid: far.pid },
        floor: { ...pipelined(floor, 1), pid: bare.pid },
        floorName: "bare hono",
        target: { ratioAtLeast: 0.85 },
      }),
    );
    const config = { rest: { baseUrl: far.url } };
    await using bay = await open({ module: "near", plugins: [rest], config });
    const adder = bay.callable<Message, { sum: number }>("far/add");
    const call = () => adder.call(MESSAGE);
    if ((await call()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("wrong sum");
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
    };
    const fetched = async () => {
      const answer = await fetch(`${bare.url}/far/add`, { ...init, body: JSON.stringify(MESSAGE) });
      if ((await answer.json()).sum !== MESSAGE.args.x + MESSAGE.args.y) throw new Error("garbled");
    };
    rows.push(
      await compare(context, {
        figure: `${listener}: bay.call, one at a time, p50`,
        unit: "ns",
        ours: { ...latencies(call), pid: far.pid },
        floor: { ...latencies(fetched), pid: bare.pid },
        floorName: "fetch, hono",
        target: { ratioAtMost: 1.18 },
      }),
      await compare(context, {
        figure: `${listener}: bay.call, ${IN_FLIGHT} in flight`,
        unit: "/s",
        ours: { ...pipelined(call, 1), pid: far.pid },
        floor: { ...pipelined(fetched, 1), pid: bare.pid },
        floorName: "fetch, hono",
        target: { ratioAtLeast: 0.85 },
      }),
    );
  }
  agent.destroy();
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary: "between two processes over HTTP; CPU and memory: this process + the other",
  processes: 2,
  run,
};

export default suite;
