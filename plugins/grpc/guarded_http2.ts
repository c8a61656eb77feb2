/**
 * The client's side of the filter: credentials whose connections go through it, and the one place
 * where `node:http2` is asked for a session.
 *
 * grpc-js asks `http2.connect` for its sessions and gives nobody the session, which is where a GOAWAY
 * has to be told. So that function is wrapped, once in a process; it changes nothing for a connection
 * that is not ours.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import http2 from "node:http2";
import type { Socket } from "node:net";
import { CallCredentials, ChannelCredentials } from "npm:@grpc/grpc-js@1.14.7";
import { FilteredSocket } from "./filtered_stream.ts";
import type { Goaway } from "./frame_filter.ts";

/** Marks `http2.connect` as wrapped; several copies of this module share it. */
const WRAPPED = Symbol.for("patchbay.grpc.goaway");

/** What a filtered connection tells its session. */
interface Guarded extends Duplex {
  onSession?: (session: http2.ClientHttp2Session) => void;
}

type Connect = typeof http2.connect;

/** Wraps `http2.connect`, if that has not been done. */
function wrap(): void {
  const module = http2 as { connect: Connect & { [WRAPPED]?: true } };
  const inner = module.connect;
  if (inner[WRAPPED] === true) return;
  const connect = (...args: Parameters<Connect>) => {
    const [authority, options, listener] = args;
    const create = (options as http2.ClientSessionOptions | undefined)?.createConnection;
    if (create === undefined) return inner(authority, options, listener);
    let guarded: Guarded | undefined;
    const session = inner(authority, {
      ...options,
      createConnection: (...about: Parameters<typeof create>) =>
        guarded = create(...about) as Guarded,
    }, listener);
    guarded?.onSession?.(session);
    return session;
  };
  module.connect = Object.assign(connect as Connect, { [WRAPPED]: true as const });
}

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** Secures a connection. */
export type Secure = (socket: Socket) => Promise<Socket>;

/** Credentials of grpc-js whose connections go through the filter. */
export class GuardedCredentials extends ChannelCredentials {
  readonly #secure: Secure | undefined;
  readonly #open = new Set<Duplex>();

  /** @param secure How connections are secured, if they are. */
  constructor(secure?: Secure) {
    super();
    this.#secure = secure;
    wrap();
  }

  /** Closes the connections that are left. Resolves when they are. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((connection) =>
      new Promise<void>((resolve) => {
        connection.once("close", () => resolve());
        connection.destroy();
      })
    ));
  }

  /** @ignore */
  override _isSecure(): boolean {
    return this.#secure !== undefined;
  }

  /** @ignore */
  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  /** @ignore */
  override _createSecureConnector(
    ...[, , calls]: Parameters<ChannelCredentials["_createSecureConnector"]>
  ): Connector {
    const secure = this.#secure;
    const callCredentials = calls ?? CallCredentials.createEmpty();
    return {
      connect: async (socket) => {
        const secured = secure === undefined ? socket : await secure(socket);
        const guarded = guard(secured);
        this.#open.add(guarded);
        guarded.once("close", () => this.#open.delete(guarded));
        return { socket: guarded as unknown as Socket, secure: secure !== undefined };
      },
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials,
      destroy() {},
    };
  }
}

function guard(socket: Socket): Guarded {
  let session: http2.ClientHttp2Session | undefined;
  let early: Goaway | undefined;
  const tell = ({ code, lastStreamId, data }: Goaway) =>
    void session?.emit("goaway", code, lastStreamId, data);
  const guarded = new FilteredSocket(socket, {
    from: "server",
    peer: { address: socket.remoteAddress ?? "unix", port: socket.remotePort ?? 0 },
    onGoaway(goaway) {
      if (session === undefined) early = goaway;
      else tell(goaway);
    },
  }) as Guarded;
  guarded.onSession = (made) => {
    session = made;
    if (early !== undefined) tell(early);
  };
  return guarded;
}
