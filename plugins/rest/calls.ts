/**
 * Calls, the caller's side: the request, whom it goes to, when it may be made again, and what the
 * answer comes to.
 *
 * @module
 */

import {
  type BayIdentity,
  type CallPort,
  type OutboundCall,
  PatchbayError,
  type TransportStatistics,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { addUserHeaders, FROM, PRIORITY, TIMEOUT } from "./headers.ts";
import type { Host, Incoming, Outgoing } from "./host.ts";
import { type Name, nameOf, spread } from "./names.ts";
import { errorOf } from "./statuses.ts";

/** What ways share. */
export interface WayHost {
  /** Who this bay is. */
  readonly identity: BayIdentity;
  /** How bodies are made. */
  readonly bodies: Bodies;
  /** What endpoints are called, by address. */
  readonly names: Readonly<Record<string, unknown>>;
  /** Sent along with every request, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** How often a safe call is made again. */
  readonly retries: number;
  /** The transport's counters. */
  readonly statistics: TransportStatistics;
  /** The host of a URL. */
  hostAt(base: string): Host;
  /** A host did not answer. */
  hostLost(host: Host): void;
}

/** The first pause before another attempt, in milliseconds; doubled each time, with full jitter. */
const FIRST_PAUSE_MS = 20;

/** A call that has been sent. */
class Sent {
  readonly control = new AbortController();
  readonly call: OutboundCall;
  readonly name: Name;
  /** Whom it may still be sent to. */
  readonly hosts: Host[];
  attempts = 0;

  constructor(call: OutboundCall, name: Name, hosts: Host[]) {
    this.call = call;
    this.name = name;
    this.hosts = hosts;
  }
}

/**
 * The headers that every request of a bay has.
 *
 * @param host What ways share.
 */
export function baseHeaders(host: WayHost): Record<string, string> {
  return { ...host.headers, [FROM]: `${host.identity.module} ${host.identity.id}` };
}

/** The way of calls to one address. */
export class CallWay implements CallPort {
  readonly #address: string;
  readonly #way: WayHost;
  readonly #hosts: readonly Host[];
  readonly #inFlight: Set<Sent> = new Set();
  readonly #base: Readonly<Record<string, string>>;
  readonly #closed: () => void;
  #open = true;
  #turn = 0;

  /**
   * @param address The address.
   * @param hosts Who serves it: several, if they share it.
   * @param way What ways share.
   * @param closed Called when no more calls come and those in flight have ended.
   */
  constructor(address: string, hosts: readonly Host[], way: WayHost, closed: () => void) {
    this.#address = address;
    this.#hosts = hosts;
    this.#way = way;
    this.#base = baseHeaders(way);
    this.#closed = closed;
  }

  /** As {@link CallPort.start}. */
  start(call: OutboundCall): void {
    let outgoing: Outgoing;
    let sent: Sent;
    try {
      const name = nameOf(this.#address, call.native?.rest, this.#way.names);
      sent = new Sent(call, name, this.#order(name));
      outgoing = this.#request(call, name, sent.control.signal);
    } catch (error) {
      return call.fail(error);
    }
    if (sent.hosts.length === 0) {
      return call.fail(
        new PatchbayError("not_found", `${this.#address}: no bay known over rest serves it`, {
          remedy: "start the module that serves it, or set config.rest.peers or baseUrl",
        }),
      );
    }
    call.slot = sent;
    this.#inFlight.add(sent);
    void this.#send(sent, outgoing);
  }

  /** As {@link CallPort.cancel}: HTTP has no other word for it than to close the connection. */
  cancel(call: OutboundCall): void {
    const sent = call.slot as Sent | undefined;
    if (sent === undefined || !this.#forget(sent)) return;
    sent.control.abort();
  }

  /** As {@link CallPort.close}. */
  close(): void {
    this.#open = false;
    if (this.#inFlight.size === 0) this.#closed();
  }

  /** @ignore The transport closes. */
  end(): void {
    for (const sent of this.#inFlight) {
      this.#inFlight.delete(sent);
      sent.control.abort();
      sent.call.fail(
        new PatchbayError("closed", `${this.#address}: the bay was closed`, { retryable: false }),
      );
    }
  }

  /** The call has ended; says whether it had not before. */
  #forget(sent: Sent): boolean {
    if (!this.#inFlight.delete(sent)) return false;
    if (!this.#open && this.#inFlight.size === 0) this.#closed();
    return true;
  }

  #order(name: Name): Host[] {
    if (name.baseUrl !== undefined) return [this.#way.hostAt(name.baseUrl)];
    const hosts = this.#hosts;
    if (hosts.length <= 1) return [...hosts];
    this.#turn = (this.#turn + 1) % hosts.length;
    return [...hosts.slice(this.#turn), ...hosts.slice(0, this.#turn)];
  }

  #request(call: OutboundCall, name: Name, signal: AbortSignal): Outgoing {
    const { path, body } = spread(name, call.value);
    const headers: Record<string, string> = { ...this.#base, [TIMEOUT]: String(call.remainingMs) };
    const { priority } = call;
    if (priority !== 128) headers[PRIORITY] = String(priority);
    const { body: payload, type } = this.#way.bodies.request(body, call.codec);
    if (payload !== undefined) {
      headers["content-type"] = type;
      call.statistics.bytesOut += payload.length;
    }
    if (name.headers !== undefined) addUserHeaders(name.headers, headers);
    if (call.headers !== undefined) addUserHeaders(call.headers, headers);
    return { method: name.method, target: path, headers, body: payload, signal, priority };
  }

  async #send(sent: Sent, outgoing: Outgoing): Promise<void> {
    const { statistics } = this.#way;
    for (;;) {
      const host = sent.hosts[0];
      let error: unknown;
      try {
        statistics.messagesOut++;
        statistics.bytesOut += outgoing.body?.length ?? 0;
        const incoming = await host.exchange(outgoing);
        statistics.messagesIn++;
        statistics.bytesIn += incoming.bytes.length;
        error = this.#answered(sent, incoming);
        if (error === undefined) return;
      } catch (thrown) {
        error = thrown;
        if (!this.#inFlight.has(sent)) return;
        if (isLost(error)) this.#way.hostLost(host);
      }
      const pauseMs = this.#again(sent, outgoing, error);
      if (pauseMs === undefined) {
        this.#forget(sent);
        return sent.call.fail(error);
      }
      if (pauseMs > 0) await pause(pauseMs, sent.control.signal);
      if (!this.#inFlight.has(sent)) return;
    }
  }

  /** Ends the call with its answer; gives back the error that another attempt may mend. */
  #answered(sent: Sent, { status, type, bytes }: Incoming): unknown {
    const { call } = sent;
    if (!this.#inFlight.has(sent)) return undefined;
    if (status < 200 || status >= 300) {
      const text = new TextDecoder().decode(bytes);
      return errorOf(status, type, text, `${sent.name.method} ${sent.name.path}`);
    }
    this.#forget(sent);
    call.statistics.bytesIn += bytes.length;
    try {
      call.succeed(status === 204 ? undefined : this.#way.bodies.decodeResponse(bytes, type));
    } catch (error) {
      call.fail(error);
    }
    return undefined;
  }

  /** How long to wait before another attempt, in ms; `undefined`: there is none. */
  #again(sent: Sent, { method }: Outgoing, error: unknown): number | undefined {
    if (!(error instanceof PatchbayError)) return undefined;
    const untouched = error.details?.notExecuted === true && error.code !== "overloaded";
    if (untouched && sent.hosts.length > 1) {
      // Another bay shares the address: it is asked at once.
      sent.hosts.shift();
      return 0;
    }
    const lost = error.code === "closed" || error.code === "unavailable";
    const safe = untouched || sent.call.idempotent || method === "GET";
    if (!lost || !safe || !error.retryable || sent.attempts >= this.#way.retries) return undefined;
    const pauseMs = Math.random() * FIRST_PAUSE_MS * 2 ** sent.attempts++;
    if (pauseMs >= sent.call.remainingMs) return undefined;
    this.#way.statistics.retries++;
    return pauseMs;
  }
}

/** Whether an error says that a host is not there any more. */
function isLost(error: unknown): boolean {
  return error instanceof PatchbayError &&
    (error.code === "closed" || error.code === "unavailable");
}

/**
 * Waits, or until the signal is aborted.
 *
 * @param ms How long.
 * @param signal Ends it early.
 */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
