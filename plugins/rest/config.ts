/**
 * The configuration of rest: its table, its types, and what is wrong with one.
 *
 * @module
 */

import { type Availability, type ConfigFields, isLoopback } from "@patchbay/core";
import { type AuthOptions, oddAuth } from "./auth_options.ts";
import { isBase, METHODS, type RestName } from "./names.ts";

/** Where to listen. */
export interface ListenAddress {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; 0 takes a free one, which `bay.transport(rest).url` tells. */
  readonly port?: number;
  /** The path of a Unix socket, instead of both. */
  readonly path?: string;
}

/** TLS, of either side. All certificates and keys are PEM texts. */
export interface TlsOptions {
  /** The server's certificate chain. */
  readonly cert?: string;
  /** The server's key. */
  readonly key?: string;
  /** Ask clients for a certificate of these authorities. */
  readonly clientCa?: string;
  /** Authorities that a client believes, besides those of the system. */
  readonly ca?: readonly string[];
  /** The certificate that a client shows. */
  readonly clientCert?: string;
  /** Its key. */
  readonly clientKey?: string;
  /** Believe any certificate: for a laboratory. Warned of at every start. */
  readonly dangerouslyAcceptAnyCertificate?: boolean;
}

/** Which pages of other origins may use the server. */
export interface CorsOptions {
  /** Their origins; `*`: all, and then no credentials. */
  readonly origins: readonly string[];
  /** Whether cookies and authorization may be sent along. */
  readonly credentials?: boolean;
  /** The headers that pages may send besides those of Patchbay. */
  readonly headers?: readonly string[];
  /** How long a browser remembers the permission, in seconds. Default 600. */
  readonly maxAgeSeconds?: number;
}

/**
 * A middleware of hono, as its `app.use()` takes it: annotate yours as `MiddlewareHandler` of `hono`.
 */
export type Middleware = (...args: never[]) => unknown;

/** The configuration of rest. */
export interface RestConfig {
  /** Where to listen; default: a Unix socket in the runtime directory, with the first server. */
  readonly listen?: ListenAddress;
  /** The URL under which others reach this bay, where a proxy stands before it. */
  readonly publicUrl?: string;
  /** Which listener. */
  readonly listener: "auto" | "quick" | "guarded";
  /** TLS. */
  readonly tls?: TlsOptions;
  /** Bays of other hosts, by URL. */
  readonly peers: readonly string[];
  /** The service that all calls go to that no bay serves. */
  readonly baseUrl?: string;
  /** What endpoints are called here, by address. */
  readonly names: Readonly<Record<string, RestName>>;
  /** Sent along with every request. */
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as `Authorization: Bearer …` to bays of the host, peers and `baseUrl`. */
  readonly token?: string;
  /** Who is let in. */
  readonly auth?: AuthOptions;
  /** Whether a bind that the network reaches may do without `auth`. */
  readonly allowAnonymous: boolean;
  /** Names under which pages may reach a loopback bind, besides its own. */
  readonly allowedHosts: readonly string[];
  /** Pages of other origins. */
  readonly cors?: CorsOptions;
  /** Middleware of hono, before every route. */
  readonly middleware: readonly Middleware[];
  /** Whether `/openapi.json` and `/docs` are served. */
  readonly openapi: boolean;
  /** How long a handler may take for a caller that does not say. */
  readonly timeoutMs: number;
  /** The most connections of the server. */
  readonly maxConnections: number;
  /** The most requests to one host at once. */
  readonly maxSockets: number;
  /** Idle connections kept to one host. */
  readonly poolSize: number;
  /** How long they are kept. */
  readonly poolIdleTimeoutMs: number;
  /** Speak HTTP/2 as a client where the other side does. */
  readonly http2: boolean;
  /** How often a safe call is tried again. */
  readonly retries: number;
  /** The largest body. */
  readonly maxMessageBytes?: number;
  /** The most bytes of a request's headers. */
  readonly maxHeaderBytes: number;
  /** How long a request's headers may take. */
  readonly headersTimeoutMs: number;
  /** How long a whole request may take to arrive. */
  readonly requestTimeoutMs: number;
  /** How long nothing of an answer may be read by its client. */
  readonly answerTimeoutMs: number;
  /** How long the server keeps an idle connection. */
  readonly keepAliveTimeoutMs: number;
  /** How often a quiet event stream says that it lives. */
  readonly eventPingMs: number;
  /** The events kept for a client that comes back. */
  readonly replayEvents: number;
  /** Their bytes. */
  readonly replayBytes: number;
  /** The most bytes that wait for one event stream. */
  readonly maxQueueBytes: number;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause before a reconnection. */
  readonly reconnectMaxMs: number;
  /** How long a lost bay is looked for. */
  readonly rejoinMs: number;
}

/** The table of the configuration. */
export const FIELDS: ConfigFields = {
  listen: {
    kind: "object",
    description: '`{ hostname: "127.0.0.1", port }`, or `{ path }` of a Unix socket; ' +
      "default: a socket in the runtime directory, with the first thing served",
  },
  publicUrl: {
    kind: "string",
    description: "the URL under which others reach this bay, where a proxy stands before it",
  },
  listener: {
    kind: "string",
    oneOf: ["auto", "quick", "guarded"],
    description: "`quick`: Deno.serve, HTTP/2, no defence against slow requests; `guarded`: " +
      "node:http, with it; `auto`: quick where only this host comes in",
    default: "auto",
  },
  tls: {
    kind: "object",
    description: "PEM texts: `cert`, `key`, `clientCa` of the server; `ca`, `clientCert`, " +
      "`clientKey` of the client",
  },
  peers: {
    kind: "strings",
    description: "bays of other hosts, by URL: `https://robot:4000`",
    default: [],
  },
  baseUrl: {
    kind: "string",
    description: "the service that all calls go to that no bay serves",
  },
  names: {
    kind: "object",
    description:
      'methods and paths by address: `{ "users/get": { method: "GET", path: "/u/:id" } }`',
    default: {},
  },
  headers: { kind: "object", description: "headers sent along with every request", default: {} },
  token: {
    kind: "string",
    description: "sent as `Authorization: Bearer …` to bays of this host, peers and `baseUrl`",
  },
  auth: {
    kind: "object",
    description: "who is let in: `tokens`, `apiKeys`, `introspection`, `authenticate` (below)",
  },
  allowAnonymous: {
    kind: "boolean",
    description: "whether a bind that the network reaches may do without `auth`",
    default: false,
  },
  allowedHosts: {
    kind: "strings",
    description: "names in `Host` that a loopback bind answers to, besides its own",
    default: [],
  },
  cors: {
    kind: "object",
    description: "pages of other origins: `{ origins, credentials, headers, maxAgeSeconds }`",
  },
  middleware: {
    kind: "any",
    description: "list of hono's middleware, before every route",
    default: [],
  },
  openapi: {
    kind: "boolean",
    description: "whether `/openapi.json` and `/docs` are served",
    default: true,
  },
  timeoutMs: {
    kind: "integer",
    min: 1,
    description: "how long a handler may take for a caller that does not say, in ms",
    default: 30_000,
  },
  maxConnections: {
    kind: "integer",
    min: 1,
    description: "connections of the server at once; `quick`: requests and streams at once",
    default: 100,
  },
  maxSockets: {
    kind: "integer",
    min: 1,
    description: "requests to one host at once; further ones wait",
    default: 100,
  },
  poolSize: {
    kind: "integer",
    min: 0,
    description: "idle connections kept to one host",
    default: 100,
  },
  poolIdleTimeoutMs: {
    kind: "integer",
    min: 1,
    description: "how long an idle connection to a host is kept, in ms",
    default: 30_000,
  },
  http2: {
    kind: "boolean",
    description: "speak HTTP/2 as a client where a server with TLS offers it: a connection for " +
      "100 requests at once, by `fetch`; slower for small calls",
    default: false,
  },
  retries: {
    kind: "integer",
    min: 0,
    description:
      "how often a call is made again whose connection was lost, if it is `idempotent`, " +
      "a GET, or was not sent",
    default: 2,
  },
  maxMessageBytes: {
    kind: "integer",
    min: 1,
    max: 1024 * 1024 * 1024,
    description: "largest body, in bytes; default: the bay's, 10 MiB",
  },
  maxHeaderBytes: {
    kind: "integer",
    min: 1024,
    max: 1024 * 1024,
    description: "most bytes of a request's headers; guarded (Deno.serve has 400 KiB)",
    default: 16 * 1024,
  },
  headersTimeoutMs: {
    kind: "integer",
    min: 50,
    description: "how long a request's headers may take to arrive, in ms; guarded",
    default: 10_000,
  },
  requestTimeoutMs: {
    kind: "integer",
    min: 50,
    description: "how long a whole request may take to arrive, in ms; guarded",
    default: 30_000,
  },
  answerTimeoutMs: {
    kind: "integer",
    min: 50,
    description: "how long a client may read nothing of an answer or event stream, in ms, and a " +
      "second for each 16 KiB that wait; guarded",
    default: 60_000,
  },
  keepAliveTimeoutMs: {
    kind: "integer",
    min: 50,
    description: "how long the server keeps an idle connection, in ms; guarded",
    default: 65_000,
  },
  eventPingMs: {
    kind: "integer",
    min: 10,
    description: "how often a quiet event stream says that it lives, in ms; three missed: dead",
    default: 15_000,
  },
  replayEvents: {
    kind: "integer",
    min: 0,
    description: "events kept for clients that come back with `Last-Event-ID`",
    default: 1024,
  },
  replayBytes: {
    kind: "integer",
    min: 0,
    description: "their bytes",
    default: 4 * 1024 * 1024,
  },
  maxQueueBytes: {
    kind: "integer",
    min: 64 * 1024,
    description: "most bytes that wait for one event stream",
    default: 16 * 1024 * 1024,
  },
  reconnectMinMs: {
    kind: "integer",
    min: 1,
    description: "first pause before a reconnection, in ms; doubled each time, full jitter",
    default: 100,
  },
  reconnectMaxMs: {
    kind: "integer",
    min: 1,
    description: "longest pause before a reconnection, in ms",
    default: 30_000,
  },
  rejoinMs: {
    kind: "integer",
    min: 0,
    description: "how long a job's lost worker is looked for, in ms",
    default: 5_000,
  },
};

/** Whether nobody but this host comes in. */
export function reachesHostOnly(listen: ListenAddress | undefined): boolean {
  if (listen?.path !== undefined || listen === undefined) return true;
  const { hostname = "127.0.0.1" } = listen;
  return isLoopback(hostname);
}

/** Which of the two listeners is used. */
export function listenerOf(config: RestConfig): "quick" | "guarded" {
  // Only node:https can ask for a client's certificate.
  if (config.tls?.clientCa !== undefined) return "guarded";
  if (config.listener !== "auto") return config.listener;
  return reachesHostOnly(config.listen) ? "quick" : "guarded";
}

function has(auth: AuthOptions | undefined): boolean {
  return auth !== undefined &&
    [auth.tokens, auth.apiKeys, auth.introspection, auth.authenticate].some((one) => one);
}

/**
 * What is wrong with a configuration, if anything is.
 *
 * @param config The configuration, its fields checked one by one.
 * @param listens Whether this plugin can listen at all.
 */
export function complaint(config: RestConfig, listens: boolean): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  const { listen, tls, cors, auth, peers, baseUrl, publicUrl, middleware, names } = config;
  for (const [key, url] of Object.entries({ baseUrl, publicUrl })) {
    if (url !== undefined && !isBase(url)) {
      return no(`\`${key}\` ${JSON.stringify(url)} is no URL`, "write http://host:port");
    }
  }
  const peer = peers.find((one) => !isBase(one));
  if (peer !== undefined) {
    return no(`\`peers\` has ${JSON.stringify(peer)}, which is no URL`, "write http://host:port");
  }
  for (const [address, name] of Object.entries(names)) {
    const { method = "POST" } = name ?? {};
    if (!METHODS.includes(method)) {
      return no(`\`names\`: ${address} has the method ${method}`, `one of ${METHODS.join(", ")}`);
    }
  }
  if (config.token === "") {
    return no("`token` is empty", "leave it out, or set the token that the other side knows");
  }
  const odd = auth === undefined ? undefined : oddAuth(auth);
  if (odd !== undefined) return no(...odd);
  if (!Array.isArray(middleware) || middleware.some((one) => typeof one !== "function")) {
    return no("`middleware` is no list of functions", "pass what hono's app.use() takes");
  }
  if (cors !== undefined) {
    if (!Array.isArray(cors.origins)) {
      return no("`cors` has no list of origins", 'write cors: { origins: ["https://page"] }');
    }
    if (cors.credentials === true && cors.origins.includes("*")) {
      return no(
        "`cors` allows credentials to every origin",
        "name the origins, or leave out credentials",
      );
    }
  }
  if (listen !== undefined) {
    if (!listens) return no("a page cannot listen", "leave out `listen`");
    const { hostname = "127.0.0.1", port, path } = listen;
    if (path === undefined) {
      const right = typeof port === "number" && Number.isInteger(port) && port >= 0 &&
        port <= 65_535;
      if (typeof hostname !== "string" || !right) {
        return no("`listen` has no port", 'write { hostname: "127.0.0.1", port: 4000 }');
      }
    } else if (typeof path !== "string" || port !== undefined) {
      return no("`listen` has both a port and a path, or a path that is no text", "give one");
    }
    if (!reachesHostOnly(listen) && !has(auth) && tls?.clientCa === undefined) {
      if (!config.allowAnonymous) {
        return no(
          `\`listen\` on ${hostname} lets the network in, and nobody is asked who he is`,
          "set config.rest.auth, listen on 127.0.0.1, or set allowAnonymous: true",
        );
      }
    }
  }
  if (tls !== undefined) {
    if ((tls.cert === undefined) !== (tls.key === undefined)) {
      return no("`tls` has a certificate or a key, but not both", "give `cert` and `key`");
    }
    if (tls.clientCa !== undefined && tls.cert === undefined) {
      return no("`tls.clientCa` without a certificate of the server", "give `cert` and `key`");
    }
    if (tls.clientCa !== undefined && config.listener === "quick") {
      return no("the quick listener cannot ask for client certificates", 'listener: "guarded"');
    }
  }
  return undefined;
}

/**
 * What is said at each start, because it is allowed and may still be a mistake.
 *
 * @param config The configuration.
 */
export function warnings(config: RestConfig): string[] {
  const told: string[] = [];
  const open = !reachesHostOnly(config.listen);
  if (config.tls?.dangerouslyAcceptAnyCertificate === true) {
    told.push("dangerouslyAcceptAnyCertificate is on: no server has to prove who it is");
  }
  if (open && listenerOf(config) === "quick") {
    told.push("the quick listener is open to the network: it waits for ever for slow requests");
  }
  if (open && config.allowAnonymous && !has(config.auth)) {
    told.push("the network is let in without anybody being asked who he is (allowAnonymous)");
  }
  return told;
}
