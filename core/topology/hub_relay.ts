/**
 * How a hub passes calls and jobs on: what a client has begun, begun anew at another client.
 *
 * @module
 */

import type { CallSink, HandlerContext, Headers, OutboundCall } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import type { GoalContext, JobSink } from "../job_endpoint.ts";
import { ForwardedCall } from "../layers/forwarded.ts";
import type { CallTarget, InboundHost, JobTarget, RunTarget } from "../session/targets.ts";
import type { Passing } from "../session/passing.ts";
import type { Session } from "../session/session.ts";
import { EndpointStatistics } from "../statistics.ts";
import { TimerEntry, type TimerWheel } from "../timer_wheel.ts";

/** A client that can be asked. */
export interface Worker {
  /** Its connection. */
  readonly session: Session;
  /** The jobs that run there for others. */
  readonly errands: Set<Errand>;
}

/** What relaying asks of the hub. */
export interface RelayHost {
  /** The plugin's name. */
  readonly transport: string;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** How long to wait for a worker whose connection was lost, in milliseconds. */
  readonly rejoinMs: number;
  /** Who serves an address now, in the order to ask them. */
  workers(pattern: "callable" | "job", address: string, but: unknown): readonly Worker[];
  /** Jobs whose worker is looked for, by address. */
  readonly seeking: Map<string, Set<Errand>>;
  /** A message had no hops left. */
  countTtl(): void;
}

/** Nobody serves an address. */
export function nobody(address: string, transport: string): PatchbayError {
  return new PatchbayError("not_found", `${address}: no client of the hub serves it`, {
    address,
    transport,
    details: { notExecuted: true },
    remedy: "start the module that serves it, connected to the same hub",
  });
}

function spent(host: RelayHost, address: string): PatchbayError {
  host.countTtl();
  return new PatchbayError("unavailable", `${address}: the message has passed too many bays`, {
    address,
    retryable: false,
    details: { reason: "ttl" },
    remedy: "look for bridges or hubs that lead in a circle",
  });
}

/** The value of what would be passed on, for a server of the hub itself. */
function open(passing: Passing, from: InboundHost): unknown {
  const codec = from.sender.codecs.find((each) => each.name === passing.codec);
  if (codec === undefined) throw new PatchbayError("internal", `no codec ${passing.codec}`);
  return codec.decode(passing.body);
}

function some(headers: Headers): Headers | undefined {
  for (const _ in headers) return headers;
  return undefined;
}

/** A call that tries the next server when one has not begun it. */
export class HubCall extends ForwardedCall {
  readonly #left: Worker[];
  #session: Session | undefined;
  #over = false;

  /**
   * @param call The call.
   * @param workers Who serves the address, in order.
   */
  constructor(call: OutboundCall, workers: readonly Worker[]) {
    super(call);
    this.#left = [...workers];
  }

  /** Sends it to the next server. */
  next(): void {
    const worker = this.#left.shift() as Worker;
    this.#session = worker.session;
    worker.session.outbound.request(this);
  }

  /** The caller has given up. */
  cancel(): void {
    this.#over = true;
    this.#session?.outbound.cancelRequest(this);
  }

  override fail(error: unknown): void {
    const untouched = error instanceof PatchbayError && error.details?.notExecuted === true &&
      error.code !== "overloaded";
    if (untouched && this.#left.length > 0 && !this.#over) return this.next();
    this.#over = true;
    super.fail(error);
  }
}

/** A client's call, as it goes on to another. */
class RelayedCall implements OutboundCall {
  readonly value: Passing;
  readonly address: string;
  readonly timeoutMs: number;
  readonly codec: string;
  readonly idempotent = false;
  readonly statistics: EndpointStatistics;
  headers: Headers | undefined;
  slot: unknown = undefined;
  abandoned = false;
  readonly #context: HandlerContext;
  readonly #end: (tell: (sink: CallSink) => void) => void;

  constructor(
    value: Passing,
    context: HandlerContext,
    statistics: EndpointStatistics,
    end: (tell: (sink: CallSink) => void) => void,
  ) {
    this.value = value;
    this.address = context.address;
    this.timeoutMs = context.remainingMs;
    this.codec = value.codec;
    this.headers = some(context.headers);
    this.statistics = statistics;
    this.#context = context;
    this.#end = end;
  }

  get priority(): number {
    return this.value.priority;
  }

  get remainingMs(): number {
    return this.#context.remainingMs;
  }

  succeed(value: unknown): void {
    this.#end((sink) => sink.succeed(value));
  }

  fail(error: unknown): void {
    this.#end((sink) => sink.fail(error));
  }
}

/** The way of one client's calls to one address at other clients. */
export class RelayCallable implements CallTarget {
  /** As {@link CallTarget.passes}. */
  readonly passes = true;
  /** As {@link CallTarget.address}. */
  readonly address: string;
  /** As {@link CallTarget.contract}. */
  readonly contract: { readonly codec?: string } = {};
  /** As {@link CallTarget.statistics}. */
  readonly statistics: EndpointStatistics;
  readonly #host: RelayHost;
  readonly #from: InboundHost;
  readonly #local: CallTarget | undefined;
  readonly #calls = new Map<CallSink, HubCall>();
  #turn = 0;

  /**
   * @param host The hub.
   * @param address The address.
   * @param from The session of the client that calls: it is not asked itself.
   * @param local A server of the hub itself that shares the address.
   */
  constructor(host: RelayHost, address: string, from: InboundHost, local?: CallTarget) {
    this.#host = host;
    this.#local = local;
    this.#from = from;
    this.address = address;
    this.statistics = new EndpointStatistics("callable", "server", address, host.transport);
  }

  /** As {@link CallTarget.handle}. */
  handle(value: unknown, context: HandlerContext, sink: CallSink): void {
    const passing = value as Passing;
    const workers = this.#host.workers("callable", this.address, this.#from);
    if (this.#local !== undefined && this.#turn++ % (workers.length + 1) === 0) {
      return this.#handleHere(this.#local, passing, context, sink);
    }
    if (passing.ttl === 0) return sink.fail(spent(this.#host, this.address));
    if (workers.length === 0) return sink.fail(nobody(this.address, this.#host.transport));
    const call = new HubCall(
      new RelayedCall(passing, context, this.statistics, (tell) => {
        this.#calls.delete(sink);
        tell(sink);
      }),
      workers,
    );
    this.#calls.set(sink, call);
    call.next();
  }

  /** As {@link CallTarget.abandon}. */
  abandon(sink: CallSink): void {
    const call = this.#calls.get(sink);
    if (call === undefined) return this.#local?.abandon(sink);
    call.cancel();
    this.#calls.delete(sink);
  }

  #handleHere(local: CallTarget, value: Passing, context: HandlerContext, sink: CallSink): void {
    let request: unknown;
    try {
      request = open(value, this.#from);
    } catch (error) {
      return sink.fail(error);
    }
    local.handle(request, context, sink);
  }
}

/** What an errand is about. */
export interface ErrandTask {
  /** The job's id. */
  readonly id: string;
  /** The address. */
  readonly address: string;
  /** The goal; not looked at by an attachment. */
  readonly goal: unknown;
  /** Sent along. */
  readonly headers: Headers | undefined;
  /** The codec the contract asks for. */
  readonly codec: string | undefined;
  /** 0–255. */
  readonly priority: number;
  /** How long the owner waits without feedback, in milliseconds. */
  readonly timeoutMs: number;
}

/** A job that a hub has done by a client, for another client or for itself. */
export class Errand extends TimerEntry implements OutboundJob {
  readonly id: string;
  readonly goal: unknown;
  readonly address: string;
  readonly codec: string | undefined;
  readonly priority: number;
  readonly timeoutMs: number;
  readonly statistics: EndpointStatistics;
  headers: Headers | undefined;
  lastSequence = 0;
  isAccepted = false;
  ended = false;
  slot: unknown = undefined;
  readonly #host: RelayHost;
  readonly #from: unknown;
  readonly #sink: JobSink;
  #worker: Worker | undefined;
  #cancelled: { readonly reason: string | undefined } | undefined;
  /** Whether the worker is looked for after its connection, or the owner's, was lost. */
  #seeking = false;
  #asked = new Set<Worker>();

  /**
   * @param host The hub.
   * @param task What is to be done.
   * @param from Whose job it is: not asked itself.
   * @param statistics Counters.
   * @param sink Where the job's messages go.
   */
  constructor(
    host: RelayHost,
    task: ErrandTask,
    from: unknown,
    statistics: EndpointStatistics,
    sink: JobSink,
  ) {
    super();
    this.#host = host;
    this.#from = from;
    this.#sink = sink;
    this.id = task.id;
    this.goal = task.goal;
    this.address = task.address;
    this.headers = task.headers;
    this.codec = task.codec;
    this.priority = task.priority;
    this.timeoutMs = task.timeoutMs;
    this.statistics = statistics;
  }

  /** Sends the goal to one of those who perform the job. */
  start(): void {
    const [worker] = this.#host.workers("job", this.address, this.#from);
    if (worker === undefined) return this.fail(nobody(this.address, this.#host.transport));
    this.#take(worker);
    worker.session.outbound.goal(this);
  }

  /**
   * Goes on with a job that has been accepted before.
   *
   * @param after The number of the last report that its owner had.
   */
  attach(after: number): void {
    this.isAccepted = true;
    this.lastSequence = after;
    this.#seek();
  }

  /** The connection of its worker was lost. */
  lost(): void {
    this.#worker = undefined;
    if (this.ended) return;
    if (this.isAccepted) return this.#seek();
    // Whether the worker has the goal is not known: it must not run twice.
    this.fail(new PatchbayError("closed", `${this.address}: the worker's connection was lost`));
  }

  /**
   * Somebody new performs the job: perhaps the worker is back.
   *
   * @param worker Who.
   */
  appeared(worker: Worker): void {
    if (this.#seeking && this.#worker === undefined) this.#ask(worker);
  }

  /**
   * Asks the worker to stop.
   *
   * @param reason Why.
   */
  cancel(reason: string | undefined): void {
    this.#cancelled = { reason };
    this.#worker?.session.outbound.cancelJob(this, reason, false);
  }

  /**
   * Asks the worker to stop, and wants no outcome.
   *
   * @param reason Why.
   */
  abandon(reason: string | undefined): void {
    this.#worker?.session.outbound.cancelJob(this, reason, true);
    this.#end();
  }

  /** The owner's connection is lost: the worker goes on for a while, and nothing is kept here. */
  detach(): void {
    this.#worker?.session.outbound.detach(this);
    this.#end();
  }

  accepted(): void {
    this.isAccepted = true;
    this.#foundAgain();
    this.#sink.accepted();
  }

  feedback(value: unknown, sequence: number): void {
    this.#foundAgain();
    this.lastSequence = sequence;
    this.#sink.feedback(value, sequence);
  }

  progressed(fraction: number, sequence: number): void {
    this.#foundAgain();
    this.lastSequence = sequence;
    this.#sink.progressed(fraction, sequence);
  }

  succeed(value: unknown): void {
    if (this.ended) return;
    this.#end();
    this.#sink.succeed(value);
  }

  fail(error: unknown): void {
    if (this.ended) return;
    const known = PatchbayError.fromThrown(error);
    if (this.#seeking && known.code === "closed") {
      // Not there: another one may have it.
      this.#leave();
      return this.#askNext();
    }
    this.#end();
    this.#sink.fail(known);
  }

  /** The worker has not come back. */
  override expire(): void {
    this.#seeking = false;
    const ms = this.#host.rejoinMs;
    this.fail(
      new PatchbayError("closed", `${this.address}: the worker was lost, for over ${ms} ms`, {
        remedy: "the worker has gone or was restarted; execute the job again",
        retryable: false,
      }),
    );
  }

  #seek(): void {
    this.#seeking = true;
    this.#asked = new Set();
    const { seeking, timers, rejoinMs } = this.#host;
    let others = seeking.get(this.address);
    if (others === undefined) seeking.set(this.address, others = new Set());
    others.add(this);
    timers.arm(this, rejoinMs);
    this.#askNext();
  }

  #askNext(): void {
    const workers = this.#host.workers("job", this.address, this.#from);
    const worker = workers.find((each) => !this.#asked.has(each));
    if (worker !== undefined) this.#ask(worker);
  }

  #ask(worker: Worker): void {
    this.#asked.add(worker);
    this.#take(worker);
    const { outbound } = worker.session;
    outbound.attach(this);
    if (this.#cancelled !== undefined) outbound.cancelJob(this, this.#cancelled.reason, false);
  }

  #foundAgain(): void {
    if (!this.#seeking) return;
    this.#seeking = false;
    this.#stopSeeking();
  }

  #stopSeeking(): void {
    const { seeking, timers } = this.#host;
    timers.disarm(this);
    const others = seeking.get(this.address);
    others?.delete(this);
    if (others?.size === 0) seeking.delete(this.address);
  }

  #take(worker: Worker): void {
    this.#worker = worker;
    worker.errands.add(this);
  }

  #leave(): void {
    this.#worker?.errands.delete(this);
    this.#worker = undefined;
  }

  #end(): void {
    this.ended = true;
    this.#leave();
    this.#stopSeeking();
  }
}

/** A client's job at another client, as the client's session has it. */
class RelayedRun implements RunTarget {
  readonly #make: (sink: JobSink) => Errand;
  errand: Errand | undefined;

  constructor(make: (sink: JobSink) => Errand) {
    this.#make = make;
  }

  cancel(reason?: string): void {
    this.errand?.cancel(reason);
  }

  detach(): void {
    if (this.errand?.ended === false) this.errand.detach();
  }

  abandon(reason?: string): void {
    if (this.errand?.ended === false) this.errand.abandon(reason);
  }

  attach(sink: JobSink, after: number): void {
    this.errand = this.#make(sink);
    this.errand.attach(after);
  }
}

/** The way of one client's jobs to one address at other clients. */
export class RelayJob implements JobTarget {
  /** As {@link JobTarget.passes}. */
  readonly passes = true;
  /** As {@link JobTarget.address}. */
  readonly address: string;
  /** As {@link JobTarget.contract}. */
  readonly contract: { readonly codec?: string } = {};
  /** As {@link JobTarget.statistics}. */
  readonly statistics: EndpointStatistics;
  readonly #host: RelayHost;
  readonly #from: InboundHost;
  readonly #local: JobTarget | undefined;
  readonly #attachment: () => unknown;
  #turn = 0;

  /**
   * @param host The hub.
   * @param address The address.
   * @param from The session of the client whose jobs they are.
   * @param attachment Makes what stands for the goal of a job that is attached.
   * @param local A worker of the hub itself that shares the address.
   */
  constructor(
    host: RelayHost,
    address: string,
    from: InboundHost,
    attachment: () => unknown,
    local?: JobTarget,
  ) {
    this.#host = host;
    this.#local = local;
    this.#from = from;
    this.#attachment = attachment;
    this.address = address;
    this.statistics = new EndpointStatistics("job", "server", address, host.transport);
  }

  /** As {@link JobTarget.start}. */
  start(id: string, goal: unknown, context: GoalContext, sink: JobSink): RunTarget | undefined {
    const passing = goal as Passing;
    const others = this.#host.workers("job", this.address, this.#from).length;
    if (this.#local !== undefined && this.#turn++ % (others + 1) === 0) {
      return this.#local.start(id, open(passing, this.#from), context, sink);
    }
    if (passing.ttl === 0) {
      sink.fail(spent(this.#host, this.address));
      return undefined;
    }
    const run = new RelayedRun((to) =>
      this.#errand(id, goal, some(context.headers), passing.codec, passing, to)
    );
    run.errand = this.#errand(id, goal, some(context.headers), passing.codec, passing, sink);
    run.errand.start();
    return run;
  }

  /** As {@link JobTarget.find}: whoever has the job is looked for when it is attached. */
  find(id: string): RunTarget {
    const here = this.#local?.find(id);
    if (here !== undefined) return here;
    const goal = this.#attachment();
    const meta = { priority: 128, number: Infinity };
    return new RelayedRun((sink) => this.#errand(id, goal, undefined, undefined, meta, sink));
  }

  #errand(
    id: string,
    goal: unknown,
    headers: Headers | undefined,
    codec: string | undefined,
    { priority, number }: { readonly priority: number; readonly number: number },
    sink: JobSink,
  ): Errand {
    const { address } = this;
    const task = { id, address, goal, headers, codec, priority, timeoutMs: number };
    return new Errand(this.#host, task, this.#from, this.statistics, sink);
  }
}
