/**
 * Jobs, the worker's side: accepts goals, runs them, keeps what an owner who reconnects has missed.
 *
 * @module
 */

import type { HandlerContext, Headers } from "./callable.ts";
import type { JobContract } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import type { Bridged } from "./offers.ts";
import type { Peer } from "./plugin.ts";
import { Fifo } from "./queue.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

/** What a worker learns about its job, and how it reports. */
export interface JobContext<FeedbackIn> extends HandlerContext {
  /** The job's id: 32 hexadecimal digits, the same on the owner's side. */
  readonly id: string;
  /**
   * Sends a feedback value to the owner.
   *
   * @throws {PatchbayError} `invalid`: the value.
   */
  feedback(value: FeedbackIn): void;
  /** Tells the owner how far it is, 0–1. */
  progress(fraction: number): void;
}

/**
 * Performs a job: returns the result or a promise of it, or is an async generator that yields
 * feedback and returns the result. What it throws reaches the owner.
 */
export type JobHandler<GoalOut, FeedbackIn, ResultIn> = (
  goal: GoalOut,
  context: JobContext<FeedbackIn>,
) => ResultIn | Promise<ResultIn> | AsyncGenerator<FeedbackIn, ResultIn, void>;

/** How to perform a job. */
export interface PerformOptions<GoalOut = unknown> {
  /** The wires to perform it on, by plugin name; default: all that are open and can. */
  via?: readonly string[];
  /** Whether other servers may share the address; default: `exclusive`. */
  sharing?: "exclusive" | "shared";
  /** The most jobs at once; one more is rejected with `overloaded`. Default 64. */
  maxConcurrent?: number;
  /**
   * Decides on a goal: `true` or nothing accepts, `false` or a text (the reason) rejects, and so
   * does throwing.
   */
  accept?: (
    goal: GoalOut,
    context: GoalDecision,
  ) => boolean | string | void | Promise<boolean | string | void>;
  /** How long a job goes on without its owner, in milliseconds, before it is cancelled. 10 s. */
  orphanMs?: number;
  /** How long the outcome is kept for an owner that reconnects, in milliseconds. 60 s. */
  retainMs?: number;
}

/** What decides on a goal besides the goal. */
export interface GoalDecision extends GoalContext {
  /** The job's id. */
  readonly id: string;
  /** Aborted when the owner has given up meanwhile. */
  readonly signal: AbortSignal;
}

/** Where the messages of a job go. */
export interface JobSink {
  /** The goal was accepted. */
  accepted(): void;
  /** A feedback value. */
  feedback(value: unknown, sequence: number): void;
  /** A progress report. */
  progressed(fraction: number, sequence: number): void;
  /** The result. */
  succeed(value: unknown): void;
  /** It was rejected, or failed. */
  fail(error: PatchbayError): void;
}

/** What a goal comes with. */
export interface GoalContext {
  /** What the owner sent along. */
  readonly headers: Headers;
  /** Whose job it is. */
  readonly peer: Peer;
  /** 0–255, as the owner said; absent where the wire does not tell. */
  readonly priority?: number;
}

/** How many feedback values are kept for an owner that reconnects. */
const KEPT_FEEDBACK = 256;
/** How many finished jobs are kept for owners that reconnect. */
const KEPT_JOBS = 256;

type Report =
  & { readonly sequence: number }
  & (
    | { readonly kind: "feedback"; readonly value: unknown }
    | { readonly kind: "progress"; readonly value: number }
  );

type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: PatchbayError };

/** One job on the worker's side. */
export class JobRun extends TimerEntry {
  /** The job's id. */
  readonly id: string;
  readonly #endpoint: JobEndpoint;
  readonly #context: GoalContext;
  readonly #abort = new AbortController();
  readonly #reports = new Fifo<Report>();
  #sink: JobSink | undefined;
  #sequence = 0;
  #accepted = false;
  #outcome: Outcome | undefined;

  /** @ignore Made by the endpoint. */
  constructor(id: string, endpoint: JobEndpoint, context: GoalContext, sink: JobSink) {
    super();
    this.id = id;
    this.#endpoint = endpoint;
    this.#context = context;
    this.#sink = sink;
  }

  /** Whether the job has ended; its outcome may still be waiting for its owner. */
  get ended(): boolean {
    return this.#outcome !== undefined;
  }

  /**
   * Asks the handler to stop.
   *
   * @param reason What its signal is aborted with.
   */
  cancel(reason?: string): void {
    if (!this.#abort.signal.aborted) {
      this.#abort.abort(new DOMException(reason ?? "the job was cancelled", "AbortError"));
    }
  }

  /**
   * The owner's connection is lost: the job goes on for `orphanMs`.
   *
   * @param sink The way that was lost; ignored if the owner has come back over another meanwhile.
   */
  detach(sink?: JobSink): void {
    if (sink !== undefined && sink !== this.#sink) return;
    this.#sink = undefined;
    if (!this.ended) this.#endpoint.timers.arm(this, this.#endpoint.orphanMs);
  }

  /**
   * The owner is back: it gets what it has missed, then goes on as before.
   *
   * @param sink The new way to the owner.
   * @param after The number of the last report it had.
   */
  attach(sink: JobSink, after: number): void {
    this.#sink = sink;
    if (!this.ended) this.#endpoint.timers.disarm(this);
    if (this.#accepted) sink.accepted();
    const reports = this.#reports;
    for (let i = reports.length; i > 0; i--) {
      const report = reports.shift() as Report;
      reports.push(report);
      if (report.sequence > after) this.#send(report);
    }
    if (this.#outcome !== undefined) this.#tell(this.#outcome);
  }

  /** @ignore The worker is gone before the handler was done: its outcome goes nowhere. */
  giveUp(): void {
    this.#end({
      ok: false,
      error: new PatchbayError("closed", `${this.#endpoint.address}: the worker was closed`),
    });
  }

  /** The orphan's time is up, or the outcome has been kept long enough. */
  override expire(): void {
    if (this.ended) this.#endpoint.forget(this);
    else this.cancel("the job's owner is gone");
  }

  /** @ignore */
  async run(
    goal: unknown,
    handler: JobHandler<never, never, unknown>,
    accept: PerformOptions["accept"],
  ): Promise<void> {
    try {
      const contract = this.#endpoint.contract;
      if (contract.goal !== undefined) goal = await applySchema(contract.goal, goal, "goal");
      const verdict = accept === undefined ? true : await accept(goal, {
        ...this.#context,
        id: this.id,
        signal: this.#abort.signal,
      });
      if (verdict === false || typeof verdict === "string") {
        throw new PatchbayError("remote", verdict || "the goal was rejected", {
          details: { rejected: true },
          remedy: "send a goal that the worker accepts",
        });
      }
      // The owner gave up while the goal was being decided on.
      this.#abort.signal.throwIfAborted();
      this.#accepted = true;
      this.#sink?.accepted();
      let result = handler(goal as never, this.#jobContext() as never);
      if (isGenerator(result)) result = this.#iterate(result);
      const value = await result;
      if (contract.result !== undefined) await applySchema(contract.result, value, "result");
      this.#end({ ok: true, value });
    } catch (error) {
      this.#end({ ok: false, error: PatchbayError.fromThrown(error) });
    }
  }

  async #iterate(generator: AsyncGenerator<unknown, unknown, void>): Promise<unknown> {
    try {
      for (;;) {
        const next = await generator.next();
        if (next.done) return next.value;
        await this.#feedback(next.value);
      }
    } finally {
      // After a refused feedback value the worker's own `finally` and `using` still run.
      await generator.return(undefined);
    }
  }

  #jobContext(): JobContext<unknown> {
    const endpoint = this.#endpoint;
    return {
      id: this.id,
      signal: this.#abort.signal,
      headers: this.#context.headers,
      peer: this.#context.peer,
      priority: this.#context.priority,
      address: endpoint.address,
      remainingMs: Infinity,
      feedback: (value) => {
        const later = this.#feedback(value);
        later?.catch((error) => this.#end({ ok: false, error: PatchbayError.fromThrown(error) }));
      },
      progress: (fraction) => {
        if (!(fraction >= 0 && fraction <= 1)) {
          throw new PatchbayError(
            "invalid",
            `${endpoint.address}: progress ${fraction} is not 0–1`,
          );
        }
        this.#report({ kind: "progress", value: fraction, sequence: ++this.#sequence });
      },
    };
  }

  #feedback(value: unknown): void | Promise<void> {
    const schema = this.#endpoint.contract.feedback;
    const checked = schema === undefined ? undefined : applySchema(schema, value, "feedback");
    const send = () => {
      this.#endpoint.statistics.feedback++;
      this.#report({ kind: "feedback", value, sequence: ++this.#sequence });
    };
    if (checked instanceof Promise) return checked.then(send);
    send();
  }

  #report(report: Report): void {
    if (this.ended) return;
    this.#reports.push(report);
    if (this.#reports.length > KEPT_FEEDBACK) this.#reports.shift();
    this.#send(report);
  }

  #send(report: Report): void {
    if (report.kind === "feedback") this.#sink?.feedback(report.value, report.sequence);
    else this.#sink?.progressed(report.value, report.sequence);
  }

  #tell(outcome: Outcome): void {
    if (outcome.ok) this.#sink?.succeed(outcome.value);
    else this.#sink?.fail(outcome.error);
  }

  #end(outcome: Outcome): void {
    if (this.ended) return;
    this.#outcome = outcome;
    this.#endpoint.finished(this, outcome.ok ? undefined : outcome.error);
    this.#tell(outcome);
  }
}

function isGenerator(value: unknown): value is AsyncGenerator<unknown, unknown, void> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value &&
    typeof (value as { next?: unknown }).next === "function";
}

/** The worker's side of one job address. */
export class JobEndpoint {
  /** What is performed. */
  readonly contract: JobContract<never, unknown, never, unknown, never, unknown>;
  /** Whether other servers may share the address. */
  readonly shared: boolean;
  /** The worker's counters. */
  readonly statistics: EndpointStatistics;
  /** How it came over bridges; `undefined` if this bay itself performs it. */
  bridged: Bridged | undefined = undefined;
  /** @ignore */
  readonly timers: TimerWheel;
  /** How long a job goes on without its owner, in milliseconds. */
  readonly orphanMs: number;
  readonly #retainMs: number;
  readonly #maxConcurrent: number;
  #handler: JobHandler<never, never, unknown>;
  readonly #accept: PerformOptions["accept"];
  readonly #runs = new Map<string, JobRun>();
  #active = 0;
  #closed = false;
  #idle: (() => void) | undefined;

  /** @ignore Made by the bay. */
  constructor(
    contract: JobContract<never, unknown, never, unknown, never, unknown>,
    handler: JobHandler<never, never, unknown>,
    statistics: EndpointStatistics,
    timers: TimerWheel,
    options: PerformOptions<never>,
  ) {
    this.contract = contract;
    this.#handler = handler;
    this.#accept = options.accept as PerformOptions["accept"];
    this.statistics = statistics;
    this.timers = timers;
    this.shared = options.sharing === "shared";
    this.#maxConcurrent = options.maxConcurrent ?? 64;
    this.orphanMs = options.orphanMs ?? 10_000;
    this.#retainMs = options.retainMs ?? 60_000;
  }

  /** The address. */
  get address(): string {
    return this.contract.address;
  }

  /** How many jobs run now. */
  get active(): number {
    return this.#active;
  }

  /**
   * Puts something round the handler, as the tracing layer does. What is put round it later is
   * further out.
   *
   * @param wrap Takes the handler and returns what is called instead.
   */
  instrument(
    wrap: (handler: JobHandler<never, never, unknown>) => JobHandler<never, never, unknown>,
  ): void {
    this.#handler = wrap(this.#handler);
  }

  /**
   * Takes a goal. Never throws; everything goes to the sink, at once or later.
   *
   * @param id The job's id, chosen by its owner.
   * @param goal The decoded goal.
   * @param context What came with it.
   * @param sink Where the job's messages go.
   * @returns The job, or `undefined` if it was refused.
   */
  start(id: string, goal: unknown, context: GoalContext, sink: JobSink): JobRun | undefined {
    const refusal = this.#refusal(id);
    this.statistics.calls++;
    this.statistics.messagesIn++;
    if (refusal !== undefined) {
      this.statistics.countError(refusal.code);
      sink.fail(refusal);
      return undefined;
    }
    const run = new JobRun(id, this, context, sink);
    this.#runs.set(id, run);
    this.#active++;
    this.statistics.pending++;
    run.run(goal, this.#handler, this.#accept);
    return run;
  }

  /**
   * Finds a job that runs or has ended not long ago.
   *
   * @param id The job's id.
   */
  find(id: string): JobRun | undefined {
    return this.#runs.get(id);
  }

  /** Takes no more goals, cancels what runs, and resolves when it has ended. */
  async drain(): Promise<void> {
    this.#closed = true;
    for (const run of this.#runs.values()) {
      if (!run.ended) run.cancel("the worker is closing");
    }
    if (this.#active === 0) return;
    await new Promise<void>((resolve) => this.#idle = resolve);
  }

  /** Ends with `closed` what still runs after {@link drain} was given its time. */
  giveUp(): void {
    for (const run of this.#runs.values()) run.giveUp();
  }

  /** @ignore Called by the run at its end. */
  finished(run: JobRun, error: PatchbayError | undefined): void {
    this.#active--;
    this.statistics.pending--;
    this.statistics.messagesOut++;
    if (error !== undefined) this.statistics.countError(error.code);
    this.timers.arm(run, this.#retainMs);
    if (this.#runs.size > KEPT_JOBS + this.#maxConcurrent) {
      for (const old of this.#runs.values()) {
        if (!old.ended || old === run) continue;
        this.forget(old);
        break;
      }
    }
    if (this.#active === 0) this.#idle?.();
  }

  /** @ignore */
  forget(run: JobRun): void {
    this.timers.disarm(run);
    this.#runs.delete(run.id);
  }

  #refusal(id: string): PatchbayError | undefined {
    const address = this.address;
    if (this.#closed) return new PatchbayError("closed", `${address}: the worker is closing`);
    if (this.#runs.has(id)) {
      return new PatchbayError("invalid", `${address}: there is a job ${id} already`);
    }
    if (this.#active < this.#maxConcurrent) return undefined;
    return new PatchbayError(
      "overloaded",
      `${address}: ${this.#maxConcurrent} ${
        this.#maxConcurrent === 1 ? "job is" : "jobs are"
      } already running`,
      {
        details: { maxConcurrent: this.#maxConcurrent },
        remedy: "wait for one to end, or perform with a higher maxConcurrent",
      },
    );
  }
}
