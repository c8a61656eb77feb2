/**
 * Callables, the server's side: validates, limits, runs the handler, counts.
 *
 * @module
 */

import type { CallHandler, CallSink, HandlerContext, ServeOptions } from "./callable.ts";
import type { CallableContract } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import type { Bridged } from "./offers.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";

/** How many abandoned handlers may still run for each call allowed at once. */
const ABANDONED_FACTOR = 16;

/** The server's side of one callable: validates, limits, runs the handler, counts. */
export class CallableEndpoint {
  /** What is served. */
  readonly contract: CallableContract<never, unknown, never, unknown>;
  /** Whether other servers may share the address. */
  readonly shared: boolean;
  /** The server's counters. */
  readonly statistics: EndpointStatistics;
  /** How it came over bridges; `undefined` if this bay itself serves it. */
  bridged: Bridged | undefined = undefined;
  #handler: CallHandler<never, unknown>;
  readonly #maxConcurrent: number;
  #active = 0;
  #abandoned = 0;
  #closed = false;
  #idle: (() => void) | undefined;

  /** @ignore Made by the bay. */
  constructor(
    contract: CallableContract<never, unknown, never, unknown>,
    handler: CallHandler<never, unknown>,
    statistics: EndpointStatistics,
    options: ServeOptions,
  ) {
    this.contract = contract;
    this.#handler = handler;
    this.statistics = statistics;
    this.shared = options.sharing === "shared";
    this.#maxConcurrent = options.maxConcurrent ?? 64;
  }

  /** Whether it takes no more calls. */
  get draining(): boolean {
    return this.#closed;
  }

  /** The address served. */
  get address(): string {
    return this.contract.address;
  }

  /**
   * Puts something round the handler, as the tracing layer does. What is put round it later is
   * further out.
   *
   * @param wrap Takes the handler and returns what is called instead.
   */
  instrument(wrap: (handler: CallHandler<never, unknown>) => CallHandler<never, unknown>): void {
    this.#handler = wrap(this.#handler);
  }

  /**
   * Runs the handler on a request. Never throws; the outcome goes to the sink, at once if the
   * handler is synchronous.
   *
   * @param value The decoded request.
   * @param context What the handler learns besides.
   * @param sink Where the outcome goes.
   */
  handle(value: unknown, context: HandlerContext, sink: CallSink): void {
    const statistics = this.statistics;
    statistics.calls++;
    statistics.messagesIn++;
    if (
      this.#closed || this.#active >= this.#maxConcurrent ||
      this.#abandoned >= this.#maxConcurrent * ABANDONED_FACTOR
    ) return this.#refuse(sink);
    const startedMs = statistics.sample() ? performance.now() : 0;
    let result: unknown;
    try {
      const schema = this.contract.request;
      if (schema !== undefined) {
        const checked = applySchema(schema, value, "request");
        if (checked instanceof Promise) {
          result = checked.then((request) => this.#handler(request as never, context));
        } else result = this.#handler(checked as never, context);
      } else result = this.#handler(value as never, context);
    } catch (error) {
      return this.#failed(error, sink);
    }
    if (result instanceof Promise) {
      this.#active++;
      sink.running = true;
      statistics.pending++;
      result.then(
        (response) => {
          this.#leave(sink, startedMs);
          this.#succeeded(response, sink);
        },
        (error) => {
          this.#leave(sink, startedMs);
          this.#failed(error, sink);
        },
      );
      return;
    }
    if (startedMs !== 0) statistics.observeDuration((performance.now() - startedMs) / 1000);
    this.#succeeded(result, sink);
  }

  /**
   * The caller has given up: the handler's place is free again, its outcome goes nowhere.
   *
   * @param sink The call.
   */
  abandon(sink: CallSink): void {
    if (sink.abandoned || sink.running !== true) return;
    sink.abandoned = true;
    this.#active--;
    this.#abandoned++;
    if (this.#active === 0) this.#idle?.();
  }

  /** Takes no more calls; resolves when those that run have ended. */
  async drain(): Promise<void> {
    this.#closed = true;
    if (this.#active === 0) return;
    await new Promise<void>((resolve) => this.#idle = resolve);
  }

  #refuse(sink: CallSink): void {
    this.statistics.countError(this.#closed ? "closed" : "overloaded");
    sink.fail(
      this.#closed
        ? new PatchbayError("closed", `${this.address}: the server is closing`, {
          details: { notExecuted: true },
        })
        : new PatchbayError(
          "overloaded",
          `${this.address}: ${this.#maxConcurrent} ${
            this.#maxConcurrent === 1 ? "call is" : "calls are"
          } already running`,
          {
            details: { maxConcurrent: this.#maxConcurrent },
            remedy: "call less at once, or serve with a higher maxConcurrent",
          },
        ),
    );
  }

  #leave(sink: CallSink, startedMs: number): void {
    this.statistics.pending--;
    if (startedMs !== 0) {
      this.statistics.observeDuration((performance.now() - startedMs) / 1000);
    }
    sink.running = false;
    if (sink.abandoned) this.#abandoned--;
    else if (--this.#active === 0) this.#idle?.();
  }

  #succeeded(value: unknown, sink: CallSink): void {
    const schema = this.contract.response;
    if (schema !== undefined) {
      try {
        const checked = applySchema(schema, value, "response");
        if (checked instanceof Promise) {
          checked.then(
            (output) => this.#respond(value, output, sink),
            (error) => this.#failed(error, sink),
          );
          return;
        }
        return this.#respond(value, checked, sink);
      } catch (error) {
        return this.#failed(error, sink);
      }
    }
    this.#respond(value, value, sink);
  }

  #respond(original: unknown, output: unknown, sink: CallSink): void {
    this.statistics.messagesOut++;
    // A caller in this process with the same schema does not validate again.
    const same = sink.contract !== undefined && sink.contract.response === this.contract.response;
    sink.succeed(same ? output : original);
  }

  #failed(error: unknown, sink: CallSink): void {
    const known = PatchbayError.fromThrown(error);
    this.statistics.countError(known.code);
    sink.fail(known);
  }
}
