/**
 * How the tests run grpc: a meeting is a runtime directory of its own; every connection goes through
 * a proxy that can cut it for real.
 *
 * @module
 */

import {
  CuttingProxy,
  type Fixture,
  type Json,
  type Meeting,
  type StrangerOutcome,
  strangerOver,
} from "@patchbay/core/conformance";
import { byModule, HostDirectory, openRuntimeDir } from "@patchbay/host";
import { createGrpc, type GrpcPlugin } from "./plugin.ts";
import { readTarget, urlOf } from "./targets.ts";

/**
 * Patience of the tests, and room for a thousand calls at once: the suite asks for the limits of an
 * endpoint (64 at once), which the ten of the server come before; `service_test.ts` has those.
 */
const QUICK = {
  reconnectMinMs: 10,
  reconnectMaxMs: 200,
  rejoinMs: 1500,
  maxCalls: 10_000,
  maxWaitingCalls: 10_000,
};

/** What connections go over. */
type Kind = "unix" | "tcp";

/** A plugin whose connections go through proxies. */
function proxied(proxies: Map<string, CuttingProxy>, folder: string): GrpcPlugin {
  const ways = new Map<string, string>();
  return createGrpc({
    reroute(url) {
      const known = ways.get(url);
      if (known !== undefined) return known;
      const target = readTarget(url);
      const unix = "path" in target;
      const path = unix ? `${folder}/${crypto.randomUUID().slice(0, 8)}` : undefined;
      const proxy = new CuttingProxy(unix ? target.path : target.port, path);
      proxies.set(url, proxy);
      const way = path === undefined
        ? urlOf({ host: "127.0.0.1", port: proxy.port, secure: false })
        : urlOf({ path });
      ways.set(url, way);
      return way;
    },
  });
}

function meet(path: string, folder: string, kind: Kind, leave: () => Promise<void>): Meeting {
  const proxies = new Map<string, CuttingProxy>();
  const grpc = proxied(proxies, folder);
  const listen = { listen: { hostname: "127.0.0.1", port: 0 } };
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [grpc],
      config: { grpc: { ...QUICK, ...(kind === "tcp" ? listen : {}) } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: { path, folder, kind },
    sever() {
      for (const proxy of proxies.values()) proxy.cut();
      return Promise.resolve();
    },
    stranger: (bytes, module) => stranger(path, module, bytes),
    otherVersion: () => new TextEncoder().encode("PRI * HTTP/9.9\r\n\r\nSM\r\n\r\n"),
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies.values()) await proxy.close();
      await leave();
    },
  };
}

async function stranger(path: string, module: string, bytes: Uint8Array): Promise<StrangerOutcome> {
  const [entry] = await byModule(module, path);
  const url = entry?.wires.grpc;
  if (url === undefined) throw new Error(`${module} does not listen`);
  const target = readTarget(url);
  const connection = "path" in target
    ? await Deno.connect({ transport: "unix", path: target.path })
    : await Deno.connect({ hostname: target.host, port: target.port });
  return await strangerOver(connection, bytes);
}

async function meeting(kind: Kind): Promise<Meeting> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  return meet(path, parent, kind, () => Deno.remove(parent, { recursive: true }));
}

/** grpc as it comes: over a Unix socket in the runtime directory. */
const fixture: Fixture = {
  plugin: createGrpc(),
  name: "grpc (Unix socket)",
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not call itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("unix"),
  join(place: Json) {
    const { path, folder, kind } = place as { path: string; folder: string; kind: Kind };
    return Promise.resolve(meet(path, folder, kind, () => Promise.resolve()));
  },
  unavailable: () =>
    Promise.resolve({
      options: {
        module: "lonely",
        plugins: [createGrpc()],
        config: { grpc: { listen: { hostname: "0.0.0.0", port: 0 } } },
      },
      reason: /lets the network in/,
      remedy: /config\.grpc\.tls\.clientCa/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

/** The same over TCP. */
export const overTcp: Fixture = { ...fixture, name: "grpc (TCP)", meeting: () => meeting("tcp") };

export default fixture;
