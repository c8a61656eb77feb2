/**
 * `patchbay bridge`: joins two wires until Ctrl-C.
 *
 * @module
 */

import type { Bay, Bridge, BridgeDirectionStatus, BridgeOptions, Pattern } from "@patchbay/core";
import { EXIT, UsageError } from "../complaint.ts";
import type { CommonOptions, Context } from "../context.ts";
import { nested } from "../settings.ts";
import { formatCount, formatRate } from "../units.ts";
import { until } from "../until.ts";

/** The options of `bridge`. */
export interface BridgeCommandOptions extends CommonOptions {
  /** One wire. */
  readonly from?: string;
  /** The other wire. */
  readonly to?: string;
  /** The addresses that are carried. */
  readonly match?: readonly string[];
  /** Only from → to. */
  readonly oneWay?: boolean;
  /** The patterns that are carried. */
  readonly patterns?: readonly string[];
  /** What happens to shouts that do not fit. */
  readonly overflow?: BridgeOptions["overflow"];
  /** The most shouts of one address that wait. */
  readonly maxQueue?: number;
  /** Settings of wires: `websocket.url=ws://…`. */
  readonly set?: readonly string[];
}

/** How often the counters are looked at, in milliseconds. */
const LOOK_MS = 250;
/** How often they are told to programs, in milliseconds. */
const TELL_MS = 1000;

/**
 * Joins two wires.
 *
 * @param context The surroundings.
 * @param options The wires, the addresses, and what every command has.
 */
export async function bridge(context: Context, options: BridgeCommandOptions): Promise<number> {
  const { from, to, match, oneWay, patterns, overflow, maxQueue, timeout } = options;
  if (from === undefined || to === undefined) {
    throw new UsageError("say which two wires", {
      remedy: "patchbay bridge --from uds --to websocket --match 'arm/**'",
    });
  }
  const { screen } = context;
  const stop = context.interrupted;
  await using bay: Bay = await context.openBay({
    module: "bridge",
    config: nested(options.set ?? []),
  });
  await using joint = await bay.bridge({
    from,
    to,
    match: match ?? "**",
    oneWay,
    patterns: patterns as readonly Pattern[] | undefined,
    overflow,
    maxQueue,
  });
  const view = new View(context, joint);
  if (screen.json) screen.value({ event: "bridging", from, to, match: joint.match, oneWay });
  const arrow = oneWay === true ? "→" : "⇄";
  screen.note(`${from} ${arrow} ${to} for ${joint.match.join(", ")}; Ctrl-C ends it`);
  view.look();
  const timer = setInterval(() => view.look(), LOOK_MS);
  try {
    await until(stop, { timeoutMs: timeout });
  } finally {
    clearInterval(timer);
    screen.status("");
  }
  screen.note("closing: what is in flight may end, for 5 s at most");
  await joint.close();
  view.summary(joint.status);
  return EXIT.ok;
}

function carried({ counts }: BridgeDirectionStatus): number {
  return counts.calls + counts.shouts + counts.jobs + counts.feedback;
}

function dropped({ counts }: BridgeDirectionStatus): number {
  return Object.values(counts.drops).reduce((sum, n) => sum + n, 0);
}

/** What is told while it runs. */
class View {
  readonly #context: Context;
  readonly #bridge: Bridge;
  readonly #known = new Map<string, string>();
  #before: { readonly atMs: number; readonly carried: readonly number[] } | undefined;
  #toldMs = 0;
  #told = "";

  constructor(context: Context, bridge: Bridge) {
    this.#context = context;
    this.#bridge = bridge;
  }

  /** Looks at the bridge, and tells what has changed. */
  look(): void {
    const { screen } = this.#context;
    const directions = this.#bridge.status;
    this.#addresses(directions);
    const nowMs = performance.now();
    if (screen.json) {
      const text = JSON.stringify(directions.map((one) => one.counts));
      if (nowMs - this.#toldMs < TELL_MS || text === this.#told) return;
      this.#toldMs = nowMs;
      this.#told = text;
      return screen.value({ event: "counts", directions: directions.map((one) => one.counts) });
    }
    if (screen.hasStatus) screen.status(this.#line(directions, nowMs));
  }

  /** What was carried in all. */
  summary(after: readonly BridgeDirectionStatus[]): void {
    const { screen } = this.#context;
    if (screen.json) {
      return screen.value({ event: "closed", directions: after.map((one) => one.counts) });
    }
    const { paint } = screen;
    const rows = [["direction", "calls", "shouts", "jobs", "feedback", "errors", "dropped"]];
    for (const { counts } of after) {
      const reasons = (of: Readonly<Record<string, number>>) =>
        Object.entries(of).map(([why, n]) => `${formatCount(n)} ${why}`).join(", ") || "–";
      rows.push([
        `${counts.from} → ${counts.to}`,
        formatCount(counts.calls),
        formatCount(counts.shouts),
        formatCount(counts.jobs),
        formatCount(counts.feedback),
        reasons(counts.errors),
        reasons(counts.drops),
      ]);
    }
    screen.table(rows.map((row, i) => i === 0 ? row.map(paint.bold) : row));
  }

  #addresses(directions: readonly BridgeDirectionStatus[]): void {
    const seen = new Set<string>();
    for (const { counts: { from, to }, addresses } of directions) {
      for (const { pattern, address, state, reason } of addresses) {
        const key = `${from} ${to} ${pattern} ${address}`;
        seen.add(key);
        const now = `${state} ${reason ?? ""}`;
        if (state === "opening" || this.#known.get(key) === now) continue;
        this.#known.set(key, now);
        this.#tell(from, to, pattern, address, state, reason);
      }
    }
    for (const key of [...this.#known.keys()]) {
      if (seen.has(key)) continue;
      this.#known.delete(key);
      const [from, to, pattern, address] = key.split(" ");
      this.#tell(from, to, pattern, address, "withdrawn", undefined);
    }
  }

  #tell(
    from: string,
    to: string,
    pattern: string,
    address: string,
    state: string,
    reason: string | undefined,
  ): void {
    const { screen } = this.#context;
    if (screen.json) {
      return screen.value({ event: "address", from, to, pattern, address, state, reason });
    }
    const { paint } = screen;
    const sign: Record<string, string> = {
      carried: paint.green("+"),
      withdrawn: paint.dim("-"),
      standby: paint.dim("="),
      refused: paint.red("!"),
    };
    const why = reason === undefined ? "" : `  ${paint.yellow(reason)}`;
    const note = state === "standby" ? paint.dim("  another bridge carries it") : why;
    const wires = paint.dim(`${from} → ${to}`);
    screen.line(
      `${sign[state] ?? " "} ${pattern.padEnd(8)} ${paint.cyan(address)}  ${wires}${note}`,
    );
  }

  #line(directions: readonly BridgeDirectionStatus[], nowMs: number): string {
    const paint = this.#context.screen.errorPaint;
    const before = this.#before;
    const now = directions.map(carried);
    // A rate over a second, so that it can be read.
    if (before === undefined || nowMs - before.atMs >= 4 * LOOK_MS) {
      this.#before = { atMs: nowMs, carried: now };
    }
    const seconds = before === undefined ? 0 : (nowMs - before.atMs) / 1000;
    // On a narrow terminal a second line would not be erased.
    const wide = this.#context.screen.columns >= 60 * directions.length;
    const parts = directions.map((one, i) => {
      const { from, to, offers, pending } = one.counts;
      const rate = seconds > 0 ? (now[i] - (before?.carried[i] ?? 0)) / seconds : 0;
      const lost = dropped(one);
      if (!wide) return `${paint.dim(`${from}→`)}${offers} ${paint.bold(formatRate(rate))}`;
      return [
        `${paint.dim(from)} → ${paint.dim(to)}`,
        `${paint.cyan(formatCount(offers))} ${offers === 1 ? "address" : "addresses"}`,
        `${paint.bold(formatRate(rate))}`,
        `${formatCount(now[i])} carried`,
        ...(pending > 0 ? [`${pending} open`] : []),
        ...(lost > 0 ? [paint.yellow(`${formatCount(lost)} dropped`)] : []),
      ].join("  ");
    });
    return parts.join(paint.dim("  │  "));
  }
}
