/**
 * What a bay says of itself, in one retained message: written by it, read by every other one, and
 * written by foreign programs as well.
 *
 * @module
 */

import { type Bridged, checkAddress, checkPattern, type Offer, readBridged } from "@patchbay/core";

/** How an address is served: by one; by several whom the broker, or the caller, chooses among. */
export type Sharing = "exclusive" | "shared" | "each";

/** What a bay says of itself. */
export interface BayNote {
  /** Its module. */
  readonly module: string;
  /** The version of MQTT it speaks: 4 is 3.1.1. */
  readonly v: 4 | 5;
  /** What it serves, by address. */
  readonly serves: Readonly<Record<string, Sharing>>;
  /** What it listens to. */
  readonly listens: readonly string[];
  /** At which addresses it speaks. */
  readonly speaks: readonly string[];
  /** At which of them it keeps the last value. */
  readonly retains: readonly string[];
  /** What it only passes on: how it came over bridges, by pattern and address. */
  readonly bridged: Readonly<Record<string, Bridged>>;
  /** Counts its notes. */
  readonly rev: number;
  /** It is gone if nothing is heard of it for so long, in milliseconds; absent: it stays. */
  readonly leaseMs?: number;
}

/** No address: without what every object has. */
export const NO_ADDRESSES: BayNote["serves"] = Object.create(null);

/** Those of a list that are what they are to be; a foreign program may have written anything. */
function checked(value: unknown, check: (text: string) => unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((each) => typeof each === "string" && passes(each, check));
}

function passes(text: string, check: (text: string) => unknown): boolean {
  try {
    check(text);
    return true;
  } catch {
    return false;
  }
}

/** A note; a foreign program may leave out all but `serves`. `undefined`: it is none. */
export function readNote(payload: Uint8Array): BayNote | undefined {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const serves: Record<string, Sharing> = Object.create(null);
  for (const [address, how] of Object.entries(value.serves ?? {})) {
    if (!passes(address, checkAddress)) continue;
    serves[address] = how === "shared" || how === "each" ? how : "exclusive";
  }
  const bridged: Record<string, Bridged> = Object.create(null);
  for (const [name, way] of Object.entries(value.bridged ?? {})) {
    try {
      const known = readBridged(way);
      if (known !== undefined) bridged[name] = known;
    } catch {
      return undefined;
    }
  }
  const { leaseMs } = value;
  return {
    module: typeof value.module === "string" ? value.module : "a foreign program",
    v: value.v === 4 ? 4 : 5,
    serves,
    listens: checked(value.listens, checkPattern),
    speaks: checked(value.speaks, checkAddress),
    retains: checked(value.retains, checkAddress),
    bridged,
    rev: typeof value.rev === "number" ? value.rev : 0,
    leaseMs: typeof leaseMs === "number" && leaseMs > 0 ? leaseMs : undefined,
  };
}

/**
 * What a bay offers.
 *
 * @param by Its id.
 * @param note What it says.
 */
export function offersOf(by: string, { serves, speaks, retains, bridged }: BayNote): Offer[] {
  const callables = Object.entries(serves).map(([address, sharing]): Offer => ({
    pattern: "callable",
    address,
    shared: sharing !== "exclusive",
    retain: false,
    by,
    bridged: bridged[`callable ${address}`],
  }));
  const speakers = speaks.map((address): Offer => ({
    pattern: "speaker",
    address,
    shared: true,
    retain: retains.includes(address),
    by,
    bridged: bridged[`speaker ${address}`],
  }));
  return [...callables, ...speakers];
}
