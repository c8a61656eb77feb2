/**
 * What the host's tests share: temporary folders, other processes, and waiting for a condition.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BayIdentity, ErrorCode, PatchbayError, Plugin } from "@patchbay/core";

/** A temporary folder (0700), removed at the end. */
export class Folder implements AsyncDisposable {
  /** Its path; short, because sockets are bound in it. */
  readonly path: string = Deno.makeTempDirSync({ prefix: "pb-" });

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Waits until something holds; the deadline is only there to end a test that has failed. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!await holds()) {
    if (performance.now() > deadline) assert.fail(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The path exists. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

let identities = 0;

/** A new identity. */
export function identity(module: string, instance: string = module): BayIdentity {
  return { id: (++identities).toString(16).padStart(16, "0"), module, instance };
}

/** What a promise rejects with, which must be a `PatchbayError` of a code. */
export async function rejection(
  code: ErrorCode,
  work: Promise<unknown> | (() => unknown),
): Promise<PatchbayError> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    assert.equal((error as PatchbayError).code, code, String(error));
    return error as PatchbayError;
  }
  assert.fail(`it did not reject with ${code}`);
}

/** Another Deno process whose lines on stdout can be awaited. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #buffered = "";
  #ended = false;

  /** Runs a file of this folder, with all permissions unless others are given. */
  constructor(
    file: string,
    args: string[] = [],
    options: { permissions?: string[]; env?: Record<string, string>; cwd?: string } = {},
  ) {
    const path = new URL(file, import.meta.url).pathname;
    const root = new URL("../../deno.json", import.meta.url).pathname;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--no-lock",
        "--config",
        root,
        ...options.permissions ?? ["-A"],
        path,
        ...args,
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      env: options.env,
      cwd: options.cwd,
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#reader = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** The next line it writes; `undefined` when it has ended. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const at = this.#buffered.indexOf("\n");
      if (at >= 0) {
        const line = this.#buffered.slice(0, at);
        this.#buffered = this.#buffered.slice(at + 1);
        return line;
      }
      if (this.#ended) return undefined;
      const { done, value } = await this.#reader.read();
      if (done) this.#ended = true;
      else this.#buffered += value;
    }
  }

  /** Tells it something. */
  async tell(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Waits for its end. */
  status(): Promise<Deno.CommandStatus> {
    return this.#process.status;
  }

  /** Kills it and waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#process.status;
    await this.#input.close().catch(() => {});
    while (!this.#ended) await this.line();
  }
}

/** A plugin that can nothing. */
export function fakePlugin(name: string, changes: Partial<Plugin> = {}): Plugin {
  return {
    name,
    summary: "can nothing",
    capabilities: { callable: false, speaker: false, job: false },
    scope: "host",
    rank: 9,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: false,
      headers: false,
      job: "none",
      maxPayloadBytes: 1,
      zeroCopy: false,
      values: false,
      backpressure: false,
      noticesDeath: false,
    },
    config: {
      "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) },
    },
    available: () => ({ available: true }),
    open: () =>
      Promise.resolve({
        extras: undefined,
        health: () => ({ status: "healthy" as const }),
        find: () => ({ found: false as const, reason: "it can nothing" }),
        close: () => Promise.resolve(),
      }),
    ...changes,
  };
}
