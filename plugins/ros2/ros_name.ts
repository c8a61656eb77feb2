/**
 * What endpoints are called in ROS, of which type they are, and with which policies: from the
 * contract, the configuration, or the address alone.
 *
 * @module
 */

import { nearest, PatchbayError } from "@patchbay/core";
import { QOS_PROFILES, type QosProfile, resolveName } from "./node/mod.ts";
import { DEFAULT_QOS, type Qos } from "./rtps/mod.ts";
import { fullName } from "./types/mod.ts";

/** Policies by hand, on top of a profile. */
export interface QosPolicies extends Partial<Qos> {
  /** The profile that they change; default: that of the pattern. */
  readonly profile?: QosProfile;
}

/** What an endpoint is in ROS: `native: { ros2: { … } }` of a contract, or by address in the configuration. */
export interface RosName {
  /** Its type: `std_msgs/msg/String`, `std_srvs/srv/SetBool`, `nav2_msgs/action/Spin`; or for short. */
  readonly type?: string;
  /** Its name: `/chatter`, `chatter`, `~/state`. Default: the address. */
  readonly name?: string;
  /** Its policies: the name of a profile, or policies by hand. */
  readonly qos?: QosProfile | QosPolicies;
}

const KEYS: readonly string[] = ["type", "name", "qos"];
const POLICIES: readonly string[] = ["profile", ...Object.keys(DEFAULT_QOS)];
const WORDS: Readonly<Record<string, readonly string[]>> = {
  profile: Object.keys(QOS_PROFILES),
  reliability: ["best_effort", "reliable"],
  durability: ["volatile", "transient_local", "transient", "persistent"],
  history: ["keep_last", "keep_all"],
  liveliness: ["automatic", "manual_by_participant", "manual_by_topic"],
  ownership: ["shared", "exclusive"],
  destinationOrder: ["by_reception", "by_source"],
};

function refuse(address: string, why: string, remedy: string): never {
  throw new PatchbayError("invalid", `${address}: native.ros2 ${why}`, {
    address,
    transport: "ros2",
    remedy,
  });
}

/**
 * Checks what a contract or the configuration says.
 *
 * @param address Whom it is about.
 * @param given What is said.
 * @throws {PatchbayError} `invalid`.
 */
export function readRosName(address: string, given: unknown): RosName {
  if (given === undefined) return {};
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    return refuse(address, "is no object", 'write { type: "std_msgs/msg/String" }');
  }
  for (const key of Object.keys(given)) {
    if (KEYS.includes(key)) continue;
    refuse(address, `has an unknown key ${key}`, `known are ${KEYS.join(", ")}`);
  }
  const { type, name, qos } = given as Record<string, unknown>;
  for (const [key, value] of [["type", type], ["name", name]] as const) {
    if (value === undefined || typeof value === "string") continue;
    refuse(address, `has a ${key} that is no text`, `write { ${key}: "…" }`);
  }
  if (qos !== undefined) checkQos(address, qos);
  return given as RosName;
}

function checkQos(address: string, qos: unknown): void {
  const given = typeof qos === "string" ? { profile: qos } : qos;
  if (typeof given !== "object" || given === null) {
    return refuse(address, "has a qos that is neither a name nor an object", "see the README");
  }
  for (const [key, value] of Object.entries(given)) {
    if (!POLICIES.includes(key)) {
      const near = nearest(key, POLICIES);
      const remedy = near === undefined
        ? `known are ${POLICIES.join(", ")}`
        : `did you mean ${near}?`;
      refuse(address, `has an unknown policy ${key}`, remedy);
    }
    const words = WORDS[key];
    if (words !== undefined && !words.includes(value as string)) {
      refuse(
        address,
        `has the ${key} ${JSON.stringify(value)}`,
        `it is one of ${words.join(", ")}`,
      );
    }
  }
}

/** The policies that a name asks for. */
export function qosOf({ qos }: RosName, profile: QosProfile): Partial<Qos> {
  if (qos === undefined) return QOS_PROFILES[profile];
  if (typeof qos === "string") return QOS_PROFILES[qos];
  const { profile: base = profile, ...policies } = qos;
  return { ...QOS_PROFILES[base], ...policies };
}

/** How addresses and ROS names belong together in one node. */
export class Naming {
  readonly #remap = new Map<string, string>();
  readonly #endpoints: Readonly<Record<string, RosName>>;
  /** The node's name. */
  readonly node: string;
  /** The node's namespace. */
  readonly namespace: string;

  /**
   * Checks the names.
   *
   * @param node The node's name.
   * @param namespace Its namespace.
   * @param remap Names that are replaced.
   * @param endpoints What the configuration says by address.
   * @throws {PatchbayError} `invalid`.
   */
  constructor(
    node: string,
    namespace: string,
    remap: Readonly<Record<string, string>>,
    endpoints: Readonly<Record<string, RosName>>,
  ) {
    if (!/^[A-Za-z_]\w*$/.test(node) || node.includes("__")) {
      throw new PatchbayError("invalid", `${JSON.stringify(node)} is no name of a node`, {
        remedy: "use letters, digits and single underscores, no digit in front",
      });
    }
    this.node = node;
    this.namespace = namespace === "/" || namespace === "" ? "/" : resolveName(
      namespace.startsWith("/") ? namespace : `/${namespace}`,
    );
    this.#endpoints = Object.fromEntries(
      Object.entries(endpoints).map(([address, name]) => [address, readRosName(address, name)]),
    );
    for (const [from, to] of Object.entries(remap)) {
      if (typeof to !== "string") {
        throw new PatchbayError("invalid", `remap.${from} is no text`);
      }
      this.#remap.set(this.#full(from), this.#full(to));
    }
  }

  #full(name: string): string {
    return resolveName(name, this.namespace, this.node);
  }

  /**
   * The full name of something, remapped.
   *
   * @param name As it is written.
   */
  resolve(name: string): string {
    const full = this.#full(name);
    return this.#remap.get(full) ?? full;
  }

  /**
   * What is said of an address: by the contract or call, else by the configuration.
   *
   * @param address The address.
   * @param native What the contract or call says.
   */
  said(address: string, native: unknown): RosName {
    const here = this.#endpoints[address];
    if (native === undefined) return here ?? {};
    return { ...here, ...readRosName(address, native) };
  }

  /**
   * The full name of an address.
   *
   * @param address The address.
   * @param said What is said of it.
   */
  nameOf(address: string, said: RosName): string {
    return this.resolve(said.name ?? addressToName(address));
  }

  /**
   * The address under which a ROS name is found by patterns; `undefined` if it has none.
   *
   * @param full The full name.
   */
  addressOf(full: string): string | undefined {
    for (const [address, said] of Object.entries(this.#endpoints)) {
      if (this.nameOf(address, said) === full) return address;
    }
    for (const [from, to] of this.#remap) {
      if (to === full) full = from;
    }
    const base = this.namespace === "/" ? "/" : `${this.namespace}/`;
    if (!full.startsWith(base)) return undefined;
    return nameToAddress(full.slice(base.length));
  }

  /** Whether two types are the same, written in full or for short. */
  static sameType(a: string, b: string, kind: "msg" | "srv" | "action"): boolean {
    return fullName(a, kind) === fullName(b, kind);
  }
}

/**
 * An address as a ROS name. Addresses have no upper case, ROS names neither `-` nor `.`: `-` is `X`,
 * `.l` is `L`, and a segment that begins with a digit gets `N` in front. Two addresses are never one
 * name.
 *
 * @param address The address.
 * @throws {PatchbayError} `invalid`: it has no such name.
 */
export function addressToName(address: string): string {
  return address.split("/").map((segment) => {
    const text = segment.replace(/^(?=\d)/, "N").replace(/-|\.([a-wyz])/g, (_, letter) => {
      return letter === undefined ? "X" : letter.toUpperCase();
    });
    if (!text.includes(".") && !text.includes("__")) return text;
    throw new PatchbayError("invalid", `${address} cannot be a ROS name: ${segment}`, {
      address,
      transport: "ros2",
      remedy: "give it one: native: { ros2: { name: '/…' } }",
    });
  }).join("/");
}

/**
 * The address that a ROS name stands for; `undefined` if there is none, as for `/Camera`.
 *
 * @param name The name, without a slash in front.
 */
export function nameToAddress(name: string): string | undefined {
  const address = name.split("/").map((segment) =>
    segment.replace(/^N(?=\d)/, "").replaceAll("X", "-").replace(/[A-Z]/g, (letter) => {
      return `.${letter.toLowerCase()}`;
    })
  ).join("/");
  return /^[a-z0-9_][a-z0-9_.-]*(\/[a-z0-9_][a-z0-9_.-]*)*$/.test(address) ? address : undefined;
}
