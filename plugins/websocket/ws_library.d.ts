/**
 * What is used of `npm:ws`, which brings no types: its own package of types would replace Deno's
 * types of Node in the whole workspace.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** How permessage-deflate is agreed on. */
export interface PerMessageDeflate {
  readonly threshold?: number;
  readonly serverNoContextTakeover?: boolean;
  readonly clientNoContextTakeover?: boolean;
}

export interface ClientOptions {
  readonly headers?: Record<string, string>;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
  readonly perMessageDeflate?: boolean | PerMessageDeflate;
  readonly maxPayload?: number;
}

export class WebSocket {
  constructor(url: string, protocols?: string | string[], options?: ClientOptions);
  readonly readyState: number;
  readonly bufferedAmount: number;
  readonly extensions: string;
  readonly protocol: string;
  binaryType: string;
  on(event: "pong", listener: () => void): this;
  on(event: "open", listener: () => void): this;
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this;
  on(event: "close", listener: (code: number, reason: Buffer) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  send(data: string | Uint8Array, options?: { binary?: boolean }): void;
  ping(): void;
  readonly isPaused: boolean;
  pause(): void;
  resume(): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

export class WebSocketServer {
  constructor(options: {
    readonly noServer: true;
    readonly maxPayload: number;
    readonly perMessageDeflate: boolean | PerMessageDeflate;
    handleProtocols(offered: Set<string>, request: IncomingMessage): string | false;
  });
  readonly clients: Set<WebSocket>;
  on(event: "wsClientError", listener: (error: Error) => void): this;
  handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    done: (socket: WebSocket) => void,
  ): void;
  close(): void;
}
