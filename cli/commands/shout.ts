/**
 * `patchbay shout`: shouts a value, once or at a rate.
 *
 * @module
 */

import { defineSpeaker } from "@patchbay/core";
import type { Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { type FrameOptions, frameWay } from "../frames.ts";
import { formatCount, formatRate } from "../units.ts";
import { until } from "../until.ts";

/** The options of `shout`. */
export interface ShoutCommandOptions extends FrameOptions {
  /** How often. */
  readonly count?: number;
  /** How many a second. */
  readonly rate?: number;
  /** Keep the last value for late listeners. */
  readonly retain?: boolean;
  /** Sent along. */
  readonly header?: Readonly<Record<string, string>>;
}

/** So many are shouted before others get a turn: Ctrl-C, listeners that go. */
const BURST = 256;

/**
 * Shouts a value to everyone who listens.
 *
 * @param context The surroundings.
 * @param topic Where; or a frame type: `frame:LED_STATE`.
 * @param json The value; `-` is standard input.
 * @param options How often, and what every command has.
 */
export async function shout(
  context: Context,
  topic: string,
  json: string | undefined,
  options: ShoutCommandOptions,
): Promise<number> {
  const { screen } = context;
  const { rate, via, retain, header: headers } = options;
  const count = options.count ?? 1;
  const given = await context.readValue(json, "value");
  const stop = context.interrupted;
  const way = await frameWay(context, topic, options);
  await using bay = way?.bay ?? await context.openBay();
  const value = way === undefined ? given : way.text.body(way.name, given);
  await using speaker = way === undefined
    ? await bay.speaker(topic, { via, retain })
    : await bay.speaker(
      defineSpeaker<unknown>({ address: way.address, codec: "raw", retain }),
      { via: ["bus"] },
    );
  const startedMs = performance.now();
  let heard = 0;
  const send = async (signal: AbortSignal) => {
    for (let sent = 0; sent < count; sent++) {
      const dueMs = rate === undefined ? 0 : startedMs + sent * 1000 / rate - performance.now();
      // Without a rate others get a turn now and then; with one, when there is time to wait.
      if (dueMs > 0 || (rate === undefined && sent % BURST === BURST - 1)) {
        await turn(dueMs, signal);
      }
      signal.throwIfAborted();
      await speaker.shout(value, { headers });
      heard = Math.max(heard, speaker.listeners);
    }
  };
  // With --retain the time limit is for staying, not for shouting.
  await (retain === true ? send(stop) : context.within("shouting", send));
  const tookMs = performance.now() - startedMs;
  if (screen.json) {
    screen.value({ event: "shouted", topic, count, listeners: heard, tookMs });
  } else {
    const pace = count > 1 ? ` at ${formatRate(count / tookMs * 1000)}` : "";
    const whom = heard === 1 ? "1 listener" : `${formatCount(heard)} listeners`;
    screen.line(`shouted ${formatCount(count)} × ${topic}${pace} to ${whom}`);
  }
  if (retain === true) {
    screen.note("the value is kept for late listeners; Ctrl-C ends it");
    await until(stop, { timeoutMs: options.timeout });
  } else if (heard === 0) {
    screen.warn({
      message: `nobody listens to ${topic}`,
      remedy: `patchbay listen ${topic}, or --retain to keep the value for later`,
    });
  }
  return EXIT.ok;
}

/** Waits until it is time, and lets everything else have its turn. */
async function turn(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.max(0, ms));
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", onAbort);
}
