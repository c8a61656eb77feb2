/**
 * The redis transport: puts together callers, servers, shouts and presence over the connections of
 * one bay.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallPort,
  type Finding,
  type Health,
  isPattern,
  type ListenerEndpoint,
  PatchbayError,
  type Pattern,
  type Registration,
  type SpeakerEndpoint,
  type SpeakerPort,
  TimerEntry,
  type Transport,
  type TransportContext,
} from "@patchbay/core";
import { Callers } from "./callers.ts";
import { type Client, Connections } from "./connections.ts";
import { isLogged, type RedisConfig, type ResolvedConfig } from "./config.ts";
import { Keys, type KeyValues } from "./keys.ts";
import { Listening } from "./listening.ts";
import { LogSpeakers } from "./log_speakers.ts";
import { Logs } from "./logs.ts";
import { Names } from "./names.ts";
import { loadPayloads, type Payloads } from "./payload.ts";
import { Presence } from "./presence.ts";
import { Retained } from "./retained.ts";
import { Sender } from "./sender.ts";
import { Servers } from "./servers.ts";
import { Shouts } from "./shouts.ts";
import { StreamAccess, type Streams } from "./stream_access.ts";

/** Renews what would be forgotten. */
class Lease extends TimerEntry {
  readonly #renew: () => void;

  constructor(renew: () => void) {
    super();
    this.#renew = renew;
  }

  override expire(): void {
    this.#renew();
  }
}

/** An opened redis plugin; jobs are derived from it. */
export class RedisTransport implements Transport<RedisExtras> {
  /** What only this wire has. */
  readonly extras: RedisExtras;
  readonly #context: TransportContext;
  readonly #config: RedisConfig;
  readonly #connections: Connections;
  readonly #names: Names;
  readonly #presence: Presence;
  readonly #callers: Callers;
  readonly #servers: Servers;
  readonly #listening: Listening;
  readonly #shouts: Shouts;
  readonly #logSpeakers: LogSpeakers;
  readonly #logs: Logs;
  readonly #keys: Keys;
  readonly #streams: StreamAccess;
  readonly #lease: Lease;
  #closing: Promise<void> | undefined;

  private constructor(
    context: TransportContext,
    config: RedisConfig,
    connections: Connections,
    payloads: Payloads,
  ) {
    const names = new Names(config.prefix);
    this.#context = context;
    this.#config = config;
    this.#connections = connections;
    this.#names = names;
    const sender = new Sender(connections);
    this.#presence = new Presence(connections, config, context, names);
    this.#listening = new Listening(connections, context, names, this.#presence);
    this.#callers = new Callers(
      connections,
      config,
      context,
      names,
      payloads,
      this.#presence,
      sender,
    );
    this.#servers = new Servers(connections, context, names, payloads, this.#presence, sender);
    const retained = new Retained(connections, config, context, names, payloads);
    this.#shouts = new Shouts(
      connections,
      config,
      context,
      names,
      payloads,
      this.#listening,
      retained,
      sender,
    );
    const { listening, presence } = { listening: this.#listening, presence: this.#presence };
    this.#logSpeakers = new LogSpeakers(
      connections,
      config,
      context,
      names,
      payloads,
      presence,
      listening,
      retained,
      sender,
    );
    this.#logs = new Logs(
      connections,
      config,
      context,
      names,
      payloads,
      presence,
      listening,
      retained,
    );
    this.#lease = new Lease(() => void this.#renew());
    this.#keys = new Keys(connections, context);
    this.#streams = new StreamAccess(
      connections,
      config,
      context,
      names,
      payloads,
      presence,
    );
    this.extras = {
      keys: this.#keys,
      streams: this.#streams,
      use: (work, signal) => this.#use(work, signal),
    };
  }

  /**
   * Connects, and says that this bay is there.
   *
   * @param context What core gave the plugin.
   * @param config The configuration, its URL read.
   * @throws {PatchbayError} `unavailable`, `unauthenticated`, `forbidden`.
   */
  static async open(context: TransportContext, config: ResolvedConfig): Promise<RedisTransport> {
    const max = config.maxMessageBytes ?? context.maxMessageBytes;
    const payloads = await loadPayloads(context.codecs, config.codec, max);
    const connections: Connections = new Connections(config, context, {
      lost: (reason) => transport.#lost(reason),
      back: () => transport.#back(),
      resumed: () => transport.#resumed(),
    });
    await connections.open();
    const transport: RedisTransport = new RedisTransport(context, config, connections, payloads);
    try {
      await transport.#begin();
    } catch (error) {
      await connections.close();
      throw connections.explain(error, "opening");
    }
    return transport;
  }

  /** As {@link Transport.health}. */
  health(): Health {
    return this.#connections.health();
  }

  /** As {@link Transport.find}. */
  async find(pattern: Pattern, address: string): Promise<Finding> {
    const { where } = this.#connections;
    if (!this.#connections.up) {
      if (this.#config.whenLost === "wait") return { found: "unknown" };
      return { found: false, reason: `Redis at ${where} is not connected` };
    }
    try {
      if (pattern === "speaker") {
        return await this.#listening.spoken(address)
          ? { found: true }
          : { found: false, reason: `nobody speaks there on the Redis at ${where}` };
      }
      const [{ living, gone }] = await Promise.all([
        this.#presence.servers(address),
        this.#callers.ready(),
      ]);
      const [first] = living.values();
      if (first !== undefined) return { found: true, detail: `served by ${first.module}` };
      const why = gone.length > 0 ? "its server is gone from" : "nobody serves it on";
      return { found: false, reason: `${why} the Redis at ${where}` };
    } catch (error) {
      throw this.#connections.explain(error, address);
    }
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    this.#needed(endpoint.address);
    try {
      return await this.#servers.serve(endpoint);
    } catch (error) {
      throw this.#connections.explain(error, endpoint.address);
    }
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return this.#callers.port(address);
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    this.#needed(endpoint.address);
    try {
      return await (isLogged(this.#config, endpoint.address)
        ? this.#logSpeakers.speak(endpoint)
        : this.#shouts.speak(endpoint));
    } catch (error) {
      throw this.#connections.explain(error, endpoint.address);
    }
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#needed(endpoint.pattern);
    try {
      return await this.#listen(endpoint);
    } catch (error) {
      throw this.#connections.explain(error, endpoint.pattern);
    }
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      const closed = new PatchbayError("closed", "redis: the bay is closed", { retryable: false });
      this.#context.timers.disarm(this.#lease);
      this.#presence.close();
      await this.#callers.close(closed);
      await this.#servers.close();
      await this.#logs.close();
      await this.#streams.close();
      this.#keys.close();
      if (this.#connections.up) await this.#presence.leave().catch(() => {});
      await this.#connections.close();
    })();
  }

  /** To what goes through Streams, to what goes over pub/sub, or to both. */
  async #listen(endpoint: ListenerEndpoint): Promise<Registration> {
    const { pattern } = endpoint;
    const { streams } = this.#config;
    if (streams.length === 0) return await this.#shouts.listen(endpoint);
    if (streams.includes("**")) return await this.#logs.listen(endpoint);
    if (!isPattern(pattern)) {
      return await (isLogged(this.#config, pattern)
        ? this.#logs.listen(endpoint)
        : this.#shouts.listen(endpoint));
    }
    const logged = await this.#logs.listen(endpoint);
    try {
      const heard = await this.#shouts.listen(endpoint, true);
      return {
        close: async () => {
          await Promise.all([logged.close(), heard.close()]);
        },
      };
    } catch (error) {
      await logged.close();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { subscriber, clustered } = this.#connections;
    subscriber.on("message", (channel: string, text: string) => this.#told(channel, text));
    await subscriber.subscribe(this.#names.presence);
    const alive = this.#names.alive(this.#context.identity.id);
    await (clustered ? subscriber.ssubscribe(alive) : subscriber.subscribe(alive));
    await this.#presence.announce();
    this.#armLease();
  }

  #told(channel: string, text: string): void {
    const words = text.split(" ");
    if (channel !== this.#names.presence) {
      if (channel.startsWith(this.#names.cancel(""))) this.#servers.cancelled(text);
      return;
    }
    const [what, about] = words;
    this.#listening.told(words);
    if (what === "log") {
      this.#logs.told(about, words[2] ?? "0-0");
      this.#streams.told(about, words[2] ?? "0-0");
    }
    if (what === "serve" || what === "unserve") {
      this.#callers.changed(about);
      this.#servers.changed(about);
      this.#context.routesChanged();
    } else if (what === "speak") this.#context.routesChanged();
  }

  #lost(reason: PatchbayError): void {
    this.#presence.forget();
    this.#callers.lost(reason);
    this.#logSpeakers.lost();
    this.#context.routesChanged();
  }

  async #back(): Promise<void> {
    await this.#presence.announce();
    await this.#servers.back();
    await this.#listening.back();
    await this.#callers.back();
    await this.#logSpeakers.back();
  }

  #resumed(): void {
    this.#callers.resume();
    this.#servers.resume();
    this.#logSpeakers.resume();
    this.#context.routesChanged();
  }

  #armLease(): void {
    this.#context.timers.arm(this.#lease, this.#config.leaseMs / 3);
  }

  async #renew(): Promise<void> {
    try {
      if (this.#connections.up) {
        await this.#presence.announce();
        await this.#callers.renew();
      }
    } catch {
      // The connection was lost: what is to be said is said again when it is back.
    }
    if (this.#closing === undefined) this.#armLease();
  }

  async #use<T>(work: (client: Client) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const client = await this.#connections.take(signal);
    try {
      return await work(client);
    } finally {
      this.#connections.release(client);
    }
  }

  #needed(address: string): void {
    if (this.#connections.up) return;
    throw new PatchbayError(
      "unavailable",
      `${address}: Redis at ${this.#connections.where} is not connected`,
      { remedy: "it connects by itself: try again" },
    );
  }
}

/** What only redis has: `bay.transport(redis)`. */
export interface RedisExtras {
  /** Values under keys. */
  readonly keys: KeyValues;
  /** Streams by consumer groups, and replay. */
  readonly streams: Streams;
  /**
   * Lends a connection of ioredis of one's own, for commands that this plugin has no word for. It is
   * given back when the work is done; at most `maxConnections` are open.
   *
   * @param work Uses it.
   * @param signal Ends the wait for one; without it there is none.
   * @throws {PatchbayError} `overloaded`: none is left.
   */
  use<T>(work: (client: Client) => Promise<T>, signal?: AbortSignal): Promise<T>;
}
