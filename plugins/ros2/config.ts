/**
 * The configuration of ros2: its table, and what follows from it together with the environment.
 *
 * @module
 */

import { type Availability, type ConfigFields, PatchbayError } from "@patchbay/core";
import {
  discoveryRange,
  type Environment,
  processEnvironment,
  type Range,
  securityWanted,
} from "./environment.ts";
import type { RosName } from "./ros_name.ts";
import { udpUnavailable } from "./rtps/mod.ts";

/** The configuration of ros2. */
export interface Ros2Config {
  /** The domain, 0 to 232; default: `ROS_DOMAIN_ID`, or 0. */
  readonly domain?: number;
  /** How far discovery goes; default: what the environment says, or `subnet`. */
  readonly range?: Range;
  /** The IPv4 addresses of the interfaces to use; default: all, or loopback for `localhost`. */
  readonly interfaces?: readonly string[];
  /** IPv4 addresses that are told of this node without multicast; default: `ROS_STATIC_PEERS`. */
  readonly peers?: readonly string[];
  /** Whether the multicast group is used. */
  readonly multicast: boolean;
  /** The node's name; default: that of the module's instance. */
  readonly node?: string;
  /** The node's namespace. */
  readonly namespace: string;
  /** Names that are replaced by others. */
  readonly remap: Readonly<Record<string, string>>;
  /** Types, names and policies by address, for contracts that do not say them. */
  readonly endpoints: Readonly<Record<string, RosName>>;
  /** Whether what has no ROS type travels as JSON in strings. */
  readonly json: boolean;
  /** Texts of interfaces by their names: `my_msgs/msg/Pose`. */
  readonly definitions: Readonly<Record<string, string>>;
  /** Folders with interfaces: `<folder>/<package>/msg/<Name>.msg`. */
  readonly folders: readonly string[];
  /** The installed ROS; default: `AMENT_PREFIX_PATH`. */
  readonly amentPrefixPath?: string;
  /** The size of ids in `ros_discovery_info`; default: as other nodes do, 16 among ourselves. */
  readonly gidBytes?: number;
  /** How often to announce this node, in milliseconds. */
  readonly announceMs: number;
  /** For how long others take this node for alive without a word, in milliseconds. */
  readonly leaseMs: number;
  /** How long the first look for others takes where they may be on other machines, in ms. */
  readonly discoveryMs: number;
  /** The largest datagram to other machines, in bytes. */
  readonly mtuBytes: number;
  /** How many bytes a speaker keeps for listeners that are behind. */
  readonly maxQueueBytes: number;
  /** The largest message, in bytes; default: that of the bay. */
  readonly maxMessageBytes?: number;
}

/** The table of the configuration. */
export const FIELDS: ConfigFields = {
  domain: {
    kind: "integer",
    description: "The domain, 0 to 232; default: `ROS_DOMAIN_ID`, or 0 where the environment is " +
      "set up for ROS 2; else the wire stays closed",
    min: 0,
    max: 232,
  },
  range: {
    kind: "string",
    description: "How far discovery goes; default: `ROS_LOCALHOST_ONLY` and " +
      "`ROS_AUTOMATIC_DISCOVERY_RANGE`, or `subnet`",
    oneOf: ["subnet", "localhost", "off"],
  },
  interfaces: {
    kind: "strings",
    description: "IPv4 addresses of the interfaces to use; default: all of this machine's, or " +
      "`127.0.0.1` where the range is `localhost`",
  },
  peers: {
    kind: "strings",
    description: "IPv4 addresses that are told of this node without multicast; default: " +
      "`ROS_STATIC_PEERS`",
  },
  multicast: {
    kind: "boolean",
    description: "Whether others are looked for in the multicast group 239.255.0.1",
    default: true,
  },
  node: { kind: "string", description: "The node's name; default: that of the module's instance" },
  namespace: {
    kind: "string",
    description: "The namespace in which addresses and relative names are",
    default: "/",
  },
  remap: {
    kind: "object",
    description: "Names that are replaced: `{ chatter: '/base/talk' }`",
    default: {},
  },
  endpoints: {
    kind: "object",
    description: "What contracts do not say, by address: `{ 'arm/pose': { type, name, qos } }`",
    default: {},
  },
  json: {
    kind: "boolean",
    description: "Whether what has no ROS type travels as JSON in `std_msgs/String`",
    default: false,
  },
  definitions: {
    kind: "object",
    description: "Texts of interfaces by their names: `{ 'my_msgs/msg/Pose': 'float64 x' }`",
    default: {},
  },
  folders: {
    kind: "strings",
    description: "Folders with interfaces: `<folder>/<package>/msg/<Name>.msg`",
    default: [],
  },
  amentPrefixPath: {
    kind: "string",
    description: "The installed ROS, for its interfaces; default: `AMENT_PREFIX_PATH`",
  },
  gidBytes: {
    kind: "integer",
    description: "The size of ids in `ros_discovery_info`: 24 for Humble, 16 from Iron on; " +
      "default: as other nodes do, 16 while there are none",
    min: 16,
    max: 24,
  },
  announceMs: {
    kind: "integer",
    description: "How often this node is announced, in milliseconds",
    default: 3000,
    min: 50,
  },
  leaseMs: {
    kind: "integer",
    description: "How long others take it for alive without a word, in milliseconds",
    default: 20_000,
    min: 100,
  },
  discoveryMs: {
    kind: "integer",
    description: "How long the first look for nodes on other machines takes, in milliseconds",
    default: 250,
    min: 0,
    max: 700,
  },
  mtuBytes: {
    kind: "integer",
    description: "The largest datagram to other machines, in bytes",
    default: 1472,
    min: 512,
    max: 65_507,
  },
  maxQueueBytes: {
    kind: "integer",
    description: "How many bytes a speaker keeps for listeners that are behind; then the oldest go",
    default: 64 * 1024 * 1024,
    min: 1024,
  },
  maxMessageBytes: {
    kind: "integer",
    description: "The largest message, in bytes; default: that of the bay",
    min: 1,
  },
};

/** What a node is opened with. */
export interface Settings {
  /** The domain. */
  readonly domain: number;
  /** The interfaces; undefined: all. */
  readonly interfaces: readonly string[] | undefined;
  /** Who is told without multicast. */
  readonly peers: readonly string[];
  /** Whether the group is used. */
  readonly multicast: boolean;
  /** Whether others can only be on this machine. */
  readonly local: boolean;
  /** Where the installed interfaces are. */
  readonly amentPrefixPath: string | undefined;
  /** Whether ROS 2 is told to protect its traffic, and may go on without. */
  readonly plain: boolean;
}

const LOOPBACK = "127.0.0.1";

/**
 * What follows from configuration and environment; the configuration wins.
 *
 * @param config The configuration.
 * @param environment The environment.
 * @throws {PatchbayError} `invalid`: a variable whose value means nothing; `unavailable`: security is
 * to be enforced.
 */
export function settingsOf(
  config: Ros2Config,
  environment: Environment = processEnvironment,
): Settings {
  const security = securityWanted(environment);
  if (security === "enforce") {
    throw new PatchbayError(
      "unavailable",
      "ROS_SECURITY_STRATEGY is Enforce, and this plugin has no DDS Security",
      {
        remedy: "unset ROS_SECURITY_ENABLE for this process, if its traffic may be read and forged",
        retryable: false,
      },
    );
  }
  const { gidBytes } = config;
  if (gidBytes !== undefined && gidBytes !== 16 && gidBytes !== 24) {
    throw new PatchbayError("invalid", `gidBytes is ${gidBytes}`, {
      remedy: "24 for Humble, 16 from Iron on; or omit it, to do as other nodes do",
    });
  }
  const said = discoveryRange(environment);
  if (config.range === undefined && said.wrong !== undefined) {
    throw new PatchbayError("invalid", said.wrong, {
      remedy: "set it to SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT",
    });
  }
  const range = config.range ?? said.range ?? "subnet";
  const { interfaces = range === "localhost" ? [LOOPBACK] : undefined } = config;
  const local = range === "off" || interfaces?.every((each) => each.startsWith("127.")) === true;
  const peers = config.peers ??
    environment("ROS_STATIC_PEERS")?.split(";").map((each) => each.trim()).filter(Boolean) ?? [];
  return {
    domain: config.domain ?? domainOf(environment("ROS_DOMAIN_ID")),
    interfaces,
    // From Iron on, nodes that keep to this machine may use no multicast.
    peers: range === "localhost" && !peers.includes(LOOPBACK) ? [...peers, LOOPBACK] : peers,
    multicast: config.multicast && range !== "off",
    local,
    amentPrefixPath: config.amentPrefixPath ?? environment("AMENT_PREFIX_PATH"),
    plain: security === "permissive",
  };
}

function domainOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const domain = Number(text);
  if (Number.isInteger(domain) && domain >= 0 && domain <= 232) return domain;
  throw new PatchbayError("invalid", `ROS_DOMAIN_ID is ${JSON.stringify(text)}`, {
    remedy: "set it to a whole number from 0 to 232",
  });
}

/**
 * Whether anybody has said that this process is to be on a ROS graph: a plugin that was merely found
 * in a folder must not announce itself to a network of robots.
 */
function isWanted(config: Ros2Config, environment: Environment): boolean {
  const { domain, range, interfaces } = config;
  return domain !== undefined || range !== undefined || interfaces !== undefined ||
    WISHES.some((name) => environment(name) !== undefined);
}

/** Variables that a shell has in which ROS 2 is set up, or meant. */
const WISHES = [
  "ROS_DOMAIN_ID",
  "ROS_LOCALHOST_ONLY",
  "ROS_AUTOMATIC_DISCOVERY_RANGE",
  "ROS_DISTRO",
] as const;

/** Whether a node can be opened here; asks for no permission. */
export function availability(
  config: Ros2Config,
  environment: Environment = processEnvironment,
): Availability {
  const missing = udpUnavailable();
  if (missing !== undefined) return { available: false, ...missing };
  if (!isWanted(config, environment)) {
    return {
      available: false,
      reason: "nobody says which ROS domain to join",
      remedy: "set domain (config: { ros2: { domain: 0 } }) or ROS_DOMAIN_ID",
    };
  }
  let settings: Settings;
  try {
    settings = settingsOf(config, environment);
  } catch (error) {
    const { message, remedy } = PatchbayError.fromThrown(error);
    return { available: false, reason: message, remedy: remedy ?? "see the configuration" };
  }
  const { domain, interfaces, local } = settings;
  if (Deno.permissions.querySync({ name: "net" }).state !== "granted") {
    const hosts = interfaces ?? [];
    const wanted = [...hosts, "0.0.0.0", "239.255.0.1"].map((host) => ({ name: "net", host }));
    const granted = hosts.length > 0 &&
      wanted.every((each) =>
        Deno.permissions.querySync(each as Deno.NetPermissionDescriptor).state === "granted"
      );
    if (!granted) {
      return {
        available: false,
        reason: "it may not use the network",
        remedy: "run with --allow-net",
      };
    }
  }
  if (interfaces === undefined || !local) {
    const { state } = Deno.permissions.querySync({ name: "sys", kind: "networkInterfaces" });
    if (state !== "granted") {
      return {
        available: false,
        reason: "it may not see this machine's network interfaces",
        remedy: "run with --allow-sys=networkInterfaces, or with range localhost",
      };
    }
  }
  return { available: true, detail: `domain ${domain}${local ? ", this machine only" : ""}` };
}

/** The permissions that a configuration needs. */
export function permissionsOf(config: Ros2Config): string[] {
  const flags = ["--unstable-net", "--allow-net", "--allow-env=ROS_*,AMENT_PREFIX_PATH"];
  const local = config.range === "localhost" ||
    config.interfaces?.every((each) => each.startsWith("127.")) === true;
  if (!local) flags.push("--allow-sys=networkInterfaces");
  if (config.folders.length > 0) flags.push(`--allow-read=${config.folders.join(",")}`);
  return flags;
}
