/**
 * The opening handshake of a WebSocket, from the client's side (RFC 6455 section 4.1), over a
 * connection of Deno; and what the server's side has in common with it.
 *
 * @module
 */

/** The largest answer, without what follows it, in bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;
/** What a server adds to the key (section 1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A connection that has become a WebSocket. */
export interface Upgraded {
  /** The sub-protocol that the server has chosen. */
  readonly protocol: string;
  /** What came behind the answer already. */
  readonly rest: Uint8Array;
}

/** The server has answered, and with something else. */
export class HandshakeRefused extends Error {
  /** The status; 0 where the answer is no HTTP. */
  readonly status: number;

  /**
   * @param status The status.
   * @param message What is wrong.
   */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/**
 * What a server answers to a key (section 1.3).
 *
 * @param key The client's key.
 */
export async function acceptOf(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key + GUID);
  return base64(new Uint8Array(await crypto.subtle.digest("SHA-1", bytes)));
}

/**
 * Writes all of it.
 *
 * @param conn Where to.
 * @param bytes What.
 */
export async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/**
 * Where the empty line ends, or −1.
 *
 * @param bytes What came.
 * @param length How much of it.
 * @param from What was looked at before.
 */
export function endOfHead(bytes: Uint8Array, length: number, from = 0): number {
  for (let at = Math.max(3, from); at < length; at++) {
    if (bytes[at] === 10 && bytes[at - 1] === 13 && bytes[at - 2] === 10) return at + 1;
  }
  return -1;
}

/**
 * Asks for a WebSocket.
 *
 * @param conn The connection.
 * @param url Where it leads.
 * @param protocols The sub-protocols to offer.
 * @param headers Sent along.
 * @throws {HandshakeRefused} The server has answered, and no.
 */
export async function upgrade(
  conn: Deno.Conn,
  url: URL,
  protocols: readonly string[],
  headers: Readonly<Record<string, string>>,
): Promise<Upgraded> {
  const key = base64(crypto.getRandomValues(new Uint8Array(16)));
  const all: Record<string, string> = {
    "Host": url.host,
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    "Sec-WebSocket-Protocol": protocols.join(", "),
  };
  // `Headers` refuses names and values that could end a line.
  for (const [name, value] of new Headers({ ...headers })) all[name] = value;
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const request = `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines}\r\n`;
  await writeAll(conn, new TextEncoder().encode(request));
  const buffer = new Uint8Array(MAX_ANSWER_BYTES);
  let length = 0;
  let end = -1;
  while (end < 0) {
    if (length === buffer.length) throw new HandshakeRefused(0, "the answer has no end");
    const read = await conn.read(buffer.subarray(length));
    if (read === null) throw new HandshakeRefused(0, "the connection was closed without an answer");
    length += read;
    end = endOfHead(buffer, length);
  }
  const [first, ...fields] = new TextDecoder().decode(buffer.subarray(0, end)).split("\r\n");
  const status = /^HTTP\/1\.1 (\d{3})/.exec(first)?.[1];
  if (status === undefined) throw new HandshakeRefused(0, "what answers there is no HTTP server");
  const answer = new Map<string, string>();
  for (const field of fields) {
    const [name, ...value] = field.split(":");
    answer.set(name.trim().toLowerCase(), value.join(":").trim());
  }
  if (status !== "101") {
    const told = new TextDecoder().decode(buffer.subarray(end, length)).trim().slice(0, 200);
    throw new HandshakeRefused(Number(status), `status ${status}${told && `: ${told}`}`);
  }
  const protocol = answer.get("sec-websocket-protocol") ?? "";
  if (
    answer.get("upgrade")?.toLowerCase() !== "websocket" ||
    answer.get("sec-websocket-accept") !== await acceptOf(key) ||
    !protocols.includes(protocol) || answer.has("sec-websocket-extensions")
  ) throw new HandshakeRefused(0, "what answers there is no WebSocket of ours");
  return { protocol, rest: buffer.slice(end, length) };
}
