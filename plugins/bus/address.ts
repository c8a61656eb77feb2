/**
 * Where a manager is: how it is written, and how it is dialled.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { dialUnix, fromNotCapable } from "@patchbay/host";

/** The port of a manager, unless something else is said. */
export const DEFAULT_PORT = 5000;

/** A TCP port, or a Unix socket. */
export type BusAddress =
  | { readonly hostname: string; readonly port: number }
  | { readonly path: string };

/** Reads `tcp://host:port` or `unix:/path`; `undefined` where it is neither. */
export function busAddress(url: string): BusAddress | undefined {
  if (url.startsWith("unix:")) {
    const path = url.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    return path === "" ? undefined : { path };
  }
  // As http, since URL knows ports and brackets of schemes it knows only.
  const parsed = url.startsWith("tcp://") ? URL.parse(`http://${url.slice(6)}`) : null;
  if (parsed === null || parsed.pathname !== "/" || parsed.username !== "") return undefined;
  const hostname = parsed.hostname.replace(/^\[|\]$/g, "");
  // Port 80 is http's own, and left out by URL.
  const port = /:80\/?$/.test(url) ? 80 : Number(parsed.port || DEFAULT_PORT);
  return port === 0 ? undefined : { hostname, port };
}

/**
 * Dials a manager.
 *
 * @param address Where it is.
 * @param url The same, for messages.
 * @param signal Gives up.
 * @throws {PatchbayError} `unavailable`: nobody listens there, or a permission is missing.
 */
export async function dialBus(
  address: BusAddress,
  url: string,
  signal: AbortSignal,
): Promise<Deno.Conn> {
  if ("path" in address) return await dialUnix(address.path, { signal });
  const { hostname, port } = address;
  try {
    const connection = await Deno.connect({ hostname, port, signal });
    connection.setNoDelay(true); // Frames are small, and joined by the link already.
    return connection;
  } catch (error) {
    signal.throwIfAborted();
    const flags = [`--allow-net=${hostname}:${port}`];
    const known = fromNotCapable(error, `the bus at ${url} cannot be dialled`, flags);
    if (known instanceof PatchbayError) throw known;
    throw new PatchbayError("unavailable", `no manager of a bus answers at ${url}`, {
      remedy: "start it with patchbay bus",
      cause: error,
    });
  }
}
