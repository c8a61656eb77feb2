/**
 * Who may come in: what a request for a WebSocket comes to, whichever server has read it.
 *
 * @module
 */

import { type Link, MAX_FRAME_BYTES, PatchbayError, sameSecret } from "@patchbay/core";
import { JSON_PROTOCOL, type JsonLinkOptions } from "@patchbay/core/json-protocol";
import { ChunkPool } from "./chunk_pool.ts";
import { Gathering, SUBPROTOCOL, WebSocketLink } from "./link.ts";
import type { AnySocket, SocketFacts } from "./socket_flow.ts";
import { WebSocketTextLink } from "./text_link.ts";
import { TOKEN_PROTOCOL } from "./token.ts";
import { WireLink } from "./wire_link.ts";
import { WireTextLink } from "./wire_text_link.ts";

/** A request for a WebSocket, before it is answered. */
export interface Handshake {
  /** The path, without query. */
  readonly path: string;
  /** The headers; names in lower case. */
  readonly headers: Headers;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** The common name of the peer's certificate, where one was asked for and has been verified. */
  readonly certificateName?: string;
}

/**
 * Says who a client is, before the upgrade: by its headers, its address, its certificate.
 *
 * A text lets it in under that identity; `undefined` leaves it to the token. A throw refuses it:
 * with 403 if it is a `PatchbayError` with the code `forbidden`, else with 401.
 */
export type AuthenticateHandshake = (
  handshake: Handshake,
) => string | undefined | Promise<string | undefined>;

/** How one bay lets clients in. */
export interface Door {
  /** The path of its own; `undefined`: any. */
  readonly path: string | undefined;
  /** The origins of pages that may connect. */
  readonly origins: readonly string[];
  /** The shared secret, if there is one. */
  readonly token: string | undefined;
  /** Says who a client is. */
  readonly authenticate: AuthenticateHandshake | undefined;
  /** How values are told in JSON. */
  readonly json: JsonLinkOptions;
  /** How often a silent client is pinged, in milliseconds. */
  readonly pingIntervalMs: number;
  /** A client that is silent for so long is dead, in milliseconds. */
  readonly pingTimeoutMs: number;
  /** Called with each link. */
  accept(link: Link): void;
  /** Called with the status of each refusal. */
  onRefusal(status: number): void;
  /** Called with what nobody awaits. */
  onError(error: unknown): void;
}

/** A request that is refused. */
export interface Refusal {
  /** The status. */
  readonly status: number;
  /** What is told. */
  readonly text: string;
  /** Headers besides. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that is granted. */
export interface Admission {
  /** The sub-protocol to answer with. */
  readonly protocol: string;
  /** Whether the client has shown that it may come in. */
  readonly authorized: boolean;
  /** Who it has proved to be. */
  readonly identity: string | undefined;
}

/**
 * Looks at a request.
 *
 * @param handshake The request.
 * @param door The bay that it is for; `undefined`: there is none at this path.
 */
export async function examine(
  handshake: Handshake,
  door: Door | undefined,
): Promise<Refusal | Admission> {
  const { headers } = handshake;
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const headers = { upgrade: "websocket" };
    return { status: 426, text: "this is a WebSocket of Patchbay", headers };
  }
  if (door === undefined) return { status: 404, text: `no bay is at ${handshake.path}` };
  if (!mayComeFrom(headers.get("origin"), headers.get("host"), door.origins)) {
    return { status: 403, text: "this origin may not connect" };
  }
  const offered = (headers.get("sec-websocket-protocol") ?? "").split(",").map((p) => p.trim());
  const protocol = [SUBPROTOCOL, JSON_PROTOCOL].find((known) => offered.includes(known));
  if (protocol === undefined) {
    return { status: 400, text: `the sub-protocol is ${SUBPROTOCOL} or ${JSON_PROTOCOL}` };
  }
  return await identify(handshake, door, offered, protocol);
}

/**
 * Whether it is still to be shown, in the hello, that a client may come in.
 *
 * @param admission What its request came to.
 * @param door The bay that it is for.
 */
export function isStranger({ authorized }: Admission, { token, authenticate }: Door): boolean {
  return !authorized && (token !== undefined || authenticate !== undefined);
}

/**
 * Whether a page of an origin may connect. Programs send none, or, as some libraries do, the
 * address they dial: that is no page's, as nobody serves pages there. By name it could be one's that
 * has a name point here, so only an address counts.
 */
function mayComeFrom(origin: string | null, host: string | null, allowed: readonly string[]) {
  if (origin === null || allowed.includes(origin) || allowed.includes("*")) return true;
  const from = URL.parse(origin);
  return from !== null && from.host === host && isAddress(from.hostname);
}

/**
 * Whether a host is told by its address, or is this host by definition, and not by a name that
 * somebody could give it.
 *
 * @param hostname A name or address, in a URL's form.
 */
function isAddress(hostname: string): boolean {
  return hostname === "localhost" || hostname.startsWith("[") || /^\d+(\.\d+){3}$/.test(hostname);
}

async function identify(
  handshake: Handshake,
  door: Door,
  offered: readonly string[],
  protocol: string,
): Promise<Refusal | Admission> {
  const { certificateName } = handshake;
  const no = (text: string) => (
    { status: 401, text, headers: { "www-authenticate": "Bearer" } }
  );
  let identity: string | undefined;
  try {
    identity = await door.authenticate?.(handshake);
  } catch (error) {
    if (!(error instanceof PatchbayError)) door.onError(error);
    const forbidden = error instanceof PatchbayError && error.code === "forbidden";
    return forbidden ? { status: 403, text: error.message } : no("who you are was not accepted");
  }
  if (identity !== undefined) return { protocol, authorized: true, identity };
  if (door.token !== undefined) {
    const shown = shownToken(handshake.headers, offered);
    if (shown !== undefined) {
      if (!sameSecret(shown, door.token)) return no("the token is wrong");
      return { protocol, authorized: true, identity: certificateName };
    }
  }
  return { protocol, authorized: certificateName !== undefined, identity: certificateName };
}

/** A token in the `Authorization` header, or, as pages cannot set that, in a sub-protocol. */
function shownToken(headers: Headers, offered: readonly string[]): string | undefined {
  const authorization = headers.get("authorization");
  if (authorization !== null) return /^bearer +(.+)$/i.exec(authorization)?.[1] ?? "";
  const carrier = offered.find((each) => each.startsWith(TOKEN_PROTOCOL));
  if (carrier === undefined) return undefined;
  try {
    const text = carrier.slice(TOKEN_PROTOCOL.length).replaceAll("-", "+").replaceAll("_", "/");
    return new TextDecoder().decode(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  } catch {
    return "";
  }
}

/** Makes links of the sockets of one bay; they share the buffers in which frames are written. */
export class LinkMaker {
  readonly #door: Door;
  readonly #keepsBytes: boolean;
  #gathering: Gathering | undefined;
  #pool: ChunkPool | undefined;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  /**
   * @param door The bay.
   * @param keepsBytes As {@link import("./socket_flow.ts").SocketFacts.keepsBytes}.
   */
  constructor(door: Door, keepsBytes: boolean) {
    this.#door = door;
    this.#keepsBytes = keepsBytes;
  }

  /**
   * Hands a socket that is open to the bay.
   *
   * @param socket The socket.
   * @param admission What its request came to.
   * @param local Whether the peer is on this host.
   * @param admit Called when the client is let in.
   */
  take(socket: AnySocket, admission: Admission, local: boolean, admit?: () => void): void {
    const facts = { ...this.#facts(admission, local), admit };
    this.#accept(
      () =>
        admission.protocol === SUBPROTOCOL
          ? new WebSocketLink(socket, facts, this.#gathering ??= new Gathering())
          : new WebSocketTextLink(socket, facts, this.#door.json, this.#shared()),
      () => socket.close(1011),
    );
  }

  /**
   * As {@link take}, with a connection of Deno that has become a WebSocket.
   *
   * @param conn The connection.
   * @param rest What came behind the request already.
   * @param admission What the request came to.
   * @param local Whether the peer is on this host.
   */
  takeConn(conn: Deno.Conn, rest: Uint8Array, admission: Admission, local: boolean): void {
    const facts = this.#facts(admission, local);
    const door = this.#door;
    this.#accept(
      () =>
        admission.protocol === SUBPROTOCOL
          ? new WireLink(conn, rest, facts, this.#pool ??= new ChunkPool())
          : new WireTextLink(conn, rest, facts, door.json, door, this.#shared()),
      () => conn.close(),
    );
  }

  #accept(make: () => Link, undo: () => void): void {
    try {
      this.#door.accept(make());
    } catch (error) {
      undo();
      this.#door.onError(error);
    }
  }

  #facts({ authorized, identity }: Admission, local: boolean): SocketFacts {
    return { local, authorized, identity, accepted: true, keepsBytes: this.#keepsBytes };
  }

  #shared(): Uint8Array<ArrayBuffer> {
    return this.#buffer ??= new Uint8Array(2 * MAX_FRAME_BYTES);
  }
}

/** The bays that one listener leads to, by path. */
export class Doors {
  readonly #doors = new Map<string | undefined, Door>();

  /**
   * Adds a bay.
   *
   * @param door The bay.
   * @returns Takes it out again.
   * @throws {PatchbayError} `unavailable`: the path is taken.
   */
  add(door: Door): () => void {
    const { path } = door;
    if (this.#doors.has(path)) {
      const where = path === undefined ? "every path" : `the path ${path}`;
      throw new PatchbayError("unavailable", `${where} of this listener has a bay already`, {
        retryable: false,
        remedy: "give each bay a listen.path of its own",
      });
    }
    this.#doors.set(path, door);
    return () => {
      if (this.#doors.get(path) === door) this.#doors.delete(path);
    };
  }

  /**
   * The bay at a path.
   *
   * @param path The path.
   */
  at(path: string): Door | undefined {
    return this.#doors.get(path) ?? this.#doors.get(undefined);
  }

  /**
   * Who is told of a refusal.
   *
   * @param door The bay that it was for.
   * @param status The status.
   */
  refused(door: Door | undefined, status: number): void {
    // For no bay: all of them are told, or nobody would count it.
    for (const each of door === undefined ? this.#doors.values() : [door]) each.onRefusal(status);
  }
}
