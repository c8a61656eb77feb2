/**
 * What a session says to a client of `patchbay.json.v1`: its frames as messages.
 *
 * @module
 */

import { type Codec, json } from "../codec.ts";
import { PatchbayError, type WireError } from "../errors.ts";
import { decodeControl, Flag, Kind } from "../session/envelope.ts";
import type { Frame } from "../session/frame.ts";
import type { Outgoing } from "./json_reader.ts";
import type { JsonSpeakers } from "./json_speakers.ts";
import { jobText, OWN_IDS, toBase64 } from "./messages.ts";

/** What writing asks of the link. */
export interface WriterHost {
  /** What the client shouts. */
  readonly speakers: JsonSpeakers;
  /** The names of the codecs that were agreed on. */
  readonly codecs: readonly string[];
  /** A codec that was agreed on. */
  codecOf(name: string): Codec;
  /** Answers the session. */
  send(outgoing: Outgoing): void;
  /** Sends a message. */
  say(message: Record<string, unknown>): void;
  /** Sends a text. */
  write(text: string): void;
}

/** How a member begins that stands for a value which JSON has not. */
const ERROR = '"error":';
const decoder = new TextDecoder();

/** Writes a session's frames as messages. */
export class JsonWriter {
  readonly #host: WriterHost;
  readonly #routes: { readonly address: string; readonly origin: unknown }[] = [];

  /** @param host The link. */
  constructor(host: WriterHost) {
    this.#host = host;
  }

  /**
   * Tells the client what the session has sent.
   *
   * @param frame A frame; not hello-ack, goodbye, heartbeat or fragment.
   */
  tell(frame: Frame): void {
    const { kind, id, number } = frame;
    switch (kind) {
      case Kind.credit:
        return id === 0 ? undefined : this.#host.speakers.credited(id, number);
      case Kind.route: {
        const { address, origin } = decodeControl(frame.body());
        this.#routes[frame.route] = { address: String(address), origin };
        return;
      }
      case Kind.registerAck:
        return this.#registered(id, decodeControl(frame.body()));
      case Kind.presence:
        return this.#presence(id, decodeControl(frame.body()));
      case Kind.request:
      case Kind.send:
      case Kind.goal:
        return this.#asked(frame);
      case Kind.response:
        return this.#answered("response", frame);
      case Kind.result:
        return this.#answered("result", frame);
      case Kind.accepted:
        return this.#host.say({ type: "accepted", id });
      case Kind.feedback:
        return this.#feedback(frame);
      case Kind.event:
        return this.#heard(frame);
      case Kind.error:
        return this.#host.say({ type: "error", id, error: decodeControl(frame.body()) });
      case Kind.cancel:
        return this.#host.say({ type: "cancel", id });
      case Kind.subscribe:
        this.#host.send({ kind: Kind.subscribeAck, id });
        return this.#host.speakers.subscribe(id, decodeControl(frame.body()));
      case Kind.unsubscribe:
        return this.#host.speakers.unsubscribe(id);
      case Kind.subscribeAck:
        return this.#host.say({ type: "subscribe-ack", id });
      case Kind.cancelJob: {
        const { reason } = decodeControl(frame.body());
        const abandon = (frame.flags & Flag.abandon) !== 0;
        return this.#host.say({ type: "cancel-job", id, reason, abandon });
      }
      case Kind.attach:
        return this.#host.say({ type: "attach", id, job: jobText(frame.body()), after: number });
      case Kind.detach:
        return this.#host.say({ type: "detach", id });
    }
    throw new PatchbayError("internal", `frame kind ${kind} has no JSON form`);
  }

  #registered(id: number, { error }: { readonly error?: WireError }): void {
    this.#host.speakers.registered(
      id,
      error === undefined ? undefined : PatchbayError.fromWire(error),
    );
    if (id < OWN_IDS) this.#host.say({ type: "register-ack", id, error });
  }

  #presence(id: number, body: Record<string, unknown>): void {
    const { pattern, address, listeners, error } = body;
    // It asked to be told of changes, and is not.
    if (error !== undefined) return this.#host.say({ type: "error", id, error });
    if (pattern === "speaker" && typeof listeners === "number") {
      this.#host.speakers.counted(String(address), listeners);
    }
    this.#host.say({ type: "presence", id, ...body });
  }

  #asked(frame: Frame): void {
    const { kind, id, number, priority } = frame;
    const { address, origin } = this.#routes[frame.route];
    const limit = Number.isFinite(number) ? number : undefined;
    const head = { id, address, priority, headers: frame.headers(), peer: origin };
    if (kind !== Kind.goal) {
      const type = kind === Kind.send ? "send" : "request";
      return this.#sayWith({ type, ...head, remainingMs: limit }, this.#value(frame));
    }
    const job = jobText(frame.body().subarray(0, 16));
    this.#sayWith({ type: "goal", ...head, job, timeoutMs: limit }, this.#value(frame, 16));
  }

  #answered(type: string, frame: Frame): void {
    const { id } = frame;
    const value = this.#value(frame);
    this.#sayWith({ type: value.startsWith(ERROR) ? "error" : type, id }, value);
  }

  #feedback(frame: Frame): void {
    const { id, number: sequence } = frame;
    if ((frame.flags & Flag.progress) === 0) {
      return this.#sayWith({ type: "feedback", id, sequence }, this.#value(frame));
    }
    const fraction = Number(decoder.decode(frame.body()));
    this.#host.say({ type: "progress", id, sequence, fraction });
  }

  #heard(frame: Frame): void {
    const { id, number: sequence, priority } = frame;
    const { address, origin } = this.#routes[frame.route];
    const retained = (frame.flags & Flag.retained) !== 0 ? true : undefined;
    const headers = frame.headers();
    const head = {
      type: "event",
      id,
      address,
      sequence,
      retained,
      priority,
      headers,
      peer: origin,
    };
    this.#sayWith(head, this.#value(frame));
  }

  /**
   * The value of a frame as the last member of a message: `"value":…`, `"bytes":…`, or, where JSON
   * has nothing for it, `"error":…`.
   */
  #value(frame: Frame, skip = 0): string {
    const body = frame.body().subarray(skip);
    const name = this.#host.codecs[frame.codec];
    if (name === "raw") return `"bytes":"${toBase64(body)}"`;
    if (body.length === 0) return "";
    if (name === "json") return `"value":${decoder.decode(body)}`;
    try {
      const value = this.#host.codecOf(name).decode(body);
      return value instanceof Uint8Array
        ? `"bytes":"${toBase64(value)}"`
        : `"value":${decoder.decode(json.encode(value))}`;
    } catch (error) {
      // Bytes or a bigint inside an object, say.
      return `${ERROR}${JSON.stringify(PatchbayError.fromThrown(error).toWire())}`;
    }
  }

  /** Sends a message whose last member is JSON already. */
  #sayWith(message: Record<string, unknown>, value: string): void {
    const head = JSON.stringify(message);
    this.#host.write(value === "" ? head : `${head.slice(0, -1)},${value}}`);
  }
}
