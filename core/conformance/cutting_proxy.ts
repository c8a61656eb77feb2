/**
 * For tests: a proxy over TCP or Unix sockets that can cut what goes through it, as a pulled cable
 * would, and stall it, as a client that does not read.
 *
 * @module
 */

/** Where a proxy listens and passes connections on to: a port on the loopback interface, or a path. */
export type ProxyEnd = number | string;

/** Ports below those that a system gives to who asks for any (`ip_local_port_range`: 32768). */
const FIRST_PORT = 10_000;
const LAST_PORT = 32_000;

/** A port that was free a moment ago, and that no outgoing connection takes meanwhile. */
export function freePort(): number {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

function shut(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/** Passes connections on, until it cuts them. */
export class CuttingProxy {
  /** The port it listens on; 0 if it listens on a path. */
  readonly port: number;
  readonly #target: ProxyEnd;
  readonly #listener: Deno.Listener;
  readonly #connections = new Set<Deno.Conn>();
  readonly #work = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  #stalled: PromiseWithResolvers<void> | undefined;
  /** How many bytes have passed, both ways. */
  bytes = 0;

  /**
   * Listens at once.
   *
   * @param target Whom to pass connections on to.
   * @param path The Unix socket to listen on; default: any free port.
   */
  constructor(target: ProxyEnd, path?: string) {
    this.#target = target;
    if (path === undefined) {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      this.port = listener.addr.port;
      this.#listener = listener;
    } else {
      this.port = 0;
      this.#listener = Deno.listen({ transport: "unix", path });
    }
    this.#accepting = this.#accept();
  }

  /** Reads nothing more, from nobody: connections stay open, and nothing moves on them. */
  stall(): void {
    this.#stalled ??= Promise.withResolvers<void>();
  }

  /** Cuts every connection; new ones can be made at once. */
  cut(): void {
    this.#stalled?.resolve();
    this.#stalled = undefined;
    for (const connection of this.#connections) shut(connection);
    this.#connections.clear();
  }

  /** Cuts every connection, and listens no longer. */
  async close(): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#accepting;
    await Promise.all(this.#work);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      const work = this.#pass(client);
      this.#work.add(work);
      work.then(() => this.#work.delete(work));
    }
  }

  async #pass(client: Deno.Conn): Promise<void> {
    this.#connections.add(client);
    let server: Deno.Conn;
    try {
      const target = this.#target;
      server = typeof target === "number"
        ? await Deno.connect({ hostname: "127.0.0.1", port: target })
        : await Deno.connect({ transport: "unix", path: target });
    } catch {
      return shut(client);
    }
    if (!this.#connections.has(client)) return shut(server);
    this.#connections.add(server);
    for (const one of [client, server]) (one as Partial<Deno.TcpConn>).setNoDelay?.();
    const going = () => this.#stalled?.promise;
    const count = (bytes: number) => this.bytes += bytes;
    await Promise.all([
      copy(client, server, going, count),
      copy(server, client, going, count),
    ]);
    this.#connections.delete(client);
    this.#connections.delete(server);
  }
}

/** Copies until either side ends; then both are closed. */
async function copy(
  from: Deno.Conn,
  to: Deno.Conn,
  going: () => Promise<void> | undefined,
  count: (bytes: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (;;) {
      const read = await from.read(buffer);
      if (read === null) break;
      count(read);
      await going();
      for (let at = 0; at < read;) at += await to.write(buffer.subarray(at, read));
    }
  } catch {
    // Cut.
  }
  shut(from);
  shut(to);
}
