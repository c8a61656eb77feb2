/**
 * What a listener is told and gives, without the server behind it: a page needs the types, too.
 *
 * @module
 */

import type { Door } from "./admission.ts";

/** How a listener is made. */
export interface ListenerOptions {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; 0 takes a free one. */
  readonly port: number;
  /** The server's certificate and key, as PEM files: it listens with TLS (`wss://`). */
  readonly certFile?: string;
  /** As {@link certFile}. */
  readonly keyFile?: string;
  /**
   * Clients must show a certificate that one of these, a PEM file, has signed. It is served by
   * `npm:ws` then, as it is with `perMessageDeflate`: Deno's TLS cannot ask for certificates.
   */
  readonly clientCaFile?: string;
  /** Whether to agree on permessage-deflate (RFC 7692) with clients that offer it. */
  readonly perMessageDeflate?: boolean;
  /** Messages from this size on are compressed by it, in bytes; default 4096. */
  readonly compressionThreshold?: number;
  /** How long a handshake may take before it is refused, in milliseconds; default 10,000. */
  readonly handshakeMs?: number;
  /** The largest message on the socket, in bytes; default 64 MiB. */
  readonly maxPayloadBytes?: number;
}

/** A listener that bays can share. */
export interface Listening {
  /** Where it listens: `ws://host:port` or `wss://host:port`. */
  readonly url: string;
  /** The interface. */
  readonly hostname: string;
  /** Whether clients must show a certificate. */
  readonly asksForCertificates: boolean;
  /** @ignore Adds a bay; what it returns takes it out again. */
  add(door: Door): () => void;
  /** Listens no longer. Idempotent. */
  close(): Promise<void>;
}
