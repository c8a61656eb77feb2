/**
 * What makes a participant a ROS 2 node: names, QoS profiles, services in both implementations'
 * ways, actions, `ros_discovery_info`.
 *
 * @module
 */

export { ActionClient, type GoalResult } from "./action_client.ts";
export {
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
export type { EndpointMaker, ServiceOptions } from "./service.ts";
export {
  type PendingRequest,
  type Reply,
  ServiceClient,
  type ServiceClientEvents,
} from "./service_client.ts";
export { type Answer, type Request, type ServiceHandler, ServiceServer } from "./service_server.ts";
