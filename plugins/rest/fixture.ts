/**
 * How the tests run rest: a meeting is a runtime directory of its own; every connection goes through
 * a proxy that can cut it for real.
 *
 * @module
 */

import {
  type Fixture,
  type Json,
  type Meeting,
  type StrangerOutcome,
  strangerOver,
} from "@patchbay/core/conformance";
import { byModule, HostDirectory, openRuntimeDir } from "@patchbay/host";
import { connector } from "./connector.ts";
import { CuttingProxy } from "./cutting_proxy.ts";
import { DENO_PARTS } from "./deno_parts.ts";
import type { Connect } from "./host.ts";
import { createRest, type RestPlugin } from "./plugin.ts";

/** Patience of the tests, and room for a thousand calls at once. */
const QUICK = {
  reconnectMinMs: 10,
  reconnectMaxMs: 200,
  rejoinMs: 1500,
  maxConnections: 10_000,
  maxSockets: 10_000,
  headersTimeoutMs: 1000,
  requestTimeoutMs: 20_000,
  keepAliveTimeoutMs: 1000,
};

/** A plugin whose connections go through proxies. */
function proxied(proxies: Map<string, CuttingProxy>): RestPlugin {
  const through = (connect: Connect): Connect => (base, events) => {
    const url = URL.parse(base);
    if (url === null || url.protocol !== "http:") return connect(base, events);
    let proxy = proxies.get(base);
    if (proxy === undefined) proxies.set(base, proxy = new CuttingProxy(Number(url.port)));
    return connect(`http://127.0.0.1:${proxy.port}`, events);
  };
  return createRest({ ...DENO_PARTS, connector: (config) => through(connector(config)) });
}

type Listener = "quick" | "guarded";

function meet(path: string, listener: Listener, leave: () => Promise<void>): Meeting {
  const proxies = new Map<string, CuttingProxy>();
  const rest = proxied(proxies);
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [rest],
      config: { rest: { ...QUICK, listener, listen: { hostname: "127.0.0.1", port: 0 } } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: { path, listener },
    sever() {
      for (const proxy of proxies.values()) proxy.cut();
      return Promise.resolve();
    },
    stranger: (bytes, module) => stranger(path, module, bytes),
    otherVersion: () => new TextEncoder().encode("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n"),
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies.values()) await proxy.close();
      await leave();
    },
  };
}

async function stranger(path: string, module: string, bytes: Uint8Array): Promise<StrangerOutcome> {
  const entry = await byModule(module, path);
  const url = URL.parse(entry[0]?.wires.rest ?? "");
  if (url === null) throw new Error(`${module} does not listen`);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(url.port) });
  return await strangerOver(connection, bytes);
}

async function meeting(listener: Listener): Promise<Meeting> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  return meet(path, listener, () => Deno.remove(parent, { recursive: true }));
}

/** rest as strangers reach it: over TCP, with the guarded listener. */
const fixture: Fixture = {
  plugin: createRest(DENO_PARTS),
  name: "rest (guarded)",
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not call itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("guarded"),
  join(place: Json) {
    const { path, listener } = place as { path: string; listener: Listener };
    return Promise.resolve(meet(path, listener, () => Promise.resolve()));
  },
  unavailable: () =>
    Promise.resolve({
      options: {
        module: "lonely",
        plugins: [createRest(DENO_PARTS)],
        config: { rest: { listen: { hostname: "0.0.0.0", port: 0 } } },
      },
      reason: /lets the network in/,
      remedy: /config\.rest\.auth/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

export default fixture;
