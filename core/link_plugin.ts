/**
 * What a link plugin supplies: how to listen and how to dial. Core makes a transport of it.
 *
 * @module
 */

import { type ConfigFields, configSchema } from "./config.ts";
import type { PatchbayError } from "./errors.ts";
import type { Link } from "./link.ts";

/** How a link plugin listens and dials. */
export interface LinkDriver {
  /**
   * Begins to listen.
   *
   * @param accept Called with each link that a peer has dialled.
   */
  listen(accept: (link: Link) => void): Promise<LinkListener>;
  /**
   * Dials a peer.
   *
   * @param where What its {@link LinkListener.where} said, as the directory tells it.
   * @param signal Gives up.
   * @throws {PatchbayError} `closed` or `unavailable`: nobody listens there; `forbidden`.
   */
  dial(where: string, signal: AbortSignal): Promise<Link>;
  /**
   * Why no new link can be made now, whoever listens; `undefined` if one can. Asked before an address
   * is bound whose server has no link yet, so that another wire can be taken. A wire that finds out
   * only by dialling lacks it.
   */
  obstacle?(): PatchbayError | undefined;
  /** Frees what listening and dialling share. */
  close?(): Promise<void>;
}

/** Something that listens. */
export interface LinkListener {
  /** Where peers dial, in the wire's own form: a path, a URL. Goes into the directory. */
  readonly where: string;
  /** Listens no longer. Idempotent. Links that were accepted live on. */
  close(): Promise<void>;
}

/** The configuration that all link plugins share. */
export interface LinkConfig {
  /** The codec for contracts that name none. */
  readonly codec: string;
  /** The compressor to offer. */
  readonly compression: "none" | "deflate";
  /** Bodies from this size on are compressed, in bytes. */
  readonly compressionThreshold: number;
  /** The largest message, in bytes; `undefined`: the bay's. */
  readonly maxMessageBytes?: number;
  /** What this side takes before it has returned credit, in bytes. */
  readonly windowBytes: number;
  /** The most bytes that wait to be sent to one peer. */
  readonly maxQueueBytes: number;
  /** How long dialling and the handshake may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** The first pause before a reconnection, in milliseconds; doubled each time, with full jitter. */
  readonly reconnectMinMs: number;
  /** The longest pause before a reconnection, in milliseconds. */
  readonly reconnectMaxMs: number;
  /** How often to say that one is alive, in milliseconds; 0: only where the wire needs it. */
  readonly heartbeatMs: number;
  /** How many peers may be connected at once. */
  readonly maxConnections: number;
}

/** The fields of {@link LinkConfig}, to be spread into a plugin's own table. */
export const LINK_FIELDS: ConfigFields = {
  codec: {
    kind: "string",
    description: "codec for contracts that name none: `msgpack`, `json`",
    default: "msgpack",
  },
  compression: {
    kind: "string",
    oneOf: ["none", "deflate"],
    description: "compressor to offer to peers",
    default: "none",
  },
  compressionThreshold: {
    kind: "integer",
    min: 0,
    description: "bodies from this size on are compressed, in bytes",
    default: 4096,
  },
  maxMessageBytes: {
    kind: "integer",
    min: 1,
    max: 1024 * 1024 * 1024,
    description: "largest message, in bytes; default: the bay's, 10 MiB",
  },
  windowBytes: {
    kind: "integer",
    min: 64 * 1024,
    description: "bytes taken before credit is returned: what an urgent message may wait behind",
    default: 64 * 1024,
  },
  maxQueueBytes: {
    kind: "integer",
    min: 64 * 1024,
    description: "most bytes that wait to be sent to one peer",
    default: 64 * 1024 * 1024,
  },
  connectTimeoutMs: {
    kind: "integer",
    min: 1,
    description: "how long dialling and the handshake may take, in ms",
    default: 5000,
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
  heartbeatMs: {
    kind: "integer",
    min: 0,
    description: "how often to say that one is alive, in ms; 0: only where the wire needs it",
    default: 0,
  },
  maxConnections: {
    kind: "integer",
    min: 1,
    description: "how many peers may be connected at once",
    default: 1024,
  },
};

/** A schema for plugins that need no more than {@link LinkConfig}. */
export const linkConfig: ReturnType<typeof configSchema<LinkConfig>> = configSchema<LinkConfig>(
  LINK_FIELDS,
);
