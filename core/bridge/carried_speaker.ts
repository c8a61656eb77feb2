/**
 * The speakers of one address on one wire, as one speaker on another.
 *
 * @module
 */

import type { DirectoryEndpoint } from "../directory.ts";
import { PatchbayError } from "../errors.ts";
import type { EventContext } from "../listener.ts";
import type { ListenerSource } from "../listener_source.ts";
import type { Bridged } from "../offers.ts";
import type { SpeakerPort } from "../plugin.ts";
import { Fifo } from "../queue.ts";
import { SpeakerEndpoint, UNKEPT_HEADER } from "../speaker.ts";
import type { EndpointStatistics } from "../statistics.ts";
import type { Lane } from "./lane.ts";
import { BRIDGE_TTL, readStamp, stamped } from "./stamp.ts";

/** So many origins are remembered for their gaps. */
const MAX_ORIGINS = 256;

/** What the speaker on the far wire is. */
export interface SpeakerTerms {
  /** Whether it keeps its last value. */
  readonly retain: boolean;
  /** How it came. */
  readonly bridged: Bridged;
}

interface Item {
  readonly value: unknown;
  readonly event: EventContext;
  readonly source: ListenerSource;
}

/** The speakers of one address, as one speaker on the far wire. */
export class CarriedSpeaker {
  readonly #lane: Lane;
  readonly #address: string;
  readonly #counter = { sequence: 0 };
  readonly #counts: EndpointStatistics;
  /** The last number of each origin: what it left out is left out on the far wire, too. */
  readonly #lasts = new Map<string, number>();
  /** What waits until the speaker is there, or until a listener that blocks goes on. */
  readonly #waiting = new Fifo<Item>();
  /** A retained value that came before the speaker was there. */
  #early: SpeakerEndpoint["last"];
  #endpoint: SpeakerEndpoint | undefined;
  #port: SpeakerPort | undefined;
  #entry: DirectoryEndpoint | undefined;
  #work: Promise<void> = Promise.resolve();
  #held: Promise<void> | undefined;
  /** Why the far wire does not want it, as long as it does not. */
  #refusal: PatchbayError | undefined;
  #closed = false;

  /**
   * @param lane The direction.
   * @param address The address.
   */
  constructor(lane: Lane, address: string) {
    this.#lane = lane;
    this.#address = address;
    const { host, to } = lane;
    this.#counts = host.statistics.endpoint("speaker", "speaker", address, to.plugin.name);
  }

  /**
   * Speaks on the far wire; a second time under other terms, or so that those who have joined get
   * the retained value.
   *
   * @param terms What it is.
   */
  speak(terms: SpeakerTerms): Promise<void> {
    const work = this.#work.then(() => this.#speak(terms));
    this.#work = work.catch(() => {});
    return work;
  }

  /**
   * Carries one shout, at once or when the speaker is there.
   *
   * @param value The value.
   * @param context What came with it.
   * @param source Whose it is: told when it has left.
   */
  hear(value: unknown, context: EventContext, source: ListenerSource): void {
    const event = this.#stamp(context);
    if (event === undefined || this.#closed) return source.released();
    if (context.retained) {
      this.#keep(value, event);
      return source.released();
    }
    if (this.#refusal !== undefined && this.#port === undefined) {
      this.#lane.statistics.countDrop(this.#refusal.code);
      return source.released();
    }
    if (this.#port === undefined || this.#held !== undefined) {
      return this.#wait({ value, event, source });
    }
    this.#held = this.#shout(value, event);
    if (this.#held === undefined) return source.released();
    source.waiting++;
    void this.#drain(source);
  }

  /**
   * The far wire does not want it: what waits is dropped, and holds up nobody.
   *
   * @param error Why.
   */
  refuse(error: PatchbayError): void {
    if (this.#port !== undefined) return;
    this.#refusal = error;
    this.#letGo(error.code);
  }

  /** Takes it off the wire, behind what waits and is not held up. Idempotent. */
  close(): Promise<void> {
    if (this.#closed) return this.#work;
    this.#closed = true;
    return this.#work = this.#work.then(async () => {
      const { host } = this.#lane;
      this.#letGo("closed");
      try {
        if (this.#entry !== undefined) await host.directory?.remove(this.#entry);
      } finally {
        host.statistics.remove(this.#counts);
        const port = this.#port;
        this.#port = undefined;
        await port?.close();
      }
    });
  }

  async #speak({ retain, bridged }: SpeakerTerms): Promise<void> {
    if (this.#closed) return;
    const { host, to } = this.#lane;
    const contract = { pattern: "speaker", address: this.#address } as const;
    const { id } = host.identity;
    const endpoint = new SpeakerEndpoint(contract, id, retain, this.#counter, this.#counts);
    endpoint.bridged = bridged;
    endpoint.last = this.#endpoint?.last ?? this.#early;
    const entry: DirectoryEndpoint = {
      pattern: "speaker",
      role: "speaker",
      address: this.#address,
      wires: [to.plugin.name],
      retain,
      bridged,
    };
    const port = await to.transport.speak?.(endpoint);
    try {
      await host.directory?.add(entry);
    } catch (error) {
      await port?.close();
      throw error;
    }
    const [oldPort, oldEntry] = [this.#port, this.#entry];
    this.#endpoint = endpoint;
    this.#entry = entry;
    this.#refusal = undefined;
    if (oldPort === undefined) await port?.ready?.();
    this.#port = port;
    if (this.#held === undefined) void this.#drain(undefined);
    if (oldEntry !== undefined) await host.directory?.remove(oldEntry);
    await oldPort?.close();
  }

  /** The context on the far wire; `undefined` if it is not to be carried. */
  #stamp(context: EventContext): EventContext | undefined {
    const { host, memory, statistics } = this.#lane;
    const stamp = readStamp(context.headers);
    const me = host.identity.id;
    // Its own, heard in its own process.
    if (stamp !== undefined && context.origin === me) return undefined;
    const ttl = stamp?.ttl ?? BRIDGE_TTL;
    if (ttl === 0) return void statistics.countDrop("ttl");
    let { origin, sequence } = stamp ?? context;
    // Neither has what a foreign program shouts; in MQTT 3.1.1 what is kept has no number.
    if (origin === "" || sequence === 0) [origin, sequence] = [me, ++memory.sequence];
    if (!memory.shouts.add(`${origin} ${sequence} ${context.address}`)) {
      // A retained one comes again with each connection.
      return context.retained ? undefined : void statistics.countDrop("duplicate");
    }
    return {
      address: context.address,
      sequence: this.#number(origin, sequence),
      origin: me,
      headers: stamped(context.headers, { ttl: ttl - 1, origin, sequence }),
      priority: context.priority,
      retained: false,
      peer: undefined,
    };
  }

  /** Those who have asked for it get it by joining anew; the others must not have it. */
  #keep(value: unknown, event: EventContext): void {
    this.#lane.statistics.shouts++;
    const endpoint = this.#endpoint;
    if (endpoint?.bridged === undefined) {
      this.#early = { value, context: event };
      return;
    }
    endpoint.last = { value, context: event };
    void this.speak({ retain: true, bridged: endpoint.bridged }).catch(() => {});
  }

  #shout(value: unknown, event: EventContext): Promise<void> | undefined {
    const endpoint = this.#endpoint;
    if (endpoint?.retain === true && event.headers?.[UNKEPT_HEADER] === undefined) {
      endpoint.last = { value, context: event };
    }
    this.#lane.statistics.shouts++;
    this.#counts.messagesOut++;
    try {
      const held = this.#port?.shout(value, event);
      return held instanceof Promise ? held.catch((error) => this.#refused(error)) : undefined;
    } catch (error) {
      this.#refused(error);
    }
  }

  #wait(item: Item): void {
    const { overflow, maxQueue } = this.#lane.settings;
    const { statistics } = this.#lane;
    // With `block` the wire counts what each speaker has waiting.
    const full = overflow !== "block" && this.#waiting.length >= maxQueue;
    if (full && overflow === "drop_newest") {
      statistics.countDrop("overflow_newest");
      return item.source.released();
    }
    item.source.waiting++;
    this.#waiting.push(item);
    if (!full) return;
    statistics.countDrop("overflow_oldest");
    const oldest = this.#waiting.shift() as Item;
    this.#left(oldest.source);
  }

  /** What waits is dropped, for a reason. */
  #letGo(reason: string): void {
    const { statistics } = this.#lane;
    if (this.#waiting.length > 0) statistics.countDrop(reason, this.#waiting.length);
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift()) {
      this.#left(item.source);
    }
  }

  #left(source: ListenerSource): void {
    source.waiting--;
    source.released();
  }

  /** What waits goes on, one after the other. */
  async #drain(first: ListenerSource | undefined): Promise<void> {
    if (first !== undefined) {
      await this.#held;
      this.#left(first);
    }
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift()) {
      this.#held = this.#shout(item.value, item.event);
      if (this.#held !== undefined) await this.#held;
      this.#left(item.source);
    }
    this.#held = undefined;
  }

  #refused(error: unknown): void {
    const { statistics, host } = this.#lane;
    const known = PatchbayError.fromThrown(error);
    statistics.countDrop(known.code);
    this.#counts.countError(known.code);
    if (known.code !== "overloaded" && known.code !== "closed") {
      host.report(known.with({ pattern: "speaker", address: this.#address }));
    }
  }

  /** The number on the far wire. */
  #number(origin: string, sequence: number): number {
    const last = this.#lasts.get(origin);
    if (last === undefined && this.#lasts.size >= MAX_ORIGINS) this.#lasts.clear();
    if (last === undefined || sequence > last) this.#lasts.set(origin, sequence);
    const step = last === undefined || sequence <= last ? 1 : sequence - last;
    return this.#counter.sequence += step;
  }
}
