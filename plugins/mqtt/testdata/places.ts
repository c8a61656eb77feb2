/**
 * What the tests of mqtt share: a broker, bays at it, and patience.
 *
 * @module
 */

import { type Bay, open, type PatchbayError, type Plugin } from "@patchbay/core";
import type { MqttConfig } from "../config.ts";
import mqtt from "../mod.ts";
import { Mosquitto, type MosquittoOptions } from "../mosquitto_fixture.ts";

/** What `requireOrIgnore` answers. */
interface Need {
  readonly ignore: boolean;
  name(title: string): string;
}

/** Connections are made anew soon. */
export const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 100 };

/** A broker and bays at it. */
export interface Place {
  /** The broker. */
  readonly broker: Mosquitto;
  /** What the bays have reported. */
  readonly reports: PatchbayError[];
  /** Opens a bay; it closes with the test. */
  bay(module: string, config?: Partial<MqttConfig>, plugin?: Plugin): Promise<Bay>;
  /** Closes something with the test. */
  use<T extends AsyncDisposable>(thing: T): T;
}

/** Registers a test with a broker of its own. */
export type Test = (
  title: string,
  run: (place: Place) => Promise<void>,
  options?: MosquittoOptions,
) => void;

/**
 * Makes what registers tests.
 *
 * @param need Whether mosquitto is here.
 */
export function testsWith(need: Need): Test {
  return (title, run, options = {}) => register(need, title, run, options);
}

function register(
  need: Need,
  title: string,
  run: (place: Place) => Promise<void>,
  options: MosquittoOptions,
): void {
  Deno.test({
    name: need.name(`mqtt: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Mosquitto.start(options));
      const reports: PatchbayError[] = [];
      await run({
        broker,
        reports,
        use: (thing) => stack.use(thing),
        bay: async (module, config = {}, plugin = mqtt) =>
          stack.use(
            await open({
              module,
              plugins: [plugin],
              config: { mqtt: { port: broker.port, ...QUICK, ...config } },
              onReport: (error) => reports.push(error),
            }),
          ),
      });
    },
  });
}

/** Waits for something, with a watchdog. */
export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lines that a child process prints. */
export class Lines implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #child: Deno.ChildProcess;
  #text = "";

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line. */
  async next(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("the child has ended");
      this.#text += value;
    }
  }

  /** Ends the child with SIGKILL. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#reader.cancel();
    await this.#child.stderr.cancel().catch(() => {});
    await this.#child.status;
  }
}

/** Whole numbers. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => i + from);
}
