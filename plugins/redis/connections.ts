/**
 * The connections of one bay to Redis: made within a deadline, made anew with back-off and jitter,
 * at most so many, all closed at the end.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Cluster, Redis, type RedisOptions } from "npm:ioredis@6.0.0";
import { type Health, PatchbayError, readTls, type TransportContext } from "@patchbay/core";
import { readHostPort, type ResolvedConfig, whereOf } from "./config.ts";
import { isRefusal, translate, unreachable } from "./errors.ts";

/** A connection that speaks the commands of Redis: to one server or to a cluster. */
export type Client = Redis;

/** What is told of the connections. */
export interface ConnectionsOwner {
  /** The connection was lost. */
  lost(reason: PatchbayError): void;
  /** It is back: what the server may have forgotten is told anew. Rejects: it is tried again. */
  back(): Promise<void>;
  /** Everything works again. */
  resumed(): void;
}

/** The connections of one bay. */
export class Connections {
  /** Where the server is, in words. */
  readonly where: string;
  /** Whether it is a cluster. */
  readonly clustered: boolean;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #owner: ConnectionsOwner;
  readonly #all = new Set<Client>();
  readonly #idle: Client[] = [];
  readonly #waiting: ((error?: PatchbayError) => void)[] = [];
  #options!: RedisOptions;
  #main!: Client;
  #subscriber!: Client;
  #up = false;
  #opening = true;
  #closing = false;
  #reason: unknown = undefined;
  #restoring: Promise<void> | undefined;
  #wakeUp: (() => void) | undefined;

  /**
   * @param config The configuration, its URL read.
   * @param context What core gave the plugin.
   * @param owner Who is told.
   */
  constructor(config: ResolvedConfig, context: TransportContext, owner: ConnectionsOwner) {
    this.#config = config;
    this.#context = context;
    this.#owner = owner;
    this.where = whereOf(config);
    this.clustered = config.cluster.length > 0;
  }

  /** Whether commands get through now. */
  get up(): boolean {
    return this.#up;
  }

  /** Whether it is closing or closed. */
  get closing(): boolean {
    return this.#closing;
  }

  /** The connection for commands; they are pipelined by themselves. */
  get main(): Client {
    return this.#main;
  }

  /** The connection for subscriptions. */
  get subscriber(): Client {
    return this.#subscriber;
  }

  /** How it does. */
  health(): Health {
    if (this.#up) return { status: "healthy" };
    const { message } = unreachable(this.#reason, this.where, this.#config.connectTimeoutMs);
    return { status: "degraded", reason: `connecting anew: ${message}` };
  }

  /**
   * Connects.
   *
   * @throws {PatchbayError} `unavailable` with host, port and reason; `unauthenticated`.
   */
  async open(): Promise<void> {
    const config = this.#config;
    this.#options = {
      username: config.username,
      password: config.password,
      db: config.db,
      connectionName: `patchbay:${this.#context.identity.module}`,
      connectTimeout: config.connectTimeoutMs,
      lazyConnect: true,
      // Replies in the shapes of RESP2, whatever the server's version.
      protocol: 2,
      // What was sent when the connection broke is rejected: who sent it knows whether it may be
      // sent twice.
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: true,
      tls: config.tls ? await readTls("redis", this.where, config, Deno.readTextFile) : undefined,
      retryStrategy: (times) => this.#opening || this.#closing ? null : this.#pause(times),
    };
    this.#main = this.#make({ enableAutoPipelining: true });
    this.#subscriber = this.clustered ? this.#main : this.#make({});
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(undefined), config.connectTimeoutMs);
    });
    const both = [...new Set([this.#main, this.#subscriber])];
    try {
      await Promise.race([Promise.all(both.map((client) => this.#connect(client))), late]);
    } catch (error) {
      // The event tells more than the rejection, which only says that the connection is closed.
      const reason = this.#reason ?? error;
      await this.close();
      throw unreachable(reason, this.where, config.connectTimeoutMs);
    } finally {
      clearTimeout(timer);
    }
    this.#opening = false;
    this.#up = true;
    this.#context.statistics.connections = this.#all.size;
    if (this.clustered) {
      // A node that comes back may have forgotten what was registered on it.
      this.#main.on("+node", (node: Client) => node.once("ready", () => this.#nodeBack()));
    }
    for (const client of both) {
      client.on("close", () => this.#lost());
      client.on("ready", () => this.#restore());
    }
  }

  /**
   * A connection of one's own, for commands that block; give it back with {@link release}.
   *
   * @param signal Ends the wait for one.
   * @throws {PatchbayError} `overloaded`: all are taken.
   */
  async take(signal?: AbortSignal): Promise<Client> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#closing) throw this.#closed();
    if (this.#all.size >= this.#config.maxConnections) {
      await this.#turn(signal);
      return await this.take(signal);
    }
    const client = this.#make({});
    client.on("error", () => {});
    try {
      await client.connect();
    } catch (error) {
      // It goes on trying by itself, unless this is the end.
      if (this.#closing) throw this.#closed();
      if (isRefusal(error)) {
        this.#drop(client);
        throw translate(error, this.where, "connecting");
      }
    }
    this.#context.statistics.connections = this.#all.size;
    return client;
  }

  /**
   * Connections of one's own to every server that has keys (each primary of a cluster); give them
   * back with {@link discard}.
   *
   * @param each How many to each.
   * @throws {PatchbayError} `overloaded`: not so many are left.
   */
  async takeEverywhere(each: number): Promise<Client[][]> {
    const primaries = this.clustered ? (this.#main as unknown as Cluster).nodes("master") : [];
    const taken: Client[][] = [];
    try {
      for (let place = 0; place < Math.max(1, primaries.length); place++) {
        const here: Client[] = [];
        taken.push(here);
        while (here.length < each) {
          here.push(
            this.clustered ? await this.#takeAt(primaries[place].options) : await this.take(),
          );
        }
      }
      return taken;
    } catch (error) {
      for (const client of taken.flat()) this.discard(client);
      throw error;
    }
  }

  /** A connection to one node of a cluster. */
  async #takeAt({ host, port }: RedisOptions): Promise<Client> {
    if (this.#closing) throw this.#closed();
    if (this.#all.size >= this.#config.maxConnections) throw this.#full();
    const client = this.#kept(new Redis({ ...this.#options, host, port, db: undefined }));
    try {
      await client.connect();
    } catch (error) {
      this.#drop(client);
      throw translate(error, `${host}:${port}`, "connecting");
    }
    this.#context.statistics.connections = this.#all.size;
    return client;
  }

  /** Gives a connection back, to be used by somebody else. */
  release(client: Client): void {
    if (client.status !== "ready" || this.#closing) return this.discard(client);
    this.#idle.push(client);
    this.#waiting.shift()?.();
  }

  /** Gives a connection back that has something under way: it is closed. */
  discard(client: Client): void {
    this.#drop(client);
    this.#waiting.shift()?.();
  }

  /**
   * Resolves when a connection works again; at once if it does, or if the bay closes.
   *
   * @param client The connection.
   */
  async whenReady(client: Client): Promise<void> {
    const over = () => this.#closing || !this.#all.has(client) || client.status === "end";
    while (!over() && client.status !== "ready") {
      await new Promise<void>((resolve) => {
        const changed = () => {
          client.off("ready", changed);
          client.off("end", changed);
          resolve();
        };
        client.once("ready", changed);
        client.once("end", changed);
      });
    }
  }

  /** An error of a command, told as Patchbay's. */
  explain(error: unknown, doing: string): PatchbayError {
    return translate(error, this.where, doing);
  }

  /** Closes all. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#up = false;
    this.#wakeUp?.();
    for (const wake of this.#waiting.splice(0)) wake(this.#closed());
    const ends = [...this.#all].map((client) => this.#end(client));
    await Promise.all(ends);
    await this.#restoring?.catch(() => {});
    this.#all.clear();
    this.#context.statistics.connections = 0;
  }

  #pause(times: number): number {
    const { reconnectMinMs, reconnectMaxMs } = this.#config;
    return Math.random() * Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(times - 1, 30));
  }

  #make(more: RedisOptions): Client {
    const config = this.#config;
    const options = { ...this.#options, ...more };
    let client: Client;
    if (this.clustered) {
      const { retryStrategy, db: _db, ...redisOptions } = options;
      client = new Cluster(config.cluster.map((each) => readHostPort(each)!), {
        lazyConnect: true,
        enableAutoPipelining: more.enableAutoPipelining,
        // ioredis 6.0.0 misspells the first in its own list and lacks the others: in a pipeline they
        // would go to the wrong connection, and hold up all that come behind them.
        autoPipeliningIgnoredCommands: ["punsubscribe", "ssubscribe", "sunsubscribe"],
        shardedSubscribers: more.enableAutoPipelining === true,
        // A command that was under way when its node died is not sent twice.
        retryDelayOnFailover: 0,
        slotsRefreshTimeout: config.connectTimeoutMs,
        clusterRetryStrategy: retryStrategy as (times: number) => number | null,
        redisOptions,
      }) as unknown as Client;
      client.on("node error", (error: unknown) => this.#reason = error);
    } else if (config.sentinels.length > 0) {
      client = new Redis({
        ...options,
        sentinels: config.sentinels.map((each) => readHostPort(each)!),
        name: config.sentinelName,
        sentinelPassword: config.sentinelPassword,
        enableTLSForSentinelMode: config.tls,
        sentinelTLS: options.tls,
        sentinelRetryStrategy: (times) =>
          this.#opening || this.#closing ? null : this.#pause(times),
      });
    } else if (config.path !== undefined) client = new Redis({ ...options, path: config.path });
    else client = new Redis({ ...options, host: config.host, port: config.port });
    return this.#kept(client);
  }

  #kept(client: Client): Client {
    client.on("error", (error: unknown) => this.#reason = error);
    hardened(client);
    client.on("+node", hardened);
    this.#all.add(client);
    return client;
  }

  async #connect(client: Client): Promise<void> {
    await client.connect();
    // A database that is not there is told by an event alone.
    if (this.#reason !== undefined && isRefusal(this.#reason)) throw this.#reason;
  }

  #lost(): void {
    if (!this.#up || this.#closing) return;
    this.#up = false;
    this.#owner.lost(
      new PatchbayError("closed", `the connection to Redis at ${this.where} was lost`, {
        cause: this.#reason,
      }),
    );
  }

  #restore(): void {
    if (this.#restoring !== undefined || this.#up || this.#closing || !this.#both()) return;
    this.#restoring = this.#tellBack().finally(() => {
      this.#restoring = undefined;
      // It may have been lost and be there again meanwhile.
      this.#restore();
    });
  }

  async #tellBack(): Promise<void> {
    for (let times = 1; !this.#closing && this.#both(); times++) {
      try {
        // Behind it, the subscriptions are restored.
        await this.#subscriber.ping();
        await this.#owner.back();
        if (!this.#both()) return;
        this.#up = true;
        this.#reason = undefined;
        this.#context.statistics.reconnections++;
        this.#owner.resumed();
        return;
      } catch (error) {
        this.#reason = error;
        await this.#rest(this.#pause(times));
      }
    }
  }

  /** A pause that closing ends. */
  async #rest(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #nodeBack(): void {
    if (!this.#up || this.#closing || this.#restoring !== undefined) return;
    this.#restoring = this.#owner.back().catch(() => {
      // Another node is down: what is to be there is registered when it comes back, too.
    }).finally(() => {
      this.#restoring = undefined;
      this.#restore();
    });
  }

  #both(): boolean {
    return this.#main.status === "ready" && this.#subscriber.status === "ready";
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = (error?: PatchbayError) => error === undefined ? resolve() : reject(error);
    const full = () => waiter(this.#full());
    if (signal === undefined || signal.aborted) full();
    else {
      this.#waiting.push(waiter);
      signal.addEventListener("abort", full, { once: true });
    }
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", full);
      const index = this.#waiting.indexOf(waiter);
      if (index >= 0) this.#waiting.splice(index, 1);
    }
  }

  #full(): PatchbayError {
    return new PatchbayError(
      "overloaded",
      `redis: all ${this.#config.maxConnections} connections are taken`,
      { remedy: "raise config.redis.maxConnections, or use fewer at once" },
    );
  }

  #closed(): PatchbayError {
    return new PatchbayError("closed", "redis: the bay is closing", { retryable: false });
  }

  #drop(client: Client): void {
    this.#all.delete(client);
    const index = this.#idle.indexOf(client);
    if (index >= 0) this.#idle.splice(index, 1);
    void this.#end(client);
    this.#context.statistics.connections = this.#all.size;
  }

  async #end(client: Client): Promise<void> {
    const { status } = client;
    if (status === "end") return;
    // Between two attempts there is no connection whose end could be waited for.
    if (status === "reconnecting" || status === "close") {
      client.disconnect();
      // Nor does ioredis tell of one: who waits for the connection is told here.
      client.emit("end");
      return;
    }
    await new Promise<void>((resolve) => {
      client.once("end", () => resolve());
      client.disconnect();
    });
  }
}

/**
 * ioredis listens to a socket's first error only; a second one (a write on a connection that the
 * server has refused) would end the process.
 */
function hardened(client: Client): void {
  client.on("connect", () => {
    const { stream } = client as unknown as {
      stream?: { on(event: string, ear: () => void): void };
    };
    stream?.on("error", () => {});
  });
}

/** Whether commands can be sent on a connection now. */
export function isReady(client: Client): boolean {
  return client.status === "ready";
}

/** Commands that answer in bytes, and that ioredis has but does not declare. */
export interface InBytes {
  /** As EVAL. */
  evalBuffer(script: string, keys: number, ...args: string[]): Promise<unknown>;
  /** As XCLAIM. */
  xclaimBuffer(
    key: string,
    group: string,
    consumer: string,
    minIdleMs: number,
    ...ids: string[]
  ): Promise<unknown>;
}

/** The same connection, for commands that answer in bytes. */
export function inBytes(client: Client): InBytes {
  return client as unknown as InBytes;
}

/** Bytes as ioredis takes them, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
