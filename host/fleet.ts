/**
 * Runs a fleet: starts its modules in order, starts those that end again by policy, and stops all
 * in reverse order.
 *
 * @module
 */

import { runHook } from "@patchbay/core";
import type { Fleet, FleetModule } from "./fleet_file.ts";

/** What a module does now. */
export type FleetState = "starting" | "running" | "waiting" | "stopping" | "ended" | "failed";

/** A module of a fleet, as it is now. */
export interface FleetStatus {
  /** Its name. */
  readonly name: string;
  /** `waiting`: it has ended, and is started again in a while. */
  readonly state: FleetState;
  /** Its process; undefined while there is none. */
  readonly pid: number | undefined;
  /** How often it was started again. */
  readonly restarts: number;
  /** When its process was started, in epoch milliseconds. */
  readonly sinceMs: number | undefined;
  /** How its last process ended: `exit code 1`, `SIGKILL`. */
  readonly lastEnd: string | undefined;
}

/** What a fleet tells. What a hook throws is written to the console, and the fleet goes on. */
export interface FleetOptions {
  /** A line that a module has written. */
  readonly onLine?: (module: string, stream: "stdout" | "stderr", line: string) => void;
  /** A module's state has changed. */
  readonly onState?: (status: FleetStatus) => void;
  /** How long a module may take to stop, in milliseconds, before it is killed. Default 10,500. */
  readonly stopMs?: number;
  /** The first pause before a module is started again, in milliseconds; doubled. Default 100. */
  readonly restartMinMs?: number;
  /** The longest pause, in milliseconds. Default 30,000. */
  readonly restartMaxMs?: number;
}

/** A module that has run for so long begins again with the shortest pause, in milliseconds. */
const STEADY_MS = 10_000;
/** How long the last lines of a process that has ended may take, in milliseconds. */
const LAST_LINES_MS = 500;
/**
 * Waits for the end of its input, which comes when this process dies, of whatever; then kills a group
 * of processes. No signal reaches it that is meant for the terminal.
 */
const GUARD = 'trap "" INT TERM HUP; read -r _; kill -s KILL -- "-$0"';
/** A longer line is cut into pieces, in characters. */
const MAX_LINE = 16_384;

/**
 * Modules that are started, watched and stopped together.
 *
 * Each module has a group of processes of its own, except on Windows: what it has started and left
 * behind ends with it, and all end with this process, even if that is killed.
 */
export class FleetRun implements AsyncDisposable {
  readonly #members: Member[];
  readonly #stopMs: number;
  #stopping: Promise<void> | undefined;

  /**
   * Makes a run; {@link start} must follow.
   *
   * @param fleet What to run.
   * @param options What is told, and how patient it is.
   */
  constructor(fleet: Fleet, options: FleetOptions = {}) {
    this.#stopMs = options.stopMs ?? 10_500;
    this.#members = fleet.modules.map((each) => new Member(each, options));
  }

  /** Starts all, in order. Resolves when their processes have been started. */
  // deno-lint-ignore require-await -- a module that cannot be started rejects
  async start(): Promise<void> {
    // A process that exits in the middle of stopping must not leave modules behind.
    globalThis.addEventListener("unload", this.#abandon);
    for (const member of this.#members) {
      if (this.#stopping !== undefined) return;
      member.start();
    }
  }

  /** Every module as it is now, in the order of their start. */
  get status(): readonly FleetStatus[] {
    return this.#members.map((member) => member.status);
  }

  /** Resolves when every module has ended, and none is started again. */
  async ended(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.over));
  }

  /** Stops all in reverse order, each before the next. Idempotent. */
  stop(): Promise<void> {
    return this.#stopping ??= (async () => {
      for (const member of this.#members) member.hold();
      for (const member of [...this.#members].reverse()) await member.stop(this.#stopMs);
      globalThis.removeEventListener("unload", this.#abandon);
    })();
  }

  readonly #abandon = (): void => {
    for (const member of this.#members) member.kill();
  };

  /** As {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** One module and its process. */
class Member {
  readonly #module: FleetModule;
  readonly #options: FleetOptions;
  readonly #over = Promise.withResolvers<void>();
  #state: FleetState = "starting";
  #child: Deno.ChildProcess | undefined;
  #guard: Deno.ChildProcess | undefined;
  #sinceMs: number | undefined;
  #restarts = 0;
  #lastEnd: string | undefined;
  #pauseMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #held = false;

  constructor(module: FleetModule, options: FleetOptions) {
    this.#module = module;
    this.#options = options;
    this.#pauseMs = options.restartMinMs ?? 100;
  }

  get over(): Promise<void> {
    return this.#over.promise;
  }

  get status(): FleetStatus {
    return {
      name: this.#module.name,
      state: this.#state,
      pid: this.#child?.pid,
      restarts: this.#restarts,
      sinceMs: this.#sinceMs,
      lastEnd: this.#lastEnd,
    };
  }

  start(): void {
    const { file, flags, args, env } = this.#module;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", ...flags, file, ...args],
      env: { ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      // In a group of its own: Ctrl-C is for the fleet, which stops its modules in order.
      detached: GROUPS,
    }).spawn();
    this.#guard = guard(this.#child.pid);
    this.#sinceMs = Date.now();
    this.#become("running");
    void this.#watch(this.#child);
  }

  /** Starts nothing any more. */
  hold(): void {
    this.#held = true;
    clearTimeout(this.#timer);
    const over = this.#state === "ended" || this.#state === "failed";
    if (this.#child === undefined && !over) this.#end("ended");
  }

  /** Ends its process at once. */
  kill(): void {
    this.#held = true;
    clearTimeout(this.#timer);
    if (this.#child !== undefined) killGroup(this.#child);
  }

  async stop(patienceMs: number): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#become("stopping");
    kill(child, "SIGTERM");
    const insisting = setTimeout(() => killGroup(child), patienceMs);
    await this.#over.promise;
    clearTimeout(insisting);
  }

  async #watch(child: Deno.ChildProcess): Promise<void> {
    const cut = new AbortController();
    const reads = Promise.allSettled([
      this.#read(child.stdout, "stdout", cut.signal),
      this.#read(child.stderr, "stderr", cut.signal),
    ]);
    const { success, code, signal } = await child.status;
    // What it leaves behind may hold a port or a device that its successor needs.
    killGroup(child);
    await this.#dismissGuard();
    // Who has left its group with its output may keep that open: what is there is read, and no more waited for.
    const late = setTimeout(() => cut.abort(), LAST_LINES_MS);
    await reads;
    clearTimeout(late);
    this.#child = undefined;
    this.#lastEnd = signal ?? `exit code ${code}`;
    const { restart } = this.#module;
    if (this.#held || restart === "never" || (restart === "on_failure" && success)) {
      return this.#end(success || this.#held ? "ended" : "failed");
    }
    this.#startLater();
  }

  async #dismissGuard(): Promise<void> {
    const guard = this.#guard;
    this.#guard = undefined;
    if (guard === undefined) return;
    kill(guard, "SIGKILL");
    await guard.status;
    await guard.stdin.abort().catch(() => {}); // Its end may have been noticed before.
  }

  #startLater(): void {
    const { restartMinMs = 100, restartMaxMs = 30_000 } = this.#options;
    if (Date.now() - (this.#sinceMs ?? Date.now()) >= STEADY_MS) this.#pauseMs = restartMinMs;
    this.#sinceMs = undefined;
    this.#become("waiting");
    this.#timer = setTimeout(() => {
      this.#restarts++;
      try {
        this.start();
      } catch (error) {
        // No process to be had just now; the next pause is longer.
        this.#lastEnd = error instanceof Error ? error.message : String(error);
        this.#startLater();
      }
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, restartMaxMs);
  }

  async #read(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
    name: "stdout" | "stderr",
    signal: AbortSignal,
  ): Promise<void> {
    const { onLine } = this.#options;
    const tell = (line: string) =>
      this.#run("onLine", () => onLine?.(this.#module.name, name, line));
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream(), { signal })) {
      if (onLine === undefined) continue;
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop() as string;
      for (const line of lines) tell(line);
      for (; rest.length > MAX_LINE; rest = rest.slice(MAX_LINE)) tell(rest.slice(0, MAX_LINE));
    }
    if (rest !== "") tell(rest);
  }

  #end(state: "ended" | "failed"): void {
    this.#sinceMs = undefined;
    this.#become(state);
    this.#over.resolve();
  }

  #become(state: FleetState): void {
    if (this.#state === state && state !== "running") return;
    this.#state = state;
    this.#run("onState", () => this.#options.onState?.(this.status));
  }

  /** A hook that throws must not stop the reading, the restarting or the stopping of a module. */
  #run(name: string, hook: () => unknown): void {
    runHook(
      hook,
      (error) => console.error(`patchbay: ${name} of ${this.#module.name} threw:`, error),
    );
  }
}

/** Whether modules have process groups of their own. */
const GROUPS = Deno.build.os !== "windows";

/** Starts what kills a group when this process is gone; where there is no shell, nobody does. */
function guard(group: number): Deno.ChildProcess | undefined {
  if (!GROUPS) return undefined;
  try {
    return new Deno.Command("/bin/sh", {
      args: ["-c", GUARD, String(group)],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
      detached: true,
    }).spawn();
  } catch {
    // Not permitted, or not there: `unload` is left, which sees every end but a violent one.
    return undefined;
  }
}

/** Kills a module with all that it has started and that has not gone off by itself. */
function killGroup(child: Deno.ChildProcess): void {
  if (!GROUPS) return kill(child, "SIGKILL");
  try {
    Deno.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody of it is left.
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended.
  }
}
