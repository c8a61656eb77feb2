/**
 * How a wire reaches a server that others run, such as a broker: what its URL says, how it is
 * encrypted, and how long is waited for it.
 *
 * @module
 */

import type { ConfigFields } from "./config.ts";
import { PatchbayError } from "./errors.ts";
import type { Availability } from "./plugin.ts";

/** How the connection to a server is encrypted. */
export interface ServerTls {
  /** The certificate authority: a file, or PEM text. */
  readonly ca?: string;
  /** This client's certificate: a file, or PEM text. */
  readonly cert?: string;
  /** The key of the certificate: a file, or PEM text. */
  readonly key?: string;
  /** The name that the server's certificate must have; default: the host. */
  readonly serverName?: string;
  /** Accept any certificate. Whoever is between can then read and change everything. */
  readonly insecureSkipTlsVerification: boolean;
}

/** How long a server is waited for. */
export interface ServerPatience {
  /** How long connecting may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** The first pause before a reconnection, in milliseconds. */
  readonly reconnectMinMs: number;
  /** The longest pause before a reconnection, in milliseconds. */
  readonly reconnectMaxMs: number;
}

/**
 * The part of a configuration's table that is about {@link ServerTls}.
 *
 * @param server What the server is called: `broker`.
 */
export function tlsFields(server: string): ConfigFields {
  return {
    ca: { kind: "string", description: "the certificate authority: a file, or PEM text" },
    cert: { kind: "string", description: "this client's certificate: a file, or PEM text" },
    key: { kind: "string", description: "its key: a file, or PEM text" },
    serverName: {
      kind: "string",
      description: `the name in the ${server}'s certificate; default: the host`,
    },
    insecureSkipTlsVerification: {
      kind: "boolean",
      description: "accept any certificate: whoever is between can read and change everything",
      default: false,
    },
  };
}

/** The part of a configuration's table that is about {@link ServerPatience}. */
export const patienceFields: ConfigFields = {
  connectTimeoutMs: {
    kind: "integer",
    min: 1,
    description: "how long connecting may take, in ms",
    default: 3000,
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
};

/** What a server's URL says; what it leaves out is `undefined`. */
export interface ServerUrl {
  /** Its scheme, without the colon. */
  readonly scheme: string;
  /** The host; an IPv6 address without brackets. */
  readonly host: string | undefined;
  /** The port. */
  readonly port: number | undefined;
  /** The user. */
  readonly username: string | undefined;
  /** The password. */
  readonly password: string | undefined;
  /** The path with its query; `undefined`: none, or `/`. */
  readonly path: string | undefined;
}

/**
 * Reads a server's URL. Never throws, and never repeats what it holds: that may be a password.
 *
 * @param text What the user wrote.
 * @returns `undefined`: it is no URL, or its user or password is not spelled as one is in a URL.
 */
export function readServerUrl(text: string): ServerUrl | undefined {
  const url = URL.parse(text);
  if (url === null) return undefined;
  const { protocol, hostname, port, pathname, search } = url;
  try {
    return {
      scheme: protocol.slice(0, -1),
      host: filled(hostname.replace(/^\[(.*)\]$/, "$1")),
      port: port === "" ? undefined : Number(port),
      username: filled(decodeURIComponent(url.username)),
      password: filled(decodeURIComponent(url.password)),
      path: pathname === "" || pathname === "/" ? undefined : pathname + search,
    };
  } catch {
    // A `%` that stands for itself is written `%25`.
    return undefined;
  }
}

function filled(text: string): string | undefined {
  return text === "" ? undefined : text;
}

/**
 * What is wrong with how a connection is to be encrypted, if anything is.
 *
 * @param tls The configuration.
 * @param encrypted Whether the connection is.
 * @param remedy What to do to encrypt it.
 */
export function tlsComplaint(
  tls: ServerTls,
  encrypted: boolean,
  remedy: string,
): Availability | undefined {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    const reason = "a client certificate needs `cert` and `key`";
    return { available: false, reason, remedy: "set both, or neither" };
  }
  if (encrypted || (tls.ca ?? tls.cert ?? tls.serverName) === undefined) return undefined;
  const reason = "certificates are given, but the connection is not encrypted";
  return { available: false, reason, remedy };
}

/** What a TLS connection of Node.js is made with. */
export interface TlsOptions {
  /** The certificate authority, as PEM. */
  readonly ca: string | undefined;
  /** This client's certificate, as PEM. */
  readonly cert: string | undefined;
  /** Its key, as PEM. */
  readonly key: string | undefined;
  /** Whether the server's certificate is verified. */
  readonly rejectUnauthorized: boolean;
  /** The name in it. */
  readonly servername?: string;
}

/**
 * Reads the certificates of an encrypted connection. Warns if nothing is verified.
 *
 * @param wire The plugin's name.
 * @param where The server, in words.
 * @param tls The configuration.
 * @param readText Reads a file: `Deno.readTextFile`.
 * @throws {PatchbayError} `unavailable`: a file cannot be read.
 */
export async function readTls(
  wire: string,
  where: string,
  tls: ServerTls,
  readText: (file: string) => Promise<string>,
): Promise<TlsOptions> {
  const { insecureSkipTlsVerification, serverName } = tls;
  if (insecureSkipTlsVerification) {
    console.warn(
      `patchbay: ${wire}: the certificate of ${where} is not verified ` +
        `(config.${wire}.insecureSkipTlsVerification): whoever is between can read and change all`,
    );
  }
  const pem = async (what: "ca" | "cert" | "key"): Promise<string | undefined> => {
    const text = tls[what];
    if (text === undefined || text.includes("-----BEGIN")) return text;
    try {
      return await readText(text);
    } catch (error) {
      throw new PatchbayError(
        "unavailable",
        `config.${wire}.${what}: ${(error as Error).message}`,
        {
          retryable: false,
          remedy: "give a file that can be read, or the PEM text itself",
          cause: error,
        },
      );
    }
  };
  return {
    ca: await pem("ca"),
    cert: await pem("cert"),
    key: await pem("key"),
    rejectUnauthorized: !insecureSkipTlsVerification,
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}
