/**
 * What `hz` and `bw` have in common: listening, a report each second, and the end.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { CommonOptions, Context } from "./context.ts";
import { EXIT } from "./complaint.ts";
import { until } from "./until.ts";
import { Window } from "./window.ts";

/** The options of `hz` and `bw`. */
export interface MeasureOptions extends CommonOptions {
  /** How many messages are looked at. */
  readonly window?: number;
  /** End after so many messages. */
  readonly count?: number;
  /** End after so many seconds. */
  readonly duration?: number;
}

const REPORT_MS = 1000;

/**
 * Listens to a topic and reports once a second, and at the end.
 *
 * @param context The surroundings.
 * @param topic The topic or pattern.
 * @param options When to end.
 * @param report Prints what was measured so far.
 */
export async function measure(
  context: Context,
  topic: string,
  options: MeasureOptions,
  report: (window: Window) => void,
): Promise<number> {
  const { count, duration, via, timeout } = options;
  const window = new Window(options.window ?? 100);
  const stop = context.interrupted;
  const enough = Promise.withResolvers<void>();
  await using bay = await context.openBay();
  let bytesIn = () => 0;
  let bytesBefore = 0;
  await using _ = await bay.listen(topic, () => {
    if (window.messages === count) return;
    const bytes = bytesIn();
    window.add(performance.now(), bytes - bytesBefore);
    bytesBefore = bytes;
    if (window.messages === count) enough.resolve();
  }, { via, maxQueue: 65_536 });
  // The listener's own counters: what an event context tells does not include its size.
  const { statistics } = bay;
  const mine = statistics.snapshot(Date.now()).endpoints.find((one) =>
    one.role === "listener" && one.address === topic
  );
  const counters = statistics.endpoint("speaker", "listener", topic, mine?.transport ?? "");
  bytesBefore = counters.bytesIn;
  bytesIn = () => counters.bytesIn;
  context.screen.note(`measuring ${topic}; Ctrl-C ends it`);
  let reported = 0;
  const tell = () => {
    if (window.messages === reported) return;
    reported = window.messages;
    report(window);
  };
  const timer = setInterval(tell, REPORT_MS);
  const limits = [duration === undefined ? Infinity : duration * 1000, timeout ?? Infinity];
  const limitMs = Math.min(...limits);
  try {
    const end = await until(stop, {
      done: enough.promise,
      timeoutMs: limitMs === Infinity ? undefined : limitMs,
    });
    tell();
    const asked = end === "late" ? `within ${limitMs} ms` : "";
    if (window.messages === 0 && end === "late") throw silent(topic, `nothing came ${asked}`);
    if (end === "late" && count !== undefined && duration === undefined) {
      throw silent(topic, `${window.messages} of ${count} came ${asked}`);
    }
    if (end === "stopped" && count !== undefined) stop.throwIfAborted();
    return EXIT.ok;
  } finally {
    clearInterval(timer);
    statistics.remove(counters);
  }
}

function silent(topic: string, what: string): PatchbayError {
  return new PatchbayError("deadline_exceeded", `${topic}: ${what}`, {
    address: topic,
    remedy: "patchbay list shows who shouts; or give it longer",
  });
}
