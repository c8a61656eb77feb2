/**
 * The far process of the uds suite: `uds_far.ts ours FOLDER CODEC` or `uds_far.ts bare FOLDER`.
 * Prints a line when it is ready, and ends when its input does.
 *
 * @module
 */

import { open } from "@patchbay/host";
import uds from "@patchbay/uds";

/** The 85 bytes of JSON that calls and shouts carry. */
export const MESSAGE = {
  method: "math.add",
  args: { x: 12345, y: 3.25, name: "left_grip", tags: ["a", "b"] },
};

/** A message as it arrives. */
export type Message = typeof MESSAGE;

/** What a bay of this suite is opened with. */
export function openUds(module: string, folder: string, codec: string) {
  return open({
    builtins: [uds],
    module,
    discover: false,
    configFile: false,
    runtimeDirectory: folder,
    publishStatistics: false,
    maxMessageBytes: 64 * 1024 * 1024,
    config: { uds: { codec } },
  });
}

/** Output is gathered up to this size before it is written. */
const COALESCE_LENGTH = 64 * 1024;

/** Writes all of it. */
export async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Reads lines, and hands them over by the chunk in which they came. */
export async function readLines(
  conn: Deno.Conn,
  take: (lines: string[]) => void | Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const read = await conn.read(buffer);
    if (read === null) return;
    const lines = (rest + decoder.decode(buffer.subarray(0, read), { stream: true })).split("\n");
    rest = lines.pop() as string;
    await take(lines);
  }
}

/** Sends back the bytes that come. */
async function echo(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const read = await conn.read(buffer);
    if (read === null) return;
    await writeAll(conn, buffer.subarray(0, read));
  }
}

/** Adds two numbers of each line of JSON, and sends the sum with the line's id; the answers to one chunk go out in one write. */
async function add(conn: Deno.Conn): Promise<void> {
  const encoder = new TextEncoder();
  await readLines(conn, async (lines) => {
    let answers = "";
    for (const line of lines) {
      const { id, args } = JSON.parse(line) as Message & { id: number };
      answers += JSON.stringify({ id, sum: args.x + args.y }) + "\n";
    }
    if (answers !== "") await writeAll(conn, encoder.encode(answers));
  });
}

/** Pushes as many messages as the line that comes says. */
async function push(conn: Deno.Conn): Promise<void> {
  const encoder = new TextEncoder();
  await readLines(conn, async ([line]) => {
    let text = "";
    for (let left = Number(line); left > 0; left--) {
      text += JSON.stringify(MESSAGE) + "\n";
      if (text.length >= COALESCE_LENGTH) {
        await writeAll(conn, encoder.encode(text));
        text = "";
      }
    }
    await writeAll(conn, encoder.encode(text));
  });
}

async function listen(path: string, serve: (conn: Deno.Conn) => Promise<void>): Promise<void> {
  for await (const conn of Deno.listen({ transport: "unix", path })) {
    serve(conn).catch(() => {}).finally(() => conn.close());
  }
}

async function main([role, folder, codec]: string[]): Promise<void> {
  if (role === "bare") {
    void listen(`${folder}/echo`, echo);
    void listen(`${folder}/add`, add);
    void listen(`${folder}/push`, push);
  } else {
    const bay = await openUds("far", folder, codec);
    await bay.serve("far/add", (value) => {
      const { args } = value as Message;
      return { sum: args.x + args.y };
    });
    await bay.serve("far/echo", (value) => value);
    const speaker = await bay.speaker("far/tick");
    await bay.serve("far/push", (count) => {
      (async () => {
        for (let left = count as number; left > 0; left--) {
          const held = speaker.shout(MESSAGE);
          if (held !== undefined) await held;
        }
      })();
    });
  }
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
