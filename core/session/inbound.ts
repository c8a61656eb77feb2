/**
 * What the peer of a session has begun at this side: calls, subscriptions and jobs.
 *
 * @module
 */

import { checkPattern } from "../address.ts";
import { PatchbayError } from "../errors.ts";
import type { GoalContext } from "../job_endpoint.ts";
import type { Peer } from "../plugin.ts";
import { OVERFLOWS } from "../queue.ts";
import { decodeControl, Flag, Kind } from "./envelope.ts";
import type { Frame } from "./frame.ts";
import { InboundCall, InboundJob, NO_HEADERS } from "./inbound_call.ts";
import type { Origin } from "./passing.ts";
import { Publication } from "./publication.ts";
import type { InboundRoute } from "./route.ts";
import type { InboundHost, RunTarget } from "./targets.ts";
import { Verdicts } from "./verdicts.ts";

/** The most things one peer may have begun at once. */
const MAX_BEGUN = 65_536;

/** The inbound half of a session. */
export class Inbound {
  readonly #session: InboundHost;
  readonly #calls = new Map<number, InboundCall>();
  readonly #jobs = new Map<number, InboundJob>();
  readonly #publications = new Map<number, Publication>();
  readonly #verdicts: Verdicts;
  #peer: Peer | undefined;
  #self: Origin | undefined;
  #nowMs = 0;
  /** One-way messages that wait for a verdict. */
  #undecided = 0;
  #ended = false;

  /** @param session The session. */
  constructor(session: InboundHost) {
    this.#session = session;
    this.#verdicts = new Verdicts(session);
  }

  /** A batch of frames is through. */
  batchEnd(): void {
    this.#nowMs = 0;
  }

  /** A frame came with which the peer begins, ends or feeds something. */
  receive(frame: Frame): void {
    switch (frame.kind) {
      case Kind.request:
      case Kind.send:
        return this.#request(frame);
      case Kind.cancel:
        return this.#cancel(frame.id);
      case Kind.subscribe:
        return this.#subscribe(frame);
      case Kind.unsubscribe:
        return this.#unsubscribe(frame.id);
      case Kind.goal:
        return this.#goal(frame);
      case Kind.attach:
        return this.#attach(frame);
      case Kind.cancelJob:
        return this.#cancelJob(frame);
      case Kind.detach:
        return this.#detach(frame.id);
    }
  }

  /** The listener behind a subscription can queue so many more messages. */
  credited(id: number, messages: number): void {
    this.#publications.get(id)?.credited(messages);
  }

  /** The session has ended: handlers are told, jobs wait for their owner, speakers forget it. */
  end(): void {
    this.#ended = true;
    for (const call of this.#calls.values()) {
      call.settled = true;
      call.endpoint.abandon(call);
      call.abort();
    }
    this.#calls.clear();
    for (const job of this.#jobs.values()) job.run?.detach(job);
    this.#jobs.clear();
    for (const publication of this.#publications.values()) {
      this.#session.host.unsubscribed(publication);
      publication.end();
    }
    this.#publications.clear();
  }

  // ----- for the sinks -----

  /** @ignore */
  respond(call: InboundCall, id: number, codec: number, priority: number, value: unknown): void {
    const { sender } = this.#session;
    this.settled(id, call);
    try {
      // The caller's codec answers, unless the response is bare bytes or cannot be told in it.
      const chosen = value instanceof Uint8Array || sender.codecs[codec]?.name === "raw"
        ? sender.codecFor(call.endpoint.contract.codec, value)
        : sender.codecs[codec];
      const head = {
        kind: Kind.response,
        flags: 0,
        priority,
        headers: undefined,
        id,
        route: 0,
        number: 0,
        paid: false,
      };
      sender.value(head, chosen, value, call.endpoint.statistics);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      call.endpoint.statistics.countError(known.code);
      this.refuse(id, known, priority);
    }
  }

  /** @ignore */
  refuse(id: number, error: PatchbayError, priority: number): void {
    if (this.#ended) return;
    const { sender } = this.#session;
    const head = {
      kind: Kind.error,
      flags: 0,
      priority,
      headers: undefined,
      id,
      route: 0,
      number: 0,
      paid: false,
    };
    try {
      sender.frame(sender.build(head, 0, sender.errorBody(error)), head);
    } catch {
      // The queue is full of answers that the peer does not read.
      this.#session.overloaded();
    }
  }

  /** @ignore */
  settled(id: number, call: InboundCall): void {
    call.settled = true;
    this.#calls.delete(id);
  }

  /** @ignore */
  sendJob(
    job: InboundJob,
    kind: number,
    flags: number,
    id: number,
    priority: number,
    number: number,
    value: unknown,
  ): void {
    if (this.#ended) return;
    const { sender } = this.#session;
    const head = { kind, flags, priority, headers: undefined, id, route: 0, number, paid: true };
    try {
      const name = (flags & Flag.progress) !== 0 ? "json" : job.endpoint.contract.codec;
      sender.value(head, sender.codecFor(name, value), value, job.endpoint.statistics);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      if (kind === Kind.result) return this.jobFailed(id, known, priority);
      job.endpoint.statistics.countDrop(known.code);
      this.#session.report(known.with({ pattern: "job", address: job.endpoint.address }));
    }
  }

  /** @ignore A job's error keeps its place behind the feedback: it needs credit as that does. */
  jobFailed(id: number, error: PatchbayError, priority: number): void {
    if (this.#ended) return;
    const { sender } = this.#session;
    const head = {
      kind: Kind.error,
      flags: Flag.paid,
      priority,
      headers: undefined,
      id,
      route: 0,
      number: 0,
      paid: true,
    };
    try {
      sender.frame(sender.build(head, 0, sender.errorBody(error)), head);
    } catch {
      this.#session.overloaded();
    }
  }

  /** @ignore */
  jobEnded(id: number): void {
    this.#jobs.delete(id);
  }

  // ----- what the peer begins -----

  #request(frame: Frame): void {
    const route = this.#route(frame);
    const endpoint = route.callable;
    const { id, priority } = frame;
    const wantsAnswer = frame.kind === Kind.request;
    if (this.#calls.size + this.#undecided >= MAX_BEGUN) {
      return wantsAnswer ? this.#full(id, priority) : undefined;
    }
    if (this.#calls.size > 0 && wantsAnswer && this.#calls.has(id)) throw twice("call", id);
    if (endpoint === undefined) {
      if (wantsAnswer) this.refuse(id, this.#nobody(route.address, "serves"), priority);
      else this.#session.sender.dropped("not_found");
      return;
    }
    const peer = route.peer(this.#peer ??= this.#session.peer);
    let call: InboundCall;
    let value: unknown;
    try {
      call = new InboundCall(this, endpoint, frame, peer);
      endpoint.statistics.bytesIn += frame.bodyBytes;
      value = endpoint.passes === undefined
        ? frame.value(this.#session.sender)
        : this.#session.sender.passing(frame, this.#origin());
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      endpoint.statistics.countError(known.code);
      if (wantsAnswer) this.refuse(id, known, priority);
      return;
    }
    if (this.#session.authorize !== undefined) {
      call.came(this.#now());
      return this.#afterVerdict(route.address, id, call, value, wantsAnswer);
    }
    call.settled = !wantsAnswer;
    endpoint.handle(value, call, call);
    if (call.settled) {
      if (!wantsAnswer) call.came(this.#now());
      return;
    }
    call.came(this.#now());
    this.#calls.set(id, call);
  }

  /** One reading of the clock serves a whole batch. */
  #now(): number {
    if (this.#nowMs === 0) this.#nowMs = performance.now();
    return this.#nowMs;
  }

  #afterVerdict(
    address: string,
    id: number,
    call: InboundCall,
    value: unknown,
    wantsAnswer: boolean,
  ): void {
    if (wantsAnswer) this.#calls.set(id, call);
    else this.#undecided++;
    this.#verdicts.of(address, "call", call.peer).then(() => {
      if (!wantsAnswer) this.#undecided--;
      if (this.#ended || call.settled) return;
      call.settled = !wantsAnswer;
      call.endpoint.handle(value, call, call);
    }, (error) => {
      if (wantsAnswer) return call.fail(error);
      this.#undecided--;
      call.endpoint.statistics.countDrop("forbidden");
    });
  }

  #cancel(id: number): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    this.settled(id, call);
    call.endpoint.abandon(call);
    call.abort();
  }

  #subscribe(frame: Frame): void {
    const { id } = frame;
    const { sender, host } = this.#session;
    if (this.#publications.has(id)) throw twice("subscription", id);
    if (this.#publications.size >= MAX_BEGUN) return this.#full(id, 128);
    let publication: Publication;
    try {
      const terms = readTerms(decodeControl(frame.body()));
      publication = new Publication(this.#session, id, terms, () => this.#unsubscribe(id));
    } catch (error) {
      return this.refuse(id, PatchbayError.fromThrown(error), 255);
    }
    this.#publications.set(id, publication);
    const accept = () => {
      // The peer may have unsubscribed while the verdict was pending.
      if (this.#ended || this.#publications.get(id) !== publication) return;
      sender.control(Kind.subscribeAck, id, 0);
      host.subscribed(publication);
    };
    const begin = () => {
      if (this.#ended || this.#publications.get(id) !== publication) return;
      const joining = host.joining?.(publication);
      if (joining === undefined) accept();
      else joining.then(accept);
    };
    const { slots } = this.#session;
    const join = slots === undefined || !publication.terms.latest ? begin : async () => {
      // Few links have slots: a page need not load what fills them.
      const { LatestSlots } = await import("./latest.ts");
      if (this.#publications.get(id) === publication) {
        publication.slots = new LatestSlots(slots, sender);
      }
      begin();
    };
    if (this.#session.authorize === undefined) return join();
    this.#verdicts.of(publication.terms.pattern, "listen", this.#session.peer).then(
      join,
      (error) => {
        if (this.#publications.get(id) === publication) this.#publications.delete(id);
        this.refuse(id, error, 255);
      },
    );
  }

  #unsubscribe(id: number): void {
    const publication = this.#publications.get(id);
    if (publication === undefined) return;
    this.#publications.delete(id);
    this.#session.host.unsubscribed(publication);
    publication.end();
  }

  #goal(frame: Frame): void {
    const route = this.#route(frame);
    const endpoint = route.job;
    const { id, priority } = frame;
    if (this.#jobs.has(id)) throw twice("job", id);
    if (this.#jobs.size >= MAX_BEGUN) return this.#full(id, priority);
    if (endpoint === undefined) {
      return this.refuse(id, this.#nobody(route.address, "performs"), priority);
    }
    let goal: unknown;
    let jobId: string;
    let context: GoalContext;
    try {
      jobId = readJobId(frame.body());
      context = {
        headers: frame.headers() ?? NO_HEADERS,
        peer: route.peer(this.#session.peer),
        priority,
      };
      endpoint.statistics.bytesIn += frame.bodyBytes;
      goal = endpoint.passes === undefined
        ? frame.value(this.#session.sender, 16)
        : this.#session.sender.passing(frame, this.#origin(), 16);
    } catch (error) {
      return this.refuse(id, PatchbayError.fromThrown(error), priority);
    }
    this.#begin(new InboundJob(this, endpoint, id, priority), id, route, (job) => {
      job.run = endpoint.start(jobId, goal, context, job);
      if (job.run === undefined) this.#jobs.delete(id);
    });
  }

  /** Begins or attaches a job, when it may be, unless its owner has abandoned it meanwhile. */
  #begin(job: InboundJob, id: number, route: InboundRoute, go: (job: InboundJob) => void): void {
    this.#jobs.set(id, job);
    const begin = () => {
      if (this.#ended || this.#jobs.get(id) !== job) return;
      go(job);
      if (job.cancelled !== undefined) job.run?.cancel(job.cancelled.reason);
    };
    if (this.#session.authorize === undefined) return begin();
    const peer = route.peer(this.#session.peer);
    this.#verdicts.of(route.address, "execute", peer).then(begin, (error) => job.fail(error));
  }

  #attach(frame: Frame): void {
    const route = this.#route(frame);
    const { id, number: after, priority } = frame;
    if (this.#jobs.has(id)) throw twice("job", id);
    if (this.#jobs.size >= MAX_BEGUN) return this.#full(id, priority);
    let run: RunTarget | undefined;
    try {
      run = route.job?.find(readJobId(frame.body()));
    } catch (error) {
      return this.refuse(id, PatchbayError.fromThrown(error), priority);
    }
    if (run === undefined || route.job === undefined) {
      const error = new PatchbayError("closed", `${route.address}: the worker has lost the job`, {
        remedy: "the worker was restarted, or the job ended too long ago; execute it again",
        retryable: false,
      });
      return this.refuse(id, error, priority);
    }
    const found = run;
    // Attached anew over the same connection, as a hub does: the old way to the owner is over.
    for (const [old, other] of this.#jobs) if (other.run === found) this.#jobs.delete(old);
    this.#begin(new InboundJob(this, route.job, id, 128), id, route, (job) => {
      job.run = found;
      found.attach(job, after);
    });
  }

  #cancelJob(frame: Frame): void {
    const job = this.#jobs.get(frame.id);
    if (job === undefined) return;
    const { reason: given } = decodeControl(frame.body());
    const reason = typeof given === "string" ? given : undefined;
    if ((frame.flags & Flag.abandon) !== 0) {
      this.#jobs.delete(frame.id);
      if (job.run?.abandon !== undefined) return job.run.abandon(reason);
      job.run?.detach(job);
    }
    if (job.run === undefined) job.cancelled = { reason };
    else job.run.cancel(reason);
  }

  /** A hub says that the owner's connection is lost: the job waits for it, as for one of our own. */
  #detach(id: number): void {
    const job = this.#jobs.get(id);
    this.#jobs.delete(id);
    job?.run?.detach(job);
  }

  /** The peer, as those will see it to whom its messages are passed on. */
  #origin(): Origin {
    const { origin, peer } = this.#session;
    return this.#self ??= { id: origin, module: peer.module, identity: peer.identity };
  }

  #route(frame: Frame): InboundRoute {
    const route = this.#session.inboundRoute(frame.route);
    const { host } = this.#session;
    if (route.version !== host.version) {
      route.version = host.version;
      route.callable = host.callable(route.address, this.#session);
      route.job = host.job(route.address, this.#session);
    }
    return route;
  }

  #nobody(address: string, verb: string): PatchbayError {
    return new PatchbayError("not_found", `${address}: nobody ${verb} it there any longer`, {
      address,
      details: { notExecuted: true },
    });
  }

  #full(id: number, priority: number): void {
    const message = `over ${MAX_BEGUN} things begun on one connection`;
    this.refuse(id, new PatchbayError("overloaded", message), priority);
  }
}

function twice(what: string, id: number): PatchbayError {
  return new PatchbayError("protocol", `the peer began ${what} ${id} twice`);
}

function readJobId(body: Uint8Array): string {
  if (body.length < 16) throw new PatchbayError("protocol", "a goal without a job id");
  return Array.from(body.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function readTerms(o: Record<string, unknown>): Publication["terms"] {
  const { pattern, overflow, maxQueue, retained, latest } = o;
  const known = OVERFLOWS.find((one) => one === overflow);
  if (
    typeof pattern !== "string" || known === undefined || typeof maxQueue !== "number" ||
    !(maxQueue >= 1 && maxQueue <= 1_000_000)
  ) throw new PatchbayError("protocol", "a subscription lacks a field or has a wrong one");
  checkPattern(pattern);
  return {
    pattern,
    overflow: known,
    maxQueue,
    retained: retained === true,
    latest: latest === true,
  };
}
