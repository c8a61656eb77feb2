/**
 * What makes a participant a ROS 2 node: names, QoS profiles, services in both implementations'
 * ways, actions, `ros_discovery_info`. Not finished: there is no plugin yet that uses it.
 *
 * @module
 */

export { ActionClient, type GoalResult } from "./action_client.ts";
export type { ActionOptions } from "./action_messages.ts";
export { type AcceptedGoal, ActionServer, type ActionServerOptions } from "./action_server.ts";
export {
  DiscoveryInfo,
  type DiscoveryInfoOptions,
  type GidBytes,
  type NodeEntry,
} from "./discovery_info.ts";
export {
  actionNames,
  replyName,
  requestName,
  resolveName,
  rosName,
  rosType,
  topicName,
} from "./names.ts";
export { QOS_PROFILES, type QosProfile } from "./qos_profiles.ts";
export { type Convention, conventionOf, type RequestId } from "./request_header.ts";
export {
  ServiceClient,
  type ServiceHandler,
  type ServiceOptions,
  ServiceServer,
} from "./service.ts";
