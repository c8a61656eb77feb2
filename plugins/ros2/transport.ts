/**
 * The ros2 transport: puts together callers, servers, shouts, listeners and jobs on one node.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallPort,
  type Finding,
  type Health,
  type JobEndpoint,
  type JobPort,
  type ListenerEndpoint,
  type NativeNames,
  PatchbayError,
  type Pattern,
  type Registration,
  type SpeakerEndpoint,
  type SpeakerPort,
  type Transport,
  type TransportContext,
  type Watching,
} from "@patchbay/core";
import { Callers } from "./callers.ts";
import { type Ros2Config, type Settings } from "./config.ts";
import { Doorman } from "./doorman.ts";
import { Forms, NO_TYPE, NO_TYPE_REMEDY } from "./forms.ts";
import { GraphView, type RosGraph } from "./graph.ts";
import { Listeners } from "./listeners.ts";
import { Claims, isSpoken, serversOf, watchOffers } from "./offers.ts";
import { Owners } from "./owners.ts";
import { RosNode } from "./ros_node.ts";
import { rosName } from "./node/mod.ts";
import type { EndpointData, Participant } from "./rtps/mod.ts";
import { Servers } from "./servers.ts";
import { Shouts } from "./shouts.ts";
import type { Types } from "./types/mod.ts";
import { Workers } from "./workers.ts";

/** What only ros2 has: `bay.transport(ros2)`. */
export interface Ros2Extras {
  /** The node's full name: `/arm`. */
  readonly node: string;
  /** The domain. */
  readonly domain: number;
  /** Who is there. */
  readonly graph: RosGraph;
  /** The interfaces that are known: their codecs, constants and hashes. */
  readonly types: Types;
  /** The participant, for writers and readers by hand. */
  readonly participant: Participant;
}

/** An opened ros2 plugin. */
export class Ros2Transport implements Transport<Ros2Extras> {
  readonly extras: Ros2Extras;
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #callers: Callers;
  readonly #servers: Servers;
  readonly #shouts: Shouts;
  readonly #listeners: Listeners;
  readonly #owners: Owners;
  readonly #workers: Workers;
  readonly #unwatch: () => void;
  #routes: ReturnType<typeof setTimeout> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(context: TransportContext, node: RosNode, forms: Forms) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
    const claims = new Claims(node);
    const doorman = new Doorman(context);
    this.#callers = new Callers(context, node, forms);
    this.#servers = new Servers(context, node, forms, claims, doorman);
    this.#shouts = new Shouts(context, node, forms);
    this.#listeners = new Listeners(context, node, forms);
    this.#owners = new Owners(context, node, forms);
    this.#workers = new Workers(context, node, forms, claims, doorman);
    node.watchLost((prefix) => this.#servers.lost(prefix));
    this.#unwatch = node.watch((endpoint) => this.#changed(endpoint));
    this.extras = {
      node: node.fullName,
      domain: node.raw.domain,
      graph: new GraphView(node),
      types: node.types,
      participant: node.raw,
    };
  }

  /**
   * Joins the domain.
   *
   * @param context What core gave the plugin.
   * @param config The configuration.
   * @param settings What follows from it and the environment.
   * @throws {PatchbayError} `invalid`, `unavailable`.
   */
  static async open(
    context: TransportContext,
    config: Ros2Config,
    settings: Settings,
  ): Promise<Ros2Transport> {
    const node = await RosNode.open(context, config, settings);
    try {
      const forms = await Forms.load(node, context.codecs, config.json);
      return new Ros2Transport(context, node, forms);
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  /** Who can be reached has changed, if it is a server or a publisher: told once for a burst. */
  #changed({ topic, kind }: EndpointData): void {
    const ros = rosName(topic)?.kind;
    const tells = ros === "request" ? kind === "reader" : ros !== undefined && kind === "writer";
    if (!tells || this.#routes !== undefined || this.#closing !== undefined) return;
    this.#routes = setTimeout(() => {
      this.#routes = undefined;
      this.#context.routesChanged();
    }, 0);
  }

  /** As {@link Transport.health}. */
  health(): Health {
    const { defects } = this.#node.raw.statistics;
    if (defects === 0) return { status: "healthy" };
    return { status: "degraded", reason: `${defects} datagrams could not be handled: see reports` };
  }

  /** As {@link Transport.find}. */
  async find(pattern: Pattern, address: string, native?: NativeNames): Promise<Finding> {
    await this.#node.met();
    const { naming } = this.#node;
    const said = naming.said(address, native?.[this.#context.name]);
    const name = naming.nameOf(address, said);
    if (pattern === "speaker") {
      return isSpoken(this.#node, name)
        ? { found: true, detail: name }
        : { found: false, reason: `nobody publishes ${name} in the domain ${this.extras.domain}` };
    }
    const [server] = serversOf(this.#node, pattern, name);
    if (server === undefined) {
      const verb = pattern === "job" ? "performs" : "serves";
      return {
        found: false,
        reason: `nobody ${verb} ${name} in the domain ${this.extras.domain}`,
        remedy: "start the node, in the same domain",
      };
    }
    const form = pattern === "job"
      ? this.#forms.action(name, said, undefined)
      : this.#forms.service(name, said, undefined);
    if (form === undefined) return { found: false, reason: NO_TYPE, remedy: NO_TYPE_REMEDY };
    const { module } = this.#node.otherSide(server.guid);
    return { found: true, detail: `${name}, served by ${module}` };
  }

  /** As {@link Transport.watch}. */
  watch(match: string, changed: () => void): Promise<Watching> {
    return watchOffers(this.#node, match, changed);
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    this.#live();
    return await this.#servers.serve(endpoint);
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return this.#callers.port(address);
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    this.#live();
    return await this.#shouts.speak(endpoint);
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#live();
    return await this.#listeners.listen(endpoint);
  }

  /** As {@link Transport.perform}. */
  async perform(endpoint: JobEndpoint): Promise<Registration> {
    this.#live();
    return await this.#workers.perform(endpoint);
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    return this.#owners.port(address);
  }

  #live(): void {
    if (this.#closing !== undefined) throw new PatchbayError("closed", "ros2: the bay is closed");
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      this.#unwatch();
      clearTimeout(this.#routes);
      await Promise.all([this.#callers.close(), this.#owners.close()]);
      await this.#node.close();
    })();
  }
}
