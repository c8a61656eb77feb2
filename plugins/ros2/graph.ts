/**
 * The ROS graph as this node sees it: nodes, topics, services, actions, and who has which endpoint.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { actionNames, type NodeEntry, requestName, rosName, topicName } from "./node/mod.ts";
import { isActionPart, serversOf, typeOf } from "./offers.ts";
import { readPairs, type RosNode } from "./ros_node.ts";
import { type EndpointData, type Qos, VENDOR_ID, VENDORS } from "./rtps/mod.ts";

/** A name with its types. Several types under one name are a mistake of somebody's. */
export interface NamedTypes {
  /** The full name: `/chatter`. */
  readonly name: string;
  /** Its types: `std_msgs/msg/String`. */
  readonly types: readonly string[];
}

/** A topic. */
export interface TopicInfo extends NamedTypes {
  /** How many publishers it has. */
  readonly publishers: number;
  /** How many subscribers. */
  readonly subscribers: number;
}

/** A publisher or subscriber. */
export interface EndpointInfo {
  /** The full name of its node; empty where nobody says. */
  readonly node: string;
  /** Its type. */
  readonly type: string;
  /** `RIHS01_…`, where it says so: from Iron on. */
  readonly typeHash: string | undefined;
  /** Its id, 32 hexadecimal digits. */
  readonly gid: string;
  /** Who made it: `eProsima Fast DDS`, `Patchbay`. */
  readonly vendor: string;
  /** Whether it is this node's own. */
  readonly own: boolean;
  /** Its policies. Depth and history are not told by all implementations. */
  readonly qos: Qos;
}

/** A node. */
export interface NodeInfo {
  /** Its full name: `/arm/driver`. */
  readonly name: string;
  /** Whether it is this one. */
  readonly own: boolean;
  /** What it publishes. */
  readonly publishers: readonly NamedTypes[];
  /** What it subscribes to. */
  readonly subscribers: readonly NamedTypes[];
  /** What it serves. */
  readonly services: readonly NamedTypes[];
  /** What it calls. */
  readonly clients: readonly NamedTypes[];
  /** Which actions it serves. */
  readonly actions: readonly NamedTypes[];
}

/** How long to wait for somebody. */
export interface UntilOptions {
  /** How long, in milliseconds; default 5 s. */
  readonly timeoutMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

/** The graph. What it answers is what is known now; nobody is asked. */
export interface RosGraph {
  /** All nodes, this one first. */
  nodes(): NodeInfo[];
  /** All topics but those of actions. */
  topics(): TopicInfo[];
  /** All services but those of actions. */
  services(): NamedTypes[];
  /** All actions. */
  actions(): NamedTypes[];
  /**
   * Who publishes a topic.
   *
   * @param topic Its name, full or relative.
   */
  publishers(topic: string): EndpointInfo[];
  /**
   * Who subscribes to a topic.
   *
   * @param topic Its name, full or relative.
   */
  subscribers(topic: string): EndpointInfo[];
  /** Names that more than one node has. */
  readonly duplicates: readonly string[];
  /**
   * Calls when an endpoint comes or goes.
   *
   * @param changed What to call.
   * @returns Ends it.
   */
  watch(changed: () => void): () => void;
  /**
   * Resolves when a service or an action of a name is served.
   *
   * @param name Its name, full or relative.
   * @param options How long to wait.
   * @throws {PatchbayError} `deadline_exceeded`; or the signal's reason.
   */
  untilServed(name: string, options?: UntilOptions): Promise<void>;
  /**
   * Resolves when somebody publishes a topic.
   *
   * @param name Its name, full or relative.
   * @param options How long to wait.
   * @throws {PatchbayError} `deadline_exceeded`; or the signal's reason.
   */
  untilPublished(name: string, options?: UntilOptions): Promise<void>;
}

const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : 1;
const SEND_GOAL = "/_action/send_goal";

function collect(endpoints: Iterable<readonly [name: string, type: string]>): NamedTypes[] {
  const found = new Map<string, Set<string>>();
  for (const [name, type] of endpoints) {
    const types = found.get(name);
    if (types === undefined) found.set(name, new Set([type]));
    else types.add(type);
  }
  return Array.from(found, ([name, types]) => ({ name, types: [...types].sort() })).sort(byName);
}

/** The view of one node. */
export class GraphView implements RosGraph {
  readonly #node: RosNode;
  readonly #own: () => readonly EndpointData[];

  /**
   * @param node Whose view.
   */
  constructor(node: RosNode) {
    this.#node = node;
    this.#own = () => node.ownEndpoints;
  }

  get #all(): EndpointData[] {
    return [...this.#own(), ...this.#node.remoteEndpoints];
  }

  nodes(): NodeInfo[] {
    const own = this.#info(this.#node.entry, true);
    const others = Array.from(this.#node.otherNodes.values()).flat();
    return [own, ...others.map((entry) => this.#info(entry, false)).sort(byName)];
  }

  #info({ namespace, name, readers, writers }: NodeEntry, own: boolean): NodeInfo {
    const ids = new Set([...readers, ...writers]);
    const endpoints = this.#all.filter(({ guid }) => ids.has(guid));
    const of = (kind: "writer" | "reader", what: "topic" | "request") =>
      collect(endpoints.flatMap((each) => {
        const ros = rosName(each.topic);
        if (each.kind !== kind || ros?.kind !== what || isActionPart(ros.name)) return [];
        return [[ros.name, typeOf(each.type)] as const];
      }));
    return {
      name: `${namespace === "/" ? "" : namespace}/${name}`,
      own,
      publishers: of("writer", "topic"),
      subscribers: of("reader", "topic"),
      services: of("reader", "request"),
      clients: of("writer", "request"),
      actions: collect(actionsOf(endpoints)),
    };
  }

  topics(): TopicInfo[] {
    const all = this.#all.flatMap((endpoint) => {
      const ros = rosName(endpoint.topic);
      return ros?.kind === "topic" && !isActionPart(ros.name) ? [{ ...ros, endpoint }] : [];
    });
    return collect(all.map(({ name, endpoint }) => [name, typeOf(endpoint.type)] as const))
      .map((topic) => {
        const count = (kind: string) =>
          all.filter(({ name, endpoint }) => name === topic.name && endpoint.kind === kind).length;
        return { ...topic, publishers: count("writer"), subscribers: count("reader") };
      });
  }

  services(): NamedTypes[] {
    return collect(this.#all.flatMap(({ topic, type, kind }) => {
      const ros = rosName(topic);
      if (ros?.kind !== "request" || kind !== "reader" || isActionPart(ros.name)) return [];
      return [[ros.name, typeOf(type)] as const];
    }));
  }

  actions(): NamedTypes[] {
    return collect(actionsOf(this.#all));
  }

  publishers(topic: string): EndpointInfo[] {
    return this.#ends(topic, "writer");
  }

  subscribers(topic: string): EndpointInfo[] {
    return this.#ends(topic, "reader");
  }

  #ends(topic: string, kind: "writer" | "reader"): EndpointInfo[] {
    const wanted = topicName(this.#node.naming.resolve(topic));
    const own = new Set(this.#own());
    return this.#all.filter((each) => each.topic === wanted && each.kind === kind).map((each) => ({
      node: own.has(each) ? this.#node.fullName : this.#node.nodeOf(each.guid) ?? "",
      type: typeOf(each.type),
      typeHash: readPairs(each.userData).get("typehash"),
      gid: each.guid,
      vendor: own.has(each) ? VENDORS[VENDOR_ID] : vendorOf(this.#node, each.guid),
      own: own.has(each),
      qos: each.qos,
    }));
  }

  get duplicates(): readonly string[] {
    return this.#node.duplicates;
  }

  watch(changed: () => void): () => void {
    return this.#node.watch(changed);
  }

  async untilServed(name: string, options: UntilOptions = {}): Promise<void> {
    const full = this.#node.naming.resolve(name);
    const own = new Set([requestName(full), requestName(actionNames(full).sendGoal)]);
    await this.#until(
      `${full} is served`,
      options,
      () =>
        serversOf(this.#node, "callable", full).length > 0 ||
        serversOf(this.#node, "job", full).length > 0 ||
        this.#own().some(({ topic, kind }) => kind === "reader" && own.has(topic)),
    );
  }

  async untilPublished(name: string, options: UntilOptions = {}): Promise<void> {
    const topic = topicName(this.#node.naming.resolve(name));
    await this.#until(`${topic.slice(2)} is published`, options, () => this.#has(topic, "writer"));
  }

  #has(topic: string, kind: "writer" | "reader"): boolean {
    return this.#all.some((each) => each.topic === topic && each.kind === kind);
  }

  async #until(
    what: string,
    { timeoutMs = 5000, signal }: UntilOptions,
    holds: () => boolean,
  ): Promise<void> {
    signal?.throwIfAborted();
    if (holds()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = this.watch(() => holds() && resolve());
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const timer = timeoutMs === Infinity ? undefined : setTimeout(() => {
      reject(
        new PatchbayError("deadline_exceeded", `not within ${timeoutMs} ms: ${what}`, {
          transport: "ros2",
          remedy:
            "start the node, in the same domain; `patchbay list --via ros2` shows who is there",
        }),
      );
    }, timeoutMs);
    try {
      await promise;
    } finally {
      end();
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

function vendorOf(node: RosNode, guid: string): string {
  const vendor = node.participant(guid.slice(0, 24))?.vendor;
  if (vendor === undefined) return "unknown";
  return VENDORS[vendor] ?? `0x${vendor.toString(16).padStart(4, "0")}`;
}

function* actionsOf(endpoints: Iterable<EndpointData>): Generator<readonly [string, string]> {
  for (const { topic, type, kind } of endpoints) {
    const ros = rosName(topic);
    if (ros?.kind !== "request" || kind !== "reader" || !ros.name.endsWith(SEND_GOAL)) continue;
    yield [ros.name.slice(0, -SEND_GOAL.length), typeOf(type)];
  }
}
