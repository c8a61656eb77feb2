/**
 * Jobs, the worker's side: a POST begins one (202 and `Location`), a GET tells how it stands or
 * streams it, a DELETE cancels it.
 *
 * @module
 */

import {
  type JobEndpoint,
  type JobRun,
  type JobSink,
  PatchbayError,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import type { RestConfig } from "./config.ts";
import { wholeAnswer } from "./bodies.ts";
import { encodeEvent, EVENT_STREAM } from "./events.ts";
import type { EventStream, StreamBounds, Streams } from "./event_stream.ts";
import { peerOf, type Visit } from "./exchange.ts";
import { JOB_ID, userHeaders } from "./headers.ts";
import { nameOf } from "./names.ts";
import type { RestContext } from "./router.ts";
import type { RestServer } from "./server.ts";
import { problemOf, problemResponse, statusOf } from "./statuses.ts";

/** How many reports are kept for a client that comes back. */
const KEPT_REPORTS = 256;
/** How many events may wait for one client. */
const MAX_QUEUE = 65_536;
/** The parameter of the paths; no template of a user can have it. */
const PARAMETER = "job-id";

const ID = /^[0-9a-f]{32}$/;

/** What is known of a job, as JSON. */
interface Status {
  readonly id: string;
  readonly state: "pending" | "running" | "succeeded" | "failed";
  readonly progress?: number;
  readonly result?: string;
}

interface Kept {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** What jobs need. */
export interface JobsParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: RestConfig;
  /** The server. */
  readonly server: RestServer;
  /** The open streams. */
  readonly streams: Streams;
}

/** The jobs of one bay. */
export class Jobs {
  readonly #parts: JobsParts;
  readonly #desks = new Map<string, JobEndpoint[]>();
  /** What is held for a run, as long as its endpoint keeps the run. */
  readonly #held = new WeakMap<JobRun, HeldJob>();

  /** @param parts What they need. */
  constructor(parts: JobsParts) {
    this.#parts = parts;
  }

  /** What is performed here. */
  get endpoints(): JobEndpoint[] {
    return [...this.#desks.values()].map(([first]) => first);
  }

  /**
   * Puts a job on its routes.
   *
   * @param endpoint The job.
   * @returns Takes it off again.
   * @throws {PatchbayError} `unavailable`: its path is taken.
   */
  perform(endpoint: JobEndpoint): () => void {
    const { address } = endpoint;
    const desk = this.#desks.get(address);
    const remove = desk === undefined ? this.#routes(endpoint) : undefined;
    const endpoints = desk ?? [];
    endpoints.push(endpoint);
    this.#desks.set(address, endpoints);
    if (remove !== undefined) this.#removals.set(endpoints, remove);
    return () => {
      const index = endpoints.indexOf(endpoint);
      if (index < 0) return;
      endpoints.splice(index, 1);
      if (endpoints.length > 0) return;
      this.#desks.delete(address);
      this.#removals.get(endpoints)?.();
    };
  }

  readonly #removals = new WeakMap<JobEndpoint[], () => void>();

  #routes({ address, contract }: JobEndpoint): () => void {
    const { server, config } = this.#parts;
    const { path } = nameOf(address, contract.native?.rest, config.names);
    const own = `/${address}`;
    const removals: (() => void)[] = [];
    const what = address;
    try {
      for (const each of path === own ? [own] : [path, own]) {
        const one = `${each}/:${PARAMETER}`;
        const routes = [
          { method: "POST", path: each, answer: (c: RestContext) => this.#begin(c, address, each) },
          { method: "GET", path: one, answer: (c: RestContext) => this.#look(c, address, each) },
          { method: "DELETE", path: one, answer: (c: RestContext) => this.#cancel(c, address) },
          {
            method: "GET",
            path: `${one}/result`,
            answer: (c: RestContext) => this.#result(c, address),
          },
        ];
        for (const route of routes) removals.push(server.router.add({ ...route, what }));
      }
    } catch (error) {
      for (const remove of removals) remove();
      throw error;
    }
    return () => {
      for (const remove of removals) remove();
    };
  }

  async #begin(context: RestContext, address: string, path: string): Promise<Response> {
    const { server, streams, config } = this.#parts;
    const request = context.req.raw;
    const endpoint = this.#next(address);
    try {
      await server.authorize(request, context.env, "execute", address);
      const goal = await server.readValue(request, endpoint.statistics);
      const id = readId(request.headers.get(JOB_ID));
      const streaming = (request.headers.get("accept") ?? "").includes(EVENT_STREAM);
      const held = new HeldJob(id, endpoint, this.#parts, `${path}/${id}`, streaming);
      const location = { location: held.location };
      // Before the goal is begun: a quick worker's first words are not to be missed.
      const stream = streaming
        ? held.stream(
          streams,
          { maxBytes: config.maxQueueBytes, cut: context.env.cut },
          0,
          202,
          location,
        )
        : undefined;
      const run = endpoint.start(id, goal, {
        headers: userHeaders(request.headers, server.apiKeyHeader),
        peer: peerOf(request.headers, context.env as Visit),
      }, held);
      if (run !== undefined) {
        held.run = run;
        this.#held.set(run, held);
      }
      const gone = () => {
        run?.cancel("the job's owner has gone");
        stream?.discard();
      };
      const refusal = await decided(held, request, gone);
      if (refusal !== undefined) {
        stream?.discard();
        return problemResponse(refusal, statusOf(refusal));
      }
      if (stream !== undefined) return stream.response;
      return Response.json(held.status(), { status: 202, headers: location });
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      endpoint.statistics.countError(known.code);
      return server.refuse(known);
    }
  }

  async #look(context: RestContext, address: string, path: string): Promise<Response> {
    const { server, streams, config } = this.#parts;
    const request = context.req.raw;
    try {
      await server.authorize(request, context.env, "execute", address);
      const held = this.#find(context, address);
      const accept = request.headers.get("accept") ?? "";
      if (!accept.includes(EVENT_STREAM) || request.method === "HEAD") {
        return Response.json(held.status(), { headers: { "cache-control": "no-store" } });
      }
      const query = new URL(request.url).searchParams.get("last_event_id");
      const last = Number(request.headers.get("last-event-id") ?? query ?? 0);
      const after = Number.isInteger(last) && last >= 0 ? last : 0;
      // A client that has had the end is told to come no more (HTML §9.2.1).
      if (held.ended && after >= held.lastId) return new Response(null, { status: 204 });
      const location = { location: `${path}/${held.id}` };
      return held.stream(
        streams,
        { maxBytes: config.maxQueueBytes, cut: context.env.cut },
        after,
        200,
        location,
      ).response;
    } catch (error) {
      return server.refuse(PatchbayError.fromThrown(error));
    }
  }

  async #result(context: RestContext, address: string): Promise<Response> {
    const { server } = this.#parts;
    try {
      await server.authorize(context.req.raw, context.env, "execute", address);
      const held = this.#find(context, address);
      return held.result();
    } catch (error) {
      return server.refuse(PatchbayError.fromThrown(error));
    }
  }

  async #cancel(context: RestContext, address: string): Promise<Response> {
    const { server } = this.#parts;
    const request = context.req.raw;
    try {
      await server.authorize(request, context.env, "execute", address);
      const held = this.#find(context, address);
      const running = !held.ended;
      const reason = new URL(request.url).searchParams.get("reason") ?? undefined;
      held.run?.cancel(reason);
      return Response.json(held.status(), { status: running ? 202 : 200 });
    } catch (error) {
      return server.refuse(PatchbayError.fromThrown(error));
    }
  }

  /** The worker whose turn it is. */
  #next(address: string): JobEndpoint {
    const endpoints = this.#desks.get(address) ?? [];
    const least = endpoints.toSorted((a, b) => a.active - b.active)[0];
    if (least !== undefined) return least;
    throw new PatchbayError("not_found", `${address}: nobody performs it`, { address });
  }

  #find(context: RestContext, address: string): HeldJob {
    const id = context.req.param(PARAMETER) ?? "";
    for (const endpoint of ID.test(id) ? this.#desks.get(address) ?? [] : []) {
      const run = endpoint.find(id);
      const held = run === undefined ? undefined : this.#held.get(run);
      if (held !== undefined) return held;
    }
    throw new PatchbayError("not_found", `${address}: there is no job ${JSON.stringify(id)}`, {
      address,
      remedy: "jobs that have ended are kept for a minute",
    });
  }
}

/** One job, and who watches it. */
class HeldJob extends TimerEntry implements JobSink {
  readonly id: string;
  /** Where it is. */
  readonly location: string;
  /** Resolves when the goal was accepted, or with why it was not. */
  readonly decided: Promise<PatchbayError | undefined>;
  run: JobRun | undefined = undefined;
  readonly #endpoint: JobEndpoint;
  readonly #parts: JobsParts;
  /** Whether its owner is known by a stream: a plain POST leaves the job to itself. */
  readonly #owned: boolean;
  readonly #watchers = new Set<EventStream>();
  readonly #kept: Kept[] = [];
  #keptBytes = 0;
  #decide!: (refusal: PatchbayError | undefined) => void;
  #accepted = false;
  #progress: number | undefined;
  #sequence = 0;
  #end: Uint8Array | undefined;
  #outcome: (() => Response) | undefined;
  #failed = false;

  constructor(
    id: string,
    endpoint: JobEndpoint,
    parts: JobsParts,
    location: string,
    owned: boolean,
  ) {
    super();
    this.id = id;
    this.location = location;
    this.#endpoint = endpoint;
    this.#parts = parts;
    this.#owned = owned;
    this.decided = new Promise((resolve) => this.#decide = resolve);
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** The id of the event that ends it, or of the last before. */
  get lastId(): number {
    return this.ended ? this.#sequence + 1 : this.#sequence;
  }

  /** How it stands. */
  status(): Status {
    const state = !this.#accepted && !this.ended
      ? "pending"
      : !this.ended
      ? "running"
      : this.#failed
      ? "failed"
      : "succeeded";
    return {
      id: this.id,
      state,
      ...(this.#progress === undefined ? {} : { progress: this.#progress }),
      ...(this.ended ? { result: `${this.location}/result` } : {}),
    };
  }

  /** Its result, or how it stands. */
  result(): Response {
    if (this.#outcome !== undefined) return this.#outcome();
    return Response.json(this.status(), { status: 202, headers: { "retry-after": "1" } });
  }

  /**
   * Streams it to a client: first what that has missed.
   *
   * @param streams The open streams.
   * @param room The most bytes that wait, and how to cut the connection.
   * @param after The last event that the client has had.
   * @param status The status of the answer.
   * @param headers Further headers of the answer.
   */
  stream(
    streams: Streams,
    room: Pick<StreamBounds, "maxBytes" | "cut">,
    after: number,
    status: number,
    headers: Readonly<Record<string, string>>,
  ): EventStream {
    const bounds: StreamBounds = { ...room, maxQueue: MAX_QUEUE, overflow: "fail" };
    const stream = streams.open(bounds, status, headers, () => this.#left(stream));
    this.#watchers.add(stream);
    this.#endpoint.timers.disarm(this);
    for (const { sequence, bytes } of this.#kept) if (sequence > after) stream.push(bytes);
    if (this.#end !== undefined) {
      stream.push(this.#end);
      stream.end();
    }
    return stream;
  }

  /** The owner has not come back: the job is cancelled. */
  override expire(): void {
    this.run?.cancel("the job's owner is gone");
  }

  // ----- what the worker says -----

  accepted(): void {
    this.#accepted = true;
    this.#decide(undefined);
  }

  feedback(value: unknown, sequence: number): void {
    const { server, context } = this.#parts;
    try {
      const body = server.bodies.encode(value, this.#endpoint.contract.codec);
      this.#endpoint.statistics.bytesOut += body.bytes?.length ?? 0;
      this.#report(encodeEvent("feedback", String(sequence), body, {}), sequence);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      this.#endpoint.statistics.countDrop(known.code);
      context.report(known.with({ pattern: "job", address: this.#endpoint.address }));
    }
  }

  progressed(fraction: number, sequence: number): void {
    this.#progress = fraction;
    const body = this.#parts.server.bodies.encode(fraction, "json");
    this.#report(encodeEvent("progress", String(sequence), body, {}), sequence);
  }

  succeed(value: unknown): void {
    const { contract, statistics } = this.#endpoint;
    try {
      const body = this.#parts.server.bodies.encode(value, contract.codec);
      statistics.bytesOut += body.bytes?.length ?? 0;
      const { bytes, type } = body;
      this.#finish(
        encodeEvent("result", String(this.#sequence + 1), body, {}),
        () => bytes === undefined ? new Response(null, { status: 204 }) : wholeAnswer(bytes, type),
      );
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      this.fail(known);
    }
  }

  fail(error: PatchbayError): void {
    this.#failed = true;
    // Before it was accepted this is the verdict; whoever comes back for it is told as well.
    this.#decide(error);
    const problem = problemOf(error, statusOf(error, true));
    const bytes = new TextEncoder().encode(JSON.stringify(problem));
    const event = encodeEvent(
      "error",
      String(this.#sequence + 1),
      { bytes, type: "application/json" },
      {},
    );
    this.#finish(event, () => problemResponse(error, statusOf(error, true)));
  }

  #report(bytes: Uint8Array, sequence: number): void {
    this.#sequence = sequence;
    this.#kept.push({ sequence, bytes });
    this.#keptBytes += bytes.length;
    while (
      this.#kept.length > KEPT_REPORTS || this.#keptBytes > this.#parts.config.replayBytes
    ) {
      this.#keptBytes -= (this.#kept.shift() as Kept).bytes.length;
    }
    for (const watcher of this.#watchers) watcher.push(bytes, this.#endpoint.statistics);
  }

  #finish(bytes: Uint8Array, outcome: () => Response): void {
    this.#end = bytes;
    this.#outcome = outcome;
    this.#endpoint.timers.disarm(this);
    for (const watcher of [...this.#watchers]) {
      watcher.push(bytes);
      watcher.end();
    }
  }

  #left(stream: EventStream): void {
    this.#watchers.delete(stream);
    if (!this.#owned || !this.#accepted || this.ended || this.#watchers.size > 0) return;
    this.#endpoint.timers.arm(this, this.#endpoint.orphanMs);
  }
}

/** How long a verdict may take before the connection is watched, in milliseconds. */
const WATCH_AFTER_MS = 100;

/** Waits for the worker's verdict; a client that goes meanwhile takes its goal back. */
async function decided(
  held: HeldJob,
  request: Request,
  gone: () => void,
): Promise<PatchbayError | undefined> {
  const soon = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => soon.resolve(undefined), WATCH_AFTER_MS);
  const verdict = held.decided.then((refusal) => ({ refusal }));
  const quick = await Promise.race([verdict, soon.promise]);
  clearTimeout(timer);
  if (quick !== undefined) return quick.refusal;
  const { signal } = request;
  if (signal.aborted) gone();
  signal.addEventListener("abort", gone, { once: true });
  const { refusal } = await verdict;
  signal.removeEventListener("abort", gone);
  return refusal;
}

function readId(id: string | null): string {
  if (id === null) return randomId();
  if (ID.test(id)) return id;
  throw new PatchbayError("invalid", `${JOB_ID}: it is not 32 hexadecimal digits`, {
    details: { path: JOB_ID },
  });
}

function randomId(): string {
  return Array.from(
    crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}
