/**
 * Counts values in fixed, log-spaced buckets: a few nanoseconds a value, a bounded error on read.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/** Buckets per power of two; a power of two itself, so that a bucket is a bit pattern. */
const PER_OCTAVE = 8;

/**
 * How many low bits of a double's upper 32-bit word lie inside one bucket. That word holds sign,
 * 11 bits of exponent and the top 20 bits of the mantissa (IEEE 754-2019 §3.4, binary64), and
 * 3 of those 20 choose one of the 8 buckets of an octave.
 */
const SHIFT = 20 - 3;

/** Exponent bias of binary64 (IEEE 754-2019 §3.6, table 3.5). */
const BIAS = 1023;

/** Which half of a double's 8 bytes is the upper word on this machine. */
const UPPER = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 1 : 0;

/** Where the buckets of a histogram begin and end: powers of two of its unit. */
export interface HistogramScale {
  /** Values up to `2 ** lowest` share the first bucket. At least -1022. */
  readonly lowest: number;
  /** Values above `2 ** highest` share the last bucket. At most 1023. */
  readonly highest: number;
}

/** Durations in seconds: from 2⁻²⁴ s (60 ns) to 2⁶ s (64 s). */
export const DURATION_SCALE: HistogramScale = Object.freeze({ lowest: -24, highest: 6 });

/** Sizes in bytes: from 1 B to 2³⁰ B (1 GiB). */
export const SIZE_SCALE: HistogramScale = Object.freeze({ lowest: 0, highest: 30 });

/**
 * A histogram at one moment, as plain JSON.
 *
 * Only the stretch of buckets that were hit is listed: `counts[i]` values lay above
 * `bounds[i - 1]` and up to and including `bounds[i]`; the last count, one more than there are
 * bounds, is of the values above the last bound. What is not listed is zero.
 */
export interface HistogramSnapshot {
  /** Inclusive upper bounds, ascending, in the unit of the histogram. */
  bounds: number[];
  /** How many values fell into each bucket: one entry more than `bounds`. */
  counts: number[];
  /** The sum of all values. */
  sum: number;
  /** How many values there were. */
  count: number;
}

/**
 * A histogram with eight buckets per power of two, allocated once.
 *
 * Guaranteed: a value equal to a bound counts below it, as Prometheus' `le` asks; `count` is
 * exact up to 2⁵³; `quantile` is off by at most 12.5 % within the scale. `NaN` and values below
 * zero count as 0, `Infinity` counts as the scale's upper end.
 *
 * @example
 * ```ts
 * import { DURATION_SCALE, Histogram } from "@patchbay/core";
 *
 * const latency = new Histogram(DURATION_SCALE);
 * for (let i = 1; i <= 100; i++) latency.observe(i / 1000);
 * const median = latency.quantile(0.5);
 * if (Math.abs(median - 0.05) / 0.05 > 0.125) throw new Error("outside the documented bound");
 * ```
 */
export class Histogram {
  /** How many values were observed. */
  count = 0;
  /** The sum of the values observed. */
  sum = 0;

  readonly #lowest: number;
  readonly #highest: number;
  /** What the upper word of the lower end, shifted, must lose to become bucket 0. */
  readonly #offset: number;
  readonly #counts: Float64Array;
  readonly #double = new Float64Array(1);
  readonly #words = new Uint32Array(this.#double.buffer);

  /**
   * Allocates the buckets.
   *
   * @param scale Where the buckets begin and end: {@link DURATION_SCALE}, {@link SIZE_SCALE} or your own.
   * @throws {PatchbayError} `invalid`: ends that are not whole powers in order.
   */
  constructor(scale: HistogramScale) {
    const { lowest, highest } = scale;
    if (
      !Number.isInteger(lowest) || !Number.isInteger(highest) ||
      lowest < -1022 || highest > 1023 || lowest >= highest
    ) {
      throw new PatchbayError(
        "invalid",
        `histogram scale 2^${lowest} … 2^${highest} is not usable`,
        {
          remedy: "give whole exponents, -1022 <= lowest < highest <= 1023",
        },
      );
    }
    this.#lowest = 2 ** lowest;
    this.#highest = 2 ** highest;
    this.#offset = (BIAS + lowest) * PER_OCTAVE - 1;
    this.#counts = new Float64Array((highest - lowest) * PER_OCTAVE + 2);
  }

  /**
   * Counts one value.
   *
   * @param value In the unit of the scale.
   */
  observe(value: number): void {
    let bucket = 0;
    if (value > this.#lowest) {
      if (value <= this.#highest) {
        bucket = this.#bucketOf(value);
      } else {
        bucket = this.#counts.length - 1;
        if (value === Infinity) value = this.#highest;
      }
    } else if (!(value > 0)) {
      value = 0;
    }
    this.#counts[bucket]++;
    this.count++;
    this.sum += value;
  }

  /** The bucket of a value inside the scale. A value with a zero low word may lie on a bound: one less. */
  #bucketOf(value: number): number {
    this.#double[0] = value;
    const words = this.#words;
    return ((words[UPPER] - (words[1 - UPPER] === 0 ? 1 : 0)) >>> SHIFT) - this.#offset;
  }

  /** The inclusive upper bound of a bucket; none for the last. */
  #boundOf(bucket: number): number {
    const octave = Math.floor(bucket / PER_OCTAVE);
    return this.#lowest * 2 ** octave * (1 + (bucket % PER_OCTAVE) / PER_OCTAVE);
  }

  /**
   * The value that a share of all values does not exceed: the ⌈q · count⌉-th smallest, interpolated
   * linearly inside its bucket.
   *
   * Within the scale the answer is off by at most 12.5 % of the true one, because both lie in one
   * bucket. Below the scale it lies between 0 and the lower end; above, it is the upper end.
   *
   * @param q From 0 to 1.
   * @returns `NaN` when nothing was observed.
   */
  quantile(q: number): number {
    if (this.count === 0 || !(q >= 0 && q <= 1)) return NaN;
    const rank = Math.max(1, Math.ceil(q * this.count));
    const last = this.#counts.length - 1;
    let below = 0;
    for (let bucket = 0; bucket < last; bucket++) {
      const inside = this.#counts[bucket];
      if (below + inside >= rank) {
        const lower = bucket === 0 ? 0 : this.#boundOf(bucket - 1);
        return lower + (this.#boundOf(bucket) - lower) * ((rank - below) / inside);
      }
      below += inside;
    }
    return this.#highest;
  }

  /** The histogram now, as plain JSON. */
  snapshot(): HistogramSnapshot {
    const bounds: number[] = [];
    const counts: number[] = [];
    const last = this.#counts.length - 1;
    let first = this.#counts.findIndex((n) => n > 0);
    if (first >= 0) {
      // One empty bucket before the first keeps its lower bound in the list.
      first = Math.max(0, first - 1);
      const end = Math.min(last - 1, this.#counts.findLastIndex((n) => n > 0));
      for (let bucket = first; bucket <= end; bucket++) {
        bounds.push(this.#boundOf(bucket));
        counts.push(this.#counts[bucket]);
      }
    }
    counts.push(this.#counts[last]);
    return { bounds, counts, sum: this.sum, count: this.count };
  }

  /**
   * Adds what another histogram of the same scale had counted.
   *
   * @param snapshot What its `snapshot()` gave, also from another process.
   * @throws {PatchbayError} `invalid`: another scale, or not a snapshot. Nothing is added then.
   */
  merge(snapshot: HistogramSnapshot): void {
    const { bounds, counts, sum, count } = snapshot;
    const last = this.#counts.length - 1;
    const buckets = Array.isArray(bounds) ? bounds.map((bound) => this.#bucketOfBound(bound)) : [];
    buckets.push(last);
    if (
      !Array.isArray(bounds) || !Array.isArray(counts) || counts.length !== buckets.length ||
      buckets.includes(-1) || !counts.every(isCount) || !isCount(count) || !Number.isFinite(sum) ||
      counts.reduce((a, b) => a + b, 0) !== count
    ) {
      throw new PatchbayError(
        "invalid",
        "the histogram to merge has another scale or is malformed",
        {
          remedy: "merge what snapshot() of a histogram with the same scale gave",
        },
      );
    }
    for (let i = 0; i < counts.length; i++) this.#counts[buckets[i]] += counts[i];
    this.count += count;
    this.sum += sum;
  }

  /** The bucket whose upper bound this exactly is, or -1. */
  #bucketOfBound(bound: number): number {
    if (bound === this.#lowest) return 0;
    if (!(bound > this.#lowest && bound <= this.#highest)) return -1;
    const bucket = this.#bucketOf(bound);
    return this.#boundOf(bucket) === bound ? bucket : -1;
  }
}

function isCount(n: unknown): boolean {
  return Number.isSafeInteger(n) && (n as number) >= 0;
}
