/**
 * What everything that goes one way over a bridge has in common: the two wires, the counters, and
 * the memory of what was carried.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import type { Headers } from "../callable.ts";
import type { BridgeStatistics } from "../statistics.ts";
import type { BridgeHost, BridgeSettings, OpenWire } from "./options.ts";
import { BRIDGE_TTL, readStamp, RecentIds, type Stamp, stamped } from "./stamp.ts";

/** How many messages a bridge remembers at least. */
const REMEMBERED = 8192;

/** What both directions of a bridge know together. */
export class BridgeMemory {
  /** Shouts that were carried. */
  readonly shouts: RecentIds = new RecentIds(REMEMBERED);
  /** Calls and jobs that are being carried. */
  readonly running: Set<string> = new Set();
  /** The number of the last message that got its id here. */
  sequence = 0;
}

/** One direction of a bridge. */
export interface Lane {
  /** The bay. */
  readonly host: BridgeHost;
  /** Where it comes from: the wire of the real server or speaker. */
  readonly from: OpenWire;
  /** Where it is offered. */
  readonly to: OpenWire;
  /** The options. */
  readonly settings: BridgeSettings;
  /** The counters. */
  readonly statistics: BridgeStatistics;
  /** What both directions know. */
  readonly memory: BridgeMemory;
}

/** A call or job that may go on. */
export interface Pass {
  /** What goes along. */
  readonly headers: Headers | undefined;
  /** Its id; `undefined` where it cannot come back. */
  readonly id: string | undefined;
}

/**
 * Decides whether a call or job may go on; it counts as running until {@link arrived}.
 *
 * @param lane The direction.
 * @param address Where it goes.
 * @param headers What came along.
 * @param last Whether no other bridge is beyond this one, so that nobody would read a stamp.
 * @throws {PatchbayError} `unavailable`: it has come too far, or round in a circle.
 */
export function pass(lane: Lane, address: string, headers: Headers, last: boolean): Pass {
  const { memory, statistics, host } = lane;
  const before = readStamp(headers);
  if (before === undefined && last) {
    statistics.pending++;
    return { headers: some(headers), id: undefined };
  }
  const stamp: Stamp = before ??
    { ttl: BRIDGE_TTL, origin: host.identity.id, sequence: ++memory.sequence };
  if (stamp.ttl === 0) {
    statistics.countDrop("ttl");
    throw refusal(address, "it has passed too many bridges", "ttl");
  }
  const id = `${stamp.origin} ${stamp.sequence}`;
  if (memory.running.has(id)) {
    statistics.countDrop("loop");
    throw refusal(address, "it came back to a bridge that it had passed", "loop");
  }
  memory.running.add(id);
  statistics.pending++;
  return { id, headers: stamped(headers, { ...stamp, ttl: stamp.ttl - 1 }) };
}

/**
 * A call or job is over.
 *
 * @param lane The direction.
 * @param id Its id.
 */
export function arrived(lane: Lane, id: string | undefined): void {
  if (id !== undefined) lane.memory.running.delete(id);
  lane.statistics.pending--;
}

/** An empty header block would cost as much as a full one. */
function some(headers: Headers): Headers | undefined {
  for (const _ in headers) return headers;
  return undefined;
}

function refusal(address: string, why: string, reason: string): PatchbayError {
  return new PatchbayError("unavailable", `${address}: ${why}`, {
    address,
    retryable: false,
    details: { reason, notExecuted: true },
    remedy: "look for bridges that lead in a circle",
  });
}
