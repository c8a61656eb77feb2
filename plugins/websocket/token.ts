/**
 * Tokens: how a page shows one, and how they are compared in a time that does not tell how much of
 * them was right.
 *
 * @module
 */

/** A page cannot set headers: it offers a sub-protocol of this name and the token in base64url. */
export const TOKEN_PROTOCOL = "patchbay.token.";

const encoder = new TextEncoder();

/**
 * Whether two tokens are the same.
 *
 * @param given What somebody sent.
 * @param expected What it must be.
 */
export function sameToken(given: string, expected: string): boolean {
  const a = encoder.encode(given);
  const b = encoder.encode(expected);
  let different = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) different |= (a[i] ?? 0) ^ b[i];
  return different === 0;
}
