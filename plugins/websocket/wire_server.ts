/**
 * The listening side on Deno: accepts connections, and makes those WebSockets that ask for it as
 * they should, in time.
 *
 * `Deno.serve` was measured and not taken: it waits for ever for the rest of a request, it keeps a
 * connection for ever whose peer does not answer a close, and its sockets do not tell when their
 * bytes have left.
 *
 * @module
 */

import { isLoopback } from "@patchbay/core";
import { type Admission, type Door, type Doors, examine, LinkMaker } from "./admission.ts";
import type { ListenerSetup, RunningServer } from "./listener.ts";
import { acceptOf, writeAll } from "./wire_handshake.ts";
import { answer, BadRequest, keyIn, readRequest, type WireRequest } from "./wire_request.ts";

/** How long a handshake may take where the options do not say, in milliseconds. */
const HANDSHAKE_MS = 10_000;
/** How long a refusal may take to leave, in milliseconds. */
const REFUSAL_MS = 1000;
/** So many may be in their handshake at once. */
const MAX_HANDSHAKES = 1024;
/** The pause after an accept that failed: the process has no descriptors left, say. */
const ACCEPT_PAUSE_MS = 50;

type Listener = Deno.Listener<Deno.TcpConn | Deno.TlsConn, Deno.NetAddr>;

class WireServer implements RunningServer {
  readonly port: number;
  readonly #listener: Listener;
  readonly #doors: Doors;
  readonly #handshakeMs: number;
  readonly #makers = new WeakMap<Door, LinkMaker>();
  readonly #handshakes = new Set<Deno.Conn>();
  #closed = false;

  constructor(setup: ListenerSetup, doors: Doors) {
    const { hostname, port, cert, key, handshakeMs = HANDSHAKE_MS } = setup;
    this.#listener = cert === undefined || key === undefined
      ? Deno.listen({ hostname, port })
      : Deno.listenTls({ hostname, port, cert, key });
    this.port = this.#listener.addr.port;
    this.#doors = doors;
    this.#handshakeMs = handshakeMs;
    void this.#accept();
  }

  close(): Promise<void> {
    this.#closed = true;
    shut(this.#listener);
    for (const conn of this.#handshakes) shut(conn);
    return Promise.resolve();
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      let conn: Deno.TcpConn | Deno.TlsConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#closed || error instanceof Deno.errors.BadResource) return;
        await new Promise<void>((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        continue;
      }
      if (this.#handshakes.size >= MAX_HANDSHAKES) {
        this.#doors.refused(undefined, 503);
        shut(conn);
      } else void this.#greet(conn);
    }
  }

  /** Takes a connection through its handshake; it never rejects. */
  async #greet(conn: Deno.TcpConn | Deno.TlsConn): Promise<void> {
    this.#handshakes.add(conn);
    let late = false;
    const deadline = setTimeout(() => {
      late = true;
      this.#doors.refused(undefined, 408);
      void refuse(conn, answer(408, "the request took too long"));
    }, this.#handshakeMs);
    try {
      if ("setNoDelay" in conn) conn.setNoDelay();
      const request = await readRequest(conn);
      if (request === undefined) return shut(conn);
      await this.#upgrade(conn, request, () => late);
    } catch (error) {
      if (late || this.#closed) return;
      if (!(error instanceof BadRequest)) return shut(conn);
      this.#doors.refused(undefined, error.status);
      void refuse(conn, answer(error.status, error.message, error.headers));
    } finally {
      clearTimeout(deadline);
      this.#handshakes.delete(conn);
    }
  }

  async #upgrade(conn: Deno.Conn, request: WireRequest, late: () => boolean): Promise<void> {
    const { path, headers, rest } = request;
    const { hostname } = conn.remoteAddr as Deno.NetAddr;
    const door = this.#doors.at(path);
    const verdict = await examine({ path, headers, remoteAddress: hostname }, door);
    if (late() || this.#closed) return;
    if ("status" in verdict || door === undefined) {
      const { status, text, headers } = "status" in verdict ? verdict : GONE;
      this.#doors.refused(door, status);
      return void refuse(conn, answer(status, text, headers));
    }
    const accept = await acceptOf(keyIn(headers));
    await writeAll(conn, granted(verdict, accept));
    if (late() || this.#closed) return shut(conn);
    let maker = this.#makers.get(door);
    if (maker === undefined) this.#makers.set(door, maker = new LinkMaker(door, false));
    maker.takeConn(conn, rest, verdict, isLoopback(hostname));
  }
}

/** What is told when the bay has closed between the look and the upgrade. */
const GONE = { status: 503, text: "the bay has closed", headers: undefined };

function granted({ protocol }: Admission, accept: string): Uint8Array {
  return new TextEncoder().encode(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
}

/** Tells a peer that it is refused, and ends the connection, whether it reads that or not. */
async function refuse(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  const late = setTimeout(() => shut(conn), REFUSAL_MS);
  try {
    await writeAll(conn, bytes);
    await conn.closeWrite();
    // A close with unread bytes would be a reset, and the answer would be lost.
    const buffer = new Uint8Array(1024);
    for (let read: number | null = 0; read !== null;) read = await conn.read(buffer);
  } catch {
    // It has gone.
  }
  clearTimeout(late);
  shut(conn);
}

function shut(closer: { close(): void }): void {
  try {
    closer.close();
  } catch {
    // It was closed before.
  }
}

/**
 * Listens on Deno.
 *
 * @param setup Where, and how.
 * @param doors The bays.
 */
export function serveWire(setup: ListenerSetup, doors: Doors): RunningServer {
  return new WireServer(setup, doors);
}
