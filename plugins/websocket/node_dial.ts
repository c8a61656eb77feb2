/**
 * Dials with `npm:ws`: it agrees on permessage-deflate, and can be told not to verify certificates.
 * Loaded only where one of these is wanted.
 *
 * @module
 */

// @ts-types="./ws_library.d.ts"
import { WebSocket as WsSocket } from "npm:ws@8.23.0";
import type { DenoDialOptions } from "./deno_dial.ts";
import { type DialledLink, openSocket } from "./dial.ts";
import { MAX_WIRE_MESSAGE_BYTES, SUBPROTOCOL } from "./link.ts";
import { readPem } from "./pem.ts";
import type { AnySocket } from "./socket_flow.ts";

/**
 * Connects.
 *
 * @param url Where.
 * @param options What is sent and trusted.
 * @param signal Gives up.
 */
export async function dialNode(
  url: string,
  options: DenoDialOptions,
  signal: AbortSignal,
): Promise<DialledLink> {
  const { tls, headers, perMessageDeflate, compressionThreshold: threshold } = options;
  const files = [
    await readPem(tls?.caFile),
    await readPem(tls?.certFile),
    await readPem(tls?.keyFile),
  ];
  signal.throwIfAborted();
  const socket = new WsSocket(url, [SUBPROTOCOL], {
    headers: { ...headers },
    ca: files[0],
    cert: files[1],
    key: files[2],
    rejectUnauthorized: tls?.unsafelySkipVerification !== true,
    perMessageDeflate: perMessageDeflate && { threshold },
    maxPayload: MAX_WIRE_MESSAGE_BYTES,
  });
  // The library throws what nobody listens to.
  socket.on("error", () => {});
  return await openSocket(socket as unknown as AnySocket, url, signal, true);
}
