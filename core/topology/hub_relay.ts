/**
 * How a hub passes calls on: what a client has begun, begun anew at another client.
 *
 * @module
 */

import type { CallSink, HandlerContext, Headers, OutboundCall } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import { ForwardedCall } from "../layers/forwarded.ts";
import type { CallTarget, InboundHost } from "../session/targets.ts";
import type { Passing } from "../session/passing.ts";
import type { Session } from "../session/session.ts";
import { EndpointStatistics } from "../statistics.ts";
import type { TimerWheel } from "../timer_wheel.ts";
import type { Errand } from "./hub_jobs.ts";

/** A client that can be asked. */
export interface Worker {
  /** Its connection. */
  readonly session: Session;
  /** The jobs that run there for others. */
  readonly errands: Set<Errand>;
}

/** What relaying asks of the hub. */
export interface RelayHost {
  /** The plugin's name. */
  readonly transport: string;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** How long to wait for a worker whose connection was lost, in milliseconds. */
  readonly rejoinMs: number;
  /** Who serves an address now, in the order to ask them. */
  workers(pattern: "callable" | "job", address: string, but: unknown): readonly Worker[];
  /** Jobs whose worker is looked for, by address. */
  readonly seeking: Map<string, Set<Errand>>;
  /** A message had no hops left. */
  countTtl(): void;
}

/** Nobody serves an address. */
export function nobody(address: string, transport: string): PatchbayError {
  return new PatchbayError("not_found", `${address}: no client of the hub serves it`, {
    address,
    transport,
    details: { notExecuted: true },
    remedy: "start the module that serves it, connected to the same hub",
  });
}

/**
 * A message that has no hops left; counted.
 *
 * @param host The hub.
 * @param address The address.
 */
export function spent(host: RelayHost, address: string): PatchbayError {
  host.countTtl();
  return new PatchbayError("unavailable", `${address}: the message has passed too many bays`, {
    address,
    retryable: false,
    details: { reason: "ttl" },
    remedy: "look for bridges or hubs that lead in a circle",
  });
}

/**
 * The value of what would be passed on, for a server of the hub itself.
 *
 * @param passing What came.
 * @param from Whose it is.
 */
export function open(passing: Passing, from: InboundHost): unknown {
  const codec = from.sender.codecs.find((each) => each.name === passing.codec);
  if (codec === undefined) throw new PatchbayError("internal", `no codec ${passing.codec}`);
  return codec.decode(passing.body);
}

/**
 * Headers, if there are any.
 *
 * @param headers What came.
 */
export function some(headers: Headers): Headers | undefined {
  for (const _ in headers) return headers;
  return undefined;
}

/** A call that tries the next server when one has not begun it. */
export class HubCall extends ForwardedCall {
  readonly #left: Worker[];
  #session: Session | undefined;
  #over = false;

  /**
   * @param call The call.
   * @param workers Who serves the address, in order.
   */
  constructor(call: OutboundCall, workers: readonly Worker[]) {
    super(call);
    this.#left = [...workers];
  }

  /** Sends it to the next server. */
  next(): void {
    const worker = this.#left.shift() as Worker;
    this.#session = worker.session;
    worker.session.outbound.request(this);
  }

  /** The caller has given up. */
  cancel(): void {
    this.#over = true;
    this.#session?.outbound.cancelRequest(this);
  }

  override fail(error: unknown): void {
    const untouched = error instanceof PatchbayError && error.details?.notExecuted === true &&
      error.code !== "overloaded";
    if (untouched && this.#left.length > 0 && !this.#over) return this.next();
    this.#over = true;
    super.fail(error);
  }
}

/** A client's call, as it goes on to another. */
class RelayedCall implements OutboundCall {
  readonly value: Passing;
  readonly address: string;
  readonly timeoutMs: number;
  readonly codec: string;
  readonly idempotent = false;
  readonly statistics: EndpointStatistics;
  headers: Headers | undefined;
  slot: unknown = undefined;
  abandoned = false;
  readonly #context: HandlerContext;
  readonly #end: (tell: (sink: CallSink) => void) => void;

  constructor(
    value: Passing,
    context: HandlerContext,
    statistics: EndpointStatistics,
    end: (tell: (sink: CallSink) => void) => void,
  ) {
    this.value = value;
    this.address = context.address;
    this.timeoutMs = context.remainingMs;
    this.codec = value.codec;
    this.headers = some(context.headers);
    this.statistics = statistics;
    this.#context = context;
    this.#end = end;
  }

  get priority(): number {
    return this.value.priority;
  }

  get remainingMs(): number {
    return this.#context.remainingMs;
  }

  succeed(value: unknown): void {
    this.#end((sink) => sink.succeed(value));
  }

  fail(error: unknown): void {
    this.#end((sink) => sink.fail(error));
  }
}

/** The way of one client's calls to one address at other clients. */
export class RelayCallable implements CallTarget {
  /** As {@link CallTarget.passes}. */
  readonly passes = true;
  /** As {@link CallTarget.address}. */
  readonly address: string;
  /** As {@link CallTarget.contract}. */
  readonly contract: { readonly codec?: string } = {};
  /** As {@link CallTarget.statistics}. */
  readonly statistics: EndpointStatistics;
  readonly #host: RelayHost;
  readonly #from: InboundHost;
  readonly #local: CallTarget | undefined;
  readonly #calls = new Map<CallSink, HubCall>();
  #turn = 0;

  /**
   * @param host The hub.
   * @param address The address.
   * @param from The session of the client that calls: it is not asked itself.
   * @param local A server of the hub itself that shares the address.
   */
  constructor(host: RelayHost, address: string, from: InboundHost, local?: CallTarget) {
    this.#host = host;
    this.#local = local;
    this.#from = from;
    this.address = address;
    this.statistics = new EndpointStatistics("callable", "server", address, host.transport);
  }

  /** As {@link CallTarget.handle}. */
  handle(value: unknown, context: HandlerContext, sink: CallSink): void {
    const passing = value as Passing;
    const workers = this.#host.workers("callable", this.address, this.#from);
    if (this.#local !== undefined && this.#turn++ % (workers.length + 1) === 0) {
      return this.#handleHere(this.#local, passing, context, sink);
    }
    if (passing.ttl === 0) return sink.fail(spent(this.#host, this.address));
    if (workers.length === 0) return sink.fail(nobody(this.address, this.#host.transport));
    const call = new HubCall(
      new RelayedCall(passing, context, this.statistics, (tell) => {
        this.#calls.delete(sink);
        tell(sink);
      }),
      workers,
    );
    this.#calls.set(sink, call);
    call.next();
  }

  /** As {@link CallTarget.abandon}. */
  abandon(sink: CallSink): void {
    const call = this.#calls.get(sink);
    if (call === undefined) return this.#local?.abandon(sink);
    call.cancel();
    this.#calls.delete(sink);
  }

  #handleHere(local: CallTarget, value: Passing, context: HandlerContext, sink: CallSink): void {
    let request: unknown;
    try {
      request = open(value, this.#from);
    } catch (error) {
      return sink.fail(error);
    }
    local.handle(request, context, sink);
  }
}
