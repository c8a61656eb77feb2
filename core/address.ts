/**
 * Addresses (`module/endpoint`) and the patterns that listeners match them with.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/** The longest address, in UTF-16 code units. */
export const MAX_ADDRESS_LENGTH = 255;

const SEGMENT = /^[a-z0-9_][a-z0-9_.-]*$/;

function refuse(address: string, why: string): never {
  throw new PatchbayError("invalid", `address ${JSON.stringify(address)}: ${why}`, {
    address: typeof address === "string" ? address : undefined,
    remedy: "use lower case letters, digits, `_`, `-` and `.`, in segments separated by `/`",
  });
}

/**
 * Checks an address: one or more segments of `a-z 0-9 _ - .`, separated by `/`, without wildcards.
 *
 * @param address The address to check.
 * @returns The address itself.
 * @throws {PatchbayError} `invalid`.
 */
export function checkAddress(address: string): string {
  checkPattern(address);
  if (isPattern(address)) refuse(address, "wildcards are for listening only");
  return address;
}

/**
 * Checks a pattern: an address in which `*` stands for one segment, and `**`, as the last segment,
 * for all the rest (at least one).
 *
 * @param pattern The pattern to check.
 * @returns The pattern itself.
 * @throws {PatchbayError} `invalid`.
 */
export function checkPattern(pattern: string): string {
  if (typeof pattern !== "string" || pattern === "") refuse(pattern, "it is empty");
  if (pattern.length > MAX_ADDRESS_LENGTH) {
    refuse(pattern, `it has ${pattern.length} characters, the limit is ${MAX_ADDRESS_LENGTH}`);
  }
  const segments = pattern.split("/");
  segments.forEach((segment, index) => {
    if (segment === "") refuse(pattern, "it has an empty segment");
    if (segment === "*") return;
    if (segment === "**") {
      if (index !== segments.length - 1) refuse(pattern, "`**` may only stand last");
      return;
    }
    if (!SEGMENT.test(segment)) {
      refuse(pattern, `segment ${JSON.stringify(segment)} is not allowed`);
    }
  });
  return pattern;
}

/**
 * Whether a checked pattern has a wildcard.
 *
 * @param pattern The pattern.
 */
export function isPattern(pattern: string): boolean {
  return pattern.includes("*");
}

/**
 * Whether an address matches a pattern.
 *
 * @param pattern A checked pattern.
 * @param address A checked address.
 *
 * @example
 * ```ts
 * import { matches } from "@patchbay/core";
 *
 * if (!matches("arm/*", "arm/joint")) throw new Error("one segment");
 * if (matches("arm/*", "arm/joint/3")) throw new Error("not two");
 * if (!matches("arm/**", "arm/joint/3")) throw new Error("all the rest");
 * ```
 */
export function matches(pattern: string, address: string): boolean {
  if (!isPattern(pattern)) return pattern === address;
  const want = pattern.split("/");
  const have = address.split("/");
  for (let i = 0; i < want.length; i++) {
    if (want[i] === "**") return have.length > i;
    if (i >= have.length || (want[i] !== "*" && want[i] !== have[i])) return false;
  }
  return want.length === have.length;
}

/**
 * The nearest of some words to a misspelt one, for error messages; `undefined` if none is near.
 *
 * @param word The misspelt word.
 * @param known The words that would have been right.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment distance: a swap of neighbours counts as one. */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array(b.length).fill(0)]);
  for (let j = 0; j <= b.length; j++) rows[0][j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.length][b.length];
}
