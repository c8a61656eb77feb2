/**
 * Derived jobs, the owner's side: sends the goal, hears the feedback, asks for the result.
 *
 * @module
 */

import { Ask, Wait, WAY_MS } from "./derived_job_ask.ts";
import {
  aboutJob,
  type Answer,
  feedbackAddress,
  goalAddress,
  jobBase,
  jobOf,
  messageCodec,
  readAnswer,
  readBase,
  readReport,
  type Report,
} from "./derived_job_messages.ts";
import { PatchbayError } from "./errors.ts";
import type { OutboundJob } from "./job.ts";
import { ListenerEndpoint } from "./listener_endpoint.ts";
import type { JobPort, Registration, Transport, TransportContext } from "./plugin.ts";
import { EndpointStatistics } from "./statistics.ts";

/** What an owner needs of the transport below. */
export interface OwnerWire {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** As {@link Transport.caller}. */
  readonly caller: NonNullable<Transport["caller"]>;
  /** As {@link Transport.listen}. */
  readonly listen: NonNullable<Transport["listen"]>;
}

/** How long the worker may hold back the answer about a job that runs, in milliseconds. */
const WAIT_MS = 10_000;
/** How long after the last feedback the next one may still be on its way, in milliseconds. */
const ARRIVING_MS = 50;
/** How long missing feedback is waited for, in milliseconds. */
const CATCH_UP_MS = 1_000;
/** The most reports that are held back while missing ones are asked for. */
const MAX_HELD = 256;
/** How often in a row a question may fail before the worker counts as gone: about 10 s. */
const MAX_FAILURES = 7;
/** The pause after the first failure, in milliseconds; doubled each time, with full jitter. */
const FIRST_PAUSE_MS = 100;
/** How often a cancellation is sent. */
const CANCEL_ATTEMPTS = 3;

/** Owns the jobs of one bay on one wire without jobs. */
export class DerivedOwner {
  readonly wire: OwnerWire;
  readonly #desks = new Map<string, Desk>();
  /** What ends by itself, and is waited for at close. */
  readonly #endings = new Set<Promise<void>>();

  constructor(wire: OwnerWire) {
    this.wire = wire;
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    return {
      start: (job) => {
        const owned = new OwnedJob(job, this, this.#desk(address));
        job.slot = owned;
        owned.begin();
      },
      cancel: (job, reason) => (job.slot as OwnedJob).cancel(reason),
      abandon: (job) => (job.slot as OwnedJob).abandon(),
      close: () => {},
    };
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    for (const desk of this.#desks.values()) desk.end();
    while (this.#endings.size > 0) await Promise.all(this.#endings);
  }

  /** Lets something end by itself. */
  ending(work: Promise<void>): void {
    const ends = work.catch(() => {}).finally(() => this.#endings.delete(ends));
    this.#endings.add(ends);
  }

  #desk(address: string): Desk {
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      desk = new Desk(address, this, () => this.#desks.delete(address));
      this.#desks.set(address, desk);
    }
    return desk;
  }
}

/** The jobs of one address, and the one listener for all their feedback. */
class Desk {
  readonly address: string;
  readonly #owner: DerivedOwner;
  readonly #emptied: () => void;
  readonly #jobs = new Map<string, OwnedJob>();
  readonly #statistics: EndpointStatistics;
  readonly #endpoint: ListenerEndpoint;
  #listening: Promise<Registration> | undefined;

  constructor(address: string, owner: DerivedOwner, emptied: () => void) {
    this.address = address;
    this.#owner = owner;
    this.#emptied = emptied;
    const { context } = owner.wire;
    const pattern = feedbackAddress(address);
    this.#statistics = new EndpointStatistics("speaker", "listener", pattern, context.name);
    this.#endpoint = new ListenerEndpoint(
      pattern,
      undefined,
      (value: unknown) => this.#heard(value),
      {},
      context,
      this.#statistics,
      false,
    );
  }

  /** Hears a job's feedback from now on. */
  async join(job: OwnedJob): Promise<void> {
    this.#jobs.set(job.id, job);
    await (this.#listening ??= this.#owner.wire.listen(this.#endpoint));
  }

  /** Hears it no longer; the last one closes the listener. */
  leave(job: OwnedJob): void {
    if (!this.#jobs.delete(job.id) || this.#jobs.size > 0) return;
    this.#emptied();
    this.#endpoint.end();
    const close = async () => await (await this.#listening)?.close();
    this.#owner.ending(close());
  }

  end(): void {
    for (const job of [...this.#jobs.values()]) {
      job.fail(new PatchbayError("closed", `${this.address}: the bay was closed`));
    }
  }

  #heard(value: unknown): void {
    const bytes = this.#statistics.bytesIn;
    this.#statistics.bytesIn = 0;
    // Feedback of all owners comes by here.
    const job = this.#jobs.get(jobOf(value) ?? "");
    job?.heard(value, bytes);
  }
}

/** One job, from its goal to its end. */
class OwnedJob {
  readonly #job: OutboundJob;
  readonly #owner: DerivedOwner;
  readonly #desk: Desk;
  readonly #held = new Map<number, Report>();
  #base: string;
  #accepted = false;
  /** Questions whose answer is still wanted. */
  readonly #asks = new Set<Ask>();
  #catchingUp: Promise<void> | undefined;
  /** Pauses that the job's end ends. */
  readonly #rests = new Set<Wait>();
  #over = false;

  constructor(job: OutboundJob, owner: DerivedOwner, desk: Desk) {
    this.#job = job;
    this.#owner = owner;
    this.#desk = desk;
    this.#base = jobBase(job.address);
  }

  get id(): string {
    return this.#job.id;
  }

  /** Never throws. */
  begin(): void {
    this.#owner.ending(this.#run().catch((error) => this.fail(aboutJob(error, this.#job.address))));
  }

  async #run(): Promise<void> {
    const job = this.#job;
    await this.#desk.join(this);
    if (this.#over) return;
    const goal = this.#ask(goalAddress(job.address), { id: job.id, goal: job.goal }, {
      timeoutMs: job.timeoutMs,
      untimed: true,
      headers: job.headers,
    });
    this.#base = readBase(await goal, job.address);
    if (this.#over) return;
    this.#accepted = true;
    job.accepted();
    if (this.#held.size > 0) void this.#catchUp();
    await this.#follow();
  }

  /** Feedback came. */
  heard(value: unknown, bytes: number): void {
    const job = this.#job;
    job.statistics.bytesIn += bytes;
    let report: Report;
    try {
      report = readReport(value);
    } catch {
      return job.statistics.countDrop("undecodable");
    }
    if (report.sequence <= job.lastSequence) return;
    if (this.#catchingUp === undefined && report.sequence === job.lastSequence + 1) {
      this.#deliver(report);
      return;
    }
    this.#held.set(report.sequence, report);
    if (this.#held.size > MAX_HELD) this.#release();
    else if (this.#accepted) void this.#catchUp();
  }

  cancel(reason: string | undefined): void {
    this.#owner.ending(this.#tell({ id: this.id, reason }));
  }

  abandon(): void {
    if (this.#over) return;
    this.#end();
    this.#owner.ending(this.#tell({ id: this.id, abandon: true }));
  }

  fail(error: PatchbayError): void {
    if (this.#end()) this.#job.fail(error);
  }

  /** Asks for the result until it is there. */
  async #follow(): Promise<void> {
    const job = this.#job;
    for (let failures = 0; !this.#over;) {
      let answer: Answer;
      try {
        // After a cut the first question is answered at once: feedback may have been lost.
        answer = await this.#askResult(failures > 0 ? 0 : WAIT_MS, undefined);
        failures = 0;
      } catch (error) {
        if (this.#over) return;
        const known = PatchbayError.fromThrown(error);
        const passing = known.retryable || known.code === "deadline_exceeded";
        if (!passing || ++failures > MAX_FAILURES) return this.fail(this.#lost(known));
        await this.#rest(Math.random() * FIRST_PAUSE_MS * 2 ** failures);
        continue;
      }
      await this.#arriving(answer.last);
      if (answer.last > job.lastSequence || this.#catchingUp !== undefined) await this.#catchUp();
      if (answer.ended === undefined || this.#over) continue;
      const missing = answer.last - job.lastSequence;
      if (missing > 0) job.statistics.countDrop("feedback_gap", missing);
      if (!answer.ended.ok) {
        const { name } = this.#owner.wire.context;
        const { address } = job;
        return this.fail(PatchbayError.fromWire(answer.ended.error, { transport: name, address }));
      }
      if (this.#end()) job.succeed(answer.ended.value);
    }
  }

  /** The worker cannot be asked any more. */
  #lost(error: PatchbayError): PatchbayError {
    if (error.code !== "not_found") return aboutJob(error, this.#job.address);
    return new PatchbayError("closed", `${this.#job.address}: the worker is gone`, {
      retryable: false,
      cause: error,
    });
  }

  /** The answer may have overtaken feedback: as long as that goes on coming, nothing is missing. */
  async #arriving(last: number): Promise<void> {
    const job = this.#job;
    for (let before = -1; !this.#over && this.#catchingUp === undefined;) {
      if (job.lastSequence >= last || job.lastSequence === before) return;
      before = job.lastSequence;
      await this.#rest(ARRIVING_MS);
    }
  }

  /** Asks for the reports that are missing, for a second at most, and delivers what is held back. */
  #catchUp(): Promise<void> {
    return this.#catchingUp ??= (async () => {
      const job = this.#job;
      const untilMs = performance.now() + CATCH_UP_MS;
      for (let leftMs = CATCH_UP_MS; leftMs > 0 && !this.#over;) {
        try {
          const answer = await this.#askResult(0, job.lastSequence, leftMs);
          for (const report of answer.missed ?? []) this.#deliver(report);
          if (answer.missed?.length === 0 || job.lastSequence >= answer.last) break;
        } catch (error) {
          if (!PatchbayError.fromThrown(error).retryable) break;
          await this.#rest(FIRST_PAUSE_MS);
        }
        leftMs = untilMs - performance.now();
      }
      this.#catchingUp = undefined;
      // What is missing now is missing for good: the job counts the gap.
      this.#release();
    })();
  }

  /** Delivers what was held back, in order. */
  #release(): void {
    const reports = [...this.#held.values()].sort((a, b) => a.sequence - b.sequence);
    this.#held.clear();
    for (const report of reports) this.#deliver(report);
  }

  #deliver(report: Report): void {
    if (this.#over) return;
    if ("progress" in report) this.#job.progressed(report.progress, report.sequence);
    else this.#job.feedback(report.value, report.sequence);
  }

  async #askResult(
    waitMs: number,
    after: number | undefined,
    timeoutMs = waitMs + WAY_MS,
  ): Promise<Answer> {
    const question = { id: this.id, waitMs, ...(after === undefined ? {} : { after }) };
    return readAnswer(await this.#ask(`${this.#base}/result`, question, { timeoutMs }));
  }

  /** Tells the worker to stop; more than once if the wire says that it may help. */
  async #tell(message: Readonly<Record<string, unknown>>): Promise<void> {
    for (let attempt = 1; attempt <= CANCEL_ATTEMPTS; attempt++) {
      try {
        await this.#send(`${this.#base}/cancel`, message, { timeoutMs: WAY_MS }).answer;
        return;
      } catch (error) {
        if (!PatchbayError.fromThrown(error).retryable) return;
        await new Wait(this.#owner.wire.context.timers, FIRST_PAUSE_MS).over;
      }
    }
  }

  /** A question that the job's end takes back. */
  async #ask(
    address: string,
    value: unknown,
    options: { timeoutMs: number; untimed?: boolean; headers?: OutboundJob["headers"] },
  ): Promise<unknown> {
    const ask = this.#send(address, value, options);
    this.#asks.add(ask);
    try {
      return await ask.answer;
    } finally {
      this.#asks.delete(ask);
    }
  }

  #send(
    address: string,
    value: unknown,
    options: { timeoutMs: number; untimed?: boolean; headers?: OutboundJob["headers"] },
  ): Ask {
    const { caller, context } = this.#owner.wire;
    const { codec, priority, statistics } = this.#job;
    return new Ask(caller(address), context.timers, {
      ...options,
      address,
      value,
      codec: messageCodec(codec),
      priority,
      statistics,
    });
  }

  async #rest(ms: number): Promise<void> {
    const rest = new Wait(this.#owner.wire.context.timers, ms);
    this.#rests.add(rest);
    await rest.over;
    this.#rests.delete(rest);
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#desk.leave(this);
    for (const rest of this.#rests) rest.end();
    for (const ask of this.#asks) {
      ask.cancel(new PatchbayError("closed", `${this.#job.address}: the job has ended`));
    }
    return true;
  }
}
