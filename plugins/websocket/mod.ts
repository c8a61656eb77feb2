/**
 * websocket: the three patterns over WebSockets. One bay is the hub and listens; the others, pages
 * among them, dial it, and reach one another through it.
 *
 * @module
 */

import { denoParts } from "./deno_parts.ts";
import { createWebSocket, type WebSocketPlugin } from "./plugin.ts";

export type { AuthenticateHandshake, Handshake } from "./admission.ts";
export { WebSocketListener } from "./listener.ts";
export type { ListenerOptions, Listening } from "./listening.ts";
export type {
  ListenAddress,
  TlsConfig,
  WebSocketConfig,
  WebSocketExtras,
  WebSocketPlugin,
} from "./plugin.ts";

/** The plugin. */
const websocket: WebSocketPlugin = createWebSocket(denoParts());

export default websocket;
