/**
 * iceoryx's C++ request/response as a floor, where Debian's `iceoryx` and a compiler are installed:
 * its daemon, a server and a client, all started and ended here.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { start, type Started } from "./asked.ts";

const SOURCE = fileURLToPath(new URL("./iceoryx.cpp", import.meta.url));

/** Where the headers are, by version; `undefined` if they are not installed. */
async function headers(): Promise<string | undefined> {
  try {
    for await (const { name, isDirectory } of Deno.readDir("/usr/include/iceoryx")) {
      if (isDirectory && name.startsWith("v2.")) return `/usr/include/iceoryx/${name}`;
    }
  } catch {
    // Not installed.
  }
  return undefined;
}

/** Compiles the program into a folder; `undefined` where that cannot be. */
async function compile(folder: string): Promise<string | undefined> {
  const include = await headers();
  if (include === undefined) return undefined;
  const program = `${folder}/iceoryx`;
  const libraries = ["posh", "hoofs", "platform"].map((name) => `-liceoryx_${name}`);
  try {
    const { success } = await new Deno.Command("g++", {
      args: ["-O2", "-std=c++17", `-I${include}`, SOURCE, "-o", program, ...libraries],
      stderr: "inherit",
    }).output();
    return success ? program : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Starts the daemon, the server and the client.
 *
 * @param folder A temporary folder.
 * @param near The client's cores.
 * @param far The server's cores, and the daemon's.
 * @returns The client, which is asked for its median; `undefined` where iceoryx is not installed.
 */
export async function startIceoryx(
  folder: string,
  near: string | undefined,
  far: string | undefined,
): Promise<Started | undefined> {
  const program = await compile(folder);
  if (program === undefined) return undefined;
  let roudi: Deno.ChildProcess;
  try {
    roudi = new Deno.Command("iox-roudi", { stdout: "piped", stderr: "null" }).spawn();
  } catch {
    return undefined;
  }
  const said = roudi.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const end = async () => {
    roudi.kill("SIGTERM");
    await roudi.status;
    await said.cancel();
  };
  try {
    for (let text = ""; !text.includes("ready for clients");) {
      const { value, done } = await said.read();
      if (done) throw new Error(`iox-roudi ended: ${text}`);
      text += value;
    }
    const server = await start(far, program, ["server"]);
    const client = await start(near, program, ["client"]);
    return {
      pid: client.pid,
      ask: (line) => client.ask(line),
      async [Symbol.asyncDispose]() {
        await client[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
        await end();
      },
    };
  } catch (error) {
    await end();
    console.error(`iceoryx is left out: ${error}`);
    return undefined;
  }
}
