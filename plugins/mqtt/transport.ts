/**
 * The mqtt transport: puts together callers, servers, speakers, listeners and presence over the
 * connection of one bay.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type CallableEndpoint,
  type CallPort,
  type Finding,
  type Health,
  type ListenerEndpoint,
  matches,
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
import type { BayNote } from "./bay_note.ts";
import { Callers } from "./callers.ts";
import type { ResolvedConfig } from "./config.ts";
import { Connection } from "./connection.ts";
import { Extras, type MqttExtras } from "./extras.ts";
import { Hearing } from "./hearing.ts";
import type { Packet } from "./packets.ts";
import { loadPayloads, type Payloads } from "./payload.ts";
import { Presence } from "./presence.ts";
import { Servers } from "./servers.ts";
import { Speaking } from "./speaking.ts";
import { Subscriptions, type Wish } from "./subscriptions.ts";
import { Topics } from "./topics.ts";

/** How long closing waits for the broker to confirm shouts, in milliseconds. */
const DRAIN_MS = 2000;
/** How long the goodbye to the other bays may take, in milliseconds. */
const GOODBYE_MS = 1000;
/** How long a listener that asks waits for that, in milliseconds. */
const HELLO_MS = 500;

/** An opened mqtt plugin; jobs are derived from it. */
export class MqttTransport implements Transport<MqttExtras> {
  /** What only this wire has. */
  readonly extras: Extras;
  readonly #context: TransportContext;
  readonly #config: ResolvedConfig;
  readonly #connection: Connection;
  /** Carries the user's last will; its own one the bay needs itself. */
  #testator: Connection | undefined;
  readonly #topics: Topics;
  readonly #subscriptions: Subscriptions;
  /** Its part in the subscription to what is sent to this bay alone. */
  readonly #wish: Wish = { qos: 0 };
  readonly #presence: Presence;
  readonly #callers: Callers;
  readonly #servers: Servers;
  readonly #speaking: Speaking;
  readonly #hearing: Hearing;
  #closing: Promise<void> | undefined;

  private constructor(
    context: TransportContext,
    config: ResolvedConfig,
    payloads: Payloads,
  ) {
    const { identity } = context;
    this.#context = context;
    this.#config = config;
    const topics = this.#topics = new Topics(config.prefix, identity.id);
    const persistent = config.clientId !== undefined || config.qos > 0 ||
      config.atLeastOnce.length + config.exactlyOnce.length > 0;
    const connection = this.#connection = new Connection(
      config,
      context,
      {
        clientId: config.clientId ?? `patchbay-${identity.module}-${identity.id}`,
        persistent,
        will: { topic: topics.bay(identity.id), payload: "", qos: 1, retain: true },
      },
      {
        message: (topic, payload, packet) => this.#message(topic, payload, packet),
        lost: (reason) => this.#lost(reason),
        back: () => this.#back(),
        resumed: () => this.#resumed(),
      },
    );
    const marks = config.clientId === undefined;
    const subscriptions = this.#subscriptions = new Subscriptions(connection, marks);
    const presence = this.#presence = new Presence(
      connection,
      config,
      context,
      topics,
      subscriptions,
      {
        served: (addresses) => this.#callers.changed(addresses),
        withdrew: (bay, address) => this.#callers.withdrew(bay, address),
        died: (bay, note) => this.#died(bay, note),
      },
    );
    this.#callers = new Callers(connection, config, context, topics, payloads, presence);
    this.#servers = new Servers(connection, context, topics, payloads, presence, subscriptions);
    this.#speaking = new Speaking(connection, config, context, topics, payloads, presence);
    this.#hearing = new Hearing(
      connection,
      config,
      context,
      topics,
      payloads,
      presence,
      subscriptions,
    );
    this.extras = new Extras(connection, context, subscriptions);
  }

  /**
   * Connects, and says that this bay is there.
   *
   * @param context What core gave the plugin.
   * @param config The configuration, its URL read.
   * @throws {PatchbayError} `unavailable`, `unauthenticated`, `forbidden`.
   */
  static async open(context: TransportContext, config: ResolvedConfig): Promise<MqttTransport> {
    const max = config.maxMessageBytes ?? context.maxMessageBytes;
    const payloads = await loadPayloads(context.codecs, config.codec, max);
    const transport = new MqttTransport(context, config, payloads);
    await transport.#connection.open();
    try {
      await transport.#begin();
    } catch (error) {
      await transport.#testator?.close();
      await transport.#connection.close();
      throw error;
    }
    return transport;
  }

  /** As {@link Transport.health}. */
  health(): Health {
    return this.#connection.health();
  }

  /** As {@link Transport.find}. */
  async find(pattern: Pattern, address: string, native?: NativeNames): Promise<Finding> {
    const { where, up } = this.#connection;
    if (!up) {
      if (this.#config.whenLost === "wait") return { found: "unknown" };
      return { found: false, reason: `the broker at ${where} is not connected` };
    }
    if (native?.mqtt !== undefined) return { found: "unknown" };
    const known = this.#known(pattern, address);
    if (known.found === true) return known;
    // Somebody may have told the broker a moment ago.
    await this.#presence.sync();
    return this.#known(pattern, address);
  }

  #known(pattern: Pattern, address: string): Finding {
    const { where } = this.#connection;
    if (pattern === "speaker") {
      return this.#presence.spoken(address)
        ? { found: true }
        : { found: false, reason: `nobody speaks there at the broker at ${where}` };
    }
    const [first] = this.#presence.servers(address);
    if (first === undefined) {
      return { found: false, reason: `nobody serves it at the broker at ${where}` };
    }
    return { found: true, detail: `served by ${this.#presence.note(first)?.module}` };
  }

  /** As {@link Transport.watch}: every bay says what it has, and so may a foreign program. */
  async watch(match: string, changed: () => void): Promise<Watching> {
    const close = this.#presence.watch(changed);
    await this.#presence.sync();
    const presence = this.#presence;
    return {
      get offers() {
        return presence.offers.filter(({ address }) => matches(match, address));
      },
      close,
    };
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    this.#needed(endpoint.address);
    return await this.#servers.serve(endpoint);
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return this.#callers.port(address);
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    this.#needed(endpoint.address);
    return await this.#speaking.speak(endpoint);
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#needed(endpoint.pattern);
    return await this.#hearing.listen(endpoint);
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      const closed = new PatchbayError("closed", "mqtt: the bay is closed", { retryable: false });
      this.#callers.close(closed);
      await this.#speaking.drain(DRAIN_MS);
      await within(GOODBYE_MS, this.#presence.leave().catch(() => {}));
      this.#presence.lost(closed);
      this.#hearing.close();
      await this.#testator?.close();
      await this.#connection.close();
      this.#speaking.close();
    })();
  }

  async #begin(): Promise<void> {
    const { will, clientId } = this.#config;
    await this.#subscriptions.enter([`${this.#topics.mine}#`], this.#wish);
    await this.#presence.open();
    if (will === undefined) return;
    const { identity } = this.#context;
    const name = `${clientId ?? `patchbay-${identity.module}-${identity.id}`}-will`;
    const who = { clientId: name, persistent: false, will };
    const owner = { message() {}, lost() {}, back: () => Promise.resolve(), resumed() {} };
    // The first bay may be the broker: it is not tried twice.
    const config = { ...this.#config, broker: undefined, version: this.extras.version };
    this.#testator = new Connection(config, this.#context, who, owner);
    await this.#testator.open();
  }

  #message(topic: string, payload: Buffer, packet: Packet): void {
    const told = packet.properties?.subscriptionIdentifier;
    // What comes once for each filter that it matches is taken by the wire itself but once.
    const own = typeof told !== "number" || this.#subscriptions.isOwn(told);
    if (own && this.#isOurs(topic, payload, packet)) {
      return void this.extras.heard(topic, payload, packet);
    }
    let known = this.extras.heard(topic, payload, packet);
    const { shouts, begin } = this.#topics;
    const ours = topic.startsWith(begin);
    if (!ours || topic.startsWith(shouts)) {
      known = this.#hearing.heard(topic, payload, packet) || known;
      if (!ours) known = this.#servers.calledNative(topic, payload, packet) || known;
    }
    if (!known) this.#context.statistics.countDrop(ours ? "foreign_topic" : "unclaimed");
  }

  /** A message that is for the wire itself, if it is. */
  #isOurs(topic: string, payload: Buffer, packet: Packet): boolean {
    const { replies, mine, calls, bays } = this.#topics;
    if (topic === replies && packet.properties?.correlationData !== undefined) {
      this.#callers.replied(payload, packet);
    } else if (topic.startsWith(mine)) this.#toldMe(topic, payload, packet);
    else if (topic.startsWith(bays)) this.#presence.heard(topic.slice(bays.length), payload);
    else if (topic.startsWith(calls)) this.#servers.called(topic, calls, payload, packet);
    else return false;
    return true;
  }

  /** Something that was sent to this bay alone. */
  #toldMe(topic: string, payload: Buffer, packet: Packet): void {
    const rest = topic.slice(this.#topics.mine.length);
    const [what, ...more] = rest.split("/");
    switch (what) {
      case "reply":
      case "error":
      case "taken":
        return this.#callers.told(what, more, payload);
      case "sync":
        return this.#presence.synced(more[0]);
      case "hello":
        // What was shouted before is with the broker then.
        return void this.#speaking.drain(HELLO_MS).then(() =>
          this.#connection.up && this.#presence.greeted(more[0], more[1] ?? "")
        );
      case "cancel":
        return this.#servers.cancelled(more[0], more[1] ?? "");
      case "asked":
        return this.#servers.asked(more[0], more[1] ?? "");
      case "call":
        return this.#servers.called(topic, `${this.#topics.mine}call/`, payload, packet);
      default:
        this.#context.statistics.countDrop("foreign_topic");
    }
  }

  #died(bay: string, note: BayNote): void {
    this.#callers.died(bay, Object.keys(note.serves));
    this.#servers.died(bay);
  }

  #lost(reason: PatchbayError): void {
    this.#presence.lost(reason);
    this.#callers.lost(reason);
    this.#servers.lost();
    this.#speaking.lost();
    this.#presence.offersChanged();
    this.#context.routesChanged();
  }

  async #back(): Promise<void> {
    this.#hearing.back();
    this.#presence.back();
    await this.#subscriptions.back();
    await this.#presence.announce();
    await this.#servers.compare();
  }

  #resumed(): void {
    void this.#subscriptions.resume();
    this.#callers.resume();
    this.#speaking.resume();
    this.#presence.offersChanged();
    this.#context.routesChanged();
  }

  #needed(address: string): void {
    if (this.#connection.up) return;
    const { where } = this.#connection;
    throw new PatchbayError("unavailable", `${address}: the broker at ${where} is not connected`, {
      remedy: "it connects by itself: try again",
    });
  }
}

/** Waits for something, or for some time. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, late]);
  clearTimeout(timer);
}
