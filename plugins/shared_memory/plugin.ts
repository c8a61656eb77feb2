/**
 * The shared_memory plugin: how pairs of processes meet and share a segment; core makes a transport
 * of it.
 *
 * @module
 */

import {
  type ConfigFields,
  configSchema,
  directoryTransport,
  type Link,
  LINK_FIELDS,
  type LinkConfig,
  type LinkDriver,
  PatchbayError,
  type Plugin,
  type TransportContext,
} from "@patchbay/core";
import { type Libc, type LibcAvailability, libcAvailability, openLibc } from "@patchbay/ffi";
import { dialUnix, listenUnix, requireHostDirectory, socketPath } from "@patchbay/host";
import { Bells } from "./bells.ts";
import {
  acceptLink,
  type ControlHooks,
  MAX_RING_BYTES,
  MIN_RING_BYTES,
  offerLink,
  refuse,
  segmentBytes,
} from "./control.ts";
import { Names } from "./names.ts";
import { lackOfRoom, leftovers, Sweeper } from "./orphans.ts";
import type { RingLink } from "./ring_link.ts";

/** What only shared_memory has. */
export interface SharedMemoryExtras {
  /** The path of this bay's socket; it exists while something is served. */
  readonly path: string;
}

/** The configuration of shared_memory. */
export interface SharedMemoryConfig extends LinkConfig {
  /** How many bytes of messages the ring of each direction holds; the dialling side's counts. */
  readonly ringBytes: number;
  /** What wakes this bay when it sleeps: the socket to each peer, or one semaphore for all. */
  readonly doorbell: "socket" | "semaphore";
}

const FIELDS: ConfigFields = {
  ...LINK_FIELDS,
  maxMessageBytes: {
    ...LINK_FIELDS.maxMessageBytes,
    description: "largest message, in bytes; default: the bay's, else 64 MiB",
  } as ConfigFields[string],
  // As long in time as 64 KiB on a socket: memory takes a megabyte in a fraction of a millisecond.
  windowBytes: { ...LINK_FIELDS.windowBytes, default: 512 * 1024 } as ConfigFields[string],
  ringBytes: {
    kind: "integer",
    min: MIN_RING_BYTES,
    max: MAX_RING_BYTES,
    description: "ring of each direction, in bytes; rounded up to a power of two",
    default: 1024 * 1024,
  },
  doorbell: {
    kind: "string",
    oneOf: ["socket", "semaphore"],
    description: "what wakes this bay: the socket to each peer, or one POSIX semaphore for all",
    default: "socket",
  },
};

/** What tests may hang into shared_memory. */
export interface SharedMemoryHooks extends ControlHooks {
  /** Called with each connection, dialled or accepted, before it is used. */
  onConnection?: (connection: Deno.UnixConn) => void;
  /** Called with each link. */
  onLink?: (link: RingLink) => void;
  /** Instead of asking the system whether the C library can be used. */
  availability?: () => LibcAvailability;
}

/** The type of the plugin. */
export type SharedMemoryWire = Plugin<
  "shared_memory",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  SharedMemoryConfig,
  SharedMemoryExtras
>;

function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/** How long room for one more segment is taken to be there, in milliseconds. */
const ROOM_KNOWN_MS = 1000;
const SMALLER = "lower config.shared_memory.ringBytes";

/** The bytes of one ring. */
function capacityOf({ ringBytes }: SharedMemoryConfig): number {
  return 2 ** Math.ceil(Math.log2(ringBytes));
}

/** How shared_memory listens and dials. */
class Driver implements LinkDriver {
  readonly #path: string;
  readonly #context: TransportContext;
  readonly #config: SharedMemoryConfig;
  readonly #hooks: SharedMemoryHooks;
  readonly #names: Names;
  readonly #libc: Libc;
  /** Connections that have not agreed on a segment yet. */
  readonly #meeting = new Map<Deno.UnixConn, Promise<void>>();
  readonly #dials = new Set<Promise<Link>>();
  readonly #links = new Set<RingLink>();
  readonly #sweeper: Sweeper;
  readonly #bells: Bells;
  /** Until when there is taken to be room for one more segment. */
  #roomUntil = 0;

  constructor(
    path: string,
    context: TransportContext,
    config: SharedMemoryConfig,
    hooks: SharedMemoryHooks,
    names: Names,
    libc: Libc,
  ) {
    this.#path = path;
    this.#context = context;
    this.#config = config;
    this.#hooks = hooks;
    this.#names = names;
    this.#libc = libc;
    this.#sweeper = new Sweeper(
      requireHostDirectory(context),
      libc,
      (error) => context.report(error.with({ transport: context.name })),
    );
    this.#bells = new Bells(
      libc,
      config.doorbell === "semaphore" ? names.prefix : undefined,
    );
  }

  async listen(accept: (link: Link) => void) {
    const listener = await listenUnix({
      path: this.#path,
      onConnection: (connection) => this.#accept(connection, accept),
      onError: (error) => this.#context.report(PatchbayError.fromThrown(error)),
    });
    return {
      where: this.#path,
      close: async () => {
        await listener.close();
        await this.#dismiss();
      },
    };
  }

  dial(where: string, signal: AbortSignal): Promise<Link> {
    const dialling = this.#dial(where, signal);
    this.#dials.add(dialling);
    return dialling.finally(() => this.#dials.delete(dialling));
  }

  async #dial(where: string, signal: AbortSignal): Promise<Link> {
    const capacity = capacityOf(this.#config);
    const segment = this.#names.next();
    const connection = await dialUnix(where, { signal });
    this.#hooks.onConnection?.(connection);
    const giveUp = () => closeQuietly(connection);
    signal.addEventListener("abort", giveUp);
    try {
      const [epoch] = crypto.getRandomValues(new Int32Array(1));
      const offer = { segment, capacity, epoch, pid: Deno.pid, bell: this.#bells.name };
      return this.#keep(await offerLink(connection, offer, this.#libc, this.#hooks, this.#bells));
    } catch (error) {
      closeQuietly(connection);
      this.#roomUntil = 0;
      signal.throwIfAborted();
      throw lost(error);
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  obstacle(): PatchbayError | undefined {
    // Looking takes a millisecond, and many addresses may be bound at once.
    const now = performance.now();
    if (now < this.#roomUntil) return undefined;
    const lack = lackOfRoom(segmentBytes(capacityOf(this.#config)));
    this.#roomUntil = lack === undefined ? now + ROOM_KNOWN_MS : 0;
    return lack;
  }

  async close(): Promise<void> {
    await this.#dismiss();
    // Whoever dialled has given up by now.
    await Promise.allSettled(this.#dials);
    await Promise.all([...this.#links].map((link) => link.close(true)));
    this.#sweeper[Symbol.dispose]();
    await this.#bells.close();
    this.#libc[Symbol.dispose]();
  }

  #accept(connection: Deno.UnixConn, accept: (link: Link) => void): void {
    this.#hooks.onConnection?.(connection);
    if (this.#meeting.size >= this.#config.maxConnections) return this.#turnAway(connection);
    const late = setTimeout(() => closeQuietly(connection), this.#config.connectTimeoutMs);
    const met = (async () => {
      try {
        const link = await acceptLink(connection, this.#libc, this.#hooks, this.#bells);
        if (link === undefined) closeQuietly(connection);
        else accept(this.#keep(link));
      } catch (error) {
        closeQuietly(connection);
        this.#context.report(lost(error).with({ transport: this.#context.name }));
      } finally {
        clearTimeout(late);
        this.#meeting.delete(connection);
      }
    })();
    this.#meeting.set(connection, met);
  }

  /** So many are handing over memory at once. */
  #turnAway(connection: Deno.UnixConn): void {
    const { statistics, identity } = this.#context;
    statistics.countError("overloaded");
    const message = `${this.#meeting.size} peers are connecting to ${identity.module}`;
    const remedy = "raise maxConnections, or connect fewer";
    void refuse(connection, new PatchbayError("overloaded", message, { remedy }))
      .catch(() => {}) // It has gone by itself.
      .finally(() => closeQuietly(connection));
  }

  /** Sends away who has not said what segment to use. */
  async #dismiss(): Promise<void> {
    const meeting = [...this.#meeting];
    for (const [connection] of meeting) closeQuietly(connection);
    await Promise.all(meeting.map(([, met]) => met));
  }

  /** The library must stay open as long as the memory is mapped. */
  #keep(link: RingLink): RingLink {
    this.#links.add(link);
    this.#hooks.onLink?.(link);
    link.freed.then(() => this.#links.delete(link));
    return link;
  }
}

/** The error that a broken socket means. */
function lost(error: unknown): PatchbayError {
  if (
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset
  ) {
    return new PatchbayError("closed", "the connection ended before the memory was shared", {
      cause: error,
    });
  }
  return PatchbayError.fromThrown(error);
}

/**
 * Makes the plugin.
 *
 * @param hooks What tests hang into it.
 */
export function createSharedMemory(hooks: SharedMemoryHooks = {}): SharedMemoryWire {
  return {
    name: "shared_memory",
    summary: "between processes of this host, through memory that both have mapped",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "host",
    // Before uds (20).
    rank: 10,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: true,
      values: false,
      backpressure: true,
      noticesDeath: true,
    },
    defaultMaxMessageBytes: 64 * 1024 * 1024,
    config: configSchema<SharedMemoryConfig>(FIELDS),
    permissions(_, { instance }, place) {
      if (place === undefined) return ["--allow-ffi"];
      const sockets = [instance, ...place.peers]
        .map((each) => `unix:${socketPath(place.runtimeDir, each, "shm")}`);
      return ["--allow-ffi", `--allow-net=${sockets.join(",")}`];
    },
    available(config) {
      if (Deno.build.os !== "linux") {
        return {
          available: false,
          reason: `shared_memory has been run on Linux only, and this is ${Deno.build.os}`,
          remedy: Deno.build.os === "windows" ? "use websocket instead" : "use uds instead",
        };
      }
      const libc = (hooks.availability ?? libcAvailability)();
      const full = libc.available ? lackOfRoom(segmentBytes(capacityOf(config))) : undefined;
      return full === undefined
        ? libc
        : { available: false, reason: full.message, remedy: full.remedy ?? SMALLER };
    },
    leftovers,
    async open(context, config) {
      const directory = requireHostDirectory(context);
      const { instance } = context.identity;
      const path = socketPath(directory.path, instance, "shm");
      const names = await Names.of(directory.path, instance);
      const libc = openLibc();
      const driver = new Driver(path, context, config, hooks, names, libc);
      return directoryTransport(context, directory, driver, config, { path });
    },
  };
}
