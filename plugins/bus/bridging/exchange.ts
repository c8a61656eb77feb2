/**
 * What two managers tell each other: who they are, their frame definitions, and which managers they
 * reach.
 *
 * @module
 */

import { checkPattern, PatchbayError } from "@patchbay/core";
import type { FrameTable } from "../frame_registry.ts";
import { compareFrames, type FrameSignature } from "../frames/fingerprint.ts";
import type { ModuleView } from "../roster.ts";
import { type ManagerRecord, MAX_MANAGERS, MAX_PATTERNS } from "./reach.ts";

/** Where managers exchange tables: a callable of each. */
export const EXCHANGE = "bus/exchange";
/** Where a manager says that its table has changed: a speaker. */
export const CHANGED = "bus/exchange/changed";

/** The most modules of one manager that are told. */
export const MAX_MODULES = 4096;
/** The most that is told of what one of them hears and offers. */
const MAX_OF_MODULE = 4096;

/** One side of an exchange. */
export interface Exchange {
  /** The id of the manager. */
  readonly id: string;
  /** What it is called. */
  readonly name: string;
  /** The id of the bay that has dialled; of an answer: of the manager. */
  readonly client: string;
  /** Its definitions, if it has any. */
  readonly table: FrameTable | null;
  /** The managers it reaches, itself first. */
  readonly records: readonly ManagerRecord[];
  /** Of an answer: this bridge is not needed, another one between the two is up. */
  readonly standby?: boolean;
}

/**
 * Checks what has come from another manager.
 *
 * @param value What has come.
 * @throws `invalid`: it is no exchange.
 */
export function readExchange(value: unknown): Exchange {
  const from = asObject(value);
  const { table, records, standby } = from;
  return {
    id: asText(from.id),
    name: asText(from.name),
    client: asText(from.client),
    table: table === null ? null : readTable(asObject(table)),
    records: asList(records, MAX_MANAGERS).map(readRecord),
    standby: standby === true,
  };
}

/**
 * Compares the definitions of two managers.
 *
 * @param name What the other one is called.
 * @param theirs Its definitions.
 * @param ours Our own.
 * @throws `invalid`, listing the frames that differ.
 */
export function checkTables(
  name: string,
  theirs: FrameTable | null,
  ours: FrameTable | undefined,
): void {
  if (theirs === null || ours === undefined || theirs.fingerprint === ours.fingerprint) return;
  const differences = compareFrames(ours.signatures, theirs.signatures);
  throw new PatchbayError(
    "invalid",
    `the frame definitions of the bus ${name} differ: ${
      differences.map(({ text }) => text).join("; ")
    }`,
    {
      retryable: false,
      details: { differences: differences.map(({ name, kind }) => ({ name, kind })) },
      remedy: "generate the frames of the modules of both from one file: deno task frames FILE",
    },
  );
}

/** Whether an address or a pattern is one of frames. */
export function isFrames(pattern: string): boolean {
  return pattern.startsWith("frame/");
}

/**
 * A module, as it is told to other managers: they take no longer lists.
 *
 * @param module The module.
 */
export function toldOf({ pid, name, id, sinceMs, hears, offers }: ModuleView): ModuleView {
  return {
    ...(pid === undefined ? {} as { pid: undefined } : { pid }),
    name,
    id,
    sinceMs,
    hears: hears.slice(0, MAX_OF_MODULE),
    offers: offers.slice(0, MAX_OF_MODULE),
  };
}

function readTable({ fingerprint, signatures }: Record<string, unknown>): FrameTable {
  return {
    fingerprint: asText(fingerprint),
    signatures: asList(signatures, 256).map((each): FrameSignature => {
      const { name, number, layout } = asObject(each);
      return { name: asText(name), number: asCount(number), layout: asText(layout) };
    }),
  };
}

function readRecord(value: unknown): ManagerRecord {
  const { id, name, hops, hears, modules } = asObject(value);
  return {
    id: asText(id),
    name: asText(name),
    hops: asCount(hops),
    hears: asList(hears, MAX_PATTERNS).map(asFrames),
    modules: asList(modules, MAX_MODULES).map(readModule),
  };
}

function readModule(value: unknown): ModuleView {
  const { name, id, pid, sinceMs, hears, offers } = asObject(value);
  return {
    name: asText(name),
    id: asText(id),
    ...(pid === undefined || pid === null ? {} : { pid: asCount(pid) }),
    sinceMs: asCount(sinceMs),
    hears: asList(hears, MAX_OF_MODULE).map((each) => {
      const { pattern, published, dropped, waiting } = asObject(each);
      return {
        pattern: asText(pattern),
        published: asCount(published),
        dropped: asCount(dropped),
        waiting: asCount(waiting),
      };
    }),
    offers: asList(offers, MAX_OF_MODULE).map(asText),
  } as ModuleView;
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw unreadable();
}

function asText(value: unknown): string {
  if (typeof value === "string" && value.length <= 256) return value;
  throw unreadable();
}

/** Nothing else is carried, whatever a neighbour says that it hears. */
function asFrames(value: unknown): string {
  const pattern = checkPattern(asText(value));
  if (isFrames(pattern)) return pattern;
  throw unreadable();
}

function asCount(value: unknown): number {
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  throw unreadable();
}

function asList(value: unknown, max: number): unknown[] {
  if (Array.isArray(value) && value.length <= max) return value;
  throw unreadable();
}

function unreadable(): PatchbayError {
  return new PatchbayError("invalid", "what the other manager tells cannot be read", {
    retryable: false,
    remedy: "run the same version of Patchbay on both",
  });
}
