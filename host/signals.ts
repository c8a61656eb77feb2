/**
 * Closing on signals: SIGINT, SIGTERM, SIGQUIT; on Windows SIGINT and SIGBREAK.
 *
 * @module
 */

/** What can be closed: a bay, a server, or a function. */
export type ShutdownTarget = AsyncDisposable | (() => void | Promise<void>);

/** How to shut down. */
export interface ShutdownOptions {
  /**
   * The exit code after everything was closed: a number, or `"signal"` for 128 + the signal's
   * number, as if the signal had ended the process. Default 0.
   */
  exitCode?: number | "signal";
  /** How long closing may take altogether, in milliseconds; the process exits anyway. Default 10 s. */
  timeoutMs?: number;
}

/** Their numbers are the same on Linux, macOS and the BSDs; Windows has names only. */
const NUMBERS: Readonly<Partial<Record<Deno.Signal, number>>> = {
  SIGINT: 2,
  SIGQUIT: 3,
  SIGTERM: 15,
  SIGBREAK: 21,
};

/** The exit code after a second signal: that of an interrupted program. */
const IMPATIENT = 130;
/** A second signal within so many milliseconds is the echo of the first. */
const ECHO_MS = 500;
const DEFAULT_TIMEOUT_MS = 10_000;

interface Registered {
  readonly targets: readonly ShutdownTarget[];
  readonly exitCode: number | "signal";
  readonly timeoutMs: number;
  /** Whether others decide about the exit code if there are any. */
  readonly yields: boolean;
}

/** Everything of this process that is to be closed on a signal. */
class ShutdownQueue {
  readonly #registered: Registered[] = [];
  #listening: [Deno.Signal, () => void][] = [];
  #sinceMs: number | undefined;

  add(entry: Registered): void {
    this.#registered.push(entry);
    if (this.#registered.length === 1) this.#listen();
  }

  remove(entry: Registered): void {
    const at = this.#registered.indexOf(entry);
    if (at < 0) return;
    this.#registered.splice(at, 1);
    // While it shuts down a second signal must still find us.
    if (this.#registered.length === 0 && this.#sinceMs === undefined) this.#unlisten();
  }

  #listen(): void {
    const signals: Deno.Signal[] = Deno.build.os === "windows"
      ? ["SIGINT", "SIGBREAK"]
      : ["SIGINT", "SIGTERM", "SIGQUIT"];
    for (const signal of signals) {
      const handler = () => void this.#shutDown(signal);
      Deno.addSignalListener(signal, handler);
      this.#listening.push([signal, handler]);
    }
  }

  #unlisten(): void {
    for (const [signal, handler] of this.#listening) Deno.removeSignalListener(signal, handler);
    this.#listening = [];
  }

  async #shutDown(signal: Deno.Signal): Promise<void> {
    const nowMs = performance.now();
    if (this.#sinceMs !== undefined) {
      // A terminal signals the whole group and a runner such as deno task passes it on: two at once.
      if (nowMs - this.#sinceMs < ECHO_MS) return;
      Deno.exit(IMPATIENT);
    }
    this.#sinceMs = nowMs;
    const all = [...this.#registered].reverse();
    const decides = all.find((entry) => !entry.yields) ?? all[0];
    const code = decides.exitCode === "signal" ? 128 + (NUMBERS[signal] ?? 0) : decides.exitCode;
    const timeoutMs = Math.max(...all.map((entry) => entry.timeoutMs));
    setTimeout(() => {
      console.error(`patchbay: closing after ${signal} took longer than ${timeoutMs} ms; exiting`);
      Deno.exit(code === 0 ? 1 : code);
    }, timeoutMs);
    for (const entry of all) {
      for (const target of [...entry.targets].reverse()) {
        try {
          await (typeof target === "function" ? target() : target[Symbol.asyncDispose]());
        } catch (error) {
          console.error(`patchbay: closing after ${signal}:`, error);
        }
      }
    }
    Deno.exit(code);
  }
}

/**
 * The one list of this process. It is module state on purpose: a signal is sent to the process and
 * not to a bay, so whoever closes first may not end it while others are still closing.
 */
const queue = new ShutdownQueue();

/** @ignore As {@link onShutdown}, but others decide about the exit code if there are any. */
export function closeOnSignal(target: ShutdownTarget): Disposable {
  return register({
    targets: [target],
    exitCode: "signal",
    timeoutMs: DEFAULT_TIMEOUT_MS,
    yields: true,
  });
}

/**
 * Closes what was opened when the process is told to stop (SIGINT, SIGTERM, SIGQUIT; on Windows
 * SIGINT, SIGBREAK), and then exits.
 *
 * Guaranteed: what was registered last is closed first, each once, one after the other; one that
 * fails is named on stderr and stops no other; a second signal half a second or more later exits at once with 130. It keeps no
 * process alive, and its handlers are gone when the last registration is disposed of.
 *
 * @param targets What to close: a bay, anything `AsyncDisposable`, a function, or several of these
 *   in the order in which they were opened.
 * @param options The exit code and the time limit.
 * @returns Takes the registration back. Idempotent.
 *
 * @example
 * ```ts
 * import { onShutdown } from "@patchbay/host";
 *
 * using _ = onShutdown(async () => {
 *   await Deno.remove("/tmp/patchbay-example.lock").catch(() => {});
 * });
 * ```
 */
export function onShutdown(
  targets: ShutdownTarget | readonly ShutdownTarget[],
  options: ShutdownOptions = {},
): Disposable {
  return register({
    targets: Array.isArray(targets) ? targets : [targets as ShutdownTarget],
    exitCode: options.exitCode ?? 0,
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    yields: false,
  });
}

function register(entry: Registered): Disposable {
  queue.add(entry);
  return { [Symbol.dispose]: () => queue.remove(entry) };
}
