/**
 * How a bridge is asked for, and what it asks of its bay.
 *
 * @module
 */

import { checkPattern, nearest } from "../address.ts";
import type { Wire } from "../choice.ts";
import type { Directory } from "../directory.ts";
import type { Epoch } from "../epoch.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { BayIdentity } from "../plugin.ts";
import type { Overflow } from "../queue.ts";
import type { Statistics } from "../statistics.ts";
import type { TimerWheel } from "../timer_wheel.ts";

/** How to bridge two wires. */
export interface BridgeOptions<Name extends string = string> {
  /** One wire, by plugin name. */
  from: Name;
  /** The other wire, by plugin name. */
  to: Name;
  /** The addresses that are carried: patterns such as `arm/**`. Default `**`. */
  match?: string | readonly string[];
  /** Only what is offered on `from` is offered on `to`, not the other way round. */
  oneWay?: boolean;
  /** The patterns that are carried; default: all that both wires have. */
  patterns?: readonly Pattern[];
  /**
   * What happens to a shout when so many of its address wait: `drop_oldest` (default) loses the
   * oldest, counted; `block` holds the speaker back, where its wire can.
   */
  overflow?: Exclude<Overflow, "fail">;
  /** The most shouts of one address that wait. Default 1024. */
  maxQueue?: number;
  /** The most calls, and the most jobs, of one address at once. Default 1024. */
  maxConcurrent?: number;
  /** The most addresses that are offered in each direction. Default 4096. */
  maxAddresses?: number;
  /** How long a call may take whose caller does not say, in milliseconds. Default 30 s. */
  callTimeoutMs?: number;
  /** How long a job goes on without its owner, in milliseconds. Default 10 s. */
  orphanMs?: number;
  /** Closes the bridge. */
  signal?: AbortSignal;
}

/** @ignore What a bridge asks of its bay. */
export interface BridgeHost {
  readonly identity: BayIdentity;
  readonly wires: readonly Wire[];
  readonly timers: TimerWheel;
  readonly statistics: Statistics;
  readonly directory: Directory | undefined;
  readonly epoch: Epoch;
  readonly report: (error: PatchbayError) => void;
  /** Whether this bay itself serves, speaks or performs an address on a wire. */
  own(wire: string, pattern: Pattern, address: string): boolean;
}

/** @ignore Options, checked, with their defaults. */
export interface BridgeSettings {
  readonly match: readonly string[];
  readonly oneWay: boolean;
  readonly patterns: readonly Pattern[];
  readonly overflow: Exclude<Overflow, "fail">;
  readonly maxQueue: number;
  readonly maxConcurrent: number;
  readonly maxAddresses: number;
  readonly callTimeoutMs: number;
  readonly orphanMs: number;
}

/** @ignore A wire that is open. */
export type OpenWire = Wire & { readonly transport: NonNullable<Wire["transport"]> };

const PATTERNS: readonly Pattern[] = ["callable", "speaker", "job"];

/**
 * @ignore Checks the options.
 *
 * @throws {PatchbayError} `invalid`.
 */
export function checkBridge(options: BridgeOptions): BridgeSettings {
  const { match = "**", patterns = PATTERNS } = options;
  const list = typeof match === "string" ? [match] : [...match];
  if (list.length === 0) throw wrong("match", "needs a pattern", "leave it out for `**`");
  for (const one of list) checkPattern(one);
  for (const one of patterns) {
    if (!PATTERNS.includes(one)) {
      throw wrong("patterns", `${JSON.stringify(one)} is none`, `use ${PATTERNS.join(", ")}`);
    }
  }
  const whole = (name: "maxQueue" | "maxConcurrent" | "maxAddresses", default_: number) => {
    const n = options[name] ?? default_;
    if (Number.isInteger(n) && n >= 1 && n <= 1_000_000) return n;
    throw wrong(name, `${n} is not a number of things`, "give a whole number from 1 to 1,000,000");
  };
  const ms = (name: "callTimeoutMs" | "orphanMs", default_: number) => {
    const n = options[name] ?? default_;
    if (n > 0) return n;
    throw wrong(name, `${n} is not a time`, "give milliseconds above 0");
  };
  return {
    match: list,
    patterns,
    oneWay: options.oneWay === true,
    overflow: options.overflow ?? "drop_oldest",
    maxQueue: whole("maxQueue", 1024),
    maxConcurrent: whole("maxConcurrent", 1024),
    maxAddresses: whole("maxAddresses", 4096),
    callTimeoutMs: ms("callTimeoutMs", 30_000),
    orphanMs: ms("orphanMs", 10_000),
  };
}

/**
 * @ignore The two wires of a bridge.
 *
 * @throws {PatchbayError} `invalid`: an unknown name, one wire twice; `unavailable`: not open.
 */
export function bridgeWires(wires: readonly Wire[], options: BridgeOptions): [OpenWire, OpenWire] {
  const { from, to } = options;
  if (from === to) {
    throw wrong("to", `a bridge from ${from} to ${from} leads nowhere`, "name two wires");
  }
  const [a, b] = (["from", "to"] as const).map((option) => {
    const name = options[option];
    const wire = wires.find((each) => each.plugin.name === name);
    if (wire === undefined) {
      const names = wires.map((each) => each.plugin.name);
      const near = nearest(name, names);
      const remedy = near === undefined
        ? `the wires here are ${names.join(", ")}; others come from a plugin, see patchbay doctor`
        : `did you mean ${near}?`;
      throw wrong(option, `there is no wire ${JSON.stringify(name)}`, remedy);
    }
    if (wire.transport !== undefined) return wire as OpenWire;
    throw new PatchbayError("unavailable", `bridge: ${wire.plugin.name}: ${wire.reason}`, {
      transport: wire.plugin.name,
      remedy: wire.remedy,
    });
  });
  return [a, b];
}

/**
 * @ignore Two wires between which shouts would go round for ever.
 *
 * @throws {PatchbayError} `invalid`.
 */
export function checkLoopSafe(a: OpenWire, b: OpenWire, settings: BridgeSettings): void {
  if (settings.oneWay || !settings.patterns.includes("speaker")) return;
  const blind = [a, b].filter(({ plugin, transport }) =>
    plugin.capabilities.speaker && transport.watch === undefined && !plugin.traits.headers
  );
  if (blind.length < 2) return;
  const names = blind.map((wire) => wire.plugin.name).join(" and ");
  throw wrong(
    "oneWay",
    `${names} carry no headers and do not tell who speaks: a shout would go round for ever`,
    "bridge one way (oneWay: true), or without speakers (patterns)",
  );
}

function wrong(option: string, what: string, remedy: string): PatchbayError {
  return new PatchbayError("invalid", `bridge: ${option}: ${what}`, {
    details: { path: `options.${option}` },
    remedy,
  });
}
