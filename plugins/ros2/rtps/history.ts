/**
 * What a writer keeps so that it can send it again, or send it to those who come late.
 *
 * @module
 */

import type { Qos } from "./qos.ts";

/** One thing that was written. */
export interface Change {
  /** Its number, from 1. */
  readonly sequence: number;
  /** The payload with its 4-byte header, or the key where the instance ended. */
  readonly payload: Uint8Array;
  /** Whether `payload` is the key only. */
  readonly isKey: boolean;
  /** The instance, 32 hexadecimal digits; empty where the topic has no key. */
  readonly key: string;
  /** A parameter list to send along. */
  readonly inline: Uint8Array | undefined;
  /** When it was written, in milliseconds since 1970. */
  readonly timestampMs: number;
  /** The one reader it is for; undefined: all. */
  readonly only: string | undefined;
}

/** Limits of a history, beside its depth. */
export interface HistoryLimits {
  /** How many samples are kept at most. */
  readonly maxSamples: number;
  /** How many bytes of payload are kept at most. */
  readonly maxBytes: number;
}

/** The history of one writer, oldest first. */
export class History {
  readonly #changes = new Map<number, Change>();
  readonly #instances = new Map<string, number[]>();
  readonly #keepAll: boolean;
  readonly #depth: number;
  readonly #limits: HistoryLimits;
  #bytes = 0;
  /** The number of the newest change; 0: none yet. */
  last = 0;

  /**
   * @param qos History and depth.
   * @param limits What it never exceeds.
   */
  constructor(qos: Qos, limits: HistoryLimits) {
    this.#keepAll = qos.history === "keep_all";
    this.#depth = qos.depth;
    this.#limits = limits;
  }

  /** The number of the oldest change; one more than the newest where nothing is kept. */
  get first(): number {
    for (const sequence of this.#changes.keys()) return sequence;
    return this.last + 1;
  }

  /** How many changes are kept. */
  get size(): number {
    return this.#changes.size;
  }

  /** How many bytes of payload are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All changes, oldest first. */
  values(): IterableIterator<Change> {
    return this.#changes.values();
  }

  /** A change by its number. */
  get(sequence: number): Change | undefined {
    return this.#changes.get(sequence);
  }

  /** The oldest change after a number. */
  after(sequence: number): Change | undefined {
    if (sequence >= this.last) return undefined;
    const next = this.#changes.get(sequence + 1);
    if (next !== undefined) return next;
    for (const change of this.#changes.values()) if (change.sequence > sequence) return change;
    return undefined;
  }

  /** Whether another change of so many bytes, for an instance, would push nothing out. */
  hasRoom(key: string, bytes: number): boolean {
    if (this.#isFull(bytes)) return false;
    return this.#keepAll || (this.#instances.get(key)?.length ?? 0) < this.#depth;
  }

  #isFull(bytes: number): boolean {
    return this.#changes.size >= this.#limits.maxSamples ||
      this.#changes.size > 0 && this.#bytes + bytes > this.#limits.maxBytes;
  }

  /**
   * Keeps a change, and gives up what `keep_last` and the limits say.
   *
   * @returns What was given up; `undefined` if `keep_all` has no room, and nothing was done.
   */
  add(change: Change): Change[] | undefined {
    const { length } = change.payload;
    const given: Change[] = [];
    if (this.#keepAll) {
      if (this.#isFull(length)) return undefined;
    } else {
      const kept = this.#instances.get(change.key);
      if (kept !== undefined && kept.length >= this.#depth) {
        const oldest = this.#changes.get(kept[0]) as Change;
        this.remove(oldest.sequence);
        given.push(oldest);
      }
      while (this.#isFull(length)) {
        const oldest = this.#changes.get(this.first) as Change;
        this.remove(oldest.sequence);
        given.push(oldest);
      }
    }
    this.#changes.set(change.sequence, change);
    this.#bytes += length;
    this.last = change.sequence;
    const kept = this.#instances.get(change.key);
    if (kept === undefined) this.#instances.set(change.key, [change.sequence]);
    else kept.push(change.sequence);
    return given;
  }

  /** Forgets a change. */
  remove(sequence: number): void {
    const change = this.#changes.get(sequence);
    if (change === undefined) return;
    this.#changes.delete(sequence);
    this.#bytes -= change.payload.length;
    const kept = this.#instances.get(change.key) as number[];
    if (kept[0] === sequence) kept.shift();
    else kept.splice(kept.indexOf(sequence), 1);
    if (kept.length === 0) this.#instances.delete(change.key);
  }

  /** Forgets what comes before a number. */
  trim(before: number): void {
    for (const sequence of this.#changes.keys()) {
      if (sequence >= before) return;
      this.remove(sequence);
    }
  }
}
