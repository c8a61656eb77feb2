/**
 * What a connection has not read yet of what was answered: the bytes that wait for it here, and how
 * many of them there may be.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/** The most bytes that may wait for one connection. */
export const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
/** Answers below this are not counted: they are bounded by how many streams there may be. */
const SMALL_BYTES = 16 * 1024;

/** What waits for one connection. */
export interface Unread {
  /** How many bytes. */
  bytes: number;
}

/** A call as grpc-js tells of its end: also after an answer that was read. */
interface Ending {
  readonly cancelled: boolean;
  once(event: "cancelled", listener: () => void): unknown;
}

/**
 * Counts an answer until it has gone.
 *
 * @param unread What waits for the connection.
 * @param call The call.
 * @param bytes How many the answer has.
 */
export function countUntilGone(unread: Unread, call: Ending, bytes: number): void {
  if (bytes < SMALL_BYTES || call.cancelled) return;
  unread.bytes += bytes;
  call.once("cancelled", () => unread.bytes -= bytes);
}

/**
 * Why a call is not answered, if it is not: its connection does not read.
 *
 * @param unread What waits for the connection.
 */
export function tooMuchUnread({ bytes }: Unread): PatchbayError | undefined {
  if (bytes < MAX_UNREAD_BYTES) return undefined;
  return new PatchbayError("overloaded", `${bytes} bytes of answers are not read yet`, {
    details: { unreadBytes: bytes, maxUnreadBytes: MAX_UNREAD_BYTES, notExecuted: true },
    remedy: "read the answers before calling again",
  });
}
