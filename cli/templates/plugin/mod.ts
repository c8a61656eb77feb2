/**
 * my_wire: the three patterns between processes of this host, over TCP on the loopback interface.
 *
 * A link plugin: it supplies how to listen and how to dial, and core makes a transport of it. Where
 * a bay listens stands in the directory of live modules, so nobody configures a port.
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
import { fromNotCapable, requireHostDirectory, StreamLink } from "@patchbay/host";

/** The interface it listens on: this host alone. */
const HOSTNAME = "127.0.0.1";

/** What only my_wire has: nothing. Put here what the three patterns do not cover. */
export type MyWireExtras = Record<never, never>;

/** What tests may hang into my_wire. */
export interface MyWireHooks {
  /** Called with each connection, dialled or accepted, before it is used. */
  onConnection?: (connection: Deno.TcpConn) => void;
}

/** The type of the plugin. */
export type MyWire = Plugin<
  "my_wire",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  LinkConfig,
  MyWireExtras
>;

/** How my_wire listens and dials. */
function driver(context: TransportContext, hooks: MyWireHooks): LinkDriver {
  const link = (connection: Deno.TcpConn) => {
    connection.setNoDelay();
    hooks.onConnection?.(connection);
    return new StreamLink(connection);
  };
  return {
    async listen(accept) {
      const listener = await attempt("nothing can listen", () => ({
        tcp: Deno.listen({ hostname: HOSTNAME, port: 0 }),
      }));
      const { tcp } = listener;
      const accepting = (async () => {
        for await (const connection of tcp) accept(link(connection));
      })().catch((error) => context.report(PatchbayError.fromThrown(error)));
      let open = true;
      return {
        where: `${HOSTNAME}:${tcp.addr.port}`,
        async close() {
          if (open) tcp.close();
          open = false;
          await accepting;
        },
      };
    },
    async dial(where, signal) {
      const port = Number(where.slice(where.lastIndexOf(":") + 1));
      const dial = () => Deno.connect({ hostname: HOSTNAME, port, signal });
      return link(await attempt(`${where} cannot be dialled`, dial));
    },
  };
}

/** Translates what Deno throws into Patchbay's errors: once, here, at the border. */
async function attempt<T>(what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const known = fromNotCapable(error, what, [`--allow-net=${HOSTNAME}`]);
    if (known instanceof PatchbayError || (known as Error).name === "AbortError") throw known;
    throw new PatchbayError("unavailable", `${what}: ${(known as Error).message}`, {
      cause: error,
    });
  }
}

/**
 * Makes the plugin.
 *
 * @param hooks What tests hang into it.
 */
export function createMyWire(hooks: MyWireHooks = {}): MyWire {
  return {
    name: "my_wire",
    summary: "between processes of this host, over TCP on the loopback interface",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "host",
    // Within the host scope lower ranks are preferred; uds has 20.
    rank: 80,
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
    permissions: () => [`--allow-net=${HOSTNAME}`],
    // Never throws, never hangs, opens nothing: says what is missing, and what to do.
    available() {
      const granted = Deno.permissions.querySync({ name: "net", host: HOSTNAME }).state;
      if (granted === "granted") return { available: true };
      return {
        available: false,
        reason: "Deno was started without access to the loopback interface",
        remedy: `run deno with --allow-net=${HOSTNAME}`,
      };
    },
    // deno-lint-ignore require-await -- a missing directory must reject, not throw
    async open(context, config) {
      const directory = requireHostDirectory(context);
      return directoryTransport(context, directory, driver(context, hooks), config, {});
    },
  };
}

/** The plugin. */
const myWire: MyWire = createMyWire();

export default myWire;
