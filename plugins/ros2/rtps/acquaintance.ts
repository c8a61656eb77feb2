/**
 * Waits until everybody who is known has heard of all endpoints here and has told of all of its own.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import type { RemoteParticipant } from "./remote_participant.ts";
import { Alarm } from "./timers.ts";

/** Whom to wait for, and how to know. */
export interface AcquaintanceSetup {
  readonly wheel: TimerWheel;
  /** The ports of this machine that others have: one of them is expected behind each. */
  readonly taken: Iterable<number>;
  /** Those who are known. */
  readonly participants: () => Iterable<RemoteParticipant>;
  /** Whether one of them knows everything, and everything is known of it. */
  readonly isAcquainted: (participant: RemoteParticipant) => boolean;
}

/** Who waits until all have met. */
export class Acquaintance {
  readonly #setup: AcquaintanceSetup;
  /** The ports of this machine from which nobody has been heard yet. */
  readonly #expected: Set<number>;
  /** Who has let somebody wait in vain. */
  readonly #mute = new Set<string>();
  #waiting: ((met: boolean) => void)[] = [];
  #closed = false;

  /** @param setup Whom to wait for. */
  constructor(setup: AcquaintanceSetup) {
    this.#setup = setup;
    this.#expected = new Set(setup.taken);
  }

  /** Somebody was found. */
  found({ data: { metatraffic } }: RemoteParticipant): void {
    for (const { port } of metatraffic) this.#expected.delete(port);
  }

  /** Somebody has gone. */
  lost({ data: { prefix } }: RemoteParticipant): void {
    this.#mute.delete(prefix);
    this.look();
  }

  /** As `Participant.untilAcquainted`. */
  until(timeoutMs: number): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    if (this.#isComplete()) return Promise.resolve(true);
    return new Promise<boolean>((resolve) => {
      const end = (met: boolean) => {
        alarm.disarm();
        this.#waiting = this.#waiting.filter((each) => each !== end);
        resolve(met);
      };
      const alarm = new Alarm(this.#setup.wheel, () => {
        this.#expected.clear();
        for (const each of this.#setup.participants()) {
          if (!this.#setup.isAcquainted(each)) this.#mute.add(each.data.prefix);
        }
        end(false);
      });
      alarm.arm(timeoutMs);
      this.#waiting.push(end);
    });
  }

  /** Something has come: perhaps it was what is waited for. Cheap while nobody waits. */
  look(): void {
    if (this.#waiting.length === 0 || !this.#isComplete()) return;
    for (const end of [...this.#waiting]) end(true);
  }

  #isComplete(): boolean {
    let all = this.#expected.size === 0;
    for (const each of this.#setup.participants()) {
      const { prefix } = each.data;
      if (this.#setup.isAcquainted(each)) this.#mute.delete(prefix);
      else if (!this.#mute.has(prefix)) all = false;
    }
    return all;
  }

  /** Lets go of those who wait. */
  close(): void {
    this.#closed = true;
    for (const end of [...this.#waiting]) end(false);
  }
}
