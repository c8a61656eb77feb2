/**
 * One client of a hub, as the hub has it: what it serves, speaks, hears and has asked after.
 *
 * @module
 */

import type { Pattern, WireError } from "../errors.ts";
import type { ListenerEndpoint } from "../listener_endpoint.ts";
import type { Offer as Seen } from "../offers.ts";
import { encodeControl, Kind } from "../session/envelope.ts";
import type { Subscription } from "../session/outbound.ts";
import type { Session } from "../session/session.ts";
import type { TimerWheel } from "../timer_wheel.ts";
import type { Offer, Presence } from "./hub_frames.ts";
import type { Errand } from "./hub_jobs.ts";
import type { KeptBytes } from "./hub_kept.ts";
import { HubLooks } from "./hub_looks.ts";
import type { RelayedSpeaker } from "./hub_speaker.ts";

/** What a client has asked after. */
export interface Question {
  /** The pattern. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
}

/** Most clients have few of these: a table is made when it is first written to. */
class Table<K, V> {
  #map: Map<K, V> | undefined;

  /** How many there are. */
  get size(): number {
    return this.#map?.size ?? 0;
  }

  get(key: K): V | undefined {
    return this.#map?.get(key);
  }

  has(key: K): boolean {
    return this.#map?.has(key) === true;
  }

  set(key: K, value: V): void {
    (this.#map ??= new Map()).set(key, value);
  }

  delete(key: K): boolean {
    return this.#map?.delete(key) === true;
  }

  keys(): Iterable<K> {
    return this.#map?.keys() ?? NONE;
  }

  entries(): Iterable<[K, V]> {
    return this.#map?.entries() ?? NONE;
  }

  values(): Iterable<V> {
    return this.#map?.values() ?? NONE;
  }
}

const NONE: readonly never[] = Object.freeze([]);

/** One client of a hub. */
export class HubMember {
  /** Its connection. */
  readonly session: Session;
  /** Since when it is connected, in epoch milliseconds. */
  readonly sinceMs: number = Date.now();
  /** The jobs that run there for others. */
  readonly errands: Set<Errand> = new Set();
  /** What it serves and speaks, by its own number. */
  readonly offers: Table<number, Offer> = new Table();
  /** The numbers of offers that are being decided on. */
  readonly registering: Table<number, true> = new Table();
  /** What it speaks, by address. */
  readonly speakers: Table<string, RelayedSpeaker> = new Table();
  /** What it has asked after, and wants to hear of. */
  readonly watched: Table<string, Question> = new Table();
  /** The hub's own listeners that have joined it. */
  readonly subscriptions: Table<ListenerEndpoint, Subscription | undefined> = new Table();

  /** The patterns of which it wants to hear everything, by the number it has given them. */
  readonly sights: Table<number, string> = new Table();

  /** The room for its retained values. */
  readonly kept: KeptBytes;
  /** The looks at everything that it has asked for. */
  readonly looks: HubLooks;

  /**
   * @param session Its connection.
   * @param kept The room for its retained values.
   * @param timers The bay's timer.
   * @param look Shows it all there is of a pattern, by the number it has given that.
   */
  constructor(
    session: Session,
    kept: KeptBytes,
    timers: TimerWheel,
    look: (client: HubMember, id: number) => number,
  ) {
    this.session = session;
    this.kept = kept;
    this.looks = new HubLooks(timers, (id) => look(this, id));
  }

  /**
   * Shows it what there is of a pattern that it watches.
   *
   * @param id The number it has given the pattern.
   * @param sight What there is.
   */
  show(id: number, sight: { readonly offers: readonly Seen[]; readonly error?: WireError }): void {
    this.#say(Kind.watch, id, sight);
  }

  /**
   * Tells it something.
   *
   * @param id What it answers; 0: it was not asked.
   * @param presence What.
   */
  tell(id: number, presence: Presence): void {
    this.#say(Kind.presence, id, presence);
  }

  /** What is told unasked is bounded as well: it may be others who cause it. */
  #say(kind: number, id: number, body: unknown): void {
    const { session } = this;
    if (!session.isOpen) return;
    session.sender.control(kind, id, 0, encodeControl(body));
    session.boundUnread();
  }
}
