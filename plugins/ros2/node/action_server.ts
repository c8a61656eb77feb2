/**
 * The side of an action that does the work: takes goals, tells how far they are, keeps their
 * results until they are fetched.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { Participant, Writer } from "../rtps/mod.ts";
import {
  type ActionOptions,
  type ActionParts,
  actionParts,
  CancelCode,
  type GoalInfo,
  GoalStatus,
  idOf,
  type Stamp,
  stampNow,
  type Uuid,
  uuidOf,
} from "./action_messages.ts";
import { QOS_PROFILES } from "./qos_profiles.ts";
import { type Request, ServiceServer } from "./service.ts";

/** A goal that was accepted, for who works on it. */
export interface AcceptedGoal {
  /** Its id, 32 hexadecimal digits. */
  readonly id: string;
  /** What is to be done. */
  readonly goal: unknown;
  /** Aborted when somebody cancels it. */
  readonly signal: AbortSignal;
  /** Tells how far it has got. */
  feedback(value: unknown): void;
}

/** What an action server is made with. */
export interface ActionServerOptions extends ActionOptions {
  /** Whether to accept a goal. Default: always. */
  readonly accept?: (goal: unknown, id: string) => boolean | Promise<boolean>;
  /** Whether a goal may be canceled. Default: always. */
  readonly acceptCancel?: (id: string) => boolean;
  /**
   * Does the work and gives the result. When it throws, the goal is aborted; when it throws or
   * returns after the signal was aborted, the goal is canceled.
   */
  readonly execute: (goal: AcceptedGoal) => unknown;
}

interface Goal {
  readonly id: string;
  readonly stamp: Stamp;
  readonly controller: AbortController;
  status: number;
  result: unknown;
  readonly done: PromiseWithResolvers<void>;
}

/** How many goals that have ended are remembered, so that late questions find their results. */
const MAX_ENDED = 256;
/**
 * How long work waits for its owner to have the answer and a reader of feedback that is known, and
 * a result for the feedback before it to arrive, in milliseconds.
 */
const OWNER_MS = 1000;
/** How many goals are worked on at once. */
const MAX_ACTIVE = 1024;

const hasEnded = ({ status }: Goal) => status >= GoalStatus.succeeded;

/** Serves one action. */
export class ActionServer implements Disposable {
  readonly #options: ActionServerOptions;
  readonly #parts: ActionParts;
  readonly #goals = new Map<string, Goal>();
  readonly #services: ServiceServer[];
  readonly #feedback: Writer;
  readonly #status: Writer;
  #telling = false;
  #closed = false;

  /**
   * Makes its endpoints.
   *
   * @param participant Where.
   * @param options Name, type, and who does the work.
   */
  constructor(participant: Participant, options: ActionServerOptions) {
    this.#options = options;
    const parts = this.#parts = actionParts(options);
    const { type } = options;
    this.#feedback = participant.createWriter({
      topic: parts.feedbackTopic,
      type: type.feedbackMessage.ddsName,
      qos: QOS_PROFILES.default,
    });
    this.#status = participant.createWriter({
      topic: parts.statusTopic,
      type: parts.statusType.ddsName,
      qos: QOS_PROFILES.action_status,
    });
    this.#services = [
      new ServiceServer(participant, parts.sendGoal, (goal, by) => this.#sendGoal(goal, by)),
      new ServiceServer(
        participant,
        parts.getResult,
        (request, by) => this.#getResult(request, by),
      ),
      new ServiceServer(participant, parts.cancelGoal, (request) => this.#cancelGoal(request)),
    ];
    this.#publish();
  }

  /** How many goals are worked on. */
  get active(): number {
    let active = 0;
    for (const goal of this.#goals.values()) if (!hasEnded(goal)) active++;
    return active;
  }

  /** How many requests were passed over because too many were under way. */
  get refused(): number {
    return this.#services.reduce((sum, service) => sum + service.refused, 0);
  }

  /** Once for all that changes in one turn: each tells the states of all goals. */
  #publish(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      if (!this.#closed) this.#tellStates();
    });
  }

  #tellStates(): void {
    this.#status.write(this.#parts.statusType.encode({
      status_list: Array.from(this.#goals.values(), ({ id, stamp, status }) => ({
        goal_info: { goal_id: uuidOf(id), stamp },
        status,
      })),
    }));
  }

  async #sendGoal(request: Uint8Array, { writer }: Request): Promise<Uint8Array> {
    const { sendGoal } = this.#options.type;
    const { goal_id, goal } = sendGoal.request.decode(request) as { goal_id: Uuid; goal: unknown };
    const id = idOf(goal_id);
    const stamp = stampNow();
    // An id that is known is no new goal. While this one is decided on, others may have come.
    const hasPlace = () => !this.#closed && !this.#goals.has(id) && this.active < MAX_ACTIVE;
    const accepted = hasPlace() && await (this.#options.accept?.(goal, id) ?? true) && hasPlace();
    if (accepted) this.#begin(id, stamp, goal, writer.guid.slice(0, 24));
    return sendGoal.response.encode({ accepted, stamp });
  }

  #begin(id: string, stamp: Stamp, value: unknown, client: string): void {
    const goal: Goal = {
      id,
      stamp,
      controller: new AbortController(),
      status: GoalStatus.accepted,
      result: undefined,
      done: Promise.withResolvers(),
    };
    this.#goals.set(id, goal);
    this.#publish();
    void this.#work(goal, value, client);
  }

  async #work(goal: Goal, value: unknown, client: string): Promise<void> {
    const { id, controller } = goal;
    // Its answer is written by then.
    await new Promise((resolve) => setTimeout(resolve, 0));
    await Promise.all([
      // These are two topics, and ROS 2's clients pass over feedback of a goal they do not know yet.
      this.#services[0].settledWith(client, OWNER_MS),
      // What is written before its reader is known is lost: that is another announcement.
      this.#feedback.untilMatchedBy(client, OWNER_MS),
    ]);
    if (goal.status === GoalStatus.accepted) goal.status = GoalStatus.executing;
    this.#publish();
    const { type, execute, onReport } = this.#options;
    const feedback = (value: unknown) => {
      if (this.#closed || hasEnded(goal)) return;
      this.#feedback.write(type.feedbackMessage.encode({ goal_id: uuidOf(id), feedback: value }));
    };
    let status: number = GoalStatus.succeeded;
    try {
      const { signal } = controller;
      goal.result = await execute({ id, goal: value, signal, feedback });
      // It is encoded here, so that a bad one aborts the goal instead of each question for it.
      type.result.encode(goal.result ?? {});
    } catch (error) {
      goal.result = undefined;
      status = GoalStatus.aborted;
      if (!controller.signal.aborted) onReport(error);
    }
    goal.status = controller.signal.aborted ? GoalStatus.canceled : status;
    goal.done.resolve();
    this.#publish();
    this.#forget();
  }

  #forget(): void {
    const ended = [...this.#goals.values()].filter(hasEnded);
    for (const { id } of ended.slice(0, -MAX_ENDED)) this.#goals.delete(id);
  }

  async #getResult(request: Uint8Array, { writer }: Request): Promise<Uint8Array> {
    const { getResult } = this.#options.type;
    const { goal_id } = getResult.request.decode(request) as { goal_id: Uuid };
    const goal = this.#goals.get(idOf(goal_id));
    if (goal === undefined) return getResult.response.encode({ status: GoalStatus.unknown });
    await goal.done.promise;
    // It is another topic: the result would overtake what is sent again.
    await this.#feedback.untilAcknowledged(OWNER_MS, writer.guid.slice(0, 24));
    return getResult.response.encode({ status: goal.status, result: goal.result });
  }

  #cancelGoal(request: Uint8Array): Uint8Array {
    const { cancelType } = this.#parts;
    const { goal_info } = cancelType.request.decode(request) as { goal_info: GoalInfo };
    const id = idOf(goal_info.goal_id);
    const { stamp } = goal_info;
    const named = /^0+$/.test(id) ? undefined : id;
    const before = stamp.sec === 0 && stamp.nanosec === 0 ? undefined : stamp;
    // No id and no time mean all; a time means all that were accepted until then.
    const meant = [...this.#goals.values()].filter((goal) =>
      goal.id === named || (named === undefined && before === undefined) ||
      (before !== undefined && (goal.stamp.sec < before.sec ||
        goal.stamp.sec === before.sec && goal.stamp.nanosec <= before.nanosec))
    );
    const running = meant.filter((goal) => !hasEnded(goal));
    const canceled = running.filter((goal) => this.#options.acceptCancel?.(goal.id) ?? true);
    const code = canceled.length > 0
      ? CancelCode.none
      : running.length > 0
      ? CancelCode.rejected
      : meant.length > 0
      ? CancelCode.terminated
      : named === undefined
      ? CancelCode.none
      : CancelCode.unknownGoal;
    for (const goal of canceled) goal.status = GoalStatus.canceling;
    if (canceled.length > 0) this.#publish();
    for (const goal of canceled) {
      goal.controller.abort(new PatchbayError("closed", "the goal was canceled"));
    }
    return cancelType.response.encode({
      return_code: code,
      goals_canceling: canceled.map(({ id, stamp }) => ({ goal_id: uuidOf(id), stamp })),
    });
  }

  /** Cancels what is worked on, and ends it. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const goal of this.#goals.values()) {
      if (!hasEnded(goal)) {
        goal.controller.abort(new PatchbayError("closed", "the action server was closed"));
      }
    }
    for (const service of this.#services) service.close();
    this.#feedback.close();
    this.#status.close();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
