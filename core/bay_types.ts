/**
 * The types that the bay's verbs take and give.
 *
 * @module
 */

import type { Consideration } from "./choice.ts";
import type { Pattern } from "./errors.ts";
import type { Capabilities, Health, Plugin } from "./plugin.ts";

/** The names a `via` may hold: those of the plugins known by type that have the pattern. */
export type Via<Plugins extends readonly Plugin[], P extends Pattern> = Plugins[number] extends
  infer One
  ? One extends Plugin<infer Name, infer Able extends Capabilities>
    ? string extends Name ? string & Record<never, never>
    : Able[P] extends false ? never
    : Name
  : never
  : never;

/** Options whose `via` knows the names of the bay's plugins that have the pattern. */
export type WithVia<Options, Plugins extends readonly Plugin[], P extends Pattern> =
  & Omit<Options, "via">
  & {
    /** The wires to use, by plugin name, in order of preference. */
    via?: readonly Via<Plugins, P>[];
  };

/** The configuration of one plugin, before its defaults are filled in. */
export type ConfigOf<P> = P extends Plugin<string, Capabilities, infer Config, infer _>
  ? unknown extends Config ? unknown : Partial<Config>
  : never;

/** The configuration of each plugin, by plugin name: typed where the plugin is known by type. */
export type ConfigsOf<Plugins extends readonly Plugin[]> = {
  readonly [P in Plugins[number] as P["name"]]?: ConfigOf<P>;
};

/** What a plugin offers that the patterns do not have. */
export type ExtrasOf<P> = P extends Plugin<string, Capabilities, infer _, infer Extras> ? Extras
  : never;

/** How one wire of a bay is doing. */
export interface WireStatus {
  /** The plugin's name. */
  readonly name: string;
  /** Whether it is open. */
  readonly open: boolean;
  /** A version or path worth showing. */
  readonly detail?: string;
  /** Why it is not open. */
  readonly reason?: string;
  /** What to do about that. */
  readonly remedy?: string;
  /** How it is doing, if it is open. */
  readonly health?: Health;
}

/** How a wire was chosen, or why none was. */
export interface Explanation {
  /** The chosen wire, by plugin name; `undefined` if none leads there. */
  readonly chosen: string | undefined;
  /** Every wire, in the order of preference. */
  readonly considered: readonly Consideration[];
}

/** How to wait for an address. */
export interface WaitOptions {
  /** How long to wait, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** Gives up. */
  signal?: AbortSignal;
  /** The wires that count, by plugin name. */
  via?: readonly string[];
}
