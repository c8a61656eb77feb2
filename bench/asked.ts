/**
 * Processes of a suite that take a figure by themselves when they are asked, a line each time.
 *
 * @module
 */

import type { Contender } from "./measure.ts";
import { pinned } from "./suite.ts";

/** A process that was started, and has said that it is ready. */
export interface Started extends AsyncDisposable {
  /** Its id. */
  readonly pid: number;
  /** Writes a line to it, and resolves with the line that it answers. */
  ask(line: string): Promise<string>;
}

/**
 * Starts a process and waits for its line `ready`.
 *
 * @param cores As `taskset -c` takes them.
 * @param program The program, or a file of Deno's.
 * @param args Its arguments.
 */
export async function start(
  cores: string | undefined,
  program: string,
  args: readonly string[],
): Promise<Started> {
  const [command, all]: [string, string[]] = program.endsWith(".ts")
    ? pinned(cores, ["run", "-A", "--no-check", program, ...args])
    : cores === undefined
    ? [program, [...args]]
    : ["taskset", ["-c", cores, program, ...args]];
  const child = new Deno.Command(command, {
    args: all,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const line = async () => {
    for (;;) {
      const end = text.indexOf("\n");
      if (end >= 0) {
        const first = text.slice(0, end);
        text = text.slice(end + 1);
        return first;
      }
      const { value, done } = await output.read();
      if (done) throw new Error(`${program} ${args.join(" ")} ended`);
      text += value;
    }
  };
  // Some libraries talk before they are ready.
  while (await line() !== "ready");
  return {
    pid: child.pid,
    async ask(question) {
      await input.write(new TextEncoder().encode(`${question}\n`));
      return await line();
    },
    async [Symbol.asyncDispose]() {
      await input.close().catch(() => {});
      const late = setTimeout(() => child.kill("SIGKILL"), 3000);
      await child.status;
      clearTimeout(late);
      await output.cancel();
    },
  };
}

/**
 * A contender that is asked: it answers milliseconds with `value operations`.
 *
 * @param process The process.
 */
export function asked(process: Started): Contender {
  return {
    pid: process.pid,
    async run(roundMs) {
      const [value, operations] = (await process.ask(String(roundMs))).split(" ").map(Number);
      return { value, operations };
    },
  };
}
