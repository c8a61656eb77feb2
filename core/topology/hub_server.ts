/**
 * The transport of a hub: it listens, serves and speaks itself, knows what its clients serve and
 * speak, and relays between them. See decision 0006.
 *
 * @module
 */

import { matches } from "../address.ts";
import type { OutboundCall } from "../callable.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import type { JobEndpoint } from "../job_endpoint.ts";
import type { Link } from "../link.ts";
import type { LinkListener } from "../link_plugin.ts";
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
  Verb,
} from "../plugin.ts";
import { encodeControl, Kind } from "../session/envelope.ts";
import type { CallTarget, InboundHost, JobTarget, SessionHost } from "../session/targets.ts";
import { Passing } from "../session/passing.ts";
import type { Publication } from "../session/publication.ts";
import { Session, type SessionOptions } from "../session/session.ts";
import type { SpeakerEndpoint } from "../speaker.ts";
import type { HubConfig, HubDriver } from "./hub_driver.ts";
import type { HubListenerView, HubMemberView, HubView } from "./hub_view.ts";
import type { Watching } from "../offers.ts";
import { HubClaims, RESUME } from "./hub_claims.ts";
import { type Offer, readOffer, readWatch } from "./hub_frames.ts";
import { KeptBytes } from "./hub_kept.ts";
import { HubMember } from "./hub_member.ts";
import { HubRegistry, MAX_OF_CLIENT } from "./hub_registry.ts";
import { Errand, RelayJob } from "./hub_jobs.ts";
import { HubCall, nobody, RelayCallable, type RelayHost } from "./hub_relay.ts";
import { HubSights } from "./hub_sights.ts";
import { type CreditLines, RelayedSpeaker } from "./hub_speaker.ts";
import { SpeakWay } from "./ways.ts";

/** How long a listener or speaker waits for the other clients to acknowledge, in milliseconds. */
const READY_MS = 1000;
/** So many clients that have gone are remembered, to count those that come back. */
const MAX_GONE = 4096;

/** A hub. */
export class HubServer<Extras> implements Transport<Extras>, SessionHost, RelayHost, HubView {
  /** What only this wire has. */
  readonly extras: Extras;
  /** As {@link SessionHost.version}. */
  version = 0;
  /** As {@link RelayHost.seeking}. */
  readonly seeking: Map<string, Set<Errand>> = new Map();
  readonly #context: TransportContext;
  readonly #config: HubConfig;
  readonly #driver: HubDriver & { readonly role: "hub" };
  readonly #options: SessionOptions;
  readonly #callables = new Map<string, CallableEndpoint>();
  readonly #jobs = new Map<string, JobEndpoint>();
  readonly #ways = new Set<SpeakWay>();
  readonly #publications = new Set<Publication>();
  readonly #listeners = new Set<ListenerEndpoint>();
  readonly #sessions = new Set<Session>();
  readonly #clients = new Map<InboundHost, HubMember>();
  readonly #byBay = new Map<string, HubMember>();
  readonly #registry = new HubRegistry();
  readonly #sights: HubSights;
  readonly #claims = new HubClaims();
  readonly #lines: CreditLines = new WeakMap();
  readonly #gone = new Set<string>();
  /** Connections whose client has gone, or has another one. */
  readonly #dropped = new WeakSet<Session>();
  /** Who watches in this bay. */
  readonly #onlookers = new Set<() => void>();
  #listener: LinkListener | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Makes a transport; {@link listen} must follow.
   *
   * @param context What core gives the plugin.
   * @param driver How to listen.
   * @param config The configuration.
   * @param session How to make a session.
   * @param extras What only this wire has.
   */
  constructor(
    context: TransportContext,
    driver: HubDriver & { readonly role: "hub" },
    config: HubConfig,
    session: Omit<SessionOptions, "host">,
    extras: Extras,
  ) {
    this.#context = context;
    this.#driver = driver;
    this.#config = config;
    this.extras = extras;
    this.#options = { ...session, host: this };
    this.#sights = new HubSights({
      relay: config.relay,
      identity: context.identity,
      clients: this.#byBay,
      registry: this.#registry,
      callables: this.#callables,
      jobs: this.#jobs,
      ways: this.#ways,
      tooMuch: (what, remedy) => this.#tooMuch(what, remedy),
    });
    // Nobody comes in as the hub itself.
    this.#claims.claim(context.identity.id, {
      identity: undefined,
      resume: crypto.randomUUID(),
    });
  }

  /** Begins to listen. */
  async start(): Promise<void> {
    this.#listener = await this.#driver.listen((link) => this.#accept(link));
    this.#driver.opened?.(this);
  }

  /** The plugin's name. */
  get transport(): string {
    return this.#context.name;
  }

  /** The bay's timer. */
  get timers(): TransportContext["timers"] {
    return this.#context.timers;
  }

  /** As {@link RelayHost.rejoinMs}. */
  get rejoinMs(): number {
    return this.#config.rejoinMs;
  }

  /** As {@link Transport.health}. */
  health(): Health {
    return { status: "healthy" };
  }

  /** As {@link Transport.find}. */
  find(pattern: Pattern, address: string): Finding {
    const { found, detail } = this.#sights.look(pattern, address, undefined);
    if (found === true) return { found, detail };
    return { found: false, reason: "no client of this hub serves it" };
  }

  /** As {@link Transport.watch}: what the clients serve and speak. */
  watch(match: string, changed: () => void): Promise<Watching> {
    this.#onlookers.add(changed);
    const offers = () => this.#sights.all(match, undefined);
    return Promise.resolve({
      get offers() {
        return offers();
      },
      close: () => void this.#onlookers.delete(changed),
    });
  }

  /** As {@link Transport.serve}. */
  // deno-lint-ignore require-await -- a refusal must reject, not throw
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    return this.#put("callable", this.#callables, endpoint);
  }

  /** As {@link Transport.perform}. */
  // deno-lint-ignore require-await -- a refusal must reject, not throw
  async perform(endpoint: JobEndpoint): Promise<Registration> {
    return this.#put("job", this.#jobs, endpoint);
  }

  /** As {@link Transport.speak}. */
  speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    const way = new SpeakWay(endpoint, {
      silence: (closed) => {
        this.#ways.delete(closed);
        this.#changed("speaker", endpoint.address);
      },
      listenersOf: () => Promise.resolve([]),
    });
    this.#ways.add(way);
    for (const publication of this.#publications) way.add(publication);
    this.#changed("speaker", endpoint.address);
    return Promise.resolve(way);
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    this.#listeners.add(endpoint);
    await this.#within([...this.#byBay.values()].map((client) => this.#hear(client, endpoint)));
    return {
      close: () => {
        this.#listeners.delete(endpoint);
        for (const client of this.#byBay.values()) {
          client.subscriptions.get(endpoint)?.close();
          client.subscriptions.delete(endpoint);
          for (const speaker of client.speakers.values()) this.#countHere(speaker);
        }
        return Promise.resolve();
      },
    };
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    const sent = new WeakMap<OutboundCall, HubCall>();
    return {
      start: (call) => {
        const workers = this.workers("callable", address, undefined);
        if (workers.length === 0) return call.fail(nobody(address, this.#context.name));
        const forwarded = new HubCall(call, workers);
        sent.set(call, forwarded);
        forwarded.next();
      },
      cancel: (call) => sent.get(call)?.cancel(),
      close: () => {},
    };
  }

  /** As {@link Transport.executor}. */
  executor(): JobPort {
    let errand: Errand | undefined;
    return {
      start: (job: OutboundJob) => {
        errand = new Errand(this, job, undefined, job.statistics, job);
        errand.start();
      },
      cancel: (_job, reason) => errand?.cancel(reason),
      abandon: () => errand?.abandon("the job's owner has given up"),
      close: () => {
        if (errand?.ended === false) errand.abandon("the job's owner has given up");
      },
    };
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      const reason = new PatchbayError("closed", `${this.#context.identity.module} has closed`);
      this.#listeners.clear();
      const sessions = [...this.#sessions];
      const closing = this.#listener?.close();
      await Promise.all(sessions.map((session) => session.close(reason)));
      await closing;
      for (const errands of [...this.seeking.values()]) {
        for (const errand of [...errands]) errand.expire();
      }
    })();
  }

  // ----- for the plugin -----

  /** As {@link HubView.members}. */
  members(): HubMemberView[] {
    const heard = new Map<string, HubListenerView[]>();
    for (const { subscriber, terms, published, dropped, waiting } of this.#publications) {
      const view = { pattern: terms.pattern, published, dropped, waiting };
      const others = heard.get(subscriber);
      if (others === undefined) heard.set(subscriber, [view]);
      else others.push(view);
    }
    return [...this.#byBay.values()].map(({ session, sinceMs, offers }) => ({
      bay: session.bay,
      sinceMs,
      metadata: withoutSecret(session.metadata),
      listens: heard.get(session.bay.id) ?? [],
      offers: [...offers.values()].map(({ pattern, address }) => ({ pattern, address })),
    }));
  }

  /** As {@link HubView.expel}. */
  expel(id: string, reason: string): void {
    const member = this.#byBay.get(id);
    if (member === undefined) return;
    // Not drained: it does not read. It is gone at once for whoever looks.
    void member.session.close(new PatchbayError("overloaded", reason));
    this.#drop(member.session);
  }

  // ----- for sessions and relays -----

  /** As {@link SessionHost.callable}. */
  callable(address: string, from: InboundHost): CallTarget | undefined {
    const mine = this.#callables.get(address);
    if (!this.#config.relay || mine?.shared === false) return mine;
    return new RelayCallable(this, address, from, mine);
  }

  /** As {@link SessionHost.job}. */
  job(address: string, from: InboundHost): JobTarget | undefined {
    const mine = this.#jobs.get(address);
    if (!this.#config.relay || mine?.shared === false) return mine;
    const { id, module, identity } = { id: from.origin, ...from.peer };
    const frame = { ttl: 1, priority: 128, number: 0 };
    const attachment = () => new Passing("", new Uint8Array(0), frame, { id, module, identity });
    return new RelayJob(this, address, from, attachment, mine);
  }

  /** As {@link RelayHost.workers}. */
  workers(pattern: "callable" | "job", address: string, but: unknown): HubMember[] {
    return this.#registry.workers(pattern, address, but as InboundHost | undefined);
  }

  /** As {@link RelayHost.countTtl}. */
  countTtl(): void {
    this.#context.statistics.countDrop("ttl");
  }

  /** As {@link SessionHost.joining}: the speakers of other clients are subscribed to. */
  joining(publication: Publication): Promise<void> | undefined {
    this.#publications.add(publication);
    this.#driver.listening?.();
    for (const way of this.#ways) way.add(publication);
    if (!this.#config.relay) return undefined;
    const joins: Promise<void>[] = [];
    for (const client of this.#byBay.values()) {
      for (const speaker of client.speakers.values()) {
        if (this.#may(speaker, publication)) joins.push(speaker.add(publication));
      }
    }
    return joins.length === 0 ? undefined : this.#within(joins);
  }

  /** As {@link SessionHost.subscribed}. */
  subscribed(): void {}

  /** As {@link SessionHost.unsubscribed}. */
  unsubscribed(publication: Publication): void {
    this.#publications.delete(publication);
    this.#driver.listening?.();
    for (const way of this.#ways) way.delete(publication);
    for (const client of this.#byBay.values()) {
      for (const speaker of client.speakers.values()) speaker.delete(publication);
    }
  }

  /** As {@link SessionHost.hubFrame}. */
  hubFrame(from: InboundHost, kind: number, id: number, body: Record<string, unknown>): void {
    // Who has connected anew may still have something on its old connection, which is being drained.
    if (this.#dropped.has(from as Session)) return;
    const client = this.#client(from as Session);
    if (kind === Kind.watch) return this.#sights.watch(client, id, readWatch(body));
    const offer = readOffer(body);
    if (kind === Kind.register) return void this.#register(client, id, offer);
    if (kind === Kind.unregister) return this.#unregister(client, id);
    if (kind !== Kind.find) {
      throw new PatchbayError("protocol", `frame kind ${kind} is for a client, and this is a hub`);
    }
    this.#sights.ask(client, id, offer);
  }

  /** Counts that a client wants too much, which it is told. */
  #tooMuch(what: string, remedy: string): PatchbayError {
    this.#context.statistics.countError("overloaded");
    return new PatchbayError("overloaded", what, { transport: this.#context.name, remedy });
  }

  // ----- clients -----

  #accept(link: Link): void {
    if (this.#sessions.size >= this.#config.maxConnections || this.#closing !== undefined) {
      this.#context.statistics.countError("overloaded");
      return void link.close(true);
    }
    let claimed: string | undefined;
    const session = new Session(link, false, {
      ...this.#options,
      authenticate: async (credentials, bay, metadata) => {
        const said = withoutSecret(metadata);
        const identity = await this.#driver.authenticate?.(credentials, bay, link, said);
        // It may have gone while it was looked at.
        if (over) throw new PatchbayError("closed", "the connection was lost");
        this.#claims.claim(bay.id, {
          identity: identity ?? link.identity,
          resume: metadata[RESUME],
        });
        claimed = bay.id;
        return identity;
      },
    });
    let over = false;
    this.#sessions.add(session);
    this.#context.statistics.connections++;
    session.ready.then(() => this.#welcome(session), () => {});
    session.ended.then(() => {
      over = true;
      if (claimed !== undefined) this.#claims.release(claimed);
      this.#sessions.delete(session);
      this.#context.statistics.connections--;
      this.#drop(session);
    });
  }

  #welcome(session: Session): void {
    try {
      this.#client(session);
    } catch (error) {
      const refusal = PatchbayError.fromThrown(error);
      this.#context.report(refusal.with({ transport: this.#context.name }));
      void session.close(refusal);
    }
  }

  #client(session: Session): HubMember {
    const known = this.#clients.get(session);
    if (known !== undefined) return known;
    const client = this.#member(session);
    const { id } = session.bay;
    const before = this.#byBay.get(id);
    if (before !== undefined) {
      // It is back before the loss of its old connection was noticed.
      void before.session.close(new PatchbayError("closed", "the client has connected anew"));
      this.#drop(before.session);
    }
    if (this.#gone.delete(id)) this.#context.statistics.reconnections++;
    this.#clients.set(session, client);
    this.#byBay.set(id, client);
    try {
      this.#driver.joined?.(session.bay, session.metadata);
    } catch (error) {
      this.#clients.delete(session);
      this.#byBay.delete(id);
      this.#dropped.add(session);
      throw error;
    }
    return client;
  }

  #member(session: Session): HubMember {
    const { maxQueueBytes: max } = this.#config;
    const kept = new KeptBytes(max, (address) => {
      const { module } = session.bay;
      const what = `${address}: the retained values of ${module} have over ${max} bytes in all; ` +
        "late listeners get this one from the module itself";
      const remedy = "retain less, or smaller values; or raise maxQueueBytes of the hub";
      this.#context.report(this.#tooMuch(what, remedy).with({ address }));
    });
    return new HubMember(
      session,
      kept,
      this.timers,
      (client, id) => this.#sights.showAll(client, id),
    );
  }

  #drop(session: Session): void {
    const client = this.#clients.get(session);
    if (client === undefined) return;
    this.#clients.delete(session);
    client.looks.close();
    this.#dropped.add(session);
    if (this.#gone.size >= MAX_GONE) this.#gone.clear();
    this.#gone.add(session.bay.id);
    this.#driver.left?.(session.bay);
    if (this.#byBay.get(session.bay.id) === client) this.#byBay.delete(session.bay.id);
    this.#registry.forget(client);
    for (const id of [...client.offers.keys()]) this.#remove(client, id);
    for (const errand of [...client.errands]) errand.lost();
  }

  // ----- what they serve and speak -----

  async #register(client: HubMember, id: number, offer: Offer): Promise<void> {
    const { offers, registering } = client;
    try {
      if (offers.has(id) || registering.has(id)) {
        throw new PatchbayError("invalid", `the number ${id} stands for another offer already`, {
          remedy: "number offers anew: each register frame has a number of its own",
        });
      }
      if (offers.size + registering.size >= MAX_OF_CLIENT) {
        throw new PatchbayError("overloaded", `over ${MAX_OF_CLIENT} things of one client`);
      }
    } catch (error) {
      return this.#answer(client, id, error);
    }
    registering.set(id, true);
    try {
      if (this.#options.authorize !== undefined) await this.#permit(client, offer);
      // It may have been taken back meanwhile, or the client may have gone.
      if (!registering.delete(id) || this.#clients.get(client.session) !== client) return;
      if (offer.pattern === "speaker") await this.#addSpeaker(client, id, offer);
      else this.#addServer(client, id, offer);
      this.#answer(client, id, undefined);
    } catch (error) {
      registering.delete(id);
      this.#answer(client, id, error);
    }
  }

  /** Acknowledges an offer, or refuses it. */
  #answer(client: HubMember, id: number, error: unknown): void {
    if (!client.session.isOpen) return;
    const body = error === undefined ? {} : { error: PatchbayError.fromThrown(error).toWire() };
    client.session.sender.control(Kind.registerAck, id, 0, encodeControl(body));
  }

  async #permit(client: HubMember, { pattern, address }: Offer): Promise<void> {
    const { peer } = client.session;
    const verb: Verb = pattern === "speaker" ? "shout" : "serve";
    let allowed = false;
    try {
      allowed = await this.#options.authorize?.(peer, verb, address) === true;
    } catch (error) {
      this.#context.report(PatchbayError.fromThrown(error).with({ address }));
    }
    if (allowed) return;
    throw new PatchbayError("forbidden", `${peer.module} may not ${verb} ${address}`, {
      address,
      remedy: "let authorize() of the hub allow it",
    });
  }

  #addServer(client: HubMember, id: number, offer: Offer): void {
    const { pattern, address, shared = false } = offer;
    this.#checkFree(pattern, address, shared);
    this.#registry.offer(client, id, offer);
    this.#registry.add(pattern, address, { client, shared, bridged: offer.bridged });
    this.#changed(pattern, address);
    if (pattern !== "job") return;
    for (const errand of [...this.seeking.get(address) ?? []]) errand.appeared(client);
  }

  #checkFree(pattern: Pattern, address: string, shared: boolean): void {
    const [holder] = this.#registry.servers(pattern, address);
    const mine = pattern === "callable" ? this.#callables.get(address) : this.#jobs.get(address);
    const theirs = holder?.shared ?? mine?.shared;
    if (theirs === undefined || (theirs && shared)) return;
    const who = holder?.client.session.bay.module ?? this.#context.identity.module;
    throw new PatchbayError("unavailable", `${address} is already served by the module ${who}`, {
      address,
      retryable: false,
      details: { taken: true, holder: who },
      remedy: 'stop it, or serve both with sharing: "shared"',
    });
  }

  async #addSpeaker(client: HubMember, id: number, offer: Offer): Promise<void> {
    const { address, retain = false } = offer;
    this.#registry.offer(client, id, offer);
    const known = client.speakers.get(address);
    if (known !== undefined) {
      known.come(retain);
      this.#changed("speaker", address);
      return known.tell();
    }
    const { session } = client;
    const { id: bay, module } = session.bay;
    const origin = { id: bay, module, identity: session.peer.identity };
    const speaker = new RelayedSpeaker(session, origin, address, this.#lines, client.kept);
    speaker.come(retain);
    client.speakers.set(address, speaker);
    this.#countHere(speaker);
    const joins: Promise<void>[] = [];
    if (this.#config.relay) {
      for (const publication of this.#publications) {
        if (this.#may(speaker, publication)) joins.push(speaker.add(publication));
      }
    }
    for (const listener of this.#listeners) joins.push(this.#hear(client, listener));
    this.#changed("speaker", address);
    await this.#within(joins);
  }

  #unregister(client: HubMember, id: number): void {
    client.registering.delete(id);
    this.#remove(client, id);
    this.#answer(client, id, undefined);
  }

  #remove(client: HubMember, id: number): void {
    const offer = this.#registry.withdraw(client, id);
    if (offer === undefined) return;
    const { pattern, address, retain = false } = offer;
    if (pattern === "speaker") {
      const speaker = client.speakers.get(address);
      if (speaker?.leave(retain) === true) {
        client.speakers.delete(address);
        speaker.end();
      }
    } else {
      this.#registry.remove(pattern, address, client);
    }
    this.#changed(pattern, address);
  }

  /** Something about an address has changed: those who have asked after it are told. */
  #changed(pattern: Pattern, address: string): void {
    this.#sights.changed(pattern, address);
    for (const onlooker of this.#onlookers) onlooker();
    if (this.#closing === undefined) this.#context.routesChanged();
  }

  #put<E extends CallableEndpoint | JobEndpoint>(
    pattern: Pattern,
    map: Map<string, E>,
    endpoint: E,
  ): Registration {
    const { address, shared } = endpoint;
    if (!map.has(address)) this.#checkFree(pattern, address, shared);
    map.set(address, endpoint);
    this.version++;
    this.#changed(pattern, address);
    return {
      close: () => {
        if (map.get(address) === endpoint) map.delete(address);
        this.version++;
        this.#changed(pattern, address);
        return Promise.resolve();
      },
    };
  }

  // ----- listening -----

  #may(speaker: RelayedSpeaker, publication: Publication): boolean {
    return speaker.relayedFrom.id !== publication.subscriber &&
      publication.wants(speaker.address);
  }

  /** One listener of the hub itself joins a client, if that speaks what it wants. */
  async #hear(client: HubMember, listener: ListenerEndpoint): Promise<void> {
    for (const speaker of client.speakers.values()) this.#countHere(speaker);
    const wanted = [...client.speakers.keys()].some((address) => listener.accepts(address));
    if (!wanted || client.subscriptions.has(listener)) return;
    client.subscriptions.set(listener, undefined);
    try {
      const subscription = await client.session.outbound.subscribe(listener);
      if (client.subscriptions.has(listener)) client.subscriptions.set(listener, subscription);
      else subscription.close();
    } catch {
      // Its connection was lost: it is joined when it is back.
      client.subscriptions.delete(listener);
    }
  }

  #countHere(speaker: RelayedSpeaker): void {
    const here = [...this.#listeners].filter((one) => matches(one.pattern, speaker.address));
    if (here.length === speaker.listenersHere) return;
    speaker.listenersHere = here.length;
    speaker.tell();
  }

  /** Resolves when all have, or after a second. */
  async #within(work: readonly Promise<unknown>[]): Promise<void> {
    if (work.length === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, READY_MS));
    await Promise.race([Promise.allSettled(work), late]);
    clearTimeout(timer);
  }
}

/** What a client says of itself, for others: the secret is between it and the hub. */
function withoutSecret(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const { [RESUME]: _, ...rest } = metadata;
  return rest;
}
