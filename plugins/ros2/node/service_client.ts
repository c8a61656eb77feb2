/**
 * The client of a service over RTPS: asks each server in the way it understands.
 *
 * It carries payloads; what is in them is its users' affair.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { EndpointData, Reader, Sample, Writer } from "../rtps/mod.ts";
import { replyName, requestName } from "./names.ts";
import {
  conventionOf,
  idParameters,
  readIdInBody,
  readIdParameter,
  type RequestId,
  withIdInBody,
} from "./request_header.ts";
import {
  dotted,
  encode,
  type EndpointMaker,
  randomHex,
  SERVICE_QOS,
  type ServiceOptions,
  STALL_MS,
  stalled,
  vendorOf,
} from "./service.ts";

/** A reply that has come. */
export interface Reply {
  /** Its payload; the receiver's own. */
  readonly payload: Uint8Array;
  /** The parameters that came with it. */
  readonly inline: ReadonlyMap<number, Uint8Array> | undefined;
}

/** A request under way. */
export interface PendingRequest {
  /** How it is found again when the reply comes. */
  readonly key: string;
  /** Whom it went to: the server's reader. */
  readonly server: string;
}

interface Waiting {
  readonly server: string;
  readonly reply: (reply: Reply) => void;
  readonly gone: () => void;
}

/** What tells of a client's servers. */
export interface ServiceClientEvents {
  /** A server can be asked, or can no longer. */
  readonly onServers?: () => void;
}

/** Sends requests and finds the replies to them. */
export class ServiceClient implements Disposable {
  readonly #maker: EndpointMaker;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #client = randomHex(8);
  readonly #pending = new Map<string, Waiting>();
  readonly #options: ServiceOptions & ServiceClientEvents;
  /** The parameters of a request: who waits for the reply, and no number, as it is the sample's. */
  readonly #replyTo: ReadonlyMap<number, Uint8Array>;
  #number = 0n;
  #closed = false;
  #waiting: (() => void)[] = [];
  #servers: readonly EndpointData[] | undefined;

  /**
   * Makes its endpoints.
   *
   * @param maker Where.
   * @param options Name and types.
   */
  constructor(maker: EndpointMaker, options: ServiceOptions & ServiceClientEvents) {
    this.#maker = maker;
    this.#options = options;
    // Sixteen bytes, of which the first eight go with each request.
    const clientId = `clientid=${dotted(this.#client + "00".repeat(8))};`;
    const userData = encode(`${clientId}${options.userData ?? ""}`);
    const { onMismatch } = options;
    const onMatched = () => this.#met();
    this.#reader = maker.createReader({
      topic: replyName(options.name),
      type: options.responseType,
      qos: { ...SERVICE_QOS, ...options.qos },
      userData,
      onMatched,
      onUnmatched: () => this.#met(),
      onMismatch,
      onSample: (sample) => this.#reply(sample),
    });
    this.#replyTo = idParameters({ client: this.#reader.data.guid, number: -1n << 32n });
    this.#writer = maker.createWriter({
      topic: requestName(options.name),
      type: options.requestType,
      qos: { ...SERVICE_QOS, ...options.qos },
      userData,
      stallMs: STALL_MS,
      onOverwritten: (samples) => options.onReport(stalled(options.name, "requests", samples)),
      onMatched,
      onUnmatched: (server) => this.#lost(server),
      onMismatch,
    });
  }

  #met(): void {
    this.#servers = undefined;
    for (const wake of this.#waiting.splice(0)) wake();
    this.#options.onServers?.();
  }

  #lost(server: EndpointData): void {
    for (const [key, each] of [...this.#pending]) {
      if (each.server !== server.guid) continue;
      this.#pending.delete(key);
      each.gone();
    }
    this.#met();
  }

  /** The servers that can be asked: those whose requests and replies are both matched. */
  get servers(): readonly EndpointData[] {
    if (this.#servers !== undefined) return this.#servers;
    const repliers = new Set(this.#reader.matched.map((each) => each.guid.slice(0, 24)));
    return this.#servers = this.#writer.matched.filter((each) =>
      repliers.has(each.guid.slice(0, 24))
    );
  }

  /** Resolves when somebody can be asked; rejects with the signal's reason, or when it is closed. */
  async untilServed(signal?: AbortSignal): Promise<void> {
    while (this.servers.length === 0) {
      signal?.throwIfAborted();
      if (this.#closed) throw this.#isClosed();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(resolve);
      await promise.finally(() => signal?.removeEventListener("abort", abort));
    }
  }

  /**
   * Asks one server, in the way it understands.
   *
   * @param server Whom.
   * @param payload The request.
   * @param parameters What goes with it, besides.
   * @param reply Called when the reply comes, once at most.
   * @param gone Called instead when the server has gone.
   */
  ask(
    server: EndpointData,
    payload: Uint8Array,
    parameters: ReadonlyMap<number, Uint8Array> | undefined,
    reply: (reply: Reply) => void,
    gone: () => void,
  ): PendingRequest {
    const id: RequestId = { client: this.#client, number: ++this.#number };
    let key: string;
    if (conventionOf(vendorOf(this.#maker, server)) === "body") {
      this.#writer.write(withIdInBody(payload, id), { only: server.guid, inline: parameters });
      key = keyOf(id);
    } else {
      const inline = parameters === undefined
        ? this.#replyTo
        : new Map([...this.#replyTo, ...parameters]);
      const sequence = this.#writer.write(payload, { only: server.guid, inline });
      key = keyOf({ client: this.#reader.data.guid, number: BigInt(sequence) });
    }
    this.#pending.set(key, { server: server.guid, reply, gone });
    return { key, server: server.guid };
  }

  /**
   * Waits no longer for a reply.
   *
   * @param request Which.
   * @returns Whether it was waited for.
   */
  forget({ key }: PendingRequest): boolean {
    return this.#pending.delete(key);
  }

  /**
   * Writes to one server without waiting for a reply: for what only servers of our own understand.
   *
   * @param server The server's reader.
   * @param payload What is written.
   * @param parameters What goes with it.
   */
  tell(
    server: string,
    payload: Uint8Array,
    parameters: ReadonlyMap<number, Uint8Array>,
  ): void {
    this.#writer.write(payload, { only: server, inline: parameters });
  }

  /** The number by which our own servers know a request. */
  static numberOf({ key }: PendingRequest): string {
    return key.slice(key.indexOf(":") + 1);
  }

  /**
   * Asks every server, each in the way it understands; the first reply counts.
   *
   * @param payload The request.
   * @param signal Ends the waiting; the servers are not told, as ROS 2 has no word for it.
   * @throws {PatchbayError} `not_found` if nobody serves it; `closed` if all that were asked have
   * gone, or this client is closed.
   */
  async call(payload: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#isClosed();
    const { servers } = this;
    if (servers.length === 0) {
      throw new PatchbayError("not_found", `nobody serves ${this.#options.name}`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    let left = servers.length;
    const gone = () => {
      if (--left > 0) return;
      if (this.#closed) return reject(this.#isClosed());
      reject(new PatchbayError("closed", `the server of ${this.#options.name} is gone`));
    };
    const requests = servers.map((server) =>
      this.ask(server, payload, undefined, (reply) => resolve(reply.payload), gone)
    );
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    return await promise.finally(() => {
      signal?.removeEventListener("abort", abort);
      for (const each of requests) this.forget(each);
    });
  }

  #reply(sample: Sample): void {
    if (sample.state !== "alive") return;
    let { payload } = sample;
    const { inline } = sample;
    let id = readIdParameter(inline);
    if (id === undefined) {
      // Others' replies come by here too: only those with a number of this client's count.
      if (conventionOf(vendorOf(this.#maker, sample.writer)) !== "body") return;
      ({ id, payload } = readIdInBody(payload));
    } else payload = payload.slice();
    const key = keyOf(id);
    const waiting = this.#pending.get(key);
    // Numbers can be guessed: only who was asked answers.
    if (waiting?.server.slice(0, 24) !== sample.writer.guid.slice(0, 24)) return;
    this.#pending.delete(key);
    waiting?.reply({ payload, inline });
  }

  /** Resolves when all servers have what was written, or after a time. */
  async settled(timeoutMs: number): Promise<void> {
    await this.#writer.untilAcknowledged(timeoutMs);
  }

  #isClosed(): PatchbayError {
    return new PatchbayError("closed", `the client of ${this.#options.name} is closed`);
  }

  /** Ends it, and with it the calls that are pending. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer.close();
    this.#reader.close();
    for (const [key, { gone }] of [...this.#pending]) {
      this.#pending.delete(key);
      gone();
    }
    this.#met();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function keyOf({ client, number }: RequestId): string {
  return `${client}:${number}`;
}
