/**
 * What the command does with the process it runs in: its streams, its environment, its signals.
 *
 * @module
 */

/** A stream to write to. */
export interface Sink {
  /** Whether a person reads it. */
  readonly terminal: boolean;
  /** How wide it is, in characters. */
  readonly columns: number;
  /**
   * Writes text.
   *
   * @param text The text.
   * @throws {Deno.errors.BrokenPipe} Nobody reads any longer.
   */
  write(text: string): void;
}

/** The surroundings of the command, so that tests and other programs can run it in their own. */
export interface Io {
  /** Where results go. */
  readonly stdout: Sink;
  /** Where everything else goes: errors, notes, progress. */
  readonly stderr: Sink;
  /** Reads all of standard input as text. */
  readStdin(): Promise<string>;
  /**
   * An environment variable; `undefined` if it is not set or may not be read.
   *
   * @param name Its name.
   */
  env(name: string): string | undefined;
  /**
   * Calls back for each SIGINT, SIGTERM and SIGQUIT (Windows: SIGINT, SIGBREAK).
   *
   * @param callback What to call.
   * @returns Ends it.
   */
  onSignal(callback: (signal: Deno.Signal) => void): Disposable;
  /**
   * Ends the process at once: the answer to a second Ctrl-C.
   *
   * @param code The exit code.
   */
  exit(code: number): void;
}

/** The signals that ask a program to end. */
export const ENDING_SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM", "SIGQUIT"];

/** Signal numbers, which are the same on Linux, macOS and the BSDs. */
const NUMBERS: Readonly<Partial<Record<Deno.Signal, number>>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
  SIGBREAK: 21,
};

/** The exit code of a program that a signal has ended: 128 and its number; 130 for Ctrl-C. */
export function signalCode(signal: Deno.Signal): number {
  return 128 + (NUMBERS[signal] ?? 0);
}

const DEFAULT_COLUMNS = 100;

function columnsOf(terminal: boolean): number {
  if (!terminal) return DEFAULT_COLUMNS;
  try {
    return Deno.consoleSize().columns || DEFAULT_COLUMNS;
  } catch {
    return DEFAULT_COLUMNS; // A terminal that does not say: a pseudo one without a size.
  }
}

function sink(stream: typeof Deno.stdout | typeof Deno.stderr): Sink {
  const encoder = new TextEncoder();
  const terminal = stream.isTerminal();
  return {
    terminal,
    get columns() {
      return columnsOf(terminal);
    },
    write(text) {
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
    },
  };
}

/** The surroundings of this very process. */
export function processIo(): Io {
  return {
    stdout: sink(Deno.stdout),
    stderr: sink(Deno.stderr),
    readStdin: () => new Response(Deno.stdin.readable).text(),
    env(name) {
      const may = Deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
      return may ? Deno.env.get(name) : undefined;
    },
    onSignal(callback) {
      const handlers = ENDING_SIGNALS.map((signal) => [signal, () => callback(signal)] as const);
      for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
      return {
        [Symbol.dispose]() {
          for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
        },
      };
    },
    exit: (code) => Deno.exit(code),
  };
}
