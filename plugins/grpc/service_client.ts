/**
 * A client of one service of a `.proto`: connect, call methods by name, disconnect.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Metadata, status, type StatusObject } from "npm:@grpc/grpc-js@1.14.7";
import { type Headers, nearest, PatchbayError } from "@patchbay/core";
import { locateRuntimeDir, socketPath } from "@patchbay/host";
import { Channel, deadlineAfter } from "./channels.ts";
import { addHeaders, isToken } from "./metadata.ts";
import { loadProto, type ProtoFile, type ProtoMethod, type ProtoService } from "./proto_file.ts";
import { errorOf } from "./statuses.ts";
import type { TlsOptions } from "./tls.ts";

/** What a method takes and gives: `deno task proto` writes such types. */
export interface MethodShape {
  /** What a message to it may look like. */
  readonly request: unknown;
  /** What a message from it looks like. */
  readonly response: unknown;
  /** Whether it takes many. */
  readonly requestStream: boolean;
  /** Whether it gives many. */
  readonly responseStream: boolean;
}

/** The methods of a service. */
export type ServiceShape<Service> = { readonly [Name in keyof Service]: MethodShape };

/** A service of which nobody has written types. */
export type AnyService = Readonly<
  Record<string, {
    readonly request: unknown;
    readonly response: unknown;
    readonly requestStream: boolean;
    readonly responseStream: boolean;
  }>
>;

/** What is sent: one message, or many. */
export type RequestOf<Method extends MethodShape> = Method["requestStream"] extends true
  ? AsyncIterable<Method["request"]> | Iterable<Method["request"]>
  : Method["request"];

/** Whom to connect to, and how. */
export interface ConnectOptions {
  /** The `.proto`: loaded, or its path. */
  readonly proto: ProtoFile | string | URL;
  /** The service in it; default: the only one. */
  readonly service?: string;
  /** The module that serves it, on this host, over its Unix socket. */
  readonly module?: string;
  /** Where its socket is; default: the runtime directory. */
  readonly runtimeDirectory?: string;
  /** Where it is, instead of a module; of several, calls go round. */
  readonly target?: string | readonly string[];
  /** TLS of the client's side, for `grpcs:`. */
  readonly tls?: TlsOptions;
  /** Sent as `authorization: Bearer …`. */
  readonly token?: string;
  /** How long {@link ServiceClient.connect} and each call may take, in milliseconds. Default 5 s. */
  readonly timeoutMs?: number;
  /** The largest message, in bytes. Default 10 MiB. */
  readonly maxMessageBytes?: number;
  /** The first pause before a reconnection, in milliseconds. Default 100. */
  readonly reconnectMinMs?: number;
  /** The longest pause, in milliseconds. Default 30 s. */
  readonly reconnectMaxMs?: number;
  /** Gives up. */
  readonly signal?: AbortSignal;
}

/** How to make a call. */
export interface MethodOptions {
  /** How long it may take, in milliseconds; `Infinity` for ever. */
  readonly timeoutMs?: number;
  /** Cancels it; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Sent along as metadata. */
  readonly headers?: Headers;
}

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024;

/**
 * A client of one service. It reconnects by itself; it is a resource: `await using`.
 *
 * @typeParam Service The service's methods, as `deno task proto` writes them.
 */
export class ServiceClient<Service extends ServiceShape<Service> = AnyService>
  implements AsyncDisposable {
  readonly #service: ProtoService;
  readonly #channel: Channel;
  readonly #options: ConnectOptions;

  private constructor(service: ProtoService, channel: Channel, options: ConnectOptions) {
    this.#service = service;
    this.#channel = channel;
    this.#options = options;
  }

  /**
   * Connects, and resolves when there is a connection.
   *
   * @param options Whom to, and how.
   * @throws {PatchbayError} `unavailable`, with address, reason and remedy, within the timeout;
   * `not_found`: the `.proto` or the service; `invalid`: the `.proto`, an address or the token.
   */
  static async connect<Service extends ServiceShape<Service> = AnyService>(
    options: ConnectOptions,
  ): Promise<ServiceClient<Service>> {
    const { proto, signal, token, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    signal?.throwIfAborted();
    if (token !== undefined && !isToken(token)) {
      throw new PatchbayError("invalid", "`token` cannot be sent as metadata", {
        transport: "grpc",
        remedy: "a token has letters, digits and signs of ASCII, and no blank at either end",
      });
    }
    if (options.tls?.dangerouslyAcceptAnyCertificate === true) {
      console.warn(
        "patchbay: grpc: dangerouslyAcceptAnyCertificate is on: no server has to prove who it is",
      );
    }
    const file = typeof proto === "string" || proto instanceof URL ? loadProto(proto) : proto;
    const service = file.service(options.service);
    const channel = new Channel(targetsOf(options), {
      tls: options.tls,
      maxReceiveBytes: options.maxMessageBytes ?? DEFAULT_MAX_BYTES,
      reconnectMinMs: options.reconnectMinMs ?? 100,
      reconnectMaxMs: options.reconnectMaxMs ?? 30_000,
      keepaliveMs: 15_000,
      keepaliveTimeoutMs: 10_000,
    }, { onConnected() {}, onDisconnected() {}, onTrouble() {} });
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([channel.ready(Date.now() + timeoutMs), aborted.promise]);
    } catch (error) {
      const reason = signal?.aborted ? undefined : await reasonOf(channel, service);
      await channel.close();
      if (reason === undefined) throw error;
      throw reason;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    return new ServiceClient<Service>(service, channel, options);
  }

  /** Where the service is. */
  get where(): string {
    return this.#channel.where;
  }

  /**
   * Calls a method that answers with one message.
   *
   * @param name The method.
   * @param request The message, or many where the method takes a stream.
   * @param options Deadline, signal, headers.
   * @throws {PatchbayError} `not_found`: no such method; `invalid`, naming the field;
   * `unavailable`, `closed`, `deadline_exceeded`, and whatever the server answers.
   */
  async callMethod<Name extends keyof Service & string>(
    name: Name,
    request: RequestOf<Service[Name]>,
    options: MethodOptions = {},
  ): Promise<Service[Name]["response"]> {
    const method = this.#method(name);
    if (method.responseStream) {
      throw new PatchbayError("invalid", `${method.path} answers with a stream`, {
        transport: "grpc",
        remedy: "use streamMethod",
      });
    }
    if (!method.requestStream) return await this.#unary(method, request, options);
    let answer: unknown;
    let came = false;
    for await (const one of this.#stream(method, request, options)) {
      answer = one;
      came = true;
    }
    if (!came) throw new PatchbayError("protocol", `${method.path} ended without an answer`);
    return answer;
  }

  /**
   * Calls a method that answers with a stream. Leaving the loop cancels the call.
   *
   * @param name The method.
   * @param request The message, or many where the method takes a stream.
   * @param options Signal, headers; a deadline only if it is given.
   * @throws {PatchbayError} As {@link callMethod}.
   */
  streamMethod<Name extends keyof Service & string>(
    name: Name,
    request: RequestOf<Service[Name]>,
    options: MethodOptions = {},
  ): AsyncGenerator<Service[Name]["response"], void, void> {
    return this.#stream(this.#method(name), request, {
      ...options,
      timeoutMs: options.timeoutMs ?? Infinity,
    });
  }

  /** Closes the connection. Idempotent. */
  async disconnect(): Promise<void> {
    await this.#channel.close();
  }

  /** As {@link disconnect}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  #method(name: string): ProtoMethod {
    const { methods } = this.#service;
    const method = methods.get(name);
    if (method !== undefined) return method;
    const names = [...methods.keys()];
    const near = nearest(name, names);
    throw new PatchbayError("not_found", `${this.#service.name} has no method ${name}`, {
      transport: "grpc",
      remedy: near === undefined ? `it has ${names.join(", ")}` : `did you mean ${near}?`,
    });
  }

  #metadata({ headers }: MethodOptions): Metadata {
    const metadata = new Metadata();
    const { token } = this.#options;
    if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
    if (headers !== undefined) addHeaders(headers, metadata);
    return metadata;
  }

  #deadline({ timeoutMs = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS }: MethodOptions): number {
    return deadlineAfter(timeoutMs);
  }

  #unary(method: ProtoMethod, request: unknown, options: MethodOptions): Promise<unknown> {
    const { signal } = options;
    signal?.throwIfAborted();
    const message = method.request.encode(request, "request");
    const metadata = this.#metadata(options);
    return new Promise((resolve, reject) => {
      let answer: Buffer | undefined;
      let call: ReturnType<Channel["call"]>;
      try {
        call = this.#channel.call(method.path, this.#deadline(options));
      } catch (error) {
        return reject(this.#closed(error));
      }
      const abort = () => call.cancelWithStatus(status.CANCELLED, "the caller has given up");
      call.start(metadata, {
        onReceiveMetadata() {},
        onReceiveMessage: (bytes: Buffer) => void (answer = bytes),
        onReceiveStatus: (outcome) => {
          signal?.removeEventListener("abort", abort);
          if (signal?.aborted) return reject(signal.reason);
          try {
            if (outcome.code !== status.OK) throw this.#failed(outcome, method);
            if (answer === undefined) {
              throw new PatchbayError("protocol", `${method.path} ended without an answer`);
            }
            resolve(method.response.decode(answer, "response"));
          } catch (error) {
            reject(error);
          }
        },
      });
      call.sendMessageWithContext({}, message);
      call.halfClose();
      call.startRead();
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  async *#stream(
    method: ProtoMethod,
    request: unknown,
    options: MethodOptions,
  ): AsyncGenerator<unknown, void, void> {
    const { signal } = options;
    signal?.throwIfAborted();
    const metadata = this.#metadata(options);
    const requests = method.requestStream
      ? iteratorOf(request, method)
      : [method.request.encode(request, "request")].values();
    const encoded = (one: unknown) =>
      method.requestStream ? method.request.encode(one, "request") : one as Buffer;
    let stream: ReturnType<Channel["stream"]>;
    try {
      stream = this.#channel.stream(method.path, metadata, this.#deadline(options));
    } catch (error) {
      throw this.#closed(error);
    }
    const outcome = Promise.withResolvers<StatusObject>();
    let over = false;
    let drained = () => {};
    stream.on("drain", () => drained());
    stream.on("status", (ended: StatusObject) => {
      over = true;
      drained();
      // Whoever makes the requests is told that no more are wanted, also while none is ready.
      Promise.resolve(requests.return?.()).catch(() => {});
      outcome.resolve(ended);
    });
    stream.on("error", () => {});
    const abort = () => stream.cancel();
    signal?.addEventListener("abort", abort, { once: true });
    let refused: unknown;
    const sending = (async () => {
      try {
        for (;;) {
          const { value, done } = await requests.next();
          if (over) return;
          if (done) break;
          if (stream.write(encoded(await value))) continue;
          await new Promise<void>((resolve) => drained = resolve);
          if (over) return;
        }
        stream.end();
      } catch (error) {
        refused = error;
        stream.cancel();
      }
    })();
    try {
      for await (const bytes of stream.iterator({ destroyOnReturn: false })) {
        yield method.response.decode(bytes as Buffer, "response");
      }
    } catch (error) {
      if (error instanceof PatchbayError) throw error;
      // The status says it better.
    } finally {
      signal?.removeEventListener("abort", abort);
      stream.cancel();
    }
    const ended = await outcome.promise;
    if (refused !== undefined) {
      await sending;
      throw refused;
    }
    if (signal?.aborted) throw signal.reason;
    if (ended.code !== status.OK) throw this.#failed(ended, method);
  }

  #failed(outcome: StatusObject, { path }: ProtoMethod): PatchbayError {
    return errorOf(outcome, { where: this.where, what: path }).with({ transport: "grpc" });
  }

  #closed(cause: unknown): PatchbayError {
    return new PatchbayError("closed", `${this.where}: the client is disconnected`, {
      transport: "grpc",
      retryable: false,
      remedy: "connect again",
      cause,
    });
  }
}

/** What makes the requests of a stream. */
function iteratorOf(
  request: unknown,
  { path }: ProtoMethod,
): AsyncIterator<unknown> | Iterator<unknown> {
  const { [Symbol.asyncIterator]: many, [Symbol.iterator]: some } = Object(request) as
    & Partial<AsyncIterable<unknown>>
    & Partial<Iterable<unknown>>;
  const made = many?.call(request) ?? some?.call(request);
  if (made !== undefined) return made;
  throw new PatchbayError("invalid", `request: ${path} takes a stream of messages`, {
    transport: "grpc",
    details: { path: "request" },
    remedy: "give an array, or an async generator",
  });
}

function targetsOf({ target, module, runtimeDirectory }: ConnectOptions): readonly string[] {
  const targets = typeof target === "string" ? [target] : target ?? [];
  if (targets.length > 0) return targets;
  if (module === undefined) {
    throw new PatchbayError("invalid", "neither `module` nor `target` says whom to connect to", {
      transport: "grpc",
      remedy: 'give module: "arm", or target: "grpc://host:port"',
    });
  }
  const folder = runtimeDirectory ?? locateRuntimeDir();
  return [`unix:${socketPath(folder, module, "grpc")}`];
}

/** Why there is no connection: a call that cannot be made says so. */
async function reasonOf(channel: Channel, { methods }: ProtoService): Promise<PatchbayError> {
  const [method] = methods.values();
  const outcome = await new Promise<StatusObject>((resolve) => {
    const call = channel.call(method?.path ?? "/", Date.now() + 50);
    call.start(new Metadata(), {
      onReceiveMetadata() {},
      onReceiveMessage() {},
      onReceiveStatus: resolve,
    });
    call.startRead();
  });
  const error = errorOf(
    outcome.code === status.DEADLINE_EXCEEDED
      ? { code: status.UNAVAILABLE, details: "No connection established" }
      : outcome,
    { where: channel.where, what: "connect" },
  );
  return error.with({ transport: "grpc" });
}
