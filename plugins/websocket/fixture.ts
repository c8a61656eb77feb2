/**
 * How the tests run websocket: a meeting is a hub behind a proxy on the loopback interface, which
 * can cut every connection for real.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import type { Fixture, Json, Meeting, StrangerOutcome } from "@patchbay/core/conformance";
import { encodeHello, HEADER_BYTES, Kind, writeHeader } from "@patchbay/core/envelope";
import { denoParts } from "./deno_parts.ts";
import { SUBPROTOCOL } from "./link.ts";
import { dialNode } from "./node_dial.ts";
import { serveNode } from "./node_server.ts";
import { createWebSocket, type WebSocketConfig } from "./plugin.ts";
import { CuttingProxy, freePort } from "@patchbay/core/conformance";

/** How long a stranger waits for the bay to close the connection, in milliseconds. */
const STRANGER_MS = 10_000;
/** Patience of the tests: connections are made anew at once. */
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 200, connectTimeoutMs: 1000, rejoinMs: 1500 };

/** What a hub between two others lets through: the limits under test are theirs. */
const HUB_MAX_BYTES = 64 * 1024 * 1024;

/** Where a meeting is. */
interface Place {
  /** The port of the proxy, which clients dial. */
  readonly dial: number;
  /** The port of the hub. */
  readonly listen: number;
  /** The module that is the hub. */
  readonly hub: string;
}

/** Further configuration of all bays of a meeting. */
type Further = Partial<WebSocketConfig>;

function meet(
  place: Place,
  leave: () => Promise<void>,
  proxy?: CuttingProxy,
  further: Further = {},
): Meeting {
  const open = new Set<Promise<void>>();
  const track = (gone: Promise<void>) => {
    open.add(gone);
    gone.then(() => open.delete(gone));
  };
  const websocket = createWebSocket({
    ...denoParts({ serve: serveNode, dial: dialNode }),
    onLink: (link) => track(link.gone),
  });
  const url = `ws://127.0.0.1:${place.dial}`;
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [websocket],
      config: {
        websocket: module === place.hub
          ? { ...QUICK, ...further, listen: { hostname: "127.0.0.1", port: place.listen } }
          : { ...QUICK, ...further, url },
      },
    }),
    place: { ...place },
    async sever() {
      const cut = [...open];
      proxy?.cut();
      // What was past the proxy already still arrives: afterwards nothing old does.
      await Promise.all(cut);
    },
    stranger: (bytes) => stranger(bytes, url),
    otherVersion,
    [Symbol.asyncDispose]: leave,
  };
}

async function meeting(hub: string, further?: Further): Promise<Meeting> {
  const listen = freePort();
  const proxy = new CuttingProxy(listen);
  const place: Place = { dial: proxy.port, listen, hub };
  let bay: Bay | undefined;
  const made = meet(
    place,
    async () => {
      await bay?.close();
      await proxy.close();
    },
    proxy,
    further,
  );
  if (hub === "hub") bay = await open({ ...made.options("hub"), maxMessageBytes: HUB_MAX_BYTES });
  return made;
}

/** Opens a WebSocket as a program that does not know what is spoken there. */
async function stranger(bytes: Uint8Array, url: string): Promise<StrangerOutcome> {
  const socket = new WebSocket(url, SUBPROTOCOL);
  socket.binaryType = "arraybuffer";
  const reply: number[] = [];
  const closed = Promise.withResolvers<boolean>();
  socket.onmessage = ({ data }) => reply.push(...new Uint8Array(data as ArrayBuffer));
  socket.onerror = (event) => event.preventDefault();
  socket.onopen = () => {
    if (bytes.length > 0) socket.send(bytes.slice());
  };
  socket.onclose = () => closed.resolve(true);
  const late = setTimeout(() => {
    closed.resolve(false);
    socket.close();
  }, STRANGER_MS);
  const outcome = await closed.promise;
  clearTimeout(late);
  return { reply: new Uint8Array(reply), closed: outcome };
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
  const bytes = new Uint8Array(4 + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, 4, Kind.hello, 0, 0, 255, 0, 0, 0, 0);
  bytes.set(body, 4 + HEADER_BYTES);
  return bytes;
}

/** Both sides are clients of a third bay, which relays. */
const fixture: Fixture = {
  plugin: createWebSocket(denoParts()),
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: { alone: "a bay does not dial itself: in_process is for that" },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: () => meeting("hub"),
  join: (place: Json) => Promise.resolve(meet(place as unknown as Place, () => Promise.resolve())),
  unavailable: () =>
    Promise.resolve({
      options: { module: "lonely", plugins: [createWebSocket(denoParts())] },
      reason: /neither `url` nor `listen`/,
      remedy: /config\.websocket\.url/,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

/** The far bay is the hub: nothing is relayed between the two, and the hub can die. */
export const farIsHub: Fixture = {
  ...fixture,
  name: "websocket (far is the hub)",
  layouts: ["same_process"],
  lacks: { ...fixture.lacks, two_processes: "when the hub has died, nobody reaches anybody" },
  meeting: () => meeting("far"),
};

/** The near bay is the hub. */
export const nearIsHub: Fixture = {
  ...fixture,
  name: "websocket (near is the hub)",
  meeting: () => meeting("near"),
};

/** As {@link farIsHub}, but both sides are `npm:ws`, and agree on permessage-deflate. */
export const overNode: Fixture = {
  ...farIsHub,
  name: "websocket (npm:ws)",
  plugin: createWebSocket(denoParts({ serve: serveNode, dial: dialNode })),
  meeting: () => meeting("far", { perMessageDeflate: true, compressionThreshold: 128 }),
};

export default fixture;
