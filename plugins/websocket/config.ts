/**
 * The configuration of websocket: its table, and what can be wrong with it.
 *
 * @module
 */

import {
  type Availability,
  type ConfigFields,
  HUB_FIELDS,
  type HubConfig,
  LINK_FIELDS,
} from "@patchbay/core";
import type { AuthenticateHandshake } from "./admission.ts";
import type { ListenerOptions, Listening } from "./listening.ts";

/** Where a hub listens. */
export interface ListenAddress extends Partial<ListenerOptions> {
  /** The path of its own; default: any. */
  readonly path?: string;
  /** A listener that several bays share, instead of one of its own. */
  readonly listener?: Listening;
}

/** The certificates of a client. */
export interface TlsConfig {
  /** Who signs the hub's certificate, as a PEM file; default: who the system trusts. */
  readonly caFile?: string;
  /** The client's own certificate, as a PEM file, where the hub asks for one. */
  readonly certFile?: string;
  /** Its key, as a PEM file. */
  readonly keyFile?: string;
  /** Believe any certificate. Whoever is in between can read and change everything. */
  readonly unsafelySkipVerification?: boolean;
}

/** The configuration of websocket. */
export interface WebSocketConfig extends HubConfig {
  /** The hub to dial: `ws://…` or `wss://…`. */
  readonly url?: string;
  /** Be the hub, and listen here. */
  readonly listen?: ListenAddress;
  /** The secret that clients and hub share. */
  readonly token?: string;
  /** Of the hub: says who a client is, by its headers, address and certificate. */
  readonly authenticate?: AuthenticateHandshake;
  /** The origins of pages that may connect; `*`: all. */
  readonly origins: readonly string[];
  /** Of a client: sent with the handshake. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of a client: certificates. */
  readonly tls?: TlsConfig;
  /** Whether to agree on permessage-deflate. */
  readonly perMessageDeflate: boolean;
  /** How often both sides say that they are alive, in milliseconds. */
  readonly pingIntervalMs: number;
  /** A connection that is silent for so long is dead, in milliseconds. */
  readonly pingTimeoutMs: number;
}

const { heartbeatMs: _, ...linkFields } = LINK_FIELDS;

/** The table of the configuration. */
export const FIELDS: ConfigFields = {
  url: { kind: "string", description: "the hub to dial: `ws://…` or `wss://…`" },
  listen: {
    kind: "object",
    description: "be the hub, and listen here: `{ port, hostname, path, certFile, … }`, see below",
  },
  token: { kind: "string", description: "the secret that clients and hub share" },
  authenticate: {
    kind: "any",
    description: "of the hub: a function that says who a client is, see Security",
  },
  origins: {
    kind: "strings",
    description: "the origins of pages that may connect to the hub; `*`: all",
    default: [],
  },
  headers: {
    kind: "object",
    description: "of a client: headers of the handshake; not in a page",
    default: {},
  },
  tls: {
    kind: "object",
    description:
      "of a client: `{ caFile, certFile, keyFile, unsafelySkipVerification }`; not in a page",
  },
  perMessageDeflate: {
    kind: "boolean",
    description: "agree on permessage-deflate with those that can (RFC 7692); not in a page",
    default: false,
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
  // What may be under way to a peer far off: 64 KiB would be 640 KB/s where a round trip is 100 ms.
  windowBytes: { ...linkFields.windowBytes, default: 256 * 1024 },
};

/** A reason and what to do about it. */
export const no = (reason: string, remedy: string): Availability => ({
  available: false,
  reason,
  remedy,
});

/**
 * What is wrong with a configuration; `undefined` if nothing is.
 *
 * @param config The configuration.
 * @param aboutHub What is wrong with a hub; absent in a page, which cannot listen, nor send headers.
 * @param npmWs Whether `npm:ws` may be used.
 */
export function complaint(
  config: WebSocketConfig,
  aboutHub: ((config: WebSocketConfig) => Availability | undefined) | undefined,
  npmWs: boolean,
): Availability | undefined {
  const page = aboutHub === undefined;
  const { url, listen } = config;
  if (url === undefined && listen === undefined) {
    return no(
      "it is not configured: neither `url` nor `listen` is given",
      'set config.websocket.url to the hub\'s "ws://host:port", or listen: { port } to be it',
    );
  }
  if (url !== undefined && listen !== undefined) {
    return no("both `url` and `listen` are given", "a bay dials a hub or is one: remove either");
  }
  const needs = config.perMessageDeflate || listen?.perMessageDeflate === true ||
    listen?.clientCaFile !== undefined || config.tls?.unsafelySkipVerification === true;
  if (needs && !npmWs && !page) {
    return no(
      "clientCaFile, perMessageDeflate and unsafelySkipVerification need npm:ws",
      'import websocket from "@patchbay/websocket/node"',
    );
  }
  if (url !== undefined) return aboutClient(config, url, page);
  return page ? no("a page cannot listen", "give `url` instead") : aboutHub(config);
}

function aboutClient(
  config: WebSocketConfig,
  url: string,
  page: boolean,
): Availability | undefined {
  if (!/^wss?:$/.test(URL.parse(url)?.protocol ?? "")) {
    return no(`\`url\` ${JSON.stringify(url)} is no WebSocket's`, "write ws://host:port");
  }
  const { tls, headers, perMessageDeflate } = config;
  if (page && (tls !== undefined || perMessageDeflate || Object.keys(headers).length > 0)) {
    return no(
      "a page can set neither `tls`, `headers` nor `perMessageDeflate`: the browser does that",
      "remove them; a token goes with the hello",
    );
  }
  if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined)) {
    return no("`tls` has a certFile or a keyFile, and lacks the other", "give both");
  }
  return undefined;
}
