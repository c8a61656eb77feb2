/**
 * The uds plugin: how Unix sockets are listened on and dialled; core makes a transport of it.
 *
 * @module
 */

import {
  directoryTransport,
  type LinkConfig,
  linkConfig,
  type LinkDriver,
  PatchbayError,
  type Plugin,
  type TransportContext,
} from "@patchbay/core";
import { dialUnix, listenUnix, requireHostDirectory, socketPath, StreamLink } from "@patchbay/host";

/** What only uds has. */
export interface UdsExtras {
  /** The path of this bay's socket; it exists while something is served. */
  readonly path: string;
}

/** What tests may hang into uds. */
export interface UdsHooks {
  /** Called with each connection, dialled or accepted, before it is used. */
  onConnection?: (connection: Deno.UnixConn) => void;
}

/** How uds listens and dials. */
function driver(path: string, context: TransportContext, hooks: UdsHooks): LinkDriver {
  const link = (connection: Deno.UnixConn) => {
    hooks.onConnection?.(connection);
    return new StreamLink(connection);
  };
  return {
    async listen(accept) {
      const listener = await listenUnix({
        path,
        onConnection: (connection) => accept(link(connection)),
        onError: (error) => context.report(PatchbayError.fromThrown(error)),
      });
      return { where: path, close: () => listener.close() };
    },
    async dial(where, signal) {
      return link(await dialUnix(where, { signal }));
    },
  };
}

/** The type of the plugin. */
export type Uds = Plugin<
  "uds",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  LinkConfig,
  UdsExtras
>;

/**
 * Makes the plugin.
 *
 * @param hooks What tests hang into it.
 */
export function createUds(hooks: UdsHooks = {}): Uds {
  return {
    name: "uds",
    summary: "between processes of this host, over Unix domain sockets",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "host",
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
    config: linkConfig,
    available() {
      if (Deno.build.os === "windows") {
        return {
          available: false,
          reason: "Deno has no Unix sockets on Windows",
          remedy: "use websocket between processes on Windows",
        };
      }
      return { available: true };
    },
    // deno-lint-ignore require-await -- a missing directory must reject, not throw
    async open(context, config) {
      const directory = requireHostDirectory(context);
      const path = socketPath(directory.path, context.identity.instance);
      const extras = { path };
      return directoryTransport(
        context,
        directory,
        driver(path, context, hooks),
        config,
        extras,
      );
    },
  };
}
