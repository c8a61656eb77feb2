/**
 * One goal that this bay works on: where its messages go, and what became of it.
 *
 * @module
 */

import { type JobEndpoint, type JobRun, type JobSink, PatchbayError } from "@patchbay/core";
import type { ActionForm } from "./forms.ts";
import type { Metadata } from "./metadata.ts";
import { type Answer, GoalStatus, type Stamp } from "./node/mod.ts";

/** What a goal needs of its action. */
export interface Performing {
  readonly endpoint: JobEndpoint;
  readonly form: ActionForm;
  /** Tells everybody the states of all goals. */
  publish(): void;
  /** Sends feedback. */
  tell(id: string, value: unknown, sequence: number, isBay: boolean): void;
  /** Sends how far it is. */
  tellProgress(id: string, fraction: number, sequence: number, owner: string): void;
  /** The answer to who asks for the result. */
  answerOf(status: number, message: unknown, metadata: Metadata): Answer;
  /** A goal has ended. */
  ended(): void;
}

/** How much feedback waits for the answer that the goal is accepted. */
const MAX_EARLY = 4096;

/** Whether a stamp is not after another. */
export function isBefore(a: Stamp, b: Stamp): boolean {
  return a.sec < b.sec || a.sec === b.sec && a.nanosec <= b.nanosec;
}

/** One goal. */
export class PerformedGoal implements JobSink {
  readonly #action: Performing;
  readonly #owner: string;
  readonly #isBay: boolean;
  readonly #decision = Promise.withResolvers<void>();
  readonly #outcome = Promise.withResolvers<Answer>();
  #early: (() => void)[] | undefined = [];
  #accepted = false;
  #canceled = false;
  #sequence = 0;
  /** Its id, 32 hexadecimal digits. */
  readonly id: string;
  /** When it came. */
  readonly stamp: Stamp;
  /** Its state, as ROS counts them. */
  status: number = GoalStatus.accepted;
  /** Its job, once it is being decided on. */
  run: JobRun | undefined;

  /**
   * @param action Its action.
   * @param id Its id.
   * @param stamp When it came.
   * @param owner The writer of its request.
   * @param isBay Whether its owner is another bay.
   */
  constructor(action: Performing, id: string, stamp: Stamp, owner: string, isBay: boolean) {
    this.#action = action;
    this.id = id;
    this.stamp = stamp;
    this.#owner = owner;
    this.#isBay = isBay;
    this.#decision.promise.catch(() => {});
  }

  /** Resolves when it is accepted; rejects with the reason when it is not. */
  get decided(): Promise<void> {
    return this.#decision.promise;
  }

  /** Resolves with the answer to who asks for the result. */
  get outcome(): Promise<Answer> {
    return this.#outcome.promise;
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.status >= GoalStatus.succeeded;
  }

  /** Somebody wants it to stop. */
  cancel(reason: string | undefined): void {
    this.#canceled = true;
    if (this.#accepted) this.status = GoalStatus.canceling;
    this.run?.cancel(reason);
  }

  /** A participant has gone: if it was the owner, and a bay, the job goes on for a while. */
  lost(prefix: string): void {
    if (this.#isBay && this.#owner.startsWith(prefix) && !this.ended) this.run?.detach(this);
  }

  /** The owner was told that it is accepted: what waited for that follows. */
  told(): void {
    const early = this.#early;
    this.#early = undefined;
    for (const send of early ?? []) send();
  }

  #send(send: () => void): void {
    if (this.#early === undefined) return send();
    // ROS 2's clients pass over feedback of a goal of which they do not know yet.
    if (this.#early.length < MAX_EARLY) this.#early.push(send);
    else this.#action.endpoint.statistics.countDrop("overflow_newest");
  }

  /** As {@link JobSink}. */
  accepted(): void {
    this.#accepted = true;
    if (this.status === GoalStatus.accepted) this.status = GoalStatus.executing;
    this.#decision.resolve();
    this.#action.publish();
  }

  /** As {@link JobSink}. */
  feedback(value: unknown, sequence: number): void {
    this.#sequence = sequence;
    // It is checked in the turn in which it is given, so that the worker gets the refusal.
    this.#action.form.feedback.say(value);
    this.#send(() => this.#action.tell(this.id, value, sequence, this.#isBay));
  }

  /** As {@link JobSink}. */
  progressed(fraction: number, sequence: number): void {
    this.#sequence = sequence;
    this.#send(() => this.#action.tellProgress(this.id, fraction, sequence, this.#owner));
  }

  /** As {@link JobSink}. */
  succeed(value: unknown): void {
    const status = this.#canceled ? GoalStatus.canceled : GoalStatus.succeeded;
    try {
      const message = this.#action.form.result.say(value);
      this.#end(status, this.#action.answerOf(status, message, { l: this.#sequence }));
    } catch (error) {
      this.fail(PatchbayError.fromThrown(error));
    }
  }

  /** As {@link JobSink}. */
  fail(error: PatchbayError): void {
    this.#decision.reject(error);
    const status = this.#canceled ? GoalStatus.canceled : GoalStatus.aborted;
    const message = this.#action.form.result.sayError(error) ?? {};
    const metadata = { l: this.#sequence, e: error.toWire() };
    this.#end(status, this.#action.answerOf(status, message, metadata));
  }

  #end(status: number, answer: Answer): void {
    if (this.ended) return;
    this.status = status;
    this.#outcome.resolve(answer);
    this.#action.publish();
    this.#action.ended();
  }
}
