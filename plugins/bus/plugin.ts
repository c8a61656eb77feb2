/**
 * The bus plugin: a hub wire over TCP and Unix sockets. One bay, the manager, listens; modules
 * dial it. Core makes a transport of it; frames (`comm.ts`) go over it as any shout does.
 *
 * @module
 */

import {
  type Availability,
  type Bay,
  type ConfigFields,
  configSchema,
  HUB_FIELDS,
  type HubConfig,
  type HubDriver,
  hubTransport,
  isLoopback,
  LINK_FIELDS,
  open,
  PatchbayError,
  type Plugin,
  sameSecret,
  type TransportContext,
} from "@patchbay/core";
import { StreamLink } from "@patchbay/host";
import { type BusAddress, busAddress, DEFAULT_PORT, dialBus } from "./address.ts";
import {
  type BridgesHost,
  type BridgesOptions,
  DEFAULT_HOPS,
  ManagerBridges,
  MAX_HOPS,
} from "./bridging/manager_bridges.ts";
import { openDoors } from "./doors.ts";
import { frameMetadata, FrameRegistry } from "./frame_registry.ts";
import { FrameText } from "./frame_text.ts";
import type { FrameSet } from "./frames/frame.ts";
import { type Attendance, BRIDGE_METADATA, type ModuleView, Roster } from "./roster.ts";

/** What only the bus has. */
export interface BusExtras {
  /** Where the manager listens: `tcp://host:port` and `unix:path`, as far as it does. */
  readonly where: readonly string[];
  /** Whether this bay is the manager. */
  readonly manager: boolean;
  /** Of a manager: the modules that are connected now. */
  modules(): readonly ModuleView[];
  /**
   * Of a manager: calls back with each coming and going of a module; what it returns ends that. What
   * it throws is reported.
   */
  onAttendance(told: (attendance: Attendance) => void): () => void;
  /**
   * Of a manager: answers other managers, and joins their buses with this one. Whoever runs a manager
   * calls it once.
   *
   * @param bay The manager's bay.
   * @param options Which managers, besides those that the configuration names.
   * @throws `invalid`: this bay is no manager.
   */
  bridge(bay: Bay, options?: BridgesOptions): Promise<ManagerBridges>;
  /**
   * Frames for people, by names.
   *
   * @param file Definitions: what `deno task frames` has written, or what it reads; default: the
   * configuration's.
   * @throws `invalid`, `not_found`: there are none.
   */
  frameText(file?: string): Promise<FrameText>;
  /** Whether a connection stands: to the manager; at the manager, to any module. */
  readonly connected: boolean;
}

/** Where a manager listens; at least one of port and path. */
export interface BusListenAddress {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; 0 takes a free one; default 5000 if there is no path. */
  readonly port?: number;
  /** The path of a Unix socket. */
  readonly path?: string;
}

/** The configuration of the bus. */
export interface BusConfig extends HubConfig {
  /** The manager to dial: `tcp://host:port` or `unix:/path`. */
  readonly url?: string;
  /** Be the manager, and listen here. */
  readonly listen?: BusListenAddress;
  /** The secret that modules and manager share. */
  readonly token?: string;
  /** Of a manager: what happens to a module whose name another one has. */
  readonly sameName: "number" | "refuse";
  /** Of a manager: a module that has dropped so many messages in a row is cut off; 0: never. */
  readonly cutOffAfterDrops: number;
  /** For tools: the file with the frame definitions. */
  readonly frames?: string;
  /** Of a manager: other managers whose buses are joined with this one. */
  readonly bridge?: readonly string[];
  /** Of a manager: a frame passes so many bridges at most. */
  readonly hops: number;
}

/** The table of the configuration. */
const FIELDS: ConfigFields = {
  url: { kind: "string", description: "the manager to dial: `tcp://host:port` or `unix:/path`" },
  listen: {
    kind: "object",
    description: 'be the manager: `{ hostname: "127.0.0.1", port: 5000, path }`',
  },
  token: { kind: "string", description: "the secret that modules and manager share" },
  sameName: {
    kind: "string",
    oneOf: ["number", "refuse"],
    description: "of a manager: what happens to a module whose name another one has",
    default: "number",
  },
  cutOffAfterDrops: {
    kind: "integer",
    min: 0,
    description:
      "of a manager: a module is cut off that has lost so many messages without reading any; 0: never",
    default: 0,
  },
  frames: {
    kind: "string",
    description: "for tools: the file with the frame definitions, generated or not",
  },
  bridge: {
    kind: "strings",
    description: "of a manager: the urls of other managers whose buses are joined with this one",
  },
  hops: {
    kind: "integer",
    min: 1,
    max: MAX_HOPS,
    description: "of a manager: a frame passes so many bridges at most",
    default: DEFAULT_HOPS,
  },
  ...HUB_FIELDS,
  ...LINK_FIELDS,
};

/** What tests hang into the bus. */
export interface BusHooks {
  /** Called with each connection, dialled or accepted, before it is used. */
  readonly onConnection?: (connection: Deno.Conn) => void;
  /** The frame definitions that this side tells the other. */
  readonly frames?: FrameSet;
  /**
   * Called when the manager cannot be reached, has let this side in, or was lost.
   *
   * @param state Which of them.
   * @param error Why; of `there` none.
   */
  readonly onManager?: (state: "away" | "there" | "lost", error?: PatchbayError) => void;
  /** What else a module says of itself in its hello. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The type of the plugin. */
export type BusPlugin = Plugin<
  "bus",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  BusConfig,
  BusExtras
>;

/** What is wrong with a configuration, if anything is. */
function complaint({ url, listen, token }: BusConfig): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  if (url === undefined && listen === undefined) {
    return no(
      "it is not configured: neither `url` nor `listen` is given",
      `start a manager with patchbay bus, and set config.bus.url to tcp://127.0.0.1:${DEFAULT_PORT}`,
    );
  }
  if (url !== undefined && listen !== undefined) {
    return no(
      "both `url` and `listen` are given",
      "a bay dials a manager or is one: remove either",
    );
  }
  if (url !== undefined) {
    return busAddress(url) === undefined
      ? no(`\`url\` ${JSON.stringify(url)} is no bus's`, "write tcp://host:port or unix:/path")
      : undefined;
  }
  const { hostname = "127.0.0.1", port, path } = listen as BusListenAddress;
  const goodPort = port === undefined || (Number.isInteger(port) && port >= 0 && port <= 65_535);
  const goodPath = path === undefined || (typeof path === "string" && path !== "");
  if (typeof hostname !== "string" || !goodPort || !goodPath) {
    return no(
      "`listen` has no hostname, port and path",
      `write { hostname: "127.0.0.1", port: ${DEFAULT_PORT} }`,
    );
  }
  // An empty one is what an unset variable of a service file becomes: it keeps nobody out.
  const secret = token !== undefined && token !== "";
  if (!secret && (port !== undefined || path === undefined) && !isLoopback(hostname)) {
    return no(
      `\`listen\` on ${hostname} lets the network in, and there is no token`,
      "set config.bus.token on both sides (patchbay bus --token), or listen on 127.0.0.1",
    );
  }
  return undefined;
}

function manager(
  context: TransportContext,
  config: BusConfig,
  hooks: BusHooks,
  listening: (where: readonly string[]) => void,
  opened: (roster: Roster, registry: FrameRegistry) => void,
): HubDriver {
  const { token } = config;
  const registry = new FrameRegistry(hooks.frames);
  const roster = new Roster({
    sameName: config.sameName,
    cutOffAfterDrops: config.cutOffAfterDrops,
    report: (error) => context.report(error),
  });
  return {
    role: "hub",
    async listen(accept) {
      const doors = await openDoors({
        ...config.listen as BusListenAddress,
        onConnection(connection) {
          hooks.onConnection?.(connection);
          accept(new StreamLink(connection));
        },
        onError: (error) => context.report(PatchbayError.fromThrown(error)),
      });
      listening(doors.where);
      return {
        where: doors.where.join(", "),
        async close() {
          await doors.close();
          roster[Symbol.dispose]();
        },
      };
    },
    authenticate(credentials, bay, _link, metadata) {
      if (token !== undefined && !sameSecret(credentials ?? "", token)) {
        throw new PatchbayError("unauthenticated", "the token is missing or wrong", {
          remedy: "set the manager's token in config.bus.token",
        });
      }
      registry.admit(bay.module, metadata);
      roster.admit(bay);
      return undefined;
    },
    opened(hub) {
      roster.open(hub);
      opened(roster, registry);
    },
    listening() {
      for (const told of roster.onListening) told();
    },
    joined(bay, metadata) {
      // Others have come in since both were asked: what was free then may be taken.
      registry.join(bay, metadata);
      try {
        roster.join(bay);
      } catch (error) {
        registry.left(bay.id);
        throw error;
      }
    },
    left(bay) {
      registry.left(bay.id);
      roster.left(bay);
    },
  };
}

/**
 * Makes the plugin.
 *
 * @param hooks What tests hang into it.
 */
export function createBus(hooks: BusHooks = {}): BusPlugin {
  return {
    name: "bus",
    summary: "through a manager that routes between modules, over TCP or a Unix socket",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 10,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: false,
      values: false,
      backpressure: true,
      noticesDeath: true,
    },
    config: configSchema<BusConfig>(FIELDS),
    permissions({ url, listen }) {
      const flags: string[] = [];
      if (listen?.path !== undefined) flags.push(`--allow-net=unix:${listen.path}`);
      if (listen !== undefined && (listen.port !== undefined || listen.path === undefined)) {
        const { hostname = "127.0.0.1", port = DEFAULT_PORT } = listen;
        flags.push(`--allow-net=${hostname}:${port}`);
      }
      const address = url === undefined ? undefined : busAddress(url);
      if (address !== undefined) flags.push(`--allow-net=${permission(address)}`);
      return flags;
    },
    available: (config) => complaint(config) ?? { available: true },
    async open(context, config) {
      let roster: Roster | undefined;
      let registry: FrameRegistry | undefined;
      const extras: BusExtras & { where: readonly string[] } = {
        modules: () => roster?.modules() ?? [],
        onAttendance(told) {
          roster?.onAttendance.add(told);
          return () => void roster?.onAttendance.delete(told);
        },
        bridge(bay, options = {}) {
          if (roster === undefined || registry === undefined) {
            const message = `${context.identity.module} is no manager: it has no bus to join`;
            throw new PatchbayError("invalid", message, { remedy: "set config.bus.listen" });
          }
          const urls = [...config.bridge ?? [], ...options.urls ?? []];
          const { token = config.token, hops = config.hops } = options;
          const host = bridgesHost(bay, roster, registry);
          return ManagerBridges.open(bay, host, { ...options, urls, token, hops }, extras.where[0]);
        },
        async frameText(file = config.frames) {
          if (file === undefined) {
            throw new PatchbayError("invalid", "there are no frame definitions", {
              remedy: "name the file: --frames modules/frames/frames.ts, or config.bus.frames",
            });
          }
          const { loadFrames } = await import("./frames/load.ts");
          return new FrameText(await loadFrames(file));
        },
        where: config.url === undefined ? [] : [config.url],
        manager: config.listen !== undefined,
        get connected() {
          return context.statistics.connections > 0;
        },
      };
      if (config.listen !== undefined) {
        const driver = manager(
          context,
          config,
          hooks,
          (where) => extras.where = [...where],
          (theirs, table) => [roster, registry] = [theirs, table],
        );
        return await hubTransport(context, driver, config, extras);
      }
      const { url = "", token } = config;
      const address = busAddress(url) as BusAddress;
      const driver: HubDriver = {
        role: "client",
        where: url,
        credentials: token,
        metadata: {
          pid: String(Deno.pid),
          ...hooks.metadata,
          ...(hooks.frames === undefined ? {} : frameMetadata(hooks.frames)),
        },
        async dial(signal) {
          let connection: Deno.Conn;
          try {
            connection = await dialBus(address, url, signal);
          } catch (error) {
            hooks.onManager?.("away", unreachable(error, url));
            throw error;
          }
          hooks.onConnection?.(connection);
          return new StreamLink(connection);
        },
        connected: () => hooks.onManager?.("there"),
        lost: (error) => hooks.onManager?.("lost", error),
      };
      return await hubTransport(context, driver, config, extras);
    },
  };
}

/** What the bridges of a manager ask of it. */
function bridgesHost(bay: Bay, roster: Roster, registry: FrameRegistry): BridgesHost {
  const subscribe = <T>(all: Set<T>, told: T) => {
    all.add(told);
    return () => void all.delete(told);
  };
  const { id } = bay.identity;
  return {
    modules: () => roster.modules(),
    get table() {
      return registry.table;
    },
    onListening: (told) => subscribe(roster.onListening, told),
    onAttendance: (told) => subscribe(roster.onAttendance, told),
    dial: (url, token, onReport) =>
      open({
        module: `bridge-${id.slice(0, 8)}`,
        plugins: [createBus({ metadata: { [BRIDGE_METADATA]: id } })],
        config: { bus: { url, token, reconnectMaxMs: 500 } },
        onReport,
      }),
  };
}

/** Why a manager cannot be reached; who has not answered in time is away, too. */
function unreachable(error: unknown, url: string): PatchbayError {
  if (error instanceof PatchbayError) return error;
  return new PatchbayError("unavailable", `no manager of a bus answers at ${url}`, {
    remedy: "start it with patchbay bus",
    cause: error,
  });
}

function permission(address: BusAddress): string {
  return "path" in address ? `unix:${address.path}` : `${address.hostname}:${address.port}`;
}
