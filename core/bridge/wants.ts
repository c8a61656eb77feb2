/**
 * What a bridge should offer on one wire, by what is offered on both: the rule that keeps offers
 * from going round. See decision 0007.
 *
 * @module
 */

import type { Pattern } from "../errors.ts";
import { type Bridged, MAX_ORIGINS, MAX_PATH, type Offer } from "../offers.ts";

/** Something to be offered on the far wire. */
export interface Want {
  /** The pattern. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
  /** Whether others may offer it besides. */
  readonly shared: boolean;
  /** Of a speaker: whether it keeps its last value. */
  readonly retain: boolean;
  /** How it came, this bridge included. */
  readonly bridged: Bridged;
  /** Whether no other bridge is beyond this one. */
  readonly last: boolean;
}

/** What is to be done about one address. */
export interface Verdict {
  /** `carry`; `standby`: another one does; `taken`: somebody else has the address there. */
  readonly outcome: "carry" | "standby" | "taken";
  /** What to offer. */
  readonly want: Want;
}

/** One key for a pattern and an address. */
export function wantKey(pattern: Pattern, address: string): string {
  return `${pattern} ${address}`;
}

function origins(offer: Offer): readonly string[] {
  return offer.bridged?.origins ?? [offer.by];
}

/** Of two offers the shorter path is better; of two equally long ones the smaller ids. */
function better(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return one.length < other.length;
  return one.join(" ") < other.join(" ");
}

function group(offers: readonly Offer[], me: string): Map<string, Offer[]> {
  const groups = new Map<string, Offer[]>();
  for (const offer of offers) {
    // What this bridge itself offers, directly or round a circle.
    if (offer.bridged?.path.includes(me)) continue;
    const key = wantKey(offer.pattern, offer.address);
    const same = groups.get(key);
    if (same === undefined) groups.set(key, [offer]);
    else same.push(offer);
  }
  return groups;
}

/**
 * What should be offered on the far wire.
 *
 * @param near What is offered on the near wire.
 * @param far What is offered on the far wire.
 * @param me The bridge's id.
 * @param told Whether the near wire tells how its offers came.
 */
export function verdicts(
  near: readonly Offer[],
  far: readonly Offer[],
  me: string,
  told = true,
): Map<string, Verdict> {
  const there = group(far, me);
  const verdicts = new Map<string, Verdict>();
  for (const [key, offers] of group(near, me)) {
    const theirs = there.get(key) ?? [];
    let best: readonly string[] | undefined;
    const from = new Set<string>();
    for (const offer of offers) {
      const path = [...offer.bridged?.path ?? [], me];
      if (path.length > MAX_PATH) continue;
      const missing = origins(offer).filter((origin) =>
        !theirs.some((one) =>
          origins(one).includes(origin) && better(one.bridged?.path ?? [], path)
        )
      );
      if (missing.length === 0) continue;
      for (const origin of origins(offer)) from.add(origin);
      if (best === undefined || better(path, best)) best = path;
    }
    const { pattern, address } = offers[0];
    const shared = offers.every((offer) => offer.shared);
    const want: Want = {
      pattern,
      address,
      shared,
      retain: offers.some((offer) => offer.retain),
      last: told && offers.every((offer) => offer.bridged === undefined),
      bridged: {
        path: best ?? [me],
        origins: [...from].sort().slice(0, MAX_ORIGINS),
      },
    };
    const taken = pattern !== "speaker" && theirs.some((one) => !(one.shared && shared));
    // The very same, brought by another bridge over a longer way: it was there first.
    const brought = theirs.some((one) => one.bridged && origins(one).some((id) => from.has(id)));
    const outcome = best === undefined || (taken && brought)
      ? "standby"
      : taken
      ? "taken"
      : "carry";
    verdicts.set(key, { outcome, want });
  }
  return verdicts;
}
