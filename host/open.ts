/**
 * Opens a bay on Deno: reads the configuration, finds the plugins, keeps the directory, and closes
 * the bay when the process is told to stop.
 *
 * @module
 */

import { basename, dirname, extname, fromFileUrl, join } from "./path.ts";
import {
  type Bay,
  type BayIdentity,
  type ConfigsOf,
  type Directory,
  guardReport,
  nearest,
  open as openBay,
  type OpenOptions,
  PatchbayError,
  type Plugin,
} from "@patchbay/core";
import { type HostConfig, loadConfig, type LoadedConfig } from "./config.ts";
import { HostDirectory, hostDirectory, noteMissingDirectory } from "./directory.ts";
import { discover, type Discovery, projectFolder } from "./loader.ts";
import { isHeld } from "./stale.ts";
import { isGranted } from "./permissions.ts";
import { openRuntimeDir } from "./runtime_dir.ts";
import { closeOnSignal } from "./signals.ts";

/** How to open a bay on Deno. What is given here wins against the configuration file. */
export interface HostOpenOptions<
  Builtins extends readonly Plugin[] = readonly Plugin[],
  Plugins extends readonly Plugin[] = readonly Plugin[],
  Discover extends boolean = boolean,
> extends Omit<OpenOptions, "plugins" | "directory" | "config"> {
  /** The configuration of each plugin, by plugin name. */
  config?: ConfigsOf<Opened<Builtins, Plugins, Discover>>;
  /** The plugins that are always there; the root package passes its own. */
  builtins?: Builtins;
  /** Further plugins. */
  plugins?: Plugins;
  /** Whether plugin directories are scanned. Default true. */
  discover?: Discover;
  /** The directories whose folders are plugins. Default: `./plugins` of the running project. */
  pluginDirectories?: readonly string[];
  /** The configuration file; `false`: none is read. Default: as `loadConfig` finds it. */
  configFile?: string | false;
  /**
   * The runtime directory; `false`: no directory of live modules, and no wire that needs one.
   * Default: as `locateRuntimeDir` says.
   */
  runtimeDirectory?: string | false;
  /** Whether the runtime directory may be open to others. Default false: such a one is refused. */
  shareRuntimeDir?: boolean;
  /** Whether counters are published beside the directory entry. Default true. */
  publishStatistics?: boolean;
  /**
   * Whether the bay closes, and the process then exits with 128 + the signal's number, on SIGINT,
   * SIGTERM and SIGQUIT. Default true. Pass false to handle signals yourself, or use `onShutdown`.
   */
  handleSignals?: boolean;
}

/** The plugins of an opened bay, for typing `via`: any name, unless discovery is off. */
export type Opened<
  Builtins extends readonly Plugin[],
  Plugins extends readonly Plugin[],
  Discover extends boolean,
> = Discover extends false ? readonly [...Builtins, ...Plugins]
  : readonly [...Builtins, ...Plugins, ...Plugin[]];

/** The keys of {@link HostOpenOptions}. */
const KNOWN_OPTIONS: Readonly<Record<keyof HostOpenOptions, true>> = {
  builtins: true,
  plugins: true,
  discover: true,
  pluginDirectories: true,
  configFile: true,
  runtimeDirectory: true,
  shareRuntimeDir: true,
  publishStatistics: true,
  handleSignals: true,
  module: true,
  instance: true,
  config: true,
  authorize: true,
  layers: true,
  maxMessageBytes: true,
  onClose: true,
  onReport: true,
  telemetry: true,
};

function checkOptions(options: object): void {
  const known = Object.keys(KNOWN_OPTIONS);
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(KNOWN_OPTIONS, key)) continue;
    const near = nearest(key, known);
    throw new PatchbayError("invalid", `open: unknown option ${JSON.stringify(key)}`, {
      remedy: near === undefined ? `known are ${known.join(", ")}` : `did you mean ${near}?`,
    });
  }
}

/** @ignore Options and configuration file, merged, and the plugins that they name. */
export interface Prepared {
  /** The merged settings. */
  readonly settings: HostConfig;
  /** The configuration file, if there is one. */
  readonly file: LoadedConfig | undefined;
  /** The plugins. */
  readonly found: Discovery;
  /** The configuration of each plugin. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The directories that were scanned. */
  readonly pluginDirectories: readonly string[];
}

/**
 * @ignore Does what opening and inspecting have in common.
 *
 * @param options What the user gave.
 * @param quietly Whether the default plugin directory is passed over if it may not be read.
 */
export async function prepare(options: HostOpenOptions, quietly: boolean): Promise<Prepared> {
  checkOptions(options);
  const file = options.configFile === false ? undefined : await loadConfig(options.configFile);
  const settings: HostConfig = { ...file?.config };
  for (const key of ["module", "instance", "maxMessageBytes", "discover"] as const) {
    if (options[key] !== undefined) Object.assign(settings, { [key]: options[key] });
  }
  for (const key of ["shareRuntimeDir", "publishStatistics", "handleSignals"] as const) {
    if (options[key] !== undefined) settings[key] = options[key];
  }
  if (typeof options.runtimeDirectory === "string") {
    settings.runtimeDirectory = options.runtimeDirectory;
  }
  const pluginDirectories = settings.discover === false
    ? []
    : options.pluginDirectories ?? settings.pluginDirectories ?? defaultDirectories(quietly);
  const found = await discover({
    builtins: [...options.builtins ?? [], ...options.plugins ?? []],
    directories: pluginDirectories,
    specifiers: file?.config.plugins ?? [],
  });
  checkWires(file, found);
  const config: Record<string, unknown> = { ...file?.config.wires };
  for (const [wire, given] of Object.entries(options.config ?? {})) {
    const below = file?.config.wires?.[wire];
    const mergeable = below !== undefined && typeof given === "object" && given !== null;
    config[wire] = mergeable ? { ...below, ...given } : given;
  }
  return { settings, file, found, config, pluginDirectories };
}

function defaultDirectories(quietly: boolean): string[] {
  const path = join(projectFolder(), "plugins");
  return quietly && !isGranted({ name: "read", path }) ? [] : [path];
}

/** A wire in the file that no plugin has: said here, where the file's name is known. */
function checkWires(file: LoadedConfig | undefined, found: Discovery): void {
  const names = found.plugins.map((loaded) => loaded.plugin.name);
  for (const wire of Object.keys(file?.config.wires ?? {})) {
    if (names.includes(wire)) continue;
    const broken = found.broken.find((one) => one.name === wire);
    const near = nearest(wire, names);
    throw new PatchbayError(
      "invalid",
      broken === undefined
        ? `${file?.path}: wires.${wire}: there is no plugin of that name`
        : `${file?.path}: wires.${wire}: its plugin is broken: ${broken.reason}`,
      {
        details: { path: file?.path, key: `wires.${wire}` },
        remedy: broken !== undefined
          ? broken.remedy
          : near !== undefined
          ? `did you mean ${near}?`
          : `loaded are ${names.join(", ")}`,
      },
    );
  }
}

/**
 * The module's name if none is given: the main module's file name in snake case, or its folder's
 * for `main.ts`, `mod.ts` and `index.ts`; `undefined` where that says nothing (`deno eval`, tests).
 */
export function defaultModuleName(mainModule: string = Deno.mainModule): string | undefined {
  let path: string;
  try {
    path = fromFileUrl(mainModule);
  } catch {
    return undefined; // Run from the network: no two programs there need to differ by file name.
  }
  let name = basename(path, extname(path));
  if (name.startsWith("$deno$")) return undefined;
  if (["main", "mod", "index"].includes(name)) name = basename(dirname(path));
  name = name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "_").replace(/^[_-]+|[_-]+$/g, "").slice(0, 40);
  return name === "" ? undefined : name;
}

/** An instance name that nobody has: the default, or with the pid, or with the pid and a number. */
function freeInstance(runtimeDir: string, name: string): string {
  if (!isHeld(runtimeDir, name)) return name;
  const mine = `${name}-${Deno.pid}`;
  for (let n = 2, instance = mine;; instance = `${mine}-${n++}`) {
    if (!isHeld(runtimeDir, instance)) return instance;
  }
}

function toPatchbayError(error: unknown): PatchbayError {
  return error instanceof PatchbayError ? error : PatchbayError.fromThrown(error);
}

/** One line on stderr: what nobody awaits must not go unseen. */
function reportOnStderr(error: PatchbayError): void {
  const remedy = error.remedy === undefined ? "" : ` (${error.remedy})`;
  console.error(`patchbay: ${error.code}: ${error.message}${remedy}`);
}

/**
 * Opens a bay with the built-in plugins, those passed, and those found, and enters it into the
 * host's directory of live modules.
 *
 * Guaranteed: a broken plugin, or a runtime directory that cannot be used, stops nobody else; the
 * bay opens, and what is missing has its reason and remedy in `bay.wires()` or is reported. On
 * SIGINT, SIGTERM and SIGQUIT the bay closes before the process exits.
 *
 * @param options What to open; the configuration file says what is not given.
 * @throws {PatchbayError} `invalid`: an unknown option or configuration key; `unavailable`, not
 *   retryable: the instance name that was given is taken by a live process.
 *
 * @example
 * ```ts
 * import { open } from "@patchbay/host";
 * import inProcess from "@patchbay/in_process";
 *
 * await using bay = await open({ builtins: [inProcess], discover: false });
 * await bay.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await bay.call("desk/greet", "Ada"));
 * ```
 */
export async function open<
  const Builtins extends readonly Plugin[] = readonly [],
  const Plugins extends readonly Plugin[] = readonly [],
  const Discover extends boolean = true,
>(
  options: HostOpenOptions<Builtins, Plugins, Discover> = {},
): Promise<Bay<Opened<Builtins, Plugins, Discover>>> {
  const { settings, found, config } = await prepare(options, true);
  const report = guardReport(options.onReport ?? reportOnStderr);
  for (const { name, path, reason, remedy } of found.broken) {
    const message = `the plugin ${name} (${path}) is not loaded: ${reason}`;
    report(
      new PatchbayError("unavailable", message, { transport: name, retryable: false, remedy }),
    );
  }
  const plugins = found.plugins.map((loaded) => loaded.plugin);
  const runtime = options.runtimeDirectory === false ? switchedOff() : useRuntimeDir(settings);
  const module = settings.module ?? defaultModuleName();
  const mayRename = settings.module === undefined && settings.instance === undefined;

  for (let attempt = 1;; attempt++) {
    const instance = settings.instance ??
      (mayRename && module !== undefined && typeof runtime === "string"
        ? freeInstance(runtime, module)
        : undefined);
    try {
      let signals: Disposable | undefined;
      const bay = await openBay({
        plugins,
        module,
        instance,
        config,
        directory: (identity) => openDirectory(identity, runtime, plugins, report),
        authorize: options.authorize,
        layers: options.layers,
        telemetry: options.telemetry,
        maxMessageBytes: settings.maxMessageBytes,
        // Taken back when the bay has closed and not before, so that a signal which comes while it
        // closes waits for it.
        onClose: () => {
          signals?.[Symbol.dispose]();
          options.onClose?.();
        },
        onReport: report,
      });
      if (settings.publishStatistics !== false) {
        hostDirectory(bay.directory)?.publishStatistics(() => bay.statistics.snapshot(Date.now()));
      }
      if (settings.handleSignals !== false) signals = closeOnSignal(bay);
      return bay as unknown as Bay<Opened<Builtins, Plugins, Discover>>;
    } catch (error) {
      // Two programs of one default name that start together both found it free.
      const taken = error instanceof PatchbayError && error.details?.instance === instance;
      if (!mayRename || instance === undefined || !taken || attempt === 10) throw error;
    }
  }
}

function switchedOff(): PatchbayError {
  return new PatchbayError("unavailable", "the host directory is switched off", {
    retryable: false,
    remedy: "open the bay without runtimeDirectory: false",
  });
}

/** The runtime directory, or why there is none. */
function useRuntimeDir(settings: HostConfig): string | PatchbayError {
  try {
    return openRuntimeDir({
      path: settings.runtimeDirectory,
      shareRuntimeDir: settings.shareRuntimeDir,
    });
  } catch (error) {
    return toPatchbayError(error);
  }
}

async function openDirectory(
  identity: BayIdentity,
  runtime: string | PatchbayError,
  plugins: readonly Plugin[],
  report: (error: PatchbayError) => void,
): Promise<Directory | undefined> {
  if (typeof runtime !== "string") {
    noteMissingDirectory(identity, runtime);
    return undefined;
  }
  const processWires = plugins.filter((plugin) => plugin.scope === "process");
  return await HostDirectory.open(identity, {
    path: runtime,
    processWires: processWires.map((plugin) => plugin.name),
    report,
  });
}
