/**
 * A watch over keys: every server that has some tells of those that have changed (`CLIENT TRACKING`
 * in its broadcasting mode: https://redis.io/docs/latest/develop/reference/client-side-caching/).
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { PatchbayError } from "@patchbay/core";
import type { Client, Connections } from "./connections.ts";

/** The channel on which a server tells of keys that have changed. */
const INVALIDATE = "__redis__:invalidate";

/** The most keys that have changed and were not read yet. */
const MAX_CHANGED = 65_536;

/** Changes of the keys that begin with a prefix, each told once until it is read. */
export class KeyWatch {
  readonly #connections: Connections;
  readonly #prefix: string;
  readonly #changed = new Set<string>();
  #clients: readonly Client[] = [];
  #failure: PatchbayError | undefined;
  #wake = () => {};

  /**
   * @param connections Where connections of its own come from.
   * @param prefix What the keys begin with.
   */
  constructor(connections: Connections, prefix: string) {
    this.#connections = connections;
    this.#prefix = prefix;
  }

  /**
   * Begins; every change from now on is told.
   *
   * @throws {PatchbayError} `overloaded`: no connection is left.
   */
  async start(): Promise<void> {
    // A node that joins may take keys over, and nobody would tell of them.
    if (this.#connections.clustered) this.#connections.main.on("+node", this.#broken);
    const pairs = await this.#connections.takeEverywhere(2);
    this.#clients = pairs.flat();
    for (const client of this.#clients) client.on("close", this.#broken);
    await Promise.all(pairs.map(([subscriber, tracker]) => this.#track(subscriber, tracker)));
  }

  /**
   * The next key that has changed; `undefined`: the signal has ended the wait.
   *
   * @param signal Ends the wait.
   * @throws {PatchbayError} `closed`: changes may have been missed; `overloaded`: too many wait.
   */
  async next(signal: AbortSignal): Promise<string | undefined> {
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake);
    try {
      for (;;) {
        if (signal.aborted) return undefined;
        if (this.#failure !== undefined) throw this.#failure;
        const [key] = this.#changed;
        if (key !== undefined) {
          this.#changed.delete(key);
          return key;
        }
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Ends; its connections are closed. */
  stop(): void {
    this.#connections.main.off("+node", this.#broken);
    for (const client of this.#clients) {
      client.off("close", this.#broken);
      this.#connections.discard(client);
    }
    this.#clients = [];
  }

  readonly #broken = (): void =>
    this.#fail("closed", "the connection was lost, or the cluster has changed, while watching");

  #fail(code: "closed" | "overloaded", why: string): void {
    this.#failure ??= new PatchbayError(code, `${this.#prefix}*: ${why}`, {
      remedy: "watch again, and read the keys: changes may have been missed",
    });
    this.#wake();
  }

  async #track(subscriber: Client, tracker: Client): Promise<void> {
    subscriber.on("messageBuffer", (_channel: Buffer, keys: unknown) => {
      // Everything was forgotten at once (FLUSHALL): which keys those were, nobody tells.
      if (keys === null) return this.#fail("closed", "all keys were deleted at once");
      if (!Array.isArray(keys)) return;
      for (const each of keys) {
        const key = String(each);
        if (key.startsWith(this.#prefix)) this.#changed.add(key);
      }
      if (this.#changed.size > MAX_CHANGED) {
        this.#changed.clear();
        this.#fail("overloaded", `more than ${MAX_CHANGED} keys have changed and were not read`);
      }
      this.#wake();
    });
    const id = await subscriber.client("ID");
    await subscriber.subscribe(INVALIDATE);
    const how = ["REDIRECT", String(id), "BCAST", "PREFIX", this.#prefix];
    await tracker.call("CLIENT", "TRACKING", "OFF");
    await tracker.call("CLIENT", "TRACKING", "ON", ...how);
  }
}
