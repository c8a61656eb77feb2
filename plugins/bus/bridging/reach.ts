/**
 * Which managers can be reached over which bridge, and what is heard there: tables as neighbours
 * tell them, each a step further away.
 *
 * @module
 */

import { matches } from "@patchbay/core";
import type { ModuleView } from "../roster.ts";

/** The most managers that one tells of, and that dial one. */
export const MAX_MANAGERS = 64;
/** Over so many patterns and it is simpler to carry all frames: each is compared with each. */
export const MAX_PATTERNS = 512;
/** All frames. */
const ALL = "frame/**";

/** One manager, as another one tells of it. */
export interface ManagerRecord {
  /** The id of its bay. */
  readonly id: string;
  /** What it is called. */
  readonly name: string;
  /** How many bridges lie between it and who tells of it; 0: it tells of itself. */
  readonly hops: number;
  /** Addresses and patterns of frames that its own modules listen to. */
  readonly hears: readonly string[];
  /** Its own modules. */
  readonly modules: readonly ModuleView[];
}

/** Where a manager is, seen from here. */
export interface Route {
  /** The manager; `hops` counts from here. */
  readonly record: ManagerRecord;
  /** The bridge over which it is nearest. */
  readonly via: string;
}

/** Tables of neighbours. */
export class Reach {
  readonly #me: string;
  readonly #maxHops: number;
  /** By bridge, by manager; hops count from here. */
  readonly #told = new Map<string, Map<string, ManagerRecord>>();
  #best: Map<string, Route> | undefined;

  /**
   * @param me The id of this manager.
   * @param maxHops Over so many bridges others are reached.
   */
  constructor(me: string, maxHops: number) {
    this.#me = me;
    this.#maxHops = maxHops;
  }

  /**
   * A neighbour has told its table.
   *
   * @param bridge The bridge to it.
   * @param records What it has told.
   */
  set(bridge: string, records: readonly ManagerRecord[]): void {
    const table = new Map<string, ManagerRecord>();
    for (const record of records) {
      if (record.id !== this.#me) table.set(record.id, { ...record, hops: record.hops + 1 });
    }
    this.#told.set(bridge, table);
    this.#best = undefined;
  }

  /**
   * A bridge is down.
   *
   * @param bridge The bridge.
   * @returns Whether it was up.
   */
  drop(bridge: string): boolean {
    this.#best = undefined;
    return this.#told.delete(bridge);
  }

  /** The nearest way to each manager that is not too far. */
  get routes(): ReadonlyMap<string, Route> {
    if (this.#best !== undefined) return this.#best;
    const best = this.#best = new Map<string, Route>();
    for (const via of [...this.#told.keys()].sort()) {
      for (const [id, record] of this.#told.get(via) ?? []) {
        if (record.hops > this.#maxHops) continue;
        if (record.hops < (best.get(id)?.record.hops ?? Infinity)) best.set(id, { record, via });
      }
    }
    return best;
  }

  /**
   * What is told over a bridge: this manager, and those that are not nearest over that very bridge;
   * of too many the nearest, as a neighbour takes no longer table.
   *
   * @param bridge The bridge.
   * @param own This manager.
   */
  tell(bridge: string, own: ManagerRecord): ManagerRecord[] {
    const others = [...this.routes.values()].filter(({ via }) => via !== bridge);
    const records = others.map(({ record }) => record).sort((one, other) => one.hops - other.hops);
    return [own, ...records.slice(0, MAX_MANAGERS - 1)];
  }

  /**
   * What is heard beyond a bridge by managers to which it is a shortest way.
   *
   * @param bridge The bridge.
   */
  heardBeyond(bridge: string): string[] {
    const heard = new Set<string>();
    for (const [id, { hops, hears }] of this.#told.get(bridge) ?? []) {
      if (this.routes.get(id)?.record.hops === hops) { for (const each of hears) heard.add(each); }
    }
    return [...heard];
  }

  /**
   * What is heard on this side of a bridge by managers to which it is, for the neighbour, a shortest
   * way: the same as what that would find with {@link heardBeyond}.
   *
   * @param bridge The bridge.
   * @param own This manager.
   */
  heardBefore(bridge: string, own: ManagerRecord): string[] {
    const told = this.#told.get(bridge);
    if (told === undefined) return [];
    const heard = new Set<string>();
    for (const { id, hops, hears } of this.tell(bridge, own)) {
      // `told` counts from here: one more than from there.
      const theirs = told.get(id)?.hops ?? Infinity;
      if (hops + 1 > this.#maxHops || hops + 1 > theirs - 1) continue;
      for (const each of hears) heard.add(each);
    }
    return [...heard];
  }

  /**
   * Whether the neighbour gets the frames of a manager over this bridge: unless it has told of that
   * manager, and so has another way to it.
   *
   * @param bridge The bridge.
   * @param manager Where the frames come from.
   */
  leadsOn(bridge: string, manager: string): boolean {
    return this.#told.get(bridge)?.has(manager) === false;
  }
}

/**
 * Patterns without those that another one of them holds; all frames, where there are too many.
 *
 * @param patterns Addresses and patterns of frames: `frame/x`, `frame/*`.
 */
export function widest(patterns: Iterable<string>): Set<string> {
  const all = [...new Set(patterns)];
  if (all.length > MAX_PATTERNS) return new Set([ALL]);
  return new Set(
    all.filter((one) =>
      !all.some((other) => other !== one && !one.includes("*") && matches(other, one))
    ),
  );
}
