/**
 * Jobs, the owner's side: the goal as a POST whose answer is the stream of feedback and result, the
 * way back to it after a cut, and the DELETE that cancels.
 *
 * @module
 */

import { type JobPort, type OutboundJob, PatchbayError } from "@patchbay/core";
import { baseHeaders, pause } from "./calls.ts";
import { decodeEvent, EVENT_STREAM } from "./events.ts";
import { addUserHeaders, JOB_ID, PRIORITY } from "./headers.ts";
import type { Host, Outgoing, Streaming } from "./host.ts";
import type { StreamHost } from "./listening.ts";
import { type Name, nameOf } from "./names.ts";
import { Reader, type Received, refusedWith } from "./readers.ts";
import { errorOfProblem } from "./statuses.ts";

/** How often a cancellation is sent, if the connection is lost. */
const CANCEL_ATTEMPTS = 4;
/** How long it may take, in milliseconds. */
const CANCEL_MS = 5_000;

/** What the way of a job needs of its transport. */
export interface JobHost extends StreamHost {
  /** How long a lost worker is looked for, in milliseconds. */
  readonly rejoinMs: number;
  /** Lets something end by itself, and waits for it at close. */
  ending(work: Promise<void>): void;
}

/** The way of jobs to one address. */
export class JobWay implements JobPort {
  readonly #address: string;
  readonly #hosts: readonly Host[];
  readonly #transport: JobHost;
  readonly #owned = new Set<OwnedJob>();
  readonly #closed: () => void;

  /**
   * @param address The address.
   * @param hosts Who performs it: several, if they share it.
   * @param transport The transport.
   * @param closed Called when it is closed.
   */
  constructor(
    address: string,
    hosts: readonly Host[],
    transport: JobHost,
    closed: () => void,
  ) {
    this.#closed = closed;
    this.#address = address;
    this.#hosts = hosts;
    this.#transport = transport;
  }

  /** As {@link JobPort.start}. */
  start(job: OutboundJob): void {
    try {
      const name = nameOf(this.#address, job.native?.rest, this.#transport.names);
      const hosts = name.baseUrl === undefined
        ? this.#hosts
        : [this.#transport.hostAt(name.baseUrl)];
      const host = hosts[Math.floor(Math.random() * hosts.length)];
      if (host === undefined) {
        throw new PatchbayError(
          "not_found",
          `${this.#address}: no bay known over rest performs it`,
        );
      }
      const owned = new OwnedJob(job, name, host, this.#transport, () => this.#owned.delete(owned));
      this.#owned.add(owned);
      job.slot = owned;
    } catch (error) {
      job.fail(error);
    }
  }

  /** As {@link JobPort.cancel}. */
  cancel(job: OutboundJob, reason: string | undefined): void {
    (job.slot as OwnedJob | undefined)?.cancel(reason);
  }

  /** As {@link JobPort.abandon}. */
  abandon(job: OutboundJob): void {
    (job.slot as OwnedJob | undefined)?.abandon();
  }

  /** As {@link JobPort.close}. */
  close(): void {
    for (const owned of this.#owned) {
      owned.fail(new PatchbayError("closed", `${this.#address}: the bay was closed`));
    }
    this.#closed();
  }

  /** @ignore A host has gone for good. */
  gone(host: Host): void {
    for (const owned of this.#owned) owned.gone(host);
  }
}

/** One job, from its goal to its end. */
class OwnedJob {
  readonly #job: OutboundJob;
  readonly #host: Host;
  readonly #transport: JobHost;
  readonly #reader: Reader;
  readonly #headers: Record<string, string>;
  readonly #ended: () => void;
  #target: string;
  #answered = false;
  #over = false;
  #lostAtMs = 0;

  constructor(
    job: OutboundJob,
    name: Name,
    host: Host,
    transport: JobHost,
    ended: () => void,
  ) {
    this.#job = job;
    this.#host = host;
    this.#transport = transport;
    this.#ended = ended;
    const headers = this.#headers = baseHeaders(transport);
    if (name.headers !== undefined) addUserHeaders(name.headers, headers);
    this.#target = `${name.path}/${job.id}`;
    const first = this.#goal(name);
    const { reading, bodies } = transport;
    const options = {
      host,
      first,
      target: this.#target,
      headers,
      maxBytes: bodies.maxBytes,
      silenceMs: reading.eventPingMs * 3,
      reconnectMinMs: reading.reconnectMinMs,
      // A job has a deadline: its worker is looked for more often than a speaker.
      reconnectMaxMs: Math.min(reading.reconnectMaxMs, 1000),
      onOpen: (head: Streaming) => this.#opened(head, options),
      onEvent: (event: Received) => this.#received(event),
      onLost: (error: PatchbayError | undefined) => this.#lost(error),
    };
    this.#reader = new Reader(options);
  }

  #goal(name: Name): Omit<Outgoing, "signal"> {
    const job = this.#job;
    const { bytes, type } = this.#transport.bodies.encode(job.goal, job.codec);
    const headers: Record<string, string> = {
      ...this.#headers,
      accept: EVENT_STREAM,
      [JOB_ID]: job.id,
    };
    if (job.priority !== 128) headers[PRIORITY] = String(job.priority);
    if (bytes !== undefined) headers["content-type"] = type;
    if (job.headers !== undefined) addUserHeaders(job.headers, headers);
    job.statistics.bytesOut += bytes?.length ?? 0;
    this.#transport.statistics.messagesOut++;
    return { method: "POST", target: name.path, headers, body: bytes, priority: job.priority };
  }

  cancel(reason: string | undefined): void {
    if (!this.#over) this.#tell(reason);
  }

  abandon(): void {
    if (!this.#end()) return;
    this.#tell("the job's owner has given up");
  }

  fail(error: unknown): void {
    if (this.#end()) this.#job.fail(error);
  }

  gone(host: Host): void {
    if (host === this.#host) this.fail(this.#workerGone());
  }

  #opened(head: Streaming, options: { target: string }): void {
    this.#lostAtMs = 0;
    this.#transport.trouble(this, undefined);
    if (head.location.startsWith("/")) options.target = this.#target = head.location;
    this.#answered = true;
    this.#job.accepted();
  }

  #received({ event, id, data, facts }: Received): void {
    if (this.#over) return;
    const job = this.#job;
    const { bodies } = this.#transport;
    job.statistics.bytesIn += data.length;
    this.#transport.statistics.messagesIn++;
    try {
      switch (event) {
        case "feedback":
          return job.feedback(decodeEvent(data, facts, bodies), Number(id));
        case "progress":
          return job.progressed(Number(data), Number(id));
        case "result": {
          const value = decodeEvent(data, facts, bodies);
          if (this.#end()) job.succeed(value);
          return;
        }
        case "error":
          return this.fail(errorOfProblem(data));
      }
    } catch (error) {
      if (event === "result") return this.fail(error);
      job.statistics.countDrop("undecodable");
    }
  }

  #lost(error: PatchbayError | undefined): boolean {
    if (this.#over) return false;
    if (refusedWith(error) !== undefined) {
      // An answer, and no stream: of the POST the verdict on the goal, of a GET that it is gone.
      const refused = !this.#answered && this.#lostAtMs === 0;
      this.fail(refused ? error : this.#workerGone(error));
      return false;
    }
    if (!this.#answered && error?.details?.notExecuted === true && this.#lostAtMs === 0) {
      this.fail(error);
      return false;
    }
    const nowMs = performance.now();
    if (this.#lostAtMs === 0) this.#lostAtMs = nowMs;
    if (nowMs - this.#lostAtMs > this.#transport.rejoinMs) {
      this.fail(this.#workerGone(error));
      return false;
    }
    this.#transport.trouble(this, `reconnecting to ${this.#host.base}: ${error?.message}`);
    this.#transport.hostLost(this.#host);
    return true;
  }

  #workerGone(cause?: PatchbayError): PatchbayError {
    return new PatchbayError("closed", `${this.#job.address}: the worker is gone`, {
      retryable: false,
      cause,
    });
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#transport.trouble(this, undefined);
    this.#reader?.stop();
    this.#ended();
    return true;
  }

  /** Tells the worker to stop; more than once if the connection is lost. */
  #tell(reason: string | undefined): void {
    const send = async () => {
      const query = reason === undefined ? "" : `?${new URLSearchParams({ reason })}`;
      const signal = AbortSignal.timeout(CANCEL_MS);
      for (let attempt = 0; attempt < CANCEL_ATTEMPTS; attempt++) {
        try {
          await this.#host.exchange({
            method: "DELETE",
            target: `${this.#target}${query}`,
            headers: this.#headers,
            body: undefined,
            signal,
          });
          return;
        } catch (error) {
          if (!(error instanceof PatchbayError) || !error.retryable) return;
          await pause(20 * 2 ** attempt, signal);
        }
      }
    };
    this.#transport.ending(send());
  }
}
