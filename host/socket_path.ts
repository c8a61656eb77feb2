/**
 * Where the Unix sockets of a bay lie, and how long their paths may be.
 *
 * @module
 */

import { join } from "./path.ts";
import { PatchbayError } from "@patchbay/core";

/** `sun_path` without its final zero byte: 108 on Linux (unix(7)), 104 on macOS and the BSDs. */
export const MAX_SOCKET_PATH_BYTES: number = Deno.build.os === "linux" ? 107 : 103;

/**
 * The path of a bay's socket: `<runtime>/<instance>.sock`, or `<runtime>/<instance>.<wire>.sock`
 * for a second wire that needs one of its own. It derives from names alone, so that the exact
 * `--allow-net=unix:…` can be printed beforehand.
 *
 * @param runtimeDir The runtime directory.
 * @param instance The bay's instance name.
 * @param wire The plugin's name, for every wire but uds.
 *
 * @example
 * ```ts
 * import { socketPath } from "@patchbay/host";
 *
 * if (socketPath("/run/patchbay", "arm") !== "/run/patchbay/arm.sock") throw new Error();
 * ```
 */
export function socketPath(runtimeDir: string, instance: string, wire?: string): string {
  return join(runtimeDir, wire === undefined ? `${instance}.sock` : `${instance}.${wire}.sock`);
}

/**
 * Checks that the operating system can bind a socket of this path.
 *
 * @param path The path.
 * @returns The path itself.
 * @throws {PatchbayError} `invalid`: it is too long; `details` holds `size` and `max` in bytes.
 */
export function checkSocketPath(path: string): string {
  const size = new TextEncoder().encode(path).length;
  if (size <= MAX_SOCKET_PATH_BYTES) return path;
  throw new PatchbayError(
    "invalid",
    `the socket path ${path} has ${size} bytes; this system allows ${MAX_SOCKET_PATH_BYTES}`,
    {
      details: { size, max: MAX_SOCKET_PATH_BYTES },
      remedy: "choose a shorter runtimeDirectory, such as /tmp/patchbay, or a shorter instance",
    },
  );
}
