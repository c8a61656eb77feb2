/**
 * Reads certificates and keys.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { fromNotCapable } from "@patchbay/host";

/**
 * What is in a PEM file.
 *
 * @param path Its path; `undefined`: none is given.
 * @throws {PatchbayError} `unavailable`: it cannot be read.
 */
export async function readPem(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    const flag = `--allow-read=${path}`;
    const known = fromNotCapable(error, `${path} cannot be read`, [flag]);
    if (known instanceof PatchbayError) throw known;
    const message = error instanceof Error ? error.message : String(error);
    throw new PatchbayError("unavailable", `${path} cannot be read: ${message}`, {
      remedy: "give the path of a PEM file",
      cause: error,
    });
  }
}
