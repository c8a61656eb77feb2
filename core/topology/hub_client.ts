/**
 * The transport of a bay that dials a hub: it serves, speaks, listens and calls over one
 * connection, which is made again when it is lost. See decision 0006.
 *
 * @module
 */

import type { CallableEndpoint } from "../callable_endpoint.ts";
import type { DirectoryEntry } from "../directory.ts";
import { PatchbayError, type Pattern, type WireError } from "../errors.ts";
import type { JobEndpoint } from "../job_endpoint.ts";
import type { LinkDriver } from "../link_plugin.ts";
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
import { encodeControl, Kind } from "../session/envelope.ts";
import type { InboundHost, SessionHost } from "../session/targets.ts";
import type { Publication } from "../session/publication.ts";
import type { Session, SessionOptions } from "../session/session.ts";
import type { SpeakerEndpoint } from "../speaker.ts";
import type { HubConfig, HubDriver } from "./hub_driver.ts";
import type { Offer as Seen, Watching } from "../offers.ts";
import { RESUME } from "./hub_claims.ts";
import { keyOf, type Offer, readPresence, readRefusal, readSight } from "./hub_frames.ts";
import { isRefusal, Peer, type PeerHost } from "./peer.ts";
import { CallWay, JobWay, SpeakWay } from "./ways.ts";

/** A timer that does nothing but keep the process alive: as long as timers go, 24.8 days. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;
/** How long to wait for the hub to have taken an offer back, in milliseconds. */
const WITHDRAW_MS = 1000;
/** The most findings that are remembered. */
const MAX_FOUND = 4096;
/** The most addresses that are seen of one pattern: as many as a connection can bind. */
const MAX_OF_WATCH = 65_536;

/** A speaker's way to the hub, which tells how many listen behind it. */
class HubSpeakWay extends SpeakWay {
  count = 0;

  override get listeners(): number {
    return this.count;
  }
}

/** Something that this bay serves or speaks, as it tells the hub. */
class Offered {
  readonly id: number;
  readonly offer: Offer;
  session: Session | undefined = undefined;
  answer: PromiseWithResolvers<void> = Promise.withResolvers();
  /** Whether a hub has ever taken it: a refusal later on is reported, not thrown. */
  accepted = false;

  constructor(id: number, offer: Offer) {
    this.id = id;
    this.offer = offer;
  }
}

/** Something that this bay watches at the hub. */
class Sighting {
  readonly match: string;
  readonly changed: () => void;
  readonly seen = new Map<string, readonly Seen[]>();
  readonly complete = Promise.withResolvers<void>();
  session: Session | undefined = undefined;
  /** Whether it was told that there are too many. */
  overfull = false;
  /** Why the hub does not tell. */
  refusal: PatchbayError | undefined = undefined;

  constructor(match: string, changed: () => void) {
    this.match = match;
    this.changed = changed;
  }
}

/** A bay's way to its hub. */
export class HubClient<Extras> implements Transport<Extras>, SessionHost, PeerHost {
  /** What only this wire has. */
  readonly extras: Extras;
  /** @ignore */
  readonly driver: LinkDriver;
  /** @ignore */
  readonly config: HubConfig;
  /** @ignore */
  readonly session: SessionOptions;
  /** As {@link PeerHost.maxAttempts}. */
  readonly maxAttempts: number;
  /** As {@link SessionHost.version}. */
  version = 0;
  readonly #context: TransportContext;
  readonly #where: string;
  readonly #free: (() => void) | undefined;
  readonly #hooks: Pick<HubDriver & { readonly role: "client" }, "connected" | "lost">;
  readonly #hub: Peer;
  /** All connections: the first carries what is served, spoken and heard; calls use each in turn. */
  readonly #pool: readonly Peer[];
  readonly #callables = new Map<string, CallableEndpoint>();
  readonly #jobs = new Map<string, JobEndpoint>();
  readonly #speakers = new Set<HubSpeakWay>();
  readonly #publications = new Set<Publication>();
  readonly #listeners = new Set<ListenerEndpoint>();
  readonly #offers = new Map<number, Offered>();
  readonly #withdrawals = new Map<number, () => void>();
  /** The connection over which more was asked after than the hub keeps up to date. */
  #overfullAt: Session | undefined;
  readonly #questions = new Map<number, (finding: Finding) => void>();
  /** What the hub has found, and keeps up to date. */
  readonly #found = new Map<string, Finding>();
  readonly #sightings = new Map<number, Sighting>();
  #lastId = 0;
  #refusal: PatchbayError | undefined;
  #alive: ReturnType<typeof setInterval> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Makes a transport; the hub is dialled when it is first needed.
   *
   * @param context What core gives the plugin.
   * @param driver How to dial.
   * @param config The configuration.
   * @param session How to make a session.
   * @param extras What only this wire has.
   */
  constructor(
    context: TransportContext,
    driver: HubDriver & { readonly role: "client" },
    config: HubConfig,
    session: Omit<SessionOptions, "host">,
    extras: Extras,
  ) {
    this.#context = context;
    this.#where = driver.where;
    this.#free = driver.close;
    this.#hooks = driver;
    this.config = config;
    this.extras = extras;
    this.maxAttempts = config.maxAttempts || Infinity;
    this.session = {
      ...session,
      host: this,
      credentials: driver.credentials,
      // Who comes back with another's id and lacks this is refused.
      metadata: { ...driver.metadata, [RESUME]: randomHex(16) },
      trustsOrigins: true,
    };
    this.driver = {
      listen: () => Promise.reject(new PatchbayError("internal", "a client does not listen")),
      dial: (_where, signal) => driver.dial(signal),
    };
    const entry: DirectoryEntry = {
      id: "hub",
      module: `the hub at ${driver.where}`,
      instance: "hub",
      pid: 0,
      startedAtMs: 0,
      wires: {},
      endpoints: [],
    };
    this.#hub = new Peer(entry, driver.where, this);
    const others = Array.from({ length: config.connections - 1 }, () => {
      return new Peer(entry, driver.where, this.#further());
    });
    this.#pool = [this.#hub, ...others];
  }

  /** The bay's timer. */
  get timers(): TransportContext["timers"] {
    return this.#context.timers;
  }

  /** As {@link PeerHost.holds}. */
  get holds(): boolean {
    return this.#offers.size + this.#sightings.size > 0 && this.#closing === undefined;
  }

  /** Degraded while the connection is needed and being restored. */
  health(): Health {
    const { trouble } = this.#hub;
    if (trouble !== undefined) {
      const reason = `no connection to the hub at ${this.#where}: ${trouble.message}`;
      return { status: "degraded", reason };
    }
    if (this.#refusal === undefined) return { status: "healthy" };
    return { status: "degraded", reason: this.#refusal.message };
  }

  /** As {@link Transport.find}; asks the hub unless it is known that somebody is there. */
  find(pattern: Pattern, address: string): Finding | Promise<Finding> {
    return this.#found.get(keyOf(pattern, address)) ?? this.#ask(pattern, address);
  }

  /** As {@link Transport.watch}: the hub tells, also after the connection was lost and made anew. */
  async watch(match: string, changed: () => void): Promise<Watching> {
    const sighting = new Sighting(match, changed);
    const id = ++this.#lastId;
    this.#sightings.set(id, sighting);
    this.#keepAlive();
    try {
      await this.#look(await this.#hub.connect(), id, sighting);
    } catch {
      // The hub is not there yet, or was lost: it is asked when it is.
      this.#hub.keep();
    }
    if (sighting.refusal !== undefined) {
      this.#sightings.delete(id);
      this.#keepAlive();
      throw sighting.refusal;
    }
    const { seen } = sighting;
    return {
      get offers() {
        return [...seen.values()].flat();
      },
      close: () => {
        if (!this.#sightings.delete(id)) return;
        this.#keepAlive();
        const { session } = this.#hub;
        session?.sender.control(Kind.watch, id, 0, encodeControl({}));
      },
    };
  }

  /** As {@link Transport.serve}. */
  serve(endpoint: CallableEndpoint): Promise<Registration> {
    return this.#put(this.#callables, endpoint, "callable");
  }

  /** As {@link Transport.perform}. */
  perform(endpoint: JobEndpoint): Promise<Registration> {
    return this.#put(this.#jobs, endpoint, "job");
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    let offered: Offered | undefined;
    const way: HubSpeakWay = new HubSpeakWay(endpoint, {
      silence: () => {
        this.#speakers.delete(way);
        if (offered !== undefined) void this.#withdraw(offered);
      },
      listenersOf: () => Promise.resolve([]),
    });
    this.#speakers.add(way);
    for (const publication of this.#publications) way.add(publication);
    try {
      const { address, retain, bridged } = endpoint;
      offered = await this.#offer({ pattern: "speaker", address, retain, bridged });
    } catch (error) {
      this.#speakers.delete(way);
      throw error;
    }
    return way;
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#listeners.add(endpoint);
    this.#keepAlive();
    const leave = () => {
      this.#listeners.delete(endpoint);
      this.#keepAlive();
      this.#hub.leave(endpoint);
      return Promise.resolve();
    };
    try {
      await this.#hub.join(endpoint);
    } catch (error) {
      await leave();
      throw error;
    }
    return { close: leave };
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return new CallWay(this.#pool, address, this.#context.name);
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    return new JobWay(this.#pool, address, this.#context.name);
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      this.#listeners.clear();
      this.#offers.clear();
      this.#sightings.clear();
      this.#keepAlive();
      const { module } = this.#context.identity;
      const reason = new PatchbayError("closed", `${module} has closed`);
      await Promise.all(this.#pool.map((peer) => peer.close(reason)));
      this.#free?.();
    })();
  }

  // ----- for sessions and the way to the hub -----

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

  /** As {@link SessionHost.hubFrame}. */
  hubFrame(_from: InboundHost, kind: number, id: number, body: Record<string, unknown>): void {
    if (kind === Kind.registerAck) return this.#answered(id, body);
    if (kind === Kind.presence) return this.#told(id, body);
    if (kind === Kind.watch) return this.#saw(id, body);
    throw new PatchbayError("protocol", `frame kind ${kind} is for a hub, and this bay is none`);
  }

  /** As {@link PeerHost.opened}: the hub learns what is served and spoken here. */
  async opened(session: Session): Promise<void> {
    session.ended.then((error) => this.#over(session, error));
    for (const [id, sighting] of this.#sightings) void this.#look(session, id, sighting);
    this.#refusal = undefined;
    await Promise.all([...this.#offers.values()].map(async (offered) => {
      try {
        await this.#announce(session, offered);
      } catch (error) {
        const known = PatchbayError.fromThrown(error);
        if (!session.isOpen) throw known;
        // Somebody has taken the address meanwhile; the next connection tries again.
        if (!offered.accepted) return;
        this.#refusal = known;
        this.#context.report(known.with({ address: offered.offer.address }));
      }
    }));
    this.#hooks.connected?.();
  }

  /** As {@link PeerHost.peerChanged}. */
  peerChanged(): void {
    this.#context.routesChanged();
  }

  /** As {@link PeerHost.peerLost}. */
  peerLost(error?: PatchbayError): void {
    if (error !== undefined && !isRefusal(error)) this.#hooks.lost?.(error);
    this.#found.clear();
    for (const way of this.#speakers) way.count = 0;
    this.#context.routesChanged();
  }

  /** As {@link PeerHost.gaveUp}: what is served, spoken and watched here has nobody else to tell it. */
  gaveUp(error: PatchbayError): void {
    if (this.holds) this.#context.report(error.with({ transport: this.#context.name }));
  }

  /**
   * What a further connection is made with. It has an id of its own, as the hub takes a second
   * connection of one bay for the first that has come back.
   */
  #further(): PeerHost {
    const id = randomHex(8);
    const { driver, config, timers, maxAttempts, session } = this;
    return {
      driver,
      config,
      timers,
      maxAttempts,
      session: { ...session, identity: { ...session.identity, id } },
      peerChanged: () => {},
      peerLost: () => {},
      // A refusal is final here, too; the jobs that needed it are told.
      gaveUp: () => {},
    };
  }

  // ----- what the hub is told -----

  async #put<E extends CallableEndpoint | JobEndpoint>(
    map: Map<string, E>,
    endpoint: E,
    pattern: Pattern,
  ): Promise<Registration> {
    const { address, shared, bridged } = endpoint;
    const before = map.get(address);
    map.set(address, endpoint);
    this.version++;
    const take = () => {
      if (map.get(address) === endpoint) map.delete(address);
      this.version++;
    };
    try {
      const offered = await this.#offer({ pattern, address, shared, bridged });
      return {
        close: async () => {
          take();
          await this.#withdraw(offered);
        },
      };
    } catch (error) {
      take();
      if (before !== undefined) map.set(address, before);
      throw error;
    }
  }

  async #offer(offer: Offer): Promise<Offered> {
    const offered = new Offered(++this.#lastId, offer);
    this.#offers.set(offered.id, offered);
    this.#keepAlive();
    try {
      const session = await this.#hub.connect();
      await this.#announce(session, offered);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      if (isRefusal(known)) {
        this.#offers.delete(offered.id);
        this.#keepAlive();
        throw known;
      }
      // The hub is not there yet, or was lost: it is told when it is.
      this.#hub.keep();
    }
    return offered;
  }

  #announce(session: Session, offered: Offered): Promise<void> {
    if (offered.session === session) return offered.answer.promise;
    offered.session = session;
    const answer = offered.answer = Promise.withResolvers<void>();
    answer.promise.catch(() => {});
    session.sender.control(Kind.register, offered.id, 0, encodeControl(offered.offer));
    return answer.promise;
  }

  #answered(id: number, body: Record<string, unknown>): void {
    const withdrawn = this.#withdrawals.get(id);
    if (withdrawn !== undefined) {
      this.#withdrawals.delete(id);
      return withdrawn();
    }
    const offered = this.#offers.get(id);
    if (offered === undefined) return;
    const error = readRefusal(body, this.#context.name);
    if (error !== undefined) return offered.answer.reject(error);
    offered.accepted = true;
    offered.answer.resolve();
  }

  async #withdraw(offered: Offered): Promise<void> {
    if (!this.#offers.delete(offered.id)) return;
    // Nobody waits any longer for an answer that is on its way, or will not come.
    offered.answer.resolve();
    this.#keepAlive();
    const { session } = offered;
    if (session === undefined || !session.isOpen) return;
    await new Promise<void>((resolve) => {
      // A hub that does not answer keeps nobody from closing.
      const late = setTimeout(resolve, WITHDRAW_MS);
      this.#withdrawals.set(offered.id, () => {
        clearTimeout(late);
        resolve();
      });
      session.sender.control(Kind.unregister, offered.id, 0, encodeControl(offered.offer));
    });
  }

  /** The connection has ended: nothing that was asked over it is answered any longer. */
  #over(session: Session, error: PatchbayError): void {
    for (const offered of this.#offers.values()) {
      if (offered.session === session) {
        const lost = isRefusal(error) ? error : new PatchbayError("closed", error.message);
        offered.answer.reject(lost);
      }
    }
    for (const withdrawn of this.#withdrawals.values()) withdrawn();
    this.#withdrawals.clear();
    const reason = "the connection to the hub was lost";
    for (const answer of this.#questions.values()) answer({ found: false, reason });
    this.#questions.clear();
    for (const { seen, complete, changed } of this.#sightings.values()) {
      complete.resolve();
      if (seen.size === 0) continue;
      seen.clear();
      changed();
    }
  }

  /** Asks the hub for a pattern, once over each connection. */
  #look(session: Session, id: number, sighting: Sighting): Promise<void> {
    if (sighting.session !== session) {
      sighting.session = session;
      const { match } = sighting;
      session.sender.control(Kind.watch, id, 0, encodeControl({ match }));
    }
    return sighting.complete.promise;
  }

  #saw(id: number, body: Record<string, unknown>): void {
    const { pattern, address, offers, error } = readSight(body);
    const sighting = this.#sightings.get(id);
    if (sighting === undefined) return;
    const { seen, complete, changed } = sighting;
    if (error !== undefined) {
      sighting.refusal = PatchbayError.fromWire(error, { transport: this.#context.name });
      this.#context.report(sighting.refusal);
    }
    if (pattern === undefined || address === undefined) return complete.resolve();
    const key = keyOf(pattern, address);
    if (offers.length === 0) seen.delete(key);
    else if (seen.size < MAX_OF_WATCH || seen.has(key)) seen.set(key, offers);
    else if (!sighting.overfull) {
      sighting.overfull = true;
      const what = `over ${MAX_OF_WATCH} addresses match ${sighting.match}: others are not seen`;
      this.#context.report(new PatchbayError("overloaded", what, { remedy: "narrow the pattern" }));
    }
    changed();
  }

  // ----- what the hub tells -----

  async #ask(pattern: Pattern, address: string): Promise<Finding> {
    let session: Session;
    try {
      session = await this.#hub.connect();
    } catch (error) {
      const { message, remedy } = PatchbayError.fromThrown(error);
      return { found: false, reason: message, remedy };
    }
    const id = ++this.#lastId;
    return await new Promise<Finding>((resolve) => {
      this.#questions.set(id, resolve);
      session.sender.control(Kind.find, id, 0, encodeControl({ pattern, address }));
    });
  }

  #told(id: number, body: Record<string, unknown>): void {
    const { pattern, address, found, detail, listeners, drops, error } = readPresence(body);
    if (listeners !== undefined) return this.#counted(address, listeners, drops ?? {});
    const key = keyOf(pattern, address);
    const reason = "no client of the hub serves it";
    const finding: Finding = found === true ? { found, detail } : { found: false, reason };
    // What the hub will not keep up to date is asked anew each time.
    const kept = found === true && error === undefined && this.#found.size < MAX_FOUND;
    if (kept) this.#found.set(key, finding);
    else this.#found.delete(key);
    if (error !== undefined) this.#overfull(error);
    const asked = this.#questions.get(id);
    if (asked === undefined) return this.#context.routesChanged();
    this.#questions.delete(id);
    asked(finding);
  }

  /** The hub does not keep this up to date: reported once for each connection. */
  #overfull(error: WireError): void {
    // Whoever chooses a way by it chooses anew the next time.
    this.#context.routesChanged();
    const { session } = this.#hub;
    if (session === undefined || this.#overfullAt === session) return;
    this.#overfullAt = session;
    this.#context.report(PatchbayError.fromWire(error, { transport: this.#context.name }));
  }

  #counted(address: string, listeners: number, drops: Readonly<Record<string, number>>): void {
    const ways = [...this.#speakers].filter((way) => way.address === address);
    for (const way of ways) way.count = listeners;
    for (const [reason, n] of Object.entries(drops)) {
      ways[0]?.endpoint.statistics.countDrop(reason, n);
    }
  }

  /** Who serves or listens waits for others, and must not end for lack of work. */
  #keepAlive(): void {
    if (this.#listeners.size > 0 || this.#offers.size > 0 || this.#sightings.size > 0) {
      this.#alive ??= setInterval(() => {}, KEEP_ALIVE_MS);
    } else {
      clearInterval(this.#alive);
      this.#alive = undefined;
    }
  }
}

function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
