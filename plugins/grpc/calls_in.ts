/**
 * Calls, the server's side: `patchbay.v1.Patchbay/Call`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { sendUnaryData, ServerUnaryCall } from "npm:@grpc/grpc-js@1.14.7";
import {
  type CallableEndpoint,
  type CallSink,
  type HandlerContext,
  type Headers,
  PatchbayError,
  type Peer,
} from "@patchbay/core";
import { sizeOf } from "./bodies.ts";
import type { Entrant } from "./call_gate.ts";
import {
  type Desk,
  headersOf,
  type Inbound,
  peerOf,
  priorityOf,
  remainingMs,
  type Verdicts,
} from "./inbound.ts";
import { type CallRequest, messages, PATH } from "./messages.ts";
import { statusOf } from "./statuses.ts";
import { countUntilGone, tooMuchUnread } from "./unread.ts";

type Call = ServerUnaryCall<Buffer, Buffer> & Inbound;
type Done = sendUnaryData<Buffer>;

/** The callables of one bay. */
export class Calls {
  readonly #desk: Desk;
  readonly #verdicts: Verdicts;
  readonly #served = new Map<string, { endpoints: CallableEndpoint[]; turn: number }>();
  readonly #open = new Set<InboundCall>();

  /**
   * @param desk What answers share.
   * @param verdicts Who may do what.
   */
  constructor(desk: Desk, verdicts: Verdicts) {
    this.#desk = desk;
    this.#verdicts = verdicts;
    desk.server.unary(`${PATH}Call`, (call, done) => this.#answer(call, done));
  }

  /** What is served: one of each address. */
  get served(): CallableEndpoint[] {
    return [...this.#served.values()].map(({ endpoints: [first] }) => first);
  }

  /**
   * Serves a callable.
   *
   * @param endpoint The callable.
   * @returns Takes it off again.
   */
  serve(endpoint: CallableEndpoint): () => void {
    const { address } = endpoint;
    let served = this.#served.get(address);
    if (served === undefined) this.#served.set(address, served = { endpoints: [], turn: 0 });
    const { endpoints } = served;
    endpoints.push(endpoint);
    return () => {
      const index = endpoints.indexOf(endpoint);
      if (index < 0) return;
      endpoints.splice(index, 1);
      if (endpoints.length === 0) this.#served.delete(address);
    };
  }

  /** Ends what still runs. */
  close(): void {
    for (const call of this.#open) call.end();
  }

  #answer(call: Call, done: Done): void {
    const { server, context } = this.#desk;
    context.statistics.messagesIn++;
    context.statistics.bytesIn += call.request.length;
    try {
      const request = messages().callRequest.decode(call.request);
      const endpoint = this.#next(request.address);
      const refusal = tooMuchUnread(server.unreadOf(call));
      if (refusal !== undefined) {
        endpoint.statistics.countError(refusal.code);
        return done(statusOf(refusal));
      }
      const inbound = new InboundCall(call, done, request, endpoint, this.#desk, this.#open);
      if (!this.#verdicts.asks) return this.#enter(inbound, endpoint);
      this.#verdicts.check(call, "call", endpoint.address).then(
        () => this.#enter(inbound, endpoint),
        (error) => {
          endpoint.statistics.countError("forbidden");
          this.#refuse(done, error);
        },
      );
    } catch (error) {
      this.#refuse(done, error);
    }
  }

  #enter(inbound: InboundCall, endpoint: CallableEndpoint): void {
    const refusal = this.#desk.gate.enter(inbound);
    if (refusal === undefined) return inbound.entered();
    endpoint.statistics.countError(refusal.code);
    inbound.fail(refusal);
  }

  #next(address: string): CallableEndpoint {
    const served = this.#served.get(address);
    if (served !== undefined) {
      const { endpoints } = served;
      return endpoints.length === 1 ? endpoints[0] : endpoints[served.turn++ % endpoints.length];
    }
    throw new PatchbayError(
      "not_found",
      `${address || "an empty address"}: nobody serves it here`,
      {
        address,
        details: { notExecuted: true },
        remedy: "start the module that serves it; grpcurl … patchbay.v1.Patchbay/WatchPresence " +
          "shows what is served",
      },
    );
  }

  #refuse(done: Done, error: unknown): void {
    const known = PatchbayError.fromThrown(error);
    this.#desk.context.statistics.countError(known.code);
    done(statusOf(known));
  }
}

/** One call. */
class InboundCall implements HandlerContext, CallSink, Entrant {
  abandoned = false;
  running = false;
  gone = false;
  readonly #call: Call;
  readonly #done: Done;
  readonly #request: CallRequest;
  readonly #endpoint: CallableEndpoint;
  readonly #desk: Desk;
  readonly #open: Set<InboundCall>;
  #answered = false;
  #begun = false;
  #watched = false;
  #abort: AbortController | undefined = undefined;
  #peer: Peer | undefined = undefined;
  #headers: Headers | undefined = undefined;

  constructor(
    call: Call,
    done: Done,
    request: CallRequest,
    endpoint: CallableEndpoint,
    desk: Desk,
    open: Set<InboundCall>,
  ) {
    this.#call = call;
    this.#done = done;
    this.#request = request;
    this.#endpoint = endpoint;
    this.#desk = desk;
    this.#open = open;
  }

  get address(): string {
    return this.#endpoint.address;
  }

  get headers(): Headers {
    return this.#headers ??= headersOf(this.#call);
  }

  get peer(): Peer {
    return this.#peer ??= peerOf(this.#call, this.#desk);
  }

  get priority(): number {
    return priorityOf(this.#call);
  }

  get remainingMs(): number {
    return remainingMs(this.#call);
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (!this.#answered) this.#watch();
      if (this.gone) this.#abort.abort(goneReason());
    }
    return this.#abort.signal;
  }

  begin(): void {
    const { statistics } = this.#endpoint;
    this.#begun = true;
    let value: unknown;
    try {
      value = this.#desk.bodies.decode(this.#request);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      return this.fail(known);
    }
    statistics.bytesIn += sizeOf(this.#request);
    this.#endpoint.handle(value, this, this);
    this.entered();
  }

  /** It runs, or waits for its turn: from now on its caller may go. */
  entered(): void {
    if (!this.#answered) this.#watch();
  }

  /** Keeps an eye on the caller: one that is answered at once needs none. */
  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    // Once the stream is closed nobody knows any more whose it was.
    this.#peer ??= peerOf(this.#call, this.#desk);
    this.#open.add(this);
    if (this.#call.cancelled) this.#left();
    else this.#call.once("cancelled", this.#left);
  }

  readonly #left = (): void => {
    if (this.#answered) return;
    this.gone = true;
    if (remainingMs(this.#call) <= 0) this.#endpoint.statistics.countError("deadline_exceeded");
    this.#endpoint.abandon(this);
    this.#abort?.abort(goneReason());
    this.#over();
  };

  /** The bay closes, and the handler has not been quick enough. */
  end(): void {
    if (this.#answered) return;
    this.#endpoint.abandon(this);
    this.#abort?.abort(new DOMException("the bay is closing", "AbortError"));
    const details = this.#begun ? undefined : { notExecuted: true };
    this.fail(new PatchbayError("closed", `${this.address}: the bay was closed`, { details }));
  }

  succeed(value: unknown): void {
    if (this.#answered) return;
    const { statistics, contract } = this.#endpoint;
    const transport = this.#desk.context.statistics;
    let bytes: Buffer;
    try {
      const body = this.#desk.bodies.encode(value, contract.codec);
      statistics.bytesOut += sizeOf(body);
      bytes = messages().callResponse.encode(body);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      return this.fail(known);
    }
    transport.messagesOut++;
    transport.bytesOut += bytes.length;
    this.#over();
    countUntilGone(this.#desk.server.unreadOf(this.#call), this.#call, bytes.length);
    this.#done(null, bytes);
  }

  fail(error: unknown): void {
    if (this.#answered) return;
    this.#over();
    this.#done(statusOf(PatchbayError.fromThrown(error)));
  }

  #over(): void {
    this.#answered = true;
    if (this.#watched) {
      this.#call.removeListener("cancelled", this.#left);
      this.#open.delete(this);
    }
    if (this.#begun) {
      this.#begun = false;
      this.#desk.gate.leave();
    }
  }
}

function goneReason(): DOMException {
  return new DOMException("the caller has gone", "AbortError");
}
