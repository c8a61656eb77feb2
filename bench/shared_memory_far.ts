/**
 * The other processes of the shared_memory suite: `shared_memory_far.ts ROLE FOLDER CODEC`. Each
 * prints `ready`, and ends with its input.
 *
 * `ours` serves and shouts; `pair` is a busy pair's other half, and calls `ours` in a folder of its
 * own when it is asked; `bare` echoes over a Unix socket; `worker` measures calls to a worker of its
 * own by `postMessage`.
 *
 * @module
 */

import { open } from "@patchbay/host";
import sharedMemory from "@patchbay/shared_memory";
import { latencies } from "./measure.ts";
import { MESSAGE, type Message, writeAll } from "./uds_far.ts";

/** Shouted raw. */
export const RAW_SIZES: readonly number[] = [64, 1024, 2 ** 20];

/** What a bay of this suite is opened with. */
export function openSharedMemory(module: string, folder: string, codec: string, more: object = {}) {
  return open({
    builtins: [sharedMemory],
    module,
    discover: false,
    configFile: false,
    runtimeDirectory: folder,
    publishStatistics: false,
    maxMessageBytes: 64 * 1024 * 1024,
    config: { shared_memory: { codec, ...more } },
  });
}

type Bay = Awaited<ReturnType<typeof openSharedMemory>>;

/** Reads lines until the input ends. */
async function lines(take: (line: string) => Promise<void>): Promise<void> {
  const buffer = new Uint8Array(256);
  console.log("ready");
  for (let text = "";;) {
    const read = await Deno.stdin.read(buffer);
    if (read === null) return;
    text += new TextDecoder().decode(buffer.subarray(0, read));
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      await take(line);
    }
  }
}

async function serve(folder: string, codec: string, more: string): Promise<void> {
  const bay = await openSharedMemory("far", folder, codec, JSON.parse(more));
  await bay.serve("far/add", (value) => {
    const { args } = value as Message;
    return { sum: args.x + args.y };
  });
  await bay.serve("far/echo", (value) => value);
  const shout = async (speaker: Awaited<ReturnType<Bay["speaker"]>>, value: unknown, n: number) => {
    for (let left = n; left > 0; left--) {
      const held = speaker.shout(value);
      if (held !== undefined) await held;
    }
  };
  const tick = await bay.speaker("far/tick");
  await bay.serve("far/push", (n) => void shout(tick, MESSAGE, n as number));
  for (const size of RAW_SIZES) {
    const bytes = new Uint8Array(size).fill(7);
    const speaker = await bay.speaker(`far/raw${size}`);
    await bay.serve(`far/push${size}`, (n) => void shout(speaker, bytes, n as number));
  }
  await lines(() => Promise.resolve());
}

/** Calls one after the other when it is asked, and tells the median. */
async function callWhenAsked(folder: string, codec: string): Promise<void> {
  const bay = await openSharedMemory("pair", folder, codec);
  const adder = bay.callable<Message, { sum: number }>("far/add");
  const { run } = latencies(() => adder.call(MESSAGE));
  await lines(async (line) => {
    const { value, operations } = await run(Number(line));
    console.log(`${value} ${operations}`);
  });
}

async function bare(folder: string): Promise<void> {
  const listener = Deno.listen({ transport: "unix", path: `${folder}/echo` });
  (async () => {
    for await (const conn of listener) {
      (async () => {
        const buffer = new Uint8Array(256 * 1024);
        for (let read = await conn.read(buffer); read !== null; read = await conn.read(buffer)) {
          await writeAll(conn, buffer.subarray(0, read));
        }
      })().catch(() => {});
    }
  })();
  await lines(() => Promise.resolve());
}

async function worker(): Promise<void> {
  const source = "onmessage = ({ data }) => postMessage(data);";
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const echo = new Worker(url, { type: "module" });
  let answered = (_: unknown) => {};
  echo.onmessage = ({ data }) => answered(data);
  const { run } = latencies(() => {
    const answer = new Promise((resolve) => answered = resolve);
    echo.postMessage(MESSAGE);
    return answer;
  });
  await lines(async (line) => {
    const { value, operations } = await run(Number(line));
    console.log(`${value} ${operations}`);
  });
}

if (import.meta.main) {
  const [role, folder, codec, more = "{}"] = Deno.args;
  if (role === "ours") await serve(folder, codec, more);
  else if (role === "pair") await callWhenAsked(folder, codec);
  else if (role === "bare") await bare(folder);
  else await worker();
  Deno.exit(0);
}
