/**
 * Who serves what at a hub, and who wants to know when that changes.
 *
 * @module
 */

import type { Pattern } from "../errors.ts";
import type { Bridged } from "../offers.ts";
import type { InboundHost } from "../session/targets.ts";
import { keyOf, type Offer } from "./hub_frames.ts";
import type { HubMember } from "./hub_member.ts";

/** The most things that one client may serve and speak, or ask after. */
export const MAX_OF_CLIENT = 16_384;

/** Somebody who serves an address. */
export interface Server {
  /** Who. */
  readonly client: HubMember;
  /** Whether others may serve it, too. */
  readonly shared: boolean;
  /** The bridges that the offer has come over. */
  readonly bridged: Bridged | undefined;
}

/** Servers and watchers, by pattern and address. */
export class HubRegistry {
  readonly #servers = new Map<string, Server[]>();
  readonly #watchers = new Map<string, Set<HubMember>>();
  readonly #offers = new Map<string, Map<HubMember, Map<number, Offer>>>();
  #turn = 0;

  /**
   * Who serves an address.
   *
   * @param pattern The pattern.
   * @param address The address.
   */
  servers(pattern: Pattern, address: string): readonly Server[] {
    return this.#servers.get(keyOf(pattern, address)) ?? [];
  }

  /**
   * Who serves an address, in the order to ask them: a different one goes first each time.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param but A connection whose bay is not asked: its own calls do not come back to it.
   */
  workers(pattern: Pattern, address: string, but: InboundHost | undefined): HubMember[] {
    const clients = this.servers(pattern, address).map((server) => server.client)
      .filter((one) => one.session.origin !== but?.origin);
    if (clients.length < 2) return clients;
    this.#turn = (this.#turn + 1) % clients.length;
    return [...clients.slice(this.#turn), ...clients.slice(0, this.#turn)];
  }

  /**
   * Adds a server.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param server Who.
   */
  add(pattern: Pattern, address: string, server: Server): void {
    const key = keyOf(pattern, address);
    this.#servers.set(key, [...this.#servers.get(key) ?? [], server]);
  }

  /**
   * Takes a server out.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param client Who.
   */
  remove(pattern: Pattern, address: string, client: HubMember): void {
    const key = keyOf(pattern, address);
    const left = [...this.#servers.get(key) ?? []];
    const at = left.findIndex((server) => server.client === client);
    if (at >= 0) left.splice(at, 1);
    if (left.length > 0) this.#servers.set(key, left);
    else this.#servers.delete(key);
  }

  /**
   * A client offers something under its own number.
   *
   * @param client Who.
   * @param id The number.
   * @param offer What.
   */
  offer(client: HubMember, id: number, offer: Offer): void {
    client.offers.set(id, offer);
    const key = keyOf(offer.pattern, offer.address);
    let all = this.#offers.get(key);
    if (all === undefined) this.#offers.set(key, all = new Map());
    const own = all.get(client);
    if (own === undefined) all.set(client, new Map([[id, offer]]));
    else own.set(id, offer);
  }

  /**
   * Takes back what a client offers; `undefined`: it did not.
   *
   * @param client Who.
   * @param id Its number.
   */
  withdraw(client: HubMember, id: number): Offer | undefined {
    const offer = client.offers.get(id);
    if (offer === undefined) return undefined;
    client.offers.delete(id);
    const key = keyOf(offer.pattern, offer.address);
    const all = this.#offers.get(key);
    const own = all?.get(client);
    own?.delete(id);
    if (own?.size === 0) all?.delete(client);
    if (all?.size === 0) this.#offers.delete(key);
    return offer;
  }

  /**
   * What is offered at one address, one after the other: whoever wants a few pays for a few.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param but Whose offers are left out.
   */
  *offersAt(pattern: Pattern, address: string, but: HubMember): Iterable<[HubMember, Offer]> {
    for (const [client, own] of this.#offers.get(keyOf(pattern, address)) ?? []) {
      if (client === but) continue;
      for (const offer of own.values()) yield [client, offer];
    }
  }

  /**
   * A client has asked after an address, and is told when that changes.
   *
   * @param client Who.
   * @param pattern The pattern.
   * @param address The address.
   * @returns False if it has asked after too many: it is not told.
   */
  watch(client: HubMember, pattern: Pattern, address: string): boolean {
    const key = keyOf(pattern, address);
    if (client.watched.size >= MAX_OF_CLIENT && !client.watched.has(key)) return false;
    client.watched.set(key, { pattern, address });
    let watchers = this.#watchers.get(key);
    if (watchers === undefined) this.#watchers.set(key, watchers = new Set());
    watchers.add(client);
    return true;
  }

  /**
   * Who wants to hear of an address.
   *
   * @param pattern The pattern.
   * @param address The address.
   */
  watchers(pattern: Pattern, address: string): Iterable<HubMember> {
    return this.#watchers.get(keyOf(pattern, address)) ?? [];
  }

  /**
   * A client has gone: it watches nothing any longer.
   *
   * @param client Who.
   */
  forget(client: HubMember): void {
    for (const key of client.watched.keys()) {
      const watchers = this.#watchers.get(key);
      watchers?.delete(client);
      if (watchers?.size === 0) this.#watchers.delete(key);
    }
  }
}
