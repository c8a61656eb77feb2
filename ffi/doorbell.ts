/**
 * A Unix socket as a doorbell: rung with one system call that never waits, heard by Deno's event
 * loop, and closed by the kernel when either side dies.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";
import { type Libc, type LibcOptions, libcOrOwn } from "./libc.ts";
import type { Calls } from "./system.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
// macOS: sys/socket.h.
const SOL_SOCKET = 0xffff;
const SO_NOSIGPIPE = 0x1022;
const FIOCLEX = 0x2000_6601n; // sys/filio.h: _IO('f', 1)
const ONE_BYTE = new Uint8Array([1]);

/** `struct sockaddr_un`. */
function socketAddress(calls: Calls, path: string): Uint8Array<ArrayBuffer> {
  const { bytes, path: at, pathBytes, lengthFirst } = calls.system.sockaddr;
  const encoded = new TextEncoder().encode(path);
  if (encoded.length === 0 || encoded.includes(0)) {
    throw new PatchbayError("invalid", `${JSON.stringify(path)} is no path of a socket`);
  }
  if (encoded.length >= pathBytes) {
    throw new PatchbayError(
      "invalid",
      `the socket path ${path} has ${encoded.length} bytes, and this system takes ${pathBytes - 1}`,
      { remedy: "choose a shorter runtime directory" },
    );
  }
  const address = new Uint8Array(bytes);
  if (lengthFirst) {
    address[0] = bytes;
    address[1] = AF_UNIX;
  } else {
    new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  }
  address.set(encoded, at);
  return address;
}

/**
 * The button of a doorbell: a connection to a Unix socket that another process listens on.
 *
 * Ringing costs one `send` that never waits. If the socket is full, the bell has been rung often
 * enough: one ring and a thousand mean the same, "look again". If the peer is gone, {@link ring}
 * says so. The other end is a {@link DoorbellReader}.
 *
 * @example
 * ```ts
 * import { Doorbell, DoorbellReader } from "@patchbay/ffi";
 *
 * const path = `${await Deno.makeTempDir()}/bell`;
 * using listener = Deno.listen({ transport: "unix", path });
 * using bell = Doorbell.connect(path); // in another process, usually
 * using reader = new DoorbellReader(await listener.accept());
 *
 * bell.ring();
 * if (await reader.wait() !== "rung") throw new Error("not heard");
 * bell[Symbol.dispose]();
 * if (await reader.wait() !== "closed") throw new Error("its end was not noticed");
 * ```
 */
export class Doorbell implements Disposable {
  /** The socket it is connected to. */
  readonly path: string;
  readonly #libc: Libc;
  readonly #ownsLibc: boolean;
  readonly #fd: number;
  readonly #flags: number;
  readonly #send: Calls["posix"]["send"];
  #disposed = false;

  private constructor(path: string, fd: number, libc: Libc, ownsLibc: boolean) {
    const { posix, system } = libc.calls;
    this.path = path;
    this.#fd = fd;
    this.#libc = libc;
    this.#ownsLibc = ownsLibc;
    this.#send = posix.send;
    this.#flags = system.MSG_DONTWAIT | system.MSG_NOSIGNAL;
  }

  /**
   * Connects. It does not wait: a listener with a full backlog is `overloaded`.
   *
   * @param path The Unix socket.
   * @param options How.
   * @throws PatchbayError `not_found` if there is no socket, `unavailable` if nobody listens there,
   * `overloaded` if it cannot be answered at once, `forbidden`, `invalid` for a path that is too
   * long (107 bytes on Linux, 103 on macOS).
   */
  static connect(path: string, options: LibcOptions = {}): Doorbell {
    const { libc, own } = libcOrOwn(options.libc);
    try {
      const { calls } = libc;
      const { posix, system } = calls;
      const what = `doorbell ${path}`;
      const address = socketAddress(calls, path);
      const type = SOCK_STREAM | system.SOCK_NONBLOCK | system.SOCK_CLOEXEC;
      const fd = posix.socket(AF_UNIX, type, 0);
      if (fd < 0) throw errnoError("socket", calls.errno(), what);
      // A child that inherits it would keep the peer from noticing this process's end.
      calls.ioctl?.(fd, FIOCLEX);
      if (posix.connect(fd, address, address.length) !== 0) {
        const error = errnoError("connect", calls.errno(), what);
        posix.close(fd);
        throw error;
      }
      const on = new Uint8Array([1, 0, 0, 0]);
      calls.setsockopt?.(fd, SOL_SOCKET, SO_NOSIGPIPE, on, on.length);
      return new Doorbell(path, fd, libc, own);
    } catch (error) {
      if (own) libc[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Rings. Never waits.
   *
   * @returns Whether the peer is there; it has heard this ring or an earlier one that it has yet to
   * answer. False: it is gone, and nobody will hear this bell again.
   * @throws PatchbayError `closed` after disposal.
   */
  ring(): boolean {
    if (this.#disposed) throw new PatchbayError("closed", `doorbell ${this.path} was disposed of`);
    if (this.#send(this.#fd, ONE_BYTE, 1n, this.#flags) === 1n) return true;
    const errno = this.#libc.calls.errno();
    switch (errnoName(errno)) {
      case "EAGAIN": // full: rung already
      case "ENOBUFS": // macOS says so
        return true;
      case "EINTR":
        return this.ring();
      case "EPIPE":
      case "ECONNRESET":
      case "ENOTCONN":
        return false;
      default:
        throw errnoError("send", errno, `doorbell ${this.path}`);
    }
  }

  /** Closes the connection, which the other end notices. A second disposal does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#libc.calls.posix.close(this.#fd);
    if (this.#ownsLibc) this.#libc[Symbol.dispose]();
  }
}

/** The ear of a doorbell: the accepted end of a {@link Doorbell}'s connection. Needs no FFI. */
export class DoorbellReader implements Disposable {
  readonly #conn: Deno.Conn;
  /** Many rings are read at once. */
  readonly #rings = new Uint8Array(256);
  #disposed = false;

  /**
   * Takes over an accepted connection.
   *
   * @param conn What a listener on a Unix socket accepted. It is closed with this object.
   */
  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /**
   * Waits for a ring. Rings since the last wait count as one. One wait at a time.
   *
   * @returns `rung`, or `closed` if the other end or this one was closed, or the other process died.
   */
  async wait(): Promise<"rung" | "closed"> {
    if (this.#disposed) return "closed";
    try {
      return await this.#conn.read(this.#rings) === null ? "closed" : "rung";
    } catch (error) {
      if (
        error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
        error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
        this.#disposed
      ) return "closed";
      throw error;
    }
  }

  /** Closes the connection; a wait resolves with `closed`. A second disposal does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // closed by its owner
    }
  }
}
