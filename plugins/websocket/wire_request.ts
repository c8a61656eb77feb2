/**
 * Reads the request for a WebSocket, from the server's side (RFC 6455 section 4.2, RFC 9112): its
 * head alone, strictly, and in time.
 *
 * @module
 */

import { STATUS_TEXTS } from "./status_texts.ts";
import { endOfHead } from "./wire_handshake.ts";

/** The largest head, in bytes. */
const MAX_HEAD_BYTES = 16 * 1024;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/;
/** Sixteen bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** A request that was read. */
export interface WireRequest {
  /** The path, without query. */
  readonly path: string;
  /** The headers. */
  readonly headers: Headers;
  /** What came behind the head already. */
  readonly rest: Uint8Array;
}

/** A request that is answered with a status. */
export class BadRequest extends Error {
  /** The status. */
  readonly status: number;
  /** Headers of the answer. */
  readonly headers: Readonly<Record<string, string>> | undefined;

  /**
   * @param status The status.
   * @param message What is wrong.
   * @param headers Headers of the answer.
   */
  constructor(status: number, message: string, headers?: Readonly<Record<string, string>>) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/**
 * Reads the head of a request.
 *
 * @param conn The connection.
 * @returns `undefined`: it was closed before there was one.
 * @throws {BadRequest} It is none, or too large.
 */
export async function readRequest(conn: Deno.Conn): Promise<WireRequest | undefined> {
  let buffer = new Uint8Array(1024);
  let length = 0;
  for (;;) {
    if (length === buffer.length) {
      if (length >= MAX_HEAD_BYTES) throw new BadRequest(431, "the head is too large");
      const wider = new Uint8Array(length * 2);
      wider.set(buffer);
      buffer = wider;
    }
    const read = await conn.read(buffer.subarray(length));
    if (read === null) return undefined;
    const before = length;
    length += read;
    const end = endOfHead(buffer, length, before);
    if (end >= 0) return parse(buffer.subarray(0, end), buffer.slice(end, length));
    // Who does not begin as HTTP does will not end as HTTP does.
    if (buffer[0] < 65 || buffer[0] > 90) throw new BadRequest(400, "this is no HTTP");
  }
}

function parse(head: Uint8Array, rest: Uint8Array): WireRequest {
  const [first, ...lines] = new TextDecoder("latin1").decode(head).slice(0, -4).split("\r\n");
  const request = /^([A-Z]+) (\S+) HTTP\/1\.([01])$/.exec(first);
  if (request === null) throw new BadRequest(400, "this is no request of HTTP/1.1");
  const [, method, target, minor] = request;
  const url = target.startsWith("/") ? URL.parse(target, "ws://host") : null;
  if (url === null) throw new BadRequest(400, "the target is no path");
  const headers = new Headers();
  for (const line of lines) {
    const field = FIELD.exec(line);
    if (field === null) throw new BadRequest(400, "a header is malformed");
    headers.append(field[1], field[2]);
  }
  if (method !== "GET") throw new BadRequest(405, "only GET", { allow: "GET" });
  if (minor !== "1" || !headers.has("host")) throw new BadRequest(400, "HTTP/1.1 and a host");
  if (headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0") {
    throw new BadRequest(400, "a request for a WebSocket has no body");
  }
  return { path: url.pathname, headers, rest };
}

/**
 * The key of a request for a WebSocket (section 4.2.1).
 *
 * @param headers Its headers.
 * @throws {BadRequest} It lacks something.
 */
export function keyIn(headers: Headers): string {
  if (headers.get("sec-websocket-version") !== "13") {
    throw new BadRequest(426, "the version is 13", { "sec-websocket-version": "13" });
  }
  const key = headers.get("sec-websocket-key") ?? "";
  const connection = (headers.get("connection") ?? "").toLowerCase().split(/[ \t]*,[ \t]*/);
  if (!KEY.test(key) || !connection.includes("upgrade")) {
    throw new BadRequest(400, "this is no handshake of a WebSocket");
  }
  return key;
}

/**
 * An answer that ends the connection.
 *
 * @param status The status.
 * @param text What is told.
 * @param headers Headers besides.
 */
export function answer(
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): Uint8Array {
  const encoder = new TextEncoder();
  const body = encoder.encode(`${text}\n`);
  const all = {
    ...headers,
    "connection": "close",
    "content-type": "text/plain; charset=utf-8",
    "content-length": String(body.length),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = encoder.encode(`HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? ""}\r\n${lines}\r\n`);
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}
