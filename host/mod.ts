/**
 * Patchbay on Deno: finds plugins, reads the configuration, keeps the directory of live modules in
 * the runtime directory, closes on signals, and opens the bay with all that.
 *
 * @module
 */

export { type HostConfig, loadConfig, type LoadedConfig } from "./config.ts";
export {
  HostDirectory,
  hostDirectory,
  type HostDirectoryOptions,
  requireHostDirectory,
} from "./directory.ts";
export { type FleetOptions, FleetRun, type FleetState, type FleetStatus } from "./fleet.ts";
export { type Fleet, type FleetModule, readFleet, type RestartPolicy } from "./fleet_file.ts";
export { type HostReport, inspect, type InspectExtras, type PluginReport } from "./inspect.ts";
export {
  dialUnix,
  type DialUnixOptions,
  listenUnix,
  type ListenUnixOptions,
  UnixListener,
} from "./listener.ts";
export {
  type BrokenPlugin,
  discover,
  type DiscoverOptions,
  type Discovery,
  type LoadedPlugin,
  projectFolder,
} from "./loader.ts";
export { type MetricsOptions, type MetricsServer, serveMetrics } from "./metrics.ts";
export { byModule, listModules, statisticsOf } from "./modules.ts";
export { defaultModuleName, type HostOpenOptions, open, type Opened } from "./open.ts";
export {
  bayPermissions,
  type BayPermissionsOptions,
  fromNotCapable,
  isGranted,
  mergeFlags,
} from "./permissions.ts";
export { isPlugin, pluginFaults } from "./plugin_shape.ts";
export { ReadTurns } from "./read_turns.ts";
export { locateRuntimeDir, openRuntimeDir, type RuntimeDirOptions } from "./runtime_dir.ts";
export { onShutdown, type ShutdownOptions, type ShutdownTarget } from "./signals.ts";
export { checkSocketPath, MAX_SOCKET_PATH_BYTES, socketPath } from "./socket_path.ts";
export { type CleanOptions, cleanStale, findStale, isHeld, type Stale } from "./stale.ts";
export { LENGTH_BYTES, StreamLink } from "./stream_link.ts";
