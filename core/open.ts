/**
 * Opening a bay: checks what the user gave, asks each plugin whether it can work here, opens those
 * that can, and keeps the reason and remedy of those that cannot.
 *
 * @module
 */

import { nearest } from "./address.ts";
import { Bay } from "./bay.ts";
import type { ConfigsOf } from "./bay_types.ts";
import { Epoch } from "./epoch.ts";
import type { Wire } from "./choice.ts";
import { CodecTable } from "./codec.ts";
import { checkConfig } from "./config.ts";
import type { Directory } from "./directory.ts";
import { PatchbayError } from "./errors.ts";
import { guardReport } from "./hook.ts";
import type { Layer } from "./layer.ts";
import type {
  Authorize,
  Availability,
  BayIdentity,
  Plugin,
  Transport,
  TransportContext,
} from "./plugin.ts";
import { Statistics } from "./statistics.ts";
import type { Telemetry } from "./telemetry.ts";
import { TimerWheel } from "./timer_wheel.ts";

/** How to open a bay. */
export interface OpenOptions<Plugins extends readonly Plugin[] = readonly Plugin[]> {
  /** The wires. */
  plugins: Plugins;
  /** This module's name: `a-z 0-9 _ -`. Default: `module-` and four random digits. */
  module?: string;
  /** Tells several instances of one module apart. Default: the module's name. */
  instance?: string;
  /** The configuration of each plugin, by plugin name. */
  config?: ConfigsOf<Plugins>;
  /** The directory of live modules; `host/` gives one, a page has none. */
  directory?: (
    identity: BayIdentity,
  ) => Directory | undefined | Promise<Directory | undefined>;
  /** Who may do what on link wires; asked once for each connection, verb and address. */
  authorize?: Authorize;
  /** Wrapped around every wire, the first outermost: retry, tracing, chaos. */
  layers?: readonly Layer[];
  /**
   * Makes spans of calls, shouts and jobs: the `tracing` layer, inside all `layers`, so that
   * each attempt of a retry has a span of its own. Default: none, at no cost.
   */
  telemetry?: Telemetry;
  /** The largest message, in bytes. Default 10 MiB, unless a wire has a default of its own. */
  maxMessageBytes?: number;
  /** Called once when the bay has closed. What it throws is reported. */
  onClose?: () => void;
  /**
   * Called with what nobody awaits: a listener that threw, an undecodable message. What it
   * throws itself is written to the console.
   */
  onReport?: (error: PatchbayError) => void;
}

/** The default of `maxMessageBytes`: 10 MiB. */
export const DEFAULT_MAX_MESSAGE_BYTES = 10 * 1024 * 1024;

/** How long a plugin may take to say whether it is available, in milliseconds. */
const AVAILABLE_TIMEOUT_MS = 1000;

const NAME = /^[a-z0-9][a-z0-9_-]*$/;

function randomHex(bytes: number): string {
  return Array.from(
    crypto.getRandomValues(new Uint8Array(bytes)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

function identify(options: OpenOptions): BayIdentity {
  const module = options.module ?? `module-${randomHex(2)}`;
  const instance = options.instance ?? module;
  for (const [what, name] of [["module", module], ["instance", instance]]) {
    if (typeof name !== "string" || !NAME.test(name) || name.length > 64) {
      throw new PatchbayError("invalid", `${what} name ${JSON.stringify(name)} is not allowed`, {
        remedy: "use a-z, 0-9, `_` and `-`, at most 64 characters, a letter or digit first",
      });
    }
  }
  return { id: randomHex(8), module, instance };
}

/** The keys of {@link OpenOptions}. */
const KNOWN_OPTIONS = [
  "plugins",
  "module",
  "instance",
  "config",
  "directory",
  "authorize",
  "layers",
  "telemetry",
  "maxMessageBytes",
  "onClose",
  "onReport",
];

function checkOptions(options: OpenOptions): void {
  for (const key of Object.keys(options)) {
    if (KNOWN_OPTIONS.includes(key)) continue;
    const near = nearest(key, KNOWN_OPTIONS);
    throw new PatchbayError("invalid", `Patchbay.open: unknown option ${JSON.stringify(key)}`, {
      remedy: near === undefined
        ? `known are ${KNOWN_OPTIONS.join(", ")}`
        : `did you mean ${near}?`,
    });
  }
  const names = options.plugins.map((plugin) => plugin.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new PatchbayError("invalid", `the plugin ${twice} was passed twice`, {
      transport: twice,
    });
  }
  for (const key of Object.keys(options.config ?? {})) {
    if (names.includes(key)) continue;
    const near = nearest(key, names);
    throw new PatchbayError("invalid", `config: there is no plugin ${JSON.stringify(key)}`, {
      remedy: near === undefined
        ? `loaded are ${names.join(", ")}; pass the plugin, or drop it into a plugins folder`
        : `did you mean ${near}?`,
    });
  }
}

/**
 * Whether a plugin can be used here. Never throws or hangs, whatever the plugin does.
 *
 * @param plugin The plugin.
 * @param config Its checked configuration.
 */
export async function availability(plugin: Plugin, config: unknown): Promise<Availability> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Availability>((resolve) => {
    timer = setTimeout(() =>
      resolve({
        available: false,
        reason: `it did not say within ${AVAILABLE_TIMEOUT_MS} ms whether it is available`,
        remedy: "report this to the plugin's author",
      }), AVAILABLE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([plugin.available(config), late]);
  } catch (error) {
    const known = PatchbayError.fromThrown(error);
    return {
      available: false,
      reason: `available() threw: ${known.message}`,
      remedy: known.remedy ?? "report this to the plugin's author",
    };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Opens a bay with the plugins given. A plugin that is not available, or fails to open, is kept
 * with its reason and remedy; it stops nobody else.
 *
 * @param options The plugins, and what else is to be set.
 * @throws {PatchbayError} `invalid`: an unknown option, plugin name or configuration key.
 */
export async function open<const Plugins extends readonly Plugin[]>(
  options: OpenOptions<Plugins>,
): Promise<Bay<Plugins>> {
  checkOptions(options);
  const identity = identify(options);
  const given: Readonly<Record<string, unknown>> = options.config ?? {};
  const configs = options.plugins.map((plugin) =>
    checkConfig(plugin.config, given[plugin.name], `config.${plugin.name}`)
  );
  const timers = new TimerWheel();
  const statistics = new Statistics();
  const epoch = new Epoch();
  const report = guardReport(options.onReport);
  const directory = await options.directory?.(identity);
  const table = new CodecTable();
  const layers = [...options.layers ?? []];
  if (options.telemetry !== undefined) {
    // Most pages go without, and need not load it.
    const { tracing } = await import("./layers/tracing.ts");
    const { guardTelemetry } = await import("./guarded_telemetry.ts");
    layers.push(tracing(guardTelemetry(options.telemetry, report)));
  }

  const openWire = async (plugin: Plugin, config: unknown): Promise<Wire> => {
    const counters = statistics.transport(plugin.name);
    const down = (reason: string, remedy: string | undefined): Wire => {
      counters.askHealth = () => ({ status: "down", reason });
      return { plugin, transport: undefined, reason, remedy };
    };
    const available = await availability(plugin, config);
    if (!available.available) return down(available.reason, available.remedy);
    const context: TransportContext = {
      name: plugin.name,
      identity,
      timers,
      codecs: table,
      directory,
      statistics: counters,
      authorize: options.authorize,
      maxMessageBytes: options.maxMessageBytes ?? plugin.defaultMaxMessageBytes ??
        DEFAULT_MAX_MESSAGE_BYTES,
      routesChanged: () => epoch.next(),
      report,
    };
    let inner: Transport | undefined;
    try {
      let transport: Transport = inner = await plugin.open(context, config);
      for (const layer of layers.toReversed()) {
        transport = layer(transport, { plugin, timers, statistics: context.statistics });
      }
      const opened = transport;
      counters.askHealth = () => opened.health();
      return { plugin, transport, detail: available.detail };
    } catch (error) {
      // A layer may have thrown: what is open below it is closed.
      await inner?.close().catch(() => {});
      const known = PatchbayError.fromThrown(error);
      return down(known.message, known.remedy);
    }
  };
  const wires = await Promise.all(options.plugins.map((p, i) => openWire(p, configs[i])));
  return new Bay<Plugins>({
    identity,
    wires,
    timers,
    statistics,
    directory,
    report,
    epoch,
    onClose: options.onClose,
  });
}

/**
 * The face of core: `Patchbay.open({ plugins })`. The root package's `Patchbay` finds the plugins
 * and the directory by itself; this one runs anywhere, a web page included.
 *
 * @example
 * ```ts
 * import { Patchbay } from "@patchbay/core";
 * import inProcess from "@patchbay/in_process";
 *
 * await using bay = await Patchbay.open({ plugins: [inProcess] });
 * await bay.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await bay.call("desk/greet", "Ada"));
 * ```
 */
export const Patchbay: { readonly open: typeof open } = { open };
