/**
 * `patchbay job`: runs a job with its feedback and a progress bar; Ctrl-C cancels it.
 *
 * @module
 */

import type { CommonOptions, Context } from "../context.ts";
import { EXIT, Interrupted } from "../complaint.ts";
import { nearMiss } from "../near_miss.ts";
import type { Paint } from "../paint.ts";
import { formatDuration } from "../units.ts";

/** The options of `job`. */
export interface JobCommandOptions extends CommonOptions {
  /** Sent along. */
  readonly header?: Readonly<Record<string, string>>;
}

const BAR_CELLS = 30;
const REDRAW_MS = 100;

/**
 * Runs a job and prints its feedback and its result.
 *
 * @param context The surroundings.
 * @param address The job.
 * @param json The goal; `-` is standard input.
 * @param options Headers and what every command has.
 */
export async function job(
  context: Context,
  address: string,
  json: string | undefined,
  options: JobCommandOptions,
): Promise<number> {
  const { screen } = context;
  const goal = await context.readValue(json, "goal");
  const { via, timeout: timeoutMs, header: headers } = options;
  const stop = context.interrupted;
  // Ctrl-C before the worker has accepted gives up; afterwards the worker is asked to stop.
  const accepting = new AbortController();
  const giveUp = () => accepting.abort(stop.reason);
  stop.addEventListener("abort", giveUp);
  await using bay = await context.openBay();
  const startedMs = performance.now();
  let progress: number | undefined;
  // A quick worker's first reports may overtake the news of its acceptance.
  let early: number[] | undefined = [];
  stop.throwIfAborted();
  const handle = await bay.execute(address, goal, {
    via,
    timeoutMs,
    headers,
    signal: accepting.signal,
    onProgress: (fraction) => {
      progress = fraction;
      if (early !== undefined) early.push(fraction);
      else if (screen.json) screen.value({ event: "progress", fraction });
    },
  }).catch((error) => {
    throw nearMiss(bay, "job", address, error);
  });
  stop.removeEventListener("abort", giveUp);
  if (screen.json) {
    screen.value({ event: "accepted", address, id: handle.id, wire: handle.transport });
    for (const fraction of early) screen.value({ event: "progress", fraction });
  }
  early = undefined;
  screen.note(`${address} accepted over ${handle.transport}; Ctrl-C cancels it`);
  const cancel = () => {
    screen.note("cancelling; once more Ctrl-C leaves at once");
    handle.cancel(stop.reason);
  };
  if (stop.aborted) cancel();
  else stop.addEventListener("abort", cancel, { once: true });
  const draw = () => {
    screen.status(bar(progress, performance.now() - startedMs, screen.errorPaint));
  };
  const redraw = setInterval(draw, REDRAW_MS);
  try {
    for await (const value of handle.feedback) {
      if (screen.json) screen.value({ event: "feedback", value });
      else screen.line(`${screen.paint.dim("feedback")} ${screen.show(value, 9)}`);
    }
    const result = await handle.result;
    const tookMs = performance.now() - startedMs;
    clearInterval(redraw);
    screen.status("");
    if (screen.json) screen.value({ event: "result", value: result, tookMs });
    else {
      screen.value(result);
      screen.note(`done in ${formatDuration(tookMs)}`);
    }
    return EXIT.ok;
  } catch (error) {
    if (error instanceof Interrupted) {
      throw new Interrupted(error.signal, `${address} was cancelled`);
    }
    throw error;
  } finally {
    clearInterval(redraw);
    screen.status("");
    stop.removeEventListener("abort", cancel);
  }
}

/** A bar as long as the work done; a wandering mark while nothing is known. */
function bar(progress: number | undefined, ms: number, paint: Paint): string {
  const time = paint.dim(formatDuration(Math.round(ms / 100) * 100));
  if (progress === undefined) {
    const at = Math.floor(ms / REDRAW_MS) % BAR_CELLS;
    return `${paint.dim("─".repeat(at))}${paint.cyan("━")}${
      paint.dim("─".repeat(BAR_CELLS - 1 - at))
    }       ${time}`;
  }
  const full = Math.round(Math.max(0, Math.min(1, progress)) * BAR_CELLS);
  const percent = `${Math.floor(progress * 100)} %`.padStart(5);
  return `${paint.green("━".repeat(full))}${paint.dim("─".repeat(BAR_CELLS - full))} ${
    paint.bold(percent)
  } ${time}`;
}
