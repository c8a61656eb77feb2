/**
 * The bodies of the frames between a hub and its clients: register, register-ack, find, presence,
 * watch.
 * See decision 0006.
 *
 * @module
 */

import { checkAddress, checkPattern } from "../address.ts";
import { PatchbayError, type Pattern, type WireError } from "../errors.ts";
import { type Bridged, type Offer as Seen, readBridged } from "../offers.ts";

/** What a client serves or speaks. */
export interface Offer {
  /** The pattern. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
  /** Whether several may serve it. */
  readonly shared?: boolean;
  /** Of a speaker: whether it keeps its last value. */
  readonly retain?: boolean;
  /** How it came over bridges. */
  readonly bridged?: Bridged;
}

/** What a hub tells: who is there, or what became of a speaker's shouts. */
export interface Presence {
  /** The pattern asked for. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
  /** Whether somebody is there. */
  readonly found?: boolean;
  /** Who. */
  readonly detail?: string;
  /** To a speaker: how many listen to it. */
  readonly listeners?: number;
  /** To a speaker: what the hub has dropped of its shouts since it told last, by reason. */
  readonly drops?: Readonly<Record<string, number>>;
  /** Why the asker is not told when this changes: it has asked after too many. */
  readonly error?: WireError;
}

const PATTERNS: readonly unknown[] = ["callable", "speaker", "job"];

/**
 * Reads what a client asks for or offers.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `protocol`, `invalid`.
 */
export function readOffer(body: Record<string, unknown>): Offer {
  const { pattern, address, shared, retain, bridged } = body;
  if (!PATTERNS.includes(pattern)) {
    throw new PatchbayError("protocol", "a frame for the hub lacks its pattern");
  }
  return {
    pattern: pattern as Pattern,
    address: checkAddress(address as string),
    shared: shared === true,
    retain: retain === true,
    bridged: readBridged(bridged),
  };
}

/** The most offers of one address that are told to who watches: a control frame has room for them. */
export const MAX_SEEN = 16;

/**
 * Reads the pattern that a client watches; `undefined`: it watches no longer.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `invalid`.
 */
export function readWatch(body: Record<string, unknown>): string | undefined {
  return body.match === undefined ? undefined : checkPattern(body.match as string);
}

/** What became of one address, as a hub tells who watches; without one all has been told. */
export interface Sight {
  /** The pattern. */
  readonly pattern?: Pattern;
  /** The address. */
  readonly address?: string;
  /** Who offers it now. */
  readonly offers: readonly Seen[];
  /** Why nothing is told: too many patterns are watched. */
  readonly error?: WireError;
}

/**
 * Reads what a hub tells who watches.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `protocol`, `invalid`.
 */
export function readSight(body: Record<string, unknown>): Sight {
  if (!Array.isArray(body.offers)) throw new PatchbayError("protocol", "a sight without offers");
  if (body.address === undefined) return { offers: [], error: readError(body.error) };
  const { pattern, address } = readOffer(body);
  const offers = body.offers.slice(0, MAX_SEEN).map((each): Seen => {
    const { by } = each as { by?: unknown };
    const { shared = false, retain = false, bridged } = readOffer({ ...each, pattern, address });
    return { pattern, address, shared, retain, bridged, by: typeof by === "string" ? by : "" };
  });
  return { pattern, address, offers };
}

/**
 * Reads what a hub tells.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `protocol`, `invalid`.
 */
export function readPresence(body: Record<string, unknown>): Presence {
  const { pattern, address } = readOffer(body);
  const { found, detail, listeners, drops, error } = body;
  const counts = typeof drops === "object" && drops !== null ? Object.entries(drops) : [];
  return {
    pattern,
    address,
    found: found === true,
    detail: typeof detail === "string" ? detail : undefined,
    listeners: typeof listeners === "number" && listeners >= 0 ? listeners : undefined,
    drops: Object.fromEntries(counts.filter(([, n]) => typeof n === "number" && n > 0)),
    error: readError(error),
  };
}

function readError(error: unknown): WireError | undefined {
  return typeof error === "object" && error !== null ? error as WireError : undefined;
}

/**
 * The refusal in a register-ack, if it is one.
 *
 * @param body The frame's body.
 * @param transport The plugin's name.
 */
export function readRefusal(
  body: Record<string, unknown>,
  transport: string,
): PatchbayError | undefined {
  const { error } = body as { error?: WireError };
  return error === undefined ? undefined : PatchbayError.fromWire(error, { transport });
}

/** One key for a pattern and an address. */
export function keyOf(pattern: Pattern, address: string): string {
  return `${pattern} ${address}`;
}
