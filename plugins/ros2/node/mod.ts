/**
 * What makes a participant a ROS 2 node: names, QoS profiles, services in both implementations'
 * ways. Not finished: there are no nodes yet.
 *
 * @module
 */

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
