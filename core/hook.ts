/**
 * The border to the user's hooks: what one of them throws, at once or later, is told and costs nobody
 * anything.
 *
 * @module
 */

import type { PatchbayError } from "./errors.ts";

/** Gets what nobody awaits. Never throws once it was {@link guardReport}ed. */
export type Report = (error: PatchbayError) => void;

/**
 * Calls a hook of the user. Never throws.
 *
 * @param hook Calls it; a hook that was declared to return nothing may be an asynchronous function.
 * @param threw Gets what it threw, or rejected with.
 */
export function runHook(hook: () => unknown, threw: (error: unknown) => void): void {
  try {
    const result = hook();
    if (result instanceof Promise) result.catch(threw);
  } catch (error) {
    threw(error);
  }
}

/**
 * Makes the `onReport` of a user one that never throws: it is called in the middle of deliveries,
 * handshakes and timers. What it throws has nowhere else to go than the console, together with the
 * report that was lost by it.
 *
 * @param onReport The user's; without one nothing is told.
 */
export function guardReport(onReport: Report | undefined): Report {
  if (onReport === undefined) return () => {};
  return (error) => {
    runHook(() => onReport(error), (thrown) => {
      console.error(`patchbay: onReport threw at ${error.code}: ${error.message}:`, thrown);
    });
  };
}
