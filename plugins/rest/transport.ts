/**
 * The rest transport: who is where (directory, peers, base URL), the listening side of this bay,
 * and the ways of calls, shouts and jobs.
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
  type NativeNames,
  PatchbayError,
  type Pattern,
  type ReachableBay,
  type Registration,
  type SpeakerEndpoint,
  type SpeakerPort,
  type Transport,
  type TransportContext,
  type TransportStatistics,
  Whereabouts,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { CallWay } from "./calls.ts";
import type { RestConfig } from "./config.ts";
import { addUserHeaders } from "./headers.ts";
import { Host, type HostOptions } from "./host.ts";
import { type JobHost, JobWay } from "./jobs_out.ts";
import { Listening, type ReadingOptions } from "./listening.ts";
import { nameOf } from "./names.ts";
import { RemoteBay } from "./remote_bay.ts";
import type { Site } from "./site.ts";

/** What only rest has. */
export interface RestExtras {
  /** Where this bay listens: `http://…`, `https://…`, `unix:…`; empty while it does not. */
  readonly url: string;
}

/** What the transport is made with. */
export interface TransportParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: RestConfig;
  /** How bodies are made. */
  readonly bodies: Bodies;
  /** How hosts are reached. */
  readonly hosts: HostOptions;
  /** Makes the listening side; throws where nothing can listen. */
  readonly makeSite: () => Site;
}

/** As long as timers go, 24.8 days: a timer that does nothing but keep the process alive. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;
/** How long what was sent at the end may take, in milliseconds. */
const ENDING_MS = 1000;

/** A transport over HTTP. */
export class RestTransport implements Transport<RestExtras>, JobHost {
  readonly identity: BayIdentity;
  readonly bodies: Bodies;
  readonly names: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly retries: number;
  readonly rejoinMs: number;
  readonly reading: ReadingOptions;
  readonly statistics: TransportStatistics;
  readonly extras: RestExtras;
  readonly #parts: TransportParts;
  readonly #context: TransportContext;
  readonly #config: RestConfig;
  readonly #whereabouts: Whereabouts<RemoteBay>;
  readonly #hosts = new Map<string, Host>();
  readonly #calls = new Set<CallWay>();
  readonly #jobs = new Set<JobWay>();
  readonly #listenings = new Set<Listening>();
  readonly #endings = new Set<Promise<void>>();
  readonly #troubles = new Map<object, string>();
  #alive: ReturnType<typeof setInterval> | undefined;
  #site: Site | undefined;
  #published: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param parts What it is made with. */
  constructor(parts: TransportParts) {
    const { context, config } = parts;
    this.#parts = parts;
    this.#context = context;
    this.#config = config;
    this.identity = context.identity;
    this.bodies = parts.bodies;
    this.names = config.names;
    this.retries = config.retries;
    this.rejoinMs = config.rejoinMs;
    this.reading = config;
    this.statistics = context.statistics;
    const headers: Record<string, string> = {};
    addUserHeaders(config.headers, headers);
    if (config.token !== undefined) headers.authorization = `Bearer ${config.token}`;
    this.headers = headers;
    const site = () => this.#site;
    this.extras = {
      get url() {
        return site()?.url ?? "";
      },
    };
    // A bay that is asked whether all is well says what it cannot describe.
    context.statistics.askNotes = () => untypedNote(site()?.untyped ?? []);
    this.#whereabouts = new Whereabouts(context, () => this.#moved());
  }

  /** As {@link Transport.health}. */
  health(): Health {
    for (const reason of this.#troubles.values()) return { status: "degraded", reason };
    return { status: "healthy" };
  }

  /** As {@link Transport.find}. */
  find(
    pattern: Pattern,
    address: string,
    native: NativeNames | undefined,
  ): Finding | Promise<Finding> {
    // A contract's own word goes before what is found.
    if (native?.rest !== undefined && this.#leadsAway(address, native)) return { found: "unknown" };
    const known = this.#whereabouts.holders(pattern, address);
    if (known.length > 0) return found(known);
    return this.#look(pattern, address);
  }

  #leadsAway(address: string, native: NativeNames): boolean {
    return nameOf(address, native.rest, this.names).baseUrl !== undefined;
  }

  async #look(pattern: Pattern, address: string): Promise<Finding> {
    await this.#whereabouts.refresh();
    const known = this.#whereabouts.holders(pattern, address);
    if (known.length > 0) return found(known);
    const name = nameOf(address, undefined, this.names);
    // A foreign service can only be tried; so can one that a contract or a call names.
    if (name.baseUrl !== undefined || this.#config.baseUrl !== undefined) {
      return { found: "unknown" };
    }
    return {
      found: false,
      reason: "no bay known over rest serves it",
      remedy: "set config.rest.peers to bays of other hosts, or baseUrl to a service",
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
    const way: CallWay = new CallWay(address, this.#hostsOf("callable", address), this, () => {
      this.#calls.delete(way);
    });
    this.#calls.add(way);
    return way;
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    const way: JobWay = new JobWay(address, this.#hostsOf("job", address), this, () => {
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
      await this.#ended();
      for (const host of this.#hosts.values()) host.close();
    })();
  }

  /** Begins to listen, if it is told where. */
  async open(): Promise<void> {
    if (this.#config.listen !== undefined) await this.#listen();
    for (const url of this.#config.peers) {
      this.#whereabouts.peers.push(new RemoteBay(url, this, () => this.#moved()));
    }
  }

  // ----- for ways -----

  /** As {@link JobHost.hostAt}. */
  hostAt(base: string): Host {
    let host = this.#hosts.get(base);
    if (host === undefined) {
      host = new Host(base, this.#parts.hosts);
      this.#hosts.set(base, host);
    }
    return host;
  }

  /** As {@link JobHost.hostLost}. */
  hostLost(): void {
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
    if (reason === undefined) this.#troubles.delete(who);
    else this.#troubles.set(who, reason);
  }

  /** As {@link JobHost.ending}. */
  ending(work: Promise<void>): void {
    const ends = work.catch(() => {}).finally(() => this.#endings.delete(ends));
    this.#endings.add(ends);
  }

  // ----- who is where -----

  #hostsOf(pattern: Pattern, address: string): Host[] {
    const bases = this.#whereabouts.holders(pattern, address).map((bay) => bay.url);
    const { baseUrl } = this.#config;
    if (bases.length === 0 && baseUrl !== undefined) bases.push(baseUrl);
    return bases.map((base) => this.hostAt(base));
  }

  /** Somebody has come or gone. */
  #moved(): void {
    if (this.#closing !== undefined) return;
    for (const [base, host] of this.#hosts) {
      if (!this.#whereabouts.hasGone(base)) continue;
      for (const way of this.#jobs) way.gone(host);
    }
    for (const listening of this.#listenings) {
      this.#join(listening).catch((error) => this.report(PatchbayError.fromThrown(error)));
    }
    this.#context.routesChanged();
  }

  async #join(listening: Listening): Promise<void> {
    const { endpoint } = listening;
    const bays = this.#whereabouts.speakersFor(endpoint);
    const wanted = new Map(bays.map((bay) => [this.hostAt(bay.url), bay.module]));
    const foreign = this.#foreign(endpoint);
    if (foreign !== undefined) wanted.set(foreign, "");
    for (const host of listening.hosts) {
      if (!wanted.has(host) && this.#whereabouts.hasGone(host.base)) listening.leave(host);
    }
    await Promise.all([...wanted].map(([host, module]) => listening.join(host, module)));
  }

  /** The service that a contract or the configuration names for an address. */
  #foreign(endpoint: ListenerEndpoint): Host | undefined {
    if (endpoint.pattern.includes("*")) return undefined;
    const { baseUrl } = nameOf(endpoint.pattern, endpoint.native?.rest, this.names);
    return baseUrl === undefined ? undefined : this.hostAt(baseUrl);
  }

  async #listen(): Promise<Site> {
    const site = this.#site ??= this.#parts.makeSite();
    const url = await site.listen();
    const { directory, name } = this.#context;
    this.#published ??= directory?.listening(name, this.#config.publicUrl ?? url) ??
      Promise.resolve();
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

  /** What was sent at the end gets its time, and no more. */
  async #ended(): Promise<void> {
    if (this.#endings.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ENDING_MS);
    await Promise.race([Promise.all(this.#endings), promise]);
    clearTimeout(timer);
  }
}

/** How many endpoints a note names. */
const NAMED = 8;

function untypedNote(untyped: readonly string[]): string[] {
  if (untyped.length === 0) return [];
  const more = untyped.length > NAMED ? `, and ${untyped.length - NAMED} more` : "";
  const names = untyped.slice(0, NAMED).join(", ");
  return [
    `openapi.json marks as untyped: ${names}${more}; give their contracts schemas or a jsonSchema`,
  ];
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

/** The error for a bay that has nowhere to listen. */
export function nowhereToListen(): PatchbayError {
  return new PatchbayError("unavailable", "rest has nowhere to listen", {
    transport: "rest",
    retryable: false,
    remedy: "set config.rest.listen to { port }, or open the bay with a runtime directory",
  });
}
