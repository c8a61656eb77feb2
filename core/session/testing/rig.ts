/**
 * Test support: two sessions over a link in memory with real endpoints on both sides, and a raw
 * peer that writes frames by hand. Not exported from `mod.ts`.
 *
 * @module
 */

import { type CallHandler, type OutboundCall } from "../../callable.ts";
import { CallableEndpoint } from "../../callable_endpoint.ts";
import { CodecTable } from "../../codec.ts";
import { defineCallable, defineJob, defineSpeaker } from "../../contract.ts";
import { PatchbayError } from "../../errors.ts";
import { type ExecuteOptions, PendingJob } from "../../job.ts";
import { JobEndpoint, type JobHandler, type PerformOptions } from "../../job_endpoint.ts";
import type { ListenCallback, ListenOptions } from "../../listener.ts";
import { ListenerEndpoint } from "../../listener_endpoint.ts";
import type { LinkHandler } from "../../link.ts";
import type { JobPort } from "../../plugin.ts";
import { SpeakerEndpoint } from "../../speaker.ts";
import { EndpointStatistics, type Role, TransportStatistics } from "../../statistics.ts";
import { TimerWheel } from "../../timer_wheel.ts";
import { SpeakWay } from "../../topology/ways.ts";
import {
  encodeControl,
  encodeHello,
  HEADER_BYTES,
  type Hello,
  Kind,
  writeHeader,
} from "../envelope.ts";
import type { SessionHost } from "../targets.ts";
import type { Subscription } from "../outbound.ts";
import type { Publication } from "../publication.ts";
import { Session, type SessionOptions } from "../session.ts";
import { MemoryLink, type MemoryLinkOptions } from "./memory_link.ts";

/** Fails a test that hangs, in milliseconds: a watchdog, never an assertion about speed. */
const WATCHDOG_MS = 30_000;

/**
 * Waits for something, and fails if it never comes.
 *
 * @param what What it is.
 * @param work The promise.
 */
export async function settled<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: still waiting`)), WATCHDOG_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Lets everything run that is ready: microtasks, and a turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * Waits until something is so.
 *
 * @param what What it is.
 * @param so Whether it is so.
 */
export async function until(what: string, so: () => boolean): Promise<void> {
  const deadline = Date.now() + WATCHDOG_MS;
  while (!so()) {
    if (Date.now() > deadline) throw new Error(`${what}: still waiting`);
    await turn();
  }
}

function count(role: Role, address: string): EndpointStatistics {
  const pattern = role === "speaker" || role === "listener" ? "speaker" : "callable";
  return new EndpointStatistics(pattern, role, address, "memory");
}

/** One side: who serves, speaks and performs there. */
export class Side implements SessionHost {
  /** As {@link SessionHost.version}. */
  version = 0;
  /** What was reported. */
  readonly reports: PatchbayError[] = [];
  /** The link's counters. */
  readonly statistics: TransportStatistics = new TransportStatistics("memory");
  /** The subscriptions of peers. */
  readonly publications: Set<Publication> = new Set();
  readonly #name: string;
  readonly #timers: TimerWheel;
  readonly #callables = new Map<string, CallableEndpoint>();
  readonly #jobs = new Map<string, JobEndpoint>();
  readonly #ways = new Set<SpeakWay>();

  /**
   * @param name The module's name.
   * @param timers The timer.
   */
  constructor(name: string, timers: TimerWheel) {
    this.#name = name;
    this.#timers = timers;
  }

  /** The bay's id. */
  get id(): string {
    return this.#name.padEnd(16, "0");
  }

  /**
   * The options of a session of this side.
   *
   * @param changes What is to be otherwise.
   */
  options(changes: Partial<SessionOptions> = {}): SessionOptions {
    return {
      transport: "memory",
      identity: { id: this.id, module: this.#name, instance: this.#name },
      host: this,
      timers: this.#timers,
      codecs: new CodecTable(),
      codec: "json",
      compression: "none",
      compressionThreshold: 4096,
      maxMessageBytes: 10 * 1024 * 1024,
      windowBytes: 64 * 1024,
      maxQueueBytes: 64 * 1024 * 1024,
      handshakeMs: 5000,
      heartbeatMs: 0,
      statistics: this.statistics,
      authorize: undefined,
      report: (error) => this.reports.push(error),
      ...changes,
    };
  }

  /** Serves a callable. */
  serve(
    address: string,
    handler: CallHandler<unknown, unknown>,
    maxConcurrent = 1_000_000,
  ): CallableEndpoint {
    const endpoint = new CallableEndpoint(
      defineCallable({ address }),
      handler as CallHandler<never, unknown>,
      count("server", address),
      { maxConcurrent },
    );
    this.#callables.set(address, endpoint);
    this.version++;
    return endpoint;
  }

  /** Performs a job. */
  perform(
    address: string,
    handler: JobHandler<unknown, unknown, unknown>,
    options: PerformOptions<unknown> = {},
  ): JobEndpoint {
    const endpoint = new JobEndpoint(
      defineJob({ address }),
      handler as unknown as JobHandler<never, never, unknown>,
      count("server", address),
      this.#timers,
      options as PerformOptions<never>,
    );
    this.#jobs.set(address, endpoint);
    this.version++;
    return endpoint;
  }

  /** Speaks. */
  speak(address: string, retain = false): TestSpeaker {
    const endpoint = new SpeakerEndpoint(
      defineSpeaker({ address }),
      this.id,
      retain,
      { sequence: 0 },
      count("speaker", address),
    );
    const way = new SpeakWay(endpoint, {
      silence: (one) => this.#ways.delete(one),
      listenersOf: () => Promise.resolve([]),
    });
    this.#ways.add(way);
    for (const publication of this.publications) way.add(publication);
    return new TestSpeaker(endpoint, way);
  }

  /** As {@link SessionHost.callable}. */
  callable(address: string): CallableEndpoint | undefined {
    return this.#callables.get(address);
  }

  /** As {@link SessionHost.job}. */
  job(address: string): JobEndpoint | undefined {
    return this.#jobs.get(address);
  }

  /** As {@link SessionHost.subscribed}. */
  subscribed(publication: Publication): void {
    this.publications.add(publication);
    for (const way of this.#ways) way.add(publication);
  }

  /** As {@link SessionHost.unsubscribed}. */
  unsubscribed(publication: Publication): void {
    this.publications.delete(publication);
    for (const way of this.#ways) way.delete(publication);
  }
}

/** A speaker of one side. */
export class TestSpeaker {
  /** The endpoint. */
  readonly endpoint: SpeakerEndpoint;
  /** Its way. */
  readonly way: SpeakWay;

  /** @ignore Made by {@link Side.speak}. */
  constructor(endpoint: SpeakerEndpoint, way: SpeakWay) {
    this.endpoint = endpoint;
    this.way = way;
  }

  /** Shouts. */
  shout(value: unknown, priority = 128): void | Promise<void> {
    const { endpoint } = this;
    const context = {
      address: endpoint.address,
      sequence: ++endpoint.counter.sequence,
      origin: endpoint.origin,
      headers: undefined,
      priority,
      retained: false,
      peer: undefined,
    };
    if (endpoint.retain) endpoint.last = { value, context };
    return this.way.shout(value, context);
  }
}

/** How to call in a test. */
export interface TestCallOptions {
  /** 0–255. */
  priority?: number;
  /** Sent along. */
  headers?: Readonly<Record<string, string>>;
  /** The codec's name. */
  codec?: string;
  /** How long it may take, as the server is told. */
  remainingMs?: number;
}

/** A call that a test has made. */
export class TestCall implements OutboundCall {
  readonly value: unknown;
  readonly address: string;
  headers: Readonly<Record<string, string>> | undefined;
  readonly timeoutMs = Infinity;
  readonly remainingMs: number;
  readonly codec: string | undefined;
  readonly priority: number;
  readonly idempotent = false;
  readonly statistics: EndpointStatistics;
  slot: unknown;
  abandoned = false;
  /** The response. */
  readonly promise: Promise<unknown>;
  readonly #session: Session;
  readonly #result = Promise.withResolvers<unknown>();

  constructor(session: Session, address: string, value: unknown, options: TestCallOptions = {}) {
    this.#session = session;
    this.address = address;
    this.value = value;
    this.headers = options.headers;
    this.codec = options.codec;
    this.priority = options.priority ?? 128;
    this.remainingMs = options.remainingMs ?? Infinity;
    this.statistics = count("client", address);
    this.promise = this.#result.promise;
    this.promise.catch(() => {});
    session.outbound.request(this);
  }

  succeed(value: unknown): void {
    this.#result.resolve(value);
  }

  fail(error: unknown): void {
    this.#result.reject(error);
  }

  /** Gives up. */
  cancel(): void {
    this.#session.outbound.cancelRequest(this);
    this.#result.reject(new DOMException("given up", "AbortError"));
  }
}

/**
 * Calls.
 *
 * @param session Over which session.
 * @param address What.
 * @param value With what.
 * @param options Priority, headers, codec.
 */
export function call(
  session: Session,
  address: string,
  value: unknown,
  options?: TestCallOptions,
): Promise<unknown> {
  return new TestCall(session, address, value, options).promise;
}

/** Two sessions that are connected. */
export class Pair implements AsyncDisposable {
  /** The timer of both. */
  readonly timers: TimerWheel = new TimerWheel();
  /** The side that dialled. */
  readonly near: Side = new Side("near", this.timers);
  /** The side that was dialled. */
  readonly far: Side = new Side("far", this.timers);
  /** The dialling side's end of the link. */
  readonly nearLink: MemoryLink;
  /** The other end. */
  readonly farLink: MemoryLink;
  /** The dialling side's session. */
  readonly dialled: Session;
  /** The other session. */
  readonly accepted: Session;

  /**
   * @param near What is otherwise on the dialling side.
   * @param far What is otherwise on the other side.
   * @param link How the link behaves.
   */
  constructor(
    near: Partial<SessionOptions> = {},
    far: Partial<SessionOptions> = {},
    link: MemoryLinkOptions = {},
  ) {
    [this.nearLink, this.farLink] = MemoryLink.pair(link);
    this.accepted = new Session(this.farLink, false, this.far.options(far));
    this.dialled = new Session(this.nearLink, true, this.near.options(near));
  }

  /** Listens from the dialling side. */
  async listen(
    pattern: string,
    callback: ListenCallback<unknown> | undefined,
    options: ListenOptions = {},
  ): Promise<{ endpoint: ListenerEndpoint; subscription: Subscription }> {
    const endpoint = new ListenerEndpoint(
      pattern,
      undefined,
      callback as ListenCallback<never> | undefined,
      options,
      {
        identity: { id: this.near.id, module: "near", instance: "near" },
        timers: this.timers,
        report: (error) => this.near.reports.push(error),
      },
      count("listener", pattern),
      false,
    );
    const subscribing = this.dialled.outbound.subscribe(endpoint);
    return { endpoint, subscription: await settled(`listening to ${pattern}`, subscribing) };
  }

  /** Executes a job from the dialling side. */
  execute(address: string, goal: unknown, options: ExecuteOptions = {}): PendingJob {
    const { outbound } = this.dialled;
    const port: JobPort = {
      start: (job) => outbound.goal(job),
      cancel: (job, reason) => outbound.cancelJob(job, reason, false),
      abandon: (job) => outbound.cancelJob(job, "given up", true),
      close: () => {},
    };
    const binding = { port, transport: "memory", statistics: count("client", address) };
    const job = new PendingJob(defineJob({ address }), binding, this.timers, goal, options);
    job.start();
    return job;
  }

  /** Waits until both sides have agreed. */
  async ready(): Promise<this> {
    await settled("the handshake", Promise.all([this.dialled.ready, this.accepted.ready]));
    return this;
  }

  /** Closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.nearLink.resume();
    this.farLink.resume();
    await settled("closing", Promise.all([this.dialled.close(), this.accepted.close()]));
    this.timers.close();
  }
}

/** What a frame written by hand says. */
export interface RawFrame {
  kind: number;
  flags?: number;
  codec?: number;
  priority?: number;
  id?: number;
  route?: number;
  number?: number;
  headers?: Uint8Array;
  body?: Uint8Array;
}

/** The bytes of a frame written by hand. */
export function rawFrame(frame: RawFrame): Uint8Array {
  const headers = frame.headers ?? new Uint8Array(0);
  const body = frame.body ?? new Uint8Array(0);
  const bytes = new Uint8Array(HEADER_BYTES + headers.length + body.length);
  writeHeader(
    new DataView(bytes.buffer),
    0,
    frame.kind,
    frame.flags ?? 0,
    frame.codec ?? 0,
    frame.priority ?? 128,
    headers.length,
    frame.id ?? 0,
    frame.route ?? 0,
    frame.number ?? 0,
  );
  bytes.set(headers, HEADER_BYTES);
  bytes.set(body, HEADER_BYTES + headers.length);
  return bytes;
}

/** The bytes of a JSON body. */
export function jsonBody(value: unknown): Uint8Array {
  return encodeControl(value);
}

/** A hello that is accepted. */
export const HELLO: Hello = {
  versions: [1, 1],
  bay: { id: "0123456789abcdef", module: "raw", instance: "raw" },
  codecs: ["json"],
  compression: [],
  maxMessageBytes: 10 * 1024 * 1024,
  windowBytes: 64 * 1024,
  capabilities: ["callable", "speaker", "job"],
  metadata: {},
};

/** A frame that a raw peer has read. */
export interface SeenFrame {
  readonly kind: number;
  readonly flags: number;
  readonly priority: number;
  readonly id: number;
  readonly route: number;
  readonly number: number;
  readonly bytes: number;
  readonly body: Uint8Array;
}

/** A peer without a session: it writes frames by hand and keeps what comes. */
export class RawPeer implements LinkHandler {
  /** Its end of the link. */
  readonly link: MemoryLink;
  /** What has come. */
  readonly seen: SeenFrame[] = [];
  /** Resolves when the link is closed. */
  readonly gone: Promise<void>;
  readonly #gone = Promise.withResolvers<void>();

  /** @param link Its end of the link. */
  constructor(link: MemoryLink) {
    this.link = link;
    this.gone = this.#gone.promise;
    link.start(this);
  }

  /** Writes bytes as one frame, or a frame by its fields. */
  send(frame: RawFrame | Uint8Array): void {
    const bytes = frame instanceof Uint8Array ? frame : rawFrame(frame);
    const at = this.link.claim(bytes.length);
    this.link.buffer.set(bytes, at);
    this.link.commit(bytes.length);
  }

  /** Says hello. */
  hello(changes: Partial<Hello> = {}): void {
    this.send({ kind: Kind.hello, body: encodeHello({ ...HELLO, ...changes }) });
  }

  /** Says hello, and waits for the answer. */
  async shakeHands(changes: Partial<Hello> = {}): Promise<void> {
    this.hello(changes);
    await this.until("the hello-ack", () => this.find(Kind.helloAck) !== undefined);
  }

  /** The first frame of a kind. */
  find(kind: number, id?: number): SeenFrame | undefined {
    return this.seen.find((frame) => frame.kind === kind && (id === undefined || frame.id === id));
  }

  /** Why the other side has said goodbye. */
  get goodbye(): PatchbayError | undefined {
    const frame = this.find(Kind.goodbye);
    if (frame === undefined) return undefined;
    return PatchbayError.fromWire(JSON.parse(new TextDecoder().decode(frame.body)));
  }

  /** Waits until something is so. */
  until(what: string, so: () => boolean): Promise<void> {
    return until(what, so);
  }

  /** As {@link LinkHandler.frame}. */
  frame(buffer: Uint8Array, start: number, end: number): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset + start, end - start);
    const headers = view.getUint16(6, true);
    this.seen.push({
      kind: view.getUint8(0),
      flags: view.getUint8(1),
      priority: view.getUint8(3),
      id: view.getUint32(8, true),
      route: view.getUint32(12, true),
      number: view.getFloat64(16, true),
      bytes: end - start,
      body: buffer.slice(start + HEADER_BYTES + headers, end),
    });
  }

  batchEnd(): void {}

  drained(): void {}

  malformed(): void {}

  closed(): void {
    this.#gone.resolve();
  }
}

/** A session with a raw peer. */
export class RawPair implements AsyncDisposable {
  /** The timer. */
  readonly timers: TimerWheel = new TimerWheel();
  /** The side under test. */
  readonly side: Side = new Side("tested", this.timers);
  /** The session under test. */
  readonly session: Session;
  /** The session's end of the link. */
  readonly link: MemoryLink;
  /** Who writes to it. */
  readonly peer: RawPeer;

  /**
   * @param options What is otherwise in the session.
   * @param dialler Whether the session dials.
   * @param link How the link behaves.
   */
  constructor(
    options: Partial<SessionOptions> = {},
    dialler = false,
    link: MemoryLinkOptions = {},
  ) {
    const [mine, theirs] = MemoryLink.pair(link);
    this.link = mine;
    this.session = new Session(mine, dialler, this.side.options(options));
    this.peer = new RawPeer(theirs);
  }

  /** Closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await settled("closing", this.session.close(new PatchbayError("internal", "the test is over")));
    this.timers.close();
  }
}
