/**
 * The in_process transport: hands values from port to endpoint within the room.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallPort,
  type CallSink,
  checkPortable,
  deepFreeze,
  type EventContext,
  type Finding,
  type HandlerContext,
  type Headers,
  type Health,
  type JobEndpoint,
  type JobPort,
  type JobRun,
  type JobSink,
  type ListenerEndpoint,
  matches,
  type OutboundCall,
  type OutboundJob,
  PatchbayError,
  type Pattern,
  type Peer,
  type Registration,
  type ServerSchemas,
  type SpeakerEndpoint,
  type SpeakerPort,
  type Transport,
  type TransportContext,
  type Watching,
} from "@patchbay/core";
import type { Room, Stand } from "./room.ts";

const NO_HEADERS: Headers = Object.freeze({});

/** What a handler sees; the signal is made only if the handler looks at it. */
class CallContext implements HandlerContext {
  readonly #call: OutboundCall;
  readonly endpoint: CallableEndpoint;
  readonly peer: Peer;
  /** Where the outcome goes: what the endpoint knows the call by. */
  sink: CallSink;
  #abort: AbortController | undefined = undefined;
  #reason: unknown = undefined;

  constructor(call: OutboundCall, endpoint: CallableEndpoint, peer: Peer) {
    this.#call = call;
    this.sink = call;
    this.endpoint = endpoint;
    this.peer = peer;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    return this.#abort.signal;
  }

  get headers(): Headers {
    return this.#call.headers ?? NO_HEADERS;
  }

  get address(): string {
    return this.#call.address;
  }

  get remainingMs(): number {
    return this.#call.remainingMs;
  }

  get priority(): number {
    return this.#call.priority;
  }

  abort(reason: unknown): void {
    this.#reason = reason;
    this.#abort?.abort(reason);
  }
}

function gone(address: string): PatchbayError {
  return new PatchbayError("not_found", `${address}: nobody serves it in this process`, {
    address,
    transport: "in_process",
  });
}

function checked(value: unknown, what: string): unknown {
  checkPortable(value, what);
  return deepFreeze(value);
}

class CallWay implements CallPort {
  readonly #address: string;
  readonly #transport: InProcess;
  readonly #endpoint: CallableEndpoint | undefined;
  readonly contract: ServerSchemas | undefined;

  constructor(address: string, transport: InProcess) {
    this.#address = address;
    this.#transport = transport;
    // With one server the port is bound to it; with several, each call takes its turn.
    this.#endpoint = transport.room.onlyCallable(address);
    this.contract = this.#endpoint?.contract;
  }

  start(call: OutboundCall): void {
    const transport = this.#transport;
    const endpoint = this.#endpoint ?? transport.room.callable(this.#address);
    if (endpoint === undefined) return call.fail(gone(this.#address));
    const context = new CallContext(call, endpoint, transport.peer);
    call.slot = context;
    if (transport.checkValues) return this.#startChecked(call, endpoint, context);
    endpoint.handle(call.value, context, call);
  }

  cancel(call: OutboundCall): void {
    const context = call.slot as CallContext | undefined;
    if (context === undefined) return;
    context.endpoint.abandon(context.sink);
    context.abort(new DOMException("the caller has given up", "AbortError"));
  }

  close(): void {}

  #startChecked(call: OutboundCall, endpoint: CallableEndpoint, context: CallContext): void {
    try {
      const value = checked(call.value, "request");
      const sink: CallSink = {
        contract: call.contract,
        abandoned: false,
        succeed: (response) => {
          try {
            call.succeed(checked(response, "response"));
          } catch (error) {
            call.fail(error);
          }
        },
        fail: (error) => call.fail(error),
      };
      context.sink = sink;
      endpoint.handle(value, context, sink);
    } catch (error) {
      call.fail(error);
    }
  }
}

class SpeakWay implements SpeakerPort {
  readonly #stand: Stand;
  readonly #transport: InProcess;
  #shouting = false;
  #goingOn = false;
  /** Shouts that listeners made while they heard one: they follow it, so that all hear one order. */
  #next: { readonly value: unknown; readonly context: EventContext }[] | undefined = undefined;

  constructor(stand: Stand, transport: InProcess) {
    this.#stand = stand;
    this.#transport = transport;
  }

  get listeners(): number {
    return this.#stand.sources.length;
  }

  shout(value: unknown, context: EventContext): void | Promise<void> {
    if (this.#transport.checkValues) checked(value, "value");
    if (this.#shouting) return void (this.#next ??= []).push({ value, context });
    const sources = this.#stand.sources;
    let waits: Promise<void>[] | undefined;
    let refusal: unknown = undefined;
    this.#shouting = true;
    for (let i = 0; i < sources.length; i++) {
      try {
        const wait = sources[i].offer(value, context);
        if (wait !== undefined) (waits ??= []).push(wait);
      } catch (error) {
        // One listener that is full must not cost the others their message.
        refusal = error;
      }
    }
    this.#shouting = false;
    if (this.#next !== undefined && !this.#goingOn) this.#goOn();
    if (refusal !== undefined) throw refusal;
    if (waits !== undefined) return Promise.all(waits).then(() => {});
  }

  /** Sends the shouts that were made meanwhile. Their speakers have gone on: errors are reported. */
  #goOn(): void {
    this.#goingOn = true;
    // What is shouted meanwhile comes to the end of the same list.
    for (const { value, context } of this.#next ?? []) {
      try {
        void this.shout(value, context);
      } catch (error) {
        this.#transport.report(PatchbayError.fromThrown(error));
      }
    }
    this.#next = undefined;
    this.#goingOn = false;
  }

  close(): Promise<void> {
    this.#transport.room.leave(this.#stand);
    return Promise.resolve();
  }
}

class JobWay implements JobPort {
  readonly #address: string;
  readonly #transport: InProcess;

  constructor(address: string, transport: InProcess) {
    this.#address = address;
    this.#transport = transport;
  }

  start(job: OutboundJob): void {
    const { room, checkValues, peer } = this.#transport;
    const endpoint = room.job(this.#address);
    if (endpoint === undefined) return job.fail(gone(this.#address));
    try {
      const goal = checkValues ? checked(job.goal, "goal") : job.goal;
      const { headers = NO_HEADERS, priority } = job;
      const context = { headers, peer, priority };
      job.slot = endpoint.start(job.id, goal, context, checkValues ? checkedSink(job) : job);
    } catch (error) {
      job.fail(error);
    }
  }

  cancel(job: OutboundJob, reason: string | undefined): void {
    (job.slot as JobRun | undefined)?.cancel(reason);
  }

  abandon(job: OutboundJob): void {
    const run = job.slot as JobRun | undefined;
    run?.detach();
    run?.cancel("the job's owner has given up");
  }

  close(): void {}
}

function checkedSink(job: OutboundJob): JobSink {
  const guard = (value: unknown, what: string, then: (value: unknown) => void) => {
    try {
      then(checked(value, what));
    } catch (error) {
      job.fail(error);
    }
  };
  return {
    accepted: () => job.accepted(),
    feedback: (value, sequence) => guard(value, "feedback", (v) => job.feedback(v, sequence)),
    progressed: (fraction, sequence) => job.progressed(fraction, sequence),
    succeed: (value) => guard(value, "result", (v) => job.succeed(v)),
    fail: (error) => job.fail(error),
  };
}

/** An opened in_process plugin. */
export class InProcess implements Transport<{ readonly room: Room }> {
  /** What only this wire has. */
  readonly extras: { readonly room: Room };
  /** @ignore */
  readonly room: Room;
  /** @ignore */
  readonly checkValues: boolean;
  /** @ignore */
  readonly peer: Peer;
  /** @ignore */
  readonly report: (error: PatchbayError) => void;
  readonly #registrations = new Set<() => void>();
  readonly #id: string;

  /** @ignore Made by the plugin. */
  constructor(context: TransportContext, room: Room, checkValues: boolean) {
    this.room = room;
    this.extras = { room };
    this.checkValues = checkValues;
    this.report = context.report;
    this.#id = context.identity.id;
    this.peer = { module: context.identity.module, transport: "in_process", local: true };
    this.#registrations.add(room.watch(() => context.routesChanged()));
  }

  /** Always healthy: there is nothing that could break. */
  health(): Health {
    return { status: "healthy" };
  }

  /** Whether somebody in the room serves the address. */
  find(pattern: Pattern, address: string): Finding {
    if (this.room.has(pattern, address)) return { found: true, detail: "in this process" };
    return { found: false, reason: "nobody serves it in this process" };
  }

  /** As {@link Transport.watch}: all that is in the room, this bay's own as well. */
  watch(match: string, changed: () => void): Promise<Watching> {
    const { room } = this;
    const end = room.watchOffers(changed);
    this.#registrations.add(end);
    return Promise.resolve({
      get offers() {
        return room.offers.filter((offer) => matches(match, offer.address));
      },
      close: () => {
        this.#registrations.delete(end);
        end();
      },
    });
  }

  /** As {@link Transport.serve}. */
  serve(endpoint: CallableEndpoint): Promise<Registration> {
    return this.#register(() => this.room.serve(endpoint, "callable", this.#id));
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    return new CallWay(address, this);
  }

  /** As {@link Transport.speak}. */
  speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    return Promise.resolve(new SpeakWay(this.room.enter(endpoint), this));
  }

  /** As {@link Transport.listen}. */
  listen(endpoint: ListenerEndpoint): Promise<Registration> {
    return this.#register(() => this.room.listen(endpoint));
  }

  /** As {@link Transport.perform}. */
  perform(endpoint: JobEndpoint): Promise<Registration> {
    return this.#register(() => this.room.serve(endpoint, "job", this.#id));
  }

  /** As {@link Transport.executor}. */
  executor(address: string): JobPort {
    return new JobWay(address, this);
  }

  /** Leaves the room. */
  close(): Promise<void> {
    for (const leave of this.#registrations) leave();
    this.#registrations.clear();
    return Promise.resolve();
  }

  // deno-lint-ignore require-await -- a refusal must reject, not throw
  async #register(enter: () => () => void): Promise<Registration> {
    const leave = enter();
    this.#registrations.add(leave);
    return {
      close: () => {
        this.#registrations.delete(leave);
        leave();
        return Promise.resolve();
      },
    };
  }
}
