/**
 * Runs the real command in child processes, each with a watchdog, in runtime directories of their own.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** The command's main file. */
export const MAIN: string = fileURLToPath(new URL("../main.ts", import.meta.url));
const ARM = fileURLToPath(new URL("arm.ts", import.meta.url));
/** After so long a child is taken to hang, in milliseconds. */
const WATCHDOG_MS = 60_000;

/** How to start a child. */
export interface ChildOptions {
  /** Its working directory; default: a folder without project. */
  cwd?: string;
  /** Environment variables besides this process's own. */
  env?: Record<string, string>;
  /** What is written to its standard input. */
  stdin?: string;
  /** After so long it is taken to hang, in milliseconds. */
  watchdogMs?: number;
}

/** How a child ended. */
export interface Outcome {
  /** Its exit code. */
  readonly code: number;
  /** What it wrote to standard output. */
  readonly stdout: string;
  /** What it wrote to standard error. */
  readonly stderr: string;
}

/** One line of output, as it comes. */
class Lines {
  text = "";
  readonly done: Promise<void>;
  readonly #waiting = new Set<() => void>();
  #reader: ReadableStreamDefaultReader<string>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    this.done = this.#read();
  }

  /** Resolves when the text contains something. */
  async until(wanted: RegExp, ended: Promise<unknown>): Promise<void> {
    let over = false;
    ended.then(() => {
      over = true;
      this.#wake();
    });
    while (!wanted.test(this.text)) {
      if (over) throw new Error(`it ended before it said ${wanted}; it said: ${this.text}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Reads no longer: the child's next write finds a broken pipe. */
  async hangUp(): Promise<void> {
    await this.#reader.cancel();
  }

  async #read(): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) break;
      this.text += value;
      this.#wake();
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/** A running child. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #out: Lines;
  readonly #err: Lines;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  #hung = false;
  /** Resolves when it has ended. */
  readonly ended: Promise<Outcome>;

  /** Starts `deno …args`. */
  constructor(args: readonly string[], options: ChildOptions = {}) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: options.cwd ?? "/",
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", PATCHBAY_DEBUG: "", ...options.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#out = new Lines(this.#process.stdout);
    this.#err = new Lines(this.#process.stderr);
    this.#stdin = this.#process.stdin.getWriter();
    if (options.stdin !== undefined) {
      this.#stdin.write(new TextEncoder().encode(options.stdin));
      this.#stdin.close().catch(() => {});
    }
    this.#watchdog = setTimeout(() => {
      this.#hung = true;
      this.#process.kill("SIGKILL");
    }, options.watchdogMs ?? WATCHDOG_MS);
    this.ended = this.#end(args);
    this.ended.catch(() => {});
  }

  /** Waits until it has written something to standard output. */
  async says(wanted: RegExp): Promise<void> {
    await this.#out.until(wanted, this.#process.status);
  }

  /** Waits until it has written something to standard error. */
  async remarks(wanted: RegExp): Promise<void> {
    await this.#err.until(wanted, this.#process.status);
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Reads its standard output no longer. */
  async hangUp(): Promise<void> {
    await this.#out.hangUp();
  }

  /** Ends it, if it has not. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.ended.catch(() => {});
  }

  async #end(args: readonly string[]): Promise<Outcome> {
    const { code } = await this.#process.status;
    clearTimeout(this.#watchdog);
    await Promise.all([this.#out.done, this.#err.done]);
    await this.#stdin.close().catch(() => {});
    const { text: stdout } = this.#out;
    const { text: stderr } = this.#err;
    if (this.#hung) throw new Error(`deno ${args.join(" ")} hung\n${stdout}\n${stderr}`);
    return { code, stdout, stderr };
  }
}

/** A runtime directory, and the command in it. */
export class Place implements AsyncDisposable {
  /** A folder of its own, short enough for sockets. */
  readonly folder: string = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "pb-" }));
  /** The runtime directory in it. */
  readonly run = `${this.folder}/run`;
  readonly #children: Child[] = [];

  /** Starts `patchbay …args`. */
  start(args: readonly string[], options: ChildOptions = {}): Child {
    const at = args.indexOf("--");
    const where = ["--runtime-dir", this.run];
    const all = at < 0 ? [...args, ...where] : [...args.slice(0, at), ...where, ...args.slice(at)];
    return this.deno(["run", "-A", MAIN, ...all], { cwd: this.folder, ...options });
  }

  /** Starts `deno …args`. */
  deno(args: readonly string[], options: ChildOptions = {}): Child {
    const child = new Child(args, { cwd: this.folder, ...options });
    this.#children.push(child);
    return child;
  }

  /** Runs `patchbay …args` to its end. */
  async patchbay(args: readonly string[], options: ChildOptions = {}): Promise<Outcome> {
    return await this.start(args, options).ended;
  }

  /** Starts the module that the command talks to. */
  async arm(): Promise<Child> {
    const arm = this.deno(["run", "-A", ARM, this.run]);
    await arm.says(/"ready"/);
    return arm;
  }

  /** Ends what still runs, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.map((child) => child[Symbol.asyncDispose]()));
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The JSON values of an output, one a line. */
// deno-lint-ignore no-explicit-any -- what it is, is what the tests find out
export function values(text: string): any[] {
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}
