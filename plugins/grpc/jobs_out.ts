/**
 * Jobs, the owner's side: the goal, the way back to it after a cut, and the cancellation.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import { type JobPort, type OutboundJob, PatchbayError } from "@patchbay/core";
import { sizeOf } from "./bodies.ts";
import { baseMetadata } from "./calls_out.ts";
import type { StreamHost } from "./listening.ts";
import { messages, numberOf, PATH } from "./messages.ts";
import { addHeaders, PRIORITY } from "./metadata.ts";
import { Reader } from "./reader.ts";

/** What the way of a job needs of its transport. */
export interface JobHost extends StreamHost {
  /** How long a lost worker is looked for, in milliseconds. */
  readonly rejoinMs: number;
}

/** The way of jobs to one address. */
export class JobWay implements JobPort {
  readonly #address: string;
  readonly #urls: readonly string[];
  readonly #host: JobHost;
  readonly #owned = new Set<OwnedJob>();
  readonly #closed: () => void;

  /**
   * @param address The address.
   * @param urls Who performs it: several, if they share it.
   * @param host The transport.
   * @param closed Called when it is closed.
   */
  constructor(
    address: string,
    urls: readonly string[],
    host: JobHost,
    closed: () => void,
  ) {
    this.#address = address;
    this.#urls = urls;
    this.#host = host;
    this.#closed = closed;
  }

  /** As {@link JobPort.start}. */
  start(job: OutboundJob): void {
    try {
      const url = this.#urls[Math.floor(Math.random() * this.#urls.length)];
      if (url === undefined) {
        throw new PatchbayError(
          "not_found",
          `${this.#address}: no bay known over grpc performs it`,
        );
      }
      const owned = new OwnedJob(job, url, this.#host, () => this.#owned.delete(owned));
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

  /** @ignore A place has gone for good. */
  gone(url: string): void {
    for (const owned of this.#owned) owned.gone(url);
  }
}

/** One job, from its goal to its end. */
class OwnedJob {
  readonly #job: OutboundJob;
  readonly #url: string;
  readonly #host: JobHost;
  readonly #reader: Reader;
  readonly #ended: () => void;
  readonly #goal: Buffer;
  readonly #metadata: Metadata;
  #sent = false;
  #over = false;
  /** A cancellation that a worker who comes back has to hear. */
  #cancelled: Buffer | undefined;
  #lostAtMs = 0;

  constructor(job: OutboundJob, url: string, host: JobHost, ended: () => void) {
    this.#job = job;
    this.#url = url;
    this.#host = host;
    this.#ended = ended;
    const value = host.bodies.encode(job.goal, job.codec);
    job.statistics.bytesOut += sizeOf(value);
    this.#goal = messages().jobRequest.encode({
      goal: { address: job.address, id: job.id, ...value },
    });
    this.#metadata = baseMetadata(host);
    if (job.priority !== 128) this.#metadata.set(PRIORITY, String(job.priority));
    if (job.headers !== undefined) addHeaders(job.headers, this.#metadata);
    host.statistics.messagesOut++;
    host.statistics.bytesOut += this.#goal.length;
    this.#reader = new Reader({
      channel: () => host.channelTo(url),
      where: url,
      path: `${PATH}Execute`,
      metadata: () => this.#metadata,
      reconnectMinMs: host.patience.reconnectMinMs,
      // A job has a deadline: its worker is looked for more often than a speaker.
      reconnectMaxMs: Math.min(host.patience.reconnectMaxMs, 1000),
      first: () => this.#first(),
      onOpen: () => this.#opened(),
      onMessage: (bytes) => this.#received(bytes),
      onLost: (error) => this.#lost(error),
    });
  }

  cancel(reason: string | undefined): void {
    if (this.#over) return;
    this.#cancelled = cancellation(reason);
    this.#reader.send(this.#cancelled);
  }

  abandon(): void {
    if (!this.#end(false)) return;
    // The worker ends the stream; if it is lost before, the job's orphanage ends the job.
    this.#reader.finish(cancellation("the job's owner has given up"));
  }

  fail(error: unknown): void {
    if (this.#end(true)) this.#job.fail(error);
  }

  gone(url: string): void {
    if (url === this.#url) this.fail(this.#workerGone());
  }

  #first(): Buffer {
    if (!this.#sent) {
      this.#sent = true;
      return this.#goal;
    }
    const { address, id, lastSequence } = this.#job;
    return messages().jobRequest.encode({ attach: { address, id, after: lastSequence } });
  }

  #opened(): void {
    this.#host.trouble(this, undefined);
    if (this.#lostAtMs !== 0 && this.#cancelled !== undefined) this.#reader.send(this.#cancelled);
    this.#lostAtMs = 0;
  }

  #received(bytes: Buffer): void {
    if (this.#over) return;
    const job = this.#job;
    const { bodies, statistics } = this.#host;
    statistics.messagesIn++;
    statistics.bytesIn += bytes.length;
    let ends = false;
    try {
      const { accepted, feedback, progress, result } = messages().jobEvent.decode(bytes);
      if (accepted) return job.accepted();
      if (progress) return job.progressed(progress.fraction, numberOf(progress.sequence));
      if (feedback) {
        job.statistics.bytesIn += sizeOf(feedback);
        return job.feedback(bodies.decode(feedback), numberOf(feedback.sequence));
      }
      if (result) {
        ends = true;
        job.statistics.bytesIn += sizeOf(result);
        const value = bodies.decode(result);
        if (this.#end(true)) job.succeed(value);
      }
    } catch (error) {
      if (ends) return this.fail(error);
      job.statistics.countDrop("undecodable");
    }
  }

  #lost(error: PatchbayError | undefined): boolean {
    if (this.#over) return false;
    const cut = error === undefined || isCut(error);
    if (!cut) {
      // An answer: the verdict on the goal, the job's own failure, or that it is not known here.
      const back = this.#lostAtMs !== 0 && error.code === "not_found";
      this.fail(back ? this.#workerGone(error) : error);
      return false;
    }
    if (!this.#job.isAccepted && error?.details?.notExecuted === true && this.#lostAtMs === 0) {
      this.fail(error);
      return false;
    }
    const nowMs = performance.now();
    if (this.#lostAtMs === 0) this.#lostAtMs = nowMs;
    if (nowMs - this.#lostAtMs > this.#host.rejoinMs) {
      this.fail(this.#workerGone(error));
      return false;
    }
    this.#host.trouble(this, `reconnecting to ${this.#url}: ${error?.message}`);
    this.#host.lost();
    return true;
  }

  #workerGone(cause?: PatchbayError): PatchbayError {
    return new PatchbayError("closed", `${this.#job.address}: the worker is gone`, {
      retryable: false,
      cause,
    });
  }

  #end(stop: boolean): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#host.trouble(this, undefined);
    // Absent while the first attempt fails at once.
    if (stop) this.#reader?.stop();
    this.#ended();
    return true;
  }
}

/** Whether a connection was lost, as opposed to an answer that says no. */
function isCut(error: PatchbayError): boolean {
  return (error.code === "closed" || error.code === "unavailable") &&
    error.details?.grpcStatus !== undefined;
}

function cancellation(reason: string | undefined): Buffer {
  return messages().jobRequest.encode({ cancel: { reason: reason ?? "" } });
}
