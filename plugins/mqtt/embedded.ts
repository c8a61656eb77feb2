/**
 * The embedded broker: aedes on a port of this host, for those who have no other.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { Aedes } from "npm:aedes@1.2.0";

/** Where the broker listens. */
export interface EmbeddedOptions {
  /** The host; default 127.0.0.1. */
  readonly host?: string;
  /** The port; default 1883; 0: a free one. */
  readonly port?: number;
}

/**
 * A broker within this process. It speaks MQTT 3.1.1, over TCP without encryption or passwords, keeps
 * sessions and retained messages in memory, and knows no shared subscriptions.
 *
 * @example
 * ```ts ignore
 * import { EmbeddedBroker } from "@patchbay/mqtt/broker";
 *
 * await using broker = await EmbeddedBroker.start({ port: 0 });
 * console.log(`mqtt://127.0.0.1:${broker.port}`);
 * ```
 */
export class EmbeddedBroker implements AsyncDisposable {
  /** Where it listens. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  readonly #aedes: Aedes;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  #closing: Promise<void> | undefined;

  private constructor(
    host: string,
    port: number,
    aedes: Aedes,
    server: Server,
    sockets: Set<Socket>,
  ) {
    this.host = host;
    this.port = port;
    this.#aedes = aedes;
    this.#server = server;
    this.#sockets = sockets;
  }

  /**
   * Starts one.
   *
   * @param options Where.
   * @throws What the socket says: the port may be taken.
   */
  static async start(options: EmbeddedOptions = {}): Promise<EmbeddedBroker> {
    const { host = "127.0.0.1", port = 1883 } = options;
    const sockets = new Set<Socket>();
    const aedes = await Aedes.createBroker();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.once("close", () => sockets.delete(socket));
      socket.on("error", () => {}); // A client that is gone: aedes sees the close.
      aedes.handle(asDuplex(socket));
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, () => resolve());
      });
    } catch (error) {
      await new Promise<void>((resolve) => aedes.close(resolve));
      throw error;
    }
    const address = server.address();
    const bound = typeof address === "object" && address !== null ? address.port : port;
    return new EmbeddedBroker(host, bound, aedes, server, sockets);
  }

  /**
   * Starts one, unless there is something at that port already.
   *
   * @param options Where.
   */
  static async tryStart(options: EmbeddedOptions): Promise<EmbeddedBroker | undefined> {
    try {
      return await EmbeddedBroker.start(options);
    } catch {
      // Whoever listens there is the broker; if nobody does, connecting says why.
      return undefined;
    }
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#aedes.connectedClients;
  }

  /** Ends it, and every connection. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= (async () => {
      const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
      await new Promise<void>((resolve) => this.#aedes.close(resolve));
      for (const socket of this.#sockets) socket.destroy();
      await stopped;
    })();
  }
}

/**
 * A socket as aedes reads it. It calls `read()` once for each `readable`, which with a socket of Deno
 * stops at 64 KiB until something more comes.
 */
function asDuplex(socket: Socket): Duplex {
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    writev(chunks, done) {
      const all = chunks.map(({ chunk }) => chunk as Buffer);
      socket.write(all.length === 1 ? all[0] : Buffer.concat(all), done);
    },
    final: (done) => void socket.end(done),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (!duplex.push(chunk)) socket.pause();
    // Emitted anew for what is left from before.
    if (duplex.readableLength > 0) duplex.emit("readable");
  });
  socket.once("end", () => duplex.push(null));
  socket.once("close", () => duplex.destroy());
  return duplex;
}
