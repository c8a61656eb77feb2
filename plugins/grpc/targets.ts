/**
 * Where servers are: `grpc://host:port`, `grpcs://host:port`, `unix:/path`, alone or as a list, and
 * what grpc-js calls them.
 *
 * @module
 */

import { experimental } from "npm:@grpc/grpc-js@1.14.7";
import { isLoopback, PatchbayError } from "@patchbay/core";

/** One place. */
export type Target =
  | {
    /** The path of a Unix socket. */
    readonly path: string;
  }
  | {
    /** A name or number. */
    readonly host: string;
    /** The port. */
    readonly port: number;
    /** Whether it speaks TLS. */
    readonly secure: boolean;
  };

/** The scheme of a list: several servers behind one channel. */
const LIST = "patchbay-list";

/**
 * Reads where a server is.
 *
 * @param url Such as `grpc://127.0.0.1:50051`, `grpcs://robot:443`, `unix:/run/arm.grpc.sock`.
 * @throws {PatchbayError} `invalid`.
 */
export function readTarget(url: string): Target {
  const unix = /^unix:(?:\/\/(?=\/))?(\/.+)$/.exec(url);
  if (unix !== null) return { path: unix[1] };
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const scheme = parsed?.protocol;
  const port = Number(parsed?.port ?? "");
  if (
    (scheme === "grpc:" || scheme === "grpcs:") && parsed !== undefined && parsed.hostname !== "" &&
    port > 0 && /^\/?$/.test(parsed.pathname)
  ) {
    const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
    return { host, port, secure: scheme === "grpcs:" };
  }
  throw new PatchbayError("invalid", `${JSON.stringify(url)} is no place of a gRPC server`, {
    transport: "grpc",
    remedy: "write grpc://host:port, grpcs://host:port, or unix:/path/of.sock",
  });
}

/** Where a server is, as a text that {@link readTarget} reads. */
export function urlOf(target: Target): string {
  if ("path" in target) return `unix:${target.path}`;
  const { host, port, secure } = target;
  return `${secure ? "grpcs" : "grpc"}://${authority(host, port)}`;
}

/** A host and a port, as URLs and Deno's permissions have them. */
export function authority(host: string, port: number | undefined): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether a server is on this host. */
export function isLocal(target: Target): boolean {
  return "path" in target || isLoopback(target.host);
}

/**
 * What grpc-js calls one place or several.
 *
 * @param targets The places, at least one.
 */
export function channelTarget(targets: readonly Target[]): string {
  if (targets.length > 1) {
    experimental.registerResolver(LIST, ListResolver as never);
    return `${LIST}:${encodeURIComponent(JSON.stringify(targets))}`;
  }
  const [target] = targets;
  if ("path" in target) return `unix:${target.path}`;
  const { host, port } = target;
  return `dns:${authority(host, port)}`;
}

interface Uri {
  readonly path: string;
}

type Listener = (endpoints: unknown, attributes: unknown, config: null, note: string) => unknown;

/** Gives a channel several places, which grpc-js itself can only with numbers of TCP. */
class ListResolver {
  readonly #endpoints: readonly unknown[];
  readonly #listener: Listener;
  #told = false;

  constructor(uri: Uri, listener: Listener) {
    this.#listener = listener;
    this.#endpoints = targetsOf(uri).map((target) => ({
      addresses: [
        "path" in target ? { path: target.path } : { host: target.host, port: target.port },
      ],
    }));
  }

  updateResolution(): void {
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      if (this.#told) this.#listener(experimental.statusOrFromValue(this.#endpoints), {}, null, "");
    });
  }

  destroy(): void {
    this.#told = false;
  }

  static getDefaultAuthority(uri: Uri): string {
    const named = targetsOf(uri).find((target) => "host" in target);
    return named !== undefined && "host" in named ? `${named.host}:${named.port}` : "localhost";
  }
}

function targetsOf(uri: Uri): readonly Target[] {
  return JSON.parse(decodeURIComponent(uri.path)) as readonly Target[];
}
