/**
 * What a client of `patchbay.json.v1` shouts: registered at the hub by the first shout, and handed
 * to the hub's subscriptions by their own terms.
 *
 * @module
 */

import { matches } from "../address.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import { Fifo, type Overflow, OVERFLOWS } from "../queue.ts";
import type { Content } from "./messages.ts";

/** The most shouts of one client that wait: an empty one costs memory as well. */
const MAX_WAITING = 65_536;

/** One shout. */
export interface Shout {
  /** The address. */
  readonly address: string;
  /** The value. */
  readonly content: Content;
  /** Sent along. */
  readonly headers: Record<string, string> | undefined;
  /** 0–255. */
  readonly priority: number;
  /** The client's number of it, if it wants to know when it was taken. */
  readonly id: number | undefined;
}

/** An event on its way to the hub. */
export interface SpokenEvent extends Shout {
  /** The hub's subscription. */
  readonly subscription: number;
  /** Counts the shouts of the address. */
  readonly sequence: number;
  /** Whether it is the value that the speaker keeps. */
  readonly retained: boolean;
}

/** What speakers ask of their connection. */
export interface SpeakersHost {
  /** The most bytes that wait here, and the most that are kept as last values. */
  readonly maxQueueBytes: number;
  /** Sends an event to the hub. */
  event(event: SpokenEvent): void;
  /** Tells the hub of a speaker; {@link JsonSpeakers.registered} has its answer. */
  register(id: number, offer: { pattern: Pattern; address: string; retain: boolean }): void;
  /** A shout was taken. */
  taken(id: number, listeners: number): void;
  /** A shout was refused. */
  refused(id: number | undefined, address: string, error: PatchbayError): void;
}

interface Speaker {
  readonly address: string;
  retain: boolean;
  /** Whether the hub has taken it. */
  open: boolean;
  /** Shouts from before. */
  readonly early: Shout[];
  sequence: number;
  last: SpokenEvent | undefined;
  listeners: number;
}

class Subscription {
  readonly id: number;
  readonly pattern: string;
  readonly overflow: Overflow;
  readonly maxQueue: number;
  readonly retained: boolean;
  readonly waiting = new Fifo<{ readonly event: SpokenEvent; readonly left: () => void }>();
  credit: number;

  constructor(id: number, terms: Record<string, unknown>) {
    const { pattern, overflow, maxQueue, retained } = terms;
    this.id = id;
    this.pattern = String(pattern);
    this.overflow = OVERFLOWS.find((one) => one === overflow) ?? "drop_oldest";
    this.maxQueue = Number(maxQueue);
    this.retained = retained === true;
    this.credit = this.overflow === "block" ? this.maxQueue : Infinity;
  }
}

/** The speakers of one client. */
export class JsonSpeakers {
  readonly #host: SpeakersHost;
  readonly #speakers = new Map<string, Speaker>();
  readonly #byOffer = new Map<number, { readonly speaker: Speaker; readonly retain: boolean }>();
  readonly #subscriptions = new Map<number, Subscription>();
  #nextOffer: number;
  #waiting = 0;
  #waitingBytes = 0;
  #keptBytes = 0;

  /**
   * @param host The connection.
   * @param firstOffer The first number for a speaker that the client did not register itself.
   */
  constructor(host: SpeakersHost, firstOffer: number) {
    this.#host = host;
    this.#nextOffer = firstOffer;
  }

  /**
   * The client registers a speaker itself.
   *
   * @param id Its number.
   * @param address The address.
   * @param retain Whether the last value is kept.
   */
  offer(id: number, address: string, retain: boolean): void {
    const speaker = this.#speaker(address);
    speaker.retain ||= retain;
    this.#byOffer.set(id, { speaker, retain });
    this.#host.register(id, { pattern: "speaker", address, retain });
  }

  /**
   * The client takes a speaker back.
   *
   * @param id Its number.
   */
  withdraw(id: number): void {
    const speaker = this.#byOffer.get(id)?.speaker;
    this.#byOffer.delete(id);
    if (speaker === undefined) return;
    const others = [...this.#byOffer.values()].filter((other) => other.speaker === speaker);
    if (!others.some(({ retain }) => retain)) {
      speaker.retain = false;
      this.#keptBytes -= sizeOf(speaker.last);
      speaker.last = undefined;
    }
    if (others.length > 0) return;
    this.#speakers.delete(speaker.address);
    if (speaker.early.length === 0) return;
    const gone = `${speaker.address}: the speaker was taken back before it was acknowledged`;
    for (const shout of speaker.early.splice(0)) {
      this.#release(shout);
      this.#host.refused(shout.id, shout.address, new PatchbayError("closed", gone));
    }
  }

  /**
   * The hub has answered a registration.
   *
   * @param id Its number.
   * @param error Its refusal, if it is one.
   * @returns Whether the client did not register it itself.
   */
  registered(id: number, error: PatchbayError | undefined): void {
    const speaker = this.#byOffer.get(id)?.speaker;
    if (speaker === undefined) return;
    const early = speaker.early.splice(0);
    for (const shout of early) this.#release(shout);
    if (error === undefined) {
      speaker.open = true;
      for (const shout of early) this.#publish(speaker, shout);
      return;
    }
    this.withdraw(id);
    for (const shout of early) this.#host.refused(shout.id, shout.address, error);
  }

  /**
   * The hub tells how many listen.
   *
   * @param address The speaker's address.
   * @param listeners How many.
   */
  counted(address: string, listeners: number): void {
    const speaker = this.#speakers.get(address);
    if (speaker !== undefined) speaker.listeners = listeners;
  }

  /**
   * Takes a shout of the client, or tells it why not.
   *
   * @param shout The shout.
   * @param retain Whether a speaker that it makes keeps its last value.
   */
  shout(shout: Shout, retain: boolean): void {
    let speaker = this.#speakers.get(shout.address);
    if (speaker === undefined) {
      speaker = this.#speaker(shout.address);
      speaker.retain = retain;
      const id = this.#nextOffer++;
      this.#byOffer.set(id, { speaker, retain });
      this.#host.register(id, { pattern: "speaker", address: shout.address, retain });
    }
    if (speaker.open) return this.#publish(speaker, shout);
    try {
      this.#hold(shout);
      speaker.early.push(shout);
    } catch (error) {
      this.#host.refused(shout.id, shout.address, PatchbayError.fromThrown(error));
    }
  }

  /**
   * The hub subscribes.
   *
   * @param id Its number.
   * @param terms Its terms.
   */
  subscribe(id: number, terms: Record<string, unknown>): void {
    const subscription = new Subscription(id, terms);
    this.#subscriptions.set(id, subscription);
    if (!subscription.retained) return;
    for (const { last, address, retain } of this.#speakers.values()) {
      if (!retain || last === undefined || !matches(subscription.pattern, address)) continue;
      try {
        this.#send(subscription, { ...last, subscription: id, retained: true }, () => {});
      } catch (error) {
        // More last values than a blocking listener takes: the rest is told, and costs nobody else.
        this.#host.refused(undefined, address, PatchbayError.fromThrown(error));
      }
    }
  }

  /**
   * The hub unsubscribes.
   *
   * @param id Its number.
   */
  unsubscribe(id: number): void {
    const subscription = this.#subscriptions.get(id);
    this.#subscriptions.delete(id);
    if (subscription === undefined) return;
    for (let one = subscription.waiting.shift(); one; one = subscription.waiting.shift()) {
      this.#release(one.event);
      one.left();
    }
  }

  /**
   * A listener with overflow `block` has taken up messages.
   *
   * @param id The subscription's number.
   * @param count How many.
   */
  credited(id: number, count: number): void {
    const subscription = this.#subscriptions.get(id);
    if (subscription === undefined) return;
    subscription.credit += count;
    while (subscription.credit > 0) {
      const one = subscription.waiting.shift();
      if (one === undefined) return;
      subscription.credit--;
      this.#release(one.event);
      this.#host.event(one.event);
      one.left();
    }
  }

  #speaker(address: string): Speaker {
    let speaker = this.#speakers.get(address);
    if (speaker === undefined) {
      speaker = {
        address,
        retain: false,
        open: false,
        early: [],
        sequence: 0,
        last: undefined,
        listeners: 0,
      };
      this.#speakers.set(address, speaker);
    }
    return speaker;
  }

  #publish(speaker: Speaker, shout: Shout): void {
    if (speaker.retain) {
      const keptBytes = this.#keptBytes - sizeOf(speaker.last) + sizeOf(shout);
      if (keptBytes > this.#host.maxQueueBytes) {
        return this.#host.refused(shout.id, shout.address, this.#tooMuchKept(speaker.address));
      }
      this.#keptBytes = keptBytes;
    }
    const sequence = ++speaker.sequence;
    let left = 1;
    let refusal: PatchbayError | undefined;
    const taken = () => {
      if (--left > 0 || shout.id === undefined) return;
      if (refusal !== undefined) this.#host.refused(shout.id, shout.address, refusal);
      else this.#host.taken(shout.id, speaker.listeners);
    };
    const event = { ...shout, subscription: 0, sequence, retained: false };
    if (speaker.retain) speaker.last = event;
    for (const subscription of this.#subscriptions.values()) {
      if (!matches(subscription.pattern, shout.address)) continue;
      left++;
      try {
        this.#send(subscription, { ...event, subscription: subscription.id }, taken);
      } catch (error) {
        left--;
        // One listener that is full must not cost the others their message.
        refusal = PatchbayError.fromThrown(error);
        if (shout.id === undefined) this.#host.refused(undefined, shout.address, refusal);
      }
    }
    taken();
  }

  #send(subscription: Subscription, event: SpokenEvent, left: () => void): void {
    if (subscription.credit > 0) {
      subscription.credit--;
      this.#host.event(event);
      return left();
    }
    if (subscription.waiting.length >= subscription.maxQueue) throw this.#full(event.address);
    this.#hold(event);
    subscription.waiting.push({ event, left });
  }

  #hold(shout: Shout): void {
    const bytes = this.#waitingBytes + sizeOf(shout);
    if (bytes > this.#host.maxQueueBytes || this.#waiting >= MAX_WAITING) {
      throw this.#full(shout.address);
    }
    this.#waiting++;
    this.#waitingBytes = bytes;
  }

  #release(shout: Shout): void {
    this.#waiting--;
    this.#waitingBytes -= sizeOf(shout);
  }

  #tooMuchKept(address: string): PatchbayError {
    const max = this.#host.maxQueueBytes;
    const what = `${address}: the client's retained values would have over ${max} bytes in all`;
    return new PatchbayError("overloaded", what, {
      pattern: "speaker",
      address,
      details: { max },
      remedy: "retain less, or smaller values; or raise maxQueueBytes of the hub",
    });
  }

  #full(address: string): PatchbayError {
    return new PatchbayError("overloaded", `${address}: a blocking listener is full`, {
      pattern: "speaker",
      address,
      remedy: "give each shout an id, and wait for its shout-ack before the next",
    });
  }
}

/** What a shout holds as long as it is here, in bytes. */
function sizeOf(shout: Shout | undefined): number {
  if (shout === undefined) return 0;
  let bytes = shout.content.body.length;
  for (const name in shout.headers) bytes += name.length + String(shout.headers[name]).length;
  return bytes;
}
