/**
 * Shouts over pub/sub: at most once, in order, the plain payload in a channel whose name says where,
 * by whom and as which it was shouted.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type EventContext,
  type ListenerEndpoint,
  type ListenerSource,
  PatchbayError,
  type Registration,
  type SpeakerEndpoint,
  type SpeakerPort,
  type TransportContext,
} from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { isAway } from "./errors.ts";
import type { Listening } from "./listening.ts";
import { type Names, type ShoutName, ShoutReader } from "./names.ts";
import type { Payloads } from "./payload.ts";
import type { Retained } from "./retained.ts";
import type { Sender } from "./sender.ts";

/** A listener on one subscription. */
interface Seat {
  readonly endpoint: ListenerEndpoint;
  readonly source: ListenerSource;
  /** What the listener's contract says of the codec. */
  readonly codec: string | undefined;
  /** What came while the last values were being fetched. */
  held: (() => void)[] | undefined;
  /** The last number of each speaker whose kept value was delivered. */
  readonly since: Map<string, number>;
}

/** Everything this bay shouts and hears over pub/sub. */
export class Shouts {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #listening: Listening;
  readonly #retained: Retained;
  readonly #sender: Sender;
  /** By subscription. Lists are replaced, never changed: a shout may be going through the old one. */
  readonly #seats = new Map<string, readonly Seat[]>();
  readonly #reader: ShoutReader;
  readonly #channels = new Set<string>();
  /** Whether the server has granted a subscription, by its name. */
  readonly #granted = new Map<string, Promise<unknown>>();
  #queuedBytes = 0;

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    listening: Listening,
    retained: Retained,
    sender: Sender,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#listening = listening;
    this.#retained = retained;
    this.#sender = sender;
    this.#reader = new ShoutReader(names);
    const { subscriber } = connections;
    subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) => {
      const name = channel.toString();
      if (this.#channels.has(name)) this.#heard(name, channel, message);
    });
    subscriber.on("pmessageBuffer", (pattern: string, channel: Buffer, message: Buffer) => {
      this.#heard(pattern, channel, message);
    });
    subscriber.on("smessageBuffer", (channel: Buffer, message: Buffer) => {
      const name = channel.toString();
      if (this.#channels.has(name)) this.#heard(name, channel, message);
    });
  }

  /** As {@link Transport.speak}. */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    const { address, contract, statistics } = endpoint;
    const close = await this.#listening.speak(address);
    const kept = endpoint.retain ? this.#retained.hold(address) : undefined;
    const names = this.#names;
    const { origin } = endpoint;
    const plain = names.channel(address);
    const { shoutIds, sharded } = this.#config;
    const listening = this.#listening;
    return {
      get listeners() {
        return listening.count(address);
      },
      shout: (value, event) => {
        const payload = this.#payloads.encode(value, contract.codec);
        const channel = shoutIds && !sharded
          ? names.shout(address, origin, event.sequence, payload.codec.name)
          : plain;
        if (channel === plain && payload.codec.name !== (contract.codec ?? "json")) {
          throw new PatchbayError(
            "invalid",
            `${address}: a plain channel does not tell that this is ${payload.codec.name}`,
            { address, remedy: `set codec: "${payload.codec.name}" in the contract of both sides` },
          );
        }
        if (!this.#connections.up) return statistics.countDrop("disconnected");
        const { bytes, data } = payload;
        if (this.#queuedBytes + bytes > this.#config.maxQueueBytes && this.#queuedBytes > 0) {
          throw new PatchbayError("overloaded", `${address}: too much waits to be sent`, {
            details: { maxQueueBytes: this.#config.maxQueueBytes },
          });
        }
        this.#queuedBytes += bytes;
        statistics.bytesOut += bytes;
        if (endpoint.retain) this.#retained.keep(address, payload, event);
        this.#sender.send(sharded ? "spublish" : "publish", [channel, data], (error) => {
          this.#queuedBytes -= bytes;
          if (error === undefined) return;
          const known = this.#connections.explain(error, address);
          statistics.countDrop(known.code === "closed" ? "disconnected" : known.code);
          if (known.code !== "closed") this.#context.report(known.with({ pattern: "speaker" }));
        });
      },
      close: async () => {
        await kept?.();
        await close();
      },
    };
  }

  /**
   * As {@link Transport.listen}.
   *
   * @param endpoint The listener.
   * @param entered Whether it is registered already, by what hears Streams for it.
   */
  async listen(endpoint: ListenerEndpoint, entered = false): Promise<Registration> {
    const { sharded, shoutIds } = this.#config;
    if (sharded && endpoint.pattern.includes("*")) {
      throw new PatchbayError("invalid", `${endpoint.pattern}: sharded pub/sub has no patterns`, {
        remedy: "listen to exact addresses, or set config.redis.sharded: false",
      });
    }
    const plain = sharded || !shoutIds;
    const { channels, patterns } = this.#names.subscriptions(endpoint.pattern, plain);
    const seat: Seat = {
      endpoint,
      source: endpoint.attach(),
      codec: endpoint.codec,
      held: endpoint.retained ? [] : undefined,
      since: new Map(),
    };
    const all = [...channels, ...patterns];
    for (const name of all) {
      this.#seats.set(name, [...this.#seats.get(name) ?? [], seat]);
    }
    for (const name of channels) this.#channels.add(name);
    let unlisten: (() => Promise<void>) | undefined;
    try {
      this.#subscribe(channels, patterns);
      // Another listener may have asked for the same a moment ago, and may be refused.
      await Promise.all(all.map((name) => this.#granted.get(name)));
      if (endpoint.retained) await this.#deliverKept(seat);
      unlisten = entered ? undefined : await this.#listening.listen(endpoint.pattern);
    } catch (error) {
      await this.#leave(seat, all, channels).catch(() => {});
      throw this.#connections.explain(error, endpoint.pattern);
    }
    let closing: Promise<void> | undefined;
    return {
      close: () =>
        closing ??= (async () => {
          await this.#leave(seat, all, channels);
          await unlisten?.();
        })(),
    };
  }

  /** Asks the server for what was not asked for yet. */
  #subscribe(channels: readonly string[], patterns: readonly string[]): void {
    const { subscriber } = this.#connections;
    const ask = (names: readonly string[], command: (...names: string[]) => Promise<unknown>) => {
      const wanted = names.filter((name) => !this.#granted.has(name));
      if (wanted.length === 0) return;
      const grant = command.apply(subscriber, wanted);
      // Whoever waits for it is told; here it only must not go unheard.
      grant.catch(() => {});
      for (const name of wanted) this.#granted.set(name, grant);
    };
    ask(channels, this.#config.sharded ? subscriber.ssubscribe : subscriber.subscribe);
    ask(patterns, subscriber.psubscribe);
  }

  async #deliverKept(seat: Seat): Promise<void> {
    try {
      const kept = await this.#retained.of(seat.endpoint.pattern);
      for (const { value, context, bytes } of kept) {
        if (context.origin === this.#context.identity.id) continue;
        seat.endpoint.statistics.bytesIn += bytes;
        seat.since.set(`${context.origin} ${context.address}`, context.sequence);
        seat.source.deliver(value, context);
      }
    } finally {
      const held = seat.held ?? [];
      seat.held = undefined;
      for (const deliver of held) deliver();
    }
  }

  async #leave(seat: Seat, all: readonly string[], channels: readonly string[]): Promise<void> {
    const emptied: string[] = [];
    for (const name of all) {
      const seats = this.#seats.get(name)?.filter((each) => each !== seat) ?? [];
      if (seats.length > 0) {
        this.#seats.set(name, seats);
        continue;
      }
      if (!this.#seats.delete(name)) continue;
      this.#channels.delete(name);
      this.#granted.delete(name);
      emptied.push(name);
    }
    seat.source.close();
    if (this.#connections.closing || emptied.length === 0) return;
    const { subscriber } = this.#connections;
    const [plain, globs] = [true, false].map((is) =>
      emptied.filter((each) => channels.includes(each) === is)
    );
    try {
      // Both at once: whoever begins to listen while the one is waited for comes behind the other.
      const { sharded } = this.#config;
      const leave = sharded ? subscriber.sunsubscribe : subscriber.unsubscribe;
      await Promise.all([
        plain.length > 0 ? leave.apply(subscriber, plain) : undefined,
        globs.length > 0 ? subscriber.punsubscribe(...globs) : undefined,
      ]);
    } catch (error) {
      // With the connection the subscription is gone; nobody is here to hear it anew.
      if (!isAway(error)) throw this.#connections.explain(error, seat.endpoint.pattern);
    }
  }

  #heard(subscription: string, channel: Buffer, message: Buffer): void {
    const seats = this.#seats.get(subscription);
    if (seats === undefined) return;
    const name = this.#reader.read(channel);
    if (name === undefined) return void this.#context.statistics.countDrop("foreign_channel");
    // A bay's own shouts come over in_process.
    if (name.origin === this.#context.identity.id) return;
    for (const seat of seats) {
      if (!seat.endpoint.accepts(name.address)) continue;
      if (seat.held === undefined) this.#deliver(seat, name, message);
      else if (seat.held.length < seat.endpoint.maxQueue) {
        seat.held.push(() => this.#deliver(seat, name, message));
      } else seat.endpoint.statistics.countDrop("overflow_newest");
    }
  }

  #deliver(
    seat: Seat,
    name: ShoutName,
    message: Buffer,
  ): void {
    const { statistics } = seat.endpoint;
    const { address, origin, sequence } = name;
    if (seat.since.size > 0 && sequence <= (seat.since.get(`${origin} ${address}`) ?? -1)) return;
    statistics.bytesIn += message.length;
    let value: unknown;
    try {
      value = this.#payloads.decode(message, name.codec ?? seat.codec);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countDrop(known.code === "too_large" ? "too_large" : "undecodable");
      return this.#context.report(
        known.with({ pattern: "speaker", transport: this.#context.name, address }),
      );
    }
    const context: EventContext = {
      address,
      sequence,
      origin,
      headers: undefined,
      priority: 128,
      retained: false,
      peer: undefined,
    };
    seat.source.deliver(value, context);
  }
}
