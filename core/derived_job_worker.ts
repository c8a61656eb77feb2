/**
 * Derived jobs, the worker's side: three callables and a speaker in front of a job's endpoint.
 *
 * @module
 */

import { type HandlerContext } from "./callable.ts";
import { CallableEndpoint } from "./callable_endpoint.ts";
import { defineCallable, defineSpeaker } from "./contract.ts";
import { Wait, WAY_MS } from "./derived_job_ask.ts";
import {
  type Answer,
  type Ending,
  feedbackAddress,
  goalAddress,
  jobBase,
  MAX_MISSED,
  messageCodec,
  type Question,
  readCancel,
  readGoal,
  readQuestion,
  type Report,
} from "./derived_job_messages.ts";
import { PatchbayError } from "./errors.ts";
import type { JobEndpoint, JobRun, JobSink } from "./job_endpoint.ts";
import type { Registration, SpeakerPort, Transport, TransportContext } from "./plugin.ts";
import { SpeakerEndpoint } from "./speaker.ts";
import { EndpointStatistics } from "./statistics.ts";
import { TimerEntry } from "./timer_wheel.ts";

/** What a worker needs of the transport below. */
export interface WorkerWire {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** As {@link Transport.serve}. */
  readonly serve: NonNullable<Transport["serve"]>;
  /** As {@link Transport.speak}. */
  readonly speak: NonNullable<Transport["speak"]>;
}

/** How many ids are kept whose owner gave up before the goal came. */
const KEPT_REFUSALS = 256;

/** One job address on a wire without jobs. */
export class DerivedWorker {
  readonly endpoint: JobEndpoint;
  readonly #wire: WorkerWire;
  /** What takes the place of {@link jobBase} where workers share the address. */
  readonly #at: string | undefined;
  readonly #works = new Map<string, Work>();
  /** Jobs that were given up before their goal came: another message can overtake it. */
  readonly #refused = new Set<string>();
  readonly #counter = { sequence: 0 };
  readonly #statistics: EndpointStatistics[] = [];
  #endpoints: CallableEndpoint[] = [];
  #registrations: Registration[] = [];
  #speaker: SpeakerPort | undefined;
  #closing: Promise<void> | undefined;

  constructor(endpoint: JobEndpoint, wire: WorkerWire) {
    this.endpoint = endpoint;
    this.#wire = wire;
    if (endpoint.shared) {
      const digits = crypto.getRandomValues(new Uint32Array(1))[0].toString(16).padStart(8, "0");
      this.#at = `${jobBase(endpoint.address)}/${digits}`;
    }
  }

  /** Puts it on the wire; the goal's address last, because a goal needs all the others. */
  async open(): Promise<Registration> {
    const { endpoint } = this;
    const { address } = endpoint;
    const base = this.#at ?? jobBase(address);
    try {
      const speaker = defineSpeaker({
        address: feedbackAddress(address),
        codec: messageCodec(endpoint.contract.codec),
        priority: endpoint.contract.priority,
      });
      this.#speaker = await this.#wire.speak(
        new SpeakerEndpoint(
          speaker,
          this.#wire.context.identity.id,
          false,
          this.#counter,
          this.#count("speaker", "speaker", speaker.address),
        ),
      );
      await this.#serve(`${base}/cancel`, false, (value) => this.#cancel(value));
      await this.#serve(`${base}/result`, false, (value, context) => this.#result(value, context));
      await this.#serve(
        goalAddress(address),
        endpoint.shared,
        (value, context) => this.#goal(value, context),
      );
    } catch (error) {
      await this.#close();
      throw error;
    }
    return { close: () => this.#closing ??= this.#close() };
  }

  /** Tells whoever listens. */
  shout(id: string, report: Report): void {
    const { endpoint } = this;
    const failed = (error: unknown) => {
      // Lost on the way or never sent: the owner asks for it again by its number.
      const known = PatchbayError.fromThrown(error);
      endpoint.statistics.countDrop(known.code);
      this.#wire.context.report(known.with({ pattern: "job", address: endpoint.address }));
    };
    try {
      this.#speaker?.shout({ id, ...report }, {
        address: feedbackAddress(endpoint.address),
        sequence: ++this.#counter.sequence,
        origin: this.#wire.context.identity.id,
        headers: undefined,
        priority: endpoint.contract.priority ?? 128,
        retained: false,
        peer: undefined,
      })?.catch(failed);
    } catch (error) {
      failed(error);
    }
    this.#adoptBytes();
  }

  /** @ignore The job has ended: its run keeps the outcome. */
  ended(work: Work): void {
    this.#works.delete(work.id);
  }

  /** What is known of a job now. */
  look(id: string, after: number | undefined): Answer {
    const run = this.endpoint.find(id);
    if (run === undefined) {
      throw new PatchbayError("closed", `${this.endpoint.address}: the worker has lost the job`, {
        remedy: "the worker was restarted, or the job ended too long ago; execute it again",
        retryable: false,
      });
    }
    const sink = new Reading();
    run.attach(sink, 0);
    const work = this.#works.get(id);
    if (work !== undefined) run.attach(work, Infinity);
    const last = sink.reports.at(-1)?.sequence ?? 0;
    const missed = after === undefined
      ? undefined
      : sink.reports.filter((report) => report.sequence > after).slice(0, MAX_MISSED);
    return {
      last,
      ...(missed === undefined ? {} : { missed }),
      ...(sink.ending === undefined ? {} : { ended: sink.ending }),
    };
  }

  async #goal(value: unknown, context: HandlerContext): Promise<unknown> {
    const { endpoint } = this;
    const { id, goal } = readGoal(value);
    const accepted = this.#at === undefined ? {} : { at: this.#at };
    if (this.#refused.delete(id)) {
      throw new PatchbayError("closed", `${endpoint.address}: the owner has given up already`);
    }
    let work = this.#works.get(id);
    if (work === undefined) {
      // A wire that delivers at least once may bring a goal again after the job has ended.
      if (endpoint.find(id) !== undefined) return accepted;
      work = new Work(id, this, this.#wire.context.timers);
      this.#works.set(id, work);
      const { headers, peer } = context;
      work.run = endpoint.start(id, goal, { headers, peer }, work);
      const giveUp = () => work?.run?.cancel("the job's owner has given up");
      context.signal.addEventListener("abort", giveUp, { once: true });
      try {
        await work.decided;
      } finally {
        context.signal.removeEventListener("abort", giveUp);
        this.#adoptBytes();
      }
    } else await work.decided;
    return accepted;
  }

  #cancel(value: unknown): boolean {
    const { id, reason, abandon } = readCancel(value);
    const run = this.endpoint.find(id);
    if (run === undefined) {
      if (abandon) this.#refused.add(id);
      if (this.#refused.size > KEPT_REFUSALS) {
        for (const oldest of this.#refused) {
          this.#refused.delete(oldest);
          break;
        }
      }
      return false;
    }
    run.cancel(abandon ? "the job's owner has given up" : reason);
    return true;
  }

  async #result(value: unknown, context: HandlerContext): Promise<Answer> {
    const question: Question = readQuestion(value);
    const { id, after, waitMs } = question;
    const work = this.#works.get(id);
    this.#adoptBytes();
    if (work !== undefined && after === undefined && waitMs > 0) {
      await work.wait(waitMs, context.signal);
    } else work?.asked();
    return this.look(id, after);
  }

  async #serve(
    address: string,
    shared: boolean,
    handler: (value: unknown, context: HandlerContext) => unknown,
  ): Promise<void> {
    const contract = defineCallable<unknown, unknown>({
      address,
      codec: messageCodec(this.endpoint.contract.codec),
      priority: this.endpoint.contract.priority,
      // Goals are known by their id: a second one of the same id begins nothing.
      idempotent: true,
    });
    const callable = new CallableEndpoint(
      contract,
      handler,
      this.#count("callable", "server", address),
      // The job's endpoint limits the jobs; who waits for a result takes no place.
      { sharing: shared ? "shared" : "exclusive", maxConcurrent: Infinity },
    );
    callable.bridged = this.endpoint.bridged;
    this.#registrations.push(await this.#wire.serve(callable));
    this.#endpoints.push(callable);
  }

  async #close(): Promise<void> {
    for (const work of this.#works.values()) work.release();
    // What waits for an answer gets it before the wire is taken away.
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.drain()));
    for (const registration of this.#registrations.reverse()) await registration.close();
    await this.#speaker?.close();
    this.#adoptBytes();
  }

  #count(
    pattern: "callable" | "speaker",
    role: "server" | "speaker",
    address: string,
  ): EndpointStatistics {
    const own = new EndpointStatistics(pattern, role, address, this.#wire.context.name);
    this.#statistics.push(own);
    return own;
  }

  /** The bytes of the messages are the job's. */
  #adoptBytes(): void {
    const { statistics } = this.endpoint;
    for (const own of this.#statistics) {
      statistics.bytesIn += own.bytesIn;
      statistics.bytesOut += own.bytesOut;
      own.bytesIn = own.bytesOut = 0;
    }
  }
}

/** A job that runs: where its messages go, and who waits for its end. */
class Work extends TimerEntry implements JobSink {
  readonly id: string;
  readonly decided: Promise<void>;
  run: JobRun | undefined = undefined;
  readonly #worker: DerivedWorker;
  readonly #timers: TransportContext["timers"];
  readonly #waits = new Set<Wait>();
  #decide!: () => void;
  #refuse!: (error: unknown) => void;
  #accepted = false;
  #over = false;

  constructor(id: string, worker: DerivedWorker, timers: TransportContext["timers"]) {
    super();
    this.id = id;
    this.#worker = worker;
    this.#timers = timers;
    this.decided = new Promise((resolve, reject) => {
      this.#decide = resolve;
      this.#refuse = reject;
    });
    this.decided.catch(() => {});
  }

  accepted(): void {
    // Again with each look at the job.
    if (this.#accepted) return;
    this.#accepted = true;
    this.#decide();
    this.asked();
  }

  feedback(value: unknown, sequence: number): void {
    this.#worker.shout(this.id, { sequence, value });
  }

  progressed(progress: number, sequence: number): void {
    this.#worker.shout(this.id, { sequence, progress });
  }

  succeed(): void {
    this.#end(undefined);
  }

  fail(error: PatchbayError): void {
    this.#end(error);
  }

  /** The owner has not asked for too long. */
  override expire(): void {
    this.run?.cancel("the job's owner is gone");
  }

  /** Resolves at the job's end, after some time, or when the one who asked is gone. */
  async wait(waitMs: number, signal: AbortSignal): Promise<void> {
    const wait = new Wait(this.#timers, waitMs);
    const gone = () => wait.end();
    this.#waits.add(wait);
    this.#timers.disarm(this);
    signal.addEventListener("abort", gone, { once: true });
    await wait.over;
    signal.removeEventListener("abort", gone);
    this.#waits.delete(wait);
    this.#watch(signal.aborted);
  }

  /** The owner was there just now. */
  asked(): void {
    this.#watch(false);
  }

  /** The worker is taken off the wire. */
  release(): void {
    this.#end(
      new PatchbayError("closed", `${this.#worker.endpoint.address}: the worker was closed`),
    );
  }

  /** While nobody asks for the result the owner may be gone; or its question may be on its way. */
  #watch(gone: boolean): void {
    if (this.#over || this.#waits.size > 0) return;
    const { orphanMs } = this.#worker.endpoint;
    this.#timers.arm(this, gone ? orphanMs : Math.max(orphanMs, WAY_MS));
  }

  #end(error: PatchbayError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#timers.disarm(this);
    this.#worker.ended(this);
    this.#refuse(error);
    for (const wait of this.#waits) wait.end();
  }
}

/** Takes down what a job has reported, and how it ended. */
class Reading implements JobSink {
  readonly reports: Report[] = [];
  ending: Ending | undefined = undefined;

  accepted(): void {}

  feedback(value: unknown, sequence: number): void {
    this.reports.push({ sequence, value });
  }

  progressed(progress: number, sequence: number): void {
    this.reports.push({ sequence, progress });
  }

  succeed(value: unknown): void {
    this.ending = value === undefined ? { ok: true } : { ok: true, value };
  }

  fail(error: PatchbayError): void {
    this.ending = { ok: false, error: error.toWire() };
  }
}
