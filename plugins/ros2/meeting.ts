/**
 * How a node that has just joined waits until it knows who is there.
 *
 * @module
 */

import type { Participant } from "./rtps/mod.ts";

/** How long others on this machine may take to answer for the first time, in milliseconds. */
const MEETING_MS = 700;
/** How long others may take to tell of their nodes, in milliseconds. */
const INTRODUCING_MS = 200;

/** Who is waited for. */
export interface MeetingSetup {
  readonly participant: Pick<Participant, "untilAcquainted">;
  /** How long those on other machines may take, in milliseconds; 0: there are none. */
  readonly discoveryMs: number;
  /** Whether everybody who tells of nodes has done so. */
  readonly areIntroduced: () => boolean;
}

/** The first look around. */
export class Meeting {
  readonly #setup: MeetingSetup;
  /** Ends what is waited for now. */
  #end: () => void = () => {};
  #met: Promise<void> | undefined;
  #closed = false;

  /** @param setup Who is waited for. */
  constructor(setup: MeetingSetup) {
    this.#setup = setup;
  }

  /** Resolves when those who were there at first are known, or have had their time. */
  met(): Promise<void> {
    return this.#met ??= this.#meet();
  }

  async #meet(): Promise<void> {
    const { participant, discoveryMs, areIntroduced } = this.#setup;
    const here = participant.untilAcquainted(MEETING_MS);
    if (discoveryMs > 0) await this.#pause(discoveryMs);
    await here;
    if (areIntroduced()) return;
    const introduced = this.#pause(INTRODUCING_MS);
    this.introduced = () => areIntroduced() && this.#end();
    await introduced;
    this.introduced = () => {};
  }

  #pause(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#end = resolve;
    return promise.finally(() => clearTimeout(timer));
  }

  /** Somebody has told of its nodes. */
  introduced: () => void = () => {};

  /** Lets go of those who wait. */
  close(): void {
    this.#closed = true;
    this.#end();
  }
}
