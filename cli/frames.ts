/**
 * Frames on the command line: `frame:DISTANCE` and `frame:ALL` in place of an address, decoded by the
 * definitions.
 *
 * @module
 */

import { type Bay, PatchbayError, type Plugin } from "@patchbay/core";
import type { CommonOptions, Context } from "./context.ts";

const PREFIX = "frame:";
/** Where the manager of a bus is, unless it is told otherwise. */
export const DEFAULT_URL = "tcp://127.0.0.1:5000";

/** The options of commands that know frames. */
export interface FrameOptions extends CommonOptions {
  /** The definitions. */
  readonly frames?: string;
  /** The manager of the bus. */
  readonly url?: string;
}

/**
 * How commands reach the manager of a bus: by their options, the environment's `PATCHBAY_BUS` and
 * `PATCHBAY_BUS_TOKEN`, the configuration, or at the default port.
 *
 * @param context The surroundings.
 * @param options What the command was given.
 */
export async function busSettings(
  context: Context,
  options: { readonly config?: string; readonly url?: string; readonly token?: string },
): Promise<{ readonly url: string; readonly token?: string }> {
  const { loadConfig } = await import("@patchbay/host");
  const file = await loadConfig(options.config);
  // Who looks at a bus is not its manager, whatever the configuration says of one.
  const { listen: _, ...known } = (file?.config.wires?.bus ?? {}) as {
    url?: string;
    token?: string;
    listen?: unknown;
  };
  const { env } = context.io;
  const url = options.url ?? (env("PATCHBAY_BUS") || known.url) ?? DEFAULT_URL;
  const token = options.token ?? (env("PATCHBAY_BUS_TOKEN") || known.token);
  return { ...known, url, ...(token === undefined ? {} : { token }) };
}

/** What the plugin of the bus knows of frames; the command line knows the plugin by its name only. */
interface FrameText {
  addressOf(name: string): string;
  show(
    address: string,
    body: unknown,
  ): { readonly frame: string; readonly request: boolean; readonly value: unknown } | undefined;
  body(name: string, fields: unknown): Uint8Array;
}

/** The way to frames of one type, or of all. */
export interface FrameWay extends AsyncDisposable {
  /** A bay on the bus. */
  readonly bay: Bay;
  /** The name of the type. */
  readonly name: string;
  /** Its address, or the pattern of all. */
  readonly address: string;
  /** The definitions. */
  readonly text: FrameText;
}

/**
 * Opens the way to frames; `undefined` if a topic is no frame type.
 *
 * @param context The surroundings.
 * @param topic What was given.
 * @param options Where the definitions and the bus are.
 */
export async function frameWay(
  context: Context,
  topic: string,
  options: FrameOptions,
): Promise<FrameWay | undefined> {
  if (!topic.startsWith(PREFIX)) return undefined;
  const name = topic.slice(PREFIX.length);
  const bay = await context.openBay({ config: { bus: await busSettings(context, options) } });
  try {
    if (!bay.wires().some((wire) => wire.name === "bus")) {
      throw new PatchbayError("unavailable", "the plugin of the bus was not found", {
        remedy: "put a folder with it into ./plugins, or name it in the configuration's plugins",
      });
    }
    const bus = bay.transport({ name: "bus" } as Plugin) as {
      frameText(file?: string): Promise<FrameText>;
    };
    const text = await bus.frameText(options.frames ?? context.io.env("PATCHBAY_FRAMES"));
    const address = text.addressOf(name);
    return { bay, name, address, text, [Symbol.asyncDispose]: () => bay.close() };
  } catch (error) {
    await bay.close();
    throw error;
  }
}
