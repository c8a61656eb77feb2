/**
 * Connections as streams that `node:http2` may read: the filter stands between, and each tells who
 * is on the other side.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import { FrameFilter, type Goaway, NoHttp2 } from "./frame_filter.ts";

/** Reads of a Deno connection, in bytes: what the largest frame needs, with its header. */
const READ_BYTES = 32 * 1024;

/** How a connection is passed on. */
export interface FilterOptions {
  /** Whose words are read. */
  readonly from: "client" | "server";
  /** What `getPeer()` of a call is to say. */
  readonly peer: { readonly address: string; readonly port: number };
  /** How long a client may take to say who it is, in milliseconds; absent: no matter. */
  readonly greetingMs?: number;
  /** Told of each GOAWAY. */
  onGoaway(goaway: Goaway): void;
}

/** What somebody is told who speaks something else: it can be read by people and by HTTP/1.1. */
const REFUSAL = Buffer.from(
  "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\n" +
    "connection: close\r\n\r\nthis is a gRPC server: it speaks HTTP/2 and no other version\n",
  "latin1",
);

type Written = (error?: Error | null) => void;

/** What all of them have. */
abstract class FilteredStream extends Duplex {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #filter: FrameFilter;
  #greeting: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FilterOptions) {
    super({ allowHalfOpen: false });
    this.remoteAddress = options.peer.address;
    this.remotePort = options.peer.port;
    this.#filter = new FrameFilter(options.from, (goaway) => options.onGoaway(goaway));
    const { greetingMs } = options;
    if (greetingMs === undefined) return;
    this.#greeting = setTimeout(
      () => this.destroy(new Error(`nothing was said within ${greetingMs} ms`)),
      greetingMs,
    );
    this.once("close", () => clearTimeout(this.#greeting));
  }

  /** Says a last thing, whatever HTTP/2 has to say, and closes. */
  protected abstract farewell(bytes: Buffer): void;

  /** Something has come; says whether more is wanted now. */
  protected arrived(chunk: Buffer): boolean {
    let wanted = true;
    try {
      for (const piece of this.#filter.filter(chunk)) wanted = this.push(piece);
    } catch (error) {
      if (error instanceof NoHttp2) this.farewell(REFUSAL);
      this.destroy(error as Error);
      return false;
    }
    if (this.#greeting !== undefined && this.#filter.greeted) {
      clearTimeout(this.#greeting);
      this.#greeting = undefined;
    }
    return wanted;
  }

  /**
   * Takes what is to be sent. `node:http2` writes each answer and each trailer by itself: what comes
   * in one turn of the event loop goes out at once, with one system call.
   */
  override write(chunk: Buffer, encoding?: BufferEncoding | Written, done?: Written): boolean {
    if (this.writableCorked === 0) {
      this.cork();
      setImmediate(() => this.uncork());
    }
    return typeof encoding === "function"
      ? super.write(chunk, encoding)
      : super.write(chunk, encoding as BufferEncoding, done);
  }

  // What `node:http2` asks of a socket.
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

/** A socket of `node:net` or `node:tls`. */
export class FilteredSocket extends FilteredStream {
  readonly #socket: Socket;
  #leaving = false;
  #asked = 0;
  readonly encrypted: boolean;
  readonly alpnProtocol: unknown;

  /**
   * @param socket The socket; it is read from now on.
   * @param options How.
   */
  constructor(socket: Socket, options: FilterOptions) {
    super(options);
    this.#socket = socket;
    const tls = socket as Partial<{ encrypted: boolean; alpnProtocol: unknown }>;
    this.encrypted = tls.encrypted === true;
    this.alpnProtocol = tls.alpnProtocol;
    socket.on("data", (chunk: Buffer) => {
      const asked = this.#asked;
      // Who reads may ask for more before it is known that there is enough.
      if (!this.arrived(chunk) && this.#asked === asked) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  override ref(): this {
    this.#socket.ref();
    return this;
  }

  override unref(): this {
    this.#socket.unref();
    return this;
  }

  override _read(): void {
    this.#asked++;
    this.#socket.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void) {
    this.#socket.write(chunk, encoding, done);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.write(joined(chunks), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  protected override farewell(bytes: Buffer): void {
    this.#leaving = true;
    this.#socket.end(bytes, () => this.#socket.destroy());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#leaving) this.#socket.destroy();
    done(error);
  }
}

/** A connection of Deno's. */
export class FilteredConnection extends FilteredStream {
  readonly #connection: Deno.Conn;
  #reading = false;
  #closed = false;

  /**
   * @param connection The connection.
   * @param options How.
   */
  constructor(connection: Deno.Conn, options: FilterOptions) {
    super(options);
    this.#connection = connection;
  }

  override _read(): void {
    if (!this.#reading) void this.#pull();
  }

  async #pull(): Promise<void> {
    this.#reading = true;
    try {
      for (let wanted = true; wanted && !this.#closed;) {
        const buffer = new Uint8Array(READ_BYTES);
        const read = await this.#connection.read(buffer);
        if (read === null) {
          this.push(null);
          return;
        }
        wanted = this.arrived(Buffer.from(buffer.buffer, 0, read));
      }
    } catch (error) {
      if (!this.#closed) this.destroy(error as Error);
    } finally {
      this.#reading = false;
    }
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk).then(() => done(), done);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this._write(joined(chunks), "binary", done);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#connection.write(at === 0 ? bytes : bytes.subarray(at));
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    const connection = this.#connection;
    connection.closeWrite().then(() => done(), () => done());
  }

  protected override farewell(bytes: Buffer): void {
    this.#closed = true;
    this.#connection.write(bytes).catch(() => {}).finally(() => this.#shut());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#shut();
    }
    done(error);
  }

  #shut(): void {
    try {
      this.#connection.close();
    } catch {
      // The other side was quicker.
    }
  }
}

function joined(chunks: readonly { chunk: Buffer; encoding: BufferEncoding }[]): Buffer {
  return Buffer.concat(chunks.map(({ chunk }) => chunk));
}
