/**
 * How a hub passes shouts on: one speaker of a client, heard once for each overflow policy and
 * handed to every client that listens.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import type { EventContext } from "../listener.ts";
import { Fifo } from "../queue.ts";
import type { Subscriber, SubscriberSource, Subscription } from "../session/outbound.ts";
import type { Origin, Passing } from "../session/passing.ts";
import type { Publication, SpeakerSource, SubscriptionTerms } from "../session/publication.ts";
import type { Session } from "../session/session.ts";
import { EndpointStatistics } from "../statistics.ts";
import { encodeControl, Kind } from "../session/envelope.ts";
import { UNKEPT_HEADER } from "../speaker.ts";
import { type KeptBytes, sizeOfKept } from "./hub_kept.ts";

/** Counts what is dropped here for the speaker that is told of it. */
class RelayedStatistics extends EndpointStatistics {
  onDrop: (reason: string, n: number) => void = () => {};

  override countDrop(reason: string, n = 1): void {
    super.countDrop(reason, n);
    this.onDrop(reason, n);
  }
}

/**
 * The credit of one listener with overflow `block`, given back to the speakers behind it in the
 * order in which they used it.
 */
class CreditLine {
  readonly #users = new Fifo<Group>();
  readonly #publication: Publication;
  speakers = 0;

  constructor(publication: Publication) {
    this.#publication = publication;
    publication.onCredit = (count) => this.#returned(count);
  }

  /** How many speakers share it: each may have used all of it. */
  share(change: number): void {
    this.speakers += change;
    this.#publication.maxHeld = this.#publication.terms.maxQueue * (this.speakers + 2);
  }

  used(group: Group): void {
    this.#users.push(group);
  }

  #returned(count: number): void {
    for (; count > 0; count--) this.#users.shift()?.consumed(1);
  }
}

/** Credit lines by listener. */
export type CreditLines = WeakMap<Publication, CreditLine>;

/** One subscription at the speaker's client, for all listeners with the same terms. */
class Group implements Subscriber {
  readonly passes = true;
  readonly pattern: string;
  readonly overflow: SubscriptionTerms["overflow"];
  readonly maxQueue: number;
  readonly retained: boolean;
  readonly statistics: EndpointStatistics;
  readonly members = new Set<Publication>();
  /** Those who have not had the retained value yet. */
  readonly #expecting = new Set<Publication>();
  readonly #speaker: RelayedSpeaker;
  readonly #credit: CreditLine | undefined;
  #source: SubscriberSource | undefined;
  #last: { readonly value: Passing; readonly context: EventContext } | undefined;
  /** What the last value takes of the client's room for retained ones; 0: it is not kept. */
  #keptBytes = 0;
  /** Whether its last value had no room: who comes later has to ask the speaker itself. */
  unkept = false;
  #subscription: Subscription | undefined;
  #joined: Promise<void> | undefined;
  #ended = false;

  constructor(speaker: RelayedSpeaker, terms: SubscriptionTerms, credit?: CreditLine) {
    this.#speaker = speaker;
    this.#credit = credit;
    this.pattern = speaker.address;
    this.overflow = terms.overflow;
    this.maxQueue = terms.maxQueue;
    this.retained = terms.retained;
    this.statistics = new EndpointStatistics("speaker", "listener", speaker.address, "relay");
  }

  /** One more listens; resolves when the speaker has acknowledged. */
  add(publication: Publication): Promise<void> {
    this.members.add(publication);
    if (this.retained) {
      if (this.#last === undefined) this.#expecting.add(publication);
      else this.#send(publication, this.#last.value, { ...this.#last.context, retained: true });
    }
    return this.#joined ??= this.#join();
  }

  /** One listens no longer. */
  delete(publication: Publication): void {
    this.members.delete(publication);
    this.#expecting.delete(publication);
    if (this.members.size === 0) this.end();
  }

  end(): void {
    this.forget();
    if (this.#ended) return;
    this.#ended = true;
    this.#subscription?.close();
  }

  /** Keeps the last value, if others can join and there is room. */
  #keep(value: Passing, context: EventContext): void {
    if (this.#credit !== undefined || this.#ended) return;
    const bytes = sizeOfKept(value.body, context.headers);
    const { kept, address } = this.#speaker;
    this.unkept = !kept.replace(address, this.#keptBytes, bytes);
    this.#keptBytes = this.unkept ? 0 : bytes;
    // It came lent, until its delivery is over.
    this.#last = this.unkept ? undefined : { value: value.kept(), context };
  }

  /** Nobody keeps the last value any longer. */
  forget(): void {
    if (this.#keptBytes > 0) this.#speaker.kept.replace(this.pattern, this.#keptBytes, 0);
    this.#keptBytes = 0;
    this.#last = undefined;
    this.unkept = false;
  }

  /** The listener has taken up messages: the speaker may send as many more. */
  consumed(count: number): void {
    this.#source?.onConsumed?.(count);
  }

  attach(): SubscriberSource {
    return this.#source = {
      onConsumed: undefined,
      deliver: (value, context) => this.#deliver(value as Passing, context),
      close: () => {},
    };
  }

  fail(error: PatchbayError): void {
    this.#ended = true;
    this.forget();
    for (const publication of [...this.members]) publication.fail(error);
  }

  async #join(): Promise<void> {
    try {
      const subscription = await this.#speaker.session.outbound.subscribe(this);
      if (this.#ended) subscription.close();
      else this.#subscription = subscription;
    } catch {
      // Its connection was lost, or it refused: it is gone, or has told so.
    }
  }

  #deliver(value: Passing, context: EventContext): void {
    if (value.ttl === 0) {
      this.#speaker.statistics.countDrop("ttl", Math.max(1, this.members.size));
      return this.consumed(1);
    }
    // What comes as a retained value is one, whatever the speaker said when it registered.
    const kept = context.headers?.[UNKEPT_HEADER] === undefined;
    if (kept && this.retained && (this.#speaker.retain || context.retained)) {
      this.#keep(value, context);
    }
    if (!context.retained) {
      for (const publication of this.members) this.#send(publication, value, context);
      return;
    }
    const expecting = [...this.#expecting];
    this.#expecting.clear();
    if (expecting.length === 0) this.consumed(1);
    for (const publication of expecting) this.#send(publication, value, context);
  }

  #send(publication: Publication, value: Passing, context: EventContext): void {
    try {
      const held = publication.publish(this.#speaker, value, context);
      this.#credit?.used(this);
      // The speaker is held back by its own credit, which comes back with the listener's.
      held?.catch(() => {});
    } catch (error) {
      this.#speaker.statistics.countDrop(PatchbayError.fromThrown(error).code);
      // It goes nowhere, and nobody will give its credit back.
      this.consumed(1);
    }
  }
}

/** A speaker of a client, as the hub has it. */
export class RelayedSpeaker implements SpeakerSource {
  /** As {@link SpeakerSource.address}. */
  readonly address: string;
  /** As {@link SpeakerSource.contract}. */
  readonly contract: { readonly codec?: string } = {};
  /** As {@link SpeakerSource.statistics}. */
  readonly statistics: EndpointStatistics;
  /** As {@link SpeakerSource.relayedFrom}. */
  readonly relayedFrom: Origin;
  /** The client's connection. */
  readonly session: Session;
  /** The room for retained values that the client has here. */
  readonly kept: KeptBytes;
  /** How many listeners of the hub itself it has. */
  listenersHere = 0;
  readonly #lines: CreditLines;
  /** How many speakers of the client have this address, and how many of them keep their last value. */
  #count = 0;
  #retaining = 0;
  readonly #groups = new Map<string, Group>();
  readonly #groupOf = new Map<Publication, Group>();
  #drops: Record<string, number> = {};
  #telling = false;

  /**
   * @param session The client's connection.
   * @param origin Who the client is.
   * @param address The speaker's address.
   * @param lines Credit lines by listener.
   * @param kept The client's room for retained values.
   */
  constructor(
    session: Session,
    origin: Origin,
    address: string,
    lines: CreditLines,
    kept: KeptBytes,
  ) {
    this.session = session;
    this.kept = kept;
    this.relayedFrom = origin;
    this.address = address;
    this.#lines = lines;
    const statistics = new RelayedStatistics("speaker", "speaker", address, session.transport);
    statistics.onDrop = (reason, n) => {
      this.#drops[reason] = (this.#drops[reason] ?? 0) + n;
      this.tell();
    };
    this.statistics = statistics;
  }

  /** Whether one of the client's speakers at this address keeps its last value. */
  get retain(): boolean {
    return this.#retaining > 0;
  }

  /**
   * One more of the client's speakers has this address.
   *
   * @param retain Whether it keeps its last value.
   */
  come(retain: boolean): void {
    this.#count++;
    if (retain) this.#retaining++;
  }

  /**
   * One of the client's speakers has closed.
   *
   * @param retain Whether it kept its last value.
   * @returns Whether it was the last one.
   */
  leave(retain: boolean): boolean {
    if (retain && --this.#retaining === 0) {
      for (const group of this.#groupOf.values()) group.forget();
    }
    return --this.#count === 0;
  }

  /**
   * A client listens; resolves when the speaker's client has acknowledged.
   *
   * @param publication The client's subscription.
   */
  add(publication: Publication): Promise<void> {
    const { terms } = publication;
    let group: Group;
    if (terms.overflow === "block") {
      let line = this.#lines.get(publication);
      if (line === undefined) this.#lines.set(publication, line = new CreditLine(publication));
      line.share(1);
      group = new Group(this, terms, line);
    } else {
      const key = `${terms.overflow} ${terms.maxQueue} ${terms.retained}`;
      const joined = this.#groups.get(key);
      // Who joins those whose last value is not kept would miss it: the next group has it anew.
      group = joined === undefined || joined.unkept ? new Group(this, terms) : joined;
      this.#groups.set(key, group);
    }
    this.#groupOf.set(publication, group);
    this.tell();
    return group.add(publication);
  }

  /**
   * A client listens no longer.
   *
   * @param publication Its subscription.
   */
  delete(publication: Publication): void {
    const group = this.#groupOf.get(publication);
    if (group === undefined) return;
    this.#groupOf.delete(publication);
    this.#lines.get(publication)?.share(-1);
    group.delete(publication);
    if (group.members.size === 0) {
      for (const [key, each] of this.#groups) if (each === group) this.#groups.delete(key);
    }
    this.tell();
  }

  /** The speaker is gone. */
  end(): void {
    for (const [publication, group] of this.#groupOf) {
      this.#lines.get(publication)?.share(-1);
      group.end();
    }
    this.#groupOf.clear();
    this.#groups.clear();
  }

  /** Tells the speaker, at the end of the turn, how many listen, and what was dropped. */
  tell(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      if (!this.session.isOpen) return;
      const listeners = this.#groupOf.size + this.listenersHere;
      const { address } = this;
      const body = { pattern: "speaker", address, listeners, drops: this.#drops };
      this.#drops = {};
      this.session.sender.control(Kind.presence, 0, 0, encodeControl(body));
      this.session.boundUnread();
    });
  }
}
