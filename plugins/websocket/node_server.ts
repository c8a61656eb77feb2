/**
 * The listening side over `npm:ws`: what Deno's own server cannot do. It asks clients for
 * certificates, closes connections that never finish their handshake, and agrees on
 * permessage-deflate. Loaded only where one of these is wanted.
 *
 * @module
 */

import { createServer, type IncomingMessage, STATUS_CODES } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
// @ts-types="./ws_library.d.ts"
import { type WebSocket as WsSocket, WebSocketServer } from "npm:ws@8.23.0";
import { isLoopback } from "@patchbay/core";
import {
  type Door,
  type Doors,
  examine,
  isStranger,
  LinkMaker,
  type Refusal,
} from "./admission.ts";
import { EARLY_BYTES, SUBPROTOCOL } from "./link.ts";
import type { ListenerSetup, RunningServer } from "./listener.ts";
import type { AnySocket } from "./socket_flow.ts";

/** How long the header of a request, or the handshake of TLS, may take by default, in ms. */
const HANDSHAKE_MS = 10_000;
/** The largest message, where the listener's options do not say, in bytes. */
const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024;

function answer(socket: Duplex, { status, text, headers }: Refusal): void {
  const body = `${text}\n`;
  const all = {
    ...headers,
    "connection": "close",
    "content-type": "text/plain",
    "content-length": String(new TextEncoder().encode(body).length),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
}

function headersOf(request: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  return headers;
}

/** Pings a client that is silent, and ends the connection of one that does not answer. */
function keepAlive(socket: WsSocket, { pingIntervalMs, pingTimeoutMs }: Door): void {
  let heardMs = performance.now();
  const heard = () => heardMs = performance.now();
  socket.on("pong", heard);
  socket.on("message", heard);
  const timer = setInterval(() => {
    if (performance.now() - heardMs > pingTimeoutMs) socket.terminate();
    else socket.ping();
  }, pingIntervalMs);
  socket.on("close", () => clearInterval(timer));
}

/**
 * Reads of a client that has not been let in a little only: the rest stays where it is, and the
 * session's deadline for the handshake ends what comes to nothing.
 *
 * @returns Lets it in.
 */
function holdBack(socket: Socket, opened: WsSocket): () => void {
  let bytes = 0;
  const count = (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes >= EARLY_BYTES) opened.pause();
  };
  socket.on("data", count);
  return () => {
    socket.off("data", count);
    if (opened.isPaused) opened.resume();
  };
}

/**
 * Listens with `npm:ws`.
 *
 * @param setup Where, and how.
 * @param doors The bays.
 */
export async function serveNode(setup: ListenerSetup, doors: Doors): Promise<RunningServer> {
  const { hostname, port, cert, key, clientCa, compressionThreshold = 4096 } = setup;
  const { handshakeMs = HANDSHAKE_MS } = setup;
  const limits = {
    headersTimeout: handshakeMs,
    requestTimeout: handshakeMs,
    connectionsCheckingInterval: Math.min(1000, handshakeMs),
  };
  const server = cert === undefined ? createServer(limits) : createTlsServer({
    ...limits,
    cert,
    key,
    ca: clientCa,
    requestCert: clientCa !== undefined,
    rejectUnauthorized: clientCa !== undefined,
    handshakeTimeout: handshakeMs,
  });
  const open = new Set<Duplex>();
  const makers = new WeakMap<Door, LinkMaker>();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: setup.maxPayloadBytes ?? MAX_PAYLOAD_BYTES,
    perMessageDeflate: setup.perMessageDeflate === true && {
      threshold: compressionThreshold,
      // A context of each direction would cost 300 KiB a client.
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
    },
    handleProtocols: (offered: Set<string>, request: Admitted) =>
      request.protocol ?? [...offered][0],
  });
  sockets.on("wsClientError", () => doors.refused(undefined, 400));
  // Before the request was understood: no certificate, garbage, a header that never ended.
  server.on("tlsClientError", () => doors.refused(undefined, 401));
  server.on("clientError", (_error: Error & { code?: string }, socket: Duplex) => {
    const slow = _error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    doors.refused(undefined, slow ? 408 : 400);
    if (!socket.writable) return void socket.destroy();
    answer(socket, slow ? { status: 408, text: "too slow" } : { status: 400, text: "no HTTP" });
  });
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  const look = async (request: IncomingMessage, socket: Socket) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const door = doors.at(url.pathname);
    const certificate = clientCa === undefined
      ? undefined
      : (socket as TLSSocket).getPeerCertificate?.()?.subject?.CN;
    const verdict = await examine({
      path: url.pathname,
      headers: headersOf(request),
      remoteAddress: socket.remoteAddress ?? "",
      certificateName: Array.isArray(certificate) ? certificate[0] : certificate,
    }, door);
    if ("status" in verdict) doors.refused(door, verdict.status);
    return { door, verdict };
  };
  server.on("request", async (request, response) => {
    const { verdict } = await look(request, request.socket);
    if (!("status" in verdict)) return response.writeHead(400).end();
    const headers = { connection: "close", ...verdict.headers };
    response.writeHead(verdict.status, headers).end(`${verdict.text}\n`);
  });
  server.on("upgrade", async (request: Admitted, socket: Socket, head) => {
    // It may break while it is looked at.
    socket.on("error", () => socket.destroy());
    const { door, verdict } = await look(request, socket);
    if ("status" in verdict || door === undefined) {
      return answer(socket, "status" in verdict ? verdict : { status: 503, text: "closed" });
    }
    request.protocol = verdict.protocol;
    // The library bounds what a message unfolds to, but not by whose it is: 64 KiB of a stranger would
    // become the largest message that there may be, before its hello is looked at.
    if (isStranger(verdict, door)) delete request.headers["sec-websocket-extensions"];
    const local = isLoopback(socket.remoteAddress ?? "");
    sockets.handleUpgrade(request, socket, head, (opened: WsSocket) => {
      let maker = makers.get(door);
      if (maker === undefined) makers.set(door, maker = new LinkMaker(door, true));
      opened.on("error", () => {});
      if (verdict.protocol !== SUBPROTOCOL) keepAlive(opened, door);
      maker.take(opened as unknown as AnySocket, verdict, local, holdBack(socket, opened));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise<void>((resolve) => {
        sockets.close();
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of open) if (sockets.clients.size === 0) socket.destroy();
      }),
  };
}

/** A request, with the sub-protocol that was chosen for it. */
type Admitted = IncomingMessage & { protocol?: string };
