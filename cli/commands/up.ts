/**
 * `patchbay up`: starts the modules of a file, shows what they write and how they are, starts the
 * crashed again, and stops all in reverse order.
 *
 * @module
 */

import { type FleetStatus } from "@patchbay/host";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { until } from "../until.ts";

/** The options of `up`. */
export interface UpCommandOptions extends CommonOptions {
  /** Only check the file. */
  readonly check?: boolean;
}

/**
 * Runs a fleet until Ctrl-C, or until every module has ended.
 *
 * @param context The surroundings.
 * @param path The file.
 * @param options What every command has.
 */
export async function up(
  context: Context,
  path: string,
  options: UpCommandOptions,
): Promise<number> {
  const { FleetRun, readFleet } = await import("@patchbay/host");
  const { screen } = context;
  const fleet = await readFleet(path);
  if (options.check === true) {
    const names = fleet.modules.map(({ name }) => name);
    if (screen.json) screen.value({ path: fleet.path, modules: names });
    else screen.line(`${fleet.path}: ${names.join(", ")}`);
    return EXIT.ok;
  }
  const names = fleet.modules.map(({ name }) => name);
  const width = Math.max(...names.map((name) => name.length));
  const colours = [
    screen.paint.cyan,
    screen.paint.green,
    screen.paint.yellow,
    screen.paint.magenta,
  ];
  const label = (name: string) => colours[names.indexOf(name) % colours.length](name.padEnd(width));
  await using run = new FleetRun(fleet, {
    onLine(module, stream, line) {
      if (screen.json) screen.value({ event: "line", module, stream, line, atMs: Date.now() });
      else screen.line(`${label(module)} ${screen.paint.dim("│")} ${line}`);
    },
    onState(status) {
      if (screen.json) screen.value({ event: "state", ...status, atMs: Date.now() });
      else {screen.line(
          `${label(status.name)} ${screen.paint.dim("●")} ${told(status, screen.paint)}`,
        );}
    },
  });
  const stop = context.interrupted;
  await run.start();
  const outcome = await until(stop, { timeoutMs: options.timeout, done: run.ended() });
  await run.stop();
  if (outcome !== "done") return EXIT.ok;
  return run.status.some(({ state }) => state === "failed") ? EXIT.failure : EXIT.ok;
}

/** A state as a person reads it. */
function told(
  { state, pid, restarts, lastEnd }: FleetStatus,
  paint: { dim(text: string): string; red(text: string): string; yellow(text: string): string },
): string {
  const again = restarts > 0 ? `, start ${restarts + 1}` : "";
  switch (state) {
    case "running":
      return paint.dim(`started, process ${pid}${again}`);
    case "waiting":
      return paint.yellow(`ended (${lastEnd}), and is started again`);
    case "failed":
      return paint.red(`failed (${lastEnd})`);
    case "ended":
      return paint.dim(lastEnd === undefined ? "ended" : `ended (${lastEnd})`);
    default:
      return paint.dim(state);
  }
}
