/**
 * How a hub passes jobs on: what a client has begun, begun anew at another client, and found again
 * when the worker or the owner was lost for a while.
 *
 * @module
 */

import type { Headers } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import type { GoalContext, JobSink } from "../job_endpoint.ts";
import type { InboundHost, JobTarget, RunTarget } from "../session/targets.ts";
import type { Passing } from "../session/passing.ts";
import { EndpointStatistics } from "../statistics.ts";
import { TimerEntry } from "../timer_wheel.ts";
import { nobody, open, type RelayHost, some, spent, type Worker } from "./hub_relay.ts";

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
