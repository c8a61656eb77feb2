/**
 * A job of one wire, performed on another: a worker there whose work is to execute it here.
 *
 * @module
 */

import type { Headers } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import { type GoalDecision, type JobContext, JobEndpoint } from "../job_endpoint.ts";
import type { Bridged } from "../offers.ts";
import type { JobPort } from "../plugin.ts";
import { Fifo } from "../queue.ts";
import type { EndpointStatistics } from "../statistics.ts";
import { arrived, type Lane, pass } from "./lane.ts";

/** So many reports may come before the handler runs: a worker may make them in one turn. */
const MAX_EARLY = 4096;

/** One job on its way. */
class CarriedRun implements OutboundJob {
  readonly id: string;
  readonly goal: unknown;
  readonly address: string;
  readonly codec = undefined;
  readonly priority: number;
  readonly timeoutMs = Infinity;
  readonly statistics: EndpointStatistics;
  readonly acceptance = Promise.withResolvers<void>();
  readonly outcome = Promise.withResolvers<unknown>();
  headers: Headers | undefined;
  lastSequence = 0;
  isAccepted = false;
  ended = false;
  slot: unknown = undefined;
  readonly #lane: Lane;
  readonly #pass: string | undefined;
  readonly #port: JobPort;
  #to: JobContext<unknown> | undefined;
  readonly #early = new Fifo<(to: JobContext<unknown>) => void>();

  constructor(
    lane: Lane,
    passId: string | undefined,
    headers: Headers | undefined,
    goal: unknown,
    decision: GoalDecision,
    address: string,
    port: JobPort,
    statistics: EndpointStatistics,
  ) {
    this.#lane = lane;
    this.#pass = passId;
    this.#port = port;
    this.headers = headers;
    this.goal = goal;
    this.id = decision.id;
    this.priority = decision.priority ?? 128;
    this.address = address;
    this.statistics = statistics;
    this.acceptance.promise.catch(() => {});
    this.outcome.promise.catch(() => {});
  }

  /** Sends the goal; resolves when the worker has accepted it. */
  async begin(signal: AbortSignal): Promise<void> {
    this.statistics.pending++;
    this.#port.start(this);
    // Until the handler runs: an owner that gives up before that is not heard of there.
    signal.addEventListener("abort", this.#giveUp, { once: true });
    if (signal.aborted) this.#giveUp();
    await this.acceptance.promise;
  }

  readonly #giveUp = (): void => this.abandon("the job's owner has given up");

  /** Goes on as the handler of the worker at the bridge. */
  async perform(to: JobContext<unknown>): Promise<unknown> {
    this.#to = to;
    for (let tell = this.#early.shift(); tell !== undefined; tell = this.#early.shift()) tell(to);
    const { signal } = to;
    signal.removeEventListener("abort", this.#giveUp);
    const stop = () => {
      const { reason } = signal;
      this.#port.cancel(this, reason instanceof Error ? reason.message : undefined);
    };
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await this.outcome.promise;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Nobody wants it any longer. */
  abandon(why: string): void {
    if (this.ended) return;
    this.#port.abandon(this);
    this.fail(new PatchbayError("closed", `${this.address}: ${why}`));
  }

  accepted(): void {
    if (this.isAccepted || this.ended) return;
    this.isAccepted = true;
    this.acceptance.resolve();
  }

  feedback(value: unknown, sequence: number): void {
    this.statistics.messagesIn++;
    this.statistics.feedback++;
    this.#report(sequence, (to) => to.feedback(value));
  }

  progressed(fraction: number, sequence: number): void {
    this.#report(sequence, (to) => to.progress(fraction));
  }

  succeed(value: unknown): void {
    if (!this.#end()) return;
    this.statistics.messagesIn++;
    this.acceptance.resolve();
    this.outcome.resolve(value);
  }

  fail(error: unknown): void {
    if (!this.#end()) return;
    const known = PatchbayError.fromThrown(error);
    this.statistics.countError(known.code);
    this.#lane.statistics.countError(known.code);
    this.acceptance.reject(known);
    this.outcome.reject(known);
  }

  #report(sequence: number, tell: (to: JobContext<unknown>) => void): void {
    if (this.ended || sequence <= this.lastSequence) return;
    const { statistics } = this.#lane;
    const missed = sequence - this.lastSequence - 1;
    if (missed > 0) statistics.countDrop("feedback_gap", missed);
    this.lastSequence = sequence;
    statistics.feedback++;
    try {
      if (this.#to !== undefined) return tell(this.#to);
    } catch (error) {
      return statistics.countDrop(PatchbayError.fromThrown(error).code);
    }
    this.#early.push(tell);
    if (this.#early.length <= MAX_EARLY) return;
    this.#early.shift();
    statistics.countDrop("overflow_oldest");
  }

  #end(): boolean {
    if (this.ended) return false;
    this.ended = true;
    this.statistics.pending--;
    this.#port.close();
    arrived(this.#lane, this.#pass);
    return true;
  }
}

/** A job of one wire as it is performed on another. */
export class CarriedJob extends JobEndpoint {
  /** Whether it is performed there itself, without another bridge. */
  last = false;
  readonly #lane: Lane;
  readonly #client: EndpointStatistics;
  readonly #runs: Map<string, CarriedRun>;

  /**
   * @param lane The direction.
   * @param address The address.
   * @param shared Whether others may perform it besides.
   * @param bridged How it came.
   */
  constructor(lane: Lane, address: string, shared: boolean, bridged: Bridged) {
    const { statistics, timers } = lane.host;
    const { maxConcurrent, orphanMs } = lane.settings;
    const runs = new Map<string, CarriedRun>();
    const client = statistics.endpoint("job", "client", address, lane.from.plugin.name);
    super(
      { pattern: "job", address },
      async (_goal: never, context) => {
        const run = runs.get(context.id);
        if (run === undefined) {
          throw new PatchbayError("closed", `${address}: the job's owner has given up`);
        }
        try {
          return await run.perform(context);
        } finally {
          runs.delete(context.id);
        }
      },
      statistics.endpoint("job", "server", address, lane.to.plugin.name),
      timers,
      {
        sharing: shared ? "shared" : "exclusive",
        maxConcurrent,
        orphanMs,
        accept: async (goal: unknown, decision) => {
          const { id, headers } = pass(lane, address, decision.headers, this.last);
          const port = lane.from.transport.executor?.(address);
          if (port === undefined) {
            arrived(lane, id);
            throw new PatchbayError("internal", `${lane.from.plugin.name}: no executor`);
          }
          lane.statistics.jobs++;
          client.calls++;
          client.messagesOut++;
          const run = new CarriedRun(lane, id, headers, goal, decision, address, port, client);
          runs.set(decision.id, run);
          const forget = () => void runs.delete(decision.id);
          decision.signal.addEventListener("abort", forget, { once: true });
          try {
            await run.begin(decision.signal);
          } catch (error) {
            forget();
            throw error;
          } finally {
            decision.signal.removeEventListener("abort", forget);
          }
        },
      },
    );
    this.#lane = lane;
    this.#client = client;
    this.#runs = runs;
    this.bridged = bridged;
  }

  /** As {@link JobEndpoint.giveUp}: the jobs are abandoned at their workers. */
  override giveUp(): void {
    for (const run of [...this.#runs.values()]) run.abandon("the bridge was closed");
    super.giveUp();
    const { statistics } = this.#lane.host;
    statistics.remove(this.statistics);
    statistics.remove(this.#client);
  }
}
