/**
 * websocket with `npm:ws` for what Deno cannot do: `clientCaFile`, `perMessageDeflate` and
 * `unsafelySkipVerification`. All else is as in the plugin itself.
 *
 * @module
 */

import { denoParts } from "./deno_parts.ts";
import { WebSocketListener } from "./listener.ts";
import type { ListenerOptions } from "./listening.ts";
import { dialNode } from "./node_dial.ts";
import { serveNode } from "./node_server.ts";
import { createWebSocket, type WebSocketPlugin } from "./plugin.ts";

export type { AuthenticateHandshake, Handshake } from "./admission.ts";
export type { ListenerOptions, Listening } from "./listening.ts";
export type {
  ListenAddress,
  TlsConfig,
  WebSocketConfig,
  WebSocketExtras,
  WebSocketPlugin,
} from "./plugin.ts";

/**
 * As `WebSocketListener.open()`, with `npm:ws` where the options need it.
 *
 * @param options Where, and how.
 */
export function openListener(options: ListenerOptions): Promise<WebSocketListener> {
  return WebSocketListener.open(options, serveNode);
}

/** The plugin. */
const websocket: WebSocketPlugin = createWebSocket(
  denoParts({ serve: serveNode, dial: dialNode }),
);

export default websocket;
