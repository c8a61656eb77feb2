/**
 * What `hz` and `bw` measure: the last so many messages, and how they were spread.
 *
 * @module
 */

/** How some numbers are spread. */
export interface Spread {
  /** Their mean. */
  readonly mean: number;
  /** The smallest. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
  /** Their standard deviation. */
  readonly stdDev: number;
}

/**
 * How numbers are spread; `undefined` if there are none.
 *
 * @param values The numbers.
 */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  for (const value of values) {
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / values.length;
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length;
  return { mean, min, max, stdDev: Math.sqrt(variance) };
}

/** The arrivals of the last messages. */
export class Window {
  /** How many messages came in all. */
  messages = 0;
  readonly #size: number;
  readonly #arrivals: { readonly atMs: number; readonly bytes: number }[] = [];

  /** @param size How many messages are looked at. */
  constructor(size: number) {
    this.#size = size;
  }

  /**
   * A message came.
   *
   * @param atMs When, on a steady clock.
   * @param bytes How large its payload was.
   */
  add(atMs: number, bytes: number): void {
    this.messages++;
    this.#arrivals.push({ atMs, bytes });
    // Cut in large steps: a shift for each message would move the whole list.
    if (this.#arrivals.length >= 2 * this.#size + 2) {
      this.#arrivals.splice(0, this.#arrivals.length - this.#size);
    }
  }

  /** How many messages are looked at now. */
  get size(): number {
    return Math.min(this.#size, this.#arrivals.length);
  }

  /** Messages a second; `undefined` before the second message. */
  get rateHz(): number | undefined {
    const took = this.#tookMs();
    return took === undefined ? undefined : (this.size - 1) / took * 1000;
  }

  /** Bytes a second; `undefined` before the second message. */
  get bytesPerSecond(): number | undefined {
    const took = this.#tookMs();
    if (took === undefined) return undefined;
    // The first message begins the interval: its bytes belong to the one before.
    const bytes = this.#recent().slice(1).reduce((sum, one) => sum + one.bytes, 0);
    return bytes / took * 1000;
  }

  /** The pauses between messages, in milliseconds. */
  get periods(): Spread | undefined {
    const recent = this.#recent();
    return spread(recent.slice(1).map((one, i) => one.atMs - recent[i].atMs));
  }

  /** The payloads, in bytes. */
  get sizes(): Spread | undefined {
    return spread(this.#recent().map((one) => one.bytes));
  }

  #recent() {
    return this.#arrivals.slice(-this.#size);
  }

  #tookMs(): number | undefined {
    const recent = this.#recent();
    if (recent.length < 2) return undefined;
    // A batch may arrive within one tick of the clock.
    return Math.max(recent[recent.length - 1].atMs - recent[0].atMs, 0.001);
  }
}
