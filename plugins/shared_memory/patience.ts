/**
 * How long a link looks for a frame before it gives the core away, lets the event loop turn, or
 * sleeps; learned from what has come of it.
 *
 * @module
 */

import type { RingConsumer } from "@patchbay/core";

/** How often to look before another process may have the core, if the peer has one of its own. */
const POLLS = 2000;
/** How often to look first where giving the core away has brought the frame time and again. */
const POLLS_ON_ONE_CORE = 20;
/** That often in a row, */
const HANDED_OVER = 4;
/** and by giving it away for so long, in milliseconds: nobody else wanted it for less. */
const AWAY_MS = 0.0015;
/**
 * Who has given the core away and got it back so late, in milliseconds, is not alone with the peer.
 * The scheduler puts whoever gives it away further back each time: then sleeping is better than
 * looking, because it prefers who was woken,
 */
const CROWDED_MS = 1.5;
/** for so many times as long as it was away: so no more than a fifth of the time is lost, */
const CROWD_STAYS = 4;
/** and not for longer than this, in milliseconds. */
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
  /** How often in a row the frame was there as soon as the peer had had the core. */
  #handedOver = 0;
  #crowdedUntil = 0;
  /** Whether what this side has sent had to wake the peer. */
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
    // Who was asleep needs a core first, and perhaps this one.
    if (!this.#peerSlept && this.#poll(0)) return true;
    this.#peerSlept = false;
    const before = performance.now();
    this.#yieldCore();
    const now = performance.now();
    const awayMs = now - before;
    if (awayMs > CROWDED_MS) {
      this.#crowdedUntil = now + Math.min(CROWD_STAYS_LONGEST_MS, CROWD_STAYS * awayMs);
    }
    return this.#poll(awayMs);
  }

  /**
   * Looks, and learns where the peer runs.
   *
   * @param awayMs How long others have just had the core.
   */
  #poll(awayMs: number): boolean {
    const consumer = this.#consumer;
    const polls = this.#polls;
    for (let poll = 0; poll < polls; poll++) {
      if (consumer.peek() < 0) continue;
      if (poll > 0) {
        // It came while this side was looking: the peer runs on another core.
        this.#handedOver = 0;
        this.#polls = POLLS;
      } else if (awayMs > AWAY_MS && ++this.#handedOver >= HANDED_OVER) {
        this.#polls = POLLS_ON_ONE_CORE;
      }
      return true;
    }
    return false;
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
