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
