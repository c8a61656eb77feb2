/**
 * How many calls run at once, as in a thread pool: one more waits its turn, and when too many wait,
 * it is refused.
 *
 * @module
 */

import { Fifo, PatchbayError } from "@patchbay/core";

/** A call that wants to run. */
export interface Entrant {
  /** Its turn has come. It must {@link CallGate.leave} in the end. */
  begin(): void;
  /** Set by who has given up: it is passed over. */
  readonly gone: boolean;
}

/** Lets calls in. */
export class CallGate {
  readonly #max: number;
  readonly #maxWaiting: number;
  readonly #waiting = new Fifo<Entrant>();
  #running = 0;

  /**
   * @param max How many may run at once.
   * @param maxWaiting How many may wait.
   */
  constructor(max: number, maxWaiting: number) {
    this.#max = max;
    this.#maxWaiting = maxWaiting;
  }

  /** How many run. */
  get running(): number {
    return this.#running;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Lets a call in, now or when its turn comes.
   *
   * @param entrant The call.
   * @returns Why it is refused, if it is.
   */
  enter(entrant: Entrant): PatchbayError | undefined {
    if (this.#running < this.#max) {
      this.#running++;
      entrant.begin();
      return undefined;
    }
    if (this.#waiting.length >= this.#maxWaiting) this.#sweep();
    if (this.#waiting.length < this.#maxWaiting) {
      this.#waiting.push(entrant);
      return undefined;
    }
    return new PatchbayError(
      "overloaded",
      `${this.#max} calls run and ${this.#maxWaiting} wait already`,
      {
        details: { maxCalls: this.#max, maxWaitingCalls: this.#maxWaiting, notExecuted: true },
        remedy: "call less at once, or raise config.grpc.maxCalls or maxWaitingCalls",
      },
    );
  }

  /** A call that ran has ended. */
  leave(): void {
    this.#running--;
    while (this.#running < this.#max) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (next.gone) continue;
      this.#running++;
      next.begin();
    }
  }

  /** Drops who has given up. */
  #sweep(): void {
    for (let left = this.#waiting.length; left > 0; left--) {
      const entrant = this.#waiting.shift() as Entrant;
      if (!entrant.gone) this.#waiting.push(entrant);
    }
  }
}
