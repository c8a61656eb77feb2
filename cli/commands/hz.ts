/**
 * `patchbay hz`: how often and how evenly a topic is shouted.
 *
 * @module
 */

import type { Context } from "../context.ts";
import { measure, type MeasureOptions } from "../measure.ts";
import { formatCount, formatDuration, formatRate } from "../units.ts";

/**
 * Measures the rate of a topic, by arrivals here.
 *
 * @param context The surroundings.
 * @param topic The topic or pattern.
 * @param options When to end, and over how many messages.
 */
export function hz(context: Context, topic: string, options: MeasureOptions): Promise<number> {
  const { screen } = context;
  const { paint } = screen;
  return measure(context, topic, options, ({ messages, size, rateHz, periods }) => {
    if (screen.json) {
      return screen.value({ topic, messages, window: size, rateHz, periodMs: periods });
    }
    if (rateHz === undefined || periods === undefined) {
      return screen.line(paint.dim(`${messages} message: no rate yet`));
    }
    const { min, max, stdDev } = periods;
    const cells = [
      paint.bold(formatRate(rateHz).padStart(9)),
      `period min ${formatDuration(min)}`,
      `max ${formatDuration(max)}`,
      `std dev ${formatDuration(stdDev)}`,
      paint.dim(`(last ${formatCount(size)} of ${formatCount(messages)})`),
    ];
    screen.line(cells.join("  "));
  });
}
