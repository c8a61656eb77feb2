/**
 * How the conformance suite runs my_wire: a meeting is a runtime directory of its own.
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
import { HostDirectory, listModules, openRuntimeDir } from "@patchbay/host";
import { createMyWire } from "./mod.ts";

function meet(path: string, leave: () => Promise<void>): Meeting {
  const connections = new Set<Deno.TcpConn>();
  const myWire = createMyWire({ onConnection: (connection) => connections.add(connection) });
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [myWire],
      config: { my_wire: { reconnectMinMs: 10, connectTimeoutMs: 1000 } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: path,
    sever() {
      for (const connection of connections) {
        connections.delete(connection);
        close(connection);
      }
      return Promise.resolve();
    },
    stranger: async (bytes, module) => await strangerOver(await dial(module, path), bytes),
    otherVersion: futureHelloOnStream,
    [Symbol.asyncDispose]: leave,
  };
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/** Connects to the bay of a module as a program that does not know the protocol. */
async function dial(module: string, path: string): Promise<Deno.TcpConn> {
  const entry = (await listModules(path)).find((each) => each.module === module);
  const port = Number(entry?.wires.my_wire.split(":")[1]);
  return await Deno.connect({ hostname: "127.0.0.1", port });
}

/** my_wire in a temporary runtime directory. */
const fixture: Fixture = {
  plugin: createMyWire(),
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not dial itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  async meeting() {
    const parent = await Deno.makeTempDir({ prefix: "patchbay-" });
    const path = openRuntimeDir({ path: `${parent}/run` });
    return meet(path, () => Deno.remove(parent, { recursive: true }));
  },
  join: (place: Json) => Promise.resolve(meet(String(place), () => Promise.resolve())),
  unavailable: () =>
    Promise.resolve({
      options: { module: "lonely", plugins: [createMyWire()] },
      reason: /without a host directory/,
      remedy: /Patchbay\.open/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

export default fixture;
