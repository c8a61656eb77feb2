/**
 * The codes and reasons with which a WebSocket closes (RFC 6455 section 7.4).
 *
 * @module
 */

import { type ErrorCode, PatchbayError } from "@patchbay/core";

/** The longest reason of a close frame, in bytes: 125 of a control frame, less the code. */
const MAX_REASON_BYTES = 123;

/** Close codes by error code (section 7.4.1, and the registry's 1013). */
const CLOSE_CODES: Readonly<Record<ErrorCode, number>> = {
  closed: 1000,
  protocol: 1002,
  invalid: 1007,
  unauthenticated: 1008,
  forbidden: 1008,
  too_large: 1009,
  internal: 1011,
  remote: 1011,
  not_found: 1011,
  unavailable: 1013,
  overloaded: 1013,
  deadline_exceeded: 1013,
};

/**
 * The code with which to close.
 *
 * @param why What the peer was told in its goodbye.
 */
export function closeCodeOf(why: PatchbayError | undefined): number {
  return CLOSE_CODES[why?.code ?? "closed"];
}

/**
 * The reason to give, cut down if need be.
 *
 * @param why What the peer was told in its goodbye.
 */
export function closeReasonOf(why: PatchbayError | undefined): string {
  const message = why?.message ?? "";
  const bytes = new TextEncoder().encode(message);
  if (bytes.length <= MAX_REASON_BYTES) return message;
  // A character that is cut in two would be no UTF-8.
  return new TextDecoder().decode(bytes.subarray(0, MAX_REASON_BYTES - 3)).replace(/\uFFFD+$/, "");
}

/**
 * What a close of the peer comes to; `undefined` if it is as it should be.
 *
 * @param code The code; 1005: none was given.
 * @param reason The reason.
 */
export function closedBy(code: number, reason: string): PatchbayError | undefined {
  if (code === 1000 || code === 1001 || code === 1005) return undefined;
  const why = reason === "" ? `code ${code}` : reason;
  return new PatchbayError("closed", `the connection broke: ${why}`, { details: { code } });
}
