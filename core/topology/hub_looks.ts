/**
 * How often a client makes a hub look at all that there is: once for each pattern in a turn, and so
 * many offers a turn; what it asks for beyond that waits for the next one.
 *
 * @module
 */

import { TimerEntry, type TimerWheel } from "../timer_wheel.ts";

/** So many offers are looked at for one client in a turn, and the look that goes beyond. */
export const OFFERS_PER_TURN = 16_384;
/** How long a turn lasts, in milliseconds. */
const TURN_MS = 1;

/** The looks that one client has asked for. */
export class HubLooks extends TimerEntry {
  readonly #timers: TimerWheel;
  readonly #look: (id: number) => number;
  /** Those that wait, by the client's number: as many as it watches patterns at most. */
  readonly #waiting = new Set<number>();
  #spent = 0;
  #scheduled = false;
  #closed = false;

  /**
   * @param timers The bay's timer.
   * @param look Looks for one number, and answers how many offers it has looked at.
   */
  constructor(timers: TimerWheel, look: (id: number) => number) {
    super();
    this.#timers = timers;
    this.#look = look;
  }

  /** A look is wanted; one that waits already is not looked for twice. */
  ask(id: number): void {
    this.#waiting.add(id);
    if (this.#scheduled || this.#closed || this.#spent >= OFFERS_PER_TURN) return;
    this.#scheduled = true;
    // What comes in one batch is joined.
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#run();
    });
  }

  /** It is wanted no longer. */
  forget(id: number): void {
    this.#waiting.delete(id);
  }

  /** The client has gone. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    this.#timers.disarm(this);
  }

  /** @ignore */
  override expire(): void {
    this.#spent = 0;
    this.#run();
  }

  #run(): void {
    for (const id of this.#waiting) {
      if (this.#spent >= OFFERS_PER_TURN) break;
      if (this.#spent === 0) this.#timers.arm(this, TURN_MS);
      this.#waiting.delete(id);
      this.#spent += Math.max(1, this.#look(id));
    }
  }
}
