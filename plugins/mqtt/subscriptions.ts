/**
 * What this bay has subscribed to. A broker knows each filter of a client once, with the options that
 * came last; here several may want the same one, each for reasons of its own.
 *
 * @module
 */

import type { QoS } from "./config.ts";
import type { Connection } from "./connection.ts";
import { topicMatches, withoutGroup } from "./topics.ts";

/** What somebody wants of a filter. The object itself says whose it is. */
export interface Wish {
  /** The best quality of service. */
  readonly qos: QoS;
  /** Whether what this bay publishes itself is to be left out. MQTT 5. */
  readonly noLocal?: boolean;
  /** Whether the values that the broker has kept are to be left out. MQTT 5. */
  readonly fresh?: boolean;
  /** Whether its messages are to be marked with their filter. MQTT 5. */
  readonly marked?: boolean;
}

interface Subscription {
  readonly filter: string;
  readonly identifier: number;
  readonly wishes: Set<Wish>;
}

/** The filters of one connection. */
export class Subscriptions {
  readonly #connection: Connection;
  readonly #marks: boolean;
  readonly #all = new Map<string, Subscription>();
  readonly #byIdentifier = new Map<number, Subscription>();
  /** What nobody wants any more, and the broker could not be told. */
  readonly #stale = new Set<string>();
  #last = 0;

  /**
   * @param connection The connection.
   * @param marks Whether messages may be marked: not those of a session that outlives the process,
   *   because the next one would not know what the marks mean.
   */
  constructor(connection: Connection, marks: boolean) {
    this.#connection = connection;
    this.#marks = marks;
  }

  /**
   * Subscribes; resolves when the broker has granted it. What somebody else has subscribed to is
   * asked for again: the one who asks wants what was kept, or a better quality.
   *
   * @param filters What to.
   * @param wish How.
   * @throws {PatchbayError} `forbidden`; `closed`.
   */
  async enter(filters: readonly string[], wish: Wish): Promise<void> {
    const entered = filters.map((filter) => this.#at(filter));
    for (const each of entered) each.wishes.add(wish);
    try {
      await Promise.all(entered.map((each) => this.#subscribe(each, wish.fresh === true)));
    } catch (error) {
      await this.leave(filters, wish);
      throw error;
    }
  }

  /**
   * Subscribes no longer; the last one who does tells the broker. Idempotent.
   *
   * @param filters What to.
   * @param wish What {@link enter} was given.
   * @param kept Whether the session goes on hearing, for the process that comes next.
   */
  async leave(filters: readonly string[], wish: Wish, kept = false): Promise<void> {
    const emptied: string[] = [];
    for (const filter of filters) {
      const one = this.#all.get(filter);
      if (one === undefined || !one.wishes.delete(wish) || one.wishes.size > 0) continue;
      this.#all.delete(filter);
      this.#byIdentifier.delete(one.identifier);
      if (!kept) emptied.push(filter);
    }
    if (this.#connection.up) return await this.#connection.unsubscribe(emptied);
    for (const filter of emptied) this.#stale.add(filter);
  }

  /** What marks the messages of a filter; 0: nobody has subscribed to it. */
  identifier(filter: string): number {
    return this.#all.get(filter)?.identifier ?? 0;
  }

  /**
   * Whether a message came by a filter.
   *
   * @param filter The filter.
   * @param topic The topic of the message.
   * @param told What it is marked with, if it is.
   */
  belongs(filter: string, topic: string, told: number | number[] | undefined): boolean {
    if (told === undefined) return topicMatches(withoutGroup(filter), topic);
    const identifier = this.identifier(filter);
    return typeof told === "number" ? told === identifier : told.includes(identifier);
  }

  /** Whether a message that is marked came by a subscription of the wire's own, too. */
  isOwn(identifier: number): boolean {
    for (const wish of this.#byIdentifier.get(identifier)?.wishes ?? []) {
      if (wish.marked !== true) return true;
    }
    return false;
  }

  /** The connection is there again: everything is subscribed to anew. */
  async back(): Promise<void> {
    await Promise.all([...this.#all.values()].map(async (one) => {
      const fresh = [...one.wishes].every((wish) => wish.fresh === true);
      await this.#subscribe(one, fresh);
    }));
  }

  /** Everything works again: a session that went on has what was left meanwhile, too. */
  async resume(): Promise<void> {
    const stale = [...this.#stale];
    this.#stale.clear();
    await this.#connection.unsubscribe(stale);
  }

  #at(filter: string): Subscription {
    this.#stale.delete(filter);
    let one = this.#all.get(filter);
    if (one === undefined) {
      one = { filter, identifier: ++this.#last, wishes: new Set() };
      this.#all.set(filter, one);
      this.#byIdentifier.set(one.identifier, one);
    }
    return one;
  }

  async #subscribe({ filter, identifier, wishes }: Subscription, fresh: boolean): Promise<void> {
    const all = [...wishes];
    const marked = this.#marks && all.some((wish) => wish.marked === true);
    await this.#connection.subscribe(filter, {
      qos: Math.max(...all.map((wish) => wish.qos)) as QoS,
      noLocal: !filter.startsWith("$share/") && all.every((wish) => wish.noLocal === true),
      retained: !fresh,
      identifier: marked ? identifier : undefined,
    });
  }
}
