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

/**
 * What a layer does instead of a transport's own methods: each gets the method's arguments and, as
 * the last one, the method itself.
 */
export type TransportChanges = {
  readonly [M in Exclude<keyof Transport, "extras">]?: (
    ...args: [
      ...Parameters<NonNullable<Transport[M]>>,
      next: (
        ...args: Parameters<NonNullable<Transport[M]>>
      ) => ReturnType<NonNullable<Transport[M]>>,
    ]
  ) => ReturnType<NonNullable<Transport[M]>>;
};

/** Every method of a transport: one that is added there and not here does not compile. */
const METHODS: Readonly<Record<Exclude<keyof Transport, "extras">, true>> = {
  health: true,
  find: true,
  watch: true,
  serve: true,
  caller: true,
  speak: true,
  listen: true,
  perform: true,
  executor: true,
  close: true,
};

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
  for (const method of Object.keys(METHODS) as (keyof typeof METHODS)[]) {
    const own = inner[method] as ((...args: unknown[]) => unknown) | undefined;
    if (own === undefined) continue;
    const next = own.bind(inner);
    const change = changes[method] as ((...args: unknown[]) => unknown) | undefined;
    wrapped[method] = change === undefined ? next : (...args: unknown[]) => change(...args, next);
  }
  Object.defineProperty(wrapped, "extras", { enumerable: true, get: () => inner.extras });
  return wrapped as unknown as Transport<Extras>;
}
