/**
 * How figures are taken: ours and the floor in turn in every round, and the medians of the rounds.
 *
 * @module
 */

import type { Row, Side, Target, Unit } from "./report.ts";
import { cpuMicros, peakMb, resetPeak } from "./usage.ts";

/** What a suite is run with. */
export interface Effort {
  /** How many rounds are counted. */
  readonly rounds: number;
  /** How long one side of one round takes, in milliseconds. */
  readonly roundMs: number;
}

/** What one side of one round came to. */
export interface Reading {
  /** The figure, in the row's unit. */
  readonly value: number;
  /** How many operations were done for it, so that CPU time can be told for one. */
  readonly operations: number;
}

/** One side of a comparison. */
export interface Contender {
  /** Takes the figure once, for about `roundMs`. */
  run(roundMs: number): Promise<Reading>;
  /** The other process that works for it. */
  readonly pid?: number;
}

/** A comparison to make. */
export interface Comparison {
  /** What is measured. */
  readonly figure: string;
  /** Its unit. */
  readonly unit: Unit;
  /** Patchbay. */
  readonly ours: Contender;
  /** What it is compared with. */
  readonly floor?: Contender;
  /** What that is. */
  readonly floorName?: string;
  /** What it must be. */
  readonly target?: Target;
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

interface Round extends Reading {
  readonly cpu: readonly number[];
  readonly peak: readonly number[];
}

async function once(contender: Contender, roundMs: number): Promise<Round> {
  const pids = contender.pid === undefined ? [Deno.pid] : [Deno.pid, contender.pid];
  for (const pid of pids) resetPeak(pid);
  const before = pids.map(cpuMicros);
  const reading = await contender.run(roundMs);
  const cpu = pids.map((pid, i) => (cpuMicros(pid) - before[i]) / reading.operations);
  return { ...reading, cpu, peak: pids.map(peakMb) };
}

function summary(rounds: readonly Round[]): Side {
  const columns = rounds[0].cpu.map((_, i) => i);
  const cpuMicros = columns.map((i) => median(rounds.map((round) => round.cpu[i])));
  const peak = columns.map((i) => median(rounds.map((round) => round.peak[i])));
  return {
    value: median(rounds.map((round) => round.value)),
    ...cpuMicros.every(Number.isFinite) ? { cpuMicros } : {},
    ...peak.every(Number.isFinite) ? { peakMb: peak } : {},
  };
}

/**
 * Makes a comparison: two rounds to warm up, then `rounds` rounds, each of which measures the floor
 * and ours one after the other, in changing order.
 *
 * @param effort How long.
 * @param comparison What.
 */
export async function compare(effort: Effort, comparison: Comparison): Promise<Row> {
  const { figure, unit, ours, floor, floorName, target } = comparison;
  const mine: Round[] = [];
  const bare: Round[] = [];
  for (let round = -2; round < effort.rounds; round++) {
    const turns = [
      async () => mine.push(await once(ours, effort.roundMs)),
      async () => floor !== undefined && bare.push(await once(floor, effort.roundMs)),
    ];
    if (round % 2 === 0) turns.reverse();
    for (const turn of turns) await turn();
    if (round === -1) mine.length = bare.length = 0;
  }
  if (floor === undefined) return { figure, unit, ours: summary(mine), target };
  const ratio = median(mine.map(({ value }, i) => value / bare[i].value));
  return { figure, unit, ours: summary(mine), floor: summary(bare), floorName, ratio, target };
}

/** How many operations are timed together where one is too short for the clock. */
export const BATCH = 1000;

/**
 * A contender for what takes nanoseconds: batches of {@link BATCH} are timed, and the figure is the
 * median of their means. A single operation is shorter than reading the clock (84 ns).
 *
 * @param batch Does so many operations, one after the other. Each contender has its own loop: one
 * that is shared would make the compiler's guesses worse for all.
 * @param size How many are timed together.
 */
export function batches(
  batch: (operations: number) => void | Promise<void>,
  size: number = BATCH,
): Contender {
  return {
    async run(roundMs) {
      const means: number[] = [];
      const start = performance.now();
      for (let now = start; now - start < roundMs;) {
        await batch(size);
        const then = performance.now();
        means.push((then - now) * 1e6 / size);
        now = then;
      }
      return { value: median(means), operations: means.length * size };
    },
  };
}

/** As {@link batches}, but the figure is operations a second over the whole round. */
export function rate(batch: (operations: number) => void | Promise<void>): Contender {
  return {
    async run(roundMs) {
      let operations = 0;
      const start = performance.now();
      let tookMs = 0;
      while (tookMs < roundMs) {
        await batch(BATCH);
        operations += BATCH;
        tookMs = performance.now() - start;
      }
      return { value: operations * 1000 / tookMs, operations };
    },
  };
}

/**
 * A contender for what takes microseconds: each operation is timed, and the figure is the median,
 * in nanoseconds.
 *
 * @param operation One operation.
 * @param share Another quantile than the median.
 */
export function latencies(operation: () => Promise<unknown>, share = 0.5): Contender {
  return {
    async run(roundMs) {
      const took: number[] = [];
      const start = performance.now();
      for (let now = start; now - start < roundMs || took.length < 3;) {
        await operation();
        const then = performance.now();
        took.push((then - now) * 1e6);
        now = then;
      }
      return { value: quantile(took, share), operations: took.length };
    },
  };
}

/** How many calls are under way at once in the figures that say so. */
export const IN_FLIGHT = 64;

/**
 * A contender for calls with {@link IN_FLIGHT} under way: the figure is calls a second.
 *
 * @param call One call.
 * @param batch How many each caller makes between two looks at the clock; 1 where a call takes long.
 */
export function pipelined(call: () => Promise<unknown>, batch = 16): Contender {
  return {
    async run(roundMs) {
      let operations = 0;
      const start = performance.now();
      const caller = async () => {
        while (performance.now() - start < roundMs) {
          for (let i = 0; i < batch; i++) await call();
          operations += batch;
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
      return { value: operations * 1000 / (performance.now() - start), operations };
    },
  };
}
