/**
 * Dials with `npm:ws`: it agrees on permessage-deflate, and can be told not to verify certificates.
 * Loaded only where one of these is wanted.
 *
 * @module
 */

// @ts-types="./ws_library.d.ts"
import { WebSocket as WsSocket } from "npm:ws@8.23.0";
import type { DenoDialOptions } from "./deno_dial.ts";
import type { Dialled } from "./dial.ts";
import { readPem } from "./pem.ts";
import type { AnySocket } from "./socket_flow.ts";

/**
 * Begins to connect.
 *
 * @param url Where.
 * @param protocols The sub-protocols to offer.
 * @param options What is sent and trusted.
 */
export async function dialNode(
  url: string,
  protocols: string[],
  options: DenoDialOptions,
): Promise<Dialled> {
  const { tls, headers, perMessageDeflate, compressionThreshold: threshold } = options;
  const socket = new WsSocket(url, protocols, {
    headers: { ...headers },
    ca: await readPem(tls?.caFile),
    cert: await readPem(tls?.certFile),
    key: await readPem(tls?.keyFile),
    rejectUnauthorized: tls?.unsafelySkipVerification !== true,
    perMessageDeflate: perMessageDeflate && { threshold },
  });
  // The library throws what nobody listens to.
  socket.on("error", () => {});
  return { socket: socket as unknown as AnySocket, keepsBytes: true };
}
