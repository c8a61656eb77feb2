/**
 * A manager's part in joining several buses: it keeps the tables, answers other managers, and takes
 * frames from one bus to the others.
 *
 * @module
 */

import {
  type Bay,
  type EventContext,
  PatchbayError,
  readStamp,
  SequenceWindow,
  type Speaker,
  stamped,
} from "@patchbay/core";
import type { FrameTable } from "../frame_registry.ts";
import type { Attendance, ModuleView } from "../roster.ts";
import {
  CHANGED,
  checkTables,
  EXCHANGE,
  type Exchange,
  isFrames,
  MAX_MODULES,
  readExchange,
  toldOf,
} from "./exchange.ts";
import { BridgeLink, type BridgeStatus, type LinkHost } from "./link.ts";
import { type ManagerRecord, MAX_MANAGERS, Reach, widest } from "./reach.ts";
import { FrameEars, FrameVoices } from "./ways.ts";

/** Over so many bridges a frame goes, unless something else is said. */
export const DEFAULT_HOPS = 4;
/** The most bridges that a frame may pass: the form of its header. */
export const MAX_HOPS = 8;
/** A manager that has not told its table for so long is gone, in milliseconds. */
const SILENT_MS = 5000;
/** News of one turn and a little more are told together, in milliseconds. */
const SETTLE_MS = 10;
/** So many pairs of sender and address are remembered, to tell what has come twice. */
const MAX_WINDOWS = 4096;

/** How to join buses. */
export interface BridgesOptions {
  /** What this manager is called there; default: where it listens. */
  readonly name?: string;
  /** The managers to dial: `tcp://host:port` or `unix:/path`. */
  readonly urls?: readonly string[];
  /** The secret of their buses, if they have one. */
  readonly token?: string;
  /** A frame passes so many bridges at most: 1 to 8. Default 4. */
  readonly hops?: number;
  /** Told of each change of a bridge's state. */
  readonly onChange?: (status: BridgeStatus) => void;
  /** Told what nobody awaits. */
  readonly onReport?: (error: PatchbayError) => void;
}

/** A module of another manager. */
export interface FarModule extends ModuleView {
  /** What its manager is called. */
  readonly manager: string;
  /** How many bridges lie between. */
  readonly hops: number;
}

/** What bridges ask of the manager's plugin. */
export interface BridgesHost {
  /** The modules that are connected now. */
  modules(): readonly ModuleView[];
  /** What they agree on. */
  readonly table: FrameTable | undefined;
  /** Calls back when somebody listens to something new, or no longer. */
  onListening(told: () => void): () => void;
  /** Calls back with each coming and going. */
  onAttendance(told: (attendance: Attendance) => void): () => void;
  /** Makes the bay that dials another manager. */
  dial(
    url: string,
    token: string | undefined,
    report: (error: PatchbayError) => void,
  ): Promise<Bay>;
}

interface Guest {
  readonly client: string;
  seenMs: number;
}

/** The bridges of one manager. */
export class ManagerBridges implements AsyncDisposable {
  readonly #bay: Bay;
  readonly #host: BridgesHost;
  readonly #options: BridgesOptions;
  readonly #name: string;
  readonly #hops: number;
  readonly #reach: Reach;
  readonly #links: BridgeLink[] = [];
  /** Managers that have dialled this one, by their id. */
  readonly #guests = new Map<string, Guest>();
  readonly #windows = new Map<string, SequenceWindow>();
  readonly #ears: FrameEars;
  readonly #voices: FrameVoices;
  readonly #drops = new Map<string, number>();
  readonly #ends: (() => unknown)[] = [];
  /** What is done for each bridge. */
  readonly #linked: LinkHost = {
    exchange: (key, client) => this.#exchange(key, client),
    told: (link, exchange) => this.#told(link, exchange),
    gone: (link) => this.#gone(link),
    changed: (link) => this.#changed(link),
    take: (link, body, context) => this.#take(link, body, context),
    report: (error) => this.#report(error),
  };
  #news: Speaker<number> | undefined;
  #digest = "";
  #settling: ReturnType<typeof setTimeout> | undefined;
  #refusal = "";
  #closing: Promise<void> | undefined;

  private constructor(bay: Bay, host: BridgesHost, options: BridgesOptions, where: string) {
    const { hops = DEFAULT_HOPS } = options;
    if (!(Number.isInteger(hops) && hops >= 1 && hops <= MAX_HOPS)) {
      throw new PatchbayError("invalid", `a frame cannot pass ${hops} bridges`, {
        remedy: `hops is a whole number from 1 to ${MAX_HOPS}`,
      });
    }
    this.#bay = bay;
    this.#host = host;
    this.#options = options;
    this.#name = options.name ?? where;
    this.#hops = hops;
    this.#reach = new Reach(bay.identity.id, hops);
    const ways = {
      drop: (reason: string) => this.#drop(reason),
      report: (error: PatchbayError) => this.#report(error),
    };
    this.#ears = new FrameEars(bay, ways, (body, context) => this.#take(undefined, body, context));
    this.#voices = new FrameVoices(bay, ways);
  }

  /**
   * Answers other managers from now on, and dials those that it is told to.
   *
   * @param bay The manager's bay.
   * @param host The manager's plugin.
   * @param options Which to dial.
   * @param where Where this manager listens.
   */
  static async open(
    bay: Bay,
    host: BridgesHost,
    options: BridgesOptions,
    where: string,
  ): Promise<ManagerBridges> {
    const bridges = new ManagerBridges(bay, host, options, where);
    await bridges.#open();
    return bridges;
  }

  /** How each bridge is doing that this manager has dialled. */
  get status(): BridgeStatus[] {
    return this.#links.map((link) => link.status);
  }

  /** Frames that came over bridges and were not passed on here, by reason. */
  get drops(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#drops);
  }

  /** The modules of all managers that are reached, nearest first. */
  modules(): FarModule[] {
    return [...this.#reach.routes.values()]
      .sort((one, other) => one.record.hops - other.record.hops)
      .flatMap(({ record: { name, hops, modules } }) =>
        modules.map((module) => ({ ...module, manager: name, hops }))
      );
  }

  /** Ends all bridges. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      clearTimeout(this.#settling);
      for (const end of this.#ends.splice(0)) await end();
      this.#ears.set(new Set());
      await Promise.all(this.#links.map((link) => link.close()));
    })();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(): Promise<void> {
    const { urls = [], token } = this.#options;
    const via = ["bus"];
    this.#news = await this.#bay.speaker<number>(CHANGED, { via });
    // Shared, since several managers of one host may use one directory.
    const served = await this.#bay.serve(EXCHANGE, (value) => this.#answer(value), {
      via,
      sharing: "shared",
    });
    const timer = setInterval(() => this.#lookAtGuests(), 1000);
    this.#ends.push(
      this.#host.onListening(() => this.#soon()),
      this.#host.onAttendance(({ event, id }) => {
        if (event === "left") this.#guestLeft(id);
        this.#soon();
      }),
      () => clearInterval(timer),
      () => served.close(),
      () => this.#news?.close(),
    );
    for (const url of new Set(urls)) {
      const bay = await this.#host.dial(url, token, (error) => this.#report(error));
      this.#links.push(new BridgeLink(url, bay, this.#linked));
    }
  }

  // ----- tables -----

  get #own(): ManagerRecord {
    const modules = this.#host.modules().filter(({ bridge }) => bridge === undefined);
    const hears = modules.flatMap((module) => module.hears.map(({ pattern }) => pattern));
    return {
      id: this.#bay.identity.id,
      name: this.#name,
      hops: 0,
      hears: [...widest(hears.filter(isFrames))],
      modules: modules.slice(0, MAX_MODULES).map(toldOf),
    };
  }

  #exchange(key: string, client: string = this.#bay.identity.id): Exchange {
    return {
      id: this.#bay.identity.id,
      name: this.#name,
      client,
      table: this.#table(),
      records: this.#reach.tell(key, this.#own),
    };
  }

  #told(link: BridgeLink, { id, name, table, records }: Exchange): void {
    this.#check(id, name, table);
    const twin = this.#links.find((each) => each !== link && each.up && each.manager === id);
    if (twin !== undefined) {
      throw new PatchbayError("invalid", `the bus ${name} is joined over another bridge already`, {
        retryable: false,
        remedy: "name each manager once",
      });
    }
    this.#reach.set(link.key, records);
    this.#settle();
  }

  #gone(link: BridgeLink): void {
    if (this.#reach.drop(link.key)) this.#settle();
  }

  #changed(link: BridgeLink): void {
    this.#settle();
    this.#options.onChange?.(link.status);
  }

  #report(error: PatchbayError): void {
    if (this.#closing === undefined) this.#options.onReport?.(error);
  }

  /** Another manager, which has dialled this one, tells its table. */
  #answer(value: unknown): Exchange {
    const { id, name, client, table, records } = readExchange(value);
    const key = `in:${id}`;
    try {
      this.#check(id, name, table);
    } catch (error) {
      if (this.#reach.drop(key)) this.#settle();
      const known = PatchbayError.fromThrown(error);
      // It asks again and again.
      if (this.#refusal !== known.message) this.#report(known);
      this.#refusal = known.message;
      throw error;
    }
    const { id: me } = this.#bay.identity;
    const mine = this.#links.find((link) => link.up && link.manager === id);
    if (mine !== undefined && me < id) {
      if (this.#reach.drop(key)) this.#settle();
      return { ...this.#exchange(key), standby: true };
    }
    if (this.#guests.size >= MAX_MANAGERS && !this.#guests.has(id)) {
      throw new PatchbayError("overloaded", `over ${MAX_MANAGERS} managers have dialled this one`, {
        remedy: "dial one of those: frames pass several bridges",
      });
    }
    this.#guests.set(id, { client, seenMs: performance.now() });
    this.#reach.set(key, records);
    this.#settle();
    return this.#exchange(key);
  }

  #check(id: string, name: string, table: FrameTable | null): void {
    if (id === this.#bay.identity.id) {
      throw new PatchbayError("invalid", "that is this manager itself", {
        retryable: false,
        remedy: "name another manager",
      });
    }
    checkTables(name, table, this.#host.table);
  }

  #table(): FrameTable | null {
    const { table } = this.#host;
    if (table === undefined) return null;
    const { fingerprint, signatures } = table;
    return { fingerprint, signatures };
  }

  #guestLeft(client: string): void {
    for (const [id, guest] of this.#guests) if (guest.client === client) this.#forget(id);
  }

  #lookAtGuests(): void {
    const oldest = performance.now() - SILENT_MS;
    for (const [id, { seenMs }] of this.#guests) if (seenMs < oldest) this.#forget(id);
  }

  #forget(id: string): void {
    this.#guests.delete(id);
    if (this.#reach.drop(`in:${id}`)) this.#settle();
  }

  #soon(): void {
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      this.#settle();
    }, SETTLE_MS);
  }

  /** The tables may be others: what is carried follows, and neighbours are told if they are. */
  #settle(): void {
    if (this.#closing !== undefined) return;
    const own = this.#own;
    const near: string[] = [];
    for (const link of this.#links) {
      const there = link.up ? [...widest(this.#reach.heardBeyond(link.key))] : [];
      const here = link.up ? this.#reach.heardBefore(link.key, own) : [];
      link.carry(there, widest(here));
      near.push(...there);
    }
    this.#ears.set(widest(near));
    const routes = [...this.#reach.routes.values()];
    const digest = JSON.stringify([
      own.hears,
      own.modules.map(({ id }) => id),
      routes.map(({ record: { id, hops, hears, modules }, via }) => [
        id,
        hops,
        hears,
        via,
        modules.map((module) => module.id),
      ]),
    ]);
    if (digest === this.#digest) return;
    this.#digest = digest;
    for (const link of this.#links) link.nudge();
    void this.#news?.shout(Date.now());
  }

  // ----- frames -----

  /** A frame from a bridge; `undefined`: of a module here, or of a bridge that has dialled this bus. */
  #take(from: BridgeLink | undefined, body: Uint8Array, context: EventContext): void {
    const { address, headers, priority } = context;
    const stamp = readStamp(headers);
    const me = this.#bay.identity.id;
    const origin = stamp?.origin ?? `${context.origin}-${from?.manager ?? me}`;
    const sequence = stamp?.sequence ?? context.sequence;
    const manager = origin.slice(origin.lastIndexOf("-") + 1);
    let ttl = stamp?.ttl ?? this.#hops;
    const drop = (reason: string) => from === undefined ? this.#drop(reason) : from.drop(reason);
    // Whatever the other side calls it: a bridge speaks frames, and nothing else.
    if (!isFrames(address)) return drop("invalid");
    if (from !== undefined) {
      if (manager === me) return drop("loop");
      if (ttl === 0) return drop("ttl");
      ttl--;
      // What its manager's nearest way brings counts: the same is pushed to modules there unasked.
      const nearest = this.#reach.routes.get(manager)?.via ?? from.key;
      if (nearest !== from.key) return drop("duplicate");
    }
    if ((from ?? stamp) !== undefined && !this.#isNew(`${origin} ${address}`, sequence)) {
      return drop("duplicate");
    }
    if (from !== undefined) {
      const carried = stamped(headers, { ttl, origin, sequence });
      this.#voices.shout(address, body, { headers: carried, priority });
    }
    for (const link of this.#links) {
      if (link === from || !link.up || !link.wants(address)) continue;
      if (!this.#reach.leadsOn(link.key, manager)) continue;
      if (ttl === 0) {
        link.drop("ttl");
        continue;
      }
      const carried = stamped(headers, { ttl: ttl - 1, origin, sequence });
      link.send(address, body, { headers: carried, priority });
    }
  }

  #isNew(key: string, sequence: number): boolean {
    let window = this.#windows.get(key);
    if (window === undefined) {
      if (this.#windows.size >= MAX_WINDOWS) {
        this.#windows.delete(this.#windows.keys().next().value ?? "");
      }
      this.#windows.set(key, window = new SequenceWindow());
    }
    return window.add(sequence);
  }

  #drop(reason: string): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + 1);
  }
}
