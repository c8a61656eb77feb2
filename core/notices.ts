/**
 * Tells the owner of a bay what strangers can cause as often as they like: the first time at once,
 * then no more than once a minute of each kind, with how many there were meanwhile.
 *
 * @module
 */

import type { PatchbayError } from "./errors.ts";

/** How often something of one kind is told, in milliseconds. */
const EVERY_MS = 60_000;

/** Tells of things by kind. Kinds are few, and the program's own: a stranger makes none. */
export class Notices {
  readonly #report: (error: PatchbayError) => void;
  readonly #kinds = new Map<string, { untilMs: number; untold: number }>();

  /**
   * Nothing has happened yet.
   *
   * @param report Where it is told.
   */
  constructor(report: (error: PatchbayError) => void) {
    this.#report = report;
  }

  /**
   * Something has happened.
   *
   * @param kind Of which kind.
   * @param error Says what, given how many of its kind were not told since the last.
   */
  tell(kind: string, error: (untold: number) => PatchbayError): void {
    const now = performance.now();
    const known = this.#kinds.get(kind);
    if (known !== undefined && now < known.untilMs) return void known.untold++;
    this.#kinds.set(kind, { untilMs: now + EVERY_MS, untold: 0 });
    this.#report(error(known?.untold ?? 0));
  }
}
