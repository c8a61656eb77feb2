/**
 * Errors in a file of frame definitions: where, what, and what to write instead.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/** A place in a source file. */
export interface Place {
  /** The file, as it was named. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** An error at a place: `file:line:column: what`, with what to write instead as its remedy. */
export function sourceError(place: Place, what: string, instead?: string): PatchbayError {
  return new PatchbayError("invalid", `${place.file}:${place.line}:${place.column}: ${what}`, {
    details: { ...place },
    remedy: instead,
  });
}
