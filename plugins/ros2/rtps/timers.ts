/**
 * One function to call later, on the shared timer wheel.
 *
 * @module
 */

import { TimerEntry, type TimerWheel } from "@patchbay/core";

/** Calls a function once each time it was armed. */
export class Alarm extends TimerEntry {
  readonly #wheel: TimerWheel;
  readonly #ring: () => void;

  /**
   * @param wheel What it hangs in.
   * @param ring What it calls.
   */
  constructor(wheel: TimerWheel, ring: () => void) {
    super();
    this.#wheel = wheel;
    this.#ring = ring;
  }

  /** Whether it is armed. */
  get armed(): boolean {
    return this.wheelList !== undefined;
  }

  /** Arms it, or arms it anew. `Infinity` disarms it. */
  arm(delayMs: number): void {
    if (delayMs === Infinity) this.#wheel.disarm(this);
    else this.#wheel.arm(this, delayMs);
  }

  /** Disarms it. */
  disarm(): void {
    this.#wheel.disarm(this);
  }

  /** Called by the wheel. */
  override expire(): void {
    this.#ring();
  }
}

/**
 * So long somebody is still listened for whose time is over, in milliseconds: while this process was
 * busy, its words may have come and not been read.
 */
export const LAST_CALL_MS = 50;

/** How long somebody is taken for alive without a word. */
export class Lease {
  readonly #alarm: Alarm;
  #isLastCall = false;

  /**
   * @param wheel What it hangs in.
   * @param over Called when it is over.
   */
  constructor(wheel: TimerWheel, over: () => void) {
    this.#alarm = new Alarm(wheel, () => {
      if (this.#isLastCall) return over();
      this.#isLastCall = true;
      this.#alarm.arm(LAST_CALL_MS);
    });
  }

  /** Somebody has given a sign of life: that is good for so many milliseconds. */
  renew(leaseMs: number): void {
    this.#isLastCall = false;
    this.#alarm.arm(leaseMs);
  }

  /** Ends it. */
  end(): void {
    this.#alarm.disarm();
  }
}
