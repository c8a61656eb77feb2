/**
 * The dialling side: opens a WebSocket and waits until it is open. Runs in a page and in Deno.
 *
 * @module
 */

import { isLoopback, type Link, PatchbayError } from "@patchbay/core";
import { SUBPROTOCOL, WebSocketLink } from "./link.ts";
import type { AnySocket } from "./socket_flow.ts";

/** A link that was dialled. */
export interface DialledLink extends Link {
  /** Resolves when nothing more can come over it. */
  readonly gone: Promise<void>;
}

/** How links are made. */
export interface Dialler {
  /**
   * Connects.
   *
   * @param url Where.
   * @param signal Gives up.
   * @throws {PatchbayError} `unavailable`; `unauthenticated` or `forbidden` if it said so.
   */
  dial(url: string, signal: AbortSignal): Promise<DialledLink>;
  /** Frees what the links shared. */
  close?(): void;
}

/** How a page dials. */
export const pageDialler: Dialler = {
  dial: (url, signal) => openSocket(new WebSocket(url, [SUBPROTOCOL]), url, signal, false),
};

/**
 * Waits until a socket is open.
 *
 * @param socket The socket.
 * @param url Where it leads: `ws://…` or `wss://…`.
 * @param signal Gives up.
 * @param keepsBytes As {@link import("./socket_flow.ts").SocketFacts.keepsBytes}.
 * @throws {PatchbayError} `unavailable`; `unauthenticated` or `forbidden` if it said so.
 */
export async function openSocket(
  socket: AnySocket,
  url: string,
  signal: AbortSignal,
  keepsBytes: boolean,
): Promise<DialledLink> {
  const opened = Promise.withResolvers<void>();
  const fail = (message: string) => opened.reject(refused(url, message, statusIn(message)));
  const onError = (event: Event) => {
    event.preventDefault?.();
    // A page is not told why; programs are.
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

function statusIn(message: string): number {
  return Number(/\b(401|403|404)\b/.exec(message)?.[1] ?? 0);
}

/**
 * Why there is no connection.
 *
 * @param url Where it would lead.
 * @param message What is known.
 * @param status What the server has answered; 0: nothing.
 */
export function refused(url: string, message: string, status: number): PatchbayError {
  if (status === 401) {
    return new PatchbayError("unauthenticated", `${url} refuses the token`, {
      remedy: "set the same token on both sides",
    });
  }
  if (status === 403) {
    return new PatchbayError("forbidden", `${url} refuses connections from here`, {
      remedy: "add this page's origin to `origins` of the hub",
    });
  }
  if (/certificate|\btls\b|\bssl\b|\balert\b/i.test(message)) {
    return new PatchbayError("unavailable", `${url}: TLS was not agreed on: ${message}`, {
      remedy: "give tls.caFile, and tls.certFile and tls.keyFile where the hub asks for them",
    });
  }
  return new PatchbayError("unavailable", `${url} cannot be reached: ${message}`, {
    remedy: status === 404 ? "correct the path of `url`" : "start the hub there, or correct `url`",
  });
}
