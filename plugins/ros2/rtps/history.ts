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
  /** What the GUIDs of the readers it is for begin with; undefined: all. */
  readonly only: string | undefined;
}

/** Limits of a history, beside its depth. */
export interface HistoryLimits {
  /** How many samples are kept at most. */
  readonly maxSamples: number;
  /** How many bytes of payload are kept at most. */
  readonly maxBytes: number;
}

/**
 * The history of one writer, oldest first.
 *
 * Without a key its numbers follow each other without a gap, and it is a queue: a `Map` that is
 * always filled and emptied leaves a chain of old tables, which costs the garbage collector more
 * than all the rest of a small sample.
 */
export class History {
  readonly #keyed: KeyedChanges | undefined;
  readonly #queue: Change[] = [];
  #head = 0;
  readonly #keepAll: boolean;
  readonly #depth: number;
  readonly #limits: HistoryLimits;
  readonly #released: ((payload: Uint8Array) => void) | undefined;
  #bytes = 0;
  /** The number of the newest change; 0: none yet. */
  last = 0;

  /**
   * @param qos History and depth.
   * @param keyed Whether the topic has a key.
   * @param limits What it never exceeds.
   * @param released Takes the payload of what is no longer kept.
   */
  constructor(
    qos: Qos,
    keyed: boolean,
    limits: HistoryLimits,
    released?: (payload: Uint8Array) => void,
  ) {
    this.#released = released;
    this.#keyed = keyed ? new KeyedChanges() : undefined;
    this.#keepAll = qos.history === "keep_all";
    this.#depth = qos.depth;
    this.#limits = limits;
  }

  /** The number of the oldest change; one more than the newest where nothing is kept. */
  get first(): number {
    return this.#oldest()?.sequence ?? this.last + 1;
  }

  #oldest(): Change | undefined {
    return this.#keyed === undefined ? this.#queue[this.#head] : this.#keyed.oldest();
  }

  /** How many changes are kept. */
  get size(): number {
    return this.#keyed === undefined ? this.#queue.length - this.#head : this.#keyed.changes.size;
  }

  /** How many bytes of payload are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A change by its number. */
  get(sequence: number): Change | undefined {
    if (this.#keyed !== undefined) return this.#keyed.changes.get(sequence);
    if (sequence > this.last) return undefined;
    // The newest stands at the end.
    const at = this.#queue.length - 1 - (this.last - sequence);
    return at < this.#head ? undefined : this.#queue[at];
  }

  /** The oldest change after a number. */
  after(sequence: number): Change | undefined {
    if (sequence >= this.last) return undefined;
    const next = this.get(sequence + 1);
    if (next !== undefined) return next;
    if (this.#keyed === undefined) return this.#queue[this.#head];
    for (const change of this.#keyed.changes.values()) {
      if (change.sequence > sequence) return change;
    }
    return undefined;
  }

  /** Whether another change of so many bytes, for an instance, would push nothing out. */
  hasRoom(key: string, bytes: number): boolean {
    if (this.#isFull(bytes)) return false;
    return this.#keepAll || this.#kept(key) < this.#depth;
  }

  #kept(key: string): number {
    return this.#keyed === undefined ? this.size : this.#keyed.instances.get(key)?.length ?? 0;
  }

  #isFull(bytes: number): boolean {
    const { size } = this;
    return size >= this.#limits.maxSamples ||
      size > 0 && this.#bytes + bytes > this.#limits.maxBytes;
  }

  /**
   * Keeps a change, and gives up what `keep_last` and the limits say.
   *
   * @returns What was given up; `undefined` if `keep_all` has no room, and nothing was done.
   */
  add(change: Change): readonly Change[] | undefined {
    const { length } = change.payload;
    let given: Change[] | undefined;
    if (this.#keepAll) {
      if (this.#isFull(length)) return undefined;
    } else {
      if (this.#kept(change.key) >= this.#depth) {
        const sequence = this.#keyed?.instances.get(change.key)?.[0] ?? this.first;
        (given ??= []).push(this.get(sequence) as Change);
        this.remove(sequence);
      }
      while (this.#isFull(length)) {
        const oldest = this.#oldest() as Change;
        (given ??= []).push(oldest);
        this.remove(oldest.sequence);
      }
    }
    if (this.#keyed === undefined) this.#queue.push(change);
    else this.#keyed.add(change);
    this.#bytes += length;
    this.last = change.sequence;
    return given ?? NOTHING;
  }

  /** Forgets a change; without a key, the oldest one. */
  remove(sequence: number): void {
    const change = this.get(sequence);
    if (change === undefined) return;
    this.#bytes -= change.payload.length;
    if (this.#keyed !== undefined) this.#keyed.remove(change);
    else {
      (this.#queue as (Change | undefined)[])[this.#head++] = undefined;
      if (this.#head === this.#queue.length) this.#queue.length = this.#head = 0;
      else if (this.#head > 256 && 2 * this.#head > this.#queue.length) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
    }
    this.#released?.(change.payload);
  }

  /** Forgets the oldest while they are as told. */
  trimWhile(condition: (change: Change) => boolean): number {
    let count = 0;
    for (
      let oldest = this.#oldest();
      oldest !== undefined && condition(oldest);
      oldest = this.#oldest()
    ) {
      this.remove(oldest.sequence);
      count++;
    }
    return count;
  }

  /** Forgets what comes before a number. */
  trim(before: number): void {
    while (this.first < before && this.size > 0) this.remove(this.first);
  }
}

const NOTHING: readonly Change[] = [];

/** The changes of a topic with a key: any of them may go first. */
class KeyedChanges {
  readonly changes = new Map<number, Change>();
  /** The numbers of each instance, oldest first. */
  readonly instances = new Map<string, number[]>();

  oldest(): Change | undefined {
    for (const change of this.changes.values()) return change;
    return undefined;
  }

  add(change: Change): void {
    this.changes.set(change.sequence, change);
    const kept = this.instances.get(change.key);
    if (kept === undefined) this.instances.set(change.key, [change.sequence]);
    else kept.push(change.sequence);
  }

  remove({ sequence, key }: Change): void {
    this.changes.delete(sequence);
    const kept = this.instances.get(key) as number[];
    if (kept[0] === sequence) kept.shift();
    else kept.splice(kept.indexOf(sequence), 1);
    if (kept.length === 0) this.instances.delete(key);
  }
}
