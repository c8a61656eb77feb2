/**
 * How the tests run rest: a meeting is a runtime directory of its own; every connection goes through
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
import { connector } from "./connector.ts";
import { DENO_PARTS } from "./deno_parts.ts";
import type { Connect, Way } from "./host.ts";
import { PRESENCE_PATH } from "./presence.ts";
import type { RestConfig } from "./config.ts";
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

/** Which of the two listeners, and over what. */
type Kind = "guarded over tcp" | "quick over unix" | "quick over http/2";

/** Made for tests, and good for 127.0.0.1. */
const CERTIFICATES = new URL("../websocket/testdata/certs/", import.meta.url);
const pem = (name: string) => Deno.readTextFileSync(new URL(name, CERTIFICATES));

/** What a bay of each kind is configured with. */
function configOf(kind: Kind): Partial<RestConfig> {
  const listen = { hostname: "127.0.0.1", port: 0 };
  switch (kind) {
    case "guarded over tcp":
      return { listener: "guarded", listen };
    case "quick over unix":
      return {};
    case "quick over http/2": {
      const tls = { cert: pem("server.pem"), key: pem("server.key"), ca: [pem("own-ca.pem")] };
      return { listener: "quick", listen, tls, http2: true };
    }
  }
}

/** A plugin whose connections go through proxies. */
function proxied(
  proxies: Map<string, CuttingProxy>,
  ways: Set<Way>,
  folder: string,
): RestPlugin {
  const through = (connect: Connect): Connect => (base, events) => {
    const unix = base.startsWith("unix:");
    const path = unix ? `${folder}/${crypto.randomUUID().slice(0, 8)}` : undefined;
    let proxy = proxies.get(base);
    if (proxy === undefined) {
      const target = unix ? base.slice("unix:".length) : Number(new URL(base).port);
      proxies.set(base, proxy = new CuttingProxy(target, path));
      paths.set(proxy, path);
    }
    const there = paths.get(proxy);
    const scheme = base.slice(0, base.indexOf(":"));
    const way = connect(
      there === undefined ? `${scheme}://127.0.0.1:${proxy.port}` : `unix:${there}`,
      events,
    );
    ways.add(way);
    const close = () => {
      ways.delete(way);
      way.close();
    };
    return {
      exchange: (request, maxBytes) => way.exchange(request, maxBytes),
      stream: (request) => way.stream(request),
      close,
    };
  };
  const paths = new Map<CuttingProxy, string | undefined>();
  return createRest({ ...DENO_PARTS, connector: (config) => through(connector(config)) });
}

function meet(path: string, folder: string, kind: Kind, leave: () => Promise<void>): Meeting {
  const proxies = new Map<string, CuttingProxy>();
  const ways = new Set<Way>();
  const rest = proxied(proxies, ways, folder);
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [rest],
      config: { rest: { ...QUICK, ...configOf(kind) } },
      directory: (identity) => HostDirectory.open(identity, { path }),
    }),
    place: { path, folder, kind },
    async sever() {
      // `fetch` makes a connection again unnoticed that is lost while nothing is on its way.
      const busy = kind === "quick over http/2" ? await Promise.all([...ways].map(watched)) : [];
      for (const proxy of proxies.values()) proxy.cut();
      await Promise.all(busy.map((one) => one.lost));
    },
    ...(kind === "guarded over tcp"
      ? {
        stranger: (bytes: Uint8Array, module: string) => stranger(path, module, bytes),
        otherVersion: () => new TextEncoder().encode("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n"),
      }
      : {}),
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies.values()) await proxy.close();
      await leave();
    },
  };
}

/** Has something on its way over the connection of a way, until that is lost. */
async function watched(way: Way): Promise<{ readonly lost: Promise<void> }> {
  const { signal } = new AbortController();
  const headers = { accept: "text/event-stream" };
  const { body } = await way.stream({
    method: "GET",
    target: PRESENCE_PATH,
    headers,
    body: undefined,
    signal,
  });
  const lost = (async () => {
    for await (const _ of body);
  })();
  return { lost: lost.catch(() => {}) };
}

async function stranger(path: string, module: string, bytes: Uint8Array): Promise<StrangerOutcome> {
  const entry = await byModule(module, path);
  const url = URL.parse(entry[0]?.wires.rest ?? "");
  if (url === null) throw new Error(`${module} does not listen`);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(url.port) });
  return await strangerOver(connection, bytes);
}

async function meeting(kind: Kind): Promise<Meeting> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  return meet(path, parent, kind, () => Deno.remove(parent, { recursive: true }));
}

/** rest as strangers reach it: over TCP, with the guarded listener. */
const fixture: Fixture = {
  plugin: createRest(DENO_PARTS),
  name: "rest (guarded)",
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not call itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("guarded over tcp"),
  join(place: Json) {
    const { path, folder, kind } = place as { path: string; folder: string; kind: Kind };
    return Promise.resolve(meet(path, folder, kind, () => Promise.resolve()));
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

/** rest as it comes: over a Unix socket in the runtime directory, with the quick listener. */
export const overUnix: Fixture = {
  ...fixture,
  name: "rest (quick, Unix socket)",
  lacks: {
    ...fixture.lacks,
    stranger: "Deno.serve waits for ever for a stranger's request: so it is for this host alone",
  },
  meeting: () => meeting("quick over unix"),
};

/** rest by `fetch`, as pages and `http2: true` have it: all requests to a host on one connection. */
export const overHttp2: Fixture = {
  ...overUnix,
  name: "rest (fetch, HTTP/2)",
  meeting: () => meeting("quick over http/2"),
};

export default fixture;
