/**
 * The last value of each speaker that retains: a hash for each address, for listeners that come
 * later and ask for it.
 *
 * @module
 */

import {
  type EventContext,
  isPattern,
  matches,
  PatchbayError,
  type TransportContext,
} from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import type { Names } from "./names.ts";
import { type Fields, type Payload, type Payloads, readHeaders, valueFields } from "./payload.ts";

/** Forgets the last value if it is of this bay, and no newer one of another. */
const FORGET = `
local origin = redis.call('HGET', KEYS[1], 'origin')
if origin and origin ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`;

/** A value that was kept. */
export interface Kept {
  /** The value. */
  readonly value: unknown;
  /** What came with it. */
  readonly context: EventContext;
  /** Its size in bytes. */
  readonly bytes: number;
}

/** The last values. */
export class Retained {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #listed = new Set<string>();
  /** How many speakers of this bay there are. */
  readonly #holders = new Map<string, number>();

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
  }

  /**
   * Keeps a value in the place of the one before it.
   *
   * @param address Where it was shouted.
   * @param payload The value.
   * @param event What goes with it.
   */
  keep(address: string, payload: Payload, event: EventContext): void {
    const { main } = this.#connections;
    const key = this.#names.last(address);
    const args = valueFields(payload);
    if (args.length === 2) args.push("type", "application/json");
    args.push("origin", event.origin, "seq", String(event.sequence));
    args.push("priority", String(event.priority));
    args.push("headers", JSON.stringify(event.headers ?? {}));
    const work: Promise<unknown>[] = [main.hset(key, ...args)];
    work.push(main.pexpire(key, this.#config.retainedMs));
    if (!this.#listed.has(address)) {
      this.#listed.add(address);
      work.push(main.sadd(this.#names.kept, address));
    }
    Promise.all(work).catch((error) => {
      this.#listed.delete(address);
      const known = this.#connections.explain(error, address);
      if (known.code !== "closed") this.#context.report(known.with({ pattern: "speaker" }));
    });
  }

  /**
   * A speaker begins whose last value is kept while any of this bay's at the address is there.
   *
   * @param address Where it speaks.
   * @returns It has closed.
   */
  hold(address: string): () => Promise<void> {
    this.#holders.set(address, (this.#holders.get(address) ?? 0) + 1);
    return async () => {
      const left = (this.#holders.get(address) ?? 1) - 1;
      if (left > 0) return void this.#holders.set(address, left);
      this.#holders.delete(address);
      await this.#forget(address);
    };
  }

  async #forget(address: string): Promise<void> {
    this.#listed.delete(address);
    if (!this.#connections.up) return;
    const { main } = this.#connections;
    try {
      const mine = [this.#names.last(address), this.#context.identity.id] as const;
      if (await main.eval(FORGET, 1, ...mine) === 1) await main.srem(this.#names.kept, address);
    } catch {
      // It is forgotten by itself after a while.
    }
  }

  /**
   * The last values at the addresses of a pattern.
   *
   * @param pattern The address or pattern.
   */
  async of(pattern: string): Promise<Kept[]> {
    const { main } = this.#connections;
    const addresses = !isPattern(pattern)
      ? [pattern]
      : (await main.smembers(this.#names.kept)).filter((each) => matches(pattern, each));
    const all = await Promise.all(
      addresses.map(async (address) => ({
        address,
        hash: await main.hgetallBuffer(this.#names.last(address)),
      })),
    );
    const kept: Kept[] = [];
    for (const { address, hash } of all) {
      const one = this.#read(address, hash);
      if (one !== undefined) kept.push(one);
    }
    return kept;
  }

  #read(address: string, fields: Fields): Kept | undefined {
    const payload = fields.value;
    if (payload === undefined) return undefined;
    try {
      const headers = readHeaders(fields) ?? {};
      const context: EventContext = {
        address,
        sequence: Number(fields.seq?.toString() ?? 0),
        origin: fields.origin?.toString() ?? "",
        headers: Object.keys(headers).length > 0 ? headers : undefined,
        priority: Number(fields.priority?.toString() ?? 128),
        retained: true,
        peer: undefined,
      };
      const value = this.#payloads.decode(payload, fields.type?.toString());
      return { value, context, bytes: payload.length };
    } catch (error) {
      this.#context.statistics.countDrop("undecodable");
      this.#context.report(
        PatchbayError.fromThrown(error).with({ pattern: "speaker", address }),
      );
      return undefined;
    }
  }
}
