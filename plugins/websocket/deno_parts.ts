/**
 * What the plugin is made with on Deno: it listens, and dials with headers and certificates.
 *
 * @module
 */

import { hubTransport } from "@patchbay/core";
import { DenoDialler, type DialNode } from "./deno_dial.ts";
import { type ServeNode, WebSocketListener } from "./listener.ts";
import { aboutHub, hubDriver } from "./hub.ts";
import type { WebSocketParts } from "./plugin.ts";

/**
 * The parts that a page lacks.
 *
 * @param npmWs How `npm:ws` serves and dials, where it may be used.
 */
export function denoParts(
  npmWs?: { readonly serve: ServeNode; readonly dial: DialNode },
): WebSocketParts {
  return {
    hub: {
      transport: hubTransport,
      complaint: aboutHub,
      driver: hubDriver(({ port = 0, ...rest }) =>
        WebSocketListener.open({ port, ...rest }, npmWs?.serve)
      ),
    },
    npmWs: npmWs !== undefined,
    dialler: ({ headers, token, tls, perMessageDeflate, compressionThreshold }) =>
      new DenoDialler({
        // A proxy in front of the hub sees this; the hub itself would believe the hello.
        headers: token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers },
        tls,
        perMessageDeflate,
        compressionThreshold,
        npmWs: npmWs?.dial,
      }),
  };
}
