/**
 * The websocket plugin: a hub wire. One bay listens, the others dial it; core makes a transport of
 * it.
 *
 * @module
 */

import {
  type Availability,
  type ConfigFields,
  configSchema,
  HUB_FIELDS,
  hubClientTransport,
  type HubConfig,
  type HubDriver,
  type hubTransport,
  type Link,
  LINK_FIELDS,
  type LinkListener,
  PatchbayError,
  type Plugin,
  type TransportContext,
} from "@patchbay/core";
import { dialWebSocket, isLoopback, WebSocketLink } from "./link.ts";
import { sameToken } from "./token.ts";

/** What only websocket has. */
export interface WebSocketExtras {
  /** Where the hub listens: `ws://…`. */
  readonly url: string;
  /** Whether this bay is the hub. */
  readonly hub: boolean;
}

/** Where a hub listens. */
export interface ListenAddress {
  /** The interface; default `127.0.0.1`. */
  readonly hostname?: string;
  /** The port; 0 takes a free one, which `bay.transport(websocket).url` tells. */
  readonly port: number;
}

/** The configuration of websocket. */
export interface WebSocketConfig extends HubConfig {
  /** The hub to dial: `ws://…` or `wss://…`. */
  readonly url?: string;
  /** Be the hub, and listen here. */
  readonly listen?: ListenAddress;
  /** The secret that clients and hub share. */
  readonly token?: string;
  /** The origins of pages that may connect; `*`: all. */
  readonly origins: readonly string[];
  /** How often both sides say that they are alive, in milliseconds. */
  readonly pingIntervalMs: number;
  /** A connection that is silent for so long is dead, in milliseconds. */
  readonly pingTimeoutMs: number;
}

const { heartbeatMs: _, ...linkFields } = LINK_FIELDS;

/** The table of the configuration. */
const FIELDS: ConfigFields = {
  url: { kind: "string", description: "the hub to dial: `ws://…` or `wss://…`" },
  listen: {
    kind: "object",
    description: 'be the hub, and listen here: `{ hostname: "127.0.0.1", port }`',
  },
  token: { kind: "string", description: "the secret that clients and hub share" },
  origins: {
    kind: "strings",
    description: "the origins of pages that may connect to the hub; `*`: all",
    default: [],
  },
  pingIntervalMs: {
    kind: "integer",
    min: 10,
    description: "how often both sides say that they are alive, in ms",
    default: 5000,
  },
  pingTimeoutMs: {
    kind: "integer",
    min: 10,
    description: "a connection that is silent for so long is dead, in ms",
    default: 15_000,
  },
  ...HUB_FIELDS,
  ...linkFields,
};

/** How a hub is made to listen. */
export type ServeWebSockets = (options: {
  /** The interface. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
  /** The origins that may connect. */
  readonly origins: readonly string[];
  /** The token that an `Authorization` header must have, if there is one. */
  readonly token: string | undefined;
  /** After so many seconds of silence the server pings, and soon closes. */
  readonly idleTimeoutSeconds: number;
  /** Called with each link. */
  readonly accept: (link: Link) => void;
  /** Called with the status of each refusal. */
  readonly onRefusal: (status: number) => void;
  /** Called with what nobody awaits. */
  readonly onError: (error: unknown) => void;
}) => Promise<LinkListener>;

/** What the plugin is made with. */
export interface WebSocketParts {
  /** How to listen; absent where nothing can: in a page. */
  readonly serve?: ServeWebSockets;
  /** How to be a hub; absent where nothing can listen. */
  readonly transport?: typeof hubTransport;
  /** Called with each socket that is dialled, before it is used. */
  readonly onSocket?: (socket: WebSocket) => void;
}

/** The type of the plugin. */
export type WebSocketPlugin = Plugin<
  "websocket",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  WebSocketConfig,
  WebSocketExtras
>;

/** What is wrong with a configuration, if anything is. */
function complaint(config: WebSocketConfig, parts: WebSocketParts): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  const { url, listen, token } = config;
  if (url === undefined && listen === undefined) {
    return no(
      "it is not configured: neither `url` nor `listen` is given",
      'set config.websocket.url to the hub\'s "ws://host:port", or listen: { port } to be it',
    );
  }
  if (url !== undefined && listen !== undefined) {
    return no("both `url` and `listen` are given", "a bay dials a hub or is one: remove either");
  }
  if (url !== undefined) {
    if (/^wss?:$/.test(URL.parse(url)?.protocol ?? "")) return undefined;
    return no(`\`url\` ${JSON.stringify(url)} is no WebSocket's`, "write ws://host:port");
  }
  const { hostname = "127.0.0.1", port } = listen as ListenAddress;
  if (typeof hostname !== "string" || !Number.isInteger(port) || port < 0 || port > 65_535) {
    return no("`listen` has no hostname and port", 'write { hostname: "127.0.0.1", port: 4000 }');
  }
  if (parts.serve === undefined) return no("a page cannot listen", "give `url` instead");
  if (token === undefined && !isLoopback(hostname)) {
    return no(
      `\`listen\` on ${hostname} lets the network in, and there is no token`,
      "set config.websocket.token on both sides, or listen on 127.0.0.1",
    );
  }
  return undefined;
}

function hub(
  context: TransportContext,
  config: WebSocketConfig,
  serve: ServeWebSockets,
  listening: (url: string) => void,
): HubDriver {
  const { token, origins, pingTimeoutMs } = config;
  const { hostname = "127.0.0.1", port } = config.listen as ListenAddress;
  return {
    role: "hub",
    async listen(accept) {
      const listener = await serve({
        hostname,
        port,
        origins,
        token,
        idleTimeoutSeconds: Math.max(1, Math.ceil(pingTimeoutMs / 1000)),
        accept,
        onRefusal: (status) =>
          context.statistics.countError(
            status === 401 ? "unauthenticated" : status === 403 ? "forbidden" : "protocol",
          ),
        onError: (error) => context.report(PatchbayError.fromThrown(error)),
      });
      listening(listener.where);
      return listener;
    },
    authenticate(credentials, _bay, link) {
      if (token === undefined) return undefined;
      if (link instanceof WebSocketLink && link.authorized) return undefined;
      if (credentials !== undefined && sameToken(credentials, token)) return undefined;
      throw new PatchbayError("unauthenticated", "the token is missing or wrong", {
        remedy: "set the hub's token in config.websocket.token",
      });
    },
  };
}

/**
 * Makes the plugin.
 *
 * @param parts How to listen, and what tests hang into it.
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
    permissions({ url, listen }) {
      if (listen !== undefined) {
        return [`--allow-net=${listen.hostname ?? "127.0.0.1"}:${listen.port}`];
      }
      const parsed = URL.parse(url ?? "");
      return parsed === null ? [] : [`--allow-net=${parsed.host}`];
    },
    available: (config) => complaint(config, parts) ?? { available: true },
    async open(context, config) {
      const extras = { url: config.url ?? "", hub: config.listen !== undefined };
      const full = {
        ...config,
        heartbeatMs: config.pingIntervalMs,
        heartbeatTimeoutMs: config.pingTimeoutMs,
      };
      const { url = "", token } = config;
      const driver: HubDriver = config.listen !== undefined && parts.serve !== undefined
        ? hub(context, config, parts.serve, (where) => extras.url = where)
        : {
          role: "client",
          where: url,
          credentials: token,
          dial: (signal) => dialWebSocket(url, signal, parts.onSocket),
        };
      return await (parts.transport ?? hubClientTransport)(context, driver, full, extras);
    },
  };
}
