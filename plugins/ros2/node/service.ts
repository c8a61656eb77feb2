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

/** What endpoints are made with: a participant, or a node that keeps account of them. */
export type EndpointMaker = Pick<Participant, "createWriter" | "createReader" | "participant">;

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
  /** The policies, where they are not those of services. */
  readonly qos?: Partial<Qos>;
  /** Told of what fails and stops nobody. */
  readonly onReport: (error: unknown) => void;
  /** Told of a policy by which another's endpoint does not fit. */
  readonly onMismatch?: Parameters<Participant["createReader"]>[0]["onMismatch"];
}

/**
 * ROS 2's services profile, but that nothing is pushed out: which of the last ten is no concern of
 * readers, and a reply that is pushed out is a call that never ends.
 */
const QOS: Partial<Qos> = { reliability: "reliable", history: "keep_all" };

/** How many replies wait for clients whose readers are not known yet, and for one participant. */
const MAX_WAITING = 256;
const MAX_WAITING_EACH = 32;
/** How many bytes of them wait. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** How many requests are worked on at once, in all and of one participant. */
const MAX_OPEN = 4096;
const MAX_OPEN_EACH = 1024;
/** What is refused because of these limits is told as often as this, in milliseconds. */
const TOLD_MS = 10_000;
/**
 * For so long a reader that takes nothing may hold back what is written to others, in milliseconds:
 * longer than any healthy one is busy.
 */
const STALL_MS = 5000;

const encode = (text: string | undefined): Uint8Array => new TextEncoder().encode(text ?? "");

const randomHex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0"))
    .join("");

/** `aa.bb.cc`, as rmw_cyclonedds tells which reader belongs to which writer. */
const dotted = (digits: string): string => (digits.match(/../g) ?? []).join(".");

function vendorOf(maker: EndpointMaker, endpoint: EndpointData): number {
  return maker.participant(endpoint.guid.slice(0, 24))?.vendor ?? VENDOR_ID;
}

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
      qos: { ...QOS, ...options.qos },
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
      qos: { ...QOS, ...options.qos },
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

function stalled(name: string, what: string, samples: number): PatchbayError {
  return new PatchbayError("overloaded", `${name}: ${samples} ${what} were given up`, {
    details: { samples },
    remedy: `somebody has taken nothing for ${STALL_MS / 1000} s, and there was no room left`,
  });
}

function keyOf({ client, number }: RequestId): string {
  return `${client}:${number}`;
}

/** A request that has come. */
export interface Request {
  /** The client's writer. */
  readonly writer: EndpointData;
  /** The number by which the client knows it, unique together with the writer. */
  readonly number: string;
  /** The parameters that came with it. */
  readonly inline: ReadonlyMap<number, Uint8Array> | undefined;
}

/** What a request is answered with. */
export interface Answer {
  /** The reply. */
  readonly payload: Uint8Array;
  /** What goes with it, besides. */
  readonly parameters?: ReadonlyMap<number, Uint8Array>;
  /** Called when it was written. */
  readonly sent?: () => void;
}

/**
 * Answers a request; with `undefined` the client gets no reply. A rejection is reported, and the
 * client waits on, as with ROS 2.
 */
export type ServiceHandler = (
  payload: Uint8Array,
  request: Request,
) => Promise<Uint8Array | Answer | undefined> | Uint8Array | Answer | undefined;

interface WaitingReply {
  readonly to: string;
  readonly bytes: number;
  readonly send: () => void;
}

/** Receives requests and answers each in the way in which it came. */
export class ServiceServer implements Disposable {
  readonly #maker: EndpointMaker;
  readonly #options: ServiceOptions;
  readonly #handler: ServiceHandler;
  readonly #writer: Writer;
  readonly #reader: Reader;
  /** Replies for readers that are not matched yet. */
  readonly #waiting: WaitingReply[] = [];
  /** How many requests of each participant are worked on. */
  readonly #open = new Map<string, number>();
  #openInAll = 0;
  #refused = 0;
  #toldMs = -Infinity;

  /**
   * Makes its endpoints.
   *
   * @param maker Where.
   * @param options Name and types.
   * @param handler Answers requests.
   */
  constructor(maker: EndpointMaker, options: ServiceOptions, handler: ServiceHandler) {
    this.#maker = maker;
    this.#options = options;
    this.#handler = handler;
    const { onMismatch } = options;
    const userData = encode(`serviceid=${dotted(randomHex(16))};${options.userData ?? ""}`);
    this.#writer = maker.createWriter({
      topic: replyName(options.name),
      type: options.responseType,
      qos: { ...QOS, ...options.qos },
      userData,
      stallMs: STALL_MS,
      onOverwritten: (samples) => options.onReport(stalled(options.name, "replies", samples)),
      onMatched: () => this.#matched(),
      onMismatch,
    });
    this.#reader = maker.createReader({
      topic: requestName(options.name),
      type: options.requestType,
      qos: { ...QOS, ...options.qos },
      userData,
      onMismatch,
      onSample: (sample) => this.#request(sample),
    });
  }

  /** The reader of its requests. */
  get guid(): string {
    return this.#reader.data.guid;
  }

  #request(sample: Sample): void {
    if (sample.state !== "alive") return;
    const { writer, inline, sequence } = sample;
    const { guid } = writer;
    if (conventionOf(vendorOf(this.#maker, writer)) === "body") {
      const { id, payload } = readIdInBody(sample.payload);
      // The id says which client it is, not which reader: all of its participant hear it.
      const request = { writer, number: String(id.number), inline };
      this.#answer(guid.slice(0, 24), payload, request, ({ payload, parameters }, to) => {
        this.#writer.write(withIdInBody(payload, id), { only: to, inline: parameters });
      });
      return;
    }
    // Who names no reader for replies is known by the writer of the request.
    const asked = readIdParameter(inline)?.client;
    const named = asked !== undefined && !/^0+$/.test(asked);
    const client = named ? asked : guid;
    const to = named ? client : guid.slice(0, 24);
    const request = { writer, number: String(sequence), inline };
    this.#answer(to, sample.payload.slice(), request, ({ payload, parameters }, to) => {
      const id = idParameters({ client, number: BigInt(sequence) });
      for (const [pid, value] of parameters ?? []) id.set(pid, value);
      this.#writer.write(payload, { only: to, inline: id });
    });
  }

  #answer(
    to: string,
    payload: Uint8Array,
    request: Request,
    send: (reply: Answer, to: string) => void,
  ): void {
    const prefix = request.writer.guid.slice(0, 24);
    const open = this.#open.get(prefix) ?? 0;
    if (open >= MAX_OPEN_EACH || this.#openInAll >= MAX_OPEN) return this.#refuse(prefix, open);
    let answer;
    try {
      answer = this.#handler(payload, request);
    } catch (error) {
      return this.#options.onReport(error);
    }
    if (!(answer instanceof Promise)) return this.#send(to, answer, send);
    this.#open.set(prefix, open + 1);
    this.#openInAll++;
    const done = () => {
      this.#openInAll--;
      const left = (this.#open.get(prefix) as number) - 1;
      if (left === 0) this.#open.delete(prefix);
      else this.#open.set(prefix, left);
    };
    // A reply that is there already leaves in this turn: see the branch above.
    answer.then((reply) => {
      done();
      this.#send(to, reply, send);
    }, (error) => {
      done();
      this.#options.onReport(error);
    });
  }

  /** How many requests were passed over because too many were under way. */
  get refused(): number {
    return this.#refused;
  }

  /** ROS 2 has no word for it: the client gets no reply. */
  #refuse(prefix: string, open: number): void {
    this.#refused++;
    const now = performance.now();
    if (now < this.#toldMs + TOLD_MS) return;
    this.#toldMs = now;
    this.#options.onReport(
      new PatchbayError(
        "overloaded",
        `${this.#options.name}: a request of ${prefix} is passed over, as ${open} of it and ` +
          `${this.#openInAll} in all are under way`,
        {
          details: {
            participant: prefix,
            open,
            openInAll: this.#openInAll,
            refused: this.#refused,
          },
          remedy: "ask less at once, or answer sooner",
        },
      ),
    );
  }

  #send(
    to: string,
    answer: Uint8Array | Answer | undefined,
    send: (reply: Answer, to: string) => void,
  ): void {
    if (answer === undefined) return;
    const reply: Answer = answer instanceof Uint8Array ? { payload: answer } : answer;
    try {
      const prefix = to.slice(0, 24);
      const readers = this.#writer.matched.filter((each) => each.guid.startsWith(prefix));
      // A GUID that is nobody's is that of another entity of the same participant.
      const exact = readers.some((each) => each.guid === to) ? to : prefix;
      if (readers.length > 0) {
        send(reply, exact);
        return reply.sent?.();
      }
      // The request may be here before its client's reader is known.
      this.#waiting.push({
        to: prefix,
        bytes: reply.payload.length,
        send: () => {
          send(reply, prefix);
          reply.sent?.();
        },
      });
      this.#limitWaiting(prefix);
    } catch (error) {
      this.#options.onReport(error);
    }
  }

  /** Whoever lets many replies wait loses its own first. */
  #limitWaiting(prefix: string): void {
    const waiting = this.#waiting;
    const own = waiting.filter(({ to }) => to === prefix);
    const bytes = waiting.reduce((sum, each) => sum + each.bytes, 0);
    if (
      waiting.length <= MAX_WAITING && own.length <= MAX_WAITING_EACH && bytes <= MAX_WAITING_BYTES
    ) return;
    waiting.splice(waiting.indexOf(own.length > 1 ? own[0] : waiting[0]), 1);
    if (bytes > MAX_WAITING_BYTES && waiting.length > 0) this.#limitWaiting(prefix);
    const now = performance.now();
    if (now < this.#toldMs + TOLD_MS) return;
    this.#toldMs = now;
    throw new PatchbayError(
      "overloaded",
      `${this.#options.name}: a reply to ${prefix} was given up, as its client never came`,
      { details: { participant: prefix, waiting: waiting.length } },
    );
  }

  #matched(): void {
    // Clients that were there before are matched while the writer is being made.
    if (this.#waiting.length === 0) return;
    const prefixes = this.#writer.matched.map((each) => each.guid.slice(0, 24));
    for (const each of this.#waiting.splice(0)) {
      if (!prefixes.includes(each.to)) this.#waiting.push(each);
      else each.send();
    }
  }

  /** Resolves when all clients have the replies, or after a time. */
  async settled(timeoutMs: number): Promise<void> {
    await this.#writer.untilAcknowledged(timeoutMs);
  }

  /**
   * Resolves when a client is known and has the replies to it, or after a time.
   *
   * @param client Its participant's prefix.
   * @param timeoutMs How long to wait for either, in milliseconds.
   */
  async settledWith(client: string, timeoutMs: number): Promise<void> {
    if (await this.#writer.untilMatchedBy(client, timeoutMs)) {
      await this.#writer.untilAcknowledged(timeoutMs, client);
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
