/**
 * All counters of one bay, within a bound.
 *
 * @module
 */

import { BridgeStatistics, EndpointStatistics, TransportStatistics } from "./counters.ts";
import type { Pattern } from "./errors.ts";
import type { Role, StatisticsSnapshot } from "./snapshots.ts";

export * from "./counters.ts";
export * from "./snapshots.ts";

/** The address under which the counters of removed endpoints go on. */
export const REMOVED = "(removed)";

/** The address that endpoints share once a bay has as many as it may count one by one. */
export const OTHERS = "(others)";

/** What a {@link Statistics} may be told. */
export interface StatisticsOptions {
  /** How many endpoints are counted one by one; later ones share {@link OTHERS}. Default 10 000. */
  maxEndpoints?: number;
}

/**
 * All counters of one bay.
 *
 * Guaranteed: memory is bounded, and no sum over all endpoints of a transport ever goes backwards,
 * because a removed endpoint's counters go on under {@link REMOVED}, and endpoints beyond the
 * limit share {@link OTHERS}, each by pattern, role and transport.
 *
 * @example
 * ```ts
 * import { Statistics } from "@patchbay/core";
 *
 * const statistics = new Statistics();
 * const endpoint = statistics.endpoint("speaker", "listener", "camera/frame", "uds");
 * endpoint.messagesIn++;
 * const { endpoints } = statistics.snapshot(Date.now());
 * console.log(endpoints[0].messagesIn, endpoints[0].lastActivityMs);
 * statistics.remove(endpoint);
 * ```
 */
export class Statistics {
  readonly #maxEndpoints: number;
  readonly #endpoints = new Map<string, Held>();
  readonly #held = new Map<EndpointStatistics, Held>();
  /** {@link REMOVED} and {@link OTHERS}: at most two per pattern, role and transport. */
  readonly #shared = new Map<string, EndpointStatistics>();
  readonly #transports = new Map<string, TransportStatistics>();
  readonly #bridges = new Map<string, BridgeStatistics>();

  /**
   * Starts empty.
   *
   * @param options The limit, if not the default.
   */
  constructor(options: StatisticsOptions = {}) {
    this.#maxEndpoints = options.maxEndpoints ?? 10_000;
  }

  /**
   * The counters of an endpoint: the same object for the same four.
   *
   * Everyone who asked gives it back once with {@link remove}.
   *
   * @param pattern The pattern of the endpoint.
   * @param role Which end it is.
   * @param address Its address.
   * @param transport The wire it uses, by plugin name.
   */
  endpoint(pattern: Pattern, role: Role, address: string, transport: string): EndpointStatistics {
    const key = identity(pattern, role, address, transport);
    let held = this.#endpoints.get(key);
    if (held === undefined) {
      if (this.#endpoints.size >= this.#maxEndpoints) {
        return this.#sharedBy(OTHERS, pattern, role, transport);
      }
      const endpoint = new EndpointStatistics(pattern, role, address, transport);
      held = { key, endpoint, holders: 0 };
      this.#endpoints.set(key, held);
      this.#held.set(endpoint, held);
    }
    held.holders++;
    return held.endpoint;
  }

  /**
   * The counters of a transport: the same object for the same name.
   *
   * @param name The plugin's name.
   */
  transport(name: string): TransportStatistics {
    let transport = this.#transports.get(name);
    if (transport === undefined) {
      transport = new TransportStatistics(name);
      this.#transports.set(name, transport);
    }
    return transport;
  }

  /**
   * The counters of one direction of a bridge: the same object for the same two wires.
   *
   * @param from The wire that messages come from, by plugin name.
   * @param to The wire they go to.
   */
  bridge(from: string, to: string): BridgeStatistics {
    const key = `${from} ${to}`;
    let bridge = this.#bridges.get(key);
    if (bridge === undefined) this.#bridges.set(key, bridge = new BridgeStatistics(from, to));
    return bridge;
  }

  /**
   * Gives back an endpoint. When everyone who asked for it has, what it counted moves to
   * {@link REMOVED}; what it counts after that is lost, so drain first.
   *
   * @param endpoint What {@link Statistics.endpoint} gave. One already removed is ignored.
   */
  remove(endpoint: EndpointStatistics): void {
    const held = this.#held.get(endpoint);
    if (held === undefined || --held.holders > 0) return;
    this.#held.delete(endpoint);
    this.#endpoints.delete(held.key);
    const removed = this.#sharedBy(REMOVED, endpoint.pattern, endpoint.role, endpoint.transport);
    removed.absorb(endpoint);
    removed.pending = 0; // A gauge: nothing of an endpoint that is gone is in flight.
  }

  /**
   * Notes the time for every endpoint whose counters moved since the last look. This is how
   * `lastActivityMs` is known without a clock reading per message.
   *
   * @param nowMs Epoch milliseconds.
   */
  observe(nowMs: number): void {
    for (const endpoint of this.#held.keys()) endpoint.look(nowMs);
    for (const endpoint of this.#shared.values()) {
      if (endpoint.address === OTHERS) endpoint.look(nowMs);
    }
  }

  /**
   * All counters now, as plain JSON. It is also a look, as {@link observe} is: `lastActivityMs` is
   * as fine as the interval between looks, and never earlier than the activity.
   *
   * @param nowMs Epoch milliseconds.
   */
  snapshot(nowMs: number): StatisticsSnapshot {
    this.observe(nowMs);
    const unique = new Map<string, EndpointStatistics>();
    for (const endpoint of [...this.#held.keys(), ...this.#shared.values()]) {
      const { pattern, role, address, transport } = endpoint;
      const key = identity(pattern, role, address, transport);
      const twin = unique.get(key);
      if (twin === undefined) {
        unique.set(key, endpoint);
      } else {
        // An endpoint that changed its transport may have become like another.
        const both = new EndpointStatistics(pattern, role, address, transport);
        both.absorb(twin);
        both.absorb(endpoint);
        unique.set(key, both);
      }
    }
    return {
      takenAtMs: nowMs,
      transports: Array.from(this.#transports.values(), (transport) => transport.snapshot()),
      endpoints: Array.from(unique.values(), (endpoint) => endpoint.snapshot()),
      ...(this.#bridges.size === 0
        ? {}
        : { bridges: Array.from(this.#bridges.values(), (bridge) => bridge.snapshot()) }),
    };
  }

  #sharedBy(address: string, pattern: Pattern, role: Role, transport: string): EndpointStatistics {
    const key = identity(pattern, role, address, transport);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = new EndpointStatistics(pattern, role, address, transport);
      this.#shared.set(key, shared);
    }
    return shared;
  }
}

/** An endpoint and how many parts of the bay count in it. */
interface Held {
  readonly key: string;
  readonly endpoint: EndpointStatistics;
  holders: number;
}

function identity(pattern: Pattern, role: Role, address: string, transport: string): string {
  return JSON.stringify([pattern, role, address, transport]);
}
