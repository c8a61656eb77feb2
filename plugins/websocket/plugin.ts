/**
 * The websocket plugin: a hub wire. One bay listens, the others dial it; core makes a transport of
 * it.
 *
 * @module
 */

import {
  type Availability,
  configSchema,
  hubClientTransport,
  type HubDriver,
  type hubTransport,
  PatchbayError,
  type Plugin,
  type TransportContext,
} from "@patchbay/core";
import { complaint, FIELDS, type WebSocketConfig } from "./config.ts";
import { type Dialler, pageDialler } from "./dial.ts";

export type { ListenAddress, TlsConfig, WebSocketConfig } from "./config.ts";

/** What only websocket has. */
export interface WebSocketExtras {
  /** Where the hub listens: `ws://…`. */
  readonly url: string;
  /** Whether this bay is the hub. */
  readonly hub: boolean;
}

/** What a bay needs that is the hub. */
export interface HubParts {
  /** What makes a transport of either driver. */
  readonly transport: typeof hubTransport;
  /** What is wrong with where it is to listen; `undefined` if nothing is. */
  readonly complaint: (config: WebSocketConfig) => Availability | undefined;
  /** How it listens, and whom it lets in. */
  readonly driver: (
    context: TransportContext,
    config: WebSocketConfig,
    parts: Pick<WebSocketParts, "onLink">,
    listening: (url: string) => void,
  ) => HubDriver;
}

/** What the plugin is made with. */
export interface WebSocketParts {
  /** How to be a hub; absent where nothing can listen: in a page. */
  readonly hub?: HubParts;
  /** Whether `npm:ws` may be used. */
  readonly npmWs?: boolean;
  /** How to dial; default: as a page does. */
  readonly dialler?: (config: WebSocketConfig) => Dialler;
  /** Called with each link that is accepted or dialled, before it is used. */
  readonly onLink?: (link: { readonly gone: Promise<void> }) => void;
}

/** The type of the plugin. */
export type WebSocketPlugin = Plugin<
  "websocket",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  WebSocketConfig,
  WebSocketExtras
>;

function client(
  context: TransportContext,
  config: WebSocketConfig,
  parts: WebSocketParts,
): HubDriver {
  const { url = "", token, tls } = config;
  const dialler = parts.dialler?.(config) ?? pageDialler;
  if (tls?.unsafelySkipVerification === true) {
    context.report(
      new PatchbayError("unauthenticated", `${url}: the hub's certificate is not verified`, {
        remedy: "remove tls.unsafelySkipVerification, and give tls.caFile",
      }),
    );
  }
  return {
    role: "client",
    where: url,
    credentials: token,
    async dial(signal) {
      const link = await dialler.dial(url, signal);
      parts.onLink?.(link);
      return link;
    },
    close: () => dialler.close?.(),
  };
}

/**
 * Makes the plugin.
 *
 * @param parts How to listen and dial, and what tests hang into it.
 */
export function createWebSocket(parts: WebSocketParts = {}): WebSocketPlugin {
  return {
    name: "websocket",
    summary: "over WebSockets, through a hub that one bay is; works in a page, too",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 20,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: false,
      values: false,
      backpressure: true,
      noticesDeath: true,
    },
    config: configSchema<WebSocketConfig>(FIELDS),
    permissions({ url, listen, tls }) {
      const files = listen === undefined
        ? [tls?.caFile, tls?.certFile, tls?.keyFile]
        : [listen.certFile, listen.keyFile, listen.clientCaFile];
      const reads = files.filter((path) => path !== undefined).map((path) =>
        `--allow-read=${path}`
      );
      if (listen !== undefined) {
        if (listen.listener !== undefined) return reads;
        return [`--allow-net=${listen.hostname ?? "127.0.0.1"}:${listen.port}`, ...reads];
      }
      const parsed = URL.parse(url ?? "");
      return parsed === null ? reads : [`--allow-net=${parsed.host}`, ...reads];
    },
    available: (config) =>
      complaint(config, parts.hub?.complaint, parts.npmWs === true) ?? { available: true },
    async open(context, config) {
      const extras = { url: config.url ?? "", hub: config.listen !== undefined };
      const full = {
        ...config,
        heartbeatMs: config.pingIntervalMs,
        heartbeatTimeoutMs: config.pingTimeoutMs,
      };
      const { hub } = parts;
      const driver: HubDriver = config.listen !== undefined && hub !== undefined
        ? hub.driver(context, config, parts, (where) => extras.url = where)
        : client(context, config, parts);
      return await (hub?.transport ?? hubClientTransport)(context, driver, full, extras);
    },
  };
}
