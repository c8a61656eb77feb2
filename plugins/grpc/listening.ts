/**
 * Listeners: one stream from each bay that has, or may have, a matching speaker.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type EventContext,
  type ListenerEndpoint,
  type ListenerSource,
  PatchbayError,
  type Peer,
  type Registration,
} from "@patchbay/core";
import { sizeOf } from "./bodies.ts";
import { baseMetadata, type WayHost } from "./calls_out.ts";
import { messages, numberOf, OVERFLOW, PATH } from "./messages.ts";
import { Reader } from "./reader.ts";
import { isLocal, readTarget } from "./targets.ts";

/** How lost streams are looked for. */
export interface Patience {
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause. */
  readonly reconnectMaxMs: number;
}

/** What listeners and jobs need of their transport. */
export interface StreamHost extends WayHost {
  /** How lost streams are looked for. */
  readonly patience: Patience;
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
  /** By URL. */
  readonly #streams = new Map<string, Stream>();

  /**
   * @param endpoint The listener.
   * @param host The transport.
   */
  constructor(endpoint: ListenerEndpoint, host: StreamHost) {
    this.endpoint = endpoint;
    this.#host = host;
  }

  /**
   * Reads from a place, if it does not already; resolves when that has acknowledged, or is being
   * looked for.
   *
   * @param url The place.
   * @param module The module there.
   * @throws {PatchbayError} It refuses.
   */
  async join(url: string, module: string): Promise<void> {
    let stream = this.#streams.get(url);
    if (stream === undefined) {
      stream = new Stream(this.endpoint, url, module, this.#host);
      this.#streams.set(url, stream);
    }
    try {
      await stream.joined;
    } catch (error) {
      if (this.#streams.get(url) === stream) this.#streams.delete(url);
      throw error;
    }
  }

  /** Reads no more from a place. */
  leave(url: string): void {
    const stream = this.#streams.get(url);
    this.#streams.delete(url);
    stream?.close();
  }

  /** Reads no more. Idempotent. */
  close(): Promise<void> {
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
    return Promise.resolve();
  }
}

/** One stream that a listener reads. */
class Stream {
  readonly joined: Promise<void>;
  readonly #endpoint: ListenerEndpoint;
  readonly #host: StreamHost;
  readonly #url: string;
  readonly #source: ListenerSource;
  readonly #peer: Peer;
  readonly #reader: Reader;
  readonly #join: PromiseWithResolvers<void> = Promise.withResolvers();
  #acknowledged = false;
  #consumed = 0;

  constructor(endpoint: ListenerEndpoint, url: string, module: string, host: StreamHost) {
    this.#endpoint = endpoint;
    this.#host = host;
    this.#url = url;
    this.#source = endpoint.attach();
    this.#peer = { module, transport: "grpc", local: isLocal(readTarget(url)) };
    this.joined = this.#join.promise;
    // listen() may have ended before.
    this.joined.catch(() => {});
    if (endpoint.overflow === "block") this.#source.onConsumed = (count) => this.#grant(count);
    this.#reader = new Reader({
      channel: () => host.channelTo(url),
      where: url,
      path: `${PATH}Listen`,
      metadata: () => baseMetadata(host),
      ...host.patience,
      first: () => this.#request(),
      onOpen: () => this.#opened(),
      onMessage: (bytes) => this.#received(bytes),
      onLost: (error) => this.#lost(error),
    });
  }

  close(): void {
    this.#host.trouble(this, undefined);
    this.#join.resolve();
    this.#source.close();
    this.#reader.stop();
  }

  #request(): Buffer {
    const { pattern, retained, overflow, maxQueue } = this.#endpoint;
    this.#consumed = 0;
    return messages().listenRequest.encode({
      pattern,
      retained,
      overflow: OVERFLOW[overflow],
      // Dropping is this side's business; the other's queue is only for what the wire cannot take.
      maxQueue: overflow === "block" ? maxQueue : Math.max(1024, maxQueue),
      // What waits here from before the connection was lost has its place already.
      credit: overflow === "block" ? Math.max(0, maxQueue - this.#source.waiting) : 0,
    });
  }

  /** So many have left the queue: as many more may come. */
  #grant(count: number): void {
    this.#consumed += count;
    const { maxQueue } = this.#endpoint;
    if (this.#consumed < Math.max(1, Math.min(64, maxQueue / 4))) return;
    const credit = this.#consumed;
    this.#consumed = 0;
    this.#reader.send(messages().listenRequest.encode({ credit }));
  }

  #opened(): void {
    this.#acknowledged = true;
    this.#host.trouble(this, undefined);
    this.#join.resolve();
  }

  #received(bytes: Buffer): void {
    const { statistics, pattern } = this.#endpoint;
    const { statistics: transport, bodies } = this.#host;
    transport.messagesIn++;
    transport.bytesIn += bytes.length;
    let value: unknown;
    let context: EventContext;
    try {
      const event = messages().event.decode(bytes);
      statistics.bytesIn += sizeOf(event);
      value = bodies.decode(event);
      context = {
        address: event.address || pattern,
        sequence: numberOf(event.sequence),
        origin: event.origin,
        headers: event.headers !== undefined && Object.keys(event.headers).length > 0
          ? event.headers
          : undefined,
        priority: event.priority ?? 128,
        retained: event.retained === true,
        peer: this.#peer,
      };
    } catch (error) {
      statistics.countDrop("undecodable");
      if (this.#endpoint.overflow === "block") this.#grant(1);
      return this.#host.report(PatchbayError.fromThrown(error).with({ address: pattern }));
    }
    this.#source.deliver(value, context);
  }

  #lost(error: PatchbayError | undefined): boolean {
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
    const why = error?.message ?? "it ended";
    this.#host.trouble(this, `reconnecting to ${this.#url}: ${why}`);
    this.#host.lost();
    // Who is not there now is joined when it is: it holds up nobody.
    this.#join.resolve();
    return true;
  }
}
