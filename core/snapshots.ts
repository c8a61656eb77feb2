/**
 * What the counters of a bay are read out as: plain JSON.
 *
 * @module
 */

import type { ErrorCode, Pattern } from "./errors.ts";
import type { HistogramSnapshot } from "./histogram.ts";

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
