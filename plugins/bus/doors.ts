/**
 * Where a manager lets modules in: a TCP port, a Unix socket, or both.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { fromNotCapable, listenUnix } from "@patchbay/host";
import { DEFAULT_PORT } from "./address.ts";
import { holderOf } from "./port_holder.ts";

/** How long to wait after a failed accept (no file descriptor left, say), in milliseconds. */
const ACCEPT_RETRY_MS = 50;

/** Where to listen, and who gets the connections. */
export interface DoorOptions {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; default 5000 unless there is a path. */
  readonly port?: number;
  /** The path of a Unix socket. */
  readonly path?: string;
  /** Gets each connection, and closes it. */
  readonly onConnection: (connection: Deno.Conn) => void;
  /** Told what nobody awaits. */
  readonly onError: (error: unknown) => void;
}

/** What is listened on. */
export interface Doors {
  /** `tcp://host:port`, `unix:path`. */
  readonly where: readonly string[];
  /** Stops listening; connections live on. Idempotent. */
  close(): Promise<void>;
}

/**
 * Begins to listen.
 *
 * @param options Where.
 * @throws {PatchbayError} `unavailable`: the port is taken (by whom, if that can be known), or a
 *   permission is missing.
 */
export async function openDoors(options: DoorOptions): Promise<Doors> {
  const { hostname = "127.0.0.1", path } = options;
  const port = options.port ?? (path === undefined ? DEFAULT_PORT : undefined);
  const where: string[] = [];
  const closers: (() => Promise<void>)[] = [];
  let closing: Promise<void> | undefined;
  const close = () => closing ??= Promise.all(closers.map((each) => each())).then(() => {});
  try {
    if (port !== undefined) {
      const listener = await listenTcp(hostname, port);
      const host = hostname.includes(":") ? `[${hostname}]` : hostname;
      where.push(`tcp://${host}:${(listener.addr as Deno.NetAddr).port}`);
      closers.push(acceptAll(listener, options));
    }
    if (path !== undefined) {
      const { onConnection, onError } = options;
      const listener = await listenUnix({ path, onConnection, onError });
      where.push(`unix:${path}`);
      closers.push(() => listener.close());
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { where, close };
}

async function listenTcp(hostname: string, port: number): Promise<Deno.TcpListener> {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    const flags = [`--allow-net=${hostname}:${port}`];
    const known = fromNotCapable(error, `nothing can listen on ${hostname}:${port}`, flags);
    if (known instanceof PatchbayError) throw known;
    const taken = error instanceof Deno.errors.AddrInUse;
    const holder = taken ? await holderOf(port) : undefined;
    const message = taken
      ? `port ${port} of ${hostname} is taken${holder === undefined ? "" : ` by ${holder}`}`
      : `${hostname}:${port}: ${error instanceof Error ? error.message : String(error)}`;
    throw new PatchbayError("unavailable", message, {
      retryable: false,
      remedy: "choose another port, or stop the program that has it",
      cause: error,
    });
  }
}

/** Hands connections on until it is closed. */
function acceptAll(listener: Deno.TcpListener, options: DoorOptions): () => Promise<void> {
  let open = true;
  let wake: (() => void) | undefined;
  const accepting = (async () => {
    while (open) {
      let connection: Deno.TcpConn;
      try {
        connection = await listener.accept();
      } catch (error) {
        if (!open) return;
        options.onError(error);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ACCEPT_RETRY_MS);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        continue;
      }
      try {
        connection.setNoDelay(true);
        options.onConnection(connection);
      } catch (error) {
        options.onError(error);
        try {
          connection.close();
        } catch {
          // It was closed before.
        }
      }
    }
  })();
  return async () => {
    if (open) listener.close();
    open = false;
    wake?.();
    await accepting;
  };
}
