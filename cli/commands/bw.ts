/**
 * `patchbay bw`: how many bytes a topic carries.
 *
 * @module
 */

import type { Context } from "../context.ts";
import { measure, type MeasureOptions } from "../measure.ts";
import { formatBytes, formatCount } from "../units.ts";

/**
 * Measures the payload bytes of a topic, as they arrive here.
 *
 * @param context The surroundings.
 * @param topic The topic or pattern.
 * @param options When to end, and over how many messages.
 */
export function bw(context: Context, topic: string, options: MeasureOptions): Promise<number> {
  const { screen } = context;
  const { paint } = screen;
  return measure(context, topic, options, ({ messages, size, bytesPerSecond, sizes }) => {
    if (screen.json) {
      return screen.value({ topic, messages, window: size, bytesPerSecond, messageBytes: sizes });
    }
    if (bytesPerSecond === undefined || sizes === undefined) {
      return screen.line(paint.dim(`${messages} message: no rate yet`));
    }
    const cells = [
      paint.bold(`${formatBytes(bytesPerSecond)}/s`.padStart(12)),
      `message mean ${formatBytes(sizes.mean)}`,
      `min ${formatBytes(sizes.min)}`,
      `max ${formatBytes(sizes.max)}`,
      paint.dim(`(last ${formatCount(size)} of ${formatCount(messages)})`),
    ];
    screen.line(cells.join("  "));
  });
}
