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
