/**
 * Jobs, the owner's side: {@link JobHandle} and the job on its way out.
 *
 * @module
 */

import type { Headers } from "./callable.ts";
import type { JobContract, NativeNames } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import { runHook } from "./hook.ts";
import type { JobPort } from "./plugin.ts";
import { Inbox, type Overflow } from "./queue.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";
import { TimerEntry, type TimerWheel } from "./timer_wheel.ts";

/** How to execute a job. */
export interface ExecuteOptions {
  /** How long the job may go without feedback, in milliseconds; `Infinity` for ever. */
  timeoutMs?: number;
  /** Whether feedback starts the time anew; default true. With false it is the whole job's time. */
  feedbackResetsTimeout?: boolean;
  /** Sent along with the goal. */
  headers?: Headers;
  /** Abandons the job: it is cancelled there, and rejects here at once with the signal's reason. */
  signal?: AbortSignal;
  /** 0–255, higher first when a queue forms. Default: the contract's, or 128. */
  priority?: number;
  /** The wires to use, by plugin name, in order. */
  via?: readonly string[];
  /** The most feedback values that wait to be read. Default 256. */
  maxQueue?: number;
  /** What happens to feedback that finds the queue full; default `drop_oldest`. */
  overflow?: Exclude<Overflow, "block">;
  /** Called with each progress report, 0–1. */
  onProgress?: (fraction: number) => void;
}

/** Where a job stands. `lost`: its worker went away before the end. */
export type JobState = "pending" | "running" | "succeeded" | "failed" | "cancelled" | "lost";

/** A job on its way out, as a {@link JobPort} sees it. */
export interface OutboundJob {
  /** 32 hexadecimal digits, random: the job is found again by it after a reconnection. */
  readonly id: string;
  /** The goal, validated but untransformed. */
  readonly goal: unknown;
  /** The address. */
  readonly address: string;
  /** What to send along. */
  headers: Headers | undefined;
  /** The codec the contract asks for. */
  readonly codec: string | undefined;
  /** 0–255. */
  readonly priority: number;
  /** What wires call it instead of its address, by plugin name. */
  readonly native?: NativeNames;
  /** How long the owner waits without feedback, in milliseconds. */
  readonly timeoutMs: number;
  /** The number of the last feedback or progress that came: an attachment goes on behind it. */
  readonly lastSequence: number;
  /** Whether the worker has accepted it. */
  readonly isAccepted: boolean;
  /** Whether it has ended. */
  readonly ended: boolean;
  /** The owner's counters: the port adds the bytes. */
  readonly statistics: EndpointStatistics;
  /** For the port: whatever it must find again in `cancel`. */
  slot: unknown;
  /** The worker has accepted the goal. */
  accepted(): void;
  /** A feedback value. */
  feedback(value: unknown, sequence: number): void;
  /** A progress report, 0–1. */
  progressed(fraction: number, sequence: number): void;
  /** The result. */
  succeed(value: unknown): void;
  /** It was rejected, or failed. */
  fail(error: unknown): void;
}

/** An executor's binding to the wire it has chosen. */
export interface JobBinding {
  /** The way the job takes. */
  readonly port: JobPort;
  /** The chosen plugin's name. */
  readonly transport: string;
  /** The owner's counters. */
  readonly statistics: EndpointStatistics;
  /** Reports what nobody awaits: an `onProgress` that threw. */
  readonly report?: (error: PatchbayError) => void;
}

function randomId(): string {
  return Array.from(
    crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** How long a job may go without feedback by default, in milliseconds. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** @ignore The state behind a {@link JobHandle}. */
export class PendingJob extends TimerEntry implements OutboundJob {
  readonly id: string = randomId();
  readonly goal: unknown;
  headers: Headers | undefined;
  readonly timeoutMs: number;
  slot: unknown = undefined;
  lastSequence = 0;
  progress: number | undefined = undefined;
  state: JobState = "pending";
  cancelReason: { readonly reason: unknown } | undefined = undefined;
  readonly inbox: Inbox<{ readonly value: unknown }>;
  readonly whenAccepted: Promise<void>;
  readonly result: Promise<unknown>;
  readonly #contract: JobContract<never, unknown, never, unknown, never, unknown>;
  readonly #binding: JobBinding;
  readonly #timers: TimerWheel;
  readonly #options: ExecuteOptions;
  #accept!: () => void;
  #refuse!: (error: unknown) => void;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;
  #checking: Promise<void> | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    contract: JobContract<never, unknown, never, unknown, never, unknown>,
    binding: JobBinding,
    timers: TimerWheel,
    goal: unknown,
    options: ExecuteOptions,
  ) {
    super();
    this.#contract = contract;
    this.#binding = binding;
    this.#timers = timers;
    this.#options = options;
    this.goal = goal;
    this.headers = options.headers;
    this.timeoutMs = options.timeoutMs ?? contract.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.inbox = new Inbox(options.maxQueue ?? 256, options.overflow ?? "drop_oldest", {
      dropped: (reason) => binding.statistics.countDrop(reason),
      left: () => {},
    });
    this.whenAccepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who only reads feedback is not punished with an unhandled rejection; errors are counted.
    this.result.catch(() => {});
    this.whenAccepted.catch(() => {});
  }

  get address(): string {
    return this.#contract.address;
  }

  get transport(): string {
    return this.#binding.transport;
  }

  get codec(): string | undefined {
    return this.#contract.codec;
  }

  get statistics(): EndpointStatistics {
    return this.#binding.statistics;
  }

  get priority(): number {
    return this.#options.priority ?? this.#contract.priority ?? 128;
  }

  get native(): NativeNames | undefined {
    return this.#contract.native;
  }

  get isAccepted(): boolean {
    return this.state !== "pending";
  }

  get ended(): boolean {
    return this.state !== "pending" && this.state !== "running";
  }

  start(): void {
    const { statistics, port } = this.#binding;
    statistics.calls++;
    statistics.messagesOut++;
    statistics.pending++;
    this.#timers.arm(this, this.timeoutMs);
    port.start(this);
    const signal = this.#options.signal;
    if (signal !== undefined && !this.ended) {
      this.#onAbort = () => {
        port.abandon(this);
        this.#end("cancelled", signal.reason);
      };
      // A worker in this process may have run for a while already.
      if (signal.aborted) this.#onAbort();
      else signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  accepted(): void {
    if (this.state !== "pending") return;
    this.state = "running";
    this.#accept();
  }

  feedback(value: unknown, sequence: number): void {
    if (!this.#arrived(sequence)) return;
    const statistics = this.#binding.statistics;
    statistics.messagesIn++;
    statistics.feedback++;
    const schema = this.#contract.feedback;
    if (schema === undefined) return void this.inbox.push({ value });
    this.#inOrder(() => applySchema(schema, value, "feedback"), (v) => {
      this.inbox.push({ value: v });
    }, (error) => {
      statistics.countDrop("invalid");
      statistics.countError(PatchbayError.fromThrown(error).code);
    });
  }

  progressed(fraction: number, sequence: number): void {
    if (!this.#arrived(sequence)) return;
    this.progress = fraction;
    runHook(() => this.#options.onProgress?.(fraction), (error) => {
      this.#binding.report?.(
        PatchbayError.fromThrown(error).with({ pattern: "job", address: this.address }),
      );
    });
  }

  succeed(value: unknown): void {
    if (this.ended) return;
    this.#binding.statistics.messagesIn++;
    const schema = this.#contract.result;
    const done = (v: unknown) =>
      this.#end(this.cancelReason === undefined ? "succeeded" : "cancelled", undefined, v);
    if (schema === undefined && this.#checking === undefined) return done(value);
    this.#inOrder(
      () => schema === undefined ? value : applySchema(schema, value, "result"),
      done,
      (error) => this.fail(error),
    );
  }

  fail(error: unknown): void {
    if (this.ended) return;
    const known = PatchbayError.fromThrown(error).with({
      pattern: "job",
      transport: this.transport,
      address: this.address,
    });
    if (this.cancelReason !== undefined && this.state === "running") {
      return this.#end("cancelled", this.cancelReason.reason);
    }
    this.#binding.statistics.countError(known.code);
    this.#end(known.code === "closed" ? "lost" : "failed", known);
  }

  cancel(reason: unknown): void {
    if (this.ended || this.cancelReason !== undefined) return;
    this.cancelReason = { reason };
    this.#binding.port.cancel(this, reason instanceof Error ? reason.message : undefined);
  }

  override expire(): void {
    this.#binding.port.abandon(this);
    this.cancelReason = undefined;
    const missing = !this.isAccepted
      ? "no acceptance"
      : this.#options.feedbackResetsTimeout === false
      ? "no result"
      : "no feedback or result";
    this.fail(
      new PatchbayError(
        "deadline_exceeded",
        `${this.address}: ${missing} within ${this.timeoutMs} ms over ${this.transport}`,
        {
          details: { timeoutMs: this.timeoutMs, accepted: this.isAccepted },
          remedy: "pass a longer timeoutMs, or have the worker give feedback more often",
        },
      ),
    );
  }

  /** Counts gaps, drops what came before, and starts the silence anew. */
  #arrived(sequence: number): boolean {
    if (this.ended || sequence <= this.lastSequence) return false;
    const missed = sequence - this.lastSequence - 1;
    if (missed > 0) this.#binding.statistics.countDrop("feedback_gap", missed);
    this.lastSequence = sequence;
    if (this.#options.feedbackResetsTimeout !== false) this.#timers.arm(this, this.timeoutMs);
    return true;
  }

  /** Runs a possibly asynchronous check without letting later values overtake. */
  #inOrder(
    check: () => unknown,
    then: (value: unknown) => void,
    otherwise: (error: unknown) => void,
  ): void {
    if (this.#checking === undefined) {
      try {
        const checked = check();
        if (!(checked instanceof Promise)) return then(checked);
        check = () => checked;
      } catch (error) {
        return otherwise(error);
      }
    }
    const mine = (this.#checking ?? Promise.resolve()).then(async () => {
      try {
        then(await check());
      } catch (error) {
        otherwise(error);
      }
      if (this.#checking === mine) this.#checking = undefined;
    });
    this.#checking = mine;
  }

  #end(state: JobState, error: unknown, value?: unknown): void {
    if (this.ended) return;
    const accepted = this.isAccepted;
    this.state = state;
    this.#binding.statistics.pending--;
    this.#timers.disarm(this);
    if (this.#onAbort !== undefined) {
      this.#options.signal?.removeEventListener("abort", this.#onAbort);
    }
    this.inbox.end();
    if (error === undefined) {
      this.#accept();
      this.#resolve(value);
    } else {
      if (!accepted) this.#refuse(error);
      this.#reject(error);
    }
  }
}

/**
 * A job that its worker has accepted. Made by `await bay.execute(contract, goal)`.
 *
 * @typeParam FeedbackOut What the feedback's schema gives.
 * @typeParam ResultOut What the result's schema gives.
 */
export class JobHandle<FeedbackOut, ResultOut> implements AsyncDisposable {
  readonly #job: PendingJob;

  /** @ignore Made by the bay. */
  constructor(job: PendingJob) {
    this.#job = job;
  }

  /** 32 hexadecimal digits, the same on the worker's side. */
  get id(): string {
    return this.#job.id;
  }

  /** The address. */
  get address(): string {
    return this.#job.address;
  }

  /** The wire it runs over, by plugin name. */
  get transport(): string {
    return this.#job.transport;
  }

  /** Where it stands. */
  get state(): JobState {
    return this.#job.state;
  }

  /** The last progress report, 0–1; `undefined` before the first. */
  get progress(): number | undefined {
    return this.#job.progress;
  }

  /**
   * The result. Rejects with the worker's error, with the reason given to {@link cancel} if the
   * worker stopped because of it, with `deadline_exceeded` after too long without feedback, or
   * with `closed` if the worker is gone.
   */
  get result(): Promise<ResultOut> {
    return this.#job.result as Promise<ResultOut>;
  }

  /** The feedback, in order. Ends with the job, also when it fails: the error is the result's. */
  get feedback(): AsyncIterableIterator<FeedbackOut, undefined> {
    const inbox = this.#job.inbox;
    const iterator: AsyncIterableIterator<FeedbackOut, undefined> = {
      next: async () => {
        const next = await inbox.next();
        return next.done
          ? { value: undefined, done: true }
          : { value: next.value.value as FeedbackOut, done: false };
      },
      return: () => Promise.resolve({ value: undefined, done: true }),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /**
   * Asks the worker to stop, and waits for nothing: {@link result} tells how it ended. If the
   * worker returns all the same, its result counts. Idempotent; harmless after the end.
   *
   * @param reason What `result` rejects with; default: an `AbortError`.
   */
  cancel(reason?: unknown): void {
    this.#job.cancel(reason ?? new DOMException("the job was cancelled", "AbortError"));
  }

  /** Cancels the job if it still runs, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    await this.result.then(() => {}, () => {});
  }
}
