/**
 * Services over RTPS: one client, one server, each speaking to both implementations at once.
 *
 * It carries payloads; what is in them is its users' affair.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { EndpointData, Participant, Qos, Reader, Sample, Writer } from "../rtps/mod.ts";
import { VENDOR_ID } from "../rtps/mod.ts";
import { replyName, requestName } from "./names.ts";
import {
  conventionOf,
  idParameters,
  readIdInBody,
  readIdParameter,
  type RequestId,
  withIdInBody,
} from "./request_header.ts";

/** What both sides are made with. */
export interface ServiceOptions {
  /** The full name, such as `/add_two_ints`. */
  readonly name: string;
  /** The type of requests on the wire, such as `std_srvs::srv::dds_::SetBool_Request_`. */
  readonly requestType: string;
  /** The type of replies on the wire. */
  readonly responseType: string;
  /** Bytes that others are told of the endpoints, such as the hash of the type. */
  readonly userData?: string;
  /** Told of what fails and stops nobody. */
  readonly onReport: (error: unknown) => void;
}

/**
 * ROS 2's services profile, but that nothing is pushed out: which of the last ten is no concern of
 * readers, and a reply that is pushed out is a call that never ends.
 */
const QOS: Partial<Qos> = { reliability: "reliable", history: "keep_all" };
/** How many replies wait for clients whose readers are not known yet. */
const MAX_WAITING = 256;

const encode = (text: string | undefined): Uint8Array => new TextEncoder().encode(text ?? "");
const randomHex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0"))
    .join("");
/** `aa.bb.cc`, as rmw_cyclonedds tells which reader belongs to which writer. */
const dotted = (digits: string): string => (digits.match(/../g) ?? []).join(".");

function vendorOf(participant: Participant, endpoint: EndpointData): number {
  return participant.participant(endpoint.guid.slice(0, 24))?.vendor ?? VENDOR_ID;
}

/** Sends requests and finds the replies to them. */
export class ServiceClient implements Disposable {
  readonly #participant: Participant;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #client = randomHex(8);
  readonly #pending = new Map<string, (payload: Uint8Array) => void>();
  readonly #options: ServiceOptions;
  #number = 0n;
  #waiting: (() => void)[] = [];

  /**
   * Makes its endpoints.
   *
   * @param participant Where.
   * @param options Name and types.
   */
  constructor(participant: Participant, options: ServiceOptions) {
    this.#participant = participant;
    this.#options = options;
    // Sixteen bytes, of which the first eight go with each request.
    const clientId = `clientid=${dotted(this.#client + "00".repeat(8))};`;
    const userData = encode(`${clientId}${options.userData ?? ""}`);
    const onMatched = () => this.#met();
    this.#reader = participant.createReader({
      topic: replyName(options.name),
      type: options.responseType,
      qos: QOS,
      userData,
      onMatched,
      onSample: (sample) => this.#reply(sample),
    });
    this.#writer = participant.createWriter({
      topic: requestName(options.name),
      type: options.requestType,
      qos: QOS,
      userData,
      onMatched,
    });
  }

  #met(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** The servers that can be asked: those whose requests and replies are both matched. */
  get servers(): readonly EndpointData[] {
    const repliers = new Set(this.#reader.matched.map((each) => each.guid.slice(0, 24)));
    return this.#writer.matched.filter((each) => repliers.has(each.guid.slice(0, 24)));
  }

  /** Resolves when somebody can be asked; rejects with the signal's reason. */
  async untilServed(signal?: AbortSignal): Promise<void> {
    while (this.servers.length === 0) {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(resolve);
      await promise.finally(() => signal?.removeEventListener("abort", abort));
    }
  }

  /**
   * Asks every server, each in the way it understands; the first reply counts.
   *
   * @param payload The request.
   * @param signal Ends the waiting; the servers are not told, as ROS 2 has no word for it.
   * @throws {PatchbayError} `not_found` if nobody serves it.
   */
  async call(payload: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const { servers } = this;
    if (servers.length === 0) {
      throw new PatchbayError("not_found", `nobody serves ${this.#options.name}`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const keys: string[] = [];
    for (const server of servers) {
      const id: RequestId = { client: this.#client, number: ++this.#number };
      if (conventionOf(vendorOf(this.#participant, server)) === "body") {
        this.#writer.write(withIdInBody(payload, id), { only: server.guid });
        keys.push(key(id));
      } else {
        // The number is that of the sample, which is known only when it is written.
        const inline = idParameters({ client: this.#reader.data.guid, number: -1n << 32n });
        const sequence = this.#writer.write(payload, { only: server.guid, inline });
        keys.push(key({ client: this.#reader.data.guid, number: BigInt(sequence) }));
      }
      this.#pending.set(keys.at(-1) as string, resolve);
    }
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    return await promise.finally(() => {
      signal?.removeEventListener("abort", abort);
      for (const each of keys) this.#pending.delete(each);
    });
  }

  #reply(sample: Sample): void {
    if (sample.state !== "alive") return;
    let { payload } = sample;
    let id = readIdParameter(sample.inline);
    if (id === undefined) {
      // Others' replies come by here too: only those with a number of this client's count.
      if (conventionOf(vendorOf(this.#participant, sample.writer)) !== "body") return;
      ({ id, payload } = readIdInBody(payload));
    } else payload = payload.slice();
    this.#pending.get(key(id))?.(payload);
  }

  /** Ends it. Calls that are pending stay so until their signals end them. */
  close(): void {
    this.#writer.close();
    this.#reader.close();
    this.#met();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function key({ client, number }: RequestId): string {
  return `${client}:${number}`;
}

/** Answers a request; a rejection is reported, and the client waits on, as with ROS 2. */
export type ServiceHandler = (payload: Uint8Array) => Promise<Uint8Array> | Uint8Array;

/** Receives requests and answers each in the way in which it came. */
export class ServiceServer implements Disposable {
  readonly #participant: Participant;
  readonly #options: ServiceOptions;
  readonly #handler: ServiceHandler;
  readonly #writer: Writer;
  readonly #reader: Reader;
  /** Replies for readers that are not matched yet. */
  readonly #waiting: { to: string; send: () => void }[] = [];

  /**
   * Makes its endpoints.
   *
   * @param participant Where.
   * @param options Name and types.
   * @param handler Answers requests.
   */
  constructor(participant: Participant, options: ServiceOptions, handler: ServiceHandler) {
    this.#participant = participant;
    this.#options = options;
    this.#handler = handler;
    const userData = encode(`serviceid=${dotted(randomHex(16))};${options.userData ?? ""}`);
    this.#writer = participant.createWriter({
      topic: replyName(options.name),
      type: options.responseType,
      qos: QOS,
      userData,
      onMatched: () => this.#matched(),
    });
    this.#reader = participant.createReader({
      topic: requestName(options.name),
      type: options.requestType,
      qos: QOS,
      userData,
      onSample: (sample) => this.#request(sample),
    });
  }

  #request(sample: Sample): void {
    if (sample.state !== "alive") return;
    const { guid } = sample.writer;
    if (conventionOf(vendorOf(this.#participant, sample.writer)) === "body") {
      const { id, payload } = readIdInBody(sample.payload);
      // The id says which client it is, not which reader: all of its participant hear it.
      this.#answer(guid.slice(0, 24), payload, (reply, to) => {
        this.#writer.write(withIdInBody(reply, id), { only: to });
      });
      return;
    }
    // Who names no reader for replies is known by the writer of the request.
    const asked = readIdParameter(sample.inline)?.client;
    const named = asked !== undefined && !/^0+$/.test(asked);
    const client = named ? asked : guid;
    const inline = idParameters({ client, number: BigInt(sample.sequence) });
    this.#answer(named ? client : guid.slice(0, 24), sample.payload.slice(), (reply, to) => {
      this.#writer.write(reply, { only: to, inline });
    });
  }

  async #answer(
    to: string,
    request: Uint8Array,
    send: (reply: Uint8Array, to: string) => void,
  ): Promise<void> {
    try {
      const reply = await this.#handler(request);
      const prefix = to.slice(0, 24);
      const readers = this.#writer.matched.filter((each) => each.guid.startsWith(prefix));
      // A GUID that is nobody's is that of another entity of the same participant.
      const exact = readers.some((each) => each.guid === to) ? to : prefix;
      if (readers.length > 0) return send(reply, exact);
      // The request may be here before its client's reader is known.
      if (this.#waiting.length >= MAX_WAITING) {
        throw new PatchbayError("overloaded", `${MAX_WAITING} replies wait for their clients`);
      }
      this.#waiting.push({ to: prefix, send: () => send(reply, prefix) });
    } catch (error) {
      this.#options.onReport(error);
    }
  }

  #matched(): void {
    const prefixes = this.#writer.matched.map((each) => each.guid.slice(0, 24));
    for (const each of this.#waiting.splice(0)) {
      if (!prefixes.includes(each.to)) this.#waiting.push(each);
      else each.send();
    }
  }

  /** Ends it. */
  close(): void {
    this.#reader.close();
    this.#writer.close();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
