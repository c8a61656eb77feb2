/**
 * How participants, writers and readers are made, and what a participant tells.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import type { WhyLost } from "./discovery.ts";
import type { EndpointData, ParticipantData } from "./discovery_data.ts";
import type { ReaderEvents, WriterEvents } from "./endpoints.ts";
import type { HistoryLimits } from "./history.ts";
import type { Qos } from "./qos.ts";
import type { OpenSocket } from "./socket.ts";

/** What a participant tells. All of it is optional. */
export interface ParticipantEvents {
  /** A participant was found. */
  onParticipant?(participant: ParticipantData): void;
  /** One has gone, or makes place for others. */
  onParticipantLost?(participant: ParticipantData, why: WhyLost): void;
  /** An endpoint was announced, or announced again. */
  onEndpoint?(endpoint: EndpointData, participant: ParticipantData): void;
  /** An endpoint has gone. */
  onEndpointGone?(endpoint: EndpointData, participant: ParticipantData): void;
  /** Something failed that stops nobody: a handler threw, a socket broke. */
  onReport?(error: unknown): void;
}

/** How a participant is opened. */
export interface ParticipantOptions extends ParticipantEvents {
  /** The domain, 0 to 232. Default 0. */
  readonly domain?: number;
  /** A name for people. */
  readonly name?: string;
  /** Bytes that others are told. */
  readonly userData?: Uint8Array;
  /** The IPv4 addresses of the interfaces to use. Default: all of this machine's. */
  readonly interfaces?: readonly string[];
  /** Whether to announce to the multicast group and listen there. Default true. */
  readonly multicast?: boolean;
  /** IPv4 addresses to announce to, with or without `:port` of their discovery. */
  readonly peers?: readonly string[];
  /** Whether its own writers and readers of one topic meet each other. Default true. */
  readonly matchOwn?: boolean;
  /** How often to announce, once found, in milliseconds. Default 3 s. */
  readonly announceMs?: number;
  /** For how long others take it for alive without a word, in milliseconds. Default 20 s. */
  readonly leaseMs?: number;
  /** How many other participants are known at most. Default 1024. */
  readonly maxParticipants?: number;
  /** How many endpoints of each are known at most. Default 4096. */
  readonly maxEndpoints?: number;
  /** How many endpoints of all of them together are known at most. Default 32,768. */
  readonly maxEndpointsInAll?: number;
  /** How many bytes may be under way to one reader. Default 192 KiB. */
  readonly windowBytes?: number;
  /** The largest sample that is taken, in bytes. Default 64 MiB. */
  readonly maxSampleBytes?: number;
  /** How many bytes of incomplete or early samples one reader holds. Default 128 MiB. */
  readonly maxHeldBytes?: number;
  /** The largest datagram to other machines. Default 1472, which fits into Ethernet's frame. */
  readonly mtuBytes?: number;
  /** What sockets are opened with. Default: UDP. */
  readonly openSocket?: OpenSocket;
  /** The timer wheel to use. Default: one of its own. */
  readonly wheel?: TimerWheel;
}

/** How an endpoint is made. */
export interface EndpointOptions {
  /** The topic. */
  readonly topic: string;
  /** The name of the topic's type. */
  readonly type: string;
  /** Its policies; default: reliable, volatile, the last one. */
  readonly qos?: Partial<Qos>;
  /** Whether the topic has a key. Default false. */
  readonly keyed?: boolean;
  /** Bytes that others are told. */
  readonly userData?: Uint8Array;
  /** Called when it was closed, by its user or with the participant. */
  onClosed?(): void;
}

/** How a writer is made. */
export interface WriterOptions extends EndpointOptions, WriterEvents, Partial<HistoryLimits> {
  /**
   * How many of the samples that are kept a late reader gets, where durability lets it have any, and
   * how many are kept for its sake. Default: all that history and depth keep.
   */
  readonly lateSamples?: number;
  /**
   * For how long a reliable reader that takes nothing may hold the others back, in milliseconds: when
   * there is no room left, it loses what it has not taken. Default: as long as it is there.
   */
  readonly stallMs?: number;
}

/** How a reader is made. */
export interface ReaderOptions extends EndpointOptions, ReaderEvents {
  /** Finds the key hash, 32 hexadecimal digits, where a writer does not send it. */
  readonly keyOf?: (payload: Uint8Array) => string;
  /** How many samples are kept for `take()` at most. Default 10,000. */
  readonly maxSamples?: number;
}

/** Counters of a participant. */
export interface ParticipantStatistics {
  /** How many datagrams came. */
  readonly received: number;
  /** How many were handed to the system. */
  readonly sent: number;
  /** What was ignored, by reason. */
  readonly ignored: Readonly<Record<string, number>>;
  /** What the system refused to send, by reason. */
  readonly sendFailures: Readonly<Record<string, number>>;
  /** How often reading a datagram threw: a defect, reported by `onReport`. */
  readonly defects: number;
}
