/**
 * What the tests of faults share: victims as processes, and what is left of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Names } from "../names.ts";
import type { VictimOptions } from "./victim.ts";

const VICTIM = new URL("./victim.ts", import.meta.url).pathname;
/** After so long something is taken to hang, in milliseconds. */
export const WATCHDOG_MS = 30_000;

/** Waits until something holds; the deadline is only there to end a test that has failed. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const start = performance.now();
  while (!await holds()) {
    if (performance.now() - start > WATCHDOG_MS) assert.fail(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A victim. */
export class Victim implements AsyncDisposable {
  /** Its process id. */
  readonly pid: number;
  /** What it has said of messages that may not be. */
  readonly violations: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #ready = Promise.withResolvers<boolean>();
  readonly #watchdog: ReturnType<typeof setTimeout>;
  #ended = false;

  /** Starts it. */
  constructor(options: VictimOptions) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-lock", VICTIM, JSON.stringify(options)],
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.pid = this.#process.pid;
    this.#watchdog = setTimeout(() => {
      this.violations.push(`${options.module} hangs (fault ${options.fault})`);
      this.signal("SIGKILL");
    }, WATCHDOG_MS);
    this.#reading = this.#read();
  }

  /** Resolves when it has opened its bay; false: it ended before. */
  get ready(): Promise<boolean> {
    return this.#ready.promise;
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    if (this.#ended) return;
    try {
      this.#process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It has ended.
    }
  }

  /** Resolves with how it ended. */
  async end(): Promise<Deno.CommandStatus> {
    const status = await this.#process.status;
    this.#ended = true;
    clearTimeout(this.#watchdog);
    await this.#reading;
    await this.#process.stdin.close().catch(() => {});
    return status;
  }

  /** Asks it to close, and resolves with how it ended. */
  async close(): Promise<Deno.CommandStatus> {
    await this.#process.stdin.close().catch(() => {});
    return await this.end();
  }

  /** Kills it, and waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.signal("SIGKILL");
    await this.end();
  }

  async #read(): Promise<void> {
    let text = "";
    for await (const chunk of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "ready") this.#ready.resolve(true);
        else this.violations.push(line);
      }
    }
    this.#ready.resolve(false);
  }
}

/** The segments in `/dev/shm` that are of some bays of a runtime directory. */
export async function segmentsOf(folder: string, instances: readonly string[]): Promise<string[]> {
  const names = await Promise.all(instances.map((each) => Names.of(folder, each)));
  return [...Deno.readDirSync("/dev/shm")].map(({ name }) => `/${name}`)
    .filter((name) => names.some(({ prefix }) => name.startsWith(prefix)));
}

/** The segments of some bays that this process has mapped, with a name or without. */
export async function mappedOf(folder: string, instances: readonly string[]): Promise<string[]> {
  const names = await Promise.all(instances.map((each) => Names.of(folder, each)));
  return Deno.readTextFileSync("/proc/self/maps").split("\n")
    .filter((line) => names.some(({ prefix }) => line.includes(`/dev/shm${prefix}`)));
}

/** The files of an instance in a runtime directory. */
export function filesOf(folder: string, instance: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.startsWith(`${instance}.`) || name.startsWith(`.${instance}.`));
}
