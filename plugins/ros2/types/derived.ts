/**
 * The messages that follow from services and actions: events, goals with their ids, and so on.
 *
 * @module
 */

import type {
  ActionDefinition,
  Field,
  FieldType,
  MessageDefinition,
  ServiceDefinition,
} from "./definition.ts";

const message = (name: string, array?: FieldType["array"]): FieldType => ({
  base: "message",
  message: name,
  stringBound: 0,
  array,
});
const plain = (base: "bool" | "int8"): FieldType => ({ base, stringBound: 0 });
const define = (name: string, fields: Field[]): MessageDefinition => ({
  name,
  fields,
  constants: [],
});

const GOAL_ID: Field = { name: "goal_id", type: message("unique_identifier_msgs/msg/UUID") };

/** What is published about calls where introspection is on. */
export function serviceEvent({ name, request, response }: ServiceDefinition): MessageDefinition {
  const one = { kind: "bounded", size: 1 } as const;
  return define(`${name}_Event`, [
    { name: "info", type: message("service_msgs/msg/ServiceEventInfo") },
    { name: "request", type: message(request.name, one) },
    { name: "response", type: message(response.name, one) },
  ]);
}

/** A service as one description, which is what its hash is made of. */
export function serviceMessage(service: ServiceDefinition): MessageDefinition {
  return define(service.name, [
    { name: "request_message", type: message(service.request.name) },
    { name: "response_message", type: message(service.response.name) },
    { name: "event_message", type: message(`${service.name}_Event`) },
  ]);
}

/** The service that takes goals. */
export function sendGoal({ name, goal }: ActionDefinition): ServiceDefinition {
  return {
    name: `${name}_SendGoal`,
    request: define(`${name}_SendGoal_Request`, [
      GOAL_ID,
      { name: "goal", type: message(goal.name) },
    ]),
    response: define(`${name}_SendGoal_Response`, [
      { name: "accepted", type: plain("bool") },
      { name: "stamp", type: message("builtin_interfaces/msg/Time") },
    ]),
  };
}

/** The service that gives results. */
export function getResult({ name, result }: ActionDefinition): ServiceDefinition {
  return {
    name: `${name}_GetResult`,
    request: define(`${name}_GetResult_Request`, [GOAL_ID]),
    response: define(`${name}_GetResult_Response`, [
      { name: "status", type: plain("int8") },
      { name: "result", type: message(result.name) },
    ]),
  };
}

/** What is published while a goal is worked on. */
export function feedbackMessage({ name, feedback }: ActionDefinition): MessageDefinition {
  return define(`${name}_FeedbackMessage`, [
    GOAL_ID,
    { name: "feedback", type: message(feedback.name) },
  ]);
}

/** An action as one description, which is what its hash is made of. */
export function actionMessage(action: ActionDefinition): MessageDefinition {
  const { name, goal, result, feedback } = action;
  return define(name, [
    { name: "goal", type: message(goal.name) },
    { name: "result", type: message(result.name) },
    { name: "feedback", type: message(feedback.name) },
    { name: "send_goal_service", type: message(`${name}_SendGoal`) },
    { name: "get_result_service", type: message(`${name}_GetResult`) },
    { name: "feedback_message", type: message(`${name}_FeedbackMessage`) },
  ]);
}
