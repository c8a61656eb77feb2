/**
 * `patchbay listen`: prints what is shouted.
 *
 * @module
 */

import { type EventContext, PatchbayError } from "@patchbay/core";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { formatCount } from "../units.ts";
import { until } from "../until.ts";

/** The options of `listen`. */
export interface ListenCommandOptions extends CommonOptions {
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
 * @param topic The topic; `*` and `**` are wild.
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
  await using bay = await context.openBay();
  await using _ = await bay.listen(topic, (value, event) => {
    // What comes in one read comes in one turn: the end may have been reached within it.
    if (heard === count) return;
    heard++;
    print(context, value, event);
    if (heard === count) enough.resolve();
  }, {
    via,
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

function print({ screen }: Context, value: unknown, event: EventContext): void {
  const { address, sequence, origin, headers, retained, peer } = event;
  if (screen.json) {
    return screen.value({ address, value, sequence, retained, headers, origin, peer });
  }
  const { paint } = screen;
  const kept = retained ? ` ${paint.yellow("retained")}` : "";
  const used = address.length + String(sequence).length + 3 + (retained ? 9 : 0);
  screen.line(
    `${paint.cyan(address)} ${paint.dim(`#${sequence}`)}${kept} ${screen.show(value, used)}`,
  );
}
