/**
 * The way to one other bay of the directory: dials it, shares one session among all who need it,
 * and reconnects with back-off as long as somebody needs it and it lives.
 *
 * @module
 */

import type { DirectoryEntry } from "../directory.ts";
import { PatchbayError } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import type { LinkConfig, LinkDriver } from "../link_plugin.ts";
import type { ListenerEndpoint } from "../listener_endpoint.ts";
import { TimerEntry, type TimerWheel } from "../timer_wheel.ts";
import type { Subscription } from "../session/outbound.ts";
import { Session, type SessionOptions } from "../session/session.ts";

/** How long a bay that closes may go on sending what it owes, in milliseconds: it drains for 5 s. */
const GONE_MS = 6000;

/** What a peer asks of its transport. */
export interface PeerHost {
  /** How to dial. */
  readonly driver: LinkDriver;
  /** The configuration. */
  readonly config: LinkConfig;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** How to make a session. */
  readonly session: SessionOptions;
  /** The connection is back. */
  peerChanged(): void;
  /**
   * The connection was lost: is the peer still alive?
   *
   * @param error Why, if a connection that stood has ended just now.
   */
  peerLost(error?: PatchbayError): void;
  /** A connection was made: what must be told before it is used. */
  opened?(session: Session): Promise<void>;
  /** Whether the connection is needed besides for listeners and jobs. */
  readonly holds?: boolean;
  /** So many failures in a row, and nothing more is tried until somebody calls. Default: no end. */
  readonly maxAttempts?: number;
  /**
   * Nothing more is tried: too many failures, or a refusal of the whole connection. Where this is not
   * given, as one listener has many peers, a connection that was refused is made again.
   */
  gaveUp?(error: PatchbayError): void;
}

class Pause extends TimerEntry {
  readonly over = Promise.withResolvers<void>();

  override expire(): void {
    this.over.resolve();
  }

  override discard(): void {
    this.over.resolve();
  }
}

/** The way to one other bay. */
export class Peer {
  /** The bay, as the directory tells it. */
  readonly entry: DirectoryEntry;
  readonly #where: string;
  readonly #host: PeerHost;
  readonly #listeners = new Map<ListenerEndpoint, Subscription | undefined>();
  readonly #joins = new Map<ListenerEndpoint, Promise<void>>();
  readonly #jobs = new Set<OutboundJob>();
  /** Jobs that are to stop, with the reason: told again after each reconnection. */
  readonly #cancels = new Map<OutboundJob, string | undefined>();
  readonly #stop = new AbortController();
  #session: Session | undefined;
  #connecting: Promise<Session> | undefined;
  #pause: Pause | undefined;
  #trying = false;
  #connectedBefore = false;
  #failures = 0;
  #lastError: PatchbayError | undefined;
  /** Why the other side will not have this one, if it has said so since the last connection. */
  #refused: PatchbayError | undefined;

  /**
   * @param entry The bay.
   * @param where Where its wire listens.
   * @param host The transport.
   */
  constructor(entry: DirectoryEntry, where: string, host: PeerHost) {
    this.entry = entry;
    this.#where = where;
    this.#host = host;
  }

  /** The session, if there is one now. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Whether somebody needs the connection now. */
  get needed(): boolean {
    return this.#listeners.size > 0 || this.#jobs.size > 0 || this.#host.holds === true;
  }

  /** Why there is no connection, if it is needed and there is none. */
  get trouble(): PatchbayError | undefined {
    return this.needed && this.#session === undefined ? this.#lastError : undefined;
  }

  /** The session, dialled if need be. Concurrent callers share one attempt. */
  connect(): Promise<Session> {
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    this.#pause?.over.resolve();
    return this.#connecting ??= this.#dial().finally(() => this.#connecting = undefined);
  }

  /** Connects again, with back-off, as long as somebody needs it. */
  keep(): void {
    this.#refused = undefined;
    void this.#keepTrying();
  }

  /**
   * Joins a listener; it is joined again after each reconnection.
   *
   * @param listener The listener.
   */
  join(listener: ListenerEndpoint): Promise<void> {
    // A change of the directory may have begun to join it already: both wait for the same answer.
    let joining = this.#joins.get(listener);
    if (joining === undefined) this.#joins.set(listener, joining = this.#join(listener));
    return joining;
  }

  async #join(listener: ListenerEndpoint): Promise<void> {
    this.#listeners.set(listener, undefined);
    try {
      await this.#subscribe(await this.connect(), listener);
    } catch (error) {
      const known = this.#refusalIn(error);
      if (isRefusal(known)) {
        this.#listeners.delete(listener);
        this.#joins.delete(listener);
        throw known;
      }
      this.#lastError = known;
      // It was not refused this time, whatever was said before.
      this.keep();
    }
  }

  /**
   * Takes a listener out.
   *
   * @param listener The listener.
   */
  leave(listener: ListenerEndpoint): void {
    this.#listeners.get(listener)?.close();
    this.#listeners.delete(listener);
    this.#joins.delete(listener);
  }

  /**
   * Sends a goal, and keeps the job so that it is attached again after a reconnection.
   *
   * @param job The job.
   */
  async execute(job: OutboundJob): Promise<void> {
    this.#jobs.add(job);
    try {
      const session = await this.connect();
      if (job.ended) return this.forget(job);
      session.outbound.goal(job);
      this.#cancelLate(session, job);
    } catch (error) {
      this.#jobs.delete(job);
      job.fail(error);
    }
  }

  /**
   * The job has ended, or nobody wants it any longer.
   *
   * @param job The job.
   */
  forget(job: OutboundJob): void {
    this.#jobs.delete(job);
    this.#cancels.delete(job);
  }

  /**
   * Asks the worker to stop: now, or when there is a connection again.
   *
   * @param job The job.
   * @param reason Why.
   */
  cancel(job: OutboundJob, reason: string | undefined): void {
    if (!this.#jobs.has(job)) return;
    // Kept until the job ends: a connection that has just broken may swallow the message.
    this.#cancels.set(job, reason);
    this.#session?.outbound.cancelJob(job, reason, false);
  }

  /**
   * Cancels a job whose outcome nobody wants.
   *
   * @param job The job.
   */
  abandon(job: OutboundJob): void {
    this.#session?.outbound.cancelJob(job, "the job's owner has given up", true);
    this.forget(job);
  }

  /**
   * The other bay is named no longer: it closes, or is dead. What it has sent is still taken, until
   * its connection ends, and nothing is dialled again.
   *
   * @param reason Why.
   */
  async gone(reason: PatchbayError): Promise<void> {
    this.#stop.abort(reason);
    this.#pause?.over.resolve();
    const session = this.#session;
    if (session !== undefined) {
      const { timers } = this.#host;
      const late = new Pause();
      timers.arm(late, GONE_MS);
      await Promise.race([session.ended, late.over.promise]);
      timers.disarm(late);
    }
    await this.close(reason);
  }

  /**
   * The other bay is gone for good, or this one closes.
   *
   * @param reason Why.
   */
  async close(reason: PatchbayError): Promise<void> {
    this.#stop.abort(reason);
    this.#pause?.over.resolve();
    this.#listeners.clear();
    this.#joins.clear();
    const jobs = [...this.#jobs];
    this.#jobs.clear();
    this.#cancels.clear();
    const session = this.#session;
    this.#session = undefined;
    await session?.close(reason);
    for (const job of jobs) job.fail(reason);
  }

  async #dial(): Promise<Session> {
    const { driver, config, session: options } = this.#host;
    const { statistics } = options;
    this.#stop.signal.throwIfAborted();
    const late = new AbortController();
    const pause = new Pause();
    pause.over.promise.then(() => late.abort());
    this.#host.timers.arm(pause, config.connectTimeoutMs);
    let session: Session | undefined;
    try {
      const signal = AbortSignal.any([late.signal, this.#stop.signal]);
      const link = await driver.dial(this.#where, signal);
      session = new Session(link, true, options);
      await session.ready;
      await this.#host.opened?.(session);
      this.#stop.signal.throwIfAborted();
    } catch (error) {
      await session?.close();
      this.#failures++;
      const known = late.signal.aborted
        ? new PatchbayError(
          "unavailable",
          `${this.entry.module}: no connection within ${config.connectTimeoutMs} ms`,
          { transport: options.transport },
        )
        : PatchbayError.fromThrown(error).with({ transport: options.transport });
      this.#lastError = known;
      // Whoever is bound to it looks for another wire, if this one says that it cannot.
      if (driver.obstacle !== undefined) this.#host.peerChanged();
      throw known;
    } finally {
      this.#host.timers.disarm(pause);
    }
    statistics.connections++;
    if (this.#connectedBefore) statistics.reconnections++;
    this.#connectedBefore = true;
    this.#failures = 0;
    this.#refused = undefined;
    this.#session = session;
    const opened = session;
    opened.ended.then((error) => this.#lost(opened, error));
    return opened;
  }

  #lost(session: Session, error: PatchbayError): void {
    this.#host.session.statistics.connections--;
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#lastError = error;
    this.#heed(error);
    for (const listener of this.#listeners.keys()) this.#listeners.set(listener, undefined);
    for (const job of this.#jobs) {
      if (job.ended) this.#jobs.delete(job);
      else if (!job.isAccepted) {
        // Whether the worker has the goal is not known: it must not run twice.
        this.#jobs.delete(job);
        job.fail(new PatchbayError("closed", `${job.address}: the connection was lost`));
      }
    }
    this.#host.peerLost(error);
    this.#keepTrying();
  }

  /** Reconnects for the listeners and jobs that need it, until the peer is gone. */
  async #keepTrying(): Promise<void> {
    if (this.#trying) return;
    this.#trying = true;
    await this.#tryUntilRestored();
    this.#trying = false;
    // Somebody may have come to need it in the very moment the last attempt ended.
    if (this.#session !== undefined || this.#stop.signal.aborted) return;
    if (this.#refused !== undefined) return this.#giveUp(this.#refused);
    const { maxAttempts = Infinity } = this.#host;
    if (this.#failures >= maxAttempts) return this.#giveUp(this.#exhausted());
    if (this.needed) {
      void this.#keepTrying();
    }
  }

  async #tryUntilRestored(): Promise<void> {
    const { config, timers } = this.#host;
    const { maxAttempts = Infinity } = this.#host;
    const hopeful = () => this.#refused === undefined && this.#failures < maxAttempts;
    while (this.needed && !this.#stop.signal.aborted && hopeful()) {
      const pause = this.#pause = new Pause();
      const ceiling = Math.min(
        config.reconnectMaxMs,
        config.reconnectMinMs * 2 ** Math.min(20, this.#failures),
      );
      timers.arm(pause, Math.random() * ceiling);
      await pause.over.promise;
      timers.disarm(pause);
      this.#pause = undefined;
      if (!this.needed || this.#stop.signal.aborted) return;
      try {
        await this.#restore(await this.connect());
        return;
      } catch (error) {
        this.#lastError = PatchbayError.fromThrown(error);
        this.#heed(this.#lastError);
        this.#host.peerLost();
      }
    }
  }

  /** The other side may have said that it will not have this one: then nothing more is tried. */
  #heed(error: PatchbayError): void {
    if (this.#host.gaveUp !== undefined && isRefusal(error)) this.#refused = error;
  }

  /** What waits when a connection ends fails with `closed`; the refusal that ended it says more. */
  #refusalIn(error: unknown): PatchbayError {
    const known = PatchbayError.fromThrown(error);
    const { cause } = known;
    if (this.#host.gaveUp === undefined || !(cause instanceof PatchbayError)) return known;
    return isRefusal(cause) ? cause : known;
  }

  #exhausted(): PatchbayError {
    const { module } = this.entry;
    const last = this.#lastError?.message ?? "it cannot be reached";
    return new PatchbayError(
      "unavailable",
      `${module}: given up after ${this.#failures} attempts: ${last}`,
      { transport: this.#host.session.transport, remedy: "start it, or raise maxAttempts" },
    );
  }

  /** Nothing more is tried: who waits for the connection is told. */
  #giveUp(error: PatchbayError): void {
    this.#lastError = error;
    const listeners = [...this.#listeners.keys()];
    const jobs = [...this.#jobs];
    for (const job of jobs) this.forget(job);
    for (const listener of listeners) this.leave(listener);
    for (const listener of listeners) listener.fail(error);
    for (const job of jobs) job.fail(error);
    this.#host.gaveUp?.(error);
  }

  /** The connection is back: listeners join again, jobs are attached again. */
  async #restore(session: Session): Promise<void> {
    for (const job of this.#jobs) {
      if (job.ended) this.forget(job);
      // One that was not accepted has not been sent yet: execute() is about to.
      else if (job.isAccepted) {
        session.outbound.attach(job);
        this.#cancelLate(session, job);
      }
    }
    const missing = [...this.#listeners].filter(([, subscription]) => subscription === undefined);
    await Promise.all(missing.map(([listener]) => this.#rejoin(session, listener)));
    this.#lastError = undefined;
    this.#host.peerChanged();
  }

  async #rejoin(session: Session, listener: ListenerEndpoint): Promise<void> {
    try {
      await this.#subscribe(session, listener);
    } catch (error) {
      const known = this.#refusalIn(error);
      if (!isRefusal(known)) throw known;
      this.leave(listener);
      listener.fail(known);
    }
  }

  #cancelLate(session: Session, job: OutboundJob): void {
    if (this.#cancels.has(job)) session.outbound.cancelJob(job, this.#cancels.get(job), false);
  }

  async #subscribe(session: Session, listener: ListenerEndpoint): Promise<void> {
    const subscription = await session.outbound.subscribe(listener);
    // It may have left, or the connection may have been lost, while the answer was on its way.
    if (this.#listeners.has(listener) && this.#session === session) {
      this.#listeners.set(listener, subscription);
    } else subscription.close();
  }
}

/** Whether the other side has said no, which is final; anything else is tried again. */
export function isRefusal(error: PatchbayError): boolean {
  return error.code === "forbidden" || error.code === "invalid" ||
    error.code === "unauthenticated" || error.details?.taken === true;
}
