/**
 * Streams as they are: consumer groups by name, replay from an id, trimming. Reached through
 * `bay.transport(redis).streams`.
 *
 * @module
 */

import { checkAddress, checkPattern, PatchbayError, type TransportContext } from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { Consumption } from "./consumption.ts";
import type { LogEntry, LogSeat } from "./log_entry.ts";
import type { Names } from "./names.ts";
import { type Fields, type Payloads, readFields, readHeaders, textField } from "./payload.ts";
import type { Presence } from "./presence.ts";

/** What came with an entry of a Stream. */
export interface StreamContext {
  /** The address it was shouted at. */
  readonly address: string;
  /** The entry's id: where a replay can begin. */
  readonly id: string;
  /** What was sent along. */
  readonly headers: Readonly<Record<string, string>>;
  /** The module that shouted; empty if it does not say. */
  readonly from: string;
  /** Whether it was given to somebody before: its effect may be there already. */
  readonly redelivered: boolean;
}

/** An entry as it is replayed. */
export interface ReplayedEntry extends StreamContext {
  /** Its value. */
  readonly value: unknown;
}

/** How a group is consumed. */
export interface ConsumeOptions {
  /** The group: its consumers share the entries, in whatever process they are. */
  readonly group: string;
  /** Where a group that is new begins: `$` (what comes from now on, the default), `0`, or an id. */
  readonly from?: string;
  /** The most entries that this consumer works on at once. Default 16. */
  readonly maxConcurrent?: number;
}

/** How entries are replayed. */
export interface ReplayOptions {
  /** The first id; default: the oldest that is kept. */
  readonly from?: string;
  /** The last id; default: the newest. */
  readonly to?: string;
  /** The most entries. */
  readonly limit?: number;
}

/** Streams of the Redis server. */
export interface Streams {
  /**
   * Takes part in a consumer group: each entry goes to one of its consumers, and is acknowledged
   * when the handler has returned. A handler that throws has not done it: the entry is given again
   * after `claimIdleMs`, here or to another one; what a dead consumer held is taken over at once.
   *
   * @param pattern The address or pattern.
   * @param handler Does the work.
   * @param options The group.
   * @returns Ends it; the group stays, and goes on where it was.
   */
  consume(
    pattern: string,
    handler: (value: unknown, context: StreamContext) => void | Promise<void>,
    options: ConsumeOptions,
  ): Promise<AsyncDisposable>;
  /**
   * What was shouted at an address, as far as it is kept, in order; nothing is acknowledged.
   *
   * @param address The address.
   * @param options Which part.
   */
  replay(
    address: string,
    options?: ReplayOptions,
  ): AsyncIterableIterator<ReplayedEntry, void, void>;
  /**
   * Shortens the Stream of an address.
   *
   * @param address The address.
   * @param keep The most entries to keep, or the oldest id.
   * @returns How many were removed.
   */
  trim(
    address: string,
    keep: { readonly maxLength: number } | { readonly minId: string },
  ): Promise<number>;
}

/** How many entries are replayed at once. */
const BATCH = 256;

/** The Streams of one server, for one bay. */
export class StreamAccess implements Streams {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #open = new Set<Consumption>();

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    presence: Presence,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#presence = presence;
  }

  async consume(
    pattern: string,
    handler: (value: unknown, context: StreamContext) => void | Promise<void>,
    { group, from, maxConcurrent = 16 }: ConsumeOptions,
  ): Promise<AsyncDisposable> {
    checkPattern(pattern);
    if (!/^[\w.:-]+$/.test(group)) {
      throw new PatchbayError("invalid", `group ${JSON.stringify(group)}`, {
        remedy: "use letters, digits, `_.:-`",
      });
    }
    const options = { group, from, kept: true };
    const consumption = new Consumption(
      this.#connections,
      this.#config,
      this.#context,
      this.#names,
      this.#presence,
      options,
    );
    this.#open.add(consumption);
    let running = 0;
    const idle = { resolve: undefined as (() => void) | undefined };
    const seat: LogSeat = {
      accepts: () => true,
      get room() {
        return maxConcurrent - running;
      },
      take: (entry) => {
        running++;
        void this.#handle(entry, handler).then(() => entry.done(), (error) => {
          entry.again();
          this.#context.report(
            PatchbayError.fromThrown(error).with({
              pattern: "speaker",
              transport: this.#context.name,
              address: entry.address,
            }),
          );
        }).finally(() => {
          running--;
          if (running === 0) idle.resolve?.();
          consumption.wake();
        });
        return false;
      },
    };
    const close = async () => {
      consumption.remove(seat);
      if (running > 0) await new Promise<void>((resolve) => idle.resolve = resolve);
      this.#open.delete(consumption);
      await consumption.close();
    };
    try {
      await consumption.add(seat, pattern);
    } catch (error) {
      await close();
      throw this.#connections.explain(error, pattern);
    }
    let closing: Promise<void> | undefined;
    return { [Symbol.asyncDispose]: () => closing ??= close() };
  }

  async *replay(
    address: string,
    { from = "-", to = "+", limit = Infinity }: ReplayOptions = {},
  ): AsyncGenerator<ReplayedEntry, void, void> {
    const key = this.#names.log(checkAddress(address));
    let next = from;
    for (let left = limit; left > 0;) {
      let entries;
      try {
        entries = await this.#connections.main.xrangeBuffer(
          key,
          next,
          to,
          "COUNT",
          Math.min(BATCH, left),
        );
      } catch (error) {
        throw this.#connections.explain(error, address);
      }
      for (
        const [id, flat] of entries as [{ toString(): string }, Parameters<typeof readFields>[0]][]
      ) {
        const fields = readFields(flat);
        const entry = { address, id: id.toString(), fields, redelivered: false };
        yield { value: this.#value(fields), ...this.#about(entry) };
        next = `(${entry.id}`;
        left--;
      }
      if (entries.length < BATCH) return;
    }
  }

  async trim(
    address: string,
    keep: { readonly maxLength: number } | { readonly minId: string },
  ): Promise<number> {
    const key = this.#names.log(checkAddress(address));
    const { main } = this.#connections;
    try {
      return "minId" in keep
        ? await main.xtrim(key, "MINID", keep.minId)
        : await main.xtrim(key, "MAXLEN", keep.maxLength);
    } catch (error) {
      throw this.#connections.explain(error, address);
    }
  }

  /** A speaker has told of its log. */
  told(address: string, last: string): void {
    for (const consumption of this.#open) consumption.told(address, last).catch(() => {});
  }

  /** Ends all. */
  async close(): Promise<void> {
    for (const consumption of this.#open) await consumption.close();
    this.#open.clear();
  }

  async #handle(
    entry: LogEntry,
    handler: (value: unknown, context: StreamContext) => void | Promise<void>,
  ): Promise<void> {
    let value: unknown;
    let context: StreamContext;
    try {
      value = this.#value(entry.fields);
      context = this.#about(entry);
    } catch (error) {
      // It would not become readable by being given again.
      this.#context.statistics.countDrop("undecodable");
      this.#context.report(
        PatchbayError.fromThrown(error).with({ pattern: "speaker", address: entry.address }),
      );
      return;
    }
    await handler(value, context);
  }

  #value(fields: Fields): unknown {
    if (fields.value === undefined) {
      throw new PatchbayError("protocol", "the entry has no field `value`");
    }
    return this.#payloads.decode(fields.value, textField(fields, "type"));
  }

  #about(
    { address, id, fields, redelivered }: Pick<
      LogEntry,
      "address" | "id" | "fields" | "redelivered"
    >,
  ): StreamContext {
    const from = textField(fields, "from") ?? "";
    return { address, id, headers: readHeaders(fields) ?? {}, from, redelivered };
  }
}
