/**
 * websocket for pages: dials a hub, and reaches nothing that a browser lacks.
 *
 * @module
 */

import { createWebSocket, type WebSocketPlugin } from "./plugin.ts";

export type { WebSocketConfig, WebSocketExtras, WebSocketPlugin } from "./plugin.ts";

/** The plugin. */
const websocket: WebSocketPlugin = createWebSocket();

export default websocket;
