/**
 * The configuration of redis: its table, what is wrong with one, and where the server is.
 *
 * @module
 */

import {
  type Availability,
  checkPattern,
  type ConfigFields,
  matches,
  patienceFields,
  readServerUrl,
  type ServerPatience,
  type ServerTls,
  tlsComplaint,
  tlsFields,
} from "@patchbay/core";

/** The configuration of redis. */
export interface RedisConfig extends ServerTls, ServerPatience {
  /** Where the server is: `redis://user:password@host:port/database`, or `rediss://` for TLS. */
  readonly url?: string;
  /** The server's host; default 127.0.0.1. */
  readonly host?: string;
  /** The server's port; default 6379. */
  readonly port?: number;
  /** The server's Unix socket, instead of host and port. */
  readonly path?: string;
  /** Nodes of a cluster, `host:port`; those that are not named are found. */
  readonly cluster: readonly string[];
  /** Sentinels, `host:port`; they tell where the primary is. */
  readonly sentinels: readonly string[];
  /** The name under which the sentinels know the primary. */
  readonly sentinelName: string;
  /** The password of the sentinels. */
  readonly sentinelPassword?: string;
  /** The ACL user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** The database's number; not in a cluster. */
  readonly db: number;
  /** Whether the connection is encrypted. */
  readonly tls: boolean;
  /** What every key and channel begins with. */
  readonly prefix: string;
  /** The codec for contracts that name none. */
  readonly codec: string;
  /** What happens to calls while the connection is lost: `fail` at once, or `wait`. */
  readonly whenLost: "fail" | "wait";
  /** Addresses whose shouts go through Streams, at least once, instead of pub/sub. */
  readonly streams: readonly string[];
  /** The consumer group of this bay's listeners of Streams, kept when it closes. */
  readonly group?: string;
  /** The most entries that a Stream of shouts keeps. */
  readonly maxLength: number;
  /** How long a Stream of shouts keeps an entry, in milliseconds; 0: for ever. */
  readonly maxAgeMs: number;
  /** After this time another consumer of the group takes over what one holds, in milliseconds. */
  readonly claimIdleMs: number;
  /** Whether the channel of a shout tells origin and number. */
  readonly shoutIds: boolean;
  /** Whether shouts go over sharded pub/sub; only in a cluster. */
  readonly sharded: boolean;
  /** How long the last value of a speaker that retains is kept, in milliseconds. */
  readonly retainedMs: number;
  /** The most connections of this bay. */
  readonly maxConnections: number;
  /** For how long a bay may be silent before it counts as gone, in milliseconds. */
  readonly leaseMs: number;
  /** For how long a bay may be disconnected before it counts as dead, in milliseconds. */
  readonly deathMs: number;
  /** The largest message, in bytes; default: the bay's. */
  readonly maxMessageBytes?: number;
  /** The most bytes that wait to be sent. */
  readonly maxQueueBytes: number;
}

/** Redis takes no larger string (`proto-max-bulk-len`). */
export const MAX_PAYLOAD_BYTES = 512 * 1024 * 1024;

/**
 * The table of the configuration.
 *
 * @param streams The addresses that go through Streams if the user says nothing.
 */
export function fields(streams: readonly string[]): ConfigFields {
  return {
    url: { kind: "string", description: "`redis://user:password@host:port/db`; `rediss://`: TLS" },
    host: { kind: "string", description: "the server's host; default 127.0.0.1" },
    port: { kind: "integer", min: 1, max: 65_535, description: "its port; default 6379" },
    path: { kind: "string", description: "the server's Unix socket, instead of host and port" },
    cluster: {
      kind: "strings",
      description: "nodes of a cluster, `host:port`; the others are found",
      default: [],
    },
    sentinels: { kind: "strings", description: "sentinels, `host:port`", default: [] },
    sentinelName: {
      kind: "string",
      description: "the name under which the sentinels know the primary",
      default: "mymaster",
    },
    sentinelPassword: { kind: "string", description: "the password of the sentinels" },
    username: { kind: "string", description: "the ACL user" },
    password: { kind: "string", description: "the password" },
    db: {
      kind: "integer",
      min: 0,
      description: "the database's number; not in a cluster; pub/sub knows no databases",
      default: 0,
    },
    tls: { kind: "boolean", description: "encrypt the connection", default: false },
    ...tlsFields("server"),
    prefix: {
      kind: "string",
      description: "what every key and channel begins with",
      default: "patchbay",
    },
    codec: {
      kind: "string",
      oneOf: ["json", "msgpack"],
      description: "codec for contracts that name none; bytes and bigint go as MessagePack",
      default: "json",
    },
    whenLost: {
      kind: "string",
      oneOf: ["fail", "wait"],
      description:
        "calls while the connection is lost `fail` at once, or `wait` for their deadline",
      default: "fail",
    },
    streams: {
      kind: "strings",
      description: "addresses whose shouts go through Streams: at least once, with headers",
      default: streams,
    },
    group: {
      kind: "string",
      description: "consumer group of this bay's listeners of Streams; it is kept at close",
    },
    maxLength: {
      kind: "integer",
      min: 1,
      description: "most entries of a Stream of shouts; older ones are trimmed",
      default: 100_000,
    },
    maxAgeMs: {
      kind: "integer",
      min: 0,
      description: "how long a Stream of shouts keeps an entry, in ms, instead; 0: maxLength alone",
      default: 0,
    },
    claimIdleMs: {
      kind: "integer",
      min: 10,
      description: "another consumer of the group takes over what one has held so long, in ms",
      default: 60_000,
    },
    shoutIds: {
      kind: "boolean",
      description: "a shout's channel tells origin and number: `…:shout:arm/pose:<bay>:<n>:j`",
      default: true,
    },
    sharded: {
      kind: "boolean",
      description: "shout over sharded pub/sub; in a cluster only, and without patterns",
      default: false,
    },
    retainedMs: {
      kind: "integer",
      min: 1,
      description: "how long the last value of a speaker that retains is kept, in ms",
      default: 86_400_000,
    },
    maxConnections: {
      kind: "integer",
      min: 4,
      description: "most connections of this bay: made when needed, kept for the next one",
      default: 50,
    },
    ...patienceFields,
    leaseMs: {
      kind: "integer",
      min: 100,
      description: "for how long a bay may be silent before it counts as gone, in ms",
      default: 15_000,
    },
    deathMs: {
      kind: "integer",
      min: 50,
      description: "for how long a bay may be disconnected before it counts as dead, in ms",
      default: 1000,
    },
    maxMessageBytes: {
      kind: "integer",
      min: 1,
      max: MAX_PAYLOAD_BYTES,
      description: "largest message, in bytes; default: the bay's, 10 MiB",
    },
    maxQueueBytes: {
      kind: "integer",
      min: 65_536,
      description: "most bytes that wait to be sent",
      default: 64 * 1024 * 1024,
    },
  };
}

/** A host and its port. */
export interface HostPort {
  /** The host. */
  readonly host: string;
  /** The port. */
  readonly port: number;
}

/**
 * Reads `host:port`; the port is 6379 if it is left out.
 *
 * @param text What the user wrote.
 */
export function readHostPort(text: string): HostPort | undefined {
  const parsed = URL.parse(`redis://${text}`);
  if (parsed === null || parsed.hostname === "" || parsed.pathname.length > 1) return undefined;
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: parsed.port === "" ? 6379 : Number(parsed.port),
  };
}

/** A configuration whose URL was read. */
export type ResolvedConfig = RedisConfig & HostPort;

/** What a URL says is put into the other fields, and host and port are filled in. */
export function withUrl(given: RedisConfig): ResolvedConfig {
  const { host = "127.0.0.1", port = 6379 } = given;
  const config = { ...given, host, port };
  const url = readServerUrl(config.url ?? "");
  if (url === undefined) return config;
  return {
    ...config,
    host: url.host ?? config.host,
    port: url.port ?? config.port,
    username: url.username ?? config.username,
    password: url.password ?? config.password,
    db: url.path === undefined ? config.db : Number(url.path.slice(1)),
    tls: config.tls || url.scheme === "rediss",
  };
}

/** Where the server is, in words. */
export function whereOf(config: ResolvedConfig): string {
  if (config.cluster.length > 0) return `the cluster of ${config.cluster.join(", ")}`;
  if (config.sentinels.length > 0) {
    return `${config.sentinelName} (sentinels ${config.sentinels.join(", ")})`;
  }
  return config.path ?? `${config.host}:${config.port}`;
}

/**
 * What is wrong with a configuration, if anything is.
 *
 * @param given The configuration.
 */
export function complaint(given: RedisConfig): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  const { url, host, port, path, cluster, sentinels } = given;
  if ((url ?? host ?? port ?? path ?? cluster[0] ?? sentinels[0]) === undefined) {
    // A bay that happens to find the plugin does not join whatever server runs on this host.
    return no(
      "it is not configured: neither `url` nor `host`, `port`, `path`, `cluster` or `sentinels`",
      'set config.redis.url to "redis://host:port"',
    );
  }
  if (given.url !== undefined) {
    const url = readServerUrl(given.url);
    if (url === undefined || !/^rediss?$/.test(url.scheme) || !/^\/?\d*$/.test(url.path ?? "")) {
      // The URL may hold a password: it is not repeated.
      return no(
        "`url` is none of Redis",
        "write redis://user:password@host:port/database, and % in a password as %25",
      );
    }
  }
  const config = withUrl(given);
  for (const [key, hosts] of Object.entries({ cluster: config.cluster, ...sentinelsOf(config) })) {
    const bad = hosts.find((host) => readHostPort(host) === undefined);
    if (bad !== undefined) return no(`\`${key}\`: ${JSON.stringify(bad)}`, "write host:port");
  }
  const clustered = config.cluster.length > 0;
  if (clustered && (config.sentinels.length > 0 || config.path !== undefined)) {
    return no("a cluster has neither sentinels nor a socket", "give one of the three");
  }
  if (clustered && config.db !== 0) {
    return no(`a cluster has no database ${config.db}`, "leave config.redis.db out");
  }
  if (config.sharded && !clustered) {
    return no("sharded pub/sub needs a cluster", "set config.redis.cluster, or sharded: false");
  }
  const insecure = tlsComplaint(config, config.tls, "set tls: true");
  if (insecure !== undefined) return insecure;
  if (!/^[\w.-]+(:[\w.-]+)*$/.test(config.prefix)) {
    return no(`\`prefix\` ${JSON.stringify(config.prefix)}`, "use letters, digits, `_.-:`");
  }
  for (const pattern of config.streams) {
    try {
      checkPattern(pattern);
    } catch (error) {
      return no(`\`streams\`: ${(error as Error).message}`, 'write patterns such as "arm/**"');
    }
  }
  return undefined;
}

function sentinelsOf(config: RedisConfig): { readonly sentinels: readonly string[] } {
  return { sentinels: config.sentinels };
}

/** Whether shouts at an address go through Streams. */
export function isLogged(config: RedisConfig, address: string): boolean {
  return config.streams.some((pattern) => matches(pattern, address));
}
