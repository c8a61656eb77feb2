/**
 * What a client of `patchbay.json.v1` says, as frames for the session.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import { encodeControl, Flag, Kind } from "../session/envelope.ts";
import type { JsonSpeakers } from "./json_speakers.ts";
import {
  CALL_MS,
  type Content,
  JOB_MS,
  jobBytes,
  jobText,
  type Message,
  readAddress,
  readContent,
  readCount,
  readHeaders,
  readId,
  readJob,
  readMs,
  readPriority,
  readText,
  readTheirId,
  tooLarge,
} from "./messages.ts";

/** A frame that a message becomes. */
export interface Outgoing {
  /** What it is. */
  readonly kind: number;
  /** Of the request, subscription or job. */
  readonly id?: number;
  /** Bits. */
  readonly flags?: number;
  /** 0–255. */
  readonly priority?: number;
  /** The number of its address. */
  readonly route?: number;
  /** Remaining ms, sequence or credit, by kind. */
  readonly number?: number;
  /** Sent along. */
  readonly headers?: Record<string, string>;
  /** Goes before the value. */
  readonly prefix?: Uint8Array;
  /** The value. */
  readonly content?: Content;
  /** The body of a control frame. */
  readonly body?: Uint8Array;
}

/** What reading asks of the link. */
export interface ReaderHost {
  /** The largest value, in bytes. */
  readonly maxBytes: number;
  /** What the client shouts. */
  readonly speakers: JsonSpeakers;
  /** Hands a frame to the session. */
  send(outgoing: Outgoing): void;
  /** The number of an address. */
  route(address: string): number;
}

/** Reads a client's messages. */
export class JsonReader {
  readonly #host: ReaderHost;

  /** @param host The link. */
  constructor(host: ReaderHost) {
    this.#host = host;
  }

  /**
   * Does what a message says.
   *
   * @param message The message.
   * @throws {PatchbayError} What is wrong in it.
   */
  read(message: Message): void {
    switch (message.type) {
      case "request":
        return this.#begin(Kind.request, readId(message), readMs(message, CALL_MS), message);
      case "send":
        return this.#begin(Kind.send, 0, readMs(message, CALL_MS), message);
      case "cancel":
        return this.#host.send({ kind: Kind.cancel, id: readId(message) });
      case "subscribe":
        return this.#subscribe(message);
      case "unsubscribe":
        return this.#host.send({ kind: Kind.unsubscribe, id: readId(message) });
      case "credit":
        return this.#host.send({
          kind: Kind.credit,
          id: readId(message),
          number: readCount(message, "count"),
        });
      case "shout":
        return this.#shout(message);
      case "goal": {
        const job = readJob(message) ?? jobText(crypto.getRandomValues(new Uint8Array(16)));
        const id = readId(message);
        const ms = readMs(message, JOB_MS);
        return this.#begin(Kind.goal, id, ms, message, jobBytes(job));
      }
      case "attach":
        return this.#attach(message);
      case "cancel-job":
        return this.#host.send({
          kind: Kind.cancelJob,
          id: readId(message),
          flags: message.abandon === true ? Flag.abandon : 0,
          body: encodeControl({ reason: readText(message, "reason")?.slice(0, 2048) }),
        });
      case "register":
        return this.#register(message);
      case "unregister":
        return this.#unregister(message);
      case "find": {
        const { pattern } = message;
        const body = encodeControl({ pattern, address: readAddress(message) });
        return this.#host.send({ kind: Kind.find, id: readId(message), body });
      }
      case "response":
        return this.#answer(Kind.response, message);
      case "accepted":
        return this.#host.send({ kind: Kind.accepted, id: readTheirId(message) });
      case "feedback":
        return this.#answer(Kind.feedback, message, readCount(message, "sequence"));
      case "progress":
        return this.#host.send({
          kind: Kind.feedback,
          id: readTheirId(message),
          flags: Flag.progress,
          number: readCount(message, "sequence"),
          content: { codec: "json", body: encodeControl(message.fraction ?? 0) },
        });
      case "result":
        return this.#answer(Kind.result, message);
      case "error":
        return this.#host.send({
          kind: Kind.error,
          id: readTheirId(message),
          body: encodeControl(message.error ?? {}),
        });
      case "heartbeat":
        return this.#host.send({ kind: Kind.heartbeat });
      case "goodbye": {
        const error = message.error ?? { code: "closed", message: "the client said goodbye" };
        return this.#host.send({ kind: Kind.goodbye, body: encodeControl(error) });
      }
      case "hello":
        throw new PatchbayError("protocol", "a second hello");
      default:
        throw new PatchbayError("protocol", `there is no message of type ${message.type}`);
    }
  }

  #begin(kind: number, id: number, number: number, message: Message, prefix?: Uint8Array): void {
    const content = this.#content(message);
    const headers = readHeaders(message);
    const priority = readPriority(message);
    const route = this.#host.route(readAddress(message));
    this.#host.send({ kind, id, number, prefix, content, headers, priority, route });
  }

  #attach(message: Message): void {
    const job = readJob(message);
    if (job === undefined) throw new PatchbayError("invalid", "attach.job is missing");
    this.#host.send({
      kind: Kind.attach,
      id: readId(message),
      number: readCount(message, "after"),
      route: this.#host.route(readAddress(message)),
      body: jobBytes(job),
    });
  }

  #subscribe(message: Message): void {
    const { pattern, overflow = "drop_oldest", maxQueue = 1024, retained = false } = message;
    const terms = { pattern, overflow, maxQueue, retained };
    const good = typeof pattern === "string" && typeof overflow === "string" &&
      ["block", "drop_oldest", "drop_newest", "fail"].includes(overflow) &&
      typeof maxQueue === "number" && maxQueue >= 1 && maxQueue <= 1_000_000;
    if (!good) {
      throw new PatchbayError("invalid", "a subscription lacks its pattern, or has a wrong field");
    }
    this.#host.send({ kind: Kind.subscribe, id: readId(message), body: encodeControl(terms) });
  }

  #shout(message: Message): void {
    const shout = {
      address: readAddress(message),
      content: this.#content(message),
      headers: readHeaders(message),
      priority: readPriority(message),
      id: message.id === undefined ? undefined : readId(message),
    };
    this.#host.speakers.shout(shout, message.retain === true);
  }

  #register(message: Message): void {
    const id = readId(message);
    const { pattern } = message;
    const address = readAddress(message);
    const shared = message.shared === true;
    const retain = message.retain === true;
    if (pattern === "speaker") this.#host.speakers.offer(id, address, retain);
    else if (pattern === "callable" || pattern === "job") {
      this.#host.send({
        kind: Kind.register,
        id,
        body: encodeControl({ pattern, address, shared }),
      });
    } else throw new PatchbayError("invalid", "register.pattern must be callable, speaker or job");
  }

  #unregister(message: Message): void {
    const { pattern } = message;
    const id = readId(message);
    if (pattern === "speaker") this.#host.speakers.withdraw(id);
    const body = encodeControl({ pattern, address: readAddress(message) });
    this.#host.send({ kind: Kind.unregister, id, body });
  }

  /** An answer that is too large is its own failure: the asker is told. */
  #answer(kind: number, message: Message, number = 0): void {
    const id = readTheirId(message);
    let content: Content;
    try {
      content = this.#content(message);
    } catch (error) {
      if (kind === Kind.feedback) throw error;
      const body = encodeControl(PatchbayError.fromThrown(error).toWire());
      return this.#host.send({ kind: Kind.error, id, body });
    }
    this.#host.send({ kind, id, number, content });
  }

  #content(message: Message): Content {
    const content = readContent(message);
    const size = content.body.length;
    if (size > this.#host.maxBytes) throw tooLarge(size, this.#host.maxBytes);
    return content;
  }
}
