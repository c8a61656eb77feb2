/**
 * A callable of one wire, served on another: each call begun anew there.
 *
 * @module
 */

import {
  type CallSink,
  type HandlerContext,
  type Headers,
  type OutboundCall,
} from "../callable.ts";
import { CallableEndpoint } from "../callable_endpoint.ts";
import { PatchbayError } from "../errors.ts";
import type { Bridged } from "../offers.ts";
import type { CallPort } from "../plugin.ts";
import type { EndpointStatistics } from "../statistics.ts";
import { TimerEntry } from "../timer_wheel.ts";
import { arrived, type Lane, pass } from "./lane.ts";

/** The caller's own deadline comes first: this one is for wires that do not tell who gave up. */
const SLACK_MS = 100;

/** One call on its way. */
class CarriedCall extends TimerEntry implements OutboundCall {
  readonly value: unknown;
  readonly address: string;
  readonly timeoutMs: number;
  readonly codec = undefined;
  readonly priority: number;
  readonly idempotent = false;
  readonly statistics: EndpointStatistics;
  readonly port: CallPort;
  readonly answer = Promise.withResolvers<unknown>();
  headers: Headers | undefined;
  slot: unknown = undefined;
  abandoned = false;
  over = false;
  readonly #lane: Lane;
  readonly #id: string | undefined;
  readonly #context: HandlerContext;

  constructor(
    lane: Lane,
    id: string | undefined,
    headers: Headers | undefined,
    value: unknown,
    context: HandlerContext,
    port: CallPort,
    statistics: EndpointStatistics,
  ) {
    super();
    this.#lane = lane;
    this.#id = id;
    this.#context = context;
    this.headers = headers;
    this.value = value;
    this.address = context.address;
    this.priority = context.priority ?? 128;
    this.port = port;
    this.statistics = statistics;
    const { remainingMs } = context;
    this.timeoutMs = remainingMs === Infinity ? lane.settings.callTimeoutMs : remainingMs;
  }

  get remainingMs(): number {
    return Math.min(this.timeoutMs, this.#context.remainingMs);
  }

  start(): void {
    this.#lane.host.timers.arm(this, this.timeoutMs + SLACK_MS);
    this.port.start(this);
  }

  succeed(value: unknown): void {
    if (!this.#end()) return;
    this.statistics.messagesIn++;
    this.answer.resolve(value);
  }

  fail(error: unknown): void {
    if (!this.#end()) return;
    const known = PatchbayError.fromThrown(error);
    this.statistics.countError(known.code);
    this.#lane.statistics.countError(known.code);
    this.answer.reject(known);
  }

  /** The caller has given up. */
  cancel(): void {
    if (this.over) return;
    this.port.cancel(this);
    this.fail(new PatchbayError("closed", `${this.address}: the caller has given up`));
  }

  override expire(): void {
    this.port.cancel(this);
    this.fail(
      new PatchbayError(
        "deadline_exceeded",
        `${this.address}: no response within ${Math.round(this.timeoutMs)} ms over the bridge`,
        {
          details: { timeoutMs: this.timeoutMs },
          remedy: "pass a longer timeoutMs, or make the handler faster",
        },
      ),
    );
  }

  override discard(): void {
    this.port.cancel(this);
    this.fail(new PatchbayError("closed", `${this.address}: the bridge was closed`));
  }

  #end(): boolean {
    if (this.over) return false;
    this.over = true;
    this.#lane.host.timers.disarm(this);
    arrived(this.#lane, this.#id);
    return true;
  }
}

/** A callable of one wire as it is served on another. */
export class CarriedCallable extends CallableEndpoint {
  /** Whether it is served there itself, without another bridge. */
  last = false;
  readonly #lane: Lane;
  readonly #client: EndpointStatistics;
  readonly #calls = new Map<CallSink, CarriedCall>();
  #port: CallPort | undefined;
  #epoch = -1;
  /** Whose call is being handed to the handler. */
  #sink: CallSink | undefined;

  /**
   * @param lane The direction.
   * @param address The address.
   * @param shared Whether others may serve it besides.
   * @param bridged How it came.
   */
  constructor(lane: Lane, address: string, shared: boolean, bridged: Bridged) {
    const { statistics } = lane.host;
    super(
      { pattern: "callable", address },
      (value, context) => this.#carry(value, context),
      statistics.endpoint("callable", "server", address, lane.to.plugin.name),
      { sharing: shared ? "shared" : "exclusive", maxConcurrent: lane.settings.maxConcurrent },
    );
    this.#lane = lane;
    this.#client = statistics.endpoint("callable", "client", address, lane.from.plugin.name);
    this.bridged = bridged;
  }

  /** How many calls are in flight. */
  get active(): number {
    return this.#calls.size;
  }

  /** As {@link CallableEndpoint.handle}. */
  override handle(value: unknown, context: HandlerContext, sink: CallSink): void {
    this.#sink = sink;
    super.handle(value, context, sink);
    this.#sink = undefined;
  }

  /** As {@link CallableEndpoint.abandon}. */
  override abandon(sink: CallSink): void {
    super.abandon(sink);
    this.#calls.get(sink)?.cancel();
  }

  /** What still runs is given up. */
  giveUp(): void {
    for (const call of [...this.#calls.values()]) call.discard();
    this.#port?.close();
    this.#port = undefined;
    const { statistics } = this.#lane.host;
    statistics.remove(this.statistics);
    statistics.remove(this.#client);
  }

  #carry(value: unknown, context: HandlerContext): Promise<unknown> {
    const lane = this.#lane;
    const sink = this.#sink;
    const { id, headers } = pass(lane, this.address, context.headers, this.last);
    lane.statistics.calls++;
    const client = this.#client;
    client.calls++;
    client.messagesOut++;
    const call = new CarriedCall(lane, id, headers, value, context, this.#bound(), client);
    if (sink !== undefined) {
      this.#calls.set(sink, call);
      const forget = () => this.#calls.delete(sink);
      call.answer.promise.then(forget, forget);
    }
    call.start();
    return call.answer.promise;
  }

  /** The way to the real server, found anew when it may have changed. */
  #bound(): CallPort {
    const { host, from } = this.#lane;
    if (this.#port !== undefined && this.#epoch === host.epoch.value) return this.#port;
    this.#port?.close();
    this.#epoch = host.epoch.value;
    const port = from.transport.caller?.(this.address);
    if (port === undefined) {
      throw new PatchbayError("internal", `${from.plugin.name}: no caller`);
    }
    return this.#port = port;
  }
}
