/**
 * One entry of a log on its way to those who take it, and the log it comes from.
 *
 * @module
 */

import type { Fields } from "./payload.ts";

/** One entry of a log, on its way to those who take it. */
export class LogEntry {
  /** The address of the log. */
  readonly address: string;
  /** Its id. */
  readonly id: string;
  /** Its fields. */
  readonly fields: Fields;
  /** The bay that shouted; `undefined` if a foreign program did. */
  readonly origin: string | undefined;
  /** Its number among the shouts of that bay; NaN if there is none. */
  readonly sequence: number;
  /** Whether it was given to somebody before. */
  readonly redelivered: boolean;
  readonly #topic: Topic;
  readonly #flush: () => void;
  #left = 0;

  /** @ignore */
  constructor(
    topic: Topic,
    id: string,
    fields: Fields,
    origin: string | undefined,
    sequence: number,
    redelivered: boolean,
    flush: () => void,
  ) {
    this.#topic = topic;
    this.address = topic.address;
    this.id = id;
    this.fields = fields;
    this.origin = origin;
    this.sequence = sequence;
    this.redelivered = redelivered;
    this.#flush = flush;
  }

  /** @ignore Hands it over; true: all were done with it at once. */
  hand(seats: readonly LogSeat[]): boolean {
    let done = 0;
    for (let i = 0; i < seats.length; i++) if (seats[i].take(this)) done++;
    this.#left += seats.length - done;
    return this.#left === 0;
  }

  /** One of those who took it is done with it: to be called once, if not at once. */
  done(): void {
    if (--this.#left !== 0) return;
    this.#topic.open.delete(this.id);
    this.#topic.acks.push(this.id);
    this.#flush();
  }

  /** It could not be done: it stays until it has been idle for long enough to be taken over. */
  again(): void {
    this.#topic.open.delete(this.id);
    this.#topic.failed.add(this.id);
  }
}

/** Somebody who takes entries. */
export interface LogSeat {
  /** Whether it wants the entries of an address. */
  accepts(address: string): boolean;
  /** How many it can take now; `Infinity`: whatever comes. */
  readonly room: number;
  /**
   * Takes an entry.
   *
   * @param entry The entry.
   * @returns Whether it is done with it already; `done` and `again` are then not to be called.
   */
  take(entry: LogEntry): boolean;
}

/** One log that is read, as its consumer group stands in it. */
export interface Topic {
  readonly address: string;
  readonly key: string;
  /** Where reading begins where the group is new. */
  start: string;
  /** The last entry that was handed over. */
  handed: string;
  /** Entries that were handed over, and that not all are done with. */
  readonly open: Set<string>;
  /** Entries that could not be done, and wait to be taken up again. */
  readonly failed: Set<string>;
  /** Entries that are done with. */
  acks: string[];
  /** The last number of each speaker, and of the one that was heard last. */
  readonly last: Map<string, number>;
  lastOrigin: string;
  lastSequence: number;
  /** Who takes its entries; `undefined`: to be found out. */
  seats: readonly LogSeat[] | undefined;
}
