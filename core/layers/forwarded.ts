/**
 * A call and a job that a layer puts between the user's and the transport: every field leads to the
 * one below, until the layer says otherwise.
 *
 * @module
 */

import type { Headers, OutboundCall, ServerSchemas } from "../callable.ts";
import type { NativeNames } from "../contract.ts";
import type { OutboundJob } from "../job.ts";
import type { EndpointStatistics } from "../statistics.ts";

/**
 * A call that forwards to another. A layer's port hands one to the port inside, so that the inner
 * port has a `slot` of its own, and the layer sees the outcome first.
 *
 * @example
 * ```ts
 * import { type CallPort, ForwardedCall } from "@patchbay/core";
 *
 * class Timed extends ForwardedCall {
 *   readonly startedMs = performance.now();
 *   override succeed(value: unknown): void {
 *     console.log(this.address, "took", performance.now() - this.startedMs, "ms");
 *     super.succeed(value);
 *   }
 * }
 * const timed = (inner: CallPort): CallPort => ({
 *   get contract() {
 *     return inner.contract;
 *   },
 *   start: (call) => inner.start(call.slot = new Timed(call)),
 *   cancel: (call) => inner.cancel(call.slot as Timed),
 *   close: () => inner.close(),
 * });
 * console.log(timed.name);
 * ```
 */
export class ForwardedCall implements OutboundCall {
  /** The call it stands for. */
  readonly origin: OutboundCall;
  /** For the port inside. */
  slot: unknown = undefined;
  /** What is sent along: at first what the original sends. */
  headers: Headers | undefined;

  /**
   * Forwards to a call.
   *
   * @param origin The call it stands for.
   */
  constructor(origin: OutboundCall) {
    this.origin = origin;
    this.headers = origin.headers;
  }

  /** As {@link OutboundCall.contract}. */
  get contract(): ServerSchemas | undefined {
    return this.origin.contract;
  }

  /** As {@link OutboundCall.abandoned}. */
  get abandoned(): boolean {
    return this.origin.abandoned;
  }

  /** Set by the endpoint. */
  set abandoned(abandoned: boolean) {
    this.origin.abandoned = abandoned;
  }

  /** As {@link OutboundCall.running}. */
  get running(): boolean | undefined {
    return this.origin.running;
  }

  /** Set by the endpoint. */
  set running(running: boolean | undefined) {
    this.origin.running = running;
  }

  /** As {@link OutboundCall.value}. */
  get value(): unknown {
    return this.origin.value;
  }

  /** As {@link OutboundCall.address}. */
  get address(): string {
    return this.origin.address;
  }

  /** As {@link OutboundCall.timeoutMs}. */
  get timeoutMs(): number {
    return this.origin.timeoutMs;
  }

  /** As {@link OutboundCall.remainingMs}. */
  get remainingMs(): number {
    return this.origin.remainingMs;
  }

  /** As {@link OutboundCall.codec}. */
  get codec(): string | undefined {
    return this.origin.codec;
  }

  /** As {@link OutboundCall.priority}. */
  get priority(): number {
    return this.origin.priority;
  }

  /** As {@link OutboundCall.native}. */
  get native(): NativeNames | undefined {
    return this.origin.native;
  }

  /** As {@link OutboundCall.idempotent}. */
  get idempotent(): boolean {
    return this.origin.idempotent;
  }

  /** As {@link OutboundCall.statistics}. */
  get statistics(): EndpointStatistics {
    return this.origin.statistics;
  }

  /** As {@link OutboundCall.succeed}. */
  succeed(value: unknown): void {
    this.origin.succeed(value);
  }

  /** As {@link OutboundCall.fail}. */
  fail(error: unknown): void {
    this.origin.fail(error);
  }
}

/** A job that forwards to another, as {@link ForwardedCall} does for calls. */
export class ForwardedJob implements OutboundJob {
  /** The job it stands for. */
  readonly origin: OutboundJob;
  /** For the port inside. */
  slot: unknown = undefined;
  /** What is sent along: at first what the original sends. */
  headers: Headers | undefined;

  /**
   * Forwards to a job.
   *
   * @param origin The job it stands for.
   */
  constructor(origin: OutboundJob) {
    this.origin = origin;
    this.headers = origin.headers;
  }

  /** As {@link OutboundJob.id}. */
  get id(): string {
    return this.origin.id;
  }

  /** As {@link OutboundJob.goal}. */
  get goal(): unknown {
    return this.origin.goal;
  }

  /** As {@link OutboundJob.address}. */
  get address(): string {
    return this.origin.address;
  }

  /** As {@link OutboundJob.codec}. */
  get codec(): string | undefined {
    return this.origin.codec;
  }

  /** As {@link OutboundJob.priority}. */
  get priority(): number {
    return this.origin.priority;
  }

  /** As {@link OutboundJob.native}. */
  get native(): NativeNames | undefined {
    return this.origin.native;
  }

  /** As {@link OutboundJob.timeoutMs}. */
  get timeoutMs(): number {
    return this.origin.timeoutMs;
  }

  /** As {@link OutboundJob.lastSequence}. */
  get lastSequence(): number {
    return this.origin.lastSequence;
  }

  /** As {@link OutboundJob.isAccepted}. */
  get isAccepted(): boolean {
    return this.origin.isAccepted;
  }

  /** As {@link OutboundJob.ended}. */
  get ended(): boolean {
    return this.origin.ended;
  }

  /** As {@link OutboundJob.statistics}. */
  get statistics(): EndpointStatistics {
    return this.origin.statistics;
  }

  /** As {@link OutboundJob.accepted}. */
  accepted(): void {
    this.origin.accepted();
  }

  /** As {@link OutboundJob.feedback}. */
  feedback(value: unknown, sequence: number): void {
    this.origin.feedback(value, sequence);
  }

  /** As {@link OutboundJob.progressed}. */
  progressed(fraction: number, sequence: number): void {
    this.origin.progressed(fraction, sequence);
  }

  /** As {@link OutboundJob.succeed}. */
  succeed(value: unknown): void {
    this.origin.succeed(value);
  }

  /** As {@link OutboundJob.fail}. */
  fail(error: unknown): void {
    this.origin.fail(error);
  }
}
