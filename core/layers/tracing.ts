/**
 * The tracing layer: spans around what goes out and around the handlers of what comes in, and the
 * trace context in the headers between them.
 *
 * @module
 */

import type { Headers, OutboundCall, ServerSchemas } from "../callable.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import type { OutboundJob } from "../job.ts";
import type { JobEndpoint } from "../job_endpoint.ts";
import { type Layer, wrapTransport } from "../layer.ts";
import type { EventContext } from "../listener.ts";
import type { ListenerEndpoint } from "../listener_endpoint.ts";
import type { CallPort, JobPort, SpeakerPort } from "../plugin.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { ActiveSpan, Telemetry } from "../telemetry.ts";
import { ForwardedCall, ForwardedJob } from "./forwarded.ts";

/**
 * A layer that reports spans: one around each call, job and shout that goes out, one around each
 * run of a handler or listener callback, which is thereby the current one there.
 *
 * Guaranteed: the span's headers (`traceparent`, `tracestate`) travel with the message, over those
 * of the same name that the user gave, so that both sides show in one trace. On a wire whose trait
 * is `headers: false` nothing travels; the spans are made all the same. A call that is given up
 * ends its span with `deadline_exceeded` or an `AbortError`.
 *
 * The span of a handler begins when the request has passed its schema; the span of a job lasts to
 * its end. A listener that is iterated has no callback, so no span: its `context.headers` say where
 * the message came from. Feedback makes no events: a worker may give it a thousand times a second.
 *
 * `Patchbay.open({ telemetry })` puts this layer next to the wire, so that each attempt of a retry
 * has a span of its own. Listed in `layers` it stands where it is listed; do not do both.
 *
 * @param telemetry Makes the spans: `openTelemetry()` or your own.
 *
 * @example
 * ```ts
 * import { Patchbay, tracing } from "@patchbay/core";
 * import { openTelemetry } from "@patchbay/core/open-telemetry";
 * import inProcess from "@patchbay/in_process";
 *
 * await using bay = await Patchbay.open({
 *   plugins: [inProcess],
 *   layers: [tracing(openTelemetry())],
 * });
 * await bay.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await bay.call("desk/greet", "Ada"));
 * ```
 */
export function tracing(telemetry: Telemetry): Layer {
  // One endpoint is put on several wires, and runs its handler once for each message.
  const instrumented = new WeakSet<object>();
  const once = (endpoint: object, instrument: () => void) => {
    if (instrumented.has(endpoint)) return;
    instrumented.add(endpoint);
    instrument();
  };
  return (transport, { plugin }) => {
    const wire: Wire = {
      begin: (pattern, verb, address) =>
        telemetry.startClient({ pattern, verb, address, transport: plugin.name }),
      headers: plugin.traits.headers,
    };
    return wrapTransport(transport, {
      caller: (address, next) => new TracedCallPort(next(address), wire),
      executor: (address, next) => new TracedJobPort(next(address), wire),
      speak: async (endpoint, next) => new TracedSpeakerPort(await next(endpoint), wire),
      serve: (endpoint, next) => {
        once(endpoint, () => traceCallable(endpoint, telemetry));
        return next(endpoint);
      },
      perform: (endpoint, next) => {
        once(endpoint, () => traceJob(endpoint, telemetry));
        return next(endpoint);
      },
      listen: (endpoint, next) => {
        once(endpoint, () => traceListener(endpoint, telemetry));
        return next(endpoint);
      },
    });
  };
}

/** What the ports of one transport have in common. */
interface Wire {
  begin(pattern: Pattern, verb: string, address: string): ActiveSpan;
  readonly headers: boolean;
}

/** The user's headers and the span's; the span's name the direct parent, so they win. */
function joined(own: Headers | undefined, span: ActiveSpan, wire: Wire): Headers | undefined {
  if (!wire.headers) return own;
  const { headers } = span;
  for (const _ in headers) return own === undefined ? headers : { ...own, ...headers };
  return own;
}

/** What a span ends with when its caller has given up. */
function givenUp(address: string, startedMs: number, timeoutMs: number): Error {
  const elapsedMs = performance.now() - startedMs;
  return elapsedMs >= timeoutMs
    ? new PatchbayError("deadline_exceeded", `${address}: no answer within ${timeoutMs} ms`)
    : new DOMException("the caller has given up", "AbortError");
}

class TracedCall extends ForwardedCall {
  readonly span: ActiveSpan;
  readonly startedMs: number = performance.now();

  constructor(call: OutboundCall, wire: Wire) {
    super(call);
    this.span = wire.begin("callable", "call", call.address);
    this.headers = joined(call.headers, this.span, wire);
  }

  override succeed(value: unknown): void {
    this.span.end();
    super.succeed(value);
  }

  override fail(error: unknown): void {
    this.span.end(error);
    super.fail(error);
  }
}

class TracedCallPort implements CallPort {
  readonly #port: CallPort;
  readonly #wire: Wire;

  constructor(port: CallPort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
  }

  get contract(): ServerSchemas | undefined {
    return this.#port.contract;
  }

  start(call: OutboundCall): void {
    const traced = new TracedCall(call, this.#wire);
    call.slot = traced;
    this.#port.start(traced);
  }

  cancel(call: OutboundCall): void {
    const traced = call.slot as TracedCall;
    this.#port.cancel(traced);
    traced.span.end(givenUp(call.address, traced.startedMs, call.timeoutMs));
  }

  close(): void {
    this.#port.close();
  }
}

class TracedJob extends ForwardedJob {
  readonly span: ActiveSpan;
  readonly startedMs: number = performance.now();

  constructor(job: OutboundJob, wire: Wire) {
    super(job);
    this.span = wire.begin("job", "execute", job.address);
    this.headers = joined(job.headers, this.span, wire);
  }

  override accepted(): void {
    this.span.event?.("accepted");
    super.accepted();
  }

  override succeed(value: unknown): void {
    this.span.end();
    super.succeed(value);
  }

  override fail(error: unknown): void {
    this.span.end(error);
    super.fail(error);
  }
}

class TracedJobPort implements JobPort {
  readonly #port: JobPort;
  readonly #wire: Wire;

  constructor(port: JobPort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
  }

  start(job: OutboundJob): void {
    const traced = new TracedJob(job, this.#wire);
    job.slot = traced;
    this.#port.start(traced);
  }

  cancel(job: OutboundJob, reason: string | undefined): void {
    const traced = job.slot as TracedJob;
    traced.span.event?.("cancel", reason === undefined ? undefined : { reason });
    this.#port.cancel(traced, reason);
  }

  abandon(job: OutboundJob): void {
    const traced = job.slot as TracedJob;
    this.#port.abandon(traced);
    traced.span.end(givenUp(job.address, traced.startedMs, job.timeoutMs));
  }

  close(): void {
    this.#port.close();
  }
}

class TracedEvent implements EventContext {
  readonly address: string;
  readonly sequence: number;
  readonly origin: string;
  readonly headers: Headers | undefined;
  readonly priority: number;
  readonly retained: boolean;
  readonly peer: EventContext["peer"];

  constructor(event: EventContext, headers: Headers | undefined) {
    this.address = event.address;
    this.sequence = event.sequence;
    this.origin = event.origin;
    this.headers = headers;
    this.priority = event.priority;
    this.retained = event.retained;
    this.peer = event.peer;
  }
}

class TracedSpeakerPort implements SpeakerPort {
  readonly #port: SpeakerPort;
  readonly #wire: Wire;

  constructor(port: SpeakerPort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
  }

  get listeners(): number {
    return this.#port.listeners;
  }

  shout(value: unknown, event: EventContext): void | Promise<void> {
    const span = this.#wire.begin("speaker", "shout", event.address);
    const headers = joined(event.headers, span, this.#wire);
    const told = headers === event.headers ? event : new TracedEvent(event, headers);
    return ending(span, () => this.#port.shout(value, told));
  }

  async ready(): Promise<void> {
    await this.#port.ready?.();
  }

  close(): Promise<void> {
    return this.#port.close();
  }
}

/** Runs something and ends the span with it, also when it fails. */
function ending<T>(span: ActiveSpan, fn: () => T): T {
  let result: T;
  try {
    result = fn();
  } catch (error) {
    span.end(error);
    throw error;
  }
  if (!(result instanceof Promise)) {
    span.end();
    return result;
  }
  return result.then((value) => {
    span.end();
    return value;
  }, (error) => {
    span.end(error);
    throw error;
  }) as T;
}

function traceCallable(endpoint: CallableEndpoint, telemetry: Telemetry): void {
  endpoint.instrument((handler) => (request, context) => {
    const { address, headers, peer } = context;
    const span = telemetry.startServer(
      { pattern: "callable", verb: "serve", address, transport: peer.transport },
      headers,
    );
    return ending(span, () => span.run(() => handler(request, context)));
  });
}

function traceListener(endpoint: ListenerEndpoint, telemetry: Telemetry): void {
  endpoint.instrument((callback) => (value, context) => {
    const span = telemetry.startServer({
      pattern: "speaker",
      verb: "listen",
      address: context.address,
      // Without a peer it is known only which wires the listener is on.
      transport: context.peer?.transport ?? endpoint.statistics.transport,
    }, context.headers ?? {});
    return ending(span, () => span.run(() => callback(value, context)));
  });
}

function traceJob(endpoint: JobEndpoint, telemetry: Telemetry): void {
  endpoint.instrument((handler) => (goal, context) => {
    const { address, headers, peer } = context;
    const span = telemetry.startServer(
      { pattern: "job", verb: "perform", address, transport: peer.transport },
      headers,
    );
    let result: unknown;
    try {
      result = span.run(() => handler(goal, context));
    } catch (error) {
      span.end(error);
      throw error;
    }
    return isGenerator(result) ? within(span, result) : ending(span, () => result);
  });
}

type Feedback = AsyncGenerator<never, unknown, void>;

function isGenerator(value: unknown): value is Feedback {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value &&
    typeof (value as { next?: unknown }).next === "function";
}

/** A generator's body runs in the context of whoever asks for its next value. */
async function* within(span: ActiveSpan, generator: Feedback): Feedback {
  try {
    for (;;) {
      const step = await span.run(() => generator.next());
      if (step.done) {
        span.end();
        return step.value;
      }
      yield step.value;
    }
  } catch (error) {
    span.end(error);
    throw error;
  } finally {
    // Left before its end: the worker's own generator ends with it.
    await span.run(() => generator.return(undefined));
    span.end();
  }
}
