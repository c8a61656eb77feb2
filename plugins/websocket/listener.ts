/**
 * The listening side: one address, one bay or several, each at its own path.
 *
 * @module
 */

import type { ListenerOptions, Listening } from "./listening.ts";
import { PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";
import { type Door, Doors, examine, type Handshake, LinkMaker } from "./admission.ts";
import { isLoopback } from "./loopback.ts";
import { readPem } from "./pem.ts";

/** A listener with what was in its files. */
export interface ListenerSetup extends ListenerOptions {
  /** The interface. */
  readonly hostname: string;
  /** The server's certificate. */
  readonly cert: string | undefined;
  /** Its key. */
  readonly key: string | undefined;
  /** Who signs the clients'. */
  readonly clientCa: string | undefined;
}

/** A server that runs. */
export interface RunningServer {
  /** The port. */
  readonly port: number;
  /** Listens no longer. */
  close(): Promise<void>;
}

/**
 * Listens for WebSockets, for one bay or several.
 *
 * @example
 * ```ts
 * import { Patchbay } from "@patchbay/core";
 * import websocket, { WebSocketListener } from "@patchbay/websocket";
 *
 * await using listener = await WebSocketListener.open({ port: 0 });
 * const at = (path: string) => ({ websocket: { listen: { listener, path } } });
 * await using north = await Patchbay.open({
 *   module: "north",
 *   plugins: [websocket],
 *   config: at("/north"),
 * });
 * await using south = await Patchbay.open({
 *   module: "south",
 *   plugins: [websocket],
 *   config: at("/south"),
 * });
 * console.log(north.transport(websocket).url, south.transport(websocket).url);
 * ```
 */
export class WebSocketListener implements Listening, AsyncDisposable {
  /** Where it listens: `ws://host:port` or `wss://host:port`. */
  readonly url: string;
  /** The interface. */
  readonly hostname: string;
  /** Whether clients must show a certificate. */
  readonly asksForCertificates: boolean;
  readonly #doors: Doors;
  readonly #server: RunningServer;
  #closing: Promise<void> | undefined;

  private constructor(url: string, setup: ListenerSetup, doors: Doors, server: RunningServer) {
    this.url = url;
    this.hostname = setup.hostname;
    this.asksForCertificates = setup.clientCa !== undefined;
    this.#doors = doors;
    this.#server = server;
  }

  /**
   * Begins to listen.
   *
   * @param options Where, and how.
   * @throws {PatchbayError} `unavailable`: the address is taken, a file cannot be read, a
   * permission is missing.
   */
  static async open(options: ListenerOptions): Promise<WebSocketListener> {
    const { hostname = "127.0.0.1", certFile, keyFile, clientCaFile } = options;
    const setup: ListenerSetup = {
      ...options,
      hostname,
      cert: await readPem(certFile),
      key: await readPem(keyFile),
      clientCa: await readPem(clientCaFile),
    };
    const doors = new Doors();
    const { guarded = !isLoopback(hostname), perMessageDeflate, port } = options;
    let server: RunningServer;
    try {
      if (guarded || perMessageDeflate === true || clientCaFile !== undefined) {
        // Not literal: the package is fetched by who needs it, and by nobody else.
        const { serveNode } = await import(new URL("./node_server.ts", import.meta.url).href);
        server = await (serveNode as typeof import("./node_server.ts").serveNode)(setup, doors);
      } else server = serveDeno(setup, doors);
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
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    const scheme = setup.cert === undefined ? "ws" : "wss";
    return new WebSocketListener(`${scheme}://${host}:${server.port}`, setup, doors, server);
  }

  /**
   * @ignore Adds a bay.
   *
   * @param door The bay.
   * @returns Takes it out again.
   */
  add(door: Door): () => void {
    return this.#doors.add(door);
  }

  /** Listens no longer. The bays' own connections are closed by the bays. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#server.close();
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Deno's own server: the quickest, and the one that waits for ever for the rest of a header. */
function serveDeno(setup: ListenerSetup, doors: Doors): RunningServer {
  const { hostname, port, cert, key } = setup;
  const makers = new WeakMap<Door, LinkMaker>();
  const handle = async (
    request: Request,
    info: Deno.ServeHandlerInfo<Deno.NetAddr>,
  ): Promise<Response> => {
    // Headers are read before the upgrade: afterwards they throw.
    const handshake: Handshake = {
      path: new URL(request.url).pathname,
      headers: new Headers(request.headers),
      remoteAddress: info.remoteAddr.hostname,
    };
    const door = doors.at(handshake.path);
    const verdict = await examine(handshake, door);
    if ("status" in verdict || door === undefined) {
      const { status, text, headers } = "status" in verdict ? verdict : GONE;
      doors.refused(door, status);
      const all = { connection: "close", ...headers };
      return new Response(`${text}\n`, { status, headers: all });
    }
    let maker = makers.get(door);
    if (maker === undefined) makers.set(door, maker = new LinkMaker(door, false));
    const links = maker;
    const { socket, response } = Deno.upgradeWebSocket(request, {
      protocol: verdict.protocol,
      idleTimeout: Math.max(1, Math.ceil(door.pingTimeoutMs / 1000)),
    });
    // A throw between the upgrade and its response would stop the whole server.
    try {
      socket.binaryType = "arraybuffer";
      socket.addEventListener("error", (event) => event.preventDefault());
      const local = isLoopback(handshake.remoteAddress);
      socket.addEventListener("open", () => links.take(socket, verdict, local));
    } catch (error) {
      door.onError(error);
    }
    return response;
  };
  const options = { hostname, port, cert, key, onListen() {} };
  const server = Deno.serve(options as Deno.ServeTcpOptions, async (request, info) => {
    try {
      return await handle(request, info);
    } catch (error) {
      // What the HTTP layer refuses to upgrade: a broken key, a version we do not speak.
      doors.refused(undefined, 400);
      const message = error instanceof Error ? error.message : String(error);
      return new Response(`${message}\n`, { status: 400, headers: { connection: "close" } });
    }
  });
  return { port: server.addr.port, close: () => server.shutdown() };
}

/** What is told when the bay has closed between the look and the upgrade. */
const GONE = { status: 503, text: "the bay has closed", headers: undefined };
