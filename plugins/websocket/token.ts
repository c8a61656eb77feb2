/**
 * How a page shows a token.
 *
 * @module
 */

/** A page cannot set headers: it offers a sub-protocol of this name and the token in base64url. */
export const TOKEN_PROTOCOL = "patchbay.token.";
