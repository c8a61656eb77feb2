/**
 * Patchbay: a transport layer for TypeScript modules on Deno. Three patterns (Callable, Speaker,
 * Job), any wire, one API.
 *
 * @module
 */

import type { Bay, Plugin } from "@patchbay/core";
import { type HostOpenOptions, open as openHost, type Opened } from "@patchbay/host";
import { builtins } from "./builtins.ts";

export { builtins } from "./builtins.ts";
export {
  type AnyContract,
  Bay,
  type BytesView,
  Callable,
  type CallableContract,
  type CallOptions,
  defineCallable,
  defineJob,
  defineSpeaker,
  type ErrorCode,
  type EventContext,
  type ExecuteOptions,
  type HandlerContext,
  type JobContext,
  type JobContract,
  JobHandle,
  type JobState,
  Listener,
  type ListenOptions,
  type Overflow,
  PatchbayError,
  type PerformOptions,
  type Plugin,
  PROMETHEUS_CONTENT_TYPE,
  prometheusText,
  Served,
  type ServeOptions,
  Speaker,
  type SpeakerContract,
  type SpeakOptions,
  type StandardSchema,
  type ViewOptions,
} from "@patchbay/core";
export { onShutdown, serveMetrics } from "@patchbay/host";

/** How to open a bay; everything has a default. */
export type OpenOptions<
  Plugins extends readonly Plugin[] = readonly Plugin[],
  Discover extends boolean = boolean,
> = Omit<HostOpenOptions<typeof builtins, Plugins, Discover>, "builtins">;

/**
 * Opens a bay on Deno: with the built-in plugins, those passed, and those found in the plugin
 * directories; with the configuration file, and the directory of live modules.
 *
 * @param options What to open it with.
 * @throws {PatchbayError} `invalid`: an unknown option or configuration key; `unavailable`: the
 * instance name that was given is taken by a live process.
 */
export async function open<
  const Plugins extends readonly Plugin[] = readonly [],
  const Discover extends boolean = true,
>(
  options: OpenOptions<Plugins, Discover> = {},
): Promise<Bay<Opened<typeof builtins, Plugins, Discover>>> {
  return await openHost<typeof builtins, Plugins, Discover>({ ...options, builtins });
}

/**
 * The face of Patchbay.
 *
 * @example
 * ```ts
 * import { Patchbay } from "@patchbay/patchbay";
 *
 * await using bay = await Patchbay.open({ module: "desk" });
 * await bay.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await bay.call("desk/greet", "Ada"));
 * ```
 */
export const Patchbay: { readonly open: typeof open } = { open };
