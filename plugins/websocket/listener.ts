/**
 * The listening side: one address, one bay or several, each at its own path.
 *
 * @module
 */

import type { ListenerOptions, Listening } from "./listening.ts";
import { PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";
import { type Door, Doors } from "./admission.ts";
import { needsNode } from "./needs_node.ts";
import { readPem } from "./pem.ts";
import { serveWire } from "./wire_server.ts";

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

/** How `npm:ws` serves. */
export type ServeNode = (setup: ListenerSetup, doors: Doors) => Promise<RunningServer>;

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
   * @param npmWs How `npm:ws` serves: what `@patchbay/websocket/node` gives.
   * @throws {PatchbayError} `unavailable`: the address is taken, a file cannot be read, a
   * permission is missing, or the options need `npm:ws`.
   */
  static async open(options: ListenerOptions, npmWs?: ServeNode): Promise<WebSocketListener> {
    const { hostname = "127.0.0.1", certFile, keyFile, clientCaFile } = options;
    const setup: ListenerSetup = {
      ...options,
      hostname,
      cert: await readPem(certFile),
      key: await readPem(keyFile),
      clientCa: await readPem(clientCaFile),
    };
    const doors = new Doors();
    const { perMessageDeflate, port } = options;
    let server: RunningServer;
    try {
      if (perMessageDeflate === true || clientCaFile !== undefined) {
        if (npmWs === undefined) throw needsNode("clientCaFile or perMessageDeflate");
        server = await npmWs(setup, doors);
      } else server = serveWire(setup, doors);
    } catch (error) {
      if (error instanceof PatchbayError) throw error;
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
