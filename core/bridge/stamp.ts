/**
 * The header that a bridge puts on what it carries: how many bridges it may still pass, and which
 * message it is. See decision 0007.
 *
 * @module
 */

import type { Headers } from "../callable.ts";

/** The header's name. */
export const STAMP_HEADER = "patchbay-bridge";
/** A message may pass so many bridges. */
export const BRIDGE_TTL = 8;

/** What the header says. */
export interface Stamp {
  /** How many bridges it may still pass. */
  readonly ttl: number;
  /** The id of the bay it comes from, or of the first bridge where the wire does not tell. */
  readonly origin: string;
  /** The number that its first sender gave it. */
  readonly sequence: number;
}

const FORM = /^([0-9]) ([0-9a-z_-]{1,64}) ([0-9]{1,15})$/;

/**
 * Reads the header; `undefined` if there is none, or none that a bridge has written.
 *
 * @param headers What came along.
 */
export function readStamp(headers: Headers | undefined): Stamp | undefined {
  const text = headers?.[STAMP_HEADER];
  if (text === undefined) return undefined;
  const found = FORM.exec(text);
  if (found === null) return undefined;
  return { ttl: Number(found[1]), origin: found[2], sequence: Number(found[3]) };
}

/**
 * What goes along after this bridge.
 *
 * @param headers What came along.
 * @param stamp What the header says from now on.
 */
export function stamped(headers: Headers | undefined, stamp: Stamp): Headers {
  const { ttl, origin, sequence } = stamp;
  return { ...headers, [STAMP_HEADER]: `${ttl} ${origin} ${sequence}` };
}

/** The ids of the last messages: so many at least, twice as many at most. */
export class RecentIds {
  readonly #max: number;
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param max How many are remembered at least. */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Notes an id.
   *
   * @param id The id.
   * @returns Whether it is new.
   */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(id);
    return true;
  }
}
