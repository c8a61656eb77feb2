/**
 * The listening side: an HTTP server that upgrades what it may to WebSockets.
 *
 * @module
 */

import { type LinkListener, PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";
import { isLoopback, SUBPROTOCOL, WebSocketLink } from "./link.ts";
import type { ServeWebSockets } from "./plugin.ts";
import { sameToken } from "./token.ts";

/** What the handshake of one request comes to: a refusal, or what is known before the upgrade. */
function examine(
  request: Request,
  origins: readonly string[],
  token: string | undefined,
): Response | { readonly authorized: boolean } {
  const { headers } = request;
  const refuse = (status: number, text: string, more: Record<string, string> = {}) =>
    new Response(`${text}\n`, { status, headers: { connection: "close", ...more } });
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return refuse(426, "this is a WebSocket of Patchbay", { upgrade: "websocket" });
  }
  const origin = headers.get("origin");
  if (origin !== null && !origins.includes(origin) && !origins.includes("*")) {
    return refuse(403, "this origin may not connect");
  }
  const offered = (headers.get("sec-websocket-protocol") ?? "").split(",").map((p) => p.trim());
  if (!offered.includes(SUBPROTOCOL)) return refuse(400, `the sub-protocol is ${SUBPROTOCOL}`);
  const authorization = headers.get("authorization");
  if (token === undefined || authorization === null) return { authorized: false };
  const shown = /^bearer +(.+)$/i.exec(authorization)?.[1] ?? "";
  if (sameToken(shown, token)) return { authorized: true };
  return refuse(401, "the token is wrong", { "www-authenticate": "Bearer" });
}

/**
 * Listens for WebSockets.
 *
 * @param options Where, and who may come in.
 * @throws {PatchbayError} `unavailable`: the address is taken; a permission is missing.
 */
export const serveWebSockets: ServeWebSockets = async (options): Promise<LinkListener> => {
  const { hostname, port, origins, token, idleTimeoutSeconds, accept, onError } = options;
  const handle = (request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>): Response => {
    // Headers are read before the upgrade: afterwards they throw.
    const verdict = examine(request, origins, token);
    if (verdict instanceof Response) {
      options.onRefusal(verdict.status);
      return verdict;
    }
    const local = isLoopback(info.remoteAddr.hostname);
    const { socket, response } = Deno.upgradeWebSocket(request, {
      protocol: SUBPROTOCOL,
      idleTimeout: idleTimeoutSeconds,
    });
    // A throw between the upgrade and its response would stop the whole server.
    try {
      socket.binaryType = "arraybuffer";
      socket.addEventListener("error", (event) => event.preventDefault());
      socket.addEventListener("open", () => {
        try {
          accept(new WebSocketLink(socket, { local, authorized: verdict.authorized }));
        } catch (error) {
          socket.close();
          onError(error);
        }
      });
    } catch (error) {
      onError(error);
    }
    return response;
  };
  const server = await listen(hostname, port, (request, info) => {
    try {
      return handle(request, info);
    } catch (error) {
      // What the HTTP layer refuses to upgrade: a broken key, a version we do not speak.
      options.onRefusal(400);
      const message = error instanceof Error ? error.message : String(error);
      return new Response(`${message}\n`, { status: 400, headers: { connection: "close" } });
    }
  });
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  let closing: Promise<void> | undefined;
  return {
    where: `ws://${host}:${server.addr.port}`,
    close: () => closing ??= server.shutdown(),
  };
};

async function listen(
  hostname: string,
  port: number,
  handler: Deno.ServeHandler<Deno.NetAddr>,
): Promise<Deno.HttpServer<Deno.NetAddr>> {
  try {
    return await Promise.resolve(Deno.serve({ hostname, port, onListen() {} }, handler));
  } catch (error) {
    const flag = `--allow-net=${hostname}:${port}`;
    const known = fromNotCapable(error, `nothing can listen on ${hostname}:${port}`, [flag]);
    if (known instanceof PatchbayError) throw known;
    const message = error instanceof Error ? error.message : String(error);
    throw new PatchbayError("unavailable", `${hostname}:${port}: ${message}`, {
      remedy: "choose another port, or stop the program that has it",
      cause: error,
    });
  }
}
