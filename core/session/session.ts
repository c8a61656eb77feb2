/**
 * One session: handshake, dispatch, heartbeat and end of the protocol over one link. It is
 * symmetrical: either side may call, listen and execute at the other.
 *
 * @module
 */

import type { Codec, CodecTable } from "../codec.ts";
import { loadCompressor } from "../compression.ts";
import { PatchbayError } from "../errors.ts";
import type { Link, LinkHandler, LinkSlots } from "../link.ts";
import type { Authorize, BayIdentity, Peer } from "../plugin.ts";
import { TimerEntry, type TimerWheel } from "../timer_wheel.ts";
import {
  commonVersion,
  decodeControl,
  decodeHello,
  decodeHelloAck,
  encodeControl,
  encodeHello,
  Flag,
  type Hello,
  type HelloAck,
  type HelloBay,
  Kind,
  LANES,
  MAX_FRAME_BYTES,
  VERSIONS,
} from "./envelope.ts";
import { Reassembly } from "./fragments.ts";
import { Frame } from "./frame.ts";
import { Inbound } from "./inbound.ts";
import { type InboundRoute, readRoute } from "./route.ts";
import type { InboundHost, SessionHost } from "./targets.ts";
import type { Origin } from "./passing.ts";
import { Outbound, type OutboundHost } from "./outbound.ts";
import { LARGEST_WHOLE, RESERVE_BYTES, wholeBytes } from "./outbox.ts";
import { Sender, type SenderOptions } from "./sender.ts";

/** What a session is made with. */
export interface SessionOptions extends SenderOptions {
  /** Who this bay is. */
  readonly identity: BayIdentity;
  /** Who serves and publishes here. */
  readonly host: SessionHost;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** The codecs this side knows. */
  readonly codecs: CodecTable;
  /** The codec for contracts that name none, by name; the dialling side's wish goes first. */
  readonly codec: string;
  /** The compressor to offer; `none` offers none. */
  readonly compression: "none" | "deflate";
  /** What this side takes before it has returned credit, in bytes. */
  readonly windowBytes: number;
  /** How long the handshake may take, in milliseconds. */
  readonly handshakeMs: number;
  /** How often to say that one is alive, in milliseconds; 0: only where the link needs it. */
  readonly heartbeatMs: number;
  /** So many silent heartbeats end the session; default 3. */
  readonly missedHeartbeats?: number;
  /** Whether the peer may say whose messages it relays: a hub may, nobody else. */
  readonly trustsOrigins?: boolean;
  /** Who may do what. */
  readonly authorize: Authorize | undefined;
  /** Sent with the hello to prove who this side is. */
  readonly credentials?: string;
  /** Anything else that this side says of itself in its hello: at most 4096 characters a value. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Says who the peer is by what it sent as proof; throws `unauthenticated`. */
  readonly authenticate?: (
    credentials: string | undefined,
    bay: HelloBay,
    metadata: Readonly<Record<string, string>>,
  ) => string | undefined | Promise<string | undefined>;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
}

/** The heartbeat where a link does not notice the death of its peer, in milliseconds. */
const HEARTBEAT_MS = 5000;
/** So many silent heartbeats end the session. */
const MISSED_HEARTBEATS = 3;
/** What the lowest lane of a peer has to leave free besides the room for its next frame. */
const HELD_FREE_BYTES = RESERVE_BYTES * (LANES - 1);
/** How long {@link Session.close} waits for what is queued, in milliseconds. */
const DRAIN_MS = 5000;
/** What may be in the link at most: control frames pass the gates, and a peer may not read. */
const MAX_LINK_BYTES = 4 * 1024 * 1024;
/** The most frames that may come before this side has loaded what was agreed on. */
const MAX_EARLY = 1024;
/** What such frames may take besides the window: control frames need no credit. */
const EARLY_CONTROL_BYTES = 1024 * 1024;
/** The most addresses one peer may bind. */
const MAX_ROUTES = 65_536;

class Alarm extends TimerEntry {
  readonly #ring: () => void;

  constructor(ring: () => void) {
    super();
    this.#ring = ring;
  }

  override expire(): void {
    this.#ring();
  }
}

/** The three patterns over one link. */
export class Session implements LinkHandler, InboundHost, OutboundHost {
  /** Resolves when both sides have agreed; rejects when they have not. */
  readonly ready: Promise<void>;
  /** Resolves with the reason when the session has ended. */
  readonly ended: Promise<PatchbayError>;
  /** What this side has begun at the peer. */
  readonly outbound: Outbound;
  /** @ignore */
  readonly sender: Sender;
  readonly #link: Link;
  readonly #options: SessionOptions;
  readonly #inbound: Inbound;
  readonly #reassembly: Reassembly;
  readonly #frame: Frame;
  readonly #handshake: Alarm;
  readonly #heart: Alarm | undefined;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<PatchbayError>();
  readonly #routesOut = new Map<string, number>();
  readonly #routesIn: InboundRoute[] = [];
  /** `answering`: a hello has come; `agreeing`: the hello-ack is waited for, or has come. */
  #state: "greeting" | "answering" | "agreeing" | "open" | "ended";
  /** Frames that came while this side was still loading what was agreed on. */
  #early: Uint8Array[] | undefined;
  #earlyBytes = 0;
  #bay: HelloBay = { id: "", module: "", instance: "" };
  #metadata: Readonly<Record<string, string>> = {};
  #peer: Peer | undefined;
  #identity: string | undefined;
  /** Credit is returned when so much has been taken up: each time costs a write. */
  readonly #creditStepBytes: number;
  /** The largest frame that the peer may send: what is larger comes in pieces. */
  readonly #largestFrame: number;
  #owedBytes = 0;
  #heard = false;
  #missed = 0;
  #closing: Promise<void> | undefined;

  /**
   * @param link The link; the session owns it from now on.
   * @param dialler Whether this side dialled: it says hello first.
   * @param options Everything else.
   */
  constructor(link: Link, dialler: boolean, options: SessionOptions) {
    this.#link = link;
    this.#frame = new Frame(link.shared === true);
    this.#options = options;
    this.#state = dialler ? "agreeing" : "greeting";
    // At half the window, but early enough that no lane of the peer waits for it in vain.
    const { windowBytes } = options;
    const heldFree = HELD_FREE_BYTES + wholeBytes(link.maxFrameBytes, windowBytes);
    this.#creditStepBytes = Math.min(windowBytes / 4, windowBytes - heldFree);
    const whole = wholeBytes(link.maxFrameBytes, windowBytes);
    const message = options.maxMessageBytes + LARGEST_WHOLE;
    this.#largestFrame = link.comesWhole === true
      ? message
      : Math.max(MAX_FRAME_BYTES, Math.min(whole, message));
    this.sender = new Sender(link, options);
    this.outbound = new Outbound(this);
    this.#inbound = new Inbound(this);
    this.#reassembly = new Reassembly(options.maxMessageBytes + LARGEST_WHOLE);
    this.ready = this.#ready.promise;
    this.ready.catch(() => {});
    this.ended = this.#ended.promise;
    this.#handshake = new Alarm(() => this.#refuse("the handshake took too long"));
    options.timers.arm(this.#handshake, options.handshakeMs);
    const beatMs = options.heartbeatMs || (link.detectsClose ? 0 : HEARTBEAT_MS);
    if (beatMs > 0) {
      this.#heart = new Alarm(() => this.#beat(beatMs));
      options.timers.arm(this.#heart, beatMs);
    }
    link.start(this);
    if (dialler) this.sender.control(Kind.hello, 0, 0, encodeHello(this.#hello()));
  }

  /** Who is on the other side, as it says; empty before the handshake. */
  get bay(): HelloBay {
    return this.#bay;
  }

  /** What else the other side has said of itself in its hello. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#metadata;
  }

  /** The id of the bay on the other side. */
  get origin(): string {
    return this.#bay.id;
  }

  /** The plugin's name. */
  get transport(): string {
    return this.#options.transport;
  }

  /** Who is on the other side, for handlers. */
  get peer(): Peer {
    return this.#peer ??= {
      module: this.#bay.module,
      transport: this.#options.transport,
      identity: this.#identity ?? this.#link.identity,
      local: this.#link.local,
    };
  }

  /** Whether messages can be sent. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** As {@link Link.slots}. */
  get slots(): LinkSlots | undefined {
    return this.#link.slots;
  }

  /** As {@link InboundHost.host}. */
  get host(): SessionHost {
    return this.#options.host;
  }

  /** As {@link InboundHost.authorize}. */
  get authorize(): Authorize | undefined {
    return this.#options.authorize;
  }

  /**
   * Ends the session: sends what is queued (for 5 s at most), says goodbye, closes the link.
   * Idempotent.
   *
   * @param reason Why, for the peer and for what is pending. With another code than `closed` it is
   * a refusal: nothing more is sent but the goodbye.
   */
  close(reason?: PatchbayError): Promise<void> {
    return this.#closing ??= (async () => {
      const why = reason ?? new PatchbayError("closed", "the connection was closed");
      if (why.code === "closed" && this.isOpen && !this.sender.outbox.idle) await this.#drain();
      this.#sayGoodbye(why);
      await this.#link.close();
    })();
  }

  #sayGoodbye(why: PatchbayError): void {
    if (this.#state !== "ended") {
      this.sender.control(Kind.goodbye, 0, 0, this.sender.errorBody(why));
    }
    this.#end(why);
  }

  /** Resolves when nothing is queued any longer, when the session has ended, or after 5 s. */
  async #drain(): Promise<void> {
    const { outbox } = this.sender;
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = new Alarm(resolve);
    const look = () => {
      if (outbox.idle) resolve();
    };
    outbox.onRelaxed.add(look);
    this.#options.timers.arm(late, DRAIN_MS);
    await Promise.race([promise, this.ended]);
    this.#options.timers.disarm(late);
    outbox.onRelaxed.delete(look);
  }

  /** As {@link OutboundHost.report}. */
  report(error: PatchbayError): void {
    this.#options.report(error);
  }

  /** As {@link InboundHost.overloaded}. */
  overloaded(): void {
    const error = this.sender.overloaded();
    this.#options.statistics.countError("overloaded");
    this.report(error);
    this.#end(error);
    void this.#link.close(true);
  }

  /** The number of an address on this connection, bound now if it is new. */
  routeOf(address: string, origin?: Origin): number {
    const key = origin === undefined ? address : `${address} ${origin.id}`;
    let route = this.#routesOut.get(key);
    if (route === undefined) {
      route = this.#routesOut.size;
      if (route >= MAX_ROUTES) {
        // A number stands for one address for ever: those who need more have them over the next one.
        void this.close();
        throw new PatchbayError("overloaded", `over ${MAX_ROUTES} addresses on one connection`);
      }
      this.#routesOut.set(key, route);
      this.sender.control(Kind.route, 0, 0, encodeControl({ address, origin }), route);
    }
    return route;
  }

  /** As {@link InboundHost.inboundRoute}. */
  inboundRoute(route: number): InboundRoute {
    const known = this.#routesIn[route];
    if (known !== undefined) return known;
    throw new PatchbayError("protocol", `route ${route} was not bound`);
  }

  // ----- what the link tells -----

  /** As {@link LinkHandler.frame}. */
  frame(buffer: Uint8Array, start: number, end: number): void {
    if (this.#state === "ended") return;
    this.#heard = true;
    const { statistics } = this.#options;
    statistics.messagesIn++;
    statistics.bytesIn += end - start;
    if (end - start > this.#largestFrame) return this.#tooLarge(end - start);
    this.#take(buffer, start, end);
  }

  #tooLarge(size: number): void {
    const max = this.#largestFrame;
    const message = `the peer sent a frame of ${size} bytes, the limit is ${max}`;
    this.#options.statistics.countError("protocol");
    this.#refuse(message, new PatchbayError("protocol", message, { details: { size, max } }));
  }

  #take(buffer: Uint8Array, start: number, end: number): void {
    try {
      const frame = this.#frame;
      frame.read(buffer, start, end);
      if (this.#state !== "open") return this.#shakeHands(frame, buffer, start, end);
      this.#dispatch(frame, end - start);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      this.#options.statistics.countError(known.code);
      this.#refuse(known.message, known);
    }
  }

  /** As {@link LinkHandler.batchEnd}. */
  batchEnd(): void {
    this.#inbound.batchEnd();
    this.boundUnread();
  }

  /**
   * Ends the session if the peer leaves too much unread: acknowledgements, credit, and what a hub
   * tells unasked, need no gate, and a peer that never reads is not fed for ever.
   */
  boundUnread(): void {
    if (this.#link.buffered > MAX_LINK_BYTES && this.#state !== "ended") this.overloaded();
  }

  /** As {@link LinkHandler.idle}. */
  idle(): void {
    this.#frame.stockUp();
  }

  /** As {@link LinkHandler.expectsAnswer}. */
  get expectsAnswer(): boolean {
    return this.outbound.pending > 0;
  }

  /** As {@link LinkHandler.drained}. */
  drained(): void {
    this.sender.outbox.pump();
  }

  /** As {@link LinkHandler.malformed}. */
  malformed(error: PatchbayError): void {
    this.#options.statistics.countError(error.code);
    this.#refuse(error.message, error);
  }

  /** As {@link LinkHandler.closed}. */
  closed(error: PatchbayError | undefined): void {
    const name = this.#bay.module || "the peer";
    this.#end(error ?? new PatchbayError("closed", `the connection to ${name} was lost`));
  }

  // ----- handshake -----

  #hello(): Omit<Hello, "credentials"> & { credentials?: string } {
    const { identity, codecs, codec, compression, maxMessageBytes, windowBytes } = this.#options;
    return {
      versions: VERSIONS,
      bay: { id: identity.id, module: identity.module, instance: identity.instance },
      codecs: [codec, ...codecs.names.filter((name) => name !== codec)],
      compression: compression === "none" ? [] : [compression],
      maxMessageBytes,
      windowBytes,
      capabilities: ["callable", "speaker", "job"],
      metadata: this.#options.metadata ?? {},
      credentials: this.#options.credentials,
    };
  }

  #shakeHands(frame: Frame, buffer: Uint8Array, start: number, end: number): void {
    const body = frame.body();
    if (frame.kind === Kind.goodbye) return this.#goodbye(body);
    if (this.#early !== undefined) {
      this.#earlyBytes += end - start;
      const maxBytes = this.#options.windowBytes + EARLY_CONTROL_BYTES;
      if (this.#early.length >= MAX_EARLY || this.#earlyBytes > maxBytes) {
        throw new PatchbayError("protocol", "too eager a peer");
      }
      this.#early.push(buffer.slice(start, end));
      return;
    }
    if (this.#state === "greeting" && frame.kind === Kind.hello) {
      const hello = decodeHello(body);
      this.#state = "answering";
      void this.#settle(() => this.#answer(hello));
    } else if (this.#state === "agreeing" && frame.kind === Kind.helloAck) {
      const ack = decodeHelloAck(body);
      this.#early = [];
      const offered = this.#hello().compression;
      const compression = ack.compression.filter((name) => offered.includes(name));
      void this.#settle(() => this.#agree(ack.codecs, compression, ack));
    } else {
      throw new PatchbayError("protocol", `frame kind ${frame.kind} before the handshake`);
    }
  }

  /** Runs an asynchronous step of the handshake. */
  async #settle(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      this.#options.statistics.countError(known.code);
      this.#refuse(known.message, known);
    }
  }

  async #answer(hello: Hello): Promise<void> {
    const mine = this.#hello();
    const codecs = hello.codecs.filter((name) => this.#options.codecs.has(name));
    if (codecs.length === 0) {
      throw new PatchbayError("protocol", "no codec is known to both sides", {
        details: { theirs: hello.codecs, ours: mine.codecs },
      });
    }
    const compression = hello.compression.filter((name) => mine.compression.includes(name));
    this.#identity = await this.#authenticate(hello);
    const { versions: _, credentials: __, ...rest } = mine;
    const version = commonVersion(hello.versions) as number;
    const ack: HelloAck = { ...rest, version, codecs, compression };
    await this.#agree(codecs, compression, hello, () => {
      this.sender.control(Kind.helloAck, 0, 0, encodeHello(ack));
    });
  }

  async #authenticate({ credentials, bay, metadata }: Hello): Promise<string | undefined> {
    try {
      return await this.#options.authenticate?.(credentials, bay, metadata);
    } catch (error) {
      if (error instanceof PatchbayError) throw error;
      // What went wrong inside is nothing for a stranger.
      this.report(PatchbayError.fromThrown(error));
      throw new PatchbayError("unauthenticated", "the credentials could not be checked");
    }
  }

  /** What both sides have agreed on becomes effective, in the same turn as the ack is sent. */
  async #agree(
    names: readonly string[],
    compression: readonly string[],
    peer: Hello | HelloAck,
    acknowledge?: () => void,
  ): Promise<void> {
    const codecs: Codec[] = [];
    for (const name of names) codecs.push(await this.#options.codecs.load(name));
    const compressor = compression[0] === "deflate" ? await loadCompressor("deflate") : undefined;
    if (this.#state !== "agreeing" && this.#state !== "answering") return;
    const { sender } = this;
    sender.codecs = codecs;
    sender.compressor = compressor;
    sender.maxMessageBytes = Math.min(this.#options.maxMessageBytes, peer.maxMessageBytes);
    sender.outbox.open(peer.windowBytes);
    this.#bay = peer.bay;
    this.#metadata = peer.metadata;
    this.#state = "open";
    this.#options.timers.disarm(this.#handshake);
    acknowledge?.();
    this.#ready.resolve();
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const frame of early) {
      // One of them may have ended it.
      if (!this.isOpen) return;
      this.#take(frame, 0, frame.length);
    }
    this.#inbound.batchEnd();
  }

  // ----- dispatch -----

  #dispatch(frame: Frame, bytes: number): void {
    switch (frame.kind) {
      case Kind.response:
      case Kind.subscribeAck:
      case Kind.latest:
        return this.outbound.receive(frame);
      case Kind.error: {
        const paid = (frame.flags & Flag.paid) !== 0;
        this.outbound.receive(frame);
        return paid ? this.#takenUp(bytes) : undefined;
      }
      case Kind.event:
      case Kind.accepted:
      case Kind.feedback:
      case Kind.result:
        this.outbound.receive(frame);
        return this.#takenUp(bytes);
      case Kind.request:
      case Kind.send:
      case Kind.goal:
        this.#inbound.receive(frame);
        return this.#takenUp(bytes);
      case Kind.cancel:
      case Kind.cancelJob:
      case Kind.detach: {
        const paid = (frame.flags & Flag.paid) !== 0;
        this.#inbound.receive(frame);
        return paid ? this.#takenUp(bytes) : undefined;
      }
      case Kind.subscribe:
      case Kind.unsubscribe:
      case Kind.attach:
        return this.#inbound.receive(frame);
      case Kind.register:
      case Kind.registerAck:
      case Kind.unregister:
      case Kind.find:
      case Kind.presence:
      case Kind.watch:
        return this.#hubFrame(frame);
      case Kind.fragment:
        return this.#fragment(frame, bytes);
      case Kind.credit:
        return this.#credit(frame.id, frame.number);
      case Kind.route:
        return this.#bindRoute(frame);
      case Kind.heartbeat:
        return;
      case Kind.goodbye:
        return this.#goodbye(frame.body());
      default:
        throw new PatchbayError("protocol", `frame kind ${frame.kind} is not known`);
    }
  }

  #credit(id: number, count: number): void {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new PatchbayError("protocol", `the peer returned a credit of ${count}`);
    }
    if (id === 0) this.sender.outbox.credited(count);
    else this.#inbound.credited(id, count);
  }

  #fragment(frame: Frame, bytes: number): void {
    const { id, flags, route: paid, number: total } = frame;
    if (!Number.isSafeInteger(total) || total < 0) {
      throw new PatchbayError("protocol", `a message of ${total} bytes was announced`);
    }
    const headBytes = this.#reassembly.has(id) ? 0 : frame.headBytesOfFirst();
    const last = (flags & Flag.last) !== 0;
    const body = this.#reassembly.add(id, frame.piece(), last, total, headBytes);
    if (paid === 1) this.#takenUp(bytes);
    if (body === undefined) return;
    frame.readWhole(this.#reassembly.head, body);
    if (frame.kind < 16) throw new PatchbayError("protocol", "a control frame in fragments");
    // Its fragments have been credited already.
    this.#dispatch(frame, 0);
    const { spare } = frame;
    if (spare !== undefined) this.#reassembly.recycle(spare);
  }

  #takenUp(bytes: number): void {
    this.#owedBytes += bytes;
    if (this.#owedBytes < this.#creditStepBytes) return;
    const owed = this.#owedBytes;
    this.#owedBytes = 0;
    this.sender.control(Kind.credit, 0, owed);
    // The rest of the batch may take a while: the peer can go on meanwhile.
    this.#link.flush();
  }

  #bindRoute(frame: Frame): void {
    const { route } = frame;
    if (route !== this.#routesIn.length || route >= MAX_ROUTES) {
      throw new PatchbayError("protocol", `route ${route} was bound out of turn`);
    }
    const { address, origin } = decodeControl(frame.body());
    const { trustsOrigins } = this.#options;
    this.#routesIn.push(readRoute(address, trustsOrigins === true ? origin : undefined));
  }

  #hubFrame(frame: Frame): void {
    const { host } = this.#options;
    if (host.hubFrame === undefined) {
      throw new PatchbayError("protocol", `frame kind ${frame.kind} is for hubs alone`);
    }
    host.hubFrame(this, frame.kind, frame.id, decodeControl(frame.body()));
  }

  // ----- end -----

  #beat(intervalMs: number): void {
    if (this.#state === "ended") return;
    this.#missed = this.#heard ? 0 : this.#missed + 1;
    this.#heard = false;
    if (this.#missed >= (this.#options.missedHeartbeats ?? MISSED_HEARTBEATS)) {
      const silentMs = this.#missed * intervalMs;
      this.#end(new PatchbayError("closed", `the peer has been silent for ${silentMs} ms`));
      return void this.#link.close(true);
    }
    this.sender.control(Kind.heartbeat, 0, 0);
    this.#options.timers.arm(this.#heart as Alarm, intervalMs);
  }

  #goodbye(body: Uint8Array): void {
    const reason = PatchbayError.fromWire(decodeControl(body), { transport: this.transport });
    this.#end(reason);
    void this.#link.close();
  }

  /** The peer does not follow the protocol: it is told, and the connection ends. */
  #refuse(
    message: string,
    error: PatchbayError = new PatchbayError("protocol", message),
  ): void {
    if (this.#state === "ended") return;
    this.report(error.with({ transport: this.transport }));
    this.#sayGoodbye(error);
    void this.close(error);
  }

  #end(error: PatchbayError): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    const { timers } = this.#options;
    timers.disarm(this.#handshake);
    if (this.#heart !== undefined) timers.disarm(this.#heart);
    const closed = error.code === "closed" ? error : new PatchbayError("closed", error.message, {
      transport: this.transport,
      cause: error,
      retryable: true,
    });
    this.#ready.reject(error);
    this.outbound.end(closed);
    this.#inbound.end();
    this.sender.outbox.close();
    this.#ended.resolve(error);
  }
}
