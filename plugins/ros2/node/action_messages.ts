/**
 * What both sides of an action know: names, types, states.
 *
 * @module
 */

import type { ActionType, MessageType, ServiceType, Types } from "../types/mod.ts";
import { actionNames } from "./names.ts";
import type { ServiceOptions } from "./service.ts";

/** States of a goal (`action_msgs/msg/GoalStatus`). */
export const GoalStatus = {
  unknown: 0,
  accepted: 1,
  executing: 2,
  canceling: 3,
  succeeded: 4,
  canceled: 5,
  aborted: 6,
} as const;

/** What the answer to a cancel says (`action_msgs/srv/CancelGoal`). */
export const CancelCode = { none: 0, rejected: 1, unknownGoal: 2, terminated: 3 } as const;

/** An action that is known by name and type. */
export interface ActionOptions {
  /** The full name, such as `/fibonacci`. */
  readonly name: string;
  /** Its type. */
  readonly type: ActionType;
  /** Where the types that all actions share are found. */
  readonly types: Types;
  /** Told of what fails and stops nobody. */
  readonly onReport: (error: unknown) => void;
}

/** The parts of an action, ready to make endpoints of. */
export interface ActionParts {
  /** The service that takes goals. */
  readonly sendGoal: ServiceOptions;
  /** The service that gives results. */
  readonly getResult: ServiceOptions;
  /** The service that cancels. */
  readonly cancelGoal: ServiceOptions;
  /** The service's type, the same for all actions. */
  readonly cancelType: ServiceType;
  /** The topic of feedback. */
  readonly feedbackTopic: string;
  /** The topic of states. */
  readonly statusTopic: string;
  /** The type of states, the same for all actions. */
  readonly statusType: MessageType;
}

/** What an action is made of on the wire. */
export function actionParts({ name, type, types, onReport }: ActionOptions): ActionParts {
  const names = actionNames(name);
  const service = (full: string, { request, response, hash }: ServiceType): ServiceOptions => ({
    name: full,
    requestType: request.ddsName,
    responseType: response.ddsName,
    userData: `typehash=${hash};`,
    onReport,
  });
  const cancelType = types.service("action_msgs/srv/CancelGoal");
  return {
    sendGoal: service(names.sendGoal, type.sendGoal),
    getResult: service(names.getResult, type.getResult),
    cancelGoal: service(names.cancelGoal, cancelType),
    cancelType,
    feedbackTopic: `rt${names.feedback}`,
    statusTopic: `rt${names.status}`,
    statusType: types.message("action_msgs/msg/GoalStatusArray"),
  };
}

/** A goal's id as it travels. */
export interface Uuid {
  /** Its 16 bytes. */
  uuid: Uint8Array;
}

/** A point in time as it travels. */
export interface Stamp {
  /** Seconds since 1970. */
  sec: number;
  /** Nanoseconds of the second. */
  nanosec: number;
}

/** Which goal, and since when. */
export interface GoalInfo {
  /** The goal. */
  goal_id: Uuid;
  /** When it was accepted. */
  stamp: Stamp;
}

/** An id as 32 hexadecimal digits. */
export function idOf({ uuid }: Uuid): string {
  return Array.from(uuid, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of an id. */
export function uuidOf(id: string): Uuid {
  return { uuid: Uint8Array.from(id.match(/../g) ?? [], (two) => parseInt(two, 16)) };
}

/** Now. */
export function stampNow(): Stamp {
  const ms = Date.now();
  return { sec: Math.floor(ms / 1000), nanosec: ms % 1000 * 1_000_000 };
}
