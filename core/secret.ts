/**
 * Comparing secrets in a time that does not tell how much of them was right.
 *
 * @module
 */

const encoder = new TextEncoder();

/**
 * Whether two secrets are the same. The time it takes depends on their lengths alone.
 *
 * @param given What somebody sent.
 * @param expected What it must be.
 *
 * @example
 * ```ts
 * import { sameSecret } from "@patchbay/core";
 *
 * console.log(sameSecret("open sesame", "open sesame"), sameSecret("open", "open sesame")); // true false
 * ```
 */
export function sameSecret(given: string, expected: string): boolean {
  const a = encoder.encode(given);
  const b = encoder.encode(expected);
  let different = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) different |= (a[i] ?? 0) ^ b[i];
  return different === 0;
}
