/**
 * For tests: a client that speaks HTTP/2 by hand, frame by frame, and so may do what no library does.
 *
 * @module
 */

/** Frames by their numbers: RFC 9113 §6. */
export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
} as const;

/** A frame that came. */
export interface RawFrame {
  /** One of {@link FRAME}. */
  readonly type: number;
  /** Its flags. */
  readonly flags: number;
  /** Its stream; 0: the connection. */
  readonly stream: number;
  /** What it holds. */
  readonly payload: Uint8Array;
}

const PREFACE = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;

/** One frame as bytes. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(9 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length << 8 | type);
  bytes[4] = flags;
  view.setUint32(5, stream);
  bytes.set(payload, 9);
  return bytes;
}

/** One message of gRPC: not compressed, with its length. */
export function grpcMessage(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

/** Headers as HPACK (RFC 7541 §6.2.2), all of them literal and not indexed. */
function headerBlock(headers: Readonly<Record<string, string>>): Uint8Array {
  const bytes: number[] = [];
  const text = (value: string) => {
    const encoded = new TextEncoder().encode(value);
    if (encoded.length < 127) bytes.push(encoded.length);
    else {
      bytes.push(127);
      let left = encoded.length - 127;
      for (; left >= 128; left >>= 7) bytes.push(left & 127 | 128);
      bytes.push(left);
    }
    for (const one of encoded) bytes.push(one);
  };
  for (const [name, value] of Object.entries(headers)) {
    bytes.push(0);
    text(name);
    text(value);
  }
  return new Uint8Array(bytes);
}

/** One connection. */
export class RawClient implements Disposable {
  readonly #connection: Deno.Conn;
  #buffer = new Uint8Array(0);
  #next = 1;

  private constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /**
   * Connects and greets.
   *
   * @param port The server's port, on this host.
   * @param windowBytes How much each stream may be sent before it is read.
   */
  static async connect(port: number, windowBytes = 65_535): Promise<RawClient> {
    const client = new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
    const settings = new Uint8Array(6);
    settings[1] = 4; // SETTINGS_INITIAL_WINDOW_SIZE: RFC 9113 §6.5.2
    new DataView(settings.buffer).setUint32(2, windowBytes);
    await client.write(PREFACE, frame(FRAME.settings, 0, 0, settings));
    return client;
  }

  /** Sends frames, or whatever it is. */
  async write(...parts: readonly Uint8Array[]): Promise<void> {
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    for (at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /**
   * The frame that begins a call.
   *
   * @param path The method.
   * @param headers Sent besides those that gRPC asks for.
   * @returns The stream, and the frame.
   */
  begin(path: string, headers: Readonly<Record<string, string>> = {}): [number, Uint8Array] {
    const stream = this.#next;
    this.#next += 2;
    const block = headerBlock({
      ":method": "POST",
      ":scheme": "http",
      ":path": path,
      ":authority": "test",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    return [stream, frame(FRAME.headers, END_HEADERS, stream, block)];
  }

  /**
   * The frame of a message.
   *
   * @param stream The call.
   * @param message What is said.
   * @param last Whether no more will be.
   */
  message(stream: number, message: Uint8Array, last: boolean): Uint8Array {
    return frame(FRAME.data, last ? END_STREAM : 0, stream, grpcMessage(message));
  }

  /** The frame that cancels a call. */
  reset(stream: number): Uint8Array {
    return frame(FRAME.reset, 0, stream, new Uint8Array([0, 0, 0, 8])); // CANCEL: RFC 9113 §7
  }

  /** The next frame; `undefined` when the server has closed. Settings and pings are acknowledged. */
  async read(): Promise<RawFrame | undefined> {
    while (true) {
      const header = await this.#take(9);
      if (header === undefined) return undefined;
      const view = new DataView(header.buffer, header.byteOffset);
      const payload = await this.#take(view.getUint32(0) >>> 8);
      if (payload === undefined) return undefined;
      const [type, flags, stream] = [header[3], header[4], view.getUint32(5)];
      const asks = (type === FRAME.settings || type === FRAME.ping) && (flags & ACK) === 0;
      if (!asks) return { type, flags, stream, payload };
      await this.write(
        frame(type, ACK, 0, type === FRAME.ping ? payload : undefined),
      );
    }
  }

  /** Reads until a stream has ended, or the connection; says how: its last frame. */
  async ended(stream: number): Promise<RawFrame | undefined> {
    for (let next = await this.read(); next !== undefined; next = await this.read()) {
      const ends = next.type === FRAME.reset ||
        (next.type === FRAME.headers || next.type === FRAME.data) && (next.flags & END_STREAM) > 0;
      if (next.stream === stream && ends) return next;
    }
    return undefined;
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    try {
      this.#connection.close();
    } catch {
      // The server was quicker.
    }
  }

  async #take(length: number): Promise<Uint8Array | undefined> {
    while (this.#buffer.length < length) {
      const chunk = new Uint8Array(64 * 1024);
      let read: number | null;
      try {
        read = await this.#connection.read(chunk);
      } catch {
        return undefined;
      }
      if (read === null) return undefined;
      const joined = new Uint8Array(this.#buffer.length + read);
      joined.set(this.#buffer);
      joined.set(chunk.subarray(0, read), this.#buffer.length);
      this.#buffer = joined;
    }
    const taken = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return taken;
  }
}
