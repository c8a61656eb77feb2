/**
 * Counters of one endpoint, one transport and one direction of a bridge: plain fields that the hot
 * path increments.
 *
 * @module
 */

import type { ErrorCode, Pattern } from "./errors.ts";
import { DURATION_SCALE, Histogram, SIZE_SCALE } from "./histogram.ts";
import type {
  BridgeSnapshot,
  Distribution,
  DropReason,
  EndpointSnapshot,
  HealthStatus,
  Role,
  TransportSnapshot,
} from "./snapshots.ts";

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
