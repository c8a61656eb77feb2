/**
 * How the tests run shared_memory: a meeting is a runtime directory of its own.
 *
 * @module
 */

import { type Fixture, type Json, type Meeting, strangerOver } from "@patchbay/core/conformance";
import { HostDirectory, openRuntimeDir, socketPath } from "@patchbay/host";
import { encodeMessage } from "./control.ts";
import { createSharedMemory, type SharedMemoryConfig } from "./plugin.ts";
import type { RingLink } from "./ring_link.ts";

type Doorbell = SharedMemoryConfig["doorbell"];

function meet(path: string, doorbell: Doorbell, leave: () => Promise<void>): Meeting {
  const connections = new Set<Deno.UnixConn>();
  const links = new Set<RingLink>();
  const sharedMemory = createSharedMemory({
    onConnection: (connection) => connections.add(connection),
    onLink(link) {
      links.add(link);
      link.freed.then(() => links.delete(link));
    },
  });
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [sharedMemory],
      config: { shared_memory: { reconnectMinMs: 10, connectTimeoutMs: 1000, doorbell } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: { path, doorbell },
    async sever() {
      // Closing the socket alone cuts nothing before its end is noticed: the rings go on.
      await Promise.all([...links].map((link) => link.close(true)));
      // And those that have not become links yet.
      for (const connection of connections) {
        connections.delete(connection);
        try {
          connection.close();
        } catch {
          // It was closed before.
        }
      }
    },
    stranger: async (bytes, module) =>
      await strangerOver(
        await Deno.connect({ transport: "unix", path: socketPath(path, module, "shm") }),
        bytes,
      ),
    otherVersion: () => encodeMessage({ memory: "somewhere", words: "of the future" }, 9),
    [Symbol.asyncDispose]: leave,
  };
}

async function meeting(doorbell: Doorbell): Promise<Meeting> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  return meet(path, doorbell, () => Deno.remove(parent, { recursive: true }));
}

/** shared_memory in a temporary runtime directory. */
const fixture: Fixture = {
  plugin: createSharedMemory(),
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not dial itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("socket"),
  join(place: Json) {
    const { path, doorbell } = place as { path: string; doorbell: Doorbell };
    return Promise.resolve(meet(path, doorbell, () => Promise.resolve()));
  },
  // That --allow-ffi is really missing is tested in a process of its own.
  unavailable: () =>
    Promise.resolve({
      options: {
        module: "lonely",
        plugins: [
          createSharedMemory({
            availability: () => ({
              available: false,
              reason: "Deno was started without the permission to use FFI",
              remedy: "pass --allow-ffi",
            }),
          }),
        ],
      },
      reason: /FFI/,
      remedy: /--allow-ffi/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

/** The same, woken by semaphores instead of sockets. */
export const bySemaphore: Fixture = {
  ...fixture,
  name: "shared_memory (woken by semaphores)",
  meeting: () => meeting("semaphore"),
};

export default fixture;
