/**
 * Listeners of shouts that go through Streams: at least once, acknowledged after the handler.
 *
 * @module
 */

import {
  type EventContext,
  type ListenerEndpoint,
  type ListenerSource,
  PatchbayError,
  type Peer,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { Consumption } from "./consumption.ts";
import type { LogEntry, LogSeat } from "./log_entry.ts";
import type { Listening } from "./listening.ts";
import type { Names } from "./names.ts";
import { LastText, numberOf, type Payloads, readHeaders, textField } from "./payload.ts";
import type { Presence } from "./presence.ts";
import type { Retained } from "./retained.ts";

/** A listener in front of a consumer group. */
class ListenerSeat implements LogSeat {
  readonly #endpoint: ListenerEndpoint;
  readonly #source: ListenerSource;
  readonly #logs: Logs;
  /** What is to be called when the listener is done with what was delivered. */
  readonly #open = new Map<EventContext, LogEntry>();
  /** What is being delivered, and whether the listener was done with it at once. */
  #now: EventContext | undefined;
  #doneNow = false;

  constructor(endpoint: ListenerEndpoint, logs: Logs, roomAgain: () => void) {
    this.#endpoint = endpoint;
    this.#logs = logs;
    this.#source = endpoint.attach();
    this.#source.onHandled = (context) => {
      if (context === this.#now) {
        this.#doneNow = true;
        return;
      }
      const entry = this.#open.get(context);
      this.#open.delete(context);
      entry?.done();
    };
    if (endpoint.overflow === "block") this.#source.onConsumed = roomAgain;
  }

  accepts(address: string): boolean {
    return this.#endpoint.accepts(address);
  }

  /** Who blocks is given no more than fits; Redis keeps the rest. */
  get room(): number {
    if (this.#endpoint.overflow !== "block") return Infinity;
    return this.#endpoint.maxQueue - this.#source.waiting;
  }

  take(entry: LogEntry): boolean {
    const read = this.#logs.read(entry, this.#endpoint);
    if (read === undefined) return true;
    this.#now = read.context;
    this.#doneNow = false;
    this.#source.deliver(read.value, read.context);
    this.#now = undefined;
    if (this.#doneNow) return true;
    this.#open.set(read.context, entry);
    return false;
  }

  /** The last value, for who comes late. */
  deliver(value: unknown, context: EventContext): void {
    this.#source.deliver(value, context);
  }

  close(): void {
    this.#source.close();
    this.#open.clear();
  }
}

/** All listeners of this bay that hear Streams. */
export class Logs {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #listening: Listening;
  readonly #retained: Retained;
  readonly #consumptions = new Set<Consumption>();
  readonly #from = new LastText();
  #lastPeer: Peer | undefined;
  #shared: Consumption | undefined;
  #last = 0;

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    presence: Presence,
    listening: Listening,
    retained: Retained,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#listening = listening;
    this.#retained = retained;
  }

  /** As {@link Transport.listen}. */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    const { pattern } = endpoint;
    // Who holds reading back has a group of its own, so that it holds back nobody else.
    const alone = endpoint.overflow === "block";
    const consumption = alone ? this.#make(`-${++this.#last}`) : this.#shared ??= this.#make("");
    const seat = new ListenerSeat(endpoint, this, () => consumption.wake());
    // Before anything is waited for: whoever leaves meanwhile must not end the consumption.
    consumption.reserve(seat);
    const leave = async () => {
      consumption.remove(seat);
      seat.close();
      if (!consumption.idle) return;
      if (this.#shared === consumption) this.#shared = undefined;
      this.#consumptions.delete(consumption);
      await consumption.close();
    };
    let unlisten: () => Promise<void>;
    try {
      if (endpoint.retained) {
        for (const { value, context, bytes } of await this.#retained.of(pattern)) {
          if (context.origin === this.#context.identity.id) continue;
          endpoint.statistics.bytesIn += bytes;
          seat.deliver(value, context);
        }
      }
      await consumption.add(seat, pattern);
      unlisten = await this.#listening.listen(pattern);
    } catch (error) {
      await leave().catch(() => {});
      throw this.#connections.explain(error, pattern);
    }
    let closing: Promise<void> | undefined;
    return {
      close: () =>
        closing ??= (async () => {
          await leave();
          await unlisten();
        })(),
    };
  }

  /** A speaker has told of its log. */
  told(address: string, last: string): void {
    for (const consumption of this.#consumptions) {
      consumption.told(address, last).catch((error) => {
        const known = this.#connections.explain(error, address);
        if (known.code !== "closed") this.#context.report(known);
      });
    }
  }

  /** Ends all. */
  async close(): Promise<void> {
    for (const consumption of this.#consumptions) await consumption.close();
    this.#consumptions.clear();
  }

  /** @ignore An entry's value and what came with it; `undefined`: it was dropped, and counted. */
  read(
    { address, fields, origin = "", sequence }: LogEntry,
    endpoint: ListenerEndpoint,
  ): { readonly value: unknown; readonly context: EventContext } | undefined {
    // A bay's own shouts come over in_process.
    if (origin === this.#context.identity.id) return undefined;
    const { statistics } = endpoint;
    try {
      const payload = fields.value;
      if (payload === undefined) {
        throw new PatchbayError("protocol", "the entry has no field `value`");
      }
      statistics.bytesIn += payload.length;
      const context: EventContext = {
        address,
        sequence: sequence > 0 ? sequence : 0,
        origin,
        headers: readHeaders(fields),
        priority: fields.priority === undefined ? 128 : numberOf(fields.priority),
        retained: false,
        peer: fields.from === undefined ? undefined : this.#peer(this.#from.read(fields.from)),
      };
      return { value: this.#payloads.decode(payload, textField(fields, "type")), context };
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countDrop(known.code === "too_large" ? "too_large" : "undecodable");
      this.#context.report(
        known.with({ pattern: "speaker", transport: this.#context.name, address }),
      );
      return undefined;
    }
  }

  #peer(module: string): Peer {
    if (this.#lastPeer?.module === module) return this.#lastPeer;
    return this.#lastPeer = { module, transport: this.#context.name, local: false };
  }

  #make(suffix: string): Consumption {
    const { group } = this.#config;
    const consumption = new Consumption(
      this.#connections,
      this.#config,
      this.#context,
      this.#names,
      this.#presence,
      {
        group: `${group ?? `bay:${this.#context.identity.id}`}${suffix}`,
        kept: group !== undefined,
      },
    );
    this.#consumptions.add(consumption);
    return consumption;
  }
}
