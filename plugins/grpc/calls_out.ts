/**
 * Calls, the caller's side: whom a call goes to, when it may be made again, and what the answer comes
 * to.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Metadata, status, type StatusObject } from "npm:@grpc/grpc-js@1.14.7";
import {
  type BayIdentity,
  type CallPort,
  type OutboundCall,
  PatchbayError,
  type TransportStatistics,
} from "@patchbay/core";
import { type Bodies, sizeOf } from "./bodies.ts";
import { type Channel, deadlineAfter, type RawCall } from "./channels.ts";
import { messages, PATH } from "./messages.ts";
import { addHeaders, FROM, PRIORITY } from "./metadata.ts";
import { errorOf } from "./statuses.ts";

/** What ways share. */
export interface WayHost {
  /** Who this bay is. */
  readonly identity: BayIdentity;
  /** How values are made. */
  readonly bodies: Bodies;
  /** How often a call that did no harm is made again. */
  readonly retries: number;
  /** Whether calls wait for a server that is down, until their deadline. */
  readonly waitForReady: boolean;
  /** Sent as `authorization: Bearer …`. */
  readonly token: string | undefined;
  /** The transport's counters. */
  readonly statistics: TransportStatistics;
  /** The channel to a place. */
  channelTo(url: string): Channel;
  /** A place did not answer. */
  lost(): void;
}

/** The first pause before another attempt, in milliseconds; doubled each time, with full jitter. */
const FIRST_PAUSE_MS = 20;

/** The metadata that every call of a bay has. */
export function baseMetadata(host: WayHost): Metadata {
  const metadata = new Metadata(host.waitForReady ? { waitForReady: true } : {});
  metadata.set(FROM, `${host.identity.module} ${host.identity.id}`);
  if (host.token !== undefined) metadata.set("authorization", `Bearer ${host.token}`);
  return metadata;
}

/** A call that has been sent. It is the listener of grpc-js's call besides. */
class Sent {
  readonly call: OutboundCall;
  readonly way: CallWay;
  readonly message: Buffer;
  readonly metadata: Metadata;
  /** Whom it may still be sent to. */
  readonly urls: string[];
  attempts = 0;
  raw: RawCall | undefined = undefined;
  answer: Buffer | undefined = undefined;
  timer: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(
    call: OutboundCall,
    way: CallWay,
    message: Buffer,
    metadata: Metadata,
    urls: string[],
  ) {
    this.call = call;
    this.way = way;
    this.message = message;
    this.metadata = metadata;
    this.urls = urls;
  }

  // As grpc-js calls its listeners.
  onReceiveMetadata(): void {}
  onReceiveMessage(message: Buffer): void {
    this.answer = message;
  }
  onReceiveStatus(outcome: StatusObject): void {
    this.way.ended(this, outcome);
  }
}

/** The way of calls to one address. */
export class CallWay implements CallPort {
  readonly #address: string;
  readonly #host: WayHost;
  readonly #urls: readonly string[];
  readonly #inFlight = new Set<Sent>();
  readonly #base: Metadata;
  readonly #closed: () => void;
  #open = true;
  #turn = 0;

  /**
   * @param address The address.
   * @param urls Who serves it: several, if they share it.
   * @param host What ways share.
   * @param closed Called when no more calls come and those in flight have ended.
   */
  constructor(address: string, urls: readonly string[], host: WayHost, closed: () => void) {
    this.#address = address;
    this.#urls = urls;
    this.#host = host;
    this.#base = baseMetadata(host);
    this.#closed = closed;
  }

  /** As {@link CallPort.start}. */
  start(call: OutboundCall): void {
    let sent: Sent;
    try {
      const value = this.#host.bodies.encode(call.value, call.codec);
      call.statistics.bytesOut += sizeOf(value);
      const { json, body, contentType } = value;
      const request = { address: this.#address, json, body, contentType };
      const message = messages().callRequest.encode(request);
      sent = new Sent(call, this, message, this.#metadata(call), this.#order());
    } catch (error) {
      return call.fail(error);
    }
    if (sent.urls.length === 0) {
      return call.fail(
        new PatchbayError("not_found", `${this.#address}: no bay known over grpc serves it`, {
          remedy: "start the module that serves it, or set config.grpc.peers",
        }),
      );
    }
    call.slot = sent;
    this.#inFlight.add(sent);
    this.#send(sent);
  }

  /** As {@link CallPort.cancel}. */
  cancel(call: OutboundCall): void {
    const sent = call.slot as Sent | undefined;
    if (sent === undefined || !this.#forget(sent)) return;
    sent.raw?.cancelWithStatus(status.CANCELLED, "the caller has given up");
  }

  /** As {@link CallPort.close}. */
  close(): void {
    this.#open = false;
    if (this.#inFlight.size === 0) this.#closed();
  }

  /** @ignore The transport closes. */
  end(): void {
    for (const sent of this.#inFlight) {
      this.cancel(sent.call);
      sent.call.fail(
        new PatchbayError("closed", `${this.#address}: the bay was closed`, { retryable: false }),
      );
    }
  }

  /** @ignore A call has come to its end. */
  ended(sent: Sent, outcome: StatusObject): void {
    if (!this.#inFlight.has(sent)) return;
    const { call, answer } = sent;
    const { statistics, bodies } = this.#host;
    if (outcome.code === status.OK && answer !== undefined) {
      this.#forget(sent);
      statistics.messagesIn++;
      statistics.bytesIn += answer.length;
      try {
        const value = messages().callResponse.decode(answer);
        call.statistics.bytesIn += sizeOf(value);
        call.succeed(bodies.decode(value));
      } catch (error) {
        call.fail(error);
      }
      return;
    }
    this.#failed(sent, outcome);
  }

  #failed(sent: Sent, outcome: StatusObject): void {
    const { call } = sent;
    const [url] = sent.urls;
    const error = outcome.code === status.OK
      ? new PatchbayError("protocol", `${url} ended the call without an answer`)
      : errorOf(outcome, { where: url, what: this.#address });
    if (error.code === "closed" || error.code === "unavailable") this.#host.lost();
    const pauseMs = this.#again(sent, error);
    if (pauseMs === undefined) {
      this.#forget(sent);
      // Who has set the deadline says so itself; this is only quicker by a moment.
      if (error.code === "deadline_exceeded") return call.fail(this.#late(call));
      return call.fail(error);
    }
    sent.raw = undefined;
    if (pauseMs === 0) return this.#send(sent);
    sent.timer = setTimeout(() => this.#send(sent), pauseMs);
  }

  #late(call: OutboundCall): PatchbayError {
    return new PatchbayError(
      "deadline_exceeded",
      `${this.#address}: no response within ${call.timeoutMs} ms over grpc`,
      {
        details: { timeoutMs: call.timeoutMs },
        remedy: "pass a longer timeoutMs, or make the handler faster",
      },
    );
  }

  #send(sent: Sent): void {
    const { statistics } = this.#host;
    const { call, message } = sent;
    const deadline = deadlineAfter(call.remainingMs);
    try {
      const raw = sent.raw = this.#host.channelTo(sent.urls[0]).call(`${PATH}Call`, deadline);
      raw.start(sent.metadata, sent);
      raw.sendMessageWithContext({}, message);
      raw.halfClose();
      raw.startRead();
    } catch (error) {
      this.#forget(sent);
      const reason = error instanceof Error ? error.message : String(error);
      return call.fail(
        new PatchbayError("closed", `${this.#address}: ${reason}`, {
          cause: error,
          details: { notExecuted: true },
        }),
      );
    }
    statistics.messagesOut++;
    statistics.bytesOut += message.length;
  }

  /** The call has ended; says whether it had not before. */
  #forget(sent: Sent): boolean {
    if (!this.#inFlight.delete(sent)) return false;
    clearTimeout(sent.timer);
    if (!this.#open && this.#inFlight.size === 0) this.#closed();
    return true;
  }

  #metadata(call: OutboundCall): Metadata {
    const { priority, headers } = call;
    if (priority === 128 && headers === undefined) return this.#base;
    const metadata = this.#base.clone();
    if (priority !== 128) metadata.set(PRIORITY, String(priority));
    if (headers !== undefined) addHeaders(headers, metadata);
    return metadata;
  }

  #order(): string[] {
    const urls = this.#urls;
    if (urls.length <= 1) return [...urls];
    this.#turn = (this.#turn + 1) % urls.length;
    return [...urls.slice(this.#turn), ...urls.slice(0, this.#turn)];
  }

  /** How long to wait before another attempt, in ms; `undefined`: there is none. */
  #again(sent: Sent, error: PatchbayError): number | undefined {
    const untouched = error.details?.notExecuted === true && error.code !== "overloaded";
    if (untouched && sent.urls.length > 1) {
      // Another bay shares the address: it is asked at once.
      sent.urls.shift();
      return 0;
    }
    const lost = error.code === "closed" || error.code === "unavailable";
    const safe = untouched || sent.call.idempotent;
    if (!lost || !safe || !error.retryable || sent.attempts >= this.#host.retries) return undefined;
    const pauseMs = Math.random() * FIRST_PAUSE_MS * 2 ** sent.attempts++;
    if (pauseMs >= sent.call.remainingMs) return undefined;
    this.#host.statistics.retries++;
    return pauseMs;
  }
}
