/**
 * Says of every plugin what it is, whether it works here, and what it needs: what `doctor` prints.
 *
 * @module
 */

import {
  type Availability,
  availability,
  type BayIdentity,
  type Capabilities,
  checkConfig,
  type ConfigFields,
  type FuturePlace,
  guardReport,
  PatchbayError,
  type Scope,
  type Traits,
} from "@patchbay/core";
import type { BrokenPlugin, LoadedPlugin } from "./loader.ts";
import { defaultModuleName, type HostOpenOptions, prepare } from "./open.ts";
import { mergeFlags } from "./permissions.ts";
import { openRuntimeDir } from "./runtime_dir.ts";
import { cleanStale, findStale, type Stale } from "./stale.ts";

/** What is known about one plugin. */
export interface PluginReport {
  /** Its name. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  /** Where it came from: a path, an import specifier, or `built-in`. */
  readonly path: string;
  /** Which patterns it has. */
  readonly capabilities: Capabilities;
  /** What it really gives. */
  readonly traits: Traits;
  /** How far it reaches. */
  readonly scope: Scope;
  /** Its order within the scope. */
  readonly rank: number;
  /** Whether it can be used here; if not, the reason and the remedy. */
  readonly availability: Availability;
  /** The Deno permission flags it needs. */
  readonly permissions: readonly string[];
  /** The fields of its configuration; `undefined` where another library made the schema. */
  readonly fields?: ConfigFields;
}

/** What is known about the host. */
export interface HostReport {
  /** Every plugin that was loaded. */
  readonly plugins: readonly PluginReport[];
  /** Those that could not be. */
  readonly broken: readonly BrokenPlugin[];
  /** The configuration file, if there is one. */
  readonly configFile?: string;
  /** The directories that were scanned for plugins. */
  readonly pluginDirectories: readonly string[];
  /** The runtime directory, if it can be used. */
  readonly runtimeDirectory?: string;
  /** Why it cannot, if it cannot: a `PatchbayError` with its remedy. */
  readonly runtimeProblem?: PatchbayError;
  /** What dead processes have left and is still there; `cleanStale` removes it. */
  readonly stale: readonly Stale[];
  /** What was removed of it, if that was asked for: paths. */
  readonly removed: readonly string[];
}

/** What to do besides looking. */
export interface InspectExtras {
  /** Remove what dead processes have left. */
  readonly clean?: boolean;
  /** The instances that the bay would dial: some plugins need a permission for each. */
  readonly peers?: readonly string[];
}

/**
 * Inspects what a bay would be opened with, without opening it.
 *
 * Guaranteed: no plugin is opened; one that is broken, misconfigured or hangs is reported, and holds
 * the report up by a second at most once imported.
 *
 * @param options As for `open`.
 * @param extras What to do besides looking.
 * @throws {PatchbayError} `invalid`: an unknown option or configuration key.
 *
 * @example
 * ```ts
 * import { inspect } from "@patchbay/host";
 * import inProcess from "@patchbay/in_process";
 *
 * const report = await inspect({ builtins: [inProcess], discover: false });
 * for (const { name, availability } of report.plugins) {
 *   console.log(name, availability.available ? "works" : availability.remedy);
 * }
 * ```
 */
export async function inspect(
  options: HostOpenOptions = {},
  extras: InspectExtras = {},
): Promise<HostReport> {
  const { settings, file, found, config, pluginDirectories } = await prepare(options, false);
  const module = settings.module ?? defaultModuleName() ?? "module";
  const identity = { id: "0".repeat(16), module, instance: settings.instance ?? module };
  let runtimeDirectory: string | undefined;
  let runtimeProblem: PatchbayError | undefined;
  if (options.runtimeDirectory !== false) {
    try {
      runtimeDirectory = openRuntimeDir({
        path: settings.runtimeDirectory,
        shareRuntimeDir: settings.shareRuntimeDir,
      });
    } catch (error) {
      runtimeProblem = error instanceof PatchbayError ? error : PatchbayError.fromThrown(error);
    }
  }
  const future = runtimeDirectory === undefined
    ? undefined
    : { runtimeDir: runtimeDirectory, peers: extras.peers ?? [] };
  const plugins = await Promise.all(
    found.plugins.map((loaded) => reportOn(loaded, config[loaded.plugin.name], identity, future)),
  );
  const place = runtimeDirectory === undefined ? undefined : {
    runtimeDir: runtimeDirectory,
    plugins: found.plugins.map(({ plugin }) => plugin),
    report: guardReport(options.onReport),
  };
  const removed = place !== undefined && extras.clean === true ? await cleanStale(place) : [];
  const stale = place === undefined ? [] : await findStale(place);
  return {
    plugins,
    stale,
    removed,
    broken: found.broken,
    configFile: file?.path,
    pluginDirectories,
    runtimeDirectory,
    runtimeProblem,
  };
}

async function reportOn(
  { plugin, path }: LoadedPlugin,
  given: unknown,
  identity: BayIdentity,
  future: FuturePlace | undefined,
): Promise<PluginReport> {
  const { name, summary, capabilities, traits, scope, rank } = plugin;
  const about = { name, summary, path, capabilities, traits, scope, rank };
  const fields = plugin.config.fields;
  try {
    const config = checkConfig(plugin.config, given, `config.${name}`);
    const permissions = mergeFlags(plugin.permissions?.(config, identity, future) ?? []);
    return { ...about, fields, permissions, availability: await availability(plugin, config) };
  } catch (error) {
    const known = PatchbayError.fromThrown(error);
    return {
      ...about,
      fields,
      permissions: [],
      availability: {
        available: false,
        reason: known.message,
        remedy: known.remedy ?? "correct its configuration",
      },
    };
  }
}
