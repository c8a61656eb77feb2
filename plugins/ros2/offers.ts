/**
 * What bays tell each other of their endpoints in user data, who may serve an address, and what is
 * offered on the wire by anybody.
 *
 * @module
 */

import {
  type Bridged,
  matches,
  type Offer,
  PatchbayError,
  type Pattern,
  type Watching,
} from "@patchbay/core";
import { actionNames, replyName, requestName, rosName, rosType, topicName } from "./node/mod.ts";
import { readPairs, type RosNode } from "./ros_node.ts";
import type { EndpointData } from "./rtps/mod.ts";

/**
 * What a DDS type is to ROS, without what says which part of a service or action it is.
 *
 * @param ddsType The type on the wire.
 */
export function typeOf(ddsType: string): string {
  return (rosType(ddsType) ?? ddsType)
    .replace(/(?:_SendGoal|_GetResult)?_(?:Request|Response)$/, "")
    .replace(/_FeedbackMessage$/, "");
}

/** What is told of an endpoint. */
interface Told {
  readonly shared?: boolean;
  readonly retain?: boolean;
  readonly bridged?: Bridged;
}

/**
 * What other bays are told of an endpoint, as `key=value;` pairs.
 *
 * @param pattern Its pattern.
 * @param endpoint The endpoint.
 */
export function noteOf(pattern: Pattern, { shared, retain, bridged }: Told): string {
  let note = `pattern=${pattern};`;
  if (shared) note += "sharing=shared;";
  if (retain) note += "retain=1;";
  if (bridged !== undefined) {
    note += `path=${bridged.path.join(",")};origins=${bridged.origins.join(",")};`;
  }
  return note;
}

function bridgedOf(pairs: ReadonlyMap<string, string>): Bridged | undefined {
  const path = pairs.get("path")?.split(",").filter(Boolean).slice(0, 8);
  if (path === undefined) return undefined;
  return { path, origins: pairs.get("origins")?.split(",").filter(Boolean).slice(0, 16) ?? [] };
}

/** Where a server of a name takes requests: for an action, goals. */
function doorOf(pattern: "callable" | "job", name: string): string {
  return requestName(pattern === "job" ? actionNames(name).sendGoal : name);
}

/** The services that a name needs to be whole, and the topics. */
function partsOf(pattern: "callable" | "job", name: string): [string[], string[]] {
  if (pattern === "callable") return [[name], []];
  const { sendGoal, getResult, cancelGoal, feedback } = actionNames(name);
  return [[sendGoal, getResult, cancelGoal], [topicName(feedback)]];
}

/**
 * The servers of others that can be asked: whose ends for requests and replies are both known, and
 * of an action that for feedback: what comes from who is not known yet would be passed over.
 *
 * @param node Whose view.
 * @param pattern The pattern.
 * @param name The full ROS name.
 */
export function serversOf(
  node: RosNode,
  pattern: "callable" | "job",
  name: string,
): EndpointData[] {
  const has = (topic: string, kind: "reader" | "writer", prefix: string) =>
    Array.from(node.remote(topic)).some((each) =>
      each.kind === kind && each.guid.startsWith(prefix)
    );
  const [services, topics] = partsOf(pattern, name);
  return claimantsOf(node, pattern, name).filter(({ guid }) => {
    const prefix = guid.slice(0, 24);
    return services.every((part) =>
      has(requestName(part), "reader", prefix) && has(replyName(part), "writer", prefix)
    ) && topics.every((topic) => has(topic, "writer", prefix));
  });
}

/** Everybody else who takes requests under a name, whether they can be asked yet or not. */
function claimantsOf(
  node: RosNode,
  pattern: "callable" | "job",
  name: string,
): EndpointData[] {
  return Array.from(node.remote(doorOf(pattern, name))).filter(({ kind }) => kind === "reader");
}

/** Something on the wire that can be taken off. */
interface Closeable {
  /** The reader of its requests. */
  readonly guid: string;
  close(): void;
}

/** What this bay serves. */
interface Own {
  readonly door: string;
  readonly address: string;
  readonly shared: boolean;
}

/** Who serves which name. */
export class Claims {
  readonly #node: RosNode;
  /** By the readers of their requests. */
  readonly #own = new Map<string, Own>();

  constructor(node: RosNode) {
    this.#node = node;
  }

  /**
   * Serves a name, unless somebody else does and not both are shared.
   *
   * @param pattern The pattern.
   * @param name The full ROS name.
   * @param endpoint What is served.
   * @param make Puts it on the wire.
   * @throws {PatchbayError} `unavailable`.
   */
  async claim<T extends Closeable>(
    pattern: "callable" | "job",
    name: string,
    endpoint: { readonly address: string; readonly shared: boolean },
    make: () => T,
  ): Promise<T> {
    const before = claimantsOf(this.#node, pattern, name);
    this.#check(before, name, endpoint);
    const door = doorOf(pattern, name);
    this.#checkOwn(door, name, endpoint);
    const made = make();
    this.#own.set(made.guid, { door, address: endpoint.address, shared: endpoint.shared });
    await this.#node.heard();
    // Two that came at once have seen each other by now: the lower id stays.
    const known = new Set(before.map(({ guid }) => guid));
    const later = claimantsOf(this.#node, pattern, name).filter(({ guid }) =>
      !known.has(guid) && this.#node.isBay(guid) && guid < made.guid
    );
    try {
      this.#check(later, name, endpoint);
    } catch (error) {
      made.close();
      // Who is told of it finds nobody calling this one any more.
      await this.#node.heard();
      throw error;
    }
    return made;
  }

  /** Two addresses of this bay can be given one name. */
  #checkOwn(
    door: string,
    name: string,
    { address, shared }: { readonly address: string; readonly shared: boolean },
  ): void {
    const open = new Set(this.#node.ownEndpoints.map(({ guid }) => guid));
    for (const [guid, own] of this.#own) {
      if (!open.has(guid)) this.#own.delete(guid);
      else if (own.door === door && own.address !== address && !(own.shared && shared)) {
        throw new PatchbayError("unavailable", `${address} is ${name}, as ${own.address} is`, {
          address,
          retryable: false,
          details: { name, by: own.address },
          remedy: 'give each a name of its own, or serve both with sharing: "shared"',
        });
      }
    }
  }

  #check(
    servers: readonly EndpointData[],
    name: string,
    { address, shared }: { readonly address: string; readonly shared: boolean },
  ): void {
    for (const { guid, userData } of servers) {
      const theirs = this.#node.isBay(guid)
        ? readPairs(userData).get("sharing") === "shared"
        // ROS 2 knows no exclusive servers.
        : true;
      if (shared && theirs) continue;
      const { module } = this.#node.otherSide(guid);
      throw new PatchbayError("unavailable", `${address} is already served by ${module}`, {
        address,
        retryable: false,
        details: { name, by: module },
        remedy: 'close that one, or serve both with sharing: "shared"',
      });
    }
  }
}

/** Names that belong to an action: no services or topics by themselves. */
const PART = /\/_action\/(send_goal|get_result|cancel_goal|feedback|status)$/;

/**
 * Whether a name belongs to an action.
 *
 * @param name The full ROS name.
 */
export function isActionPart(name: string): boolean {
  return PART.test(name);
}

/**
 * What others offer at the addresses of a pattern.
 *
 * @param node Whose view.
 * @param match The addresses.
 */
export function offersOf(node: RosNode, match: string): Offer[] {
  const offers: Offer[] = [];
  for (const endpoint of node.remoteEndpoints) {
    const offer = offerOf(node, endpoint);
    if (offer !== undefined && matches(match, offer.address)) offers.push(offer);
  }
  return offers;
}

function offerOf(node: RosNode, endpoint: EndpointData): Offer | undefined {
  const { topic, kind, guid, userData, qos } = endpoint;
  const ros = rosName(topic);
  if (ros === undefined) return undefined;
  let { name } = ros;
  let pattern: Pattern;
  if (ros.kind === "topic" && kind === "writer" && !PART.test(name)) pattern = "speaker";
  else if (ros.kind === "request" && kind === "reader") {
    pattern = name.endsWith("/_action/send_goal") ? "job" : "callable";
    if (pattern === "job") name = name.slice(0, -"/_action/send_goal".length);
    else if (PART.test(name)) return undefined;
  } else return undefined;
  const address = node.naming.addressOf(name);
  if (address === undefined) return undefined;
  const pairs = readPairs(userData);
  const bay = node.otherSide(guid).bay;
  return {
    pattern,
    address,
    shared: bay === undefined || pairs.get("sharing") === "shared",
    retain: bay === undefined ? qos.durability !== "volatile" : pairs.get("retain") === "1",
    by: bay ?? guid.slice(0, 24),
    bridged: bridgedOf(pairs),
    detail: `${typeOf(endpoint.type)} by ${node.nodeOf(guid) ?? node.otherSide(guid).module}`,
  };
}

/**
 * As {@link Transport.watch}.
 *
 * @param node Whose view.
 * @param match The addresses.
 * @param changed Called when something has changed.
 */
export async function watchOffers(
  node: RosNode,
  match: string,
  changed: () => void,
): Promise<Watching> {
  await node.met();
  const end = node.watch((endpoint) => {
    const offer = offerOf(node, endpoint);
    if (offer !== undefined && matches(match, offer.address)) changed();
  });
  return {
    get offers() {
      return offersOf(node, match);
    },
    close: end,
  };
}

/** Whether somebody else speaks on a topic. */
export function isSpoken(node: RosNode, name: string): boolean {
  for (const { kind } of node.remote(topicName(name))) if (kind === "writer") return true;
  return false;
}
