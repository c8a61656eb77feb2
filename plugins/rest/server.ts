/**
 * The server of one bay: who may come in, and the routes of what it serves.
 *
 * @module
 */

import { FROM, JOB_ID, PRIORITY, TIMEOUT } from "./headers.ts";
import { cors } from "npm:hono@4.13.19/cors";
import type { MiddlewareHandler } from "npm:hono@4.13.19";
import {
  type CallableEndpoint,
  type EndpointStatistics,
  isLoopback,
  json,
  Notices,
  PatchbayError,
  type TimerWheel,
  type TransportContext,
  type Verb,
} from "@patchbay/core";
import { Gate } from "./auth.ts";
import { type Bodies, readBody, tooLarge } from "./bodies.ts";
import { listenerOf, reachesHostOnly, type RestConfig } from "./config.ts";
import { Exchange, type ExchangeHost, headerOf, peerOf, type Visit } from "./exchange.ts";
import { gather, type Name, nameOf } from "./names.ts";
import { type Answer, type RestContext, Router } from "./router.ts";
import { fieldTypes } from "./schemas.ts";
import { type Place, type Serve, type Serving } from "./serving.ts";
import { codeOf, problemResponse } from "./statuses.ts";

/** How long open answers may still take when the server closes, in milliseconds. */
const CLOSE_GRACE_MS = 500;

/** What a server is made with. */
export interface ServerParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: RestConfig;
  /** How bodies are made. */
  readonly bodies: Bodies;
  /** Where to listen. */
  readonly place: Place;
  /** The listeners, by name. */
  readonly listeners: Readonly<Record<"quick" | "guarded", Serve>>;
}

/** The callables of one address in this bay: several, if they share it. */
interface Desk {
  readonly name: Name;
  readonly endpoints: CallableEndpoint[];
  readonly remove: readonly (() => void)[];
}

/** The server. */
export class RestServer implements ExchangeHost {
  readonly bodies: Bodies;
  readonly timers: TimerWheel;
  readonly apiKeyHeader: string;
  readonly timeoutMs: number;
  /** The routes; documents, speakers and jobs add theirs. */
  readonly router: Router;
  readonly #context: TransportContext;
  readonly #config: RestConfig;
  readonly #parts: ServerParts;
  readonly #gate: Gate | undefined;
  readonly #notices: Notices;
  readonly #hosts: ReadonlySet<string> | undefined;
  readonly #origins: ReadonlySet<string>;
  readonly #desks = new Map<string, Desk>();
  /** What stood in `Host` last, and was right. */
  #lastHost = "";
  #connections = 0;
  #listening: Promise<Serving> | undefined;
  #serving: Serving | undefined;
  #otherwise: Answer = (context) => nowhere(this, context);

  /** @param parts What it is made with. */
  constructor(parts: ServerParts) {
    const { context, config } = parts;
    this.#parts = parts;
    this.#context = context;
    this.#config = config;
    this.bodies = parts.bodies;
    this.timers = context.timers;
    this.timeoutMs = config.timeoutMs;
    const notices = this.#notices = new Notices((error) => context.report(error));
    if (config.auth !== undefined) {
      this.#gate = new Gate(config.auth, (kind, what) => notices.tell(kind, what));
    }
    this.apiKeyHeader = this.#gate?.apiKeyHeader ?? "x-api-key";
    this.#origins = new Set(config.cors?.origins ?? []);
    // A page can be made to ask a loopback address under a name of its own (DNS rebinding).
    if (!("path" in parts.place) && reachesHostOnly(config.listen)) {
      this.#hosts = new Set(config.allowedHosts.map((host) => host.toLowerCase()));
    }
    const before: MiddlewareHandler[] = [];
    if (config.cors !== undefined) before.push(pages(config.cors));
    if (this.#gate !== undefined) before.push(this.#authenticate(this.#gate));
    before.push(...config.middleware as readonly MiddlewareHandler[]);
    this.router = new Router(
      before,
      (request) => this.#otherwise(request),
      (error) => this.#threw(error),
    );
  }

  /** Where it listens; `undefined` while it does not. */
  get url(): string | undefined {
    return this.#serving?.url;
  }

  /** Answers what no route has. */
  set otherwise(answer: Answer) {
    this.#otherwise = answer;
  }

  /** Begins to listen, once. */
  listen(): Promise<Serving> {
    return this.#listening ??= (async () => {
      const { config } = this.#parts;
      const serve = this.#parts.listeners[listenerOf(config)];
      const { cert, key, clientCa } = config.tls ?? {};
      const serving = await serve({
        ...config,
        place: this.#parts.place,
        tls: cert === undefined || key === undefined ? undefined : { cert, key, clientCa },
        handler: (request, visit) => this.#handle(request, visit),
        onRefusal: (status) => this.#context.statistics.countError(codeOf(status)),
        onError: (error) => this.#context.report(PatchbayError.fromThrown(error)),
        onAbuse: (kind, what) => this.#notices.tell(kind, what),
        onConnections: (count) => {
          this.#context.statistics.connections += count - this.#connections;
          this.#connections = count;
        },
      });
      return this.#serving = serving;
    })();
  }

  /** Listens no longer. Idempotent. */
  async close(): Promise<void> {
    const serving = await this.#listening?.catch(() => undefined);
    await serving?.close(CLOSE_GRACE_MS);
  }

  /**
   * Puts a callable on its routes.
   *
   * @param endpoint The callable.
   * @returns Takes it off again.
   * @throws {PatchbayError} `invalid`: its name; `unavailable`: its path is taken.
   */
  serve(endpoint: CallableEndpoint): () => void {
    const { address } = endpoint;
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      const name = nameOf(address, endpoint.contract.native?.rest, this.#config.names);
      const endpoints: CallableEndpoint[] = [];
      desk = { name, endpoints, remove: this.#routes(name, address, endpoints) };
      this.#desks.set(address, desk);
    }
    const { endpoints, remove } = desk;
    endpoints.push(endpoint);
    return () => {
      const index = endpoints.indexOf(endpoint);
      if (index < 0) return;
      endpoints.splice(index, 1);
      if (endpoints.length > 0) return;
      this.#desks.delete(address);
      for (const one of remove) one();
    };
  }

  /** What is served, with its names. */
  get callables(): { readonly endpoint: CallableEndpoint; readonly name: Name }[] {
    return [...this.#desks.values()].map(({ name, endpoints }) => ({
      name,
      endpoint: endpoints[0],
    }));
  }

  /**
   * Asks the bay's `authorize` whether the sender of a request may do something.
   *
   * @param request The request.
   * @param visit Who sent it.
   * @param verb What for.
   * @param address Where.
   * @throws {PatchbayError} `forbidden`.
   */
  async authorize(request: Request, visit: Visit, verb: Verb, address: string): Promise<void> {
    const { authorize } = this.#context;
    if (authorize === undefined) return;
    if (await authorize(peerOf(request.headers, visit), verb, address)) return;
    throw new PatchbayError("forbidden", `${address}: this peer may not ${verb} it`, { address });
  }

  /** Whether anybody has to be asked. */
  get asks(): boolean {
    return this.#context.authorize !== undefined;
  }

  /**
   * Refuses a request, and counts it.
   *
   * @param error Why.
   * @param status With which status; default: the code's.
   * @param headers Further headers.
   */
  refuse(
    error: PatchbayError,
    status: number | undefined = unsupportedTypes.has(error) ? 415 : undefined,
    headers?: Readonly<Record<string, string>>,
  ): Response {
    this.#context.statistics.countError(error.code);
    return problemResponse(error, status, headers);
  }

  #routes(name: Name, address: string, endpoints: CallableEndpoint[]): (() => void)[] {
    const own = nameOf(address, undefined, {});
    // Who knows the address alone finds it where every address is.
    const names = name.method === own.method && name.path === own.path ? [name] : [name, own];
    const removals: (() => void)[] = [];
    let turn = 0;
    const next = () => endpoints.length === 1 ? endpoints[0] : endpoints[turn++ % endpoints.length];
    try {
      for (const each of names) {
        const answer: Answer = (context) => this.#call(next(), each, context);
        const { method, path } = each;
        removals.push(this.router.add({ method, path, what: address, answer }));
      }
    } catch (error) {
      for (const remove of removals) remove();
      throw error;
    }
    return removals;
  }

  // ----- every request -----

  #handle(request: Request, visit: Visit): Response | Promise<Response> {
    const named = headerOf(request, visit, "host");
    // HTTP/2 has no `Host`; a request line that holds a whole URL goes before it (RFC 9112 §3.2.2).
    const authority = authorityOf(request.url);
    const host = named ?? authority;
    if (this.#hosts !== undefined && !(this.#answersTo(authority) && this.#answersTo(host))) {
      const odd = this.#answersTo(authority) ? host : authority;
      const error = new PatchbayError("forbidden", `this server does not answer to ${odd}`, {
        remedy: "use 127.0.0.1 or localhost, or add the name to config.rest.allowedHosts",
      });
      return this.refuse(error, 421);
    }
    const page = pageOf(request, visit);
    if (page !== null && !this.#admits(page, host)) {
      const which = page === ANOTHER_SITE ? page : `pages of ${page}`;
      const error = new PatchbayError("forbidden", `${which} may not use this server`, {
        remedy: "add the origin to config.rest.cors.origins",
      });
      return this.refuse(error);
    }
    // The listener's own is shared by all that come from there.
    return this.router.fetch(request, this.#gate === undefined ? visit : { ...visit });
  }

  #answersTo(host: string): boolean {
    if (host === this.#lastHost) return true;
    const name = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(host)?.[1].toLowerCase() ?? "";
    const answers = isLoopback(name) || this.#hosts?.has(name) === true;
    if (answers) this.#lastHost = host;
    return answers;
  }

  #admits(origin: string, host: string): boolean {
    if (this.#origins.has(origin) || this.#origins.has("*")) return true;
    const { publicUrl } = this.#config;
    if (publicUrl !== undefined && URL.parse(publicUrl)?.origin === origin) return true;
    // The page of this very server.
    return URL.parse(origin)?.host === host;
  }

  #authenticate(gate: Gate): MiddlewareHandler<{ Bindings: Visit }> {
    return async (context, next) => {
      try {
        context.env.identity = await gate.identify(context.req.raw, context.req.path);
      } catch (error) {
        return this.refuse(PatchbayError.fromThrown(error));
      }
      await next();
    };
  }

  #threw(error: unknown): Response {
    const known = PatchbayError.fromThrown(error);
    // A middleware of the user, or a defect of ours: what a handler throws does not come by here.
    if (known.code === "remote" || known.code === "internal") this.#context.report(known);
    return this.refuse(known);
  }

  // ----- calls -----

  #call(
    endpoint: CallableEndpoint,
    name: Name,
    context: RestContext,
  ): Response | Promise<Response> {
    if (name.spread && (name.method === "GET" || name.method === "DELETE")) {
      return this.#run(endpoint, name, context, undefined);
    }
    const request = context.req.raw;
    const visit = context.env;
    // The usual request, on the shortest way.
    if (headerOf(request, visit, "content-type") === "application/json") {
      const length = Number(headerOf(request, visit, "content-length") ?? NaN);
      if (length <= this.bodies.maxBytes) {
        return request.arrayBuffer().then(
          (buffer) => this.#json(endpoint, name, context, new Uint8Array(buffer)),
          (cause) => this.#unread(endpoint, brokenOff(cause)),
        );
      }
    }
    return this.readValue(request, endpoint.statistics).then(
      (value) => this.#run(endpoint, name, context, value),
      (error) => this.#unread(endpoint, PatchbayError.fromThrown(error)),
    );
  }

  #json(
    endpoint: CallableEndpoint,
    name: Name,
    context: RestContext,
    bytes: Uint8Array,
  ): Response | Promise<Response> {
    let value: unknown;
    try {
      value = json.decode(bytes);
    } catch (error) {
      const packed = context.req.raw.headers.get("content-encoding");
      return this.#unread(
        endpoint,
        packed === null
          ? PatchbayError.fromThrown(error)
          : unsupported(`application/json with the content-encoding ${packed}`),
      );
    }
    endpoint.statistics.bytesIn += bytes.length;
    return this.#run(endpoint, name, context, value);
  }

  /** A request whose value could not be read. */
  #unread({ statistics }: CallableEndpoint, error: PatchbayError): Response {
    statistics.countError(error.code);
    return this.refuse(error);
  }

  /**
   * Reads the value that a request brings.
   *
   * @param request The request.
   * @param statistics Who counts its bytes.
   * @throws {PatchbayError} `invalid`: its media type; `too_large`; `protocol`; `closed`: it broke off.
   */
  async readValue(request: Request, statistics: EndpointStatistics): Promise<unknown> {
    const refusal = this.#unreadable(request);
    if (refusal === null) return undefined;
    if (refusal !== undefined) {
      await request.body?.cancel().catch(() => {});
      throw refusal;
    }
    try {
      const bytes = await readBody(request, this.bodies.maxBytes);
      statistics.bytesIn += bytes.length;
      return this.bodies.decodeRequest(bytes, request.headers.get("content-type") ?? "");
    } catch (error) {
      if (error instanceof PatchbayError) throw error;
      throw brokenOff(error);
    }
  }

  /** Why a body is not read; `null` if there is none; `undefined` if it is read. */
  #unreadable({ headers }: Request): PatchbayError | null | undefined {
    const type = headers.get("content-type") ?? "";
    const length = headers.get("content-length");
    if (type === "" && (length === null || length === "0") && !headers.has("transfer-encoding")) {
      return null;
    }
    if (type !== "application/json" && !this.bodies.reads(type)) return unsupported(type);
    if (headers.has("content-encoding")) return unsupported(`${type} with a content-encoding`);
    const { maxBytes } = this.bodies;
    if (length !== null && Number(length) > maxBytes) return tooLarge(Number(length), maxBytes);
    return undefined;
  }

  #run(
    endpoint: CallableEndpoint,
    name: Name,
    context: RestContext,
    body: unknown,
  ): Response | Promise<Response> {
    const request = context.req.raw;
    let value = body;
    let parameters: Readonly<Record<string, string>> = NONE;
    if (name.spread) {
      parameters = context.req.param() as Record<string, string>;
      const query = new URL(request.url).searchParams;
      value = gather(name, parameters, query, body, fieldTypes(endpoint.contract, "request"));
    }
    const { status = 200 } = name;
    const exchange = new Exchange(this, endpoint, request, context.env, parameters, status);
    if (!this.asks) return exchange.run(value);
    return this.authorize(request, context.env, "call", endpoint.address).then(
      () => exchange.run(value),
      (error) => {
        endpoint.statistics.countError("forbidden");
        return this.refuse(PatchbayError.fromThrown(error));
      },
    );
  }
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});

/** The host and port of a URL, as they stand in it. */
function authorityOf(url: string): string {
  const start = url.indexOf("://") + 3;
  const end = url.indexOf("/", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/** Where a page comes from that does not say so. */
const ANOTHER_SITE = "pages of another site";

/**
 * The origin of the page that a request comes from; `null` if it comes from none, or from one of
 * this server's own. Browsers leave `Origin` out of simple GETs, and mark those (Fetch Metadata §2).
 */
function pageOf(request: Request, visit: Visit): string | null {
  const origin = headerOf(request, visit, "origin");
  if (origin !== null) return origin;
  const site = headerOf(request, visit, "sec-fetch-site");
  if (site !== "cross-site" && site !== "same-site") return null;
  return URL.parse(headerOf(request, visit, "referer") ?? "")?.origin ?? ANOTHER_SITE;
}

function brokenOff(cause: unknown): PatchbayError {
  return new PatchbayError("protocol", "the body did not arrive as announced", { cause });
}

/** Errors that are told with another status than their code's. */
const unsupportedTypes = new WeakSet<PatchbayError>();

function unsupported(type: string): PatchbayError {
  const error = new PatchbayError(
    "invalid",
    type === "" ? "the body has no content-type" : `bodies of ${type} are not read`,
    { remedy: "send content-type: application/json, or application/octet-stream for bytes" },
  );
  unsupportedTypes.add(error);
  return error;
}

/** The answer where no route is. */
export function nowhere(server: RestServer, context: RestContext): Response {
  const { path } = context.req;
  const error = new PatchbayError("not_found", `nothing is served at ${path}`, {
    remedy: "see /openapi.json for what is",
  });
  return server.refuse(error);
}

/** What pages of other origins are told. */
function pages(options: NonNullable<RestConfig["cors"]>): MiddlewareHandler {
  const { origins, credentials = false, headers = [], maxAgeSeconds = 600 } = options;
  return cors({
    origin: origins.includes("*") ? "*" : [...origins],
    credentials,
    maxAge: maxAgeSeconds,
    allowMethods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
    allowHeaders: [
      "content-type",
      "authorization",
      "last-event-id",
      "x-api-key",
      "traceparent",
      "tracestate",
      FROM,
      JOB_ID,
      PRIORITY,
      TIMEOUT,
      ...headers,
    ],
    exposeHeaders: ["location", "retry-after"],
  });
}
