/**
 * The server: listens on a Unix socket or a port, lets connections through the filter into grpc-js,
 * knows who is behind each, and closes within its grace.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import net, { type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import tls, { type PeerCertificate, type TLSSocket } from "node:tls";
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
} from "npm:@grpc/grpc-js@1.14.7";
import { isLoopback, Notices, PatchbayError, sameSecret } from "@patchbay/core";
import { fromNotCapable, listenUnix, type UnixListener } from "@patchbay/host";
import { FilteredConnection, FilteredSocket } from "./filtered_stream.ts";
import { textOf } from "./metadata.ts";
import { statusOf } from "./statuses.ts";
import { authority, urlOf } from "./targets.ts";
import type { TlsOptions } from "./tls.ts";
import type { Unread } from "./unread.ts";

/** Where to listen. */
export type Place = { readonly path: string } | {
  readonly hostname: string;
  readonly port: number;
};

/** How a server is made. */
export interface ServerSettings {
  /** Where it listens. */
  readonly place: Place;
  /** TLS of the server's side. */
  readonly tls: TlsOptions | undefined;
  /** Tokens by the name of who has them; absent: nobody is asked. */
  readonly tokens: Readonly<Record<string, string>> | undefined;
  /** The largest message, in bytes, with what stands round the value. */
  readonly maxReceiveBytes: number;
  /** The most connections at once. */
  readonly maxConnections: number;
  /** The most calls, listeners and jobs that one connection may have open. */
  readonly maxStreams: number;
  /** How long calls that run may still take when it closes, in milliseconds. */
  readonly graceMs: number;
  /** How often a quiet connection is asked whether it lives; 0: never. */
  readonly keepaliveMs: number;
  /** How long the answer may take. */
  readonly keepaliveTimeoutMs: number;
  /** Called when a connection came (1) or went (-1). */
  onConnections(change: number): void;
  /** Called when a call was refused before any handler saw it. */
  onRefused(error: PatchbayError): void;
  /** Called with what nobody awaits. */
  onError(error: PatchbayError): void;
}

/** Who is behind a connection. */
export interface Visitor {
  /** Whether it is on this host. */
  readonly local: boolean;
  /** Who its certificate says it is. */
  readonly identity: string | undefined;
  /** What it has not read yet. */
  readonly unread: Unread;
  /** What it was found to be allowed or not, while it is there. */
  readonly verdicts: Map<string, Promise<boolean>>;
}

/** What every call can say of its connection. */
interface Caller {
  getPeer(): string;
  readonly metadata: Metadata;
}

const same = (bytes: Buffer): Buffer => bytes;
/** How much longer a connection may be open than its calls take, in milliseconds. */
const LAST_WORDS_MS = 250;

/** How long a client may take to say that it speaks HTTP/2, and to prove who it is, in ms. */
const GREETING_MS = 5_000;

type Injector = ReturnType<Server["createConnectionInjector"]>;

/** A gRPC server. */
export class GrpcServer {
  readonly #settings: ServerSettings;
  readonly #server: Server;
  readonly #visitors = new Map<string, Visitor>();
  readonly #connections = new Set<Duplex>();
  /** Sockets under TLS, also of those who have not proved yet who they are. */
  readonly #sockets = new Set<net.Socket>();
  readonly #notices: Notices;
  readonly #tokens: readonly (readonly [string, string])[] | undefined;
  #injector: Injector | undefined;
  #listening: Promise<string> | undefined;
  #stop: (() => Promise<void>) | undefined;
  #closing: Promise<void> | undefined;
  #url = "";
  #count = 0;

  /** @param settings How it is made. */
  constructor(settings: ServerSettings) {
    this.#settings = settings;
    this.#notices = new Notices((error) => settings.onError(error));
    const { tokens, keepaliveMs, keepaliveTimeoutMs } = settings;
    this.#tokens = tokens === undefined ? undefined : Object.entries(tokens);
    this.#server = new Server({
      "grpc.max_receive_message_length": settings.maxReceiveBytes,
      "grpc.max_send_message_length": -1,
      "grpc.enable_channelz": 0,
      "grpc.max_concurrent_streams": settings.maxStreams,
      "grpc-node.flow_control_window": 4 * 1024 * 1024,
      ...(keepaliveMs === 0 ? {} : {
        "grpc.keepalive_time_ms": keepaliveMs,
        "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
      }),
      ...(tokens === undefined ? {} : {
        interceptors: [(_: unknown, call: ServerInterceptingCallInterface) => this.#guard(call)],
      }),
    });
  }

  /** Where it listens; empty while it does not. */
  get url(): string {
    return this.#url;
  }

  /** Whether it closes or is closed. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** Answers a method with one message for one. The bytes are the message's. */
  unary(path: string, answer: handleUnaryCall<Buffer, Buffer>): void {
    this.#taken(this.#server.register(path, answer, same, same, "unary"), path);
  }

  /** Answers a method with streams both ways; the other two kinds are these with less said. */
  stream(path: string, answer: handleBidiStreamingCall<Buffer, Buffer>): void {
    this.#taken(this.#server.register(path, answer, same, same, "bidi"), path);
  }

  /** Answers a method no more. */
  remove(path: string): void {
    this.#server.unregister(path);
  }

  /** Who is behind a call. */
  visitorOf(call: Caller): Visitor {
    const visitor = this.#visitors.get(call.getPeer()) ?? unknown();
    if (this.#tokens === undefined || visitor.identity !== undefined) return visitor;
    return { ...visitor, identity: this.#bearer(call.metadata) };
  }

  /** What the connection of a call has not read yet. */
  unreadOf(call: Caller): Unread {
    return (this.#visitors.get(call.getPeer()) ?? unknown()).unread;
  }

  /** Ends a call that shows no token that is known, before anything of it is read or kept. */
  #guard(call: ServerInterceptingCallInterface): ServerInterceptingCall {
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            if (this.#bearer(metadata) !== undefined) return pass(metadata);
            const error = unauthenticated();
            this.#settings.onRefused(error);
            call.sendStatus(statusOf(error));
          },
        }),
    });
  }

  #bearer(metadata: Metadata): string | undefined {
    const token = /^Bearer (.+)$/i.exec(textOf(metadata, "authorization") ?? "")?.[1];
    if (token === undefined) return undefined;
    let found: string | undefined;
    // All of them, whoever it is: the time must not tell.
    for (const [name, secret] of this.#tokens ?? []) if (sameSecret(token, secret)) found ??= name;
    return found;
  }

  /** Begins to listen, once; resolves with where. */
  listen(): Promise<string> {
    return this.#listening ??= (async () => {
      // The injector's own credentials only say what the server thinks it is: TLS ends before it.
      this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
      const { place } = this.#settings;
      return this.#url = "path" in place
        ? await this.#onPath(place.path)
        : await this.#onPort(place);
    })();
  }

  /**
   * Listens no longer, lets calls that run end within the grace, and closes what is left.
   * Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await this.#listening?.catch(() => {});
      await this.#stop?.();
      // Says GOAWAY: clients finish what is under way, and begin nothing more here.
      this.#injector?.destroy();
      await this.#emptied(this.#settings.graceMs);
      for (const connection of this.#connections) connection.destroy();
      for (const socket of this.#sockets) socket.destroy();
      await this.#emptied(LAST_WORDS_MS);
      this.#server.forceShutdown();
    })();
  }

  #taken(registered: boolean, path: string): void {
    if (registered) return;
    throw new PatchbayError("unavailable", `${path} is served already`, {
      transport: "grpc",
      retryable: false,
      remedy: "serve each service once",
    });
  }

  async #emptied(withinMs: number): Promise<void> {
    if (this.#connections.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, withinMs);
    for (const connection of this.#connections) {
      connection.once("close", () => this.#connections.size === 0 && resolve());
    }
    await promise;
    clearTimeout(timer);
  }

  async #onPath(path: string): Promise<string> {
    const listener: UnixListener = await listenUnix({
      path,
      onConnection: (connection) => {
        if (this.#full()) return connection.close();
        const peer = { address: "unix", port: ++this.#count };
        this.#enter(
          new FilteredConnection(connection, {
            from: "client",
            peer,
            greetingMs: GREETING_MS,
            onGoaway() {},
          }),
          peer,
          visitor(true),
        );
      },
      onError: (error) => this.#settings.onError(PatchbayError.fromThrown(error)),
    });
    this.#stop = () => listener.close();
    return urlOf({ path });
  }

  async #onPort(place: { readonly hostname: string; readonly port: number }): Promise<string> {
    const { tls: options } = this.#settings;
    const secure = options?.cert !== undefined;
    const server = secure ? secureServer(options) : net.createServer({ noDelay: true });
    /** Those that were closed here; `node:tls` complains of each that it hung up. */
    let turnedAway = 0;
    if (secure) {
      server.on("connection", (socket: net.Socket) => {
        if (this.#full(this.#sockets.size)) {
          turnedAway++;
          return void socket.destroy();
        }
        this.#sockets.add(socket);
        socket.once("close", () => this.#sockets.delete(socket));
      });
    }
    server.on(secure ? "secureConnection" : "connection", (socket: net.Socket) => {
      if (this.#full()) return void socket.destroy();
      const { remoteAddress = "", remotePort = 0 } = socket;
      const identity = secure ? nameOf((socket as TLSSocket).getPeerCertificate()) : undefined;
      const peer = { address: remoteAddress, port: remotePort };
      this.#enter(
        new FilteredSocket(socket, {
          from: "client",
          peer,
          greetingMs: GREETING_MS,
          onGoaway() {},
        }),
        peer,
        visitor(isLoopback(remoteAddress), identity),
      );
    });
    // A handshake that fails is the client's trouble, but somebody may look for it here.
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: net.Socket) => {
      socket.destroy();
      if (error.code === "ECONNRESET" && turnedAway > 0) return void turnedAway--;
      if (this.#closing !== undefined) return;
      this.#notices.tell("handshake", (untold) => refusedHandshake(error, untold));
    });
    const { hostname, port } = place;
    const where = authority(hostname, port);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(cannotListen(error, where)));
      try {
        server.listen({ host: hostname, port }, resolve);
      } catch (error) {
        reject(cannotListen(error, where));
      }
    });
    server.on("error", (error) => this.#settings.onError(PatchbayError.fromThrown(error)));
    this.#stop = () =>
      new Promise<void>((resolve) => {
        server.close();
        resolve();
      });
    const host = hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname;
    return urlOf({ host, port: (server.address() as AddressInfo).port, secure });
  }

  #full(open = this.#connections.size): boolean {
    const { maxConnections } = this.#settings;
    if (this.#closing !== undefined) return true;
    if (open < maxConnections) return false;
    this.#notices.tell(
      "full",
      (untold) =>
        new PatchbayError("overloaded", `${maxConnections} connections are open already`, {
          details: { maxConnections, untold },
          remedy: "raise config.grpc.maxConnections",
        }),
    );
    return true;
  }

  #enter(connection: Duplex, peer: { address: string; port: number }, visitor: Visitor): void {
    const key = `${peer.address}:${peer.port}`;
    this.#visitors.set(key, visitor);
    this.#connections.add(connection);
    this.#settings.onConnections(1);
    connection.once("close", () => {
      this.#visitors.delete(key);
      this.#connections.delete(connection);
      this.#settings.onConnections(-1);
    });
    // Nonsense, a reset: whoever sent it has lost its connection, and that is all.
    connection.on("error", () => {});
    this.#injector?.injectConnection(connection);
  }
}

/** Somebody of whom nothing is known yet but where, and perhaps who, he is. */
function visitor(local: boolean, identity?: string): Visitor {
  return { local, identity, unread: { bytes: 0 }, verdicts: new Map() };
}

/** Whose connection has ended already. */
function unknown(): Visitor {
  return visitor(false);
}

function unauthenticated(): PatchbayError {
  return new PatchbayError("unauthenticated", "this server wants a token that it knows", {
    details: { notExecuted: true },
    remedy: "set config.grpc.token, or send the metadata authorization: Bearer …",
  });
}

function secureServer({ cert, key, clientCa }: TlsOptions): tls.Server {
  return tls.createServer({
    cert,
    key,
    ALPNProtocols: ["h2"],
    handshakeTimeout: GREETING_MS,
    ...(clientCa === undefined
      ? {}
      : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
  });
}

function nameOf(certificate: PeerCertificate | undefined): string | undefined {
  const name = certificate?.subject?.CN as string | string[] | undefined;
  return Array.isArray(name) ? name[0] : name;
}

function refusedHandshake(error: Error, untold: number): PatchbayError {
  return new PatchbayError("unauthenticated", `a TLS handshake failed: ${error.message}`, {
    remedy:
      "clients need the server's authority in tls.ca; and with tls.clientCa a certificate of it",
    details: { untold },
    cause: error,
  });
}

function cannotListen(error: unknown, where: string): PatchbayError {
  const known = fromNotCapable(error, `nothing can listen on ${where}`, [`--allow-net=${where}`]);
  if (known instanceof PatchbayError) return known;
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("unavailable", `nothing can listen on ${where}: ${message}`, {
    remedy: "choose another port, or stop the program that has it",
    cause: error,
  });
}
