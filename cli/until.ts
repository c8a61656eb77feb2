/**
 * Waiting for the end of a command that goes on by itself.
 *
 * @module
 */

/** What ends the wait besides a signal. */
export interface UntilOptions {
  /** After so long, in milliseconds. */
  timeoutMs?: number;
  /** When this resolves. */
  done?: Promise<unknown>;
}

/**
 * Waits until a command has done enough.
 *
 * @param stop Ends it: Ctrl-C.
 * @param options What else ends it.
 * @returns What ended it.
 */
export async function until(
  stop: AbortSignal,
  options: UntilOptions,
): Promise<"stopped" | "late" | "done"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const { promise, resolve } = Promise.withResolvers<"stopped" | "late">();
  const onAbort = () => resolve("stopped");
  if (stop.aborted) onAbort();
  else stop.addEventListener("abort", onAbort, { once: true });
  if (options.timeoutMs !== undefined) timer = setTimeout(() => resolve("late"), options.timeoutMs);
  try {
    const done = options.done?.then(() => "done" as const);
    return await (done === undefined ? promise : Promise.race([done, promise]));
  } finally {
    clearTimeout(timer);
    stop.removeEventListener("abort", onAbort);
  }
}
