/**
 * The guarded listener: `node:http`, which gives up on a request that does not arrive, limits
 * headers and connections, and can ask for client certificates. For every bind that strangers reach.
 *
 * @module
 */

import http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { isLoopback } from "@patchbay/core";
import { getRequestListener, type HttpBindings } from "npm:@hono/node-server@2.1.8";
import type { Visit } from "./exchange.ts";
import { cannotListen, full, type Serve, type Serving, urlOf } from "./serving.ts";
import { inPieces, UnreadWatch } from "./unread.ts";

/** How often the waiting connections are looked at, in milliseconds, at least and at most. */
const CHECK_MS = [50, 5_000] as const;

/** What a parser's complaint is answered with. */
function statusOfComplaint(error: NodeJS.ErrnoException & { rawPacket?: Uint8Array }): number {
  switch (error.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return 408;
    case "HPE_HEADER_OVERFLOW":
      return 431;
  }
  const first = error.rawPacket === undefined
    ? ""
    : new TextDecoder().decode(error.rawPacket.subarray(0, 8192)).split("\r\n", 1)[0];
  const version = / HTTP\/(\d+\.\d+)$/.exec(first)?.[1];
  return version !== undefined && version !== "1.0" && version !== "1.1" ? 505 : 400;
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  505: "HTTP Version Not Supported",
};

/** Who is behind a socket. */
function visitOf(socket: Socket, headers: http.IncomingHttpHeaders): Visit {
  const local = socket.remoteAddress === undefined || isLoopback(socket.remoteAddress);
  const secure = socket as TLSSocket;
  const cut = () => void socket.destroy();
  const header = (name: string) => {
    const value = headers[name];
    return value === undefined ? null : String(value);
  };
  if (secure.authorized !== true) return { local, cut, header };
  const { CN } = secure.getPeerCertificate()?.subject ?? {};
  const identity = Array.isArray(CN) ? CN[0] : CN;
  return identity === undefined || identity === ""
    ? { local, cut, header }
    : { local, identity, cut, header };
}

/** Listens with `node:http`, or `node:https` where there is a certificate. */
export const serveGuarded: Serve = async (options): Promise<Serving> => {
  const { place, tls, handler } = options;
  const sockets = new Set<Socket>();
  /** Those that came when there were enough: they are told so, and closed. */
  const surplus = new WeakSet<Socket>();
  const unread = new UnreadWatch(options.answerTimeoutMs, {
    cut(status, why) {
      options.onRefusal(status);
      options.onAbuse(String(status), why);
    },
  });
  const answer = getRequestListener(
    (request, env) => {
      const { incoming } = env as HttpBindings;
      const socket = incoming.socket as Socket;
      if (!surplus.has(socket)) {
        const answer = handler(request, visitOf(socket, incoming.headers));
        return answer instanceof Promise ? answer.then(inPieces) : inPieces(answer);
      }
      options.onRefusal(503);
      return full(options.maxConnections);
    },
    {
      // Nobody else's Request and Response are replaced for our sake.
      overrideGlobalObjects: false,
      errorHandler(error) {
        options.onError(error);
        return new Response(null, { status: 500 });
      },
    },
  );
  const listener = (incoming: http.IncomingMessage, outgoing: http.ServerResponse) => {
    if (unread.admits(incoming.socket, outgoing)) void answer(incoming, outgoing);
  };
  const shortest = Math.min(options.headersTimeoutMs, options.requestTimeoutMs);
  const settings: http.ServerOptions = {
    maxHeaderSize: options.maxHeaderBytes,
    headersTimeout: options.headersTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_MS[1], Math.max(CHECK_MS[0], shortest / 4)),
  };
  const server = tls === undefined ? http.createServer(settings, listener) : https.createServer({
    ...settings,
    handshakeTimeout: options.headersTimeoutMs,
    cert: tls.cert,
    key: tls.key,
    ...(tls.clientCa === undefined
      ? {}
      : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
  }, listener);
  // Beyond this there is not even an answer.
  server.maxConnections = options.maxConnections * 2 + 16;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // What goes wrong on one connection ends that connection.
    socket.on("error", () => {});
  });
  let open = 0;
  // With TLS requests come over another socket than the one that connected.
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    if (open >= options.maxConnections) surplus.add(socket);
    options.onConnections(++open);
    socket.once("close", () => options.onConnections(--open));
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => options.onRefusal(401));
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
    const status = statusOfComplaint(error);
    options.onRefusal(status);
    const reason = REASONS[status];
    socket.end(
      `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: text/plain\r\n` +
        `content-length: ${reason.length + 1}\r\n\r\n${reason}\n`,
    );
  });
  await new Promise<void>((resolve, reject) => {
    const refused = (error: unknown) => reject(cannotListen(error, place));
    server.once("error", refused);
    const listening = () => {
      server.off("error", refused);
      server.on("error", options.onError);
      resolve();
    };
    try {
      if ("path" in place) server.listen(place.path, listening);
      else {
        // As many may come at once as may be there: node's own backlog is 511.
        const backlog = Math.max(511, options.maxConnections);
        server.listen(place.port, place.hostname, backlog, listening);
      }
    } catch (error) {
      refused(error);
    }
  }).catch((error) => {
    unread.close();
    throw error;
  });
  const address = server.address() as AddressInfo | string;
  let closing: Promise<void> | undefined;
  return {
    url: urlOf(place, typeof address === "string" ? 0 : address.port, tls !== undefined),
    close: (graceMs) =>
      closing ??= (async () => {
        unread.close();
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeIdleConnections();
        const timer = setTimeout(() => {
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        await closed;
        clearTimeout(timer);
        for (const socket of sockets) socket.destroy();
      })(),
  };
};
