/**
 * The websocket plugin: a hub wire. One bay listens, the others dial it; core makes a transport of
 * it.
 *
 * @module
 */

import {
  configSchema,
  hubClientTransport,
  type HubDriver,
  type hubTransport,
  PatchbayError,
  type Plugin,
  sameSecret,
  type TransportContext,
} from "@patchbay/core";
import type { Door } from "./admission.ts";
import { complaint, FIELDS, type ListenAddress, type WebSocketConfig } from "./config.ts";
import { type Dialler, pageDialler } from "./dial.ts";
import type { Listening } from "./listening.ts";

export type { ListenAddress, TlsConfig, WebSocketConfig } from "./config.ts";

/** What only websocket has. */
export interface WebSocketExtras {
  /** Where the hub listens: `ws://…`. */
  readonly url: string;
  /** Whether this bay is the hub. */
  readonly hub: boolean;
}

/** What the plugin is made with. */
export interface WebSocketParts {
  /** How to listen; absent where nothing can: in a page. */
  readonly listen?: (address: ListenAddress) => Promise<Listening>;
  /** How to be a hub; absent where nothing can listen. */
  readonly transport?: typeof hubTransport;
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

/** What of an accepted link the hub looks at. */
interface Accepted {
  readonly authorized: boolean;
  readonly gone: Promise<void>;
}

function doorOf(
  context: TransportContext,
  config: WebSocketConfig,
  accept: Door["accept"],
): Door {
  const { token, origins, authenticate, pingIntervalMs, pingTimeoutMs, maxQueueBytes } = config;
  const { maxMessageBytes = context.maxMessageBytes } = config;
  return {
    path: config.listen?.path,
    origins,
    token,
    authenticate,
    json: { codecs: context.codecs, maxMessageBytes, maxQueueBytes },
    pingIntervalMs,
    pingTimeoutMs,
    accept,
    onRefusal: (status) =>
      context.statistics.countError(
        status === 401
          ? "unauthenticated"
          : status === 403
          ? "forbidden"
          : status === 404
          ? "not_found"
          : status === 408
          ? "deadline_exceeded"
          : "protocol",
      ),
    onError: (error) => context.report(PatchbayError.fromThrown(error)),
  };
}

function hub(
  context: TransportContext,
  config: WebSocketConfig,
  parts: WebSocketParts,
  listening: (url: string) => void,
): HubDriver {
  const { token, authenticate } = config;
  const address = config.listen as ListenAddress;
  return {
    role: "hub",
    async listen(accept) {
      const { maxMessageBytes = context.maxMessageBytes, compressionThreshold } = config;
      const own = address.listener === undefined;
      const listener = address.listener ?? await parts.listen?.({
        // A text may need two bytes for each of the message, and has a head.
        maxPayloadBytes: 2 * maxMessageBytes + 64 * 1024,
        perMessageDeflate: config.perMessageDeflate,
        compressionThreshold,
        handshakeMs: config.connectTimeoutMs,
        ...address,
      }) as Listening;
      let remove: () => void;
      try {
        remove = listener.add(doorOf(context, config, (link) => {
          parts.onLink?.(link as unknown as Accepted);
          accept(link);
        }));
      } catch (error) {
        if (own) await listener.close();
        throw error;
      }
      const where = listener.url + (address.path ?? "");
      listening(where);
      return {
        where,
        close: async () => {
          remove();
          if (own) await listener.close();
        },
      };
    },
    authenticate(credentials, _bay, link) {
      if (token === undefined && authenticate === undefined) return undefined;
      if ((link as unknown as Accepted).authorized) return undefined;
      if (token !== undefined && credentials !== undefined && sameSecret(credentials, token)) {
        return undefined;
      }
      throw new PatchbayError("unauthenticated", "the token is missing or wrong", {
        remedy: "set the hub's token in config.websocket.token",
      });
    },
  };
}

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
      complaint(config, parts.listen === undefined, parts.npmWs === true) ?? { available: true },
    async open(context, config) {
      const extras = { url: config.url ?? "", hub: config.listen !== undefined };
      const full = {
        ...config,
        heartbeatMs: config.pingIntervalMs,
        heartbeatTimeoutMs: config.pingTimeoutMs,
      };
      const driver: HubDriver = config.listen !== undefined
        ? hub(context, config, parts, (where) => extras.url = where)
        : client(context, config, parts);
      return await (parts.transport ?? hubClientTransport)(context, driver, full, extras);
    },
  };
}
