/**
 * What every command is given: its options, its screen, its interruption, and a bay on demand.
 *
 * @module
 */

import type { Bay } from "@patchbay/core";
import { complaintOf, Interrupted, UsageError } from "./complaint.ts";
import type { Io } from "./io.ts";
import { Screen } from "./screen.ts";

/** The options that every command has. */
export interface CommonOptions {
  /** The wires to use, in order. */
  readonly via?: readonly string[];
  /** How long it may take, in milliseconds. */
  readonly timeout?: number;
  /** The configuration file. */
  readonly config?: string;
  /** The runtime directory. */
  readonly runtimeDir?: string;
  /** One JSON value a line. */
  readonly json?: boolean;
  /** Whether colours are allowed. */
  readonly color?: boolean;
}

/** What the module of the command's own bay is called. */
export const CLI_MODULE = "patchbay-cli";

/** A second signal within so many milliseconds is the echo of the first. */
const ECHO_MS = 100;

/** What every command is given. */
export class Context implements Disposable {
  /** The process. */
  readonly io: Io;
  /** The options that every command has. */
  readonly options: CommonOptions;
  /** Where output goes. */
  readonly screen: Screen;
  readonly #interruption = new AbortController();
  readonly #handlers: Disposable[] = [];
  #interruptedMs = 0;

  /**
   * @param io The process.
   * @param options What was given.
   */
  constructor(io: Io, options: CommonOptions) {
    this.io = io;
    this.options = options;
    this.screen = new Screen(io, { json: options.json ?? false, color: options.color ?? true });
    this.screen.closed.addEventListener(
      "abort",
      () => this.#interruption.abort(this.screen.closed.reason),
    );
  }

  /**
   * Aborted by the first Ctrl-C (or SIGTERM, SIGQUIT), or when nobody reads the output any longer; a
   * second signal ends the process at once. Signals are only caught once a command asks for this.
   */
  get interrupted(): AbortSignal {
    if (this.#handlers.length === 0) {
      this.#handlers.push(this.io.onSignal((signal) => {
        const nowMs = performance.now();
        if (this.#interruption.signal.aborted) {
          // A runner such as deno task passes on what the terminal has sent already: two at once.
          if (nowMs - this.#interruptedMs < ECHO_MS) return;
          this.io.exit(130);
        }
        this.#interruptedMs = nowMs;
        this.#interruption.abort(new Interrupted(signal));
      }));
    }
    return this.#interruption.signal;
  }

  /** Throws if the output was closed: a command that was stopped by that has not done its work. */
  checkOutput(): void {
    this.screen.closed.throwIfAborted();
  }

  /**
   * Waits for something that must not outlast `--timeout` or Ctrl-C.
   *
   * @param what What it is called if it takes too long.
   * @param work The work; its signal is aborted when nobody waits any longer.
   * @throws {PatchbayError} `deadline_exceeded`.
   */
  async within<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { timeout } = this.options;
    const late = new AbortController();
    const timer = timeout === undefined ? undefined : setTimeout(async () => {
      const { PatchbayError } = await import("@patchbay/core");
      late.abort(
        new PatchbayError("deadline_exceeded", `${what} took longer than ${timeout} ms`, {
          remedy: "a longer --timeout",
        }),
      );
    }, timeout);
    const signal = AbortSignal.any([this.interrupted, late.signal]);
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    stopped.catch(() => {});
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      return await Promise.race([work(signal), stopped]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  /**
   * Opens the command's bay. Its signals are the command's own affair.
   *
   * @param more Its module's name, if not the command line's; settings of wires.
   */
  async openBay(
    more: { module?: string; config?: Readonly<Record<string, unknown>> } = {},
  ): Promise<Bay> {
    const { Patchbay } = await import("@patchbay/patchbay");
    const { module = CLI_MODULE, config } = more;
    return await Patchbay.open({
      ...this.hostOptions(),
      ...(config === undefined ? {} : { config }),
      module,
      instance: `${module}-${Deno.pid}`,
      handleSignals: false,
    });
  }

  /** What the options say about how to open a bay, or to look without opening one. */
  hostOptions(): {
    configFile?: string;
    runtimeDirectory?: string;
    onReport: (error: Error) => void;
  } {
    const { config, runtimeDir } = this.options;
    return {
      ...(config === undefined ? {} : { configFile: config }),
      ...(runtimeDir === undefined ? {} : { runtimeDirectory: runtimeDir }),
      onReport: (error) => this.screen.warn(complaintOf(error)),
    };
  }

  /** The runtime directory: of the options, of the configuration file, or the default. */
  async runtimeDir(): Promise<string> {
    const { loadConfig, locateRuntimeDir } = await import("@patchbay/host");
    const file = await loadConfig(this.options.config);
    const path = this.options.runtimeDir ?? file?.config.runtimeDirectory;
    return locateRuntimeDir({ path });
  }

  /**
   * Reads the JSON argument of a command: `-` is standard input, nothing is `null`.
   *
   * @param text The argument.
   * @param what What it is called in complaints: `request`, `goal`.
   */
  async readValue(text: string | undefined, what: string): Promise<unknown> {
    if (text === undefined) return null;
    const { readValue } = await import("./values.ts");
    if (text !== "-") return readValue(text, what);
    const input = (await this.io.readStdin()).trim();
    if (input === "") {
      throw new UsageError(`the ${what} is empty: nothing came on standard input`, {
        remedy: `echo '{"a": 1}' | patchbay …`,
      });
    }
    return readValue(input, what);
  }

  /** Catches signals no longer. */
  [Symbol.dispose](): void {
    for (const handler of this.#handlers.splice(0)) handler[Symbol.dispose]();
  }
}
