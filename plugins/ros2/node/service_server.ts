/**
 * The server of a service over RTPS: answers each request in the way in which it came.
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
      qos: { ...SERVICE_QOS, ...options.qos },
      userData,
      stallMs: STALL_MS,
      onOverwritten: (samples) => options.onReport(stalled(options.name, "replies", samples)),
      onMatched: () => this.#matched(),
      onMismatch,
    });
    this.#reader = maker.createReader({
      topic: requestName(options.name),
      type: options.requestType,
      qos: { ...SERVICE_QOS, ...options.qos },
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
