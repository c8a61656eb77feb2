/**
 * The counters of one bay: plain fields that the hot path increments, read out as plain JSON.
 *
 * @module
 */

import type { ErrorCode, Pattern } from "./errors.ts";
import { DURATION_SCALE, Histogram, type HistogramSnapshot, SIZE_SCALE } from "./histogram.ts";

/** Why a message was not delivered. Plugins may add words of their own. */
export type DropReason =
  /** A bounded queue was full and gave up its oldest message. */
  | "overflow_oldest"
  /** A bounded queue was full and refused the newest message. */
  | "overflow_newest"
  /** A bounded queue was full and its policy is to fail. */
  | "overflow_fail"
  /** The message had crossed as many bridges as it may. */
  | "ttl"
  /** The value did not satisfy the receiver's schema. */
  | "invalid"
  /** The bytes were none of the codec's. */
  | "undecodable"
  /** The message was larger than the limit. */
  | "too_large"
  /** The receiver was closing. */
  | "closed"
  /** The chaos layer was asked to. */
  | "chaos"
  /** The same message had arrived before. */
  | "duplicate"
  /** A bridge met a call or job that it was carrying already. */
  | "loop"
  /** A bridge carries that address the other way, and the wire cannot tell its own echo. */
  | "echo"
  /** A newer value has taken its place. */
  | "overwritten"
  // Keeps the known words in completion while any other is accepted.
  | (string & Record<never, never>);

/** Which end of a pattern an endpoint is. */
export type Role = "server" | "client" | "speaker" | "listener";

/** How a transport does: it works; in part or while it reconnects; not at all. */
export type HealthStatus = "healthy" | "degraded" | "down";

/** A histogram with its usual quantiles. */
export interface Distribution extends HistogramSnapshot {
  /** What half of the sampled values do not exceed, within 12.5 %. */
  p50: number;
  /** What 99 % of the sampled values do not exceed, within 12.5 %. */
  p99: number;
}

/** The counters of an endpoint at one moment, as plain JSON. */
export interface EndpointSnapshot {
  /** The pattern of the endpoint. */
  pattern: Pattern;
  /** Which end it is. */
  role: Role;
  /** Its address, or {@link REMOVED} or {@link OTHERS}. */
  address: string;
  /** The wire it uses, by plugin name. */
  transport: string;
  /** Messages received. */
  messagesIn: number;
  /** Messages sent. */
  messagesOut: number;
  /** Payload bytes received; 0 on wires that pass references. */
  bytesIn: number;
  /** Payload bytes sent; 0 on wires that pass references. */
  bytesOut: number;
  /** Calls or jobs started (client) or handled (server). */
  calls: number;
  /** Calls or jobs in flight now. */
  pending: number;
  /** Feedback messages of jobs. */
  feedback: number;
  /** Failures by code. */
  errors: Partial<Record<ErrorCode, number>>;
  /** Messages not delivered, by reason. */
  drops: Record<string, number>;
  /** Durations in seconds of 1 call in 64; absent before the first. */
  durations?: Distribution;
  /** Sizes in bytes of 1 message in 64; absent before the first. */
  sizes?: Distribution;
  /** When a look last found a counter moved, in epoch milliseconds; null before that. */
  lastActivityMs: number | null;
}

/** The counters of a transport at one moment, as plain JSON. */
export interface TransportSnapshot {
  /** The plugin's name. */
  name: string;
  /** Messages received. */
  messagesIn: number;
  /** Messages sent. */
  messagesOut: number;
  /** Bytes received, framing included. */
  bytesIn: number;
  /** Bytes sent, framing included. */
  bytesOut: number;
  /** Failures by code. */
  errors: Partial<Record<ErrorCode, number>>;
  /** Messages not delivered, by reason. */
  drops: Record<string, number>;
  /** Connections made again after a loss. */
  reconnections: number;
  /** Calls started again by the retry layer. */
  retries: number;
  /** Connections open now. */
  connections: number;
  /** How it does. */
  health: HealthStatus;
  /** Why it is not healthy. */
  healthReason?: string;
  /** What people should know of it although it works; `patchbay doctor` prints it. */
  notes?: string[];
}

/** The counters of one direction of a bridge at one moment, as plain JSON. */
export interface BridgeSnapshot {
  /** The wire that messages come from, by plugin name. */
  from: string;
  /** The wire they go to, by plugin name. */
  to: string;
  /** Calls carried. */
  calls: number;
  /** Shouts carried. */
  shouts: number;
  /** Jobs carried. */
  jobs: number;
  /** Feedback and progress of jobs, carried back. */
  feedback: number;
  /** Calls and jobs in flight now. */
  pending: number;
  /** Addresses offered on the far wire now. */
  offers: number;
  /** Calls and jobs that failed, by code. */
  errors: Partial<Record<ErrorCode, number>>;
  /** Messages not carried, by reason. */
  drops: Record<string, number>;
}

/** All counters of a bay at one moment, as plain JSON. */
export interface StatisticsSnapshot {
  /** When it was taken, in epoch milliseconds. */
  takenAtMs: number;
  /** One entry a transport. */
  transports: TransportSnapshot[];
  /** One entry per pattern, role, address and transport: no two are alike in all four. */
  endpoints: EndpointSnapshot[];
  /** One entry for each direction of a bridge; absent where there was never one. */
  bridges?: BridgeSnapshot[];
}

/** The address under which the counters of removed endpoints go on. */
export const REMOVED = "(removed)";

/** The address that endpoints share once a bay has as many as it may count one by one. */
export const OTHERS = "(others)";

/** One operation in this many is timed. A power of two. */
export const SAMPLE_EVERY = 64;

/**
 * The counters of one endpoint on one side.
 *
 * Fields are plain numbers that the hot path increments itself. They are exact; durations and
 * sizes are sampled, 1 in 64 and always the first, so a pattern in the traffic that repeats every
 * 64 messages shows in them distorted.
 *
 * @example
 * ```ts
 * import { EndpointStatistics } from "@patchbay/core";
 *
 * const endpoint = new EndpointStatistics("callable", "server", "math/add", "uds");
 * function handle(work: () => void): void {
 *   endpoint.calls++;
 *   if (!endpoint.sample()) return work();
 *   const start = performance.now();
 *   work();
 *   endpoint.observeDuration((performance.now() - start) / 1000);
 * }
 * for (let i = 0; i < 65; i++) handle(() => {});
 * const { calls, durations } = endpoint.snapshot();
 * if (calls !== 65 || durations?.count !== 2) throw new Error("unexpected");
 * ```
 */
export class EndpointStatistics {
  /** The pattern of the endpoint. */
  readonly pattern: Pattern;
  /** Which end it is. */
  readonly role: Role;
  /** Its address. */
  readonly address: string;
  /** The wire it uses, by plugin name. Set it before counting: all that was counted moves along. */
  transport: string;
  /** Messages received. */
  messagesIn = 0;
  /** Messages sent. */
  messagesOut = 0;
  /** Payload bytes received. */
  bytesIn = 0;
  /** Payload bytes sent. */
  bytesOut = 0;
  /** Calls or jobs started (client) or handled (server). */
  calls = 0;
  /** Calls or jobs in flight now. */
  pending = 0;
  /** Feedback messages of jobs. */
  feedback = 0;
  /** Failures by code. */
  readonly errors: Map<ErrorCode, number> = new Map();
  /** Messages not delivered, by reason. */
  readonly drops: Map<DropReason, number> = new Map();
  /** Sampled durations in seconds; made by the first. */
  durations: Histogram | undefined = undefined;
  /** Sampled sizes in bytes; made by the first. */
  sizes: Histogram | undefined = undefined;
  /** When {@link look} last found a counter moved, in epoch milliseconds. */
  lastActivityMs: number | null = null;

  /** Where in the 64 it is; stays a small integer however long the process lives. */
  #tick = 0;
  /** Errors and drops together: their maps are not summed at every look. */
  #faults = 0;
  #seen = 0;

  /**
   * Starts at zero.
   *
   * @param pattern The pattern of the endpoint.
   * @param role Which end it is.
   * @param address Its address.
   * @param transport The wire it uses, by plugin name.
   */
  constructor(pattern: Pattern, role: Role, address: string, transport: string) {
    this.pattern = pattern;
    this.role = role;
    this.address = address;
    this.transport = transport;
  }

  /**
   * Counts a failure.
   *
   * @param code Its code.
   */
  countError(code: ErrorCode): void {
    this.#faults++;
    add(this.errors, code, 1);
  }

  /**
   * Counts messages that were not delivered.
   *
   * @param reason Why.
   * @param n How many.
   */
  countDrop(reason: DropReason, n = 1): void {
    this.#faults += n;
    add(this.drops, reason, n);
  }

  /** True the first time and then once in 64: the caller then reads the clock twice. */
  sample(): boolean {
    return (this.#tick = (this.#tick + 1) & (SAMPLE_EVERY - 1)) === 1;
  }

  /**
   * Notes how long a sampled operation took.
   *
   * @param seconds The duration in seconds.
   */
  observeDuration(seconds: number): void {
    (this.durations ??= new Histogram(DURATION_SCALE)).observe(seconds);
  }

  /**
   * Notes how large a sampled message was.
   *
   * @param bytes The payload in bytes.
   */
  observeSize(bytes: number): void {
    (this.sizes ??= new Histogram(SIZE_SCALE)).observe(bytes);
  }

  /**
   * Notes the time as {@link lastActivityMs} if a counter moved since the last look.
   *
   * @param nowMs Epoch milliseconds.
   */
  look(nowMs: number): void {
    // Every summand only grows, so an equal sum means that none moved.
    const seen = this.messagesIn + this.messagesOut + this.calls + this.feedback + this.#faults;
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.lastActivityMs = nowMs;
  }

  /**
   * Adds what another endpoint has counted, gauges included.
   *
   * @param other The other endpoint. It stays as it is.
   */
  absorb(other: EndpointStatistics): void {
    this.messagesIn += other.messagesIn;
    this.messagesOut += other.messagesOut;
    this.bytesIn += other.bytesIn;
    this.bytesOut += other.bytesOut;
    this.calls += other.calls;
    this.pending += other.pending;
    this.feedback += other.feedback;
    for (const [code, n] of other.errors) add(this.errors, code, n);
    for (const [reason, n] of other.drops) add(this.drops, reason, n);
    if (other.durations !== undefined) {
      (this.durations ??= new Histogram(DURATION_SCALE)).merge(other.durations.snapshot());
    }
    if (other.sizes !== undefined) {
      (this.sizes ??= new Histogram(SIZE_SCALE)).merge(other.sizes.snapshot());
    }
    if (
      other.lastActivityMs !== null && other.lastActivityMs > (this.lastActivityMs ?? -Infinity)
    ) {
      this.lastActivityMs = other.lastActivityMs;
    }
  }

  /** The counters now, as plain JSON. */
  snapshot(): EndpointSnapshot {
    const snapshot: EndpointSnapshot = {
      pattern: this.pattern,
      role: this.role,
      address: this.address,
      transport: this.transport,
      messagesIn: this.messagesIn,
      messagesOut: this.messagesOut,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      calls: this.calls,
      pending: this.pending,
      feedback: this.feedback,
      errors: Object.fromEntries(this.errors),
      drops: Object.fromEntries(this.drops),
      lastActivityMs: this.lastActivityMs,
    };
    if (this.durations !== undefined) snapshot.durations = distribution(this.durations);
    if (this.sizes !== undefined) snapshot.sizes = distribution(this.sizes);
    return snapshot;
  }
}

/**
 * The counters of one transport: what its endpoints count, plus framing, control and connections.
 *
 * @example
 * ```ts
 * import { TransportStatistics } from "@patchbay/core";
 *
 * const uds = new TransportStatistics("uds");
 * uds.connections++;
 * uds.health = "degraded";
 * uds.countDrop("undecodable");
 * if (uds.snapshot().drops.undecodable !== 1) throw new Error("unexpected");
 * ```
 */
export class TransportStatistics {
  /** The plugin's name. */
  readonly name: string;
  /** Messages received. */
  messagesIn = 0;
  /** Messages sent. */
  messagesOut = 0;
  /** Bytes received, framing included. */
  bytesIn = 0;
  /** Bytes sent, framing included. */
  bytesOut = 0;
  /** Connections made again after a loss. */
  reconnections = 0;
  /** Calls started again by the retry layer. */
  retries = 0;
  /** Connections open now. */
  connections = 0;
  /** How it does, where nobody is asked. */
  health: HealthStatus = "healthy";
  /** Asked at each snapshot how the transport does. */
  askHealth: (() => { readonly status: HealthStatus; readonly reason?: string }) | undefined =
    undefined;
  /** Asked at each snapshot what people should know although it works. */
  askNotes: (() => readonly string[]) | undefined = undefined;
  /** Failures by code. */
  readonly errors: Map<ErrorCode, number> = new Map();
  /** Messages not delivered, by reason. */
  readonly drops: Map<DropReason, number> = new Map();

  /**
   * Starts at zero.
   *
   * @param name The plugin's name.
   */
  constructor(name: string) {
    this.name = name;
  }

  /**
   * Counts a failure.
   *
   * @param code Its code.
   */
  countError(code: ErrorCode): void {
    add(this.errors, code, 1);
  }

  /**
   * Counts messages that were not delivered.
   *
   * @param reason Why.
   * @param n How many.
   */
  countDrop(reason: DropReason, n = 1): void {
    add(this.drops, reason, n);
  }

  /** The counters now, as plain JSON. */
  snapshot(): TransportSnapshot {
    const { status, reason } = this.askHealth?.() ?? { status: this.health };
    const snapshot: TransportSnapshot = {
      name: this.name,
      messagesIn: this.messagesIn,
      messagesOut: this.messagesOut,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      errors: Object.fromEntries(this.errors),
      drops: Object.fromEntries(this.drops),
      reconnections: this.reconnections,
      retries: this.retries,
      connections: this.connections,
      health: status,
    };
    if (reason !== undefined) snapshot.healthReason = reason;
    const notes = this.askNotes?.() ?? [];
    if (notes.length > 0) snapshot.notes = [...notes];
    return snapshot;
  }
}

/** The counters of one direction of a bridge. */
export class BridgeStatistics {
  /** The wire that messages come from, by plugin name. */
  readonly from: string;
  /** The wire they go to, by plugin name. */
  readonly to: string;
  /** Calls carried. */
  calls = 0;
  /** Shouts carried. */
  shouts = 0;
  /** Jobs carried. */
  jobs = 0;
  /** Feedback and progress of jobs, carried back. */
  feedback = 0;
  /** Calls and jobs in flight now. */
  pending = 0;
  /** Addresses offered on the far wire now. */
  offers = 0;
  /** Calls and jobs that failed, by code. */
  readonly errors: Map<ErrorCode, number> = new Map();
  /** Messages not carried, by reason. */
  readonly drops: Map<DropReason, number> = new Map();

  /**
   * Starts at zero.
   *
   * @param from The wire that messages come from.
   * @param to The wire they go to.
   */
  constructor(from: string, to: string) {
    this.from = from;
    this.to = to;
  }

  /**
   * Counts a failure.
   *
   * @param code Its code.
   */
  countError(code: ErrorCode): void {
    add(this.errors, code, 1);
  }

  /**
   * Counts messages that were not carried.
   *
   * @param reason Why.
   * @param n How many.
   */
  countDrop(reason: DropReason, n = 1): void {
    add(this.drops, reason, n);
  }

  /** The counters now, as plain JSON. */
  snapshot(): BridgeSnapshot {
    const { from, to, calls, shouts, jobs, feedback, pending, offers } = this;
    const errors = Object.fromEntries(this.errors);
    const drops = Object.fromEntries(this.drops);
    return { from, to, calls, shouts, jobs, feedback, pending, offers, errors, drops };
  }
}

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

function add<Key>(counts: Map<Key, number>, key: Key, n: number): void {
  counts.set(key, (counts.get(key) ?? 0) + n);
}

function distribution(histogram: Histogram): Distribution {
  return {
    ...histogram.snapshot(),
    p50: histogram.quantile(0.5),
    p99: histogram.quantile(0.99),
  };
}
