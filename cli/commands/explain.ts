/**
 * `patchbay explain`: which wire leads to an address, why not the others, and how long it takes.
 *
 * @module
 */

import {
  type Bay,
  type Consideration,
  type Directory,
  type DirectoryEntry,
  isPattern,
  PatchbayError,
  type Pattern,
} from "@patchbay/core";
import type { CommonOptions, Context } from "../context.ts";
import { complaintOf, EXIT } from "../complaint.ts";
import type { Paint } from "../paint.ts";
import { formatDuration } from "../units.ts";

/** The options of `explain`. */
export interface ExplainCommandOptions extends CommonOptions {
  /** What the address is; default: what the directory says, else a callable. */
  readonly pattern?: Pattern;
  /** Measure real calls with this request. */
  readonly call?: string;
  /** How many round trips to measure. */
  readonly count?: number;
}

/** What was measured on one wire. */
interface Latency {
  readonly what: "round trip" | "call";
  readonly firstMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly count: number;
}

const DEFAULT_COUNT = 100;
/** How long measuring one wire may take, in milliseconds. */
const MEASURE_MS = 2000;

/**
 * Prints the choice of a wire, with measured latency. Fails if no wire leads there.
 *
 * @param context The surroundings.
 * @param address Where to.
 * @param options What it is, how to measure, and what every command has.
 */
export async function explain(
  context: Context,
  address: string,
  options: ExplainCommandOptions,
): Promise<number> {
  const { screen } = context;
  const request = await context.readValue(options.call, "request");
  const real = options.call !== undefined;
  await using bay = await context.openBay();
  const pattern = options.pattern ?? await patternOf(bay, address);
  const { chosen, considered } = await context.within(
    "looking",
    () => bay.explain(pattern, address, options.via),
  );
  const probe = real ? address : addProbe(bay.directory, address);
  const measured = new Map<string, Latency | string>();
  for (const { transport, outcome } of considered) {
    if (outcome === "rejected") continue;
    measured.set(
      transport,
      await context.within(
        "measuring",
        (signal) => measure(bay, probe, transport, request, options, real, signal),
      ),
    );
  }
  if (screen.json) {
    for (const { transport, outcome, reason, remedy } of considered) {
      const latency = measured.get(transport);
      screen.value({
        address,
        pattern,
        wire: transport,
        outcome,
        reason,
        remedy,
        ...(typeof latency === "string" ? { unmeasured: latency } : { latency }),
      });
    }
  } else print(context, address, pattern, considered, measured, real);
  if (chosen !== undefined) return EXIT.ok;
  const remedies = considered.flatMap(({ remedy }) => remedy === undefined ? [] : [remedy]);
  throw new PatchbayError("not_found", `${address}: no wire leads there`, {
    address,
    pattern,
    remedy: [...new Set(remedies)].join("; or ") ||
      "start the module that serves it; patchbay list shows who is there",
  });
}

/** What an address is, as the directory tells it. */
async function patternOf(bay: Bay, address: string): Promise<Pattern> {
  const entries = await bay.directory?.refresh() ?? [];
  const found = entries.flatMap((entry) => entry.endpoints).find((endpoint) =>
    endpoint.address === address && endpoint.role !== "listener" && !isPattern(endpoint.address)
  );
  return found?.pattern ?? "callable";
}

/**
 * Lets the processes that have the address seem to serve one more, in this bay's view alone. A call
 * to it makes the whole way there and back and is answered `not_found` by the session itself: a
 * round trip in which no handler runs and nothing is counted against the real endpoint.
 *
 * @returns The address of the probe.
 */
function addProbe(directory: Directory | undefined, address: string): string {
  const probe = `patchbay-probe-${crypto.randomUUID().slice(0, 8)}/nobody`;
  if (directory === undefined) return probe;
  const withProbe = (entries: readonly DirectoryEntry[]) =>
    entries.map((entry) => {
      const wires = entry.endpoints
        .filter((one) => one.address === address && one.role !== "listener")
        .flatMap((one) => one.wires);
      if (wires.length === 0) return entry;
      const added = { pattern: "callable", role: "server", address: probe, wires } as const;
      return { ...entry, endpoints: [...entry.endpoints, added] };
    });
  const view = Object.getPrototypeOf(directory) as Directory;
  const others = Object.getOwnPropertyDescriptor(view, "others")?.get;
  const refresh = directory.refresh.bind(directory);
  Object.defineProperties(directory, {
    others: { get: () => withProbe(others?.call(directory) ?? []) },
    refresh: { value: async () => withProbe(await refresh()) },
  });
  return probe;
}

/** Measures one wire; or says why it was not. */
async function measure(
  bay: Bay,
  address: string,
  wire: string,
  request: unknown,
  options: ExplainCommandOptions,
  real: boolean,
  signal: AbortSignal,
): Promise<Latency | string> {
  if (wire === "in_process" && !real) return "a function call";
  const callable = bay.callable(address, { via: [wire] });
  const timeoutMs = options.timeout ?? MEASURE_MS;
  const once = async (): Promise<number | string> => {
    const startMs = performance.now();
    try {
      await callable.call(request, { timeoutMs, signal });
      return performance.now() - startMs;
    } catch (error) {
      signal.throwIfAborted();
      const { code, message } = complaintOf(error);
      // Refused by the other side: the trip was made. That nobody is known there is said by ours.
      const made = !real && code === "not_found" &&
        !/no wire leads there|no live module/.test(message);
      return made ? performance.now() - startMs : message;
    }
  };
  const first = await once();
  if (typeof first === "string") return first;
  const times: number[] = [];
  const endMs = performance.now() + MEASURE_MS;
  const count = options.count ?? DEFAULT_COUNT;
  while (times.length < count && performance.now() < endMs) {
    const time = await once();
    if (typeof time === "string") return time;
    times.push(time);
  }
  times.sort((a, b) => a - b);
  const at = (q: number) =>
    times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? first;
  const what = real ? "call" : "round trip";
  return { what, firstMs: first, p50Ms: at(0.5), p99Ms: at(0.99), count: times.length };
}

function print(
  { screen }: Context,
  address: string,
  pattern: Pattern,
  considered: readonly Consideration[],
  measured: ReadonlyMap<string, Latency | string>,
  real: boolean,
): void {
  const { paint } = screen;
  screen.line(`${paint.bold(address)} ${paint.dim(`as a ${pattern}, wires in order`)}`);
  screen.line();
  const rows = considered.flatMap((one, i) => {
    const latency = measured.get(one.transport);
    const told = latency === undefined
      ? paint.dim("–")
      : typeof latency === "string"
      ? paint.dim(latency)
      : `p50 ${formatDuration(latency.p50Ms)}, p99 ${formatDuration(latency.p99Ms)}`;
    const first = [
      String(i + 1),
      paint.bold(one.transport),
      outcome(one, paint),
      told,
      one.reason ?? paint.dim("somebody is there"),
    ];
    return one.remedy === undefined
      ? [first]
      : [first, ["", "", "", "", paint.yellow(`→ ${one.remedy}`)]];
  });
  const head = ["", "WIRE", "OUTCOME", "LATENCY", "WHY"].map((text) => paint.dim(text));
  screen.table([head, ...rows]);
  const taken = [...measured.values()].find((one) => typeof one !== "string");
  if (taken === undefined) return;
  const { count, firstMs } = taken as Latency;
  screen.line();
  screen.line(paint.dim(
    (real
      ? `latency: ${count} calls one after another, the handler's work included`
      : `latency: ${count} round trips one after another, in which no handler runs`) +
      `; the first, with connecting, took ${formatDuration(firstMs)}`,
  ));
}

function outcome({ outcome }: Consideration, paint: Paint): string {
  switch (outcome) {
    case "chosen":
      return paint.green("chosen");
    case "rejected":
      return paint.red("rejected");
    case "possible":
      return paint.yellow("possible");
  }
}
