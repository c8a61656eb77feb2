/**
 * One ROS 2 node on the wire: its participant, who else is there, what belongs to which node.
 *
 * @module
 */

import { PatchbayError, type Pattern, type Peer, type TransportContext } from "@patchbay/core";
import type { Ros2Config, Settings } from "./config.ts";
import { Meeting } from "./meeting.ts";
import { Misfits } from "./misfits.ts";
import { DiscoveryInfo, type GidBytes, type NodeEntry } from "./node/mod.ts";
import { Naming } from "./ros_name.ts";
import {
  type EndpointData,
  type Mismatch,
  Participant,
  type ParticipantData,
  type Reader,
  type ReaderOptions,
  VENDOR_ID,
  type Writer,
  type WriterOptions,
} from "./rtps/mod.ts";
import { Types } from "./types/mod.ts";

/** Who is behind an endpoint. */
export interface OtherSide extends Peer {
  /** The id of its bay; `undefined` where it is none. */
  readonly bay: string | undefined;
}

/** Told when somebody's endpoint comes or goes. */
export type EndpointWatch = (endpoint: EndpointData, here: boolean) => void;

/**
 * How long who is known may take to hear of something, in milliseconds: longer than a busy machine
 * makes anybody wait. Who lets this pass is not waited for again before it answers.
 */
const HEARING_MS = 3000;
/** The DDS topic on which participants tell of their nodes. */
const NODES_TOPIC = "ros_discovery_info";

const NONE: readonly EndpointData[] = [];

/** `key=value;` pairs, as ROS 2 writes them into user data. */
export function readPairs(bytes: Uint8Array): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of new TextDecoder().decode(bytes.subarray(0, 8192)).split(";")) {
    const at = pair.indexOf("=");
    if (at > 0) pairs.set(pair.slice(0, at), pair.slice(at + 1));
  }
  return pairs;
}

/** A name that ROS allows for a node, made of a module's. */
export function nodeNameOf(module: string): string {
  const name = module.replace(/\W+/g, "_").replace(/__+/g, "_");
  return /^\d/.test(name) ? `n_${name}` : name;
}

/** The node of one bay. */
export class RosNode {
  readonly #context: TransportContext;
  readonly #config: Ros2Config;
  readonly #own = new Map<string, EndpointData>();
  readonly #byTopic = new Map<string, Map<string, EndpointData>>();
  readonly #others = new Map<string, OtherSide>();
  readonly #watches = new Set<EndpointWatch>();
  readonly #lostWatches = new Set<(prefix: string) => void>();
  readonly #misfits: Misfits;
  #participant!: Participant;
  #info!: DiscoveryInfo;
  #told = false;
  #closed = false;
  #meeting!: Meeting;
  /** How addresses and names belong together. */
  readonly naming: Naming;
  /** The interfaces that are known. */
  readonly types: Types;

  private constructor(context: TransportContext, config: Ros2Config, settings: Settings) {
    this.#context = context;
    this.#config = config;
    this.#misfits = new Misfits(context, (error) => this.report(error));
    const node = config.node ?? nodeNameOf(context.identity.instance);
    this.naming = new Naming(node, config.namespace, config.remap, config.endpoints);
    this.types = new Types({
      definitions: config.definitions,
      folders: config.folders,
      amentPrefixPath: settings.amentPrefixPath,
    });
  }

  /**
   * Joins the domain.
   *
   * @param context What core gave the plugin.
   * @param config The configuration.
   * @param settings What follows from it.
   * @throws {PatchbayError} `invalid`, `unavailable`.
   */
  static async open(
    context: TransportContext,
    config: Ros2Config,
    settings: Settings,
  ): Promise<RosNode> {
    const node = new RosNode(context, config, settings);
    const { id, module } = context.identity;
    const pairs = `enclave=/;patchbay=${id};module=${module};`;
    node.#participant = await Participant.open({
      domain: settings.domain,
      name: node.fullName,
      userData: new TextEncoder().encode(pairs),
      interfaces: settings.interfaces,
      multicast: settings.multicast,
      peers: settings.peers,
      announceMs: config.announceMs,
      leaseMs: config.leaseMs,
      mtuBytes: config.mtuBytes,
      // Base64 takes a third more, and what goes round it a little.
      maxSampleBytes: Math.ceil((config.maxMessageBytes ?? context.maxMessageBytes) * 1.34) +
        65_536,
      matchOwn: false,
      wheel: context.timers,
      onParticipant: (participant) => node.#met(participant),
      onParticipantLost: (participant) => node.#lost(participant),
      onEndpoint: (endpoint) => node.#endpoint(endpoint, true),
      onEndpointGone: (endpoint) => node.#endpoint(endpoint, false),
      onReport: (error) => node.report(error),
    });
    node.#info = new DiscoveryInfo(node.#participant, {
      gidBytes: config.gidBytes as GidBytes | undefined,
      onNodes: () => {
        node.#misfits.lookForDuplicates(node.duplicates);
        node.#meeting.introduced();
      },
      onReport: (error) => node.report(error),
    });
    node.#meeting = new Meeting({
      participant: node.#participant,
      discoveryMs: settings.local ? 0 : config.discoveryMs,
      areIntroduced: () =>
        [...node.remote(NODES_TOPIC)].every(({ kind, guid }) =>
          kind === "reader" || node.#info.remote.has(guid.slice(0, 24))
        ),
    });
    node.#tellNodes();
    void node.met();
    return node;
  }

  /** The node's name with its namespace. */
  get fullName(): string {
    const { namespace, node } = this.naming;
    return `${namespace === "/" ? "" : namespace}/${node}`;
  }

  /** The participant, for what this class has no word for. */
  get raw(): Participant {
    return this.#participant;
  }

  /** The nodes of others, by their participants' prefixes. */
  get otherNodes(): ReadonlyMap<string, readonly NodeEntry[]> {
    return this.#info.remote;
  }

  /** What this node tells of itself. */
  get entry(): NodeEntry {
    const { namespace, node: name } = this.naming;
    const of = (kind: string) =>
      this.ownEndpoints.filter((each) => each.kind === kind).map(({ guid }) => guid);
    return { namespace, name, readers: of("reader"), writers: of("writer") };
  }

  /** This node's own endpoints. */
  get ownEndpoints(): EndpointData[] {
    return [...this.#own.values()];
  }

  /** Names that more than one node has. */
  get duplicates(): string[] {
    return this.#info.duplicates;
  }

  /** The largest message, in bytes. */
  get maxBytes(): number {
    return this.#config.maxMessageBytes ?? this.#context.maxMessageBytes;
  }

  /** Reports what nobody awaits. */
  report(error: unknown): void {
    if (this.#closed) return;
    this.#context.report(PatchbayError.fromThrown(error).with({ transport: this.#context.name }));
  }

  /** Resolves when those who were there when the node was opened are known, or have had their time. */
  met(): Promise<void> {
    return this.#meeting.met();
  }

  /** Resolves when everybody who is known has heard of what was made, or has had its time. */
  async heard(): Promise<void> {
    await this.met();
    await this.#participant.untilAcquainted(HEARING_MS);
  }

  /** The endpoints of others on a DDS topic. */
  remote(topic: string): Iterable<EndpointData> {
    return this.#byTopic.get(topic)?.values() ?? NONE;
  }

  /** The DDS topics on which others have endpoints. */
  get topics(): Iterable<string> {
    return this.#byTopic.keys();
  }

  /** All endpoints of others. */
  get remoteEndpoints(): EndpointData[] {
    return Array.from(this.#byTopic.values(), (each) => [...each.values()]).flat();
  }

  /** Watches endpoints come and go; answers with what ends that. */
  watch(watch: EndpointWatch): () => void {
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  /** Watches participants go; answers with what ends that. */
  watchLost(watch: (prefix: string) => void): () => void {
    this.#lostWatches.add(watch);
    return () => void this.#lostWatches.delete(watch);
  }

  /** Who is behind an endpoint. */
  otherSide(guid: string): OtherSide {
    const prefix = guid.slice(0, 24);
    const bay = this.#others.get(prefix);
    if (bay !== undefined) return bay;
    const module = this.nodeOf(guid) ?? prefix;
    return { module, transport: this.#context.name, local: this.#isHere(prefix), bay: undefined };
  }

  /** The full name of the node that an endpoint belongs to, if anybody says. */
  nodeOf(guid: string): string | undefined {
    const nodes = this.#info.remote.get(guid.slice(0, 24)) ?? [];
    const node = nodes.find((each) => each.readers.includes(guid) || each.writers.includes(guid)) ??
      (nodes.length === 1 ? nodes[0] : undefined);
    if (node === undefined) return undefined;
    return `${node.namespace === "/" ? "" : node.namespace}/${node.name}`;
  }

  /** Whether an endpoint is another bay's, which understands what goes along with messages. */
  isBay(guid: string): boolean {
    return this.#others.has(guid.slice(0, 24));
  }

  #isHere(prefix: string): boolean {
    const addresses = this.#participant.participant(prefix)?.unicast ?? [];
    const own = this.#participant.data.unicast;
    return addresses.some(({ hostname }) =>
      hostname.startsWith("127.") || own.some((each) => each.hostname === hostname)
    );
  }

  /** The vendor of an endpoint's participant, and everything else that is known of it. */
  participant(prefix: string): ParticipantData | undefined {
    return this.#participant.participant(prefix);
  }

  /**
   * Makes a writer that belongs to the node.
   *
   * @param options As of a participant.
   */
  createWriter(options: WriterOptions): Writer {
    const writer = this.#participant.createWriter({
      maxBytes: this.#config.maxQueueBytes,
      ...options,
      onClosed: () => this.#disown(writer.data.guid),
    });
    this.#adopt(writer.data);
    return writer;
  }

  /**
   * Makes a reader that belongs to the node.
   *
   * @param options As of a participant.
   */
  createReader(options: ReaderOptions): Reader {
    const reader: Reader = this.#participant.createReader({
      ...options,
      onClosed: () => this.#disown(reader.data.guid),
    });
    this.#adopt(reader.data);
    return reader;
  }

  #adopt(endpoint: EndpointData): void {
    this.#own.set(endpoint.guid, endpoint);
    this.#tellNodes();
  }

  #disown(guid: string): void {
    this.#own.delete(guid);
    this.#tellNodes();
  }

  /** Once for all that is made in one turn. */
  #tellNodes(): void {
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      if (!this.#closed) this.#info.setNodes([this.entry]);
    });
  }

  #met({ prefix, vendor, userData }: ParticipantData): void {
    const pairs = readPairs(userData);
    const bay = pairs.get("patchbay");
    if (vendor !== VENDOR_ID || bay === undefined) return;
    this.#others.set(prefix, {
      module: pairs.get("module") ?? prefix,
      transport: this.#context.name,
      local: this.#isHere(prefix),
      bay,
    });
    this.#count();
  }

  #lost({ prefix }: ParticipantData): void {
    this.#others.delete(prefix);
    this.#count();
    for (const watch of [...this.#lostWatches]) watch(prefix);
  }

  #count(): void {
    if (!this.#closed) this.#context.statistics.connections = this.#participant.participants.length;
  }

  #endpoint(endpoint: EndpointData, here: boolean): void {
    const { topic, guid } = endpoint;
    let known = this.#byTopic.get(topic);
    if (here) {
      if (known === undefined) this.#byTopic.set(topic, known = new Map());
      known.set(guid, endpoint);
    } else {
      known?.delete(guid);
      if (known?.size === 0) this.#byTopic.delete(topic);
    }
    for (const watch of [...this.#watches]) {
      try {
        watch(endpoint, here);
      } catch (error) {
        this.report(error);
      }
    }
  }

  /** As {@link Misfits.mismatched}. */
  mismatched(
    address: string,
    pattern: Pattern,
    own: "writer" | "reader",
    other: EndpointData,
    policies: readonly Mismatch[],
  ): void {
    const { module } = this.otherSide(other.guid);
    this.#misfits.mismatched(address, pattern, own, other, module, policies);
  }

  /** Leaves the domain. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#meeting.close();
    this.#info.close();
    await this.#participant.close();
  }
}
