/**
 * An address that nobody has is often one that somebody almost has.
 *
 * @module
 */

import { type Bay, nearest, PatchbayError, type Pattern } from "@patchbay/core";

/**
 * The error to show instead of one that says that an address is not there: with the nearest address
 * that is, if there is one. Any other error comes back as it was.
 *
 * @param bay Whose directory to look into.
 * @param pattern What was wanted.
 * @param address Where.
 * @param error What was thrown.
 */
export function nearMiss(bay: Bay, pattern: Pattern, address: string, error: unknown): unknown {
  if (!(error instanceof PatchbayError) || error.code !== "not_found") return error;
  const there = (bay.directory?.others ?? []).flatMap((entry) => entry.endpoints)
    .filter((one) => one.pattern === pattern && one.role !== "listener")
    .map((one) => one.address);
  const near = there.includes(address) ? undefined : nearest(address, there);
  return near === undefined ? error : new PatchbayError("not_found", error.message, {
    pattern,
    address,
    transport: error.transport,
    details: error.details,
    remedy: `did you mean ${near}?`,
    cause: error,
  });
}
