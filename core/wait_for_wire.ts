/**
 * Waits until a wire leads to an address.
 *
 * @module
 */

import type { WaitOptions } from "./bay_types.ts";
import { choose, noWire, type Wire } from "./choice.ts";
import type { AnyContract } from "./contract.ts";
import type { Epoch } from "./epoch.ts";
import { PatchbayError } from "./errors.ts";

/**
 * Waits until somebody serves, performs or speaks at an address.
 *
 * @param parts The bay's wires, and what tells that the choice may have changed.
 * @param contract The contract.
 * @param options How long, and over which wires.
 * @param live Throws when the bay is closed.
 */
export async function waitForWire(
  parts: { readonly wires: readonly Wire[]; readonly epoch: Epoch },
  contract: AnyContract,
  options: WaitOptions,
  live: () => void,
): Promise<void> {
  const { pattern, address, native } = contract;
  const { timeoutMs = Infinity, signal, via } = options;
  signal?.throwIfAborted();
  let changed = Promise.withResolvers<void>();
  const unwatch = parts.epoch.watch(() => changed.resolve());
  const given = Promise.withResolvers<never>();
  given.promise.catch(() => {});
  const onAbort = () => given.reject(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  const timer = timeoutMs === Infinity ? undefined : setTimeout(async () => {
    const { considered } = await choose(parts.wires, pattern, address, via, native);
    const { message, details, remedy } = noWire(pattern, address, considered);
    given.reject(
      new PatchbayError("deadline_exceeded", `after ${timeoutMs} ms still nobody: ${message}`, {
        pattern,
        address,
        details,
        remedy,
      }),
    );
  }, timeoutMs);
  try {
    for (;;) {
      live();
      changed = Promise.withResolvers<void>();
      const choice = await choose(parts.wires, pattern, address, via, native);
      if (choice.wire !== undefined) return;
      await Promise.race([changed.promise, given.promise]);
    }
  } finally {
    clearTimeout(timer);
    unwatch();
    signal?.removeEventListener("abort", onAbort);
  }
}
