/**
 * Whose a bay id is at a hub: who shows one that another client has is refused, and takes nothing
 * over. See decision 0006, point 7.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import { sameSecret } from "../secret.ts";

/** The name under which a hello's metadata carries a client's resume secret. */
export const RESUME = "patchbay.resume";
/** An id stays its owner's for so long after its last connection has ended, in milliseconds. */
const KEPT_MS = 60_000;
/** The most ids that are kept for clients that are away. */
const MAX_AWAY = 4096;

/** What a client shows when it comes in under an id. */
export interface Claimant {
  /** Who it has proved to be, where somebody has checked that. */
  readonly identity: string | undefined;
  /** The secret that it has chosen to be known by again. */
  readonly resume: string | undefined;
}

/** The bay ids of a hub's clients, and what their owners have shown. */
export class HubClaims {
  readonly #held = new Map<string, { readonly owner: Claimant; connections: number }>();
  /** Those whose owner is away, the longest away first. */
  readonly #away = new Map<string, { readonly owner: Claimant; readonly sinceMs: number }>();
  readonly #nowMs: () => number;

  /** @param nowMs A clock that never goes back, in milliseconds. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * A connection comes in under an id; {@link release} follows when it has ended.
   *
   * @param id The id.
   * @param claimant What it shows.
   * @throws {PatchbayError} `forbidden`: the id is another's.
   */
  claim(id: string, claimant: Claimant): void {
    const held = this.#held.get(id);
    const owner = held?.owner ?? this.#awayOwner(id);
    if (owner !== undefined && !isSame(owner, claimant)) {
      throw new PatchbayError("forbidden", `the bay id ${id} is another client's at this hub`, {
        details: { id },
        remedy:
          "give each client an id of its own; who comes back shows what it has shown before: " +
          "the same identity, or the same resume secret",
      });
    }
    this.#away.delete(id);
    if (held === undefined) this.#held.set(id, { owner: claimant, connections: 1 });
    else held.connections++;
  }

  /**
   * A connection that came in under an id has ended.
   *
   * @param id The id.
   */
  release(id: string): void {
    const held = this.#held.get(id);
    if (held === undefined || --held.connections > 0) return;
    this.#held.delete(id);
    for (const longest of this.#away.keys()) {
      if (this.#away.size < MAX_AWAY) break;
      this.#away.delete(longest);
    }
    this.#away.set(id, { owner: held.owner, sinceMs: this.#nowMs() });
  }

  #awayOwner(id: string): Claimant | undefined {
    const away = this.#away.get(id);
    return away === undefined || this.#nowMs() - away.sinceMs > KEPT_MS ? undefined : away.owner;
  }
}

/** A proved identity says it all; without one the secret does, and nobody's is nobody's. */
function isSame(owner: Claimant, claimant: Claimant): boolean {
  if (owner.identity !== claimant.identity) return false;
  if (owner.identity !== undefined || owner.resume === undefined) return true;
  return claimant.resume !== undefined && sameSecret(claimant.resume, owner.resume);
}
