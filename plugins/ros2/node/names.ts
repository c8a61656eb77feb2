/**
 * ROS 2's names on the wire: which DDS topics a topic, service or action uses.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";

const NAME = /^\/(?:[A-Za-z_]\w*)(?:\/[A-Za-z_]\w*)*$/;

/**
 * The full name: relative ones are put into the namespace, `~` stands for the node.
 *
 * @param name As it is written: `chatter`, `/chatter`, `~/state`.
 * @param namespace The node's namespace, such as `/` or `/arm`.
 * @param node The node's name.
 * @throws {PatchbayError} `invalid`.
 */
export function resolveName(name: string, namespace = "/", node = ""): string {
  const base = namespace === "/" ? "" : namespace;
  const full = name.startsWith("/")
    ? name
    : name === "~"
    ? `${base}/${node}`
    : name.startsWith("~/")
    ? `${base}/${node}${name.slice(1)}`
    : `${base}/${name}`;
  // An action's own topics begin with an underscore, which is allowed; two in a row are not.
  if (NAME.test(full) && !full.includes("__")) return full;
  throw new PatchbayError("invalid", `${name} is no ROS name: ${full}`, {
    remedy: "use letters, digits and single underscores, with / between, no digit in front",
  });
}

/** The DDS topic of a ROS topic. */
export const topicName = (full: string): string => `rt${full}`;
/** The DDS topic of a service's requests. */
export const requestName = (full: string): string => `rq${full}Request`;
/** The DDS topic of a service's replies. */
export const replyName = (full: string): string => `rr${full}Reply`;

/** The services and topics of an action. */
export function actionNames(full: string): {
  sendGoal: string;
  getResult: string;
  cancelGoal: string;
  feedback: string;
  status: string;
} {
  return {
    sendGoal: `${full}/_action/send_goal`,
    getResult: `${full}/_action/get_result`,
    cancelGoal: `${full}/_action/cancel_goal`,
    feedback: `${full}/_action/feedback`,
    status: `${full}/_action/status`,
  };
}

/** What a DDS topic is to ROS; `undefined` for those that are not ROS 2's. */
export function rosName(
  ddsTopic: string,
): { kind: "topic" | "request" | "reply"; name: string } | undefined {
  if (ddsTopic.startsWith("rt/")) return { kind: "topic", name: ddsTopic.slice(2) };
  if (ddsTopic.startsWith("rq/") && ddsTopic.endsWith("Request")) {
    return { kind: "request", name: ddsTopic.slice(2, -"Request".length) };
  }
  if (ddsTopic.startsWith("rr/") && ddsTopic.endsWith("Reply")) {
    return { kind: "reply", name: ddsTopic.slice(2, -"Reply".length) };
  }
  return undefined;
}

/** What a DDS type is to ROS: `std_msgs::msg::dds_::String_` is `std_msgs/msg/String`. */
export function rosType(ddsType: string): string | undefined {
  const match = /^(\w+)::(msg|srv|action)::dds_::(\w+)_$/.exec(ddsType);
  return match === null ? undefined : `${match[1]}/${match[2]}/${match[3]}`;
}
