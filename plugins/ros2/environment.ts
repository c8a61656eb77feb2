/**
 * The environment variables that ROS 2 programs heed, as far as this process may read them.
 *
 * @module
 */

/** The variables that are looked at. */
export const VARIABLES = [
  "ROS_DOMAIN_ID",
  "ROS_DISTRO",
  "ROS_LOCALHOST_ONLY",
  "ROS_AUTOMATIC_DISCOVERY_RANGE",
  "ROS_STATIC_PEERS",
  "ROS_SECURITY_ENABLE",
  "ROS_SECURITY_STRATEGY",
  "AMENT_PREFIX_PATH",
] as const;

/** One of {@link VARIABLES}. */
export type Variable = typeof VARIABLES[number];

/** Gives the value of a variable; `undefined` if it is not set, or may not be read. */
export type Environment = (name: Variable) => string | undefined;

/** The process's own environment. What it may not read counts as not set; nobody is asked. */
export const processEnvironment: Environment = (variable: Variable): string | undefined => {
  const state = Deno.permissions.querySync({ name: "env", variable }).state;
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
};

/** How far discovery goes. */
export type Range = "subnet" | "localhost" | "off";

/** What the environment says about discovery. */
export interface DiscoveryRange {
  /** How far it goes; `undefined`: the environment says nothing. */
  readonly range?: Range;
  /** A variable whose value means nothing. */
  readonly wrong?: string;
}

/**
 * How far discovery goes: `ROS_LOCALHOST_ONLY` (all distributions; deprecated from Iron on, but it
 * still wins) and `ROS_AUTOMATIC_DISCOVERY_RANGE` (from Iron on).
 *
 * @see https://docs.ros.org/en/jazzy/Tutorials/Advanced/Improved-Dynamic-Discovery.html
 */
export function discoveryRange(environment: Environment): DiscoveryRange {
  if (environment("ROS_LOCALHOST_ONLY") === "1") return { range: "localhost" };
  const value = environment("ROS_AUTOMATIC_DISCOVERY_RANGE");
  switch (value) {
    case undefined:
    case "SYSTEM_DEFAULT":
      return {};
    case "SUBNET":
      return { range: "subnet" };
    case "LOCALHOST":
      return { range: "localhost" };
    case "OFF":
      return { range: "off" };
    default:
      return { wrong: `ROS_AUTOMATIC_DISCOVERY_RANGE is ${JSON.stringify(value)}` };
  }
}

/** Whether ROS 2 is told to protect its traffic: `enforce` must not go on without. */
export function securityWanted(environment: Environment): "no" | "permissive" | "enforce" {
  if (environment("ROS_SECURITY_ENABLE")?.toLowerCase() !== "true") return "no";
  return environment("ROS_SECURITY_STRATEGY") === "Enforce" ? "enforce" : "permissive";
}
