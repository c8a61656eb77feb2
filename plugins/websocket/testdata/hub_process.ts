/**
 * For tests: a hub in a process of its own.
 *
 * @module
 */

import { settled } from "./places.ts";

/** A hub in a process of its own. */
export class HubProcess {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<unknown, void, void>;

  /** Starts it; it says `ready`. */
  constructor(port: number, shouts = 0, perMessageDeflate = false) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-check",
        "-A",
        new URL("./hub.ts", import.meta.url).href,
        String(port),
        String(shouts),
        String(perMessageDeflate),
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
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

  /** The next thing that it says. */
  async says(): Promise<unknown> {
    return (await settled("a word of the hub", this.#lines.next())).value;
  }

  /** Tells it something. */
  async tell(word: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${word}\n`));
    writer.releaseLock();
  }

  /** Kills it, as a crash would. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#lines.next();
    await this.#child.status;
    await this.#child.stdin.close().catch(() => {});
  }
}
