/**
 * The grpc transport: who is where (directory, peers), the listening side of this bay, and the ways
 * of calls, shouts and jobs.
 *
 * @module
 */

import {
  type BayIdentity,
  type CallableEndpoint,
  type CallPort,
  type Finding,
  type Health,
  type JobEndpoint,
  type JobPort,
  type ListenerEndpoint,
  PatchbayError,
  type Pattern,
  type ReachableBay,
  type Registration,
  type SpeakerEndpoint,
  type SpeakerPort,
  type Transport,
  type TransportContext,
  type TransportStatistics,
  type Watching,
  Whereabouts,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { CallWay } from "./calls_out.ts";
import { Channel, type ChannelSettings } from "./channels.ts";
import type { GrpcConfig } from "./config.ts";
import { type JobHost, JobWay } from "./jobs_out.ts";
import { Listening, type Patience } from "./listening.ts";
import { loadProto, type ProtoFile } from "./proto_file.ts";
import { RemoteBay } from "./remote_bay.ts";
import { ROUND_VALUE_BYTES, Site } from "./site.ts";
import type { Place } from "./server.ts";
import type { MethodHandlers } from "./service_in.ts";

/** What only grpc has. */
export interface GrpcExtras {
  /** Where this bay listens: `unix:…`, `grpc://…`, `grpcs://…`; empty while it does not. */
  readonly url: string;
  /**
   * Serves a service of a `.proto`: plain functions and async generators answer its methods.
   *
   * @param options The `.proto`, the service, what answers.
   * @returns Takes it off again.
   * @throws {PatchbayError} `not_found`, `invalid`: the `.proto` or the service; `unavailable`: the
   * service is served already, or nothing can listen.
   */
  serveService<Handlers extends MethodHandlers<Handlers>>(
    options: ServeServiceOptions<Handlers>,
  ): Promise<Registration>;
}

/** How to serve a service of a `.proto`. */
export interface ServeServiceOptions<Handlers> {
  /** The `.proto`: loaded, or its path. */
  readonly proto: ProtoFile | string | URL;
  /** The service in it; default: the only one. */
  readonly service?: string;
  /** What answers its methods, by name; one that is missing answers UNIMPLEMENTED. */
  readonly handlers: Handlers;
}

/** What the transport is made with. */
export interface TransportParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: GrpcConfig;
  /** How values are made. */
  readonly bodies: Bodies;
  /** Where this bay listens; throws where it cannot. */
  readonly place: () => Place;
  /** Where to dial for a URL: tests put a proxy between. */
  readonly reroute: (url: string) => string;
}

/** As long as timers go, 24.8 days: a timer that does nothing but keep the process alive. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;
/** How long what was said last may take to leave, in milliseconds. */
const LAST_WORDS_MS = 100;

/** A transport over gRPC. */
export class GrpcTransport implements Transport<GrpcExtras>, JobHost {
  readonly identity: BayIdentity;
  readonly bodies: Bodies;
  readonly retries: number;
  readonly waitForReady: boolean;
  readonly token: string | undefined;
  readonly rejoinMs: number;
  readonly patience: Patience;
  readonly statistics: TransportStatistics;
  readonly extras: GrpcExtras;
  readonly #parts: TransportParts;
  readonly #context: TransportContext;
  readonly #whereabouts: Whereabouts<RemoteBay>;
  readonly #channels = new Map<string, Channel>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #calls = new Set<CallWay>();
  readonly #jobs = new Set<JobWay>();
  readonly #listenings = new Set<Listening>();
  readonly #troubles = new Map<object, string>();
  readonly #watchers = new Set<{ changed(): void }>();
  #alive: ReturnType<typeof setInterval> | undefined;
  #site: Site | undefined;
  #published: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param parts What it is made with. */
  constructor(parts: TransportParts) {
    const { context, config } = parts;
    this.#parts = parts;
    this.#context = context;
    this.identity = context.identity;
    this.bodies = parts.bodies;
    this.retries = config.retries;
    this.waitForReady = config.whenDown === "wait";
    this.token = config.token;
    this.rejoinMs = config.rejoinMs;
    this.patience = {
      reconnectMinMs: config.reconnectMinMs,
      reconnectMaxMs: config.reconnectMaxMs,
    };
    this.statistics = context.statistics;
    const site = () => this.#site;
    this.extras = {
      get url() {
        return site()?.url ?? "";
      },
      serveService: async ({ proto, service, handlers }) => {
        const file = typeof proto === "string" || proto instanceof URL ? loadProto(proto) : proto;
        return registration((await this.#listen()).serveService(file, service, handlers));
      },
    };
    this.#whereabouts = new Whereabouts(context, () => this.#moved());
  }

  /** As {@link Transport.health}. */
  health(): Health {
    for (const reason of this.#troubles.values()) return { status: "degraded", reason };
    return { status: "healthy" };
  }

  /** As {@link Transport.find}. */
  find(pattern: Pattern, address: string): Finding | Promise<Finding> {
    const known = this.#whereabouts.holders(pattern, address);
    return known.length > 0 ? found(known) : this.#look(pattern, address);
  }

  async #look(pattern: Pattern, address: string): Promise<Finding> {
    await this.#whereabouts.refresh();
    const known = this.#whereabouts.holders(pattern, address);
    if (known.length > 0) return found(known);
    const silent = this.#whereabouts.peers.find(({ present }) => present === undefined);
    if (silent !== undefined) {
      return {
        found: false,
        reason: `${silent.url} does not answer: ${silent.error?.message ?? "nothing came"}`,
        remedy: silent.error?.remedy ?? "start what listens there, or correct config.grpc.peers",
      };
    }
    return {
      found: false,
      reason: "no bay known over grpc serves it",
      remedy: "set config.grpc.peers to bays that the directory does not show",
    };
  }

  /** As {@link Transport.watch}: the directory and the peers say it all. */
  async watch(match: string, changed: () => void): Promise<Watching> {
    await this.#whereabouts.refresh();
    const watcher = { changed };
    this.#watchers.add(watcher);
    const offers = () => this.#whereabouts.offers(match);
    return {
      get offers() {
        return offers();
      },
      close: () => void this.#watchers.delete(watcher),
    };
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    return registration((await this.#listen()).serve(endpoint));
  }

  /** As {@link Transport.perform}. */
  async perform(endpoint: JobEndpoint): Promise<Registration> {
    return registration((await this.#listen()).perform(endpoint));
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    return (await this.#listen()).speak(endpoint);
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    const listening = new Listening(endpoint, this);
    this.#listenings.add(listening);
    this.#keepAlive();
    const close = async () => {
      this.#listenings.delete(listening);
      this.#keepAlive();
      await listening.close();
    };
    try {
      await this.#whereabouts.refresh();
      await this.#join(listening);
    } catch (error) {
      await close();
      throw error;
    }
    return { close };
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    const way: CallWay = new CallWay(address, this.#urlsOf("callable", address), this, () => {
      this.#calls.delete(way);
    });
    this.#calls.add(way);
    return way;
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    const way: JobWay = new JobWay(address, this.#urlsOf("job", address), this, () => {
      this.#jobs.delete(way);
    });
    this.#jobs.add(way);
    return way;
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await this.#whereabouts.close();
      for (const way of this.#calls) way.end();
      for (const way of this.#jobs) way.close();
      const listenings = [...this.#listenings];
      this.#listenings.clear();
      this.#keepAlive();
      await Promise.all(listenings.map((listening) => listening.close()));
      await this.#site?.close();
      // Cancellations that were said a moment ago are still in the sockets' queues.
      if (this.#channels.size > 0) await pause(LAST_WORDS_MS);
      await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
      await Promise.all(this.#leaving);
    })();
  }

  /** Begins to listen, if it is told where. */
  async open(): Promise<void> {
    if (this.#parts.config.listen !== undefined) await this.#listen();
    for (const url of this.#parts.config.peers) {
      this.#whereabouts.peers.push(new RemoteBay(url, this, () => this.#moved()));
    }
  }

  // ----- for ways -----

  /** As {@link JobHost.channelTo}. */
  channelTo(url: string): Channel {
    let channel = this.#channels.get(url);
    if (channel === undefined) {
      if (this.#closing !== undefined) {
        throw new PatchbayError("closed", "the bay was closed", { retryable: false });
      }
      channel = this.#dial(url);
      this.#channels.set(url, channel);
    }
    return channel;
  }

  /** As {@link JobHost.lost}. */
  lost(): void {
    if (this.#closing !== undefined) return;
    this.#context.routesChanged();
    this.#whereabouts.lost();
  }

  /** As {@link JobHost.report}. */
  report(error: PatchbayError): void {
    this.#context.report(error);
  }

  /** As {@link JobHost.trouble}. */
  trouble(who: object, reason: string | undefined): void {
    if (reason === undefined || this.#closing !== undefined) this.#troubles.delete(who);
    else this.#troubles.set(who, reason);
  }

  // ----- who is where -----

  #dial(url: string): Channel {
    const { config, bodies, reroute } = this.#parts;
    const { statistics } = this.#context;
    const settings: ChannelSettings = {
      ...config,
      tls: config.tls,
      maxReceiveBytes: bodies.maxBytes + ROUND_VALUE_BYTES,
    };
    const who = {};
    const channel = new Channel([reroute(url)], settings, {
      onConnected: (again) => {
        statistics.connections++;
        if (again) statistics.reconnections++;
        this.trouble(who, undefined);
      },
      onDisconnected: () => {
        statistics.connections--;
        if (this.#closing !== undefined || channel.closed) return;
        if (this.#whereabouts.hasGone(url)) return this.#leave(url);
        // Whoever is still named is connected to anew, with a growing pause; the others are left.
        this.trouble(who, `reconnecting to ${url}`);
        this.lost();
        channel.connect();
      },
      onTrouble: () => this.trouble(who, `${url} does not answer`),
    });
    this.#owners.set(channel, who);
    return channel;
  }

  readonly #owners = new WeakMap<Channel, object>();

  #urlsOf(pattern: Pattern, address: string): string[] {
    return this.#whereabouts.holders(pattern, address).map(({ url }) => {
      // It was told that somebody is there again: no pause of the old channel holds that up.
      if (this.#channels.get(url)?.failing) this.#leave(url);
      return url;
    });
  }

  /** Closes the channel to a place. */
  #leave(url: string): void {
    const channel = this.#channels.get(url);
    if (channel === undefined) return;
    this.#channels.delete(url);
    this.trouble(this.#owners.get(channel) ?? channel, undefined);
    const leaving = channel.close().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** Somebody has come or gone. */
  #moved(): void {
    if (this.#closing !== undefined) return;
    for (const [url, channel] of this.#channels) {
      if (!this.#whereabouts.hasGone(url)) continue;
      for (const way of this.#jobs) way.gone(url);
      for (const listening of this.#listenings) listening.leave(url);
      // While it is connected its last answers may still come.
      if (!channel.connected) this.#leave(url);
    }
    for (const listening of this.#listenings) {
      this.#join(listening).catch((error) => this.report(PatchbayError.fromThrown(error)));
    }
    for (const { changed } of this.#watchers) changed();
    this.#context.routesChanged();
  }

  async #join(listening: Listening): Promise<void> {
    const bays = this.#whereabouts.speakersFor(listening.endpoint);
    await Promise.all(
      bays.map(({ url, module }) => listening.join(url, module)),
    );
  }

  async #listen(): Promise<Site> {
    const { context, config, bodies, place } = this.#parts;
    if (this.#closing !== undefined) {
      throw new PatchbayError("closed", "the bay was closed", { retryable: false });
    }
    const site = this.#site ??= new Site({ context, config, bodies, place: place() });
    const url = await site.listen();
    const { directory, name } = context;
    this.#published ??= directory?.listening(name, config.publicUrl ?? url) ?? Promise.resolve();
    await this.#published;
    return site;
  }

  /** Who listens waits for speakers that may come later, as a server waits for callers. */
  #keepAlive(): void {
    if (this.#listenings.size > 0) this.#alive ??= setInterval(() => {}, KEEP_ALIVE_MS);
    else {
      clearInterval(this.#alive);
      this.#alive = undefined;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function registration(remove: () => void): Registration {
  return {
    close() {
      remove();
      return Promise.resolve();
    },
  };
}

function found(bays: readonly ReachableBay[]): Finding {
  const detail = bays.map(({ instance, url }) => `${instance} at ${url}`);
  return { found: true, detail: detail.join(", ") };
}
