/**
 * How the tests run uds: a meeting is a runtime directory of its own.
 *
 * @module
 */

import {
  type Fixture,
  futureHelloOnStream,
  type Json,
  type Meeting,
  strangerOver,
} from "@patchbay/core/conformance";
import { HostDirectory, openRuntimeDir, socketPath } from "@patchbay/host";
import { createUds } from "./plugin.ts";

function meet(path: string, leave: () => Promise<void>): Meeting {
  const connections = new Set<Deno.UnixConn>();
  const uds = createUds({ onConnection: (connection) => connections.add(connection) });
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [uds],
      config: { uds: { reconnectMinMs: 10, connectTimeoutMs: 1000 } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: path,
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
    stranger: async (bytes, module) =>
      await strangerOver(
        await Deno.connect({ transport: "unix", path: socketPath(path, module) }),
        bytes,
      ),
    otherVersion: futureHelloOnStream,
    [Symbol.asyncDispose]: leave,
  };
}

/** uds in a temporary runtime directory. */
const fixture: Fixture = {
  plugin: createUds(),
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not dial itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  async meeting() {
    const parent = await Deno.makeTempDir({ prefix: "pb-" });
    const path = openRuntimeDir({ path: `${parent}/run` });
    return meet(path, () => Deno.remove(parent, { recursive: true }));
  },
  join: (place: Json) => Promise.resolve(meet(String(place), () => Promise.resolve())),
  unavailable: () =>
    Promise.resolve({
      options: { module: "lonely", plugins: [createUds()] },
      reason: /without a host directory/,
      remedy: /Patchbay\.open/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

export default fixture;
