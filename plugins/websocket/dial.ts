/**
 * The dialling side: opens a WebSocket and waits until it is open. Runs in a page and in Deno.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { SUBPROTOCOL, WebSocketLink } from "./link.ts";
import { isLoopback } from "./loopback.ts";
import type { AnySocket } from "./socket_flow.ts";

/** A socket that is not open yet. */
export interface Dialled {
  /** The socket. */
  readonly socket: AnySocket;
  /** As {@link import("./socket_flow.ts").SocketFacts.keepsBytes}. */
  readonly keepsBytes?: boolean;
}

/** How sockets are made. */
export interface Dialler {
  /**
   * Begins to connect.
   *
   * @param url Where.
   * @param protocols The sub-protocols to offer.
   */
  dial(url: string, protocols: string[]): Dialled | Promise<Dialled>;
  /** Frees what the sockets shared. */
  close?(): void;
}

/** How a page dials. */
export const pageDialler: Dialler = {
  dial: (url, protocols) => ({ socket: new WebSocket(url, protocols) }),
};

/**
 * Dials a WebSocket server.
 *
 * @param dialler How.
 * @param url Where it listens: `ws://…` or `wss://…`.
 * @param signal Gives up.
 * @param onSocket Called with the socket before it is used.
 * @throws {PatchbayError} `unavailable`; `unauthenticated` or `forbidden` if it said so.
 */
export async function dialWebSocket(
  dialler: Dialler,
  url: string,
  signal: AbortSignal,
  onSocket: (socket: AnySocket) => void = () => {},
): Promise<WebSocketLink> {
  signal.throwIfAborted();
  const { socket, keepsBytes } = await dialler.dial(url, [SUBPROTOCOL]);
  onSocket(socket);
  const opened = Promise.withResolvers<void>();
  const fail = (message: string) => opened.reject(refused(url, message));
  const onError = (event: Event) => {
    event.preventDefault?.();
    // A page is not told why; Deno says it.
    fail((event as Partial<ErrorEvent>).message || "nobody answers there, or it refuses");
  };
  const onClose = (event: CloseEvent) => fail(event.reason || `code ${event.code}`);
  const onOpen = () => opened.resolve();
  const onAbort = () => {
    opened.reject(signal.reason);
    socket.close();
  };
  socket.addEventListener("open", onOpen);
  socket.addEventListener("error", onError);
  socket.addEventListener("close", onClose);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await opened.promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.removeEventListener("open", onOpen);
    socket.removeEventListener("close", onClose);
  }
  return new WebSocketLink(socket, { local: isLoopback(new URL(url).hostname), keepsBytes });
}

function refused(url: string, message: string): PatchbayError {
  const status = /\b(401|403|404)\b/.exec(message)?.[1];
  if (status === "401") {
    return new PatchbayError("unauthenticated", `${url} refuses the token`, {
      remedy: "set the same token on both sides",
    });
  }
  if (status === "403") {
    return new PatchbayError("forbidden", `${url} refuses connections from here`, {
      remedy: "add this page's origin to `origins` of the hub",
    });
  }
  if (/certificate|tls|ssl|alert/i.test(message)) {
    return new PatchbayError("unavailable", `${url}: TLS was not agreed on: ${message}`, {
      remedy: "give tls.caFile, and tls.certFile and tls.keyFile where the hub asks for them",
    });
  }
  return new PatchbayError("unavailable", `${url} cannot be reached: ${message}`, {
    remedy: status === "404"
      ? "correct the path of `url`"
      : "start the hub there, or correct `url`",
  });
}
