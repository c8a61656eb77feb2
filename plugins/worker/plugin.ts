/**
 * The worker plugin: a hub wire inside one program. The thread that has workers is the hub, and they
 * dial it; core makes a transport of it.
 *
 * @module
 */

import {
  type Availability,
  type ConfigFields,
  configSchema,
  HUB_FIELDS,
  type HubConfig,
  hubTransport,
  LINK_FIELDS,
  PatchbayError,
  type Plugin,
  type Transport,
} from "@patchbay/core";
import { child, parentPort } from "./child.ts";
import type { Port } from "./greeting.ts";
import type { LinkWishes } from "./make_link.ts";
import { type AttachedWorker, Parent } from "./parent.ts";
import type { PortLink } from "./port_link.ts";

/** What only worker has. */
export interface WorkerExtras {
  /** Whether this bay is the parent. */
  readonly parent: boolean;
  /**
   * Starts a worker, which is terminated with the bay. `bay.waitFor(contract)` tells when it serves.
   *
   * @param url Its module.
   * @param options As for `new Worker`; it is a module unless they say otherwise.
   * @throws {PatchbayError} `closed`; `invalid`: no worker can be made of it; this bay is no parent.
   */
  spawn(url: string | URL, options?: WorkerOptions): AttachedWorker;
  /**
   * Takes in a worker that exists, or a port to one, which the bay does not terminate.
   *
   * @param worker The worker.
   * @throws {PatchbayError} `closed`; `invalid`: it was adopted before, or this bay is no parent.
   */
  adopt(worker: Worker | MessagePort): AttachedWorker;
}

/** The configuration of worker. */
export interface WorkerConfig extends HubConfig {
  /** Whether this bay is the parent, or a worker's. */
  readonly role: "auto" | "parent" | "worker";
  /** The way to the parent, where it is not the worker's own. */
  readonly port?: Port;
  /** Whether to share memory where that is allowed. */
  readonly shared: boolean;
  /** How many bytes the ring of each direction holds. */
  readonly ringBytes: number;
  /** How long to look for more before sleeping, in microseconds. */
  readonly spinUs: number;
}

/** The table of the configuration. */
const FIELDS: ConfigFields = {
  role: {
    kind: "string",
    oneOf: ["auto", "parent", "worker"],
    description: "`auto`: in a worker its bay dials the parent, elsewhere it is the parent",
    default: "auto",
  },
  port: {
    kind: "object",
    description: "the way to the parent, where it is not the worker's own: a `MessagePort`",
  },
  shared: {
    kind: "boolean",
    description: "whether to use `SharedArrayBuffer` where it is allowed, on both sides",
    default: true,
  },
  ringBytes: {
    kind: "integer",
    min: 64 * 1024,
    max: 64 * 1024 * 1024,
    description: "ring of each direction, in bytes; rounded up to a power of two",
    default: 256 * 1024,
  },
  spinUs: {
    kind: "integer",
    min: 0,
    max: 100_000,
    description: "how long to look for more after a message before sleeping, in µs",
    default: 50,
  },
  ...HUB_FIELDS,
  ...LINK_FIELDS,
  connectTimeoutMs: { ...LINK_FIELDS.connectTimeoutMs, default: 1000 },
};

/** What the plugin is made with. */
export interface WorkerParts {
  /** Called with each link. */
  readonly onLink?: (link: PortLink) => void;
  /** Called with what a parent's bay has, when it opens. */
  readonly onParent?: (extras: WorkerExtras) => void;
}

/** The type of the plugin. */
export type WorkerPlugin = Plugin<
  "worker",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  WorkerConfig,
  WorkerExtras
>;

/** The way to the parent; `undefined`: this bay is the parent. */
function wayUp({ role, port }: WorkerConfig): Port | undefined {
  return role === "parent" ? undefined : port ?? parentPort();
}

function availability(config: WorkerConfig): Availability {
  if (config.role === "worker" && wayUp(config) === undefined) {
    return {
      available: false,
      reason: "this thread is no worker, and there is no `port` to a parent",
      remedy: 'leave config.worker.role at "auto", or give a MessagePort as config.worker.port',
    };
  }
  if (config.port !== undefined && typeof config.port.postMessage !== "function") {
    return {
      available: false,
      reason: "`port` is nothing that messages can be posted to",
      remedy: "give a MessagePort as config.worker.port",
    };
  }
  if (typeof Worker === "undefined" && wayUp(config) === undefined) {
    return { available: false, reason: "there are no workers here", remedy: "use another wire" };
  }
  return { available: true };
}

/**
 * Makes the plugin.
 *
 * @param parts What tests hang into it.
 */
export function createWorker(parts: WorkerParts = {}): WorkerPlugin {
  return {
    name: "worker",
    summary: "between a page or program and its workers, through shared memory or messages",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "process",
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
    config: configSchema<WorkerConfig>(FIELDS),
    permissions: () => [],
    available: availability,
    async open(context, config): Promise<Transport<WorkerExtras>> {
      const wishes: LinkWishes = { ...config, ...parts };
      const port = wayUp(config);
      if (port === undefined) {
        const parent = new Parent({ wishes, report: (error) => context.report(error) });
        const extras: WorkerExtras = {
          parent: true,
          spawn: (url, options = {}) => parent.spawn(url, options),
          adopt: (worker) => parent.adopt(worker),
        };
        const listen = parent.listen.bind(parent);
        const transport = await hubTransport(context, { role: "hub", listen }, config, extras);
        parts.onParent?.(extras);
        return transport;
      }
      const extras: WorkerExtras = { parent: false, spawn: noParent, adopt: noParent };
      const { driver, close } = child(port, wishes, () => context.routesChanged());
      const transport = await hubTransport(context, driver, config, extras);
      const closeTransport = transport.close.bind(transport);
      transport.close = async () => {
        close();
        await closeTransport();
      };
      return transport;
    },
  };
}

function noParent(): never {
  throw new PatchbayError("invalid", "this bay is a worker's: it has no workers", {
    remedy: 'open another bay with config.worker.role "parent" for workers of this worker',
  });
}
