/**
 * The configuration of grpc: its table, its types, and what is wrong with one.
 *
 * @module
 */

import { type Availability, type ConfigFields, isLoopback } from "@patchbay/core";
import { isToken } from "./metadata.ts";
import { readTarget } from "./targets.ts";
import type { TlsOptions } from "./tls.ts";

/** Where to listen. */
export interface ListenAddress {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; 0 takes a free one, which `bay.transport(grpc).url` tells. */
  readonly port?: number;
  /** The path of a Unix socket, instead of both. */
  readonly path?: string;
}

/** The configuration of grpc. */
export interface GrpcConfig {
  /** Where to listen; default: a Unix socket in the runtime directory, with the first server. */
  readonly listen?: ListenAddress;
  /** The URL under which others reach this bay, where that is not what it listens on. */
  readonly publicUrl?: string;
  /** TLS. */
  readonly tls?: TlsOptions;
  /** Bays of other hosts, by URL. */
  readonly peers: readonly string[];
  /** Sent as `authorization: Bearer …`. */
  readonly token?: string;
  /** Tokens that are let in, by the name of who has them. */
  readonly tokens?: Readonly<Record<string, string>>;
  /** Whether a port that the network reaches may do without TLS's clientCa and tokens. */
  readonly allowAnonymous: boolean;
  /** The largest value. */
  readonly maxMessageBytes?: number;
  /** The most calls that run at once. */
  readonly maxCalls: number;
  /** The most calls that wait for their turn. */
  readonly maxWaitingCalls: number;
  /** The most connections of the server. */
  readonly maxConnections: number;
  /** How long calls that run may still take when the server closes. */
  readonly graceMs: number;
  /** How often a quiet connection is asked whether it lives. */
  readonly keepaliveMs: number;
  /** How long the answer may take. */
  readonly keepaliveTimeoutMs: number;
  /** How often a safe call is tried again. */
  readonly retries: number;
  /** What calls do while the server is down. */
  readonly whenDown: "fail" | "wait";
  /** Whether reflection is served. */
  readonly reflection: boolean;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause before a reconnection. */
  readonly reconnectMaxMs: number;
  /** How long a lost worker is looked for. */
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
    description: "the URL under which others reach this bay, where that is not what it listens on",
  },
  tls: {
    kind: "object",
    description: "PEM texts: `cert`, `key`, `clientCa` of the server; `ca`, `clientCert`, " +
      "`clientKey`, `serverName` of the client",
  },
  peers: {
    kind: "strings",
    description: "bays that the directory does not show: `grpcs://robot:50051`, `grpc://…`, " +
      "`unix:/path`",
    default: [],
  },
  token: {
    kind: "string",
    description: "sent as `authorization: Bearer …` with every call",
  },
  tokens: {
    kind: "object",
    description: "tokens that are let in, by the name of who has them: `{ desk: secret }`",
  },
  allowAnonymous: {
    kind: "boolean",
    description: "whether a port that the network reaches may do without `tls.clientCa` and " +
      "`tokens`",
    default: false,
  },
  maxMessageBytes: {
    kind: "integer",
    min: 1,
    max: 1024 * 1024 * 1024,
    description: "largest value, in bytes; default: the bay's, 10 MiB",
  },
  maxCalls: {
    kind: "integer",
    min: 1,
    description: "calls of this server that run at once, as in a thread pool; listeners and jobs " +
      "do not count",
    default: 10,
  },
  maxWaitingCalls: {
    kind: "integer",
    min: 0,
    description: "calls that wait for their turn; one more is refused with `overloaded`",
    default: 1024,
  },
  maxConnections: {
    kind: "integer",
    min: 1,
    description: "connections of the server at once",
    default: 1000,
  },
  graceMs: {
    kind: "integer",
    min: 0,
    description: "how long calls that run may still take when the server closes, in ms",
    default: 5_000,
  },
  keepaliveMs: {
    kind: "integer",
    min: 0,
    description: "how often a quiet connection is asked whether it lives, in ms; 0: never",
    default: 15_000,
  },
  keepaliveTimeoutMs: {
    kind: "integer",
    min: 10,
    description: "how long the answer may take, in ms; then the connection is dead",
    default: 10_000,
  },
  retries: {
    kind: "integer",
    min: 0,
    description: "how often a call is made again whose connection was lost, if it is " +
      "`idempotent` or was not sent",
    default: 2,
  },
  whenDown: {
    kind: "string",
    oneOf: ["fail", "wait"],
    description: "calls to a server that is down fail at once, or wait for it until their deadline",
    default: "fail",
  },
  reflection: {
    kind: "boolean",
    description: "whether grpcurl and others may ask what services there are",
    default: true,
  },
  reconnectMinMs: {
    kind: "integer",
    min: 1,
    description: "first pause before a reconnection, in ms; doubled each time, with jitter",
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

/** Names no token: what is wrong with a secret is not to be read in a log. */
const TOKEN_REMEDY = 'write { ada: "secret" }; a token has letters, digits and signs of ASCII, ' +
  "and no blank at either end";

/** Whether nobody but this host comes in. */
function reachesHostOnly(listen: ListenAddress | undefined): boolean {
  if (listen === undefined || listen.path !== undefined) return true;
  return isLoopback(listen.hostname ?? "127.0.0.1");
}

/** Whether everybody is asked who he is. */
function asks({ tls, tokens }: GrpcConfig): boolean {
  return tls?.clientCa !== undefined || tokens !== undefined;
}

/**
 * What is wrong with a configuration, if anything is.
 *
 * @param config The configuration, its fields checked one by one.
 */
export function complaint(config: GrpcConfig): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  const { listen, tls, peers, publicUrl, token, tokens } = config;
  for (const url of [...peers, ...(publicUrl === undefined ? [] : [publicUrl])]) {
    try {
      readTarget(url);
    } catch {
      return no(
        `${JSON.stringify(url)} is no place of a gRPC server`,
        "write grpc://host:port, grpcs://host:port, or unix:/path/of.sock",
      );
    }
  }
  if (listen !== undefined) {
    const { hostname = "127.0.0.1", port, path } = listen;
    if (path === undefined) {
      const right = typeof port === "number" && Number.isInteger(port) && port >= 0 &&
        port <= 65_535;
      if (typeof hostname !== "string" || !right) {
        return no("`listen` has no port", 'write { hostname: "127.0.0.1", port: 50051 }');
      }
    } else if (typeof path !== "string" || port !== undefined) {
      return no("`listen` has both a port and a path, or a path that is no text", "give one");
    }
    if (!reachesHostOnly(listen) && !asks(config) && !config.allowAnonymous) {
      return no(
        `\`listen\` on ${hostname} lets the network in, and nobody is asked who he is`,
        "set config.grpc.tls.clientCa or tokens, listen on 127.0.0.1, or set allowAnonymous: true",
      );
    }
  }
  if (token !== undefined && !isToken(token)) return no("`token` is none", TOKEN_REMEDY);
  if (tokens !== undefined) {
    const entries = Object.entries(tokens);
    if (entries.length === 0) return no("`tokens` is empty: nobody could come in", TOKEN_REMEDY);
    for (const [name, secret] of entries) {
      if (name === "" || !isToken(secret)) {
        return no(`\`tokens\` has no name or no token for ${JSON.stringify(name)}`, TOKEN_REMEDY);
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
    if ((tls.clientCert === undefined) !== (tls.clientKey === undefined)) {
      return no(
        "`tls` has a client's certificate or key, but not both",
        "give `clientCert` and `clientKey`",
      );
    }
    if (tls.cert !== undefined && (listen === undefined || listen.path !== undefined)) {
      return no("`tls.cert` on a Unix socket", "set config.grpc.listen to { port }");
    }
  }
  return undefined;
}

/**
 * What is said at each start, because it is allowed and may still be a mistake.
 *
 * @param config The configuration.
 */
export function warnings(config: GrpcConfig): string[] {
  const told: string[] = [];
  if (config.tls?.dangerouslyAcceptAnyCertificate === true) {
    told.push("dangerouslyAcceptAnyCertificate is on: no server has to prove who it is");
  }
  if (!reachesHostOnly(config.listen) && config.allowAnonymous && !asks(config)) {
    told.push("the network is let in without anybody being asked who he is (allowAnonymous)");
  }
  if (
    config.tokens !== undefined && config.tls?.cert === undefined &&
    config.listen?.port !== undefined
  ) {
    told.push("tokens travel in clear: the port has no TLS");
  }
  return told;
}
