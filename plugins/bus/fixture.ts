/**
 * How the tests run the bus: a meeting is a manager on a free port, or one of the two bays is it.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import {
  type Fixture,
  freePort,
  futureHelloOnStream,
  type Json,
  type Meeting,
  strangerOver,
} from "@patchbay/core/conformance";
import { busAddress, dialBus } from "./address.ts";
import { createBus } from "./plugin.ts";

/** Patience of the tests: connections are made anew at once. */
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 200, connectTimeoutMs: 1000, rejoinMs: 1500 };
/** What a manager between two others lets through: the limits under test are theirs. */
const MANAGER_MAX_BYTES = 64 * 1024 * 1024;

/** Where a meeting is. */
interface Place {
  /** The port of the manager. */
  readonly port: number;
  /** The path of its Unix socket, if it has one. */
  readonly path: string | null;
  /** The module that is the manager. */
  readonly manager: string;
}

function meet(place: Place, leave: () => Promise<void>): Meeting {
  const connections = new Set<Deno.Conn>();
  const bus = createBus({ onConnection: (connection) => connections.add(connection) });
  const url = place.path === null ? `tcp://127.0.0.1:${place.port}` : `unix:${place.path}`;
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [bus],
      config: {
        bus: module === place.manager
          ? {
            ...QUICK,
            listen: place.path === null ? { port: place.port } : { path: place.path },
          }
          : { ...QUICK, url },
      },
    }),
    place: { ...place },
    sever() {
      for (const connection of connections) {
        connections.delete(connection);
        try {
          connection.close();
        } catch {
          // It was closed before.
        }
      }
      return Promise.resolve();
    },
    stranger: async (bytes) =>
      await strangerOver(
        await dialBus(busAddress(url)!, url, AbortSignal.timeout(5000)),
        bytes,
      ),
    otherVersion: futureHelloOnStream,
    [Symbol.asyncDispose]: leave,
  };
}

async function meeting(manager: string, unix: boolean): Promise<Meeting> {
  const folder = unix ? await Deno.makeTempDir({ prefix: "pb-" }) : undefined;
  if (folder !== undefined) await Deno.chmod(folder, 0o700);
  const place: Place = {
    port: unix ? 0 : freePort(),
    path: folder === undefined ? null : `${folder}/bus.sock`,
    manager,
  };
  let bay: Bay | undefined;
  const made = meet(place, async () => {
    await bay?.close();
    if (folder !== undefined) await Deno.remove(folder, { recursive: true });
  });
  if (manager === "manager") {
    bay = await open({ ...made.options("manager"), maxMessageBytes: MANAGER_MAX_BYTES });
  }
  return made;
}

/** Both sides are modules; a third bay is the manager, on TCP. */
const fixture: Fixture = {
  plugin: createBus(),
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not dial itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("manager", false),
  join: (place: Json) => Promise.resolve(meet(place as unknown as Place, () => Promise.resolve())),
  unavailable: () =>
    Promise.resolve({
      options: { module: "lonely", plugins: [createBus()] },
      reason: /neither `url` nor `listen`/,
      remedy: /patchbay bus/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

/** The far bay is the manager, on a Unix socket: nothing is relayed, and the manager can die. */
export const farIsManager: Fixture = {
  ...fixture,
  name: "bus (far is the manager, on a Unix socket)",
  layouts: ["same_process"],
  lacks: { ...fixture.lacks, two_processes: "when the manager has died, nobody reaches anybody" },
  meeting: () => meeting("far", true),
};

export default fixture;
