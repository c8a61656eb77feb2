/**
 * Values under keys: what Redis is best known for, reached through `bay.transport(redis).keys`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { json, PatchbayError, type TransportContext } from "@patchbay/core";
import { asBuffer, type Connections } from "./connections.ts";
import { KeyWatch } from "./key_watch.ts";

/** How a value is set. */
export interface SetOptions {
  /** Forget it after so many milliseconds. Default: never. */
  readonly ttlMs?: number;
  /** Only if there is none yet (`absent`), or only if there is one (`present`). */
  readonly only?: "absent" | "present";
}

/** A change of a key that is watched. */
export interface KeyChange {
  /** The key. */
  readonly key: string;
  /** Its value now; `undefined`: it is gone. */
  readonly value: unknown;
}

/** How keys are watched. */
export interface WatchOptions {
  /** Ends it. */
  readonly signal?: AbortSignal;
}

/**
 * Values under keys of the Redis server. A value is stored as plain JSON, so that any other program
 * can read and write it; bytes as they are with {@link KeyValues.getBytes} and
 * {@link KeyValues.setBytes}. Keys are the user's own: the plugin's prefix is not put before them.
 *
 * Every method throws a `PatchbayError`: `closed` if the connection was lost before the answer came,
 * `forbidden` if the ACL forbids it, `invalid` for a value that JSON cannot carry.
 */
export interface KeyValues {
  /**
   * The value of a key; `undefined` if there is none.
   *
   * @param key The key.
   * @throws {PatchbayError} `protocol`: it holds what is not JSON.
   */
  get<T = unknown>(key: string): Promise<T | undefined>;
  /**
   * Sets a key.
   *
   * @param key The key.
   * @param value The value: what JSON carries.
   * @param options When it is forgotten, and on which condition it is set.
   * @returns Whether it was set: false only with {@link SetOptions.only}.
   */
  set(key: string, value: unknown, options?: SetOptions): Promise<boolean>;
  /**
   * Deletes a key.
   *
   * @param key The key.
   * @returns Whether there was one.
   */
  delete(key: string): Promise<boolean>;
  /**
   * Sets a key if its value is the expected one, in one step: nobody can come in between.
   *
   * @param key The key.
   * @param expected What it must hold; `undefined`: it must not be there. Compared as JSON text, in
   * which the order of an object's keys counts.
   * @param value What it then holds; `undefined` deletes it.
   * @param options When it is forgotten.
   * @returns Whether it was set.
   */
  compareAndSet(
    key: string,
    expected: unknown,
    value: unknown,
    options?: Pick<SetOptions, "ttlMs">,
  ): Promise<boolean>;
  /**
   * Bytes under a key; `undefined` if there is none.
   *
   * @param key The key.
   */
  getBytes(key: string): Promise<Uint8Array | undefined>;
  /**
   * Sets a key to bytes.
   *
   * @param key The key.
   * @param bytes The bytes.
   * @param options When it is forgotten, and on which condition it is set.
   */
  setBytes(key: string, bytes: Uint8Array, options?: SetOptions): Promise<boolean>;
  /**
   * Watches all keys that begin with a prefix, whoever changes them: each change gives the key and
   * its value then. Changes that come faster than they are read are told once, with the last value.
   * Takes two of the bay's connections, in a cluster two for each primary.
   *
   * @param prefix What the keys begin with; a whole key watches it and those that it begins.
   * @param options How it is ended.
   * @throws {PatchbayError} `overloaded`: no connection is left; `closed`: a connection was lost, or
   * the cluster has a new node: changes may have been missed.
   */
  watch(prefix: string, options?: WatchOptions): AsyncIterableIterator<KeyChange, void, void>;
}

/** Compares and sets in one step. ARGV: has expected, expected, has value, value, ttl. */
const COMPARE_AND_SET = `
local now = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if now then return 0 end
elseif now ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1])
elseif ARGV[5] == '' then redis.call('SET', KEYS[1], ARGV[4])
else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return 1`;

function text(value: unknown, what: string): string {
  if (value === undefined) {
    throw new PatchbayError("invalid", `${what} is undefined`, {
      details: { path: what },
      remedy: "delete the key instead, or set null",
    });
  }
  return new TextDecoder().decode(json.encode(value));
}

function checkTtl(ttlMs: number | undefined): void {
  if (ttlMs === undefined || (Number.isInteger(ttlMs) && ttlMs > 0)) return;
  throw new PatchbayError("invalid", `ttlMs: ${ttlMs} is not a whole number from 1 on`, {
    details: { path: "options.ttlMs" },
  });
}

/** The keys of one server, for one bay. */
export class Keys implements KeyValues {
  readonly #connections: Connections;
  readonly #context: TransportContext;
  readonly #watches = new Set<AbortController>();

  constructor(connections: Connections, context: TransportContext) {
    this.#connections = connections;
    this.#context = context;
  }

  async get<T = unknown>(key: string): Promise<T | undefined> {
    const bytes = await this.#do(key, () => this.#connections.main.getBuffer(key));
    return bytes === null ? undefined : this.#decode(key, bytes) as T;
  }

  set(key: string, value: unknown, options: SetOptions = {}): Promise<boolean> {
    return this.#set(key, () => text(value, "value"), options);
  }

  async delete(key: string): Promise<boolean> {
    return await this.#do(key, () => this.#connections.main.del(key)) === 1;
  }

  async compareAndSet(
    key: string,
    expected: unknown,
    value: unknown,
    { ttlMs }: Pick<SetOptions, "ttlMs"> = {},
  ): Promise<boolean> {
    return await this.#do(key, () => {
      checkTtl(ttlMs);
      return this.#connections.main.eval(
        COMPARE_AND_SET,
        1,
        key,
        expected === undefined ? "0" : "1",
        expected === undefined ? "" : text(expected, "expected"),
        value === undefined ? "0" : "1",
        value === undefined ? "" : text(value, "value"),
        ttlMs === undefined ? "" : String(ttlMs),
      );
    }) === 1;
  }

  async getBytes(key: string): Promise<Uint8Array | undefined> {
    const bytes = await this.#do(key, () => this.#connections.main.getBuffer(key));
    return bytes === null ? undefined : new Uint8Array(bytes);
  }

  setBytes(key: string, bytes: Uint8Array, options: SetOptions = {}): Promise<boolean> {
    return this.#set(key, () => asBuffer(bytes.slice()), options);
  }

  async *watch(
    prefix: string,
    { signal }: WatchOptions = {},
  ): AsyncGenerator<KeyChange, void, void> {
    signal?.throwIfAborted();
    const control = new AbortController();
    const stop = () => control.abort(signal?.reason);
    signal?.addEventListener("abort", stop);
    this.#watches.add(control);
    const watch = new KeyWatch(this.#connections, prefix);
    try {
      await this.#do(prefix, () => watch.start());
      for (;;) {
        const key = await watch.next(control.signal);
        if (key === undefined) break;
        yield { key, value: await this.get(key) };
      }
      signal?.throwIfAborted();
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#watches.delete(control);
      watch.stop();
    }
  }

  /** Ends what is watched. */
  close(): void {
    for (const watch of this.#watches) watch.abort();
  }

  async #set(
    key: string,
    value: () => string | Buffer,
    { ttlMs, only }: SetOptions,
  ): Promise<boolean> {
    return await this.#do(key, () => {
      checkTtl(ttlMs);
      const more: string[] = [];
      if (ttlMs !== undefined) more.push("PX", String(ttlMs));
      if (only !== undefined) more.push(only === "absent" ? "NX" : "XX");
      return this.#connections.main.set(key, value(), ...more as ["NX"]);
    }) === "OK";
  }

  #decode(key: string, bytes: Buffer): unknown {
    try {
      return json.decode(bytes);
    } catch (error) {
      throw PatchbayError.fromThrown(error).with({ transport: this.#context.name, address: key });
    }
  }

  async #do<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#connections.explain(error, key);
    }
  }
}
