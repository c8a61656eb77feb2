/**
 * The side of an action that wants something done: sends goals, hears how far they are, fetches
 * their results, cancels them.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { Participant, Reader, Sample } from "../rtps/mod.ts";
import {
  type ActionOptions,
  type ActionParts,
  actionParts,
  CancelCode,
  GoalStatus,
  idOf,
  type Uuid,
  uuidOf,
} from "./action_messages.ts";
import { QOS_PROFILES } from "./qos_profiles.ts";
import { ServiceClient } from "./service_client.ts";

/** How a goal ended. */
export interface GoalResult {
  /** In which state. */
  readonly status: "succeeded" | "canceled" | "aborted" | "unknown";
  /** Its result; defaults where it did not succeed. */
  readonly result: unknown;
}

const STATES: Readonly<Record<number, GoalResult["status"]>> = {
  [GoalStatus.succeeded]: "succeeded",
  [GoalStatus.canceled]: "canceled",
  [GoalStatus.aborted]: "aborted",
};

/** How long feedback that the result has overtaken is waited for, in milliseconds. */
const CATCH_UP_MS = 1000;

/** How many pieces of feedback wait for the answer that the goal is accepted. */
const MAX_EARLY = 64;

/** Asks for one action. */
export class ActionClient implements Disposable {
  readonly #options: ActionOptions;
  readonly #parts: ActionParts;
  readonly #sendGoal: ServiceClient;
  readonly #getResult: ServiceClient;
  readonly #cancelGoal: ServiceClient;
  readonly #feedback: Reader;
  readonly #listeners = new Map<string, (value: unknown) => void>();
  #waiting: (() => void)[] = [];
  #closed = false;

  /**
   * Makes its endpoints.
   *
   * @param participant Where.
   * @param options Name and type.
   */
  constructor(participant: Participant, options: ActionOptions) {
    this.#options = options;
    const parts = this.#parts = actionParts(options);
    this.#sendGoal = new ServiceClient(participant, parts.sendGoal);
    this.#getResult = new ServiceClient(participant, parts.getResult);
    this.#cancelGoal = new ServiceClient(participant, parts.cancelGoal);
    this.#feedback = participant.createReader({
      topic: parts.feedbackTopic,
      type: options.type.feedbackMessage.ddsName,
      qos: QOS_PROFILES.default,
      onSample: (sample) => this.#heard(sample),
      onMatched: () => {
        for (const wake of this.#waiting.splice(0)) wake();
      },
    });
  }

  #heard({ payload, state }: Sample): void {
    if (state !== "alive") return;
    const { goal_id, feedback } = this.#options.type.feedbackMessage.decode(payload) as {
      goal_id: Uuid;
      feedback: unknown;
    };
    this.#listeners.get(idOf(goal_id))?.(feedback);
  }

  /** Resolves when the action is served, and feedback of it would be heard. */
  async untilServed(signal?: AbortSignal): Promise<void> {
    for (const each of [this.#sendGoal, this.#getResult, this.#cancelGoal]) {
      await each.untilServed(signal);
    }
    while (this.#feedback.matched.length === 0) {
      signal?.throwIfAborted();
      if (this.#closed) {
        throw new PatchbayError("closed", `the client of ${this.#options.name} is closed`);
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(resolve);
      await promise.finally(() => signal?.removeEventListener("abort", abort));
    }
  }

  /**
   * Sends a goal.
   *
   * @param goal What is to be done.
   * @param onFeedback Told how far it has got.
   * @param signal Ends the waiting for the answer.
   * @returns The goal's id, 32 hexadecimal digits; `undefined` if it is not accepted.
   * @throws {PatchbayError} `not_found` if nobody serves it; `invalid` for a bad goal.
   */
  async send(
    goal: unknown,
    onFeedback: (value: unknown) => void = () => {},
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const id = crypto.randomUUID().replaceAll("-", "");
    const { sendGoal } = this.#options.type;
    // Feedback may overtake the answer: it is another topic.
    const early: unknown[] = [];
    this.#listeners.set(id, (value) => early.length < MAX_EARLY && early.push(value));
    try {
      const request = sendGoal.request.encode({ goal_id: uuidOf(id), goal });
      const reply = await this.#sendGoal.call(request, signal);
      const { accepted } = sendGoal.response.decode(reply) as { accepted: boolean };
      if (!accepted) {
        this.#listeners.delete(id);
        return undefined;
      }
      this.#listeners.set(id, onFeedback);
      for (const value of early) onFeedback(value);
      return id;
    } catch (error) {
      this.#listeners.delete(id);
      throw error;
    }
  }

  /**
   * Waits for a goal's end, and a moment for feedback that was lost before it.
   *
   * @param id The goal.
   * @param signal Ends the waiting; the goal goes on.
   */
  async result(id: string, signal?: AbortSignal): Promise<GoalResult> {
    const { getResult } = this.#options.type;
    const reply = await this.#getResult.call(
      getResult.request.encode({ goal_id: uuidOf(id) }),
      signal,
    );
    const { status, result } = getResult.response.decode(reply) as {
      status: number;
      result: unknown;
    };
    if (this.#listeners.has(id)) await this.#feedback.untilComplete(CATCH_UP_MS);
    this.#listeners.delete(id);
    return { status: STATES[status] ?? "unknown", result };
  }

  /**
   * Asks for a goal to be canceled; its result says whether it was.
   *
   * @param id The goal.
   * @param signal Ends the waiting for the answer.
   * @throws {PatchbayError} `not_found` if it is not known; `forbidden` if the server refuses. A
   * goal that has ended already is no error.
   */
  async cancel(id: string, signal?: AbortSignal): Promise<void> {
    const { request, response } = this.#parts.cancelType;
    const payload = request.encode({ goal_info: { goal_id: uuidOf(id) } });
    const reply = await this.#cancelGoal.call(payload, signal);
    const { return_code } = response.decode(reply) as { return_code: number };
    if (return_code === CancelCode.rejected) {
      throw new PatchbayError("forbidden", `${this.#options.name} refuses to cancel goal ${id}`);
    }
    if (return_code === CancelCode.unknownGoal) {
      throw new PatchbayError("not_found", `${this.#options.name} knows no goal ${id}`);
    }
  }

  /** Ends it, and with it what is waited for. Goals go on. */
  close(): void {
    this.#closed = true;
    for (const each of [this.#sendGoal, this.#getResult, this.#cancelGoal]) each.close();
    this.#feedback.close();
    this.#listeners.clear();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
