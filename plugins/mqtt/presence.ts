/**
 * Who is there: each bay keeps one retained message about itself at the broker, and its last will
 * clears it; every bay reads all of them.
 *
 * @module
 */

import {
  type Bridged,
  matches,
  type Offer,
  PatchbayError,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import { type BayNote, NO_ADDRESSES, offersOf, readNote, type Sharing } from "./bay_note.ts";
import type { MqttConfig } from "./config.ts";
import type { Connection } from "./connection.ts";
import type { Subscriptions, Wish } from "./subscriptions.ts";
import type { Topics } from "./topics.ts";

/** What is told of presence. */
export interface PresenceOwner {
  /** Somebody serves an address, or serves it no longer. */
  served(addresses: Iterable<string>): void;
  /** A bay has stopped serving an address, and is still there. */
  withdrew(bay: string, address: string): void;
  /** A bay is gone. */
  died(bay: string, note: BayNote): void;
}

/** How long is waited for the broker to give back what was sent, in milliseconds. */
const SYNC_MS = 900;
/** How long is waited until what was taken back is known everywhere, in milliseconds. */
const TAKE_BACK_MS = 1000;
/** How many addresses are remembered whose server was lost. */
const MAX_LOST = 4096;

interface Waiter {
  readonly rev: number;
  readonly resolve: () => void;
  readonly reject: (error: PatchbayError) => void;
}

class Tick extends TimerEntry {
  readonly #turn: () => void;

  constructor(turn: () => void) {
    super();
    this.#turn = turn;
  }

  override expire(): void {
    this.#turn();
  }
}

/** Presence as one bay sees it. */
export class Presence {
  readonly #connection: Connection;
  readonly #config: MqttConfig;
  readonly #context: TransportContext;
  readonly #topics: Topics;
  readonly #owner: PresenceOwner;
  readonly #subscriptions: Subscriptions;
  readonly #wish: Wish = { qos: 0 };
  readonly #notes = new Map<string, BayNote>();
  /** By address: who serves it. */
  readonly #servers = new Map<string, Set<string>>();
  /** When each was heard of last. */
  readonly #heardMs = new Map<string, number>();
  /** When the server of an address was lost. */
  readonly #lostMs = new Map<string, number>();
  readonly #serves = new Map<string, Sharing>();
  readonly #listens = new Map<string, number>();
  readonly #speaks = new Map<string, number>();
  readonly #retains = new Map<string, number>();
  readonly #bridged = new Map<string, Bridged>();
  readonly #waiters = new Set<Waiter>();
  /** Those who want to know when somebody offers something else. */
  readonly #watches = new Set<() => void>();
  readonly #tick: Tick;
  #rev = 0;
  #flushing = false;
  /** Whether the broker has taken a note since the connection was made. */
  #proven = false;
  /** Those who wait until everything that was sent before is known here. */
  readonly #syncs = new Map<string, () => void>();
  #lastSync = 0;
  #closed = false;

  constructor(
    connection: Connection,
    config: MqttConfig,
    context: TransportContext,
    topics: Topics,
    subscriptions: Subscriptions,
    owner: PresenceOwner,
  ) {
    this.#connection = connection;
    this.#config = config;
    this.#context = context;
    this.#topics = topics;
    this.#subscriptions = subscriptions;
    this.#owner = owner;
    this.#tick = new Tick(() => this.#turn());
  }

  /** Learns who is there, and says that this bay is. */
  async open(): Promise<void> {
    await this.#subscriptions.enter([`${this.#topics.bays}+`], this.#wish);
    await this.announce();
  }

  /** The broker is about to tell anew who is there. */
  back(): void {
    this.#heardMs.clear();
  }

  /** Says that this bay is there; what the broker has not told until then is gone. */
  async announce(): Promise<void> {
    await this.#change();
    for (const bay of [...this.#notes.keys()]) if (!this.#heardMs.has(bay)) this.#gone(bay);
    this.#arm();
  }

  /**
   * Claims an address, and asks whether somebody was quicker: the broker puts the claims in order.
   *
   * @param address The address.
   * @param sharing How it is served.
   * @param bridged How it came over bridges.
   * @returns The module that has it already and does not let this one, if that is so.
   */
  async claim(
    address: string,
    sharing: Sharing,
    bridged: Bridged | undefined,
  ): Promise<string | undefined> {
    // Who has just ceased to serve it may have told so, and this bay not yet have heard.
    if (this.#rival(address, sharing) !== undefined) await this.sync();
    const holder = this.#rival(address, sharing);
    if (holder !== undefined) return holder;
    this.#serves.set(address, sharing);
    if (bridged !== undefined) this.#bridged.set(`callable ${address}`, bridged);
    try {
      await this.#change();
    } catch (error) {
      this.#unclaim(address);
      throw error;
    }
    const quicker = this.#rival(address, sharing);
    if (quicker !== undefined) await this.withdraw(address);
    return quicker;
  }

  /** Whether what this bay serves was taken by another one while it was away. */
  lostClaim(address: string): string | undefined {
    const sharing = this.#serves.get(address);
    return sharing === undefined ? undefined : this.#rival(address, sharing);
  }

  /** Serves an address no longer. */
  async withdraw(address: string): Promise<void> {
    this.#unclaim(address);
    await this.#takeBack();
  }

  /** Who serves an address: bays and how. */
  servers(address: string): ReadonlySet<string> {
    return this.#servers.get(address) ?? NOBODY;
  }

  /** What a bay says of itself. */
  note(bay: string): BayNote | undefined {
    return this.#notes.get(bay);
  }

  /** A listener of this bay has come; call the result when it goes. */
  async listen(pattern: string): Promise<() => Promise<void>> {
    return await this.#enter([this.#listens], pattern);
  }

  /** A speaker of this bay has come; call the result when it goes. */
  async speak(
    address: string,
    retain: boolean,
    bridged: Bridged | undefined,
  ): Promise<() => Promise<void>> {
    const name = `speaker ${address}`;
    if (bridged !== undefined) this.#bridged.set(name, bridged);
    const all = retain ? [this.#speaks, this.#retains] : [this.#speaks];
    const leave = await this.#enter(all, address);
    return async () => {
      this.#bridged.delete(name);
      await leave();
    };
  }

  /** What others offer, as far as it is known; nothing while the connection is lost. */
  get offers(): readonly Offer[] {
    if (!this.#connection.up) return [];
    return [...this.#notes].flatMap(([bay, note]) => offersOf(bay, note));
  }

  /** Tells when {@link offers} may have changed; call the result to end that. */
  watch(changed: () => void): () => void {
    const watch = () => changed();
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  /** The connection was lost, or everything works again. */
  offersChanged(): void {
    for (const changed of this.#watches) changed();
  }

  /** How many listeners of other bays there are for an address. */
  count(address: string): number {
    let count = 0;
    for (const { listens } of this.#notes.values()) {
      for (const pattern of listens) if (matches(pattern, address)) count++;
    }
    return count;
  }

  /** Whether another bay speaks at an address. */
  spoken(address: string): boolean {
    for (const { speaks } of this.#notes.values()) if (speaks.includes(address)) return true;
    return false;
  }

  /** Whether a speaker at an address keeps its last value: one of this bay, or of any. */
  retained(address: string, own: boolean): boolean {
    if (this.#retains.has(address)) return true;
    return !own && this.#notes.values().some(({ retains }) => retains.includes(address));
  }

  /** The connection was lost: what waits for an answer gets none. */
  lost(reason: PatchbayError): void {
    this.#context.timers.disarm(this.#tick);
    this.#proven = false;
    for (const waiter of this.#waiters) waiter.reject(reason);
    this.#waiters.clear();
    for (const done of this.#syncs.values()) done();
    this.#syncs.clear();
  }

  /** Resolves when all that the broker was told before is known here; or after a second. */
  sync(): Promise<void> {
    return this.#ask(`${this.#topics.mine}sync/`);
  }

  /** Resolves when those who speak where this bay listens now know of it; or after a second. */
  async acquaint(pattern: string): Promise<void> {
    const waits: Promise<void>[] = [];
    for (const [bay, { speaks, leaseMs }] of this.#notes) {
      // A foreign program answers nothing.
      if (leaseMs === undefined || !speaks.some((each) => matches(pattern, each))) continue;
      waits.push(this.#ask(`${this.#topics.to(bay)}hello/${this.#context.identity.id}/`));
    }
    await Promise.all(waits);
  }

  /** A listener asks whether this bay knows of it. What it has said before, is known. */
  greeted(bay: string, name: string): void {
    this.#connection.outbox.publish(`${this.#topics.to(bay)}sync/${name}`, "", { qos: 0 });
  }

  /** What {@link sync} has sent is back. */
  synced(name: string): void {
    this.#syncs.get(name)?.();
  }

  /** Takes this bay out. */
  async leave(): Promise<void> {
    this.#context.timers.disarm(this.#tick);
    for (const all of [this.#serves, this.#listens, this.#speaks, this.#retains]) all.clear();
    // Who leaves in peace serves nothing any more, and is not waited for.
    this.#rev++;
    if (this.#connection.up) this.#flush();
    this.#closed = true;
    if (!this.#connection.up) return;
    const topic = this.#topics.bay(this.#context.identity.id);
    await this.#connection.outbox.deliver(topic, "", { qos: 1, retain: true }, false);
  }

  /**
   * A note has come.
   *
   * @param bay Whose.
   * @param payload The note; empty: the bay is gone.
   */
  heard(bay: string, payload: Uint8Array): void {
    const own = bay === this.#context.identity.id;
    if (payload.length === 0) {
      if (!own) this.#gone(bay);
      // A last will that came late: this bay is there all the same.
      else if (!this.#closed && this.#connection.up) void this.#change().catch(() => {});
      return;
    }
    const note = readNote(payload);
    if (note === undefined) {
      this.#context.statistics.countDrop("undecodable");
      return;
    }
    if (own) return this.#echo(note.rev);
    this.#heardMs.set(bay, performance.now());
    const before = this.#notes.get(bay);
    this.#notes.set(bay, note);
    if (before !== undefined && before.rev === note.rev && before.rev > 0) return;
    this.#compare(bay, before?.serves ?? NO_ADDRESSES, note.serves);
    this.#context.routesChanged();
    this.offersChanged();
  }

  /** Sends a question, and waits for what answers it. */
  async #ask(topic: string): Promise<void> {
    const name = String(++this.#lastSync);
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, SYNC_MS);
      this.#syncs.set(name, resolve);
      this.#connection.outbox.publish(topic + name, "", { qos: 0 });
    });
    clearTimeout(timer);
    this.#syncs.delete(name);
  }

  #compare(bay: string, before: BayNote["serves"], now: BayNote["serves"]): void {
    const changed: string[] = [];
    for (const address of Object.keys(now)) {
      if (before[address] !== undefined) continue;
      let all = this.#servers.get(address);
      if (all === undefined) this.#servers.set(address, all = new Set());
      all.add(bay);
      this.#lostMs.delete(address);
      changed.push(address);
    }
    for (const address of Object.keys(before)) {
      if (now[address] !== undefined) continue;
      this.#unserved(bay, address);
      changed.push(address);
      this.#owner.withdrew(bay, address);
    }
    if (changed.length > 0) this.#owner.served(changed);
  }

  /** Whether the server of an address was lost a moment ago: it may only have been cut off. */
  mayReturn(address: string): boolean {
    const lostMs = this.#lostMs.get(address);
    return lostMs !== undefined && performance.now() - lostMs < this.#config.comebackMs;
  }

  #unserved(bay: string, address: string): void {
    const all = this.#servers.get(address);
    all?.delete(bay);
    if (all?.size === 0) this.#servers.delete(address);
  }

  #gone(bay: string): void {
    const note = this.#notes.get(bay);
    if (note === undefined) return;
    this.#notes.delete(bay);
    this.#heardMs.delete(bay);
    const addresses = Object.keys(note.serves);
    for (const address of addresses) {
      this.#unserved(bay, address);
      if (this.#lostMs.size >= MAX_LOST) this.#lostMs.clear();
      this.#lostMs.set(address, performance.now());
    }
    this.#owner.died(bay, note);
    this.#owner.served(addresses);
    this.#context.routesChanged();
    this.offersChanged();
  }

  #unclaim(address: string): void {
    this.#serves.delete(address);
    this.#bridged.delete(`callable ${address}`);
  }

  #rival(address: string, sharing: Sharing): string | undefined {
    for (const bay of this.servers(address)) {
      const note = this.#notes.get(bay);
      const theirs = note?.serves[address] ?? "exclusive";
      if (sharing === "exclusive" || theirs === "exclusive") return note?.module ?? bay;
    }
    return undefined;
  }

  async #enter(
    all: readonly Map<string, number>[],
    name: string,
  ): Promise<() => Promise<void>> {
    for (const counts of all) counts.set(name, (counts.get(name) ?? 0) + 1);
    try {
      await this.#change();
    } catch (error) {
      for (const counts of all) leave(counts, name);
      throw error;
    }
    let left = false;
    return async () => {
      if (left) return;
      left = true;
      for (const counts of all) leave(counts, name);
      await this.#takeBack();
    };
  }

  /** Says less than before. Who has ended something does not depend on whether that was heard. */
  async #takeBack(): Promise<void> {
    if (this.#connection.connected) await this.#change(TAKE_BACK_MS).catch(() => {});
  }

  /** Tells the note as it is now, and resolves when the broker has told it to everybody before. */
  async #change(ms = this.#config.connectTimeoutMs): Promise<void> {
    // It has said that it is gone: there is nothing more to say.
    if (this.#closed) return;
    const rev = ++this.#rev;
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { rev, resolve, reject };
    this.#waiters.add(waiter);
    timer = setTimeout(() => {
      reject(
        new PatchbayError(
          "forbidden",
          `the broker at ${this.#connection.where} does not give back what is published at ` +
            `${this.#topics.bays}…`,
          {
            remedy: "grant reading and writing there in its ACL (the plugin's README lists what)",
          },
        ),
      );
    }, ms);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      timer = undefined;
      this.#waiters.delete(waiter);
    }
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#closed) return;
    const { id, module } = this.#context.identity;
    const note: BayNote = {
      module,
      v: this.#connection.version,
      serves: Object.fromEntries(this.#serves),
      listens: [...this.#listens.keys()],
      speaks: [...this.#speaks.keys()],
      retains: [...this.#retains.keys()],
      bridged: Object.fromEntries(this.#bridged),
      rev: this.#rev,
      leaseMs: this.#config.leaseMs,
    };
    const { rev } = note;
    this.#connection.outbox.publish(
      this.#topics.bay(id),
      JSON.stringify(note),
      // That it comes back says that the broker has it; whether it may be sent, only QoS 1 says.
      { qos: this.#proven ? 0 : 1, retain: true },
      this.#proven ? undefined : (error) => {
        if (error === undefined) return void (this.#proven = true);
        const known = this.#connection.explain(error, this.#topics.bay(id));
        for (const waiter of this.#waiters) if (waiter.rev <= rev) waiter.reject(known);
      },
    );
  }

  #echo(rev: number): void {
    for (const waiter of this.#waiters) if (waiter.rev <= rev) waiter.resolve();
  }

  #arm(): void {
    if (!this.#closed) this.#context.timers.arm(this.#tick, this.#config.leaseMs / 3);
  }

  /** Says again that this bay is there, and looks who has not for too long. */
  #turn(): void {
    if (this.#closed) return;
    if (this.#connection.up) {
      this.#flush();
      const nowMs = performance.now();
      for (const [bay, note] of [...this.#notes]) {
        const { leaseMs } = note;
        const heardMs = this.#heardMs.get(bay) ?? nowMs;
        if (leaseMs === undefined || nowMs - heardMs < leaseMs * 1.1) continue;
        // It was killed together with the broker: nobody else takes its note away.
        this.#connection.outbox.publish(this.#topics.bay(bay), "", { qos: 0, retain: true });
        this.#gone(bay);
      }
    }
    this.#arm();
  }
}

const NOBODY: ReadonlySet<string> = new Set();
function leave(counts: Map<string, number>, name: string): void {
  const count = (counts.get(name) ?? 1) - 1;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}
