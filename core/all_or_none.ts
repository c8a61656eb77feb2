/**
 * Opens something on several wires at once: on all of them, or on none.
 *
 * @module
 */

import type { Wire } from "./choice.ts";

/** Something that is closed at the end. */
export type Closable = { close(): Promise<void> };

/** Opens something on every wire; if one refuses, closes the others and passes the refusal on. */
export async function allOrNone<T extends Closable>(
  wires: readonly Wire[],
  open: (wire: Wire) => Promise<T> | undefined,
): Promise<T[]> {
  const results = await Promise.allSettled(wires.map((wire) => open(wire)));
  const opened = results.flatMap((r) => r.status === "fulfilled" && r.value ? [r.value] : []);
  const failure = results.find((r) => r.status === "rejected");
  if (failure === undefined) return opened;
  await Promise.all(opened.map((one) => one.close()));
  throw failure.reason;
}

/** Waits for something, but not longer than some milliseconds. */
export async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, late]);
  clearTimeout(timer);
}
