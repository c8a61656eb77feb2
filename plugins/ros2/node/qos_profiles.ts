/**
 * ROS 2's QoS profiles by their names (rmw, `qos_profiles.h`).
 *
 * @module
 */

import type { Qos } from "../rtps/mod.ts";

/** The profiles that ROS 2 names. */
export type QosProfile =
  | "default"
  | "sensor_data"
  | "services_default"
  | "parameters"
  | "parameter_events"
  | "system_default"
  | "action_status";

const RELIABLE: Partial<Qos> = {
  reliability: "reliable",
  durability: "volatile",
  history: "keep_last",
};

/** Their policies. */
export const QOS_PROFILES: Readonly<Record<QosProfile, Partial<Qos>>> = {
  default: { ...RELIABLE, depth: 10 },
  sensor_data: { ...RELIABLE, reliability: "best_effort", depth: 5 },
  services_default: { ...RELIABLE, depth: 10 },
  parameters: { ...RELIABLE, depth: 1000 },
  parameter_events: { ...RELIABLE, depth: 1000 },
  // What the implementation's own defaults are: those of Fast DDS.
  system_default: { ...RELIABLE, depth: 1 },
  action_status: { ...RELIABLE, durability: "transient_local", depth: 1 },
};
