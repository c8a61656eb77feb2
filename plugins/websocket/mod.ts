/**
 * websocket: the three patterns over WebSockets. One bay is the hub and listens; the others, pages
 * among them, dial it, and reach one another through it.
 *
 * @module
 */

import { hubTransport } from "@patchbay/core";
import { createWebSocket, type WebSocketPlugin } from "./plugin.ts";
import { serveWebSockets } from "./server.ts";

export type { ListenAddress, WebSocketConfig, WebSocketExtras, WebSocketPlugin } from "./plugin.ts";

/** The plugin. */
const websocket: WebSocketPlugin = createWebSocket({
  serve: serveWebSockets,
  transport: hubTransport,
});

export default websocket;
