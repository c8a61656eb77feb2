/**
 * Jobs, the worker's side: `patchbay.v1.Patchbay/Execute`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { type JobEndpoint, type JobRun, type JobSink, PatchbayError } from "@patchbay/core";
import { sizeOf } from "./bodies.ts";
import { type Desk, headersOf, nothingSaid, peerOf, priorityOf, type Verdicts } from "./inbound.ts";
import { type JobEvent, type JobRequest, messages, numberOf, PATH } from "./messages.ts";
import { type ByteStream, Outflow } from "./outflow.ts";

/** The most messages that may wait for an owner who does not read. */
const MAX_QUEUE = 65_536;

const ID = /^[0-9a-f]{32}$/;

/** The jobs of one bay. */
export class Jobs {
  readonly #desk: Desk;
  readonly #verdicts: Verdicts;
  readonly #performed = new Map<string, JobEndpoint[]>();
  readonly #owners = new Set<Owner>();

  /**
   * @param desk What answers share.
   * @param verdicts Who may do what.
   */
  constructor(desk: Desk, verdicts: Verdicts) {
    this.#desk = desk;
    this.#verdicts = verdicts;
    desk.server.stream(`${PATH}Execute`, (stream) => this.#executed(stream));
  }

  /** What is performed here: one of each address. */
  get performed(): JobEndpoint[] {
    return [...this.#performed.values()].map(([first]) => first);
  }

  /**
   * Performs a job.
   *
   * @param endpoint The job.
   * @returns Takes it off again.
   */
  perform(endpoint: JobEndpoint): () => void {
    const { address } = endpoint;
    const endpoints = this.#performed.get(address) ?? [];
    endpoints.push(endpoint);
    this.#performed.set(address, endpoints);
    return () => {
      const index = endpoints.indexOf(endpoint);
      if (index < 0) return;
      endpoints.splice(index, 1);
      if (endpoints.length === 0) this.#performed.delete(address);
    };
  }

  /** Ends every stream. */
  close(): void {
    const error = new PatchbayError("closed", "the worker's bay is closing");
    for (const owner of this.#owners) owner.leave(error);
  }

  #executed(stream: ByteStream): void {
    const { context } = this.#desk;
    const owner = new Owner(stream, this.#desk);
    this.#owners.add(owner);
    const gone = () => {
      this.#owners.delete(owner);
      owner.lost();
    };
    stream.on("cancelled", gone);
    stream.on("close", gone);
    const refuse = (error: unknown) => {
      const known = PatchbayError.fromThrown(error);
      context.statistics.countError(known.code);
      owner.fail(known);
    };
    const read = async (bytes: Buffer) => {
      context.statistics.messagesIn++;
      context.statistics.bytesIn += bytes.length;
      const request = messages().jobRequest.decode(bytes);
      if (owner.begun) return owner.cancel(request);
      const { goal, attach } = request;
      owner.begun = true;
      const address = (goal ?? attach)?.address ?? "";
      if (this.#verdicts.asks) {
        stream.pause();
        await this.#verdicts.check(stream, "execute", address);
        stream.resume();
      }
      if (stream.cancelled) return;
      if (goal) this.#begin(goal, owner);
      else if (attach) this.#attach(attach, owner);
      else {
        throw new PatchbayError("invalid", "the first message is neither a goal nor attaches", {
          remedy: "send goal first",
        });
      }
    };
    stream.on("data", (bytes: Buffer) => void read(bytes).catch(refuse));
    stream.on("end", () => owner.begun || refuse(nothingSaid("goal")));
  }

  #begin(goal: NonNullable<JobRequest["goal"]>, owner: Owner): void {
    const endpoint = this.#next(goal.address);
    const id = goal.id || crypto.randomUUID().replaceAll("-", "");
    if (!ID.test(id)) {
      throw new PatchbayError("invalid", "goal.id: it is not 32 hexadecimal digits", {
        details: { path: "goal.id" },
      });
    }
    let value: unknown;
    try {
      value = this.#desk.bodies.decode(goal);
    } catch (error) {
      endpoint.statistics.countError(PatchbayError.fromThrown(error).code);
      throw error;
    }
    endpoint.statistics.bytesIn += sizeOf(goal);
    owner.start(id, endpoint, value);
  }

  #attach(attach: NonNullable<JobRequest["attach"]>, owner: Owner): void {
    const { address, id } = attach;
    for (const endpoint of this.#performed.get(address) ?? []) {
      const run = endpoint.find(id);
      if (run !== undefined) return owner.attach(endpoint, run, numberOf(attach.after));
    }
    throw new PatchbayError("not_found", `${address}: there is no job ${JSON.stringify(id)}`, {
      address,
      remedy: "jobs that have ended are kept for a minute",
    });
  }

  /** The worker whose turn it is. */
  #next(address: string): JobEndpoint {
    const endpoints = this.#performed.get(address) ?? [];
    const least = endpoints.toSorted((a, b) => a.active - b.active)[0];
    if (least !== undefined) return least;
    throw new PatchbayError("not_found", `${address}: nobody performs it here`, {
      address,
      details: { notExecuted: true },
    });
  }
}

/** One stream to the owner of a job. */
class Owner implements JobSink {
  /** Whether its first message has come. */
  begun = false;
  readonly #stream: ByteStream;
  readonly #desk: Desk;
  readonly #outflow: Outflow;
  #endpoint: JobEndpoint | undefined;
  #run: JobRun | undefined;
  #id = "";
  #accepted = false;
  #gone = false;
  #early: string | undefined;

  constructor(stream: ByteStream, desk: Desk) {
    this.#stream = stream;
    this.#desk = desk;
    this.#outflow = new Outflow(stream, {
      maxQueue: MAX_QUEUE,
      unread: desk.server.unreadOf(stream),
      overflow: "fail",
    });
  }

  start(id: string, endpoint: JobEndpoint, goal: unknown): void {
    this.#id = id;
    this.#endpoint = endpoint;
    const stream = this.#stream;
    this.#run = endpoint.start(id, goal, {
      headers: headersOf(stream),
      peer: peerOf(stream, this.#desk),
      priority: priorityOf(stream),
    }, this);
    if (this.#early !== undefined) this.#run?.cancel(this.#early);
  }

  attach(endpoint: JobEndpoint, run: JobRun, after: number): void {
    this.#id = run.id;
    this.#endpoint = endpoint;
    this.#run = run;
    run.attach(this, after);
  }

  /** The owner says something more: it can only be that the job is to stop. */
  cancel({ cancel }: JobRequest): void {
    if (!cancel) {
      throw new PatchbayError("protocol", "a message after the first may only cancel");
    }
    const reason = cancel.reason || "the job was cancelled";
    if (this.#run === undefined) this.#early = reason;
    else this.#run.cancel(reason);
  }

  /** The connection is lost. */
  lost(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#outflow.drop();
    // A goal that was not accepted yet has no owner who could come back for it.
    if (!this.#accepted) this.#run?.cancel("the job's owner has gone");
    this.#run?.detach(this);
  }

  /** The bay closes. */
  leave(error: PatchbayError): void {
    this.#outflow.fail(error);
  }

  // ----- what the worker says -----

  accepted(): void {
    this.#accepted = true;
    this.#send({ accepted: { id: this.#id } });
  }

  feedback(value: unknown, sequence: number): void {
    const endpoint = this.#endpoint as JobEndpoint;
    try {
      const body = this.#desk.bodies.encode(value, endpoint.contract.codec);
      endpoint.statistics.bytesOut += sizeOf(body);
      this.#send({ feedback: { sequence, ...body } });
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      endpoint.statistics.countDrop(known.code);
      this.#desk.context.report(known.with({ pattern: "job", address: endpoint.address }));
    }
  }

  progressed(fraction: number, sequence: number): void {
    this.#send({ progress: { sequence, fraction } });
  }

  succeed(value: unknown): void {
    const { contract, statistics } = this.#endpoint as JobEndpoint;
    try {
      const body = this.#desk.bodies.encode(value, contract.codec);
      statistics.bytesOut += sizeOf(body);
      this.#send({ result: body });
      this.#outflow.end();
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      this.fail(known);
    }
  }

  fail(error: PatchbayError): void {
    if (this.#outflow.ended) return;
    if (this.#gone) return this.#outflow.drop();
    this.#outflow.fail(error);
  }

  #send(event: JobEvent): void {
    if (this.#gone) return;
    const bytes = messages().jobEvent.encode(event);
    const { statistics } = this.#desk.context;
    statistics.messagesOut++;
    statistics.bytesOut += bytes.length;
    this.#outflow.push(bytes, this.#endpoint?.statistics ?? UNCOUNTED);
  }
}

const UNCOUNTED = { countDrop() {} };
