/**
 * The JSON form of the session: makes a channel of texts into a link of frames, so that a client
 * without our library is a client like any other. See `docs/json_protocol.md`.
 *
 * @module
 */

import { checkAddress } from "../address.ts";
import type { CodecTable } from "../codec.ts";
import { PatchbayError } from "../errors.ts";
import type { Link, LinkHandler } from "../link.ts";
import {
  decodeControl,
  encodeControl,
  encodeHeaders,
  encodeHello,
  Flag,
  HEADER_BYTES,
  Kind,
  MAX_FRAME_BYTES,
  VERSIONS,
  writeHeader,
} from "../session/envelope.ts";
import { Reassembly } from "../session/fragments.ts";
import { Frame } from "../session/frame.ts";
import { LARGEST_WHOLE } from "../session/outbox.ts";
import { RESUME } from "../topology/hub_claims.ts";
import { JsonReader, type Outgoing } from "./json_reader.ts";
import { JsonSpeakers, type SpokenEvent } from "./json_speakers.ts";
import { JsonWriter } from "./json_writer.ts";
import {
  jobText,
  type Message,
  NOTHING,
  OWN_IDS,
  readMessage,
  readText,
  tooLarge,
} from "./messages.ts";
import type { TextChannel, TextHandler } from "./text_channel.ts";

/** What a {@link JsonLink} is made with. */
export interface JsonLinkOptions {
  /** The codecs of the bay: what other bays send is told in JSON. */
  readonly codecs: CodecTable;
  /** The largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** The most bytes of the client's shouts that wait for listeners. */
  readonly maxQueueBytes: number;
}

/** A window that is never full: the texts that wait are what holds the session back. */
const WINDOW_BYTES = Number.MAX_SAFE_INTEGER;
/** So many messages may come before the hello was answered. */
const MAX_EARLY = 1024;
/** So long they may be in all, in UTF-16 code units. */
const MAX_EARLY_LENGTH = 128 * 1024;
/** What a message may have besides its value, in UTF-16 code units. */
const HEAD_LENGTH = 64 * 1024;
/** The most addresses of one client. */
const MAX_ROUTES = 65_536;

/** A channel of texts as a link. */
export class JsonLink implements Link, TextHandler {
  /** As {@link Link.local}. */
  readonly local: boolean;
  /** As {@link Link.identity}. */
  readonly identity: string | undefined;
  /** As {@link Link.detectsClose}. */
  readonly detectsClose: boolean;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  /** As {@link Link.comesWhole}: a text is a message. */
  readonly comesWhole = true;
  /** As {@link Link.buffer}. */
  readonly buffer: Uint8Array;
  /** As {@link Link.view}. */
  readonly view: DataView;
  readonly #channel: TextChannel;
  readonly #options: JsonLinkOptions;
  readonly #frame = new Frame();
  readonly #reassembly: Reassembly;
  readonly #reader: JsonReader;
  readonly #writer: JsonWriter;
  readonly #routesOut = new Map<string, number>();
  /** Frames that the session's own have caused: it is not told in the middle of its work. */
  readonly #pending: Uint8Array[] = [];
  #handler: LinkHandler | undefined;
  #bayId = "";
  /** What the client shows when it comes back; made up with the id if that is. */
  #resume: string | undefined;
  /** The names of the codecs that were agreed on; empty before the hello-ack. */
  #codecs: readonly string[] = [];
  #maxBytes: number;
  #greeted = false;
  #early: Message[] = [];
  #earlyLength = 0;
  /** Whether the session is being told something. */
  #busy = false;
  #farewell: PatchbayError | undefined;
  #closed = false;

  /**
   * Takes over a channel.
   *
   * @param channel The channel; the link owns it.
   * @param options Everything else.
   * @param buffer Where frames are written before they become texts; several links may share it.
   */
  constructor(
    channel: TextChannel,
    options: JsonLinkOptions,
    buffer: Uint8Array<ArrayBuffer> = new Uint8Array(2 * MAX_FRAME_BYTES),
  ) {
    this.#channel = channel;
    this.#options = options;
    this.local = channel.local;
    this.identity = channel.identity;
    this.detectsClose = channel.detectsClose;
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#maxBytes = options.maxMessageBytes;
    this.#reassembly = new Reassembly(options.maxMessageBytes + LARGEST_WHOLE);
    const speakers = new JsonSpeakers({
      maxQueueBytes: options.maxQueueBytes,
      event: (event) => this.#event(event),
      register: (id, offer) => this.#later({ kind: Kind.register, id, body: encodeControl(offer) }),
      taken: (id, listeners) => this.#say({ type: "shout-ack", id, listeners }),
      refused: (id = 0, address, error) => {
        this.#say({ type: "error", id, address, error: error.toWire() });
      },
    }, OWN_IDS);
    const maxBytes = () => this.#maxBytes;
    this.#reader = new JsonReader({
      get maxBytes() {
        return maxBytes();
      },
      speakers,
      send: (outgoing) => this.#send(outgoing),
      route: (address) => this.#route(address),
    });
    const names = () => this.#codecs;
    this.#writer = new JsonWriter({
      speakers,
      get codecs() {
        return names();
      },
      codecOf: (name) => options.codecs.get(name),
      send: (outgoing) => this.#later(outgoing),
      say: (message) => this.#say(message),
      write: (text) => this.#write(text),
    });
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    return this.#channel.buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    this.#channel.start(this);
  }

  /** As {@link Link.claim}. */
  claim(_bytes: number): number {
    return 0;
  }

  /** As {@link Link.commit}: what the session sends becomes a text. */
  commit(bytes: number): void {
    if (this.#closed) return;
    const frame = this.#frame;
    frame.read(this.buffer, 0, bytes);
    try {
      this.#tell(frame);
    } catch (error) {
      this.malformed(PatchbayError.fromThrown(error));
    }
  }

  /** As {@link Link.flush}. */
  flush(): void {}

  /** As {@link Link.close}. */
  close(abrupt?: boolean): Promise<void> {
    return this.#channel.close(abrupt, this.#farewell);
  }

  // ----- what the channel tells -----

  /** As {@link TextHandler.text}. */
  text(text: string): void {
    if (this.#closed) return;
    this.#flushPending();
    this.#read(text);
    // This side's own answers become no frames: the session has to look what they have come to.
    if (!this.#closed && this.#channel.buffered > 0) this.#handler?.batchEnd();
  }

  #read(text: string): void {
    // Each UTF-16 code unit is a byte of JSON at least.
    const { maxMessageBytes } = this.#options;
    const maxLength = this.#greeted ? maxMessageBytes * 2 + HEAD_LENGTH : HEAD_LENGTH;
    if (text.length > maxLength) {
      return this.malformed(
        this.#greeted ? tooLarge(text.length, maxMessageBytes) : new PatchbayError(
          "too_large",
          `the hello has ${text.length} characters, the limit is ${HEAD_LENGTH}`,
        ),
      );
    }
    let message: Message;
    try {
      message = readMessage(text);
    } catch (error) {
      return this.malformed(PatchbayError.fromThrown(error));
    }
    if (!this.#greeted) {
      this.#greeted = true;
      return this.#refusing(message, () => this.#hello(message));
    }
    if (this.#codecs.length > 0) return this.#take(message);
    this.#earlyLength += text.length;
    if (this.#early.push(message) <= MAX_EARLY && this.#earlyLength <= MAX_EARLY_LENGTH) return;
    this.malformed(new PatchbayError("protocol", "too much came before the hello-ack"));
  }

  /** As {@link TextHandler.drained}. */
  drained(): void {
    this.#handler?.drained();
  }

  /** As {@link TextHandler.malformed}. */
  malformed(error: PatchbayError): void {
    this.#handler?.malformed(error);
  }

  /** As {@link TextHandler.closed}. */
  closed(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#early = [];
    this.#handler?.closed(error);
  }

  // ----- from the client -----

  #hello(message: Message): void {
    if (message.type !== "hello") {
      throw new PatchbayError("protocol", `the first message is ${message.type}, not hello`);
    }
    const module = readText(message, "module") ?? "json_client";
    const { versions = VERSIONS, id, maxMessageBytes } = message;
    this.#resume = readText(message, "resume");
    if (typeof id === "string" && /^[0-9a-f]{16}$/.test(id)) this.#bayId = id;
    else {
      this.#bayId = jobText(crypto.getRandomValues(new Uint8Array(8)));
      this.#resume ??= jobText(crypto.getRandomValues(new Uint8Array(16)));
    }
    const body = encodeHello({
      versions: versions as readonly [number, number],
      bay: { id: this.#bayId, module, instance: readText(message, "instance") ?? module },
      codecs: ["json", ...this.#options.codecs.names.filter((name) => name !== "json")],
      compression: [],
      maxMessageBytes: typeof maxMessageBytes === "number"
        ? maxMessageBytes
        : this.#options.maxMessageBytes,
      windowBytes: WINDOW_BYTES,
      capabilities: ["callable", "speaker", "job"],
      metadata: this.#resume === undefined ? {} : { [RESUME]: this.#resume },
      credentials: readText(message, "credentials"),
    });
    this.#send({ kind: Kind.hello, body });
  }

  /** Does what a message says; what is wrong in it is told under its id, or ends the connection. */
  #take(message: Message): void {
    this.#refusing(message, () => this.#reader.read(message));
  }

  #refusing(message: Message, step: () => void): void {
    try {
      step();
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      const { id, type } = message;
      const answerable = BEGINNINGS.has(type) && Number.isInteger(id) && (id as number) > 0;
      if (!answerable || known.code === "protocol") return this.malformed(known);
      this.#say({ type: "error", id, error: known.toWire() });
    }
  }

  #event(event: SpokenEvent): void {
    const { subscription, sequence, headers, priority, content, retained, address } = event;
    this.#later({
      kind: Kind.event,
      id: subscription,
      number: sequence,
      flags: retained ? Flag.retained : 0,
      route: this.#route(address),
      headers,
      priority,
      content,
    });
  }

  #route(address: string): number {
    let route = this.#routesOut.get(address);
    if (route === undefined) {
      route = this.#routesOut.size;
      if (route >= MAX_ROUTES) {
        throw new PatchbayError("overloaded", `over ${MAX_ROUTES} addresses on one connection`);
      }
      this.#routesOut.set(checkAddress(address), route);
      this.#later({ kind: Kind.route, route, body: encodeControl({ address }) });
    }
    return route;
  }

  #send(outgoing: Outgoing): void {
    this.#later(outgoing);
    this.#flushPending();
  }

  #later(outgoing: Outgoing): void {
    const { kind, id = 0, flags = 0, priority = 128, route = 0, number = 0, content } = outgoing;
    const block = outgoing.headers === undefined ? undefined : encodeHeaders(outgoing.headers);
    const prefixBytes = outgoing.prefix?.length ?? 0;
    const body = content?.body ?? outgoing.body ?? NOTHING.body;
    const codec = content === undefined ? 0 : this.#codecs.indexOf(content.codec);
    const bodyAt = HEADER_BYTES + (block?.length ?? 0) + prefixBytes;
    const frame = new Uint8Array(bodyAt + body.length);
    const view = new DataView(frame.buffer);
    writeHeader(view, 0, kind, flags, codec, priority, block?.length ?? 0, id, route, number);
    if (block !== undefined) frame.set(block, HEADER_BYTES);
    if (outgoing.prefix !== undefined) frame.set(outgoing.prefix, bodyAt - prefixBytes);
    frame.set(body, bodyAt);
    if (this.#pending.push(frame) === 1) queueMicrotask(() => this.#flushPending());
  }

  /** Hands over what has become frames, unless the session is in the middle of one. */
  #flushPending(): void {
    if (this.#busy || this.#pending.length === 0) return;
    this.#busy = true;
    for (let frame = this.#pending.shift(); frame !== undefined; frame = this.#pending.shift()) {
      if (!this.#closed) this.#handler?.frame(frame, 0, frame.length);
    }
    this.#busy = false;
    if (!this.#closed) this.#handler?.batchEnd();
  }

  // ----- to the client -----

  #say(message: Record<string, unknown>): void {
    this.#write(JSON.stringify(message));
  }

  #write(text: string): void {
    if (!this.#closed) this.#channel.send(text);
  }

  #tell(frame: Frame): void {
    switch (frame.kind) {
      case Kind.helloAck:
        return this.#acknowledged(frame.body());
      case Kind.goodbye: {
        const error = decodeControl(frame.body());
        this.#farewell = PatchbayError.fromWire(error);
        return this.#say({ type: "goodbye", error });
      }
      case Kind.heartbeat:
        // Where the wire itself looks after the peer, a client of twenty lines need not.
        if (!this.#channel.detectsClose) return this.#say({ type: "heartbeat" });
        return this.#later({ kind: Kind.heartbeat });
      case Kind.fragment: {
        const last = (frame.flags & Flag.last) !== 0;
        const whole = this.#reassembly.add(frame.id, frame.body(), last);
        if (whole === undefined) return;
        frame.read(whole, 0, whole.length);
        return this.#tell(frame);
      }
      default:
        this.#writer.tell(frame);
    }
  }

  #acknowledged(body: Uint8Array): void {
    // Behind the magic.
    const ack = decodeControl(body.subarray(4));
    const { version, bay, codecs, maxMessageBytes } = ack;
    this.#codecs = codecs as string[];
    this.#maxBytes = Math.min(this.#maxBytes, maxMessageBytes as number);
    this.#channel.admitted?.();
    const [id, resume] = [this.#bayId, this.#resume];
    this.#say({ type: "hello-ack", version, bay, id, resume, maxMessageBytes });
    queueMicrotask(() => {
      for (const message of this.#early) if (!this.#closed) this.#take(message);
      this.#early = [];
    });
  }
}

/** Messages whose failure is told under their id. */
const BEGINNINGS: ReadonlySet<string> = new Set([
  "request",
  "subscribe",
  "shout",
  "goal",
  "attach",
  "register",
  "find",
]);
