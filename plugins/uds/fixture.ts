/**
 * How the tests run uds: a meeting is a runtime directory of its own.
 *
 * @module
 */

import type { Fixture, Json, Meeting, StrangerOutcome } from "@patchbay/core/conformance";
import { encodeHello, HEADER_BYTES, Kind, writeHeader } from "@patchbay/core/envelope";
import { HostDirectory, LENGTH_BYTES, openRuntimeDir, socketPath } from "@patchbay/host";
import { createUds } from "./plugin.ts";

/** How long a stranger waits for the bay to close the connection, in milliseconds. */
const STRANGER_MS = 10_000;

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
    stranger: (bytes, module) => stranger(bytes, socketPath(path, module)),
    otherVersion,
    [Symbol.asyncDispose]: leave,
  };
}

async function stranger(bytes: Uint8Array, path: string): Promise<StrangerOutcome> {
  const connection = await Deno.connect({ transport: "unix", path });
  const reply: number[] = [];
  let closed = false;
  const late = setTimeout(() => connection.close(), STRANGER_MS);
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const read = await connection.read(buffer);
      if (read === null) break;
      reply.push(...buffer.subarray(0, read));
    }
    closed = true;
  } catch (error) {
    // A reset is a way to close, too.
    closed =
      !(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted);
  } finally {
    clearTimeout(late);
  }
  try {
    connection.close();
  } catch {
    // It timed out.
  }
  return { reply: new Uint8Array(reply), closed };
}

function otherVersion(): Uint8Array {
  const body = encodeHello({
    versions: [7, 9],
    bay: { id: "f".repeat(16), module: "future", instance: "future" },
    codecs: ["json"],
    compression: [],
    maxMessageBytes: 1024,
    windowBytes: 65_536,
    capabilities: [],
    metadata: {},
  });
  const bytes = new Uint8Array(LENGTH_BYTES + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, LENGTH_BYTES, Kind.hello, 0, 0, 255, 0, 0, 0, 0);
  bytes.set(body, LENGTH_BYTES + HEADER_BYTES);
  return bytes;
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
