/**
 * The far side as a program of its own: how orders reach it and answers come back, one line of JSON
 * each, whether it is a process or something else that the fixture starts.
 *
 * @module
 */

import { PatchbayError, type WireError } from "../errors.ts";
import type { Json, Meeting } from "./plugin_fixture.ts";
import { type Order, Stage } from "./roles.ts";

/** A program that plays the far side, as {@link obeyLines} does. */
export interface FarProgram {
  /** What it answers; the end of it is the end of the program. */
  readonly lines: AsyncIterable<string>;
  /**
   * Sends it a line.
   *
   * @param line The line, without its end.
   */
  tell(line: string): Promise<void>;
  /** Kills it: nothing of it runs any more, and it could not say goodbye. */
  kill(): Promise<void>;
  /** Tells it that no more lines come. Resolves with its exit code when it has ended by itself. */
  end(): Promise<number>;
}

/** What a far program answers to one order. */
export interface Reply {
  /** The order's. */
  readonly id: number;
  /** What came of it. */
  readonly value?: Json;
  /** What went wrong. */
  readonly error?: WireError;
}

/**
 * Lines of a stream of bytes.
 *
 * @param bytes The stream.
 */
export async function* linesOf(
  bytes: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, void, void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of bytes) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

/**
 * Plays the far side until there are no more orders; then closes its bay.
 *
 * @param meeting Where to meet the near side.
 * @param lines The orders.
 * @param answer Sends an answer back.
 */
export async function obeyLines(
  meeting: Meeting,
  lines: AsyncIterable<string>,
  answer: (line: string) => void,
): Promise<void> {
  const stage = new Stage(meeting);
  for await (const line of lines) {
    const { id, order } = JSON.parse(line) as { id: number; order: Order };
    stage.obey(order).then(
      (value) => answer(JSON.stringify({ id, value } satisfies Reply)),
      (error) => answer(JSON.stringify({ id, error: PatchbayError.fromThrown(error).toWire() })),
    );
  }
  await stage.obey({ do: "end" });
}

/** A child process that runs `process_main.ts`. */
export class FarProcess implements FarProgram {
  /** As {@link FarProgram.lines}. */
  readonly lines: AsyncIterable<string>;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  /**
   * @param fixtureUrl What it imports.
   * @param place Given to the fixture's `join`.
   */
  constructor(fixtureUrl: string, place: Json) {
    const main = new URL("./process_main.ts", import.meta.url).href;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "-A", main, fixtureUrl, JSON.stringify(place)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.lines = linesOf(this.#child.stdout);
  }

  /** As {@link FarProgram.tell}. */
  async tell(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** As {@link FarProgram.kill}. */
  kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    return Promise.resolve();
  }

  /** As {@link FarProgram.end}. */
  async end(): Promise<number> {
    // The end of its input tells the child to close its bay; it then ends by itself.
    await this.#writer.close().catch(() => {});
    return (await this.#child.status).code;
  }
}
