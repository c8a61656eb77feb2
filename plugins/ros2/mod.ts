/**
 * ros2: the three patterns as a ROS 2 node. Callables are services, speakers topics, jobs actions; the
 * wire is RTPS over UDP, so that nodes on Fast DDS and Cyclone DDS take part, with no ROS installed
 * here.
 *
 * @module
 */

import { ros2 } from "./plugin.ts";
import type { Ros2Plugin } from "./plugin.ts";

export type { Ros2Config } from "./config.ts";
export type { Range } from "./environment.ts";
export type {
  EndpointInfo,
  NamedTypes,
  NodeInfo,
  RosGraph,
  TopicInfo,
  UntilOptions,
} from "./graph.ts";
export type { Ros2Plugin } from "./plugin.ts";
export type { QosPolicies, RosName } from "./ros_name.ts";
export type { Ros2Extras } from "./transport.ts";

/**
 * The plugin.
 *
 * @example
 * ```ts ignore
 * import { defineCallable, Patchbay } from "@patchbay/patchbay";
 * import ros2 from "@patchbay/ros2";
 * import type { RosServices } from "@patchbay/ros2/common-types";
 *
 * type Add = RosServices["example_interfaces/srv/AddTwoInts"];
 * const AddTwoInts = defineCallable<Add["request"], Add["response"]>({
 *   address: "add_two_ints",
 *   native: { ros2: { type: "example_interfaces/srv/AddTwoInts" } },
 * });
 * await using bay = await Patchbay.open({
 *   module: "desk",
 *   plugins: [ros2],
 *   config: { ros2: { domain: 0 } },
 * });
 * console.log((await bay.call(AddTwoInts, { a: 2n, b: 3n })).sum); // 5n
 * ```
 */
const plugin: Ros2Plugin = ros2;

export default plugin;
