/**
 * What the plugin is made with on Deno: it listens, and dials with headers and certificates.
 *
 * @module
 */

import { hubTransport } from "@patchbay/core";
import { DenoDialler } from "./deno_dial.ts";
import { WebSocketListener } from "./listener.ts";
import type { WebSocketParts } from "./plugin.ts";

/** The parts that a page lacks. */
export const denoParts: WebSocketParts = {
  transport: hubTransport,
  listen: ({ port = 0, ...rest }) => WebSocketListener.open({ port, ...rest }),
  dialler: ({ headers, token, tls, perMessageDeflate, compressionThreshold }) =>
    new DenoDialler({
      // A proxy in front of the hub sees this; the hub itself would believe the hello.
      headers: token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers },
      tls,
      perMessageDeflate,
      compressionThreshold,
    }),
};
