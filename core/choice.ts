/**
 * The choice of a wire: in the order asked for, else the nearest one that both sides have.
 *
 * @module
 */

import { nearest } from "./address.ts";
import type { NativeNames } from "./contract.ts";
import { PatchbayError, type Pattern } from "./errors.ts";
import type { Finding, Plugin, Scope, Transport } from "./plugin.ts";

/** A plugin as one bay has it: open, or not, and why. */
export interface Wire {
  /** The plugin. */
  readonly plugin: Plugin;
  /** The opened transport, with its layers; `undefined` if it is not available. */
  readonly transport: Transport | undefined;
  /** A version or path worth showing. */
  readonly detail?: string;
  /** Why it is not available. */
  readonly reason?: string;
  /** What to do about that. */
  readonly remedy?: string;
}

/** What became of one wire in a choice. */
export interface Consideration {
  /** The plugin's name. */
  readonly transport: string;
  /** `chosen`; `rejected`, with the reason; `possible`: a nearer one was chosen. */
  readonly outcome: "chosen" | "rejected" | "possible";
  /** Why it was rejected, or what was found. */
  readonly reason?: string;
  /** What to do about a rejection. */
  readonly remedy?: string;
  /** Whether the wire works and looked, but nobody was there. */
  readonly looked?: boolean;
}

/** The choice, and how it came about. */
export interface Choice {
  /** The chosen wire; `undefined` if none works. */
  readonly wire: Wire | undefined;
  /** Every wire, in the order of preference. */
  readonly considered: readonly Consideration[];
}

const SCOPES: readonly Scope[] = ["process", "host", "network"];

/** How long a transport may take to say whether an address is there, in milliseconds. */
const FIND_TIMEOUT_MS = 1000;

/**
 * Wires in the order of preference: as `via` says, else by scope and rank.
 *
 * @param wires What the bay has.
 * @param via The names asked for.
 * @throws {PatchbayError} `invalid`: a name the bay does not have, with the right one suggested.
 */
export function inOrder(wires: readonly Wire[], via: readonly string[] | undefined): Wire[] {
  if (via === undefined) {
    return [...wires].sort((a, b) =>
      SCOPES.indexOf(a.plugin.scope) - SCOPES.indexOf(b.plugin.scope) ||
      a.plugin.rank - b.plugin.rank
    );
  }
  return via.map((name) => {
    const wire = wires.find((w) => w.plugin.name === name);
    if (wire !== undefined) return wire;
    const names = wires.map((w) => w.plugin.name);
    const near = nearest(name, names);
    throw new PatchbayError("invalid", `via: there is no wire ${JSON.stringify(name)}`, {
      details: { via: name, known: names },
      remedy: near === undefined
        ? `the wires here are ${names.join(", ")}; others come from a plugin, see patchbay doctor`
        : `did you mean ${near}?`,
    });
  });
}

/**
 * The wires of a list that are open and have a pattern; throws if `via` names one that cannot.
 *
 * @param wires What the bay has.
 * @param pattern What is wanted.
 * @param via The names asked for.
 * @throws {PatchbayError} `unavailable`, listing every wire with its reason and remedy.
 */
export function usable(
  wires: readonly Wire[],
  pattern: Pattern,
  via: readonly string[] | undefined,
): Wire[] {
  const ordered = inOrder(wires, via);
  const good = ordered.filter((w) => w.transport !== undefined && w.plugin.capabilities[pattern]);
  if (good.length > 0) return good;
  throw noWire(pattern, undefined, ordered.map((w) => rejection(w, pattern) as Consideration));
}

function rejection(wire: Wire, pattern: Pattern): Consideration | undefined {
  const transport = wire.plugin.name;
  if (wire.transport === undefined) {
    return { transport, outcome: "rejected", reason: wire.reason, remedy: wire.remedy };
  }
  if (wire.plugin.capabilities[pattern]) return undefined;
  return { transport, outcome: "rejected", reason: `it has no ${pattern}` };
}

/**
 * Chooses a wire for an address.
 *
 * @param wires What the bay has.
 * @param pattern What is wanted.
 * @param address Where.
 * @param via The names asked for, in order.
 * @param native What wires call it, if the contract or call says.
 */
export async function choose(
  wires: readonly Wire[],
  pattern: Pattern,
  address: string,
  via: readonly string[] | undefined,
  native?: NativeNames,
): Promise<Choice> {
  const considered: Consideration[] = [];
  let chosen: Wire | undefined;
  let untold: Wire | undefined;
  for (const wire of inOrder(wires, via)) {
    const transport = wire.plugin.name;
    const no = rejection(wire, pattern);
    if (no !== undefined || wire.transport === undefined) {
      considered.push(no as Consideration);
      continue;
    }
    const finding = await find(wire.transport, pattern, address, native);
    if (finding.found === false) {
      considered.push({
        transport,
        outcome: "rejected",
        reason: finding.reason,
        remedy: finding.remedy,
        looked: finding.unable !== true,
      });
      continue;
    }
    // Without an order asked for, a wire that knows goes before one that must try.
    if (finding.found === "unknown" && via === undefined) {
      untold ??= wire;
      considered.push({ transport, outcome: "possible", reason: "it cannot tell without trying" });
      continue;
    }
    const detail = finding.found === true ? finding.detail : undefined;
    considered.push({
      transport,
      outcome: chosen === undefined ? "chosen" : "possible",
      reason: detail,
    });
    chosen ??= wire;
  }
  if (chosen === undefined && untold !== undefined) {
    chosen = untold;
    const index = considered.findIndex((c) => c.transport === untold.plugin.name);
    considered[index] = { ...considered[index], outcome: "chosen" };
  }
  return { wire: chosen, considered };
}

async function find(
  transport: Transport,
  pattern: Pattern,
  address: string,
  native: NativeNames | undefined,
): Promise<Finding> {
  const finding = transport.find(pattern, address, native);
  if (!(finding instanceof Promise)) return finding;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Finding>((resolve) => {
    timer = setTimeout(
      () => resolve({ found: false, reason: `it did not say within ${FIND_TIMEOUT_MS} ms` }),
      FIND_TIMEOUT_MS,
    );
  });
  try {
    return await Promise.race([finding, late]);
  } catch (error) {
    const known = PatchbayError.fromThrown(error);
    return { found: false, reason: known.message, remedy: known.remedy };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The error for a choice that found no wire: every wire with its reason and remedy.
 *
 * @param pattern What was wanted.
 * @param address Where, if it was about an address.
 * @param considered The wires.
 */
export function noWire(
  pattern: Pattern,
  address: string | undefined,
  considered: readonly Consideration[],
): PatchbayError {
  const lines = considered.map((c) => `${c.transport}: ${c.reason ?? "not usable"}`);
  const remedies = considered.flatMap((c) => c.remedy === undefined ? [] : [c.remedy]);
  const what = address ?? `a ${pattern}`;
  // Some wire looked and nobody was there: that is not_found. No wire could look: unavailable.
  const nobody = address !== undefined &&
    considered.some((c) => c.looked === true);
  return new PatchbayError(
    nobody || considered.length === 0 ? "not_found" : "unavailable",
    `${what}: no wire leads there (${lines.join("; ") || "no plugin is loaded"})`,
    {
      pattern,
      address,
      details: { considered },
      remedy: remedies.length > 0
        ? [...new Set(remedies)].join("; or ")
        : "start the module that serves it, or see patchbay explain",
    },
  );
}
