/**
 * Who is where, for a wire whose bays have URLs: those of this host by its directory, those of other
 * hosts by what they tell of themselves.
 *
 * @module
 */

import { matches } from "./address.ts";
import type { Pattern } from "./errors.ts";
import type { ListenerEndpoint } from "./listener_endpoint.ts";
import { type Offer, offersIn } from "./offers.ts";
import type { TransportContext } from "./plugin.ts";

/** A bay that can be reached. */
export interface ReachableBay {
  /** Its URL. */
  readonly url: string;
  /** Its module's name. */
  readonly module: string;
  /** Its instance's name. */
  readonly instance: string;
}

/** What a bay of another host tells of itself. */
export interface ToldBay {
  /** Its module's name. */
  readonly module: string;
  /** Its instance's name. */
  readonly instance: string;
  /** Its id. */
  readonly id: string;
  /** What it serves, speaks and performs. */
  readonly endpoints: readonly (Pick<Offer, "pattern" | "address"> & Partial<Offer>)[];
}

/** A bay of another host that a transport asks, and hears of whenever something changes there. */
export interface ToldPeer {
  /** Its URL. */
  readonly url: string;
  /** What it has told last; `undefined` while it is not there. */
  readonly present: ToldBay | undefined;
  /** Asks once more; resolves when it has answered, or has had time to. Never rejects. */
  ask(): Promise<void>;
  /** Asks no more. */
  close(): void | Promise<void>;
}

type Role = "server" | "speaker";
type Wanted = (
  endpoint: { readonly role: string; readonly pattern: Pattern; readonly address: string },
) => boolean;

function roleOf(pattern: Pattern): Role {
  return pattern === "speaker" ? "speaker" : "server";
}

/**
 * Knows who is where.
 *
 * @typeParam Peer What the transport knows of a bay of another host.
 */
export class Whereabouts<Peer extends ToldPeer> {
  /** The bays of other hosts. */
  readonly peers: Peer[] = [];
  readonly #context: TransportContext;
  readonly #unwatch: (() => void) | undefined;
  /** URLs of bays that the directory has named once. */
  readonly #seen = new Set<string>();

  /**
   * Looks into the directory from now on.
   *
   * @param context What core gave the plugin.
   * @param moved Called when somebody has come or gone in the directory.
   */
  constructor(context: TransportContext, moved: () => void) {
    this.#context = context;
    this.#unwatch = context.directory?.watch(moved);
  }

  /**
   * The bays that serve, perform or speak at an address.
   *
   * @param pattern The pattern.
   * @param address The address.
   */
  holders(pattern: Pattern, address: string): ReachableBay[] {
    return this.#bays((e) =>
      e.role === roleOf(pattern) && e.pattern === pattern && e.address === address
    );
  }

  /**
   * The bays that have a speaker for a listener.
   *
   * @param endpoint The listener.
   */
  speakersFor(endpoint: ListenerEndpoint): ReachableBay[] {
    return this.#bays((e) => e.role === "speaker" && endpoint.accepts(e.address));
  }

  /**
   * What others offer at the addresses of a pattern.
   *
   * @param match The pattern.
   */
  offers(match: string): Offer[] {
    const { directory, name, identity } = this.#context;
    const offers = directory === undefined ? [] : offersIn(directory, name, match);
    const known = new Set([identity.id, ...offers.map(({ by }) => by)]);
    for (const { present } of this.peers) {
      // One of this host may be named among the peers as well.
      if (present === undefined || known.has(present.id)) continue;
      for (
        const { pattern, address, shared = false, retain = false, bridged } of present.endpoints
      ) {
        if (!matches(match, address)) continue;
        offers.push({ pattern, address, shared, retain, by: present.id, bridged });
      }
    }
    return offers;
  }

  /** Looks anew. */
  async refresh(): Promise<void> {
    await Promise.all([
      this.#context.directory?.refresh(),
      ...this.peers.map((peer) => peer.ask()),
    ]);
  }

  /** A bay did not answer: whoever lost a connection knows more than the directory. */
  lost(): void {
    this.#context.directory?.refresh().catch(() => {});
  }

  /**
   * Whether a bay of this host was there and is no more.
   *
   * @param url Its URL.
   */
  hasGone(url: string): boolean {
    if (!this.#seen.has(url)) return false;
    const { directory, name } = this.#context;
    return !(directory?.others ?? []).some((entry) => entry.wires[name] === url);
  }

  /** Looks no more. */
  async close(): Promise<void> {
    this.#unwatch?.();
    await Promise.all(this.peers.map((peer) => peer.close()));
  }

  #bays(wanted: Wanted): ReachableBay[] {
    const { directory, name, identity } = this.#context;
    const bays: ReachableBay[] = [];
    const known = new Set([identity.id]);
    for (const { wires, endpoints, module, instance, id } of directory?.others ?? []) {
      const url = wires[name];
      if (url === undefined) continue;
      this.#seen.add(url);
      if (!endpoints.some((e) => e.wires.includes(name) && wanted(e))) continue;
      known.add(id);
      bays.push({ url, module, instance });
    }
    for (const { url, present } of this.peers) {
      // One of this host may be named among the peers as well.
      if (present === undefined || known.has(present.id)) continue;
      const { module, instance, endpoints } = present;
      const there = endpoints.some(({ pattern, address }) =>
        wanted({ role: roleOf(pattern), pattern, address })
      );
      if (there) bays.push({ url, module, instance });
    }
    return bays;
  }
}
