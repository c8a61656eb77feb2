/**
 * What foreign programs offer on the wires that `patchbay list --via` names: those that no directory
 * of this host knows.
 *
 * @module
 */

import type { Offer } from "@patchbay/core";
import type { Context } from "../context.ts";

/** What is offered on one wire. */
export interface Foreign {
  /** The wire. */
  readonly wire: string;
  /** What others offer there, by address. */
  readonly offers: readonly Offer[];
}

/** A look at some wires that goes on. */
export interface ForeignLook extends AsyncDisposable {
  /**
   * What is offered now.
   *
   * @param known The ids of bays that are listed already.
   */
  look(known: readonly string[]): Promise<readonly Foreign[]>;
}

const NOTHING: ForeignLook = {
  look: () => Promise.resolve([]),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/**
 * Opens a bay on the wires that are named, unless all of them come with Patchbay: those are in the
 * directory.
 *
 * @param context The surroundings.
 * @param via The wires.
 */
export async function openForeign(
  context: Context,
  via: readonly string[] | undefined,
): Promise<ForeignLook> {
  if (via === undefined) return NOTHING;
  const { builtins } = await import("@patchbay/patchbay");
  const others = via.filter((name) => !builtins.some((plugin) => plugin.name === name));
  if (others.length === 0) return NOTHING;
  const bay = await context.openBay();
  const there = bay.wires().filter(({ name, open }) => open && others.includes(name));
  return {
    async look(known) {
      const all: Foreign[] = [];
      for (const { name } of there) {
        const offers = (await bay.offers(name)).filter(({ by }) => !known.includes(by));
        const sorted = [...offers].sort((a, b) => a.address < b.address ? -1 : 1);
        if (sorted.length > 0) all.push({ wire: name, offers: sorted });
      }
      return all;
    },
    [Symbol.asyncDispose]: () => bay.close(),
  };
}
