/**
 * Layers: wrapped around a transport when the bay opens; absent ones cost nothing.
 *
 * @module
 */

import type { Plugin, Transport } from "./plugin.ts";
import type { TransportStatistics } from "./statistics.ts";
import type { TimerWheel } from "./timer_wheel.ts";

/** What a layer learns about the transport it wraps. */
export interface LayerContext {
  /** The plugin. */
  readonly plugin: Plugin;
  /** The bay's timer. */
  readonly timers: TimerWheel;
  /** The transport's counters. */
  readonly statistics: TransportStatistics;
}

/** Wraps a transport: returns one that does something besides. */
export type Layer = (transport: Transport, context: LayerContext) => Transport;

/** The methods of a transport that a layer may take the place of. */
type Method = Exclude<keyof Transport, "extras">;

/**
 * What a layer does instead of a transport's own methods: each gets the method's arguments and, as
 * the last one, the method itself.
 */
export type TransportChanges = {
  readonly [M in Method]?: (
    ...args: [
      ...Parameters<NonNullable<Transport[M]>>,
      next: (
        ...args: Parameters<NonNullable<Transport[M]>>
      ) => ReturnType<NonNullable<Transport[M]>>,
    ]
  ) => ReturnType<NonNullable<Transport[M]>>;
};

/** The methods that a transport may lack. */
const OPTIONAL = ["serve", "caller", "speak", "listen", "perform", "executor"] as const;

/**
 * A transport that is another one but for some methods: what every layer is made of.
 *
 * Guaranteed: what is not changed is passed on, extras included, and what the inner transport lacks
 * stays lacking, whatever the changes say about it.
 *
 * @param inner The transport to wrap.
 * @param changes What is done instead, by method.
 *
 * @example
 * ```ts
 * import { type Layer, wrapTransport } from "@patchbay/core";
 *
 * const told: string[] = [];
 * const watching: Layer = (transport, { plugin }) =>
 *   wrapTransport(transport, {
 *     caller: (address, next) => {
 *       told.push(`${plugin.name} leads to ${address}`);
 *       return next(address);
 *     },
 *   });
 * console.log(watching.length);
 * ```
 */
export function wrapTransport<Extras>(
  inner: Transport<Extras>,
  changes: TransportChanges,
): Transport<Extras> {
  const wrapped: Record<string, unknown> = {};
  for (const method of ["health", "find", "close", ...OPTIONAL] as const) {
    const own = inner[method] as ((...args: unknown[]) => unknown) | undefined;
    if (own === undefined) continue;
    const next = own.bind(inner);
    const change = changes[method] as ((...args: unknown[]) => unknown) | undefined;
    wrapped[method] = change === undefined ? next : (...args: unknown[]) => change(...args, next);
  }
  Object.defineProperty(wrapped, "extras", { enumerable: true, get: () => inner.extras });
  return wrapped as unknown as Transport<Extras>;
}
