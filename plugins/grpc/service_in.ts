/**
 * A service of a `.proto`, the server's side: plain functions and async generators answer its
 * methods.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  status,
} from "npm:@grpc/grpc-js@1.14.7";
import { type Headers, PatchbayError, type Peer } from "@patchbay/core";
import type { CallGate, Entrant } from "./call_gate.ts";
import { type Inbound, peerOf, remainingMs, type Verdicts } from "./inbound.ts";
import { readHeaders } from "./metadata.ts";
import type { ByteStream } from "./outflow.ts";
import type { ProtoMethod, ProtoService } from "./proto_file.ts";
import type { GrpcServer } from "./server.ts";
import { failureOf, statusOf } from "./statuses.ts";
import { countUntilGone, tooMuchUnread } from "./unread.ts";

/** What a method learns besides its request. */
export interface MethodContext {
  /** Aborted when the caller gives up, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** The metadata that the caller sent along. */
  readonly headers: Headers;
  /** Who calls. */
  readonly peer: Peer;
  /** The method: `package.Service/Method`. */
  readonly method: string;
  /** How long the caller still waits, in milliseconds; `Infinity` if it does not say. */
  readonly remainingMs: number;
}

/** What answers a method: with one message, or with many. */
export type MethodHandler = (
  request: never,
  context: MethodContext,
) => unknown;

/** What answers the methods of a service, by name: an object of functions, or of a class. */
export type MethodHandlers<Handlers> = { readonly [Name in keyof Handlers]: MethodHandler };

/** What a service is served with. */
export interface ServiceDesk {
  readonly server: GrpcServer;
  readonly gate: CallGate;
  readonly verdicts: Verdicts | undefined;
  /** Counts a failure that a client was told. */
  countError(code: string): void;
}

/**
 * Serves a service.
 *
 * @param service The service.
 * @param handlers What answers its methods; one that is missing answers UNIMPLEMENTED.
 * @param desk What it is served with.
 * @returns Takes it off again.
 * @throws {PatchbayError} `invalid`: a handler for a method that there is not.
 */
export function serveMethods(
  service: ProtoService,
  handlers: object,
  desk: ServiceDesk,
): () => void {
  for (const name of Object.keys(handlers)) {
    if (service.methods.has(name)) continue;
    const names = [...service.methods.keys()].join(", ");
    throw new PatchbayError("invalid", `${service.name} has no method ${name}`, {
      transport: "grpc",
      remedy: `it has ${names}`,
    });
  }
  const served: string[] = [];
  try {
    for (const method of service.methods.values()) {
      const found = (handlers as Record<string, unknown>)[method.name];
      if (found === undefined) continue;
      if (typeof found !== "function") {
        throw new PatchbayError("invalid", `handlers.${method.name} is no function`, {
          transport: "grpc",
          details: { path: `handlers.${method.name}` },
        });
      }
      const handler = found.bind(handlers) as MethodHandler;
      if (method.requestStream || method.responseStream) {
        desk.server.stream(
          method.path,
          (stream) => void new StreamCall(stream, method, handler, desk),
        );
      } else {
        desk.server.unary(
          method.path,
          (call, done) => void new UnaryCall(call, done, method, handler, desk),
        );
      }
      served.push(method.path);
    }
  } catch (error) {
    for (const path of served) desk.server.remove(path);
    throw error;
  }
  return () => {
    for (const path of served) desk.server.remove(path);
  };
}

/** What calls of both kinds have. */
abstract class MethodCall implements MethodContext, Entrant {
  gone = false;
  /** Whether all has been said: what grpc-js calls cancelled from now on is the call's own end. */
  protected over = false;
  readonly peer: Peer;
  protected readonly protoMethod: ProtoMethod;
  protected readonly handler: MethodHandler;
  protected readonly desk: ServiceDesk;
  readonly #call: Inbound;
  readonly #abort = new AbortController();
  #running = false;
  #headers: Headers | undefined;

  constructor(call: Inbound, method: ProtoMethod, handler: MethodHandler, desk: ServiceDesk) {
    this.#call = call;
    this.protoMethod = method;
    this.handler = handler;
    this.desk = desk;
    // Once the stream is closed nobody knows any more whose it was.
    this.peer = peerOf(call, desk);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get headers(): Headers {
    return this.#headers ??= readHeaders(this.#call.metadata);
  }

  get method(): string {
    return this.protoMethod.path.slice(1);
  }

  get remainingMs(): number {
    return remainingMs(this.#call);
  }

  /** Lets the call in: who it is, whether it may, whether there is room. */
  protected async enter(): Promise<void> {
    try {
      const { verdicts } = this.desk;
      if (verdicts?.asks) await verdicts.check(this.#call, "call", this.method);
      const refusal = tooMuchUnread(this.desk.server.unreadOf(this.#call)) ??
        this.desk.gate.enter(this);
      if (refusal !== undefined) throw refusal;
    } catch (error) {
      this.refuse(error);
    }
  }

  begin(): void {
    this.#running = true;
    this.run().catch((error) => this.refuse(error)).finally(() => this.leave());
  }

  /** The caller has gone. */
  protected left(): void {
    if (this.gone || this.over) return;
    this.gone = true;
    this.#abort.abort(new DOMException("the caller has gone", "AbortError"));
  }

  protected leave(): void {
    if (!this.#running) return;
    this.#running = false;
    this.desk.gate.leave();
  }

  protected refuse(error: unknown): void {
    const known = PatchbayError.fromThrown(error);
    this.desk.countError(known.code);
    if (this.gone) return;
    this.over = true;
    this.fail(known, chosenStatus(known));
  }

  protected abstract run(): Promise<void>;
  protected abstract fail(error: PatchbayError, code: status | undefined): void;
}

/** The status that a handler has chosen: `details: { grpcStatus: "FAILED_PRECONDITION" }`. */
function chosenStatus({ details }: PatchbayError): status | undefined {
  const name = details?.grpcStatus;
  const code = typeof name === "string" ? status[name as keyof typeof status] : undefined;
  return code === undefined || code === status.OK ? undefined : code;
}

/** One message for one. */
class UnaryCall extends MethodCall {
  readonly #call: ServerUnaryCall<Buffer, Buffer>;
  readonly #done: sendUnaryData<Buffer>;

  constructor(
    call: ServerUnaryCall<Buffer, Buffer>,
    done: sendUnaryData<Buffer>,
    method: ProtoMethod,
    handler: MethodHandler,
    desk: ServiceDesk,
  ) {
    super(call, method, handler, desk);
    this.#call = call;
    this.#done = done;
    call.once("cancelled", () => this.left());
    void this.enter();
  }

  protected override async run(): Promise<void> {
    const { request, response } = this.protoMethod;
    const value = request.decode(this.#call.request, "request");
    const answer = await this.handler(value as never, this);
    if (this.gone) return;
    const bytes = response.encode(answer, "response");
    countUntilGone(this.desk.server.unreadOf(this.#call), this.#call, bytes.length);
    this.over = true;
    this.#done(null, bytes);
  }

  protected override fail(error: PatchbayError, code: status | undefined): void {
    this.#done(statusOf(error, code));
  }
}

/** Many messages on one side or both. */
class StreamCall extends MethodCall {
  readonly #stream: ByteStream;

  constructor(
    stream: ByteStream,
    method: ProtoMethod,
    handler: MethodHandler,
    desk: ServiceDesk,
  ) {
    super(stream, method, handler, desk);
    this.#stream = stream;
    stream.on("cancelled", () => this.left());
    stream.on("error", () => {});
    void this.enter();
  }

  protected override async run(): Promise<void> {
    const { response, requestStream, responseStream } = this.protoMethod;
    const stream = this.#stream;
    const requests = this.#requests();
    let request: unknown = requests;
    if (!requestStream) {
      const { value, done } = await requests.next();
      if (done) throw new PatchbayError("protocol", "there was no request");
      request = value;
    }
    if (responseStream) stream.sendMetadata(new Metadata());
    const answer = await this.handler(request as never, this);
    if (!responseStream) {
      stream.write(response.encode(answer, "response"));
      this.over = true;
      return void stream.end();
    }
    if (!isIterable(answer)) {
      throw new PatchbayError("internal", `the handler of ${this.method} yields nothing`, {
        remedy: "write it as an async generator: async function* …",
      });
    }
    for await (const one of answer) {
      if (this.gone) return;
      if (!stream.write(response.encode(one, "response"))) await this.#drained();
    }
    if (this.gone) return;
    this.over = true;
    stream.end();
  }

  protected override fail(error: PatchbayError, code: status | undefined): void {
    this.#stream.emit("error", failureOf(error, code));
  }

  async *#requests(): AsyncGenerator<unknown, void, void> {
    try {
      for await (const bytes of this.#stream.iterator({ destroyOnReturn: false })) {
        yield this.protoMethod.request.decode(bytes as Buffer, "request");
      }
    } catch (error) {
      // A stream that is cut is no error of the handler's: its signal says so.
      if (!this.gone) throw error;
    }
  }

  /** Resolves when the client has read, or has gone. */
  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#stream.removeListener("drain", done);
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      this.#stream.once("drain", done);
      this.signal.addEventListener("abort", done, { once: true });
      if (this.signal.aborted) done();
    });
  }
}

function isIterable(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  return typeof value === "object" && value !== null &&
    (Symbol.asyncIterator in value || Symbol.iterator in value);
}
