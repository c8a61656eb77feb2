/**
 * What a hub shows of what is served and spoken there: to who asks after an address, and to who
 * watches a pattern.
 *
 * @module
 */

import { matches } from "../address.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import type { PatchbayError, Pattern } from "../errors.ts";
import type { JobEndpoint } from "../job_endpoint.ts";
import type { Offer as Seen } from "../offers.ts";
import type { BayIdentity } from "../plugin.ts";
import { keyOf, MAX_SEEN, type Offer, type Presence } from "./hub_frames.ts";
import type { HubMember } from "./hub_member.ts";
import { type HubRegistry, MAX_OF_CLIENT } from "./hub_registry.ts";
import type { SpeakWay } from "./ways.ts";

/** So many are named of those at one address: a control frame has room for them. */
const MAX_NAMED = 16;
/** The most patterns that one client may watch. */
const MAX_SIGHTS = 256;

/** What a hub has, as it is shown. */
export interface SightsHost {
  /** Whether clients see one another, or the hub alone. */
  readonly relay: boolean;
  /** Who the hub is. */
  readonly identity: BayIdentity;
  /** The clients, by bay id. */
  readonly clients: ReadonlyMap<string, HubMember>;
  /** What they offer, and who has asked after it. */
  readonly registry: HubRegistry;
  /** What the hub itself serves. */
  readonly callables: ReadonlyMap<string, CallableEndpoint>;
  /** What it performs. */
  readonly jobs: ReadonlyMap<string, JobEndpoint>;
  /** What it speaks. */
  readonly ways: ReadonlySet<SpeakWay>;
  /** Counts that a client wants too much, and says so. */
  tooMuch(what: string, remedy: string): PatchbayError;
}

/** What a hub shows. */
export class HubSights {
  readonly #host: SightsHost;

  /** @param host What there is. */
  constructor(host: SightsHost) {
    this.#host = host;
  }

  /**
   * Something about an address has changed: those who have asked after it, or watch it, are told.
   *
   * @param pattern The pattern.
   * @param address The address.
   */
  changed(pattern: Pattern, address: string): void {
    const { registry, clients } = this.#host;
    for (const client of registry.watchers(pattern, address)) {
      client.tell(0, this.look(pattern, address, client));
    }
    for (const client of clients.values()) {
      for (const [id, match] of client.sights.entries()) {
        if (!matches(match, address)) continue;
        client.show(id, this.#sight(pattern, address, client));
      }
    }
  }

  /**
   * A client asks after an address: it is told, and told again when that changes.
   *
   * @param client Who.
   * @param id The number of its question.
   * @param offer The pattern and the address.
   */
  ask(client: HubMember, id: number, { pattern, address }: Offer): void {
    const presence = this.look(pattern, address, client);
    if (this.#host.registry.watch(client, pattern, address)) return client.tell(id, presence);
    const what = `over ${MAX_OF_CLIENT} addresses were asked after over one connection`;
    const remedy = "ask again whenever you want to know, or ask over another connection";
    const error = this.#host.tooMuch(what, remedy);
    client.tell(id, { ...presence, error: error.toWire() });
  }

  /**
   * Who is at an address.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param asker The client that wants to know, which does not count; `undefined`: the hub itself.
   */
  look(pattern: Pattern, address: string, asker: HubMember | undefined): Presence {
    const names: string[] = [];
    let found = 0;
    for (const name of this.#namesAt(pattern, address, asker)) {
      if (found++ < MAX_NAMED) names.push(name);
    }
    const others = found > names.length ? ` and ${found - names.length} others` : "";
    const detail = found === 0 ? undefined : `${names.join(", ")}${others} at the hub`;
    return { pattern, address, found: found > 0, detail };
  }

  *#namesAt(pattern: Pattern, address: string, asker: HubMember | undefined): Iterable<string> {
    const { relay, clients, registry, identity } = this.#host;
    // A client of which nothing may be relayed sees the hub alone.
    if (relay || asker === undefined) {
      if (pattern === "speaker") {
        for (const client of clients.values()) {
          if (client !== asker && client.speakers.has(address)) yield client.session.bay.instance;
        }
      } else {
        for (const { client } of registry.servers(pattern, address)) {
          if (client !== asker) yield client.session.bay.instance;
        }
      }
    }
    if (asker !== undefined && this.#serves(pattern, address)) yield identity.instance;
  }

  /**
   * A client watches a pattern, or watches it no longer.
   *
   * @param client Who.
   * @param id The number it has given the pattern.
   * @param match The pattern; `undefined`: no longer.
   */
  watch(client: HubMember, id: number, match: string | undefined): void {
    if (match === undefined) {
      client.looks.forget(id);
      return void client.sights.delete(id);
    }
    if (client.sights.size >= MAX_SIGHTS && !client.sights.has(id)) {
      const what = `over ${MAX_SIGHTS} patterns are watched over one connection`;
      const error = this.#host.tooMuch(what, "watch fewer and wider patterns");
      return client.show(id, { offers: [], error: error.toWire() });
    }
    client.sights.set(id, match);
    client.looks.ask(id);
  }

  /**
   * Shows a client all there is of a pattern that it watches.
   *
   * @param client Who.
   * @param id The number it has given the pattern.
   * @returns How many offers had to be looked at.
   */
  showAll(client: HubMember, id: number): number {
    const match = client.sights.get(id);
    if (match === undefined) return 0;
    const seen = new Map<string, Seen[]>();
    for (const one of this.all(match, client)) {
      const key = keyOf(one.pattern, one.address);
      const same = seen.get(key);
      if (same === undefined) seen.set(key, [one]);
      else if (same.length < MAX_SEEN) same.push(one);
    }
    for (const offers of seen.values()) {
      const { pattern, address } = offers[0];
      client.show(id, { pattern, address, offers } as { offers: Seen[] });
    }
    // All has been told.
    client.show(id, { offers: [] });
    const { callables, jobs, ways, clients } = this.#host;
    let offers = callables.size + jobs.size + ways.size;
    for (const { offers: own } of clients.values()) offers += own.size;
    return offers;
  }

  #sight(pattern: Pattern, address: string, asker: HubMember) {
    const offers: Seen[] = [];
    // Whoever watches much must not make each change cost a look at all that there is.
    const { relay, registry } = this.#host;
    if (relay) {
      for (const [client, offer] of registry.offersAt(pattern, address, asker)) {
        offers.push(seenOf(client.session.bay.id, offer));
        if (offers.length === MAX_SEEN) break;
      }
    }
    offers.push(...this.#own(address).filter((one) => one.pattern === pattern));
    return { pattern, address, offers: offers.slice(0, MAX_SEEN) };
  }

  /** What this bay itself offers at one address. */
  #own(address: string): Seen[] {
    const { identity: { id: by }, callables, jobs, ways } = this.#host;
    const seen: Seen[] = [];
    for (const [pattern, map] of [["callable", callables], ["job", jobs]] as const) {
      const one = map.get(address);
      if (one === undefined) continue;
      const { shared, bridged } = one;
      seen.push(seenOf(by, { pattern, address, shared, bridged }));
    }
    for (const { endpoint } of ways) {
      if (endpoint.address !== address) continue;
      const { retain, bridged } = endpoint;
      seen.push(seenOf(by, { pattern: "speaker", address, shared: true, retain, bridged }));
    }
    return seen;
  }

  /**
   * What is offered at the addresses of a pattern, by others than who asks.
   *
   * @param match The pattern.
   * @param asker Who asks; `undefined`: the hub itself.
   */
  all(match: string, asker: HubMember | undefined): Seen[] {
    const { relay, clients, callables, jobs, ways } = this.#host;
    const seen: Seen[] = [];
    if (relay || asker === undefined) {
      for (const client of clients.values()) {
        if (client === asker) continue;
        const by = client.session.bay.id;
        for (const offer of client.offers.values()) {
          if (matches(match, offer.address)) seen.push(seenOf(by, offer));
        }
      }
    }
    if (asker === undefined) return seen;
    const here = [...callables.keys(), ...jobs.keys()];
    for (const { address } of ways) here.push(address);
    for (const address of new Set(here)) {
      if (matches(match, address)) seen.push(...this.#own(address));
    }
    return seen;
  }

  #serves(pattern: Pattern, address: string): boolean {
    if (pattern === "callable") return this.#host.callables.has(address);
    if (pattern === "job") return this.#host.jobs.has(address);
    return [...this.#host.ways].some((way) => way.address === address);
  }
}

function seenOf(by: string, offer: Offer): Seen {
  const { pattern, address, shared = false, retain = false, bridged } = offer;
  return { pattern, address, shared, retain, by, bridged };
}
