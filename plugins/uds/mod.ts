/**
 * uds: the three patterns between processes of one host, over Unix domain sockets. Frames behind a
 * length, sockets 0600 in a 0700 directory.
 *
 * @module
 */

import {
  DirectoryTransport,
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

/** How uds listens and dials. */
function driver(path: string, context: TransportContext): LinkDriver {
  return {
    async listen(accept) {
      const listener = await listenUnix({
        path,
        onConnection: (connection) => accept(new StreamLink(connection)),
        onError: (error) => context.report(PatchbayError.fromThrown(error)),
      });
      return { where: path, close: () => listener.close() };
    },
    async dial(where, signal) {
      return new StreamLink(await dialUnix(where, { signal }));
    },
  };
}

/** The plugin. */
const uds: Plugin<
  "uds",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  LinkConfig,
  UdsExtras
> = {
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
    return new DirectoryTransport(context, directory, driver(path, context), config, { path });
  },
};

export default uds;
