/**
 * The side of websocket that is the hub: what is asked of its configuration, where it listens, whom
 * it lets in. A page has none of it.
 *
 * @module
 */

import {
  type Availability,
  type HubDriver,
  isLoopback,
  PatchbayError,
  sameSecret,
  type TransportContext,
} from "@patchbay/core";
import type { Door } from "./admission.ts";
import { type ListenAddress, no, type WebSocketConfig } from "./config.ts";
import type { Listening } from "./listening.ts";
import type { HubParts, WebSocketParts } from "./plugin.ts";

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

/**
 * How a bay is the hub.
 *
 * @param listen How to listen.
 */
export function hubDriver(
  listen: (address: ListenAddress) => Promise<Listening>,
): HubParts["driver"] {
  return (context, config, parts, listening) => hub(listen, context, config, parts, listening);
}

function hub(
  listen: (address: ListenAddress) => Promise<Listening>,
  context: TransportContext,
  config: WebSocketConfig,
  parts: Pick<WebSocketParts, "onLink">,
  listening: (url: string) => void,
): HubDriver {
  const { token, authenticate } = config;
  const address = config.listen as ListenAddress;
  return {
    role: "hub",
    async listen(accept) {
      const { maxMessageBytes = context.maxMessageBytes, compressionThreshold } = config;
      const own = address.listener === undefined;
      const listener = address.listener ?? await listen({
        // A text may need two bytes for each of the message, and has a head.
        maxPayloadBytes: 2 * maxMessageBytes + 64 * 1024,
        perMessageDeflate: config.perMessageDeflate,
        compressionThreshold,
        handshakeMs: config.connectTimeoutMs,
        ...address,
      });
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

/**
 * What is wrong with where a hub is to listen; `undefined` if nothing is.
 *
 * @param config The configuration, which has `listen`.
 */
export function aboutHub(config: WebSocketConfig): Availability | undefined {
  const listen = config.listen as ListenAddress;
  const { hostname = "127.0.0.1", port, path, listener, certFile, keyFile, clientCaFile } = listen;
  if (path !== undefined && !path.startsWith("/")) {
    return no(`\`listen.path\` ${JSON.stringify(path)} is no path`, 'write path: "/arm"');
  }
  if (listener === undefined) {
    const good = typeof port === "number" && Number.isInteger(port) && port >= 0 && port <= 65_535;
    if (typeof hostname !== "string" || !good) {
      return no("`listen` has no hostname and port", 'write { hostname: "127.0.0.1", port: 4000 }');
    }
  } else if (port !== undefined || certFile !== undefined) {
    return no("`listen` has a listener and a port", "a shared listener brings its own address");
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    return no("`listen` has a certFile or a keyFile, and lacks the other", "give both");
  }
  if (clientCaFile !== undefined && certFile === undefined) {
    return no("`listen.clientCaFile` without TLS", "give listen.certFile and listen.keyFile");
  }
  // What an unset variable becomes: whoever shows nothing would show it.
  if (config.token === "") {
    return no("`token` is empty", "set a secret, or leave it out where only this host may come in");
  }
  const guarded = config.token !== undefined || config.authenticate !== undefined ||
    clientCaFile !== undefined || listener?.asksForCertificates === true;
  if (!guarded && !isLoopback(listener?.hostname ?? hostname)) {
    return no(
      `\`listen\` on ${listener?.hostname ?? hostname} lets the network in, and there is no token`,
      "set config.websocket.token on both sides, or listen on 127.0.0.1",
    );
  }
  return undefined;
}
