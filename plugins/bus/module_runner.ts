/**
 * Runs a module: joins the bus, calls its `process()` at a fixed rate or when frames come, and
 * stops it cleanly on a signal.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { onShutdown } from "@patchbay/host";
import { BusComm, type BusCommOptions } from "./bus_comm.ts";
import type { Comm } from "./comm.ts";

/** What a module is: made with its comm, worked in a loop, stopped. */
export interface Module {
  /** Does what there is to do, and returns soon: looks at the frames that wait, sends others. */
  process(): void | Promise<void>;
  /** Frees what it holds. Called once, after the last `process()`. */
  stop(): void | Promise<void>;
}

/** How a loop runs. */
export interface LoopOptions {
  /**
   * How often `process()` is called, in times a second; default 20. `"frames"`: not by time, but
   * once for each frame that has come.
   */
  readonly rateHz?: number | "frames";
  /** Ends the loop. */
  readonly signal: AbortSignal;
  /** Told what `process()` threw; the loop goes on. Default: it is thrown, and ends the module. */
  readonly onError?: (error: unknown) => void;
}

/** What a loop has done. */
export interface LoopStatistics {
  /** How often `process()` was called. */
  turns: number;
  /** How often it took longer than its turn; the turns it missed are left out. */
  overruns: number;
}

/** How to run a module. */
export interface RunModuleOptions extends Omit<BusCommOptions, "module" | "url" | "token"> {
  /** The module's name. */
  readonly module: string;
  /** The manager; default: the environment's `PATCHBAY_BUS`, else `tcp://127.0.0.1:5000`. */
  readonly url?: string;
  /** The bus's token; default: the environment's `PATCHBAY_BUS_TOKEN`. */
  readonly token?: string;
  /** As {@link LoopOptions.rateHz}. */
  readonly rateHz?: number | "frames";
}

/** The default rate of a loop, in times a second. */
export const DEFAULT_RATE_HZ = 20;

/**
 * Calls `process()` again and again, at a fixed rate or for each frame, until it is told to stop.
 *
 * It sleeps between the turns. A turn that takes too long is counted, and the loop keeps its beat:
 * what was missed is left out, not made up for.
 *
 * @param module What to run.
 * @param comm Its comm.
 * @param options The rate, and what ends it.
 * @param statistics Counted into, so that it can be looked at meanwhile.
 */
export async function runLoop(
  module: Pick<Module, "process">,
  comm: Comm,
  options: LoopOptions,
  statistics: LoopStatistics = { turns: 0, overruns: 0 },
): Promise<LoopStatistics> {
  const { rateHz = DEFAULT_RATE_HZ, signal, onError } = options;
  const turn = async () => {
    statistics.turns++;
    try {
      await module.process();
    } catch (error) {
      if (onError === undefined) throw error;
      onError(error);
    }
  };
  if (rateHz === "frames") {
    await turn(); // Once at the start: it may have something to say by itself.
    while (await frameOrEnd(comm, signal)) {
      const before = comm.taken;
      await turn();
      // Others may have come meanwhile: what counts is whether it has taken any.
      if (comm.taken === before && comm.pending > 0 && !signal.aborted) {
        throw new PatchbayError("invalid", "process() has left the frame that it was called for", {
          remedy: "take it with comm.getData(), or run the module at a rate",
        });
      }
    }
    return statistics;
  }
  if (!(rateHz > 0 && rateHz <= 1000)) {
    throw new PatchbayError("invalid", `rateHz is ${rateHz}`, {
      remedy: 'a rate from above 0 to 1000 a second, or "frames"',
    });
  }
  const periodMs = 1000 / rateHz;
  let next = performance.now();
  while (!signal.aborted) {
    await turn();
    next += periodMs;
    const leftMs = next - performance.now();
    if (leftMs < 0) {
      statistics.overruns++;
      next += Math.ceil(-leftMs / periodMs) * periodMs;
    }
    await sleep(Math.max(0, next - performance.now()), signal);
  }
  return statistics;
}

/**
 * Runs a module as a process: joins the bus, runs its loop, and ends on SIGINT, SIGTERM or SIGQUIT
 * (on Windows SIGINT and SIGBREAK).
 *
 * @param make Makes the module; `new Led(comm)`.
 * @param options Its name, frames, bus and rate.
 *
 * @example
 * ```ts ignore
 * import { runModule } from "@patchbay/bus";
 * import { frames } from "../frames/frames.ts";
 * import { Led } from "./module.ts";
 *
 * await runModule((comm) => new Led(comm), { module: "led", frames });
 * ```
 */
export async function runModule(
  make: (comm: Comm) => Module | Promise<Module>,
  options: RunModuleOptions,
): Promise<LoopStatistics> {
  const url = options.url ?? environment("PATCHBAY_BUS");
  const token = options.token ?? environment("PATCHBAY_BUS_TOKEN");
  const ending = new AbortController();
  const ended = Promise.withResolvers<void>();
  const comm = await BusComm.open({ ...options, url, token });
  // The handler waits for the loop, which is in the middle of a turn perhaps.
  using _ = onShutdown(async () => {
    ending.abort();
    await ended.promise;
  });
  const statistics: LoopStatistics = { turns: 0, overruns: 0 };
  try {
    const module = await make(comm);
    try {
      await runLoop(module, comm, { rateHz: options.rateHz, signal: ending.signal }, statistics);
    } finally {
      await module.stop();
    }
  } finally {
    await comm.stop();
    ended.resolve();
  }
  return statistics;
}

/** A variable of the environment, if it is there and may be read. */
function environment(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return;
  return Deno.env.get(name) || undefined;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

/** Whether a frame waits, once one does; false when the loop is to end. */
async function frameOrEnd(comm: Comm, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const ending = Promise.withResolvers<boolean>();
  const end = () => ending.resolve(false);
  signal.addEventListener("abort", end);
  try {
    return await Promise.race([comm.arrival(), ending.promise]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}
