/**
 * The publisher's side of one subscription: sends what its speakers shout, by the listener's own
 * overflow policy.
 *
 * @module
 */

import { matches } from "../address.ts";
import { PatchbayError } from "../errors.ts";
import type { EventContext } from "../listener.ts";
import type { LinkSlots } from "../link.ts";
import { Fifo, type Overflow } from "../queue.ts";
import type { EndpointStatistics } from "../statistics.ts";
import { Flag, Kind, laneOf, LANES } from "./envelope.ts";
import type { LatestSlots } from "./latest.ts";
import type { FrameSource } from "./outbox.ts";
import type { Origin } from "./passing.ts";
import type { FrameHead, Sender } from "./sender.ts";

/** Whose shouts are published: a speaker of this bay, or one whose shouts are relayed. */
export interface SpeakerSource {
  /** The address. */
  readonly address: string;
  /** The codec that it asks for. */
  readonly contract: { readonly codec?: string };
  /** Its counters. */
  readonly statistics: EndpointStatistics;
  /** The bay it belongs to, if that is another one. */
  readonly relayedFrom?: Origin;
}

/** What a subscriber asked for. */
export interface SubscriptionTerms {
  /** The address or pattern. */
  readonly pattern: string;
  /** What happens to a message that finds the queue full. */
  readonly overflow: Overflow;
  /** The most messages that wait, on either side. */
  readonly maxQueue: number;
  /** Whether retained values are wanted. */
  readonly retained: boolean;
  /** Whether only the newest value counts. */
  readonly latest?: boolean;
}

/** What a publication asks of its session. */
export interface PublicationHost {
  /** The id of the bay on the other side. */
  readonly origin: string;
  /** Whether messages can be sent. */
  readonly isOpen: boolean;
  /** The sending half. */
  readonly sender: Sender;
  /** Slots for newest values, if the link has them. */
  readonly slots?: LinkSlots;
  /** The number of an address on this connection. */
  routeOf(address: string, origin?: Origin): number;
}

class EventHead implements FrameHead {
  readonly kind = Kind.event;
  flags = 0;
  priority = 128;
  headers: Readonly<Record<string, string>> | undefined = undefined;
  id = 0;
  route = 0;
  number = 0;
  readonly paid = true;
}

function lanes(): readonly Fifo<Uint8Array>[] {
  return Array.from({ length: LANES }, () => new Fifo<Uint8Array>());
}

/** One subscription as its publisher has it. */
export class Publication implements FrameSource {
  /** What the subscriber asked for. */
  readonly terms: SubscriptionTerms;
  /** The subscription's number on its connection. */
  readonly id: number;
  readonly #session: PublicationHost;
  readonly #onFail: () => void;
  /** By lane, so that what is urgent overtakes. */
  readonly #queues: readonly Fifo<Uint8Array>[] = lanes();
  /** By lane: turns that the outbox still owes. More than frames, when some were dropped. */
  readonly #turns: number[] = new Array(LANES).fill(0);
  /** With overflow `block`: messages that wait for the listener's credit, not yet in the lane. */
  readonly #held: readonly Fifo<Uint8Array>[] = lanes();
  /** How many messages were taken for the subscriber, dropped ones among them. */
  published = 0;
  /** How many of them were dropped because it did not keep up. */
  dropped = 0;
  /** How many messages wait in all. */
  #waiting = 0;
  /** How many of them are held. */
  #heldCount = 0;
  readonly #head = new EventHead();
  readonly #routes = new WeakMap<SpeakerSource, number>();
  /** The speaker that shouted last, and its route: most publications have only one. */
  #lastSpeaker: SpeakerSource | undefined;
  #lastRoute = 0;
  /** With overflow `block`: how many more messages the listener can queue. */
  #credit: number;
  #room: PromiseWithResolvers<void> | undefined;
  #ended = false;
  /** For newest values, where memory is shared; set before anything is published. */
  slots: LatestSlots | undefined = undefined;
  /** With overflow `block`: the most messages that wait here; more where several are relayed. */
  maxHeld: number;
  /** Called with each credit of the listener: who relays returns it to the speaker. */
  onCredit: ((messages: number) => void) | undefined = undefined;

  /**
   * @param session The connection.
   * @param id The subscription's number there.
   * @param terms What the subscriber asked for.
   * @param onFail Called when it has ended by itself: overflow `fail`.
   */
  constructor(
    session: PublicationHost,
    id: number,
    terms: SubscriptionTerms,
    onFail: () => void = () => {},
  ) {
    this.#session = session;
    this.#onFail = onFail;
    this.id = id;
    this.terms = terms;
    this.maxHeld = terms.maxQueue;
    this.#head.id = id;
    this.#credit = terms.overflow === "block" ? terms.maxQueue : Infinity;
  }

  /** The id of the bay that has subscribed. */
  get subscriber(): string {
    return this.#session.origin;
  }

  /** How many messages wait here for the subscriber. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether a speaker's address belongs to it. */
  wants(address: string): boolean {
    return matches(this.terms.pattern, address);
  }

  /**
   * Sends one shout.
   *
   * @param speaker Who shouts.
   * @param value The value.
   * @param context What goes along.
   * @returns With overflow `block` and a full listener: a promise that resolves when it was taken.
   * @throws {PatchbayError} `invalid`, `too_large`: the value; `overloaded`: not awaited.
   */
  publish(
    speaker: SpeakerSource,
    value: unknown,
    context: EventContext,
  ): void | Promise<void> {
    if (this.#ended || !this.#session.isOpen) return;
    const { sender } = this.#session;
    // Before anything of the shout that is being encoded is written over.
    sender.checkIdle();
    this.published++;
    const head = this.#head;
    head.flags = context.retained ? Flag.retained : 0;
    head.priority = context.priority;
    head.headers = context.headers;
    head.number = context.sequence;
    head.route = speaker === this.#lastSpeaker ? this.#lastRoute : this.#route(speaker);
    const codec = sender.codecFor(speaker.contract.codec, value);
    if (this.slots !== undefined && this.slots.publish(speaker, head, codec, value)) return;
    const lane = laneOf(head.priority);
    if (
      this.#queues[lane].length === 0 && this.#credit > 0 && !sender.outbox.full &&
      sender.outbox.clear(lane, 8192, true)
    ) {
      const waiting = sender.value(head, codec, value, speaker.statistics);
      this.#credit--;
      if (waiting === undefined || this.terms.overflow !== "block") return;
      // A large message is on its way in fragments: the speaker waits until the link has it.
      return waiting.whenSent();
    }
    const frame = sender.encoded(head, codec, value);
    return this.#enqueue(speaker, frame, lane);
  }

  /** A speaker has gone: nothing more of it comes. */
  leave(speaker: SpeakerSource): void {
    this.slots?.leave(speaker);
  }

  /** The listener can queue so many more. */
  credited(messages: number): void {
    if (this.#credit === Infinity) return;
    const blocked = this.#credit <= 0;
    this.#credit += messages;
    if (blocked) this.#release();
    this.onCredit?.(messages);
  }

  /** As {@link FrameSource.nextFrame}. */
  nextFrame(lane: number): Uint8Array | undefined {
    this.#turns[lane]--;
    const frame = this.#queues[lane].shift();
    if (frame !== undefined) this.#waiting--;
    return frame;
  }

  /** The subscription is over: what waits is dropped, who waits goes on. */
  end(): void {
    this.#ended = true;
    this.slots?.end();
    const { sender } = this.#session;
    for (const fifo of [...this.#queues, ...this.#held]) {
      for (let frame = fifo.shift(); frame !== undefined; frame = fifo.shift()) {
        sender.outbox.changed(-frame.length);
        sender.dropped("closed");
      }
    }
    this.#waiting = this.#heldCount = 0;
    this.#wake();
  }

  /**
   * Ends the subscription with an error, as the speaker behind a relay has.
   *
   * @param error What the listener is told.
   */
  fail(error: PatchbayError): void {
    if (this.#ended) return;
    const { sender } = this.#session;
    sender.control(Kind.error, this.id, 0, sender.errorBody(error));
    this.end();
    this.#onFail();
  }

  #enqueue(speaker: SpeakerSource, frame: Uint8Array, lane: number): void | Promise<void> {
    const { overflow, maxQueue } = this.terms;
    const { outbox } = this.#session.sender;
    const waiting = this.#waiting;
    if (overflow === "block") {
      if (waiting >= this.maxHeld || outbox.full) {
        throw new PatchbayError(
          "overloaded",
          `${speaker.address}: a blocking listener is full, and ${waiting} shouts wait`,
          {
            pattern: "speaker",
            address: speaker.address,
            details: { maxQueue },
            remedy: "await speaker.shout(), or listen with another overflow policy",
          },
        );
      }
      speaker.statistics.bytesOut += frame.length;
      if (this.#credit > 0 && this.#heldCount === 0) {
        this.#credit--;
        this.#push(frame, lane);
      } else {
        this.#held[lane].push(frame);
        this.#heldCount++;
        this.#waiting++;
        outbox.changed(frame.length);
      }
      if (this.#room === undefined) {
        this.#room = Promise.withResolvers<void>();
        outbox.onRelaxed.add(this.#wake);
      }
      return this.#room.promise;
    }
    if (waiting >= maxQueue || outbox.full) {
      this.dropped++;
      const oldest = overflow === "drop_oldest" ? this.#oldest(lane) : undefined;
      if (oldest !== undefined) {
        this.#waiting--;
        outbox.changed(-oldest.length);
        speaker.statistics.countDrop("overflow_oldest");
        speaker.statistics.bytesOut += frame.length;
        return this.#push(frame, lane);
      }
      speaker.statistics.countDrop(
        overflow === "fail" ? "overflow_fail" : "overflow_newest",
      );
      if (overflow === "fail") this.#overflowed(speaker);
      return;
    }
    speaker.statistics.bytesOut += frame.length;
    this.#push(frame, lane);
  }

  #push(frame: Uint8Array, lane: number): void {
    const { outbox } = this.#session.sender;
    this.#queues[lane].push(frame);
    this.#waiting++;
    // The turn of a message that was dropped is there already.
    if (this.#turns[lane] >= this.#queues[lane].length) return outbox.changed(frame.length);
    this.#turns[lane]++;
    outbox.queue(lane, this, frame.length, true);
  }

  /** What gives way to a new message: the oldest of its lane, or of the least urgent below it. */
  #oldest(lane: number): Uint8Array | undefined {
    if (this.#queues[lane].length > 0) return this.#queues[lane].shift();
    return this.#queues.find((queue, below) => below < lane && queue.length > 0)?.shift();
  }

  /** New credit: what was held goes into the lane. */
  #release(): void {
    for (let lane = LANES - 1; lane >= 0; lane--) {
      while (this.#credit > 0) {
        const frame = this.#held[lane].shift();
        if (frame === undefined) break;
        this.#credit--;
        this.#heldCount--;
        this.#waiting--;
        this.#session.sender.outbox.changed(-frame.length);
        this.#push(frame, lane);
      }
    }
    this.#wake();
  }

  /** A speaker that was held back goes on when its messages are out and half the window is free. */
  readonly #wake = (): void => {
    const { outbox } = this.#session.sender;
    const out = this.#waiting === 0 && this.#credit > 0;
    if (!this.#ended && !(out && outbox.relaxed)) return;
    outbox.onRelaxed.delete(this.#wake);
    this.#room?.resolve();
    this.#room = undefined;
  };

  #overflowed(speaker: SpeakerSource): void {
    const message = `${speaker.address}: the listener did not keep up, and asked to fail then`;
    const details = { maxQueue: this.terms.maxQueue };
    this.fail(new PatchbayError("overloaded", message, { details }));
  }

  #route(speaker: SpeakerSource): number {
    let route = this.#routes.get(speaker);
    if (route === undefined) {
      route = this.#session.routeOf(speaker.address, speaker.relayedFrom);
      this.#routes.set(speaker, route);
    }
    this.#lastSpeaker = speaker;
    this.#lastRoute = route;
    return route;
  }
}
