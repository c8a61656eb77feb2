/**
 * How long a link looks for a frame before it gives the core away, lets the event loop turn, or
 * sleeps; learned from what has come of it.
 *
 * @module
 */

import type { RingConsumer } from "@patchbay/core";

/** How often to look before another process may have the core, if the peer has one of its own. */
const POLLS = 2000;
/** How often to look where the last one that was given the core has used it. */
const POLLS_ON_ONE_CORE = 20;
/** Who gets the core back sooner, in milliseconds, has it alone: nobody else wanted it. */
const AWAY_MS = 0.0015;
/** How often in a row to give the core away where others use it, before the event loop turns. */
const TURNS = 16;
/**
 * Who has given the core away and got it back so late, in milliseconds, is not alone with others that
 * give it back. The scheduler puts whoever gives it away behind them: then sleeping is better than
 * looking, because it prefers who was woken,
 */
const CROWDED_MS = 1.5;
/** for so long, twice as long each time that it is still so, */
const CROWD_STAYS_MS = 10;
/** and no longer than that. */
const CROWD_STAYS_LONGEST_MS = 320;
/** After so many looks there is time for other things. */
const SOON = 16;
/** How long to look for more after the last frame before sleeping, in milliseconds. */
const SPIN_MS = 0.05;
/**
 * How long to look for the answer to a call that ended a silence, in milliseconds, as long as answers
 * come in that time: the peer has to be woken, and being woken by it would take as long once more.
 */
const ANSWER_SPIN_MS = 0.25;

/** The patience of one link. */
export class Patience {
  readonly #consumer: RingConsumer;
  readonly #yieldCore: () => void;
  #polls = POLLS;
  #crowdedUntil = 0;
  /** Until when it was crowded last, and for how long. */
  #wasCrowdedUntil = -Infinity;
  #crowdStaysMs = CROWD_STAYS_MS;
  #peerSlept = false;
  /** When there was nothing first; 0 while frames come. */
  #idleSince = performance.now() - SPIN_MS;
  /** How long to look this time, and how long for the next answer: less after one that took longer. */
  #spinMs = SPIN_MS;
  #answerSpinMs = ANSWER_SPIN_MS;

  /**
   * @param consumer Where frames come.
   * @param yieldCore Lets another process run.
   */
  constructor(consumer: RingConsumer, yieldCore: () => void) {
    this.#consumer = consumer;
    this.#yieldCore = yieldCore;
  }

  /**
   * Looks some times whether a frame has come; whoever shares the core runs in between.
   *
   * @param idle Called once if there is nothing at first.
   */
  look(idle: () => void): boolean {
    const consumer = this.#consumer;
    for (let poll = 0; poll < SOON; poll++) if (consumer.peek() >= 0) return true;
    idle();
    if (this.#crowded) {
      // Nobody gets the core by courtesy: who wants it may be gone with it for milliseconds.
      for (let poll = 0; poll < this.#polls; poll++) if (consumer.peek() >= 0) return true;
      return false;
    }
    for (let turn = 0; turn < TURNS; turn++) {
      // The peer was asleep: it needs a core first, and perhaps this one.
      if (!this.#peerSlept && this.#poll()) return true;
      this.#peerSlept = false;
      const before = performance.now();
      this.#yieldCore();
      const now = performance.now();
      const awayMs = now - before;
      if (awayMs < AWAY_MS) {
        this.#polls = POLLS;
        return this.#poll();
      }
      // The peer may be one of those: looking for long would keep it from answering.
      this.#polls = POLLS_ON_ONE_CORE;
      if (awayMs > CROWDED_MS) {
        this.#crowd(now);
        break;
      }
    }
    return this.#poll();
  }

  #poll(): boolean {
    const consumer = this.#consumer;
    const polls = this.#polls;
    for (let poll = 0; poll < polls; poll++) if (consumer.peek() >= 0) return true;
    return false;
  }

  #crowd(now: number): void {
    const calmMs = now - this.#wasCrowdedUntil;
    if (calmMs > this.#crowdStaysMs) this.#crowdStaysMs = CROWD_STAYS_MS;
    this.#crowdedUntil = this.#wasCrowdedUntil = now + this.#crowdStaysMs;
    this.#crowdStaysMs = Math.min(CROWD_STAYS_LONGEST_MS, 2 * this.#crowdStaysMs);
  }

  /** Whether others want the core: looked up only where they did lately. */
  get #crowded(): boolean {
    if (this.#crowdedUntil === 0) return false;
    if (performance.now() < this.#crowdedUntil) return true;
    this.#crowdedUntil = 0;
    return false;
  }

  /** A frame has come. */
  found(): void {
    this.#idleSince = 0;
    if (this.#spinMs === SPIN_MS) return;
    this.#spinMs = SPIN_MS;
    this.#answerSpinMs = ANSWER_SPIN_MS;
  }

  /** Whether it is time to sleep, after a look that has found nothing. */
  get over(): boolean {
    const now = performance.now();
    if (this.#idleSince === 0) this.#idleSince = now;
    if (now - this.#idleSince < this.#spinMs && now >= this.#crowdedUntil) return false;
    if (this.#spinMs !== SPIN_MS) {
      this.#spinMs = SPIN_MS;
      this.#answerSpinMs = Math.max(SPIN_MS, this.#answerSpinMs / 2);
    }
    return true;
  }

  /** It has slept. */
  begin(): void {
    this.#idleSince = performance.now();
  }

  /** An answer is expected soon: look for it longer. */
  expectAnswer(): void {
    this.#spinMs = this.#answerSpinMs;
    this.#peerSlept = true;
  }
}
