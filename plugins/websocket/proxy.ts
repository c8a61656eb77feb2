/**
 * For tests: a TCP proxy on the loopback interface that can cut what goes through it, as a pulled
 * cable would; a WebSocket itself can only be closed politely.
 *
 * @module
 */

/** A port that was free a moment ago. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

function shut(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/** Passes connections on to a port, until it cuts them. */
export class CuttingProxy {
  /** Where it listens. */
  readonly port: number;
  /** How many bytes have passed, both ways. */
  bytes = 0;
  #stalled: PromiseWithResolvers<void> | undefined;
  readonly #target: number;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.Conn>();
  readonly #work = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  /** @param target The port to pass connections on to. */
  constructor(target: number) {
    this.#target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
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

  async #pass(client: Deno.TcpConn): Promise<void> {
    this.#connections.add(client);
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    } catch {
      return shut(client);
    }
    if (!this.#connections.has(client)) return shut(server);
    this.#connections.add(server);
    client.setNoDelay();
    server.setNoDelay();
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
