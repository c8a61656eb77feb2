/**
 * For tests: a client that has read the specification and means harm: it writes frames as it likes,
 * and reads only when it is told to.
 *
 * @module
 */

import assert from "node:assert/strict";
import { settled } from "./places.ts";

const encoder = new TextEncoder();

/** One frame of a client, masked with zeros. */
export function masked(first: number, payload: Uint8Array | string): Uint8Array {
  const bytes = typeof payload === "string" ? encoder.encode(payload) : payload;
  const { length } = bytes;
  const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = new Uint8Array(6 + size + length);
  const view = new DataView(frame.buffer);
  frame[0] = first;
  frame[1] = 0x80 | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) view.setUint16(2, length);
  else if (size === 8) view.setBigUint64(2, BigInt(length));
  frame.set(bytes, 6 + size);
  return frame;
}

/** A message of `patchbay.json.v1`, as a frame. */
export function text(message: Record<string, unknown>): Uint8Array {
  return masked(0x81, JSON.stringify(message));
}

/** Several frames, to be written at once. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A connection that has become a WebSocket. */
export class RawClient implements Disposable {
  readonly #conn: Deno.TcpConn;
  /** What the server has answered, up to the first message. */
  head = "";

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects, and makes a WebSocket of it; `more` are lines of the request. */
  static async open(
    url: string,
    protocol = "patchbay.json.v1",
    more: readonly string[] = [],
  ): Promise<RawClient> {
    const { hostname, port, host, pathname } = new URL(url);
    const client = new RawClient(await Deno.connect({ hostname, port: Number(port) }));
    await client.write(encoder.encode(
      `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\n` +
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
        `Sec-WebSocket-Protocol: ${protocol}\r\n${more.map((line) => `${line}\r\n`).join("")}\r\n`,
    ));
    client.head = await client.read();
    assert.match(client.head, /^HTTP\/1\.1 101 /);
    return client;
  }

  /** Writes bytes; false if the other side has closed meanwhile. */
  async write(bytes: Uint8Array): Promise<boolean> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      return true;
    } catch {
      return false;
    }
  }

  /** What comes next, as a text; empty if the other side has closed. */
  async read(): Promise<string> {
    const buffer = new Uint8Array(64 * 1024);
    const read = await settled("an answer", this.#conn.read(buffer).catch(() => null));
    return new TextDecoder().decode(buffer.subarray(0, read ?? 0));
  }

  /** Reads until a text has come, and returns all that came. */
  async until(part: string): Promise<string> {
    for (let all = "";;) {
      const more = await this.read();
      all += more;
      if (all.includes(part)) return all;
      assert.notEqual(more, "", `closed before ${part} came: ${all}`);
    }
  }

  /** Reads until the other side has closed. */
  async end(): Promise<string> {
    for (let all = "";;) {
      const more = await this.read();
      if (more === "") return all;
      all += more;
    }
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}
