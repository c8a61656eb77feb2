/**
 * What others offer on a wire, as a wire tells it to who watches. See decision 0007.
 *
 * @module
 */

import { matches } from "./address.ts";
import type { Directory } from "./directory.ts";
import { PatchbayError, type Pattern } from "./errors.ts";

/** How an offer came over bridges. */
export interface Bridged {
  /** The ids of the bays that bridged it, the first one first. */
  readonly path: readonly string[];
  /** The ids of the bays that serve, speak or perform it; the first {@link MAX_ORIGINS}. */
  readonly origins: readonly string[];
}

/** Something that another bay serves, speaks or performs. */
export interface Offer {
  /** The pattern. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
  /** Whether several may serve it. */
  readonly shared: boolean;
  /** Of a speaker: whether it keeps its last value. */
  readonly retain: boolean;
  /** The id of the bay that offers it. */
  readonly by: string;
  /** How it came over bridges; absent if that bay itself has it. */
  readonly bridged?: Bridged;
  /** What the wire tells of it, for people: a type, a node. */
  readonly detail?: string;
}

/** A look at a wire that goes on. */
export interface Watching {
  /** What is offered now by others, or by this bay itself where the wire is within the process. */
  readonly offers: readonly Offer[];
  /** Looks no longer. Idempotent. */
  close(): void;
}

/**
 * What others offer over a wire, as a directory says it.
 *
 * @param directory The directory.
 * @param wire The plugin's name.
 * @param match The addresses that are asked for: a pattern.
 */
export function offersIn(directory: Directory, wire: string, match: string): Offer[] {
  const offers: Offer[] = [];
  for (const { id, wires, endpoints } of directory.others) {
    if (wires[wire] === undefined) continue;
    for (const { role, pattern, address, wires, shared, retain, bridged } of endpoints) {
      if (role === "listener" || !wires.includes(wire) || !matches(match, address)) continue;
      offers.push({
        pattern,
        address,
        shared: shared === true,
        retain: retain === true,
        by: id,
        bridged,
      });
    }
  }
  return offers;
}

/** An offer may have passed so many bridges. */
export const MAX_PATH = 8;
/** So many origins of an offer are told. */
export const MAX_ORIGINS = 16;

/**
 * Reads how an offer came over bridges, as another process tells it.
 *
 * @param value What it said.
 * @throws {PatchbayError} `protocol`: it is neither absent nor two short lists of ids.
 */
export function readBridged(value: unknown): Bridged | undefined {
  if (value === undefined || value === null) return undefined;
  const { path, origins } = value as Record<string, unknown>;
  if (ids(path, MAX_PATH) && ids(origins, MAX_ORIGINS)) return { path, origins };
  throw new PatchbayError("protocol", "an offer's bridges are not two short lists of ids");
}

function ids(value: unknown, max: number): value is string[] {
  return Array.isArray(value) && value.length <= max &&
    value.every((id) => typeof id === "string" && id.length <= 64);
}
