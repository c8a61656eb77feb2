/**
 * What cases expect, in words that their failures repeat.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ErrorCode, PatchbayError } from "../errors.ts";

/** A call whose deadline is not what its case is about: a busy machine may let a process wait. */
export const PATIENT = { timeoutMs: 25_000 } as const;

/** Exact equality, by value. */
export const equal: (actual: unknown, expected: unknown, message?: string) => void = (
  actual,
  expected,
  message,
) =>
  message === undefined
    ? assert.deepEqual(actual, expected)
    : assert.deepEqual(actual, expected, message);

/**
 * The headers without those that Patchbay itself puts on: a bridge on the way does.
 *
 * @param headers What came.
 */
export function ownHeaders(
  headers: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const entries = Object.entries(headers ?? {});
  return Object.fromEntries(entries.filter(([name]) => !name.startsWith("patchbay-")));
}

/**
 * A claim that must hold.
 *
 * @param claim The claim.
 * @param message What is wrong if it does not.
 */
export function ok(claim: boolean, message: string): asserts claim {
  if (!claim) throw new assert.AssertionError({ message });
}

/**
 * The reason a promise rejects with; fails if it resolves.
 *
 * @param promise The promise.
 * @param what What it stands for.
 */
export async function reasonOf(promise: Promise<unknown>, what: string): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (reason) {
    return reason;
  }
  throw new assert.AssertionError({
    message: `${what} should have been refused, but gave ${typeof value}`,
    actual: value,
  });
}

/**
 * Expects a rejection with a {@link PatchbayError} of one of some codes, and gives it back.
 *
 * @param promise The promise.
 * @param codes The codes that are right.
 * @param what What the promise stands for.
 */
export async function refused(
  promise: Promise<unknown>,
  codes: ErrorCode | readonly ErrorCode[],
  what: string,
): Promise<PatchbayError> {
  const wanted = typeof codes === "string" ? [codes] : codes;
  return isRefusal(await reasonOf(promise, what), wanted, what);
}

/**
 * Expects a {@link PatchbayError} of one of some codes.
 *
 * @param reason What was thrown.
 * @param codes The codes that are right.
 * @param what What it came from.
 */
export function isRefusal(
  reason: unknown,
  codes: ErrorCode | readonly ErrorCode[],
  what: string,
): PatchbayError {
  const wanted = typeof codes === "string" ? [codes] : codes;
  ok(
    reason instanceof PatchbayError,
    `${what}: should fail with a PatchbayError of code ${wanted.join(" or ")}, not ${reason}`,
  );
  ok(
    wanted.includes(reason.code),
    `${what}: should fail with ${wanted.join(" or ")}, not ${reason.code}: ${reason.message}`,
  );
  return reason;
}

/**
 * Numbers from one to another, both included.
 *
 * @param from The first.
 * @param to The last.
 */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}
