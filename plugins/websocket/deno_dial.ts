/**
 * How Deno dials: over a connection of its own, with headers, a certificate authority and a client
 * certificate; with `npm:ws` where permessage-deflate is wanted, or where certificates are not to be
 * verified.
 *
 * @module
 */

import { isLoopback, PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";
import type { TlsConfig } from "./config.ts";
import { type DialledLink, type Dialler, refused } from "./dial.ts";
import { SUBPROTOCOL } from "./link.ts";
import { needsNode } from "./needs_node.ts";
import { readPem } from "./pem.ts";
import { HandshakeRefused, upgrade } from "./wire_handshake.ts";
import { WireLink } from "./wire_link.ts";

/** What a dialler is made with. */
export interface DenoDialOptions {
  /** Sent with the handshake. */
  readonly headers: Readonly<Record<string, string>>;
  /** Certificates. */
  readonly tls: TlsConfig | undefined;
  /** Whether to offer permessage-deflate. */
  readonly perMessageDeflate: boolean;
  /** Messages from this size on are compressed by it, in bytes. */
  readonly compressionThreshold: number;
  /** How `npm:ws` dials: what `@patchbay/websocket/node` gives. */
  readonly npmWs?: DialNode;
}

/** How `npm:ws` dials. */
export type DialNode = (
  url: string,
  options: DenoDialOptions,
  signal: AbortSignal,
) => Promise<DialledLink>;

/** Dials with what Deno has. */
export class DenoDialler implements Dialler {
  readonly #options: DenoDialOptions;

  /** @param options What is sent and trusted. */
  constructor(options: DenoDialOptions) {
    this.#options = options;
  }

  /** As {@link Dialler.dial}. */
  async dial(url: string, signal: AbortSignal): Promise<DialledLink> {
    const { tls, headers, perMessageDeflate } = this.#options;
    signal.throwIfAborted();
    if (perMessageDeflate || tls?.unsafelySkipVerification === true) {
      const { npmWs } = this.#options;
      if (npmWs === undefined) throw needsNode("perMessageDeflate or unsafelySkipVerification");
      return await npmWs(url, this.#options, signal);
    }
    const target = new URL(url);
    let conn: Deno.Conn | undefined;
    const abort = () => conn?.close();
    try {
      conn = await connect(target, tls, (plain) => conn = plain, signal);
      signal.addEventListener("abort", abort, { once: true });
      signal.throwIfAborted();
      const { rest } = await upgrade(conn, target, [SUBPROTOCOL], headers);
      signal.throwIfAborted();
      return new WireLink(conn, rest, { local: isLoopback(target.hostname) });
    } catch (error) {
      shut(conn);
      signal.throwIfAborted();
      throw complaint(url, target, error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}

/** Connects, without Nagle's algorithm where Deno lets that be said. */
async function connect(
  { hostname: bracketed, port, protocol }: URL,
  tls: TlsConfig | undefined,
  begun: (conn: Deno.Conn) => void,
  signal: AbortSignal,
): Promise<Deno.Conn> {
  const hostname = bracketed.replace(/^\[|\]$/g, "");
  if (protocol === "ws:") {
    const conn = await dialTcp(hostname, Number(port || 80), signal);
    conn.setNoDelay();
    return conn;
  }
  const ca = await readPem(tls?.caFile);
  const caCerts = ca === undefined ? [] : [ca];
  const cert = await readPem(tls?.certFile);
  const key = await readPem(tls?.keyFile);
  const at = { hostname, port: Number(port || 443) };
  if (cert !== undefined && key !== undefined) {
    // Only this call takes a client certificate, and it has no setNoDelay().
    const conn = await Deno.connectTls({ ...at, caCerts, cert, key });
    begun(conn);
    await conn.handshake();
    return conn;
  }
  const plain = await dialTcp(hostname, at.port, signal);
  plain.setNoDelay();
  begun(plain);
  const conn = await Deno.startTls(plain, { hostname, caCerts });
  begun(conn);
  await conn.handshake();
  return conn;
}

/** A connection, or the signal's reason as soon as it is aborted. */
async function dialTcp(hostname: string, port: number, signal: AbortSignal): Promise<Deno.TcpConn> {
  const connecting = Deno.connect({ hostname, port });
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    // It may still come.
    connecting.then(shut, () => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function shut(conn: Deno.Conn | undefined): void {
  try {
    conn?.close();
  } catch {
    // The peer was faster.
  }
}

function complaint(url: string, target: URL, error: unknown): unknown {
  const known = fromNotCapable(error, `${url} cannot be dialled`, [`--allow-net=${target.host}`]);
  if (known instanceof PatchbayError) return known;
  if (error instanceof HandshakeRefused) return refused(url, error.message, error.status);
  return refused(url, error instanceof Error ? error.message : String(error), 0);
}
