/**
 * What the console measures: rates, durations, gaps in what it heard.
 *
 * @module
 */
import type { EventContext } from "@patchbay/patchbay";

/** Counts events, and how many there were in the last second. */
export class Rate {
  /** How many there were. */
  total = 0;
  readonly #times: number[] = [];

  /** There was one. */
  add(): void {
    this.total++;
    this.#times.push(performance.now());
    this.#forget();
  }

  /** How many in the last second. */
  get perSecond(): number {
    this.#forget();
    return this.#times.length;
  }

  #forget(): void {
    const before = performance.now() - 1000;
    const keep = this.#times.findIndex((time) => time > before);
    this.#times.splice(0, keep < 0 ? this.#times.length : keep);
  }
}

/** Durations in milliseconds, every one of them. */
export class Durations {
  readonly #all: number[] = [];

  /** Notes one. */
  add(ms: number): void {
    this.#all.push(ms);
  }

  /** What a fraction of them does not exceed; `undefined` if there are none. */
  quantile(fraction: number): number | undefined {
    const sorted = this.#all.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
  }
}

/** What came from one speaker, which may be started again: each start counts its shouts anew. */
export class Heard extends Rate {
  /** Shouts that are missing between two that came from one start of the speaker. */
  missing = 0;
  /** The number of the first shout heard of each start of the speaker. */
  readonly firsts: number[] = [];
  /** The wire they come over. */
  wire: string | undefined;
  /** When the last one came. */
  lastMs = -Infinity;
  #origin = "";
  #sequence = 0;

  /** Takes note of a shout. */
  note(context: EventContext): void {
    if (context.retained) return;
    if (context.origin === this.#origin) {
      this.missing += context.sequence - this.#sequence - 1;
    } else {
      this.#origin = context.origin;
      this.firsts.push(context.sequence);
    }
    this.#sequence = context.sequence;
    this.wire = context.peer?.transport;
    this.lastMs = performance.now();
    this.add();
  }
}
