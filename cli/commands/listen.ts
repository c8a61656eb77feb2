/**
 * `patchbay listen`: prints what is shouted.
 *
 * @module
 */

import { type EventContext, PatchbayError } from "@patchbay/core";
import type { Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { type FrameOptions, type FrameWay, frameWay } from "../frames.ts";
import { formatCount } from "../units.ts";
import { until } from "../until.ts";

/** The options of `listen`. */
export interface ListenCommandOptions extends FrameOptions {
  /** End after so many. */
  readonly count?: number;
  /** Begin with the retained values. */
  readonly retained?: boolean;
  /** Warn after so long without a message, in milliseconds. */
  readonly maxSilence?: number;
}

/**
 * Listens to a topic or pattern.
 *
 * @param context The surroundings.
 * @param topic The topic; `*` and `**` are wild. Or a frame type: `frame:DISTANCE`, `frame:ALL`.
 * @param options When to end, and what every command has.
 */
export async function listen(
  context: Context,
  topic: string,
  options: ListenCommandOptions,
): Promise<number> {
  const { screen } = context;
  const { count, retained, maxSilence: maxSilenceMs, via, timeout: timeoutMs } = options;
  const stop = context.interrupted;
  const enough = Promise.withResolvers<void>();
  let heard = 0;
  const way = await frameWay(context, topic, options);
  await using bay = way?.bay ?? await context.openBay();
  await using _ = await bay.listen(way?.address ?? topic, (value, event) => {
    // What comes in one read comes in one turn: the end may have been reached within it.
    if (heard === count) return;
    heard++;
    print(context, value, event, way);
    if (heard === count) enough.resolve();
  }, {
    via: way === undefined ? via : ["bus"],
    retained,
    maxQueue: 65_536,
    maxSilenceMs,
    onSilent: () =>
      screen.warn({ code: "silent", message: `${topic}: nothing came for ${maxSilenceMs} ms` }),
  });
  screen.note(`listening to ${topic}; Ctrl-C ends it`);
  const end = await until(stop, { done: enough.promise, timeoutMs });
  if (end === "late" && (heard === 0 || count !== undefined)) {
    throw new PatchbayError(
      "deadline_exceeded",
      count === undefined
        ? `${topic}: nothing came within ${timeoutMs} ms`
        : `${topic}: ${formatCount(heard)} of ${formatCount(count)} came within ${timeoutMs} ms`,
      { address: topic, remedy: "patchbay list shows who shouts; or give it a longer --timeout" },
    );
  }
  if (end === "stopped" && count !== undefined) stop.throwIfAborted();
  return EXIT.ok;
}

function print(
  { screen }: Context,
  body: unknown,
  event: EventContext,
  way: FrameWay | undefined,
): void {
  const { sequence, origin, headers, retained, peer } = event;
  let shown: ReturnType<FrameWay["text"]["show"]>;
  try {
    shown = way?.text.show(event.address, body);
  } catch (error) {
    return screen.warn(PatchbayError.fromThrown(error).with({ address: event.address }));
  }
  const value = shown === undefined ? body : shown.value;
  if (screen.json) {
    const { address } = event;
    return screen.value({ address, ...shown, value, sequence, retained, headers, origin, peer });
  }
  const { paint } = screen;
  const address = shown?.frame ?? event.address;
  if (shown?.request === true) {
    return screen.line(`${paint.cyan(address)} ${paint.dim(`#${sequence}`)} requested`);
  }
  const kept = retained ? ` ${paint.yellow("retained")}` : "";
  const used = address.length + String(sequence).length + 3 + (retained ? 9 : 0);
  screen.line(
    `${paint.cyan(address)} ${paint.dim(`#${sequence}`)}${kept} ${screen.show(value, used)}`,
  );
}
