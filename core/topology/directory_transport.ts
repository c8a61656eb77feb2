/**
 * The transport of directory wires: one listening endpoint a bay; callers and listeners dial each
 * matching process, and watch the directory for later ones. See decision 0001.
 *
 * @module
 */

import { matches } from "../address.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import type { Directory, DirectoryEntry } from "../directory.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { JobEndpoint } from "../job_endpoint.ts";
import type { LinkConfig, LinkDriver, LinkListener } from "../link_plugin.ts";
import type { ListenerEndpoint } from "../listener_endpoint.ts";
import type {
  CallPort,
  Finding,
  Health,
  JobPort,
  Registration,
  SpeakerPort,
  Transport,
  TransportContext,
} from "../plugin.ts";
import { offersIn, type Watching } from "../offers.ts";
import type { SessionHost } from "../session/targets.ts";
import type { Publication } from "../session/publication.ts";
import { Session, type SessionOptions } from "../session/session.ts";
import type { SpeakerEndpoint } from "../speaker.ts";
import { Peer, type PeerHost } from "./peer.ts";
import { CallWay, JobWay, SpeakWay } from "./ways.ts";

/** A timer that does nothing but keep the process alive: as long as timers go, 24.8 days. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;

/** A transport over links, with a directory that says who is where. */
export class DirectoryTransport<Extras> implements Transport<Extras>, SessionHost, PeerHost {
  /** What only this wire has. */
  readonly extras: Extras;
  /** @ignore */
  readonly driver: LinkDriver;
  /** @ignore */
  readonly config: LinkConfig;
  /** @ignore */
  readonly session: SessionOptions;
  readonly #context: TransportContext;
  readonly #directory: Directory;
  readonly #callables = new Map<string, CallableEndpoint>();
  readonly #jobs = new Map<string, JobEndpoint>();
  readonly #speakers = new Set<SpeakWay>();
  readonly #publications = new Set<Publication>();
  readonly #listeners = new Set<ListenerEndpoint>();
  /** Those whose `listen` has resolved. */
  readonly #joined = new Set<ListenerEndpoint>();
  #alive: ReturnType<typeof setInterval> | undefined;
  readonly #sessions = new Set<Session>();
  readonly #peers = new Map<string, Peer>();
  /** Those that are named no longer, until their connections have ended. */
  readonly #going = new Map<Peer, Promise<void>>();
  readonly #unwatch: () => void;
  #listening: Promise<LinkListener> | undefined;
  #closing: Promise<void> | undefined;
  /** As {@link SessionHost.version}. */
  version = 0;

  /**
   * Makes a transport; nothing is listened on or dialled yet.
   *
   * @param context What core gives the plugin.
   * @param directory The directory.
   * @param driver How to listen and dial.
   * @param config The configuration.
   * @param extras What only this wire has.
   */
  constructor(
    context: TransportContext,
    directory: Directory,
    driver: LinkDriver,
    config: LinkConfig,
    extras: Extras,
  ) {
    this.#context = context;
    this.#directory = directory;
    this.driver = driver;
    this.config = config;
    this.extras = extras;
    const { codec, compression, compressionThreshold, windowBytes, maxQueueBytes } = config;
    this.session = {
      transport: context.name,
      identity: context.identity,
      host: this,
      timers: context.timers,
      codecs: context.codecs,
      codec,
      compression,
      compressionThreshold,
      maxMessageBytes: config.maxMessageBytes ?? context.maxMessageBytes,
      windowBytes,
      maxQueueBytes,
      handshakeMs: config.connectTimeoutMs,
      heartbeatMs: config.heartbeatMs,
      statistics: context.statistics,
      authorize: context.authorize,
      report: (error) => context.report(error),
    };
    this.#unwatch = directory.watch(() => this.#directoryChanged());
  }

  /** The bay's timer. */
  get timers(): TransportContext["timers"] {
    return this.#context.timers;
  }

  /** Degraded while a connection that is needed is being restored. */
  health(): Health {
    for (const peer of this.#peers.values()) {
      const { trouble } = peer;
      if (trouble !== undefined) {
        const reason = `reconnecting to ${peer.entry.module}: ${trouble.message}`;
        return { status: "degraded", reason };
      }
    }
    return { status: "healthy" };
  }

  /** As {@link Transport.find}; looks into the directory anew only if nothing is known. */
  find(pattern: Pattern, address: string): Finding | Promise<Finding> {
    const role = pattern === "speaker" ? "speaker" : "server";
    const known = this.#holders(pattern, role, address);
    if (known.length > 0) return this.#found(known);
    return this.#directory.refresh().then(() => {
      const holders = this.#holders(pattern, role, address);
      if (holders.length > 0) return this.#found(holders);
      return { found: false, reason: "no live module of this host serves it" };
    });
  }

  /** As {@link Transport.watch}: the directory says it all. */
  async watch(match: string, changed: () => void): Promise<Watching> {
    await this.#directory.refresh();
    const close = this.#directory.watch(changed);
    const offers = () => offersIn(this.#directory, this.#context.name, match);
    return {
      get offers() {
        return offers();
      },
      close,
    };
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    await this.#listen();
    return this.#register(this.#callables, endpoint);
  }

  /** As {@link Transport.perform}. */
  async perform(endpoint: JobEndpoint): Promise<Registration> {
    await this.#listen();
    return this.#register(this.#jobs, endpoint);
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    await this.#listen();
    const way = new SpeakWay(endpoint, this);
    this.#speakers.add(way);
    for (const publication of this.#publications) way.add(publication);
    return way;
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#listeners.add(endpoint);
    this.#keepAlive();
    try {
      await this.#directory.refresh();
      await this.#join(endpoint);
    } catch (error) {
      this.#leave(endpoint);
      throw error;
    }
    this.#joined.add(endpoint);
    return {
      close: () => {
        this.#leave(endpoint);
        return Promise.resolve();
      },
    };
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return new CallWay(this.#peersOf("callable", address), address, this.#context.name);
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    return new JobWay(this.#peersOf("job", address), address, this.#context.name);
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      this.#unwatch();
      this.#listeners.clear();
      this.#keepAlive();
      const reason = new PatchbayError("closed", `${this.#context.identity.module} has closed`);
      const listener = await this.#listening?.catch(() => undefined);
      await listener?.close();
      const peers = [...this.#peers.values(), ...this.#going.keys()];
      await Promise.all([...peers.map((peer) => peer.close(reason)), ...this.#going.values()]);
      await Promise.all([...this.#sessions].map((session) => session.close(reason)));
      await this.driver.close?.();
    })();
  }

  // ----- for sessions -----

  /** As {@link SessionHost.callable}. */
  callable(address: string): CallableEndpoint | undefined {
    return this.#callables.get(address);
  }

  /** As {@link SessionHost.job}. */
  job(address: string): JobEndpoint | undefined {
    return this.#jobs.get(address);
  }

  /** As {@link SessionHost.subscribed}. */
  subscribed(publication: Publication): void {
    this.#publications.add(publication);
    for (const way of this.#speakers) way.add(publication);
  }

  /** As {@link SessionHost.unsubscribed}. */
  unsubscribed(publication: Publication): void {
    this.#publications.delete(publication);
    for (const way of this.#speakers) way.delete(publication);
  }

  /** As {@link PeerHost.peerChanged}. */
  peerChanged(): void {
    this.#context.routesChanged();
  }

  /** As {@link PeerHost.peerLost}. */
  peerLost(): void {
    this.#context.routesChanged();
    // The directory notices a death within a second by itself; whoever lost a connection knows more.
    this.#directory.refresh().then(() => this.#directoryChanged(), () => {});
  }

  /** @ignore Takes a speaker out. */
  silence(way: SpeakWay): void {
    this.#speakers.delete(way);
  }

  /** @ignore The ids of the bays that the directory names as listeners of an address. */
  async listenersOf(address: string): Promise<string[]> {
    const entries = await this.#directory.refresh();
    return entries.filter((entry) =>
      entry.endpoints.some((e) =>
        e.role === "listener" && e.wires.includes(this.#context.name) &&
        matches(e.address, address)
      )
    ).map((entry) => entry.id);
  }

  // ----- listening -----

  #listen(): Promise<LinkListener> {
    return this.#listening ??= (async () => {
      const listener = await this.driver.listen((link) => {
        if (this.#closing !== undefined) return void link.close(true);
        const session = new Session(link, false, this.session);
        const { maxConnections } = this.config;
        if (this.#sessions.size >= maxConnections) {
          this.#context.statistics.countError("overloaded");
          const message =
            `${maxConnections} peers are connected to ${this.session.identity.module}`;
          const remedy = "raise maxConnections, or connect fewer";
          return void session.close(new PatchbayError("overloaded", message, { remedy }));
        }
        this.#sessions.add(session);
        this.#context.statistics.connections++;
        session.ended.then(() => {
          this.#sessions.delete(session);
          this.#context.statistics.connections--;
        });
      });
      await this.#directory.listening(this.#context.name, listener.where);
      return listener;
    })();
  }

  #register<E extends { readonly address: string }>(
    map: Map<string, E>,
    endpoint: E,
  ): Registration {
    const { address } = endpoint;
    map.set(address, endpoint);
    this.version++;
    return {
      close: () => {
        if (map.get(address) === endpoint) map.delete(address);
        this.version++;
        return Promise.resolve();
      },
    };
  }

  // ----- dialling -----

  /** Who listens waits for speakers that may come later, as a server waits for callers. */
  #keepAlive(): void {
    if (this.#listeners.size > 0) this.#alive ??= setInterval(() => {}, KEEP_ALIVE_MS);
    else {
      clearInterval(this.#alive);
      this.#alive = undefined;
    }
  }

  #holders(pattern: Pattern, role: "server" | "speaker", address: string): DirectoryEntry[] {
    const wire = this.#context.name;
    return this.#directory.others.filter((entry) =>
      entry.wires[wire] !== undefined &&
      entry.endpoints.some((e) =>
        e.role === role && e.pattern === pattern && e.address === address && e.wires.includes(wire)
      )
    );
  }

  #found(entries: readonly DirectoryEntry[]): Finding {
    const wire = this.#context.name;
    if (!entries.some(({ id }) => this.#peers.get(id)?.session !== undefined)) {
      const obstacle = this.driver.obstacle?.();
      if (obstacle !== undefined) {
        return { found: false, unable: true, reason: obstacle.message, remedy: obstacle.remedy };
      }
    }
    const detail = entries.map((e) => `${e.instance} (pid ${e.pid}) at ${e.wires[wire]}`);
    return { found: true, detail: detail.join(", ") };
  }

  #peersOf(pattern: Pattern, address: string): Peer[] {
    return this.#holders(pattern, "server", address).map((entry) => this.#peer(entry));
  }

  #peer(entry: DirectoryEntry): Peer {
    let peer = this.#peers.get(entry.id);
    if (peer === undefined) {
      peer = new Peer(entry, entry.wires[this.#context.name], this);
      this.#peers.set(entry.id, peer);
    }
    return peer;
  }

  async #join(listener: ListenerEndpoint): Promise<void> {
    const wire = this.#context.name;
    const speakers = this.#directory.others.filter((entry) =>
      entry.wires[wire] !== undefined &&
      entry.endpoints.some((e) =>
        e.role === "speaker" && e.wires.includes(wire) && listener.accepts(e.address)
      )
    );
    await Promise.all(speakers.map((entry) => this.#peer(entry).join(listener)));
  }

  #leave(listener: ListenerEndpoint): void {
    this.#listeners.delete(listener);
    this.#joined.delete(listener);
    this.#keepAlive();
    for (const peer of [...this.#peers.values(), ...this.#going.keys()]) peer.leave(listener);
  }

  #directoryChanged(): void {
    if (this.#closing !== undefined) return;
    const live = new Set(this.#directory.others.map((entry) => entry.id));
    for (const [id, peer] of this.#peers) {
      if (live.has(id)) continue;
      this.#peers.delete(id);
      const { instance } = peer.entry;
      const reason = new PatchbayError("closed", `the module ${instance} has gone`);
      this.#going.set(peer, peer.gone(reason).finally(() => this.#going.delete(peer)));
    }
    for (const listener of this.#listeners) {
      this.#join(listener).catch((error) => {
        // While listen() itself has not resolved, it is told by its rejection.
        if (this.#joined.has(listener)) this.#context.report(PatchbayError.fromThrown(error));
      });
    }
    this.#context.routesChanged();
  }
}

/**
 * Makes a transport of a link driver: callers and listeners dial the processes that the directory
 * names, and all three patterns run over sessions.
 *
 * @typeParam Extras What only this wire has.
 * @param context What core gave the plugin.
 * @param directory Who is where.
 * @param driver How to listen and dial.
 * @param config The checked configuration.
 * @param extras What only this wire has.
 */
export function directoryTransport<Extras>(
  context: TransportContext,
  directory: Directory,
  driver: LinkDriver,
  config: LinkConfig,
  extras: Extras,
): Transport<Extras> {
  return new DirectoryTransport(context, directory, driver, config, extras);
}
