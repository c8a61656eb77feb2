/**
 * Listeners: one event stream from each host that has, or may have, a matching speaker.
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
} from "@patchbay/core";
import { baseHeaders, type WayHost } from "./calls.ts";
import { decodeEvent } from "./events.ts";
import { addUserHeaders } from "./headers.ts";
import type { Host } from "./host.ts";
import { nameOf } from "./names.ts";
import { Reader, type Received } from "./readers.ts";

/** How streams are read. */
export interface ReadingOptions {
  /** How often the other side says that it lives, in milliseconds. */
  readonly eventPingMs: number;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause. */
  readonly reconnectMaxMs: number;
}

/** What listeners and jobs need of their transport. */
export interface StreamHost extends WayHost {
  /** How streams are read. */
  readonly reading: ReadingOptions;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
  /** A stream is being looked for, and why; `undefined`: it is there. */
  trouble(who: object, reason: string | undefined): void;
}

/** Codes after which nothing is tried again: it would be refused again. */
const FINAL: ReadonlySet<string> = new Set([
  "unauthenticated",
  "forbidden",
  "invalid",
  "overloaded",
]);

/** A listener and the streams it reads. */
export class Listening implements Registration {
  /** The listener. */
  readonly endpoint: ListenerEndpoint;
  readonly #host: StreamHost;
  readonly #streams = new Map<Host, Stream>();

  /**
   * @param endpoint The listener.
   * @param host The transport.
   */
  constructor(endpoint: ListenerEndpoint, host: StreamHost) {
    this.endpoint = endpoint;
    this.#host = host;
  }

  /** The hosts it reads from. */
  get hosts(): Iterable<Host> {
    return this.#streams.keys();
  }

  /**
   * Reads from a host, if it does not already; resolves when that has acknowledged, or is being
   * looked for.
   *
   * @param host The host.
   * @param module The module there; empty if it is no bay.
   * @throws {PatchbayError} It refuses.
   */
  async join(host: Host, module: string): Promise<void> {
    let stream = this.#streams.get(host);
    if (stream === undefined) {
      stream = new Stream(this.endpoint, host, module, this.#host);
      this.#streams.set(host, stream);
    }
    try {
      await stream.joined;
    } catch (error) {
      if (this.#streams.get(host) === stream) this.#streams.delete(host);
      throw error;
    }
  }

  /**
   * Reads no more from a host.
   *
   * @param host The host.
   */
  leave(host: Host): void {
    const stream = this.#streams.get(host);
    this.#streams.delete(host);
    void stream?.close();
  }

  /** Reads no more. Idempotent. */
  async close(): Promise<void> {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    await Promise.all(streams.map((stream) => stream.close()));
  }
}

/** One event stream that a listener reads. */
class Stream {
  readonly joined: Promise<void>;
  readonly #endpoint: ListenerEndpoint;
  readonly #host: StreamHost;
  readonly #source: ListenerSource;
  readonly #peer: Peer;
  readonly #reader: Reader;
  readonly #join: PromiseWithResolvers<void> = Promise.withResolvers();
  #acknowledged = false;
  /** For a foreign stream, which does not count its events. */
  #count = 0;

  constructor(endpoint: ListenerEndpoint, host: Host, module: string, transport: StreamHost) {
    this.#endpoint = endpoint;
    this.#host = transport;
    this.#source = endpoint.attach();
    this.#peer = { module, transport: "rest", local: module !== "" };
    this.joined = this.#join.promise;
    // listen() may have ended before.
    this.joined.catch(() => {});
    const foreign = module === "";
    const headers = baseHeaders(transport);
    let target = `/${endpoint.pattern}`;
    if (!endpoint.pattern.includes("*")) {
      const name = nameOf(endpoint.pattern, endpoint.native?.rest, transport.names);
      target = foreign ? name.path : target;
      if (name.headers !== undefined) addUserHeaders(name.headers, headers);
    }
    if (!foreign) {
      const { overflow, maxQueue, retained } = endpoint;
      const query = new URLSearchParams({ max_queue: String(Math.max(1024, maxQueue)) });
      // HTTP holds nobody back before its buffers are full: what a blocking listener cannot take
      // ends it, so that it never has a gap.
      query.set("overflow", overflow === "block" ? "fail" : overflow);
      if (retained) query.set("retained", "1");
      target += `?${query}`;
    }
    this.#reader = new Reader({
      host,
      target,
      headers,
      maxBytes: transport.bodies.maxBytes,
      silenceMs: transport.reading.eventPingMs * 3,
      reconnectMinMs: transport.reading.reconnectMinMs,
      reconnectMaxMs: transport.reading.reconnectMaxMs,
      onOpen: () => this.#opened(),
      onEvent: (event) => this.#received(event),
      onLost: (error) => this.#lost(error, host),
    });
  }

  async close(): Promise<void> {
    this.#host.trouble(this, undefined);
    this.#join.resolve();
    this.#source.close();
    await this.#reader.close();
  }

  #opened(): void {
    this.#acknowledged = true;
    this.#host.trouble(this, undefined);
    this.#join.resolve();
  }

  #received({ event, data, facts }: Received): void {
    const { statistics, pattern } = this.#endpoint;
    statistics.bytesIn += data.length;
    this.#host.statistics.messagesIn++;
    this.#host.statistics.bytesIn += data.length;
    let value: unknown;
    try {
      value = decodeEvent(data, facts, this.#host.bodies);
    } catch (error) {
      statistics.countDrop("undecodable");
      return this.#host.report(PatchbayError.fromThrown(error).with({ address: pattern }));
    }
    const context: EventContext = {
      address: facts?.address ?? (pattern.includes("*") ? event ?? pattern : pattern),
      sequence: facts?.sequence ?? ++this.#count,
      origin: facts?.origin ?? "",
      headers: facts?.headers,
      priority: facts?.priority ?? 128,
      retained: facts?.retained === true,
      peer: this.#peer,
    };
    this.#source.deliver(value, context);
  }

  #lost(error: PatchbayError | undefined, host: Host): boolean {
    const first = !this.#acknowledged;
    const final = error !== undefined && FINAL.has(error.code) ||
      (first && error?.code === "not_found");
    if (final && error !== undefined) {
      this.#host.trouble(this, undefined);
      this.#source.close();
      const known = error.with({ pattern: "speaker", address: this.#endpoint.pattern });
      if (error.code === "overloaded" && !first) this.#endpoint.fail(known);
      else if (first) this.#join.reject(known);
      else this.#host.report(known);
      return false;
    }
    this.#host.trouble(this, `reconnecting to ${host.base}: ${error?.message ?? "it ended"}`);
    this.#host.hostLost(host);
    // Who is not there now is joined when it is: it holds up nobody.
    this.#join.resolve();
    return true;
  }
}
