/**
 * What a listener of HTTP is asked for, and what it gives.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";
import type { Visit } from "./exchange.ts";
import { problemResponse } from "./statuses.ts";

/** The certificate of a server, and whose clients' it believes. */
export interface ServerTls {
  /** The certificate chain, in PEM. */
  readonly cert: string;
  /** Its key, in PEM. */
  readonly key: string;
  /** The authorities whose client certificates are believed, in PEM; with them one is required. */
  readonly clientCa?: string;
}

/** Where to listen. */
export type Place =
  | {
    /** The interface. */
    readonly hostname: string;
    /** The port; 0 takes a free one. */
    readonly port: number;
  }
  | {
    /** The path of a Unix socket. */
    readonly path: string;
    /** The mode it is given; absent: what the umask leaves. */
    readonly mode?: number;
  };

/** How to listen. */
export interface ServingOptions {
  /** Where. */
  readonly place: Place;
  /** With TLS, if at all. */
  readonly tls: ServerTls | undefined;
  /** The most connections at once. */
  readonly maxConnections: number;
  /** The most bytes of a request's header section. */
  readonly maxHeaderBytes: number;
  /** How long a request's header section may take, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** How long a whole request may take to arrive, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** How long an idle connection is kept, in milliseconds. */
  readonly keepAliveTimeoutMs: number;
  /** How long nothing of an answer may be read by its client, in milliseconds. */
  readonly answerTimeoutMs: number;
  /** Answers a request. Never throws. */
  readonly handler: (request: Request, visit: Visit) => Response | Promise<Response>;
  /** Called with the status of what the listener itself refuses. */
  readonly onRefusal: (status: number) => void;
  /** Called with what nobody awaits. */
  readonly onError: (error: unknown) => void;
  /** Called with the kind of what a client has done to this server, and what to say of it. */
  readonly onAbuse: (kind: string, what: (untold: number) => PatchbayError) => void;
  /** Called when connections came or went, with how many there are now. */
  readonly onConnections: (count: number) => void;
}

/** Something that listens. */
export interface Serving {
  /** Where others find it: `http://127.0.0.1:4000`, `unix:/run/x.sock`. */
  readonly url: string;
  /** Listens no longer, and closes what is open after `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** Makes a listener. */
export type Serve = (options: ServingOptions) => Promise<Serving>;

/**
 * The URL of what listens.
 *
 * @param place Where it was asked to listen.
 * @param port The port it has got.
 * @param secure Whether it speaks TLS.
 */
export function urlOf(place: Place, port: number, secure: boolean): string {
  if ("path" in place) return `unix:${place.path}`;
  // Nobody can dial "every interface".
  const { hostname } = place;
  const host = hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname;
  return `${secure ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * What a refusal to listen means.
 *
 * @param error What was thrown.
 * @param place Where.
 */
export function cannotListen(error: unknown, place: Place): PatchbayError {
  const where = "path" in place ? place.path : `${place.hostname}:${place.port}`;
  const flags = "path" in place
    ? [`--allow-net=unix:${where}`, `--allow-read=${where}`, `--allow-write=${where}`]
    : [`--allow-net=${where}`];
  const known = fromNotCapable(error, `nothing can listen on ${where}`, flags);
  if (known instanceof PatchbayError) return known;
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("unavailable", `nothing can listen on ${where}: ${message}`, {
    remedy: "choose another place, or stop the program that has it",
    cause: error,
  });
}

/**
 * The answer to one more than is allowed.
 *
 * @param maxConnections How many are.
 */
export function full(maxConnections: number): Response {
  const error = new PatchbayError("overloaded", `${maxConnections} connections are open already`, {
    details: { maxConnections },
    remedy: "try again later, or raise maxConnections",
  });
  return problemResponse(error, 503, { connection: "close" });
}
