/**
 * What a listener has had before: over another of several wires, over a bridge besides, or newer of
 * the same state.
 *
 * @module
 */

import { readStamp } from "./bridge/stamp.ts";
import type { EventContext } from "./listener.ts";
import { SequenceWindow } from "./sequence_window.ts";
import type { EndpointStatistics } from "./statistics.ts";

/** So many pairs of origin and address are remembered, to tell what has come twice. */
const MAX_ORIGINS = 4096;

/** How a listener counts what comes. */
export interface ArrivalTerms {
  /** The id of its own bay. */
  readonly bay: string;
  /** Whether several wires lead to one speaker. */
  readonly several: boolean;
  /** Whether only the newest value counts. */
  readonly latest: boolean;
  /** Counts what is dropped. */
  readonly statistics: EndpointStatistics;
}

/** What has come to one listener. */
export class Arrivals {
  readonly #terms: ArrivalTerms;
  /** What has come, by origin and address. */
  readonly #seen = new Map<string, SequenceWindow>();
  /** With `latest`: the number of the newest, by origin and address. */
  readonly #newestOf = new Map<string, number>();

  /** @param terms How the listener counts. */
  constructor(terms: ArrivalTerms) {
    this.#terms = terms;
  }

  /**
   * Whether it came before; if so it is counted as dropped, unless it is a retained value.
   *
   * @param context What came with it.
   */
  hadAlready(context: EventContext): boolean {
    const { bay, several, latest, statistics } = this.#terms;
    const stamp = readStamp(context.headers);
    const { origin, sequence } = stamp ?? context;
    if (origin === "") return false;
    const key = `${origin} ${context.address}`;
    // A bay's own shouts come over in_process alone.
    if (latest && origin !== bay) {
      const last = this.#newestOf.get(key) ?? 0;
      if (sequence <= last) {
        // Of states an older one may come after a newer one that was quicker through its slot.
        statistics.countDrop(sequence === last ? "duplicate" : "overwritten");
        return true;
      }
      if (this.#newestOf.size >= MAX_ORIGINS) {
        this.#newestOf.delete(this.#newestOf.keys().next().value ?? "");
      }
      this.#newestOf.set(key, sequence);
      return false;
    }
    if (stamp === undefined && !several) return false;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      if (this.#seen.size >= MAX_ORIGINS) this.#seen.delete(this.#seen.keys().next().value ?? "");
      this.#seen.set(key, seen = new SequenceWindow());
    }
    if (seen.add(sequence)) return false;
    // The speaker's last value, once more: after a connection was lost and made anew.
    if (!context.retained) statistics.countDrop("duplicate");
    return true;
  }
}
