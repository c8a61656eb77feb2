/**
 * Unix sockets: listening on a path without ever taking a live one over, and dialling one.
 *
 * How a path is taken: under the folder's lock, connect to what is there. Refused means that nobody
 * listens any more: unlink it and bind. Accepted means that somebody lives: refuse. The lock keeps
 * two who start together from both judging the old file, the second unlinking what the first has
 * just bound. Binding elsewhere and renaming would do without a lock but takes a live socket over
 * silently, and Deno grants a socket by its exact path only.
 *
 * @module
 */

import { dirname } from "./path.ts";
import { PatchbayError } from "@patchbay/core";
import { fileMode } from "./entry.ts";
import { withFolderLock } from "./lock.ts";
import { fromNotCapable } from "./permissions.ts";
import { currentUid } from "./runtime_dir.ts";
import { checkSocketPath } from "./socket_path.ts";

/** How to listen. */
export interface ListenUnixOptions {
  /** The socket's path: what `socketPath` gave. */
  path: string;
  /** Gets each connection, and closes it. What it throws is reported, and the connection closed. */
  onConnection: (connection: Deno.UnixConn) => void;
  /** Told about failures to accept, and what {@link onConnection} threw. */
  onError?: (error: unknown) => void;
  /** Stops listening. */
  signal?: AbortSignal;
}

/** How to dial. */
export interface DialUnixOptions {
  /** Gives up. */
  signal?: AbortSignal;
}

/** How long to wait after a failed accept (no file descriptor left, say), in milliseconds. */
const ACCEPT_RETRY_MS = 50;

/** A socket that is listened on, until it is closed. */
export class UnixListener implements AsyncDisposable {
  /** The socket's path. */
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  readonly #inode: string;
  readonly #accepting: Promise<void>;
  readonly #options: ListenUnixOptions;
  readonly #abort = () => void this.close();
  #wake: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  /** @ignore Made by {@link listenUnix}. */
  constructor(listener: Deno.UnixListener, options: ListenUnixOptions) {
    this.path = options.path;
    this.#listener = listener;
    this.#options = options;
    this.#inode = inodeOf(options.path) ?? "";
    this.#accepting = this.#accept();
    options.signal?.addEventListener("abort", this.#abort);
  }

  /**
   * Stops listening and removes the socket's file if it is still this one. Connections that were
   * accepted stay open. Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#abort);
    const there = inodeOf(this.path);
    const foreign = there !== undefined && there !== this.#inode;
    if (!foreign) return await this.#stop();
    // Somebody removed our file, and another bound the path. Deno unlinks the path of a listener
    // whoever's it is (2.9), so the other's file is kept under a second name meanwhile.
    const mode = fileMode(dirname(this.path), true);
    await withFolderLock(dirname(this.path), mode, async () => {
      const aside = `${this.path}.aside`;
      try {
        Deno.linkSync(this.path, aside);
      } catch {
        return await this.#stop(); // It went meanwhile, or links are not allowed here.
      }
      await this.#stop();
      if (inodeOf(this.path) === undefined) Deno.renameSync(aside, this.path);
      else Deno.removeSync(aside);
    });
  }

  async #stop(): Promise<void> {
    // Deno unlinks before it closes the descriptor, so nobody can find the file stale and bind the
    // path in between.
    this.#listener.close();
    this.#wake?.();
    await this.#accepting;
    if (inodeOf(this.path) === this.#inode) remove(this.path);
  }

  async #accept(): Promise<void> {
    while (this.#closing === undefined) {
      let connection: Deno.UnixConn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        if (this.#closing !== undefined || error instanceof Deno.errors.BadResource) return;
        this.#options.onError?.(error);
        await this.#pause();
        continue;
      }
      try {
        this.#options.onConnection(connection);
      } catch (error) {
        closeQuietly(connection);
        this.#options.onError?.(error);
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ACCEPT_RETRY_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/**
 * Listens on a Unix socket.
 *
 * Guaranteed: a live socket is never taken over; a file left by a dead process is replaced; of two
 * processes that start together exactly one succeeds; the socket is as open as its folder (0600 in
 * a 0700 folder); it is removed on close if it is still this one.
 *
 * Whoever checks whether a socket is stale connects and closes again at once: a listener sees a
 * connection that ends without a byte.
 *
 * @param options The path, and who gets the connections.
 * @throws {PatchbayError} `unavailable`, not retryable: somebody listens there, something that is no
 *   socket lies there, or a permission is missing; `forbidden`: the socket or folder is another
 *   user's; `invalid`: the path is too long.
 *
 * @example
 * ```ts
 * import { dialUnix, listenUnix } from "@patchbay/host";
 *
 * const folder = await Deno.makeTempDir();
 * const path = `${folder}/arm.sock`;
 * await using listener = await listenUnix({ path, onConnection: (connection) => connection.close() });
 * const connection = await dialUnix(listener.path);
 * console.log(await connection.read(new Uint8Array(1))); // null: the other side closed
 * connection.close();
 * await listener.close();
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function listenUnix(options: ListenUnixOptions): Promise<UnixListener> {
  const path = checkSocketPath(options.path);
  options.signal?.throwIfAborted();
  const folder = dirname(path);
  try {
    const mode = fileMode(folder, true);
    return await withFolderLock(folder, mode, async () => {
      await clearTheWay(path);
      options.signal?.throwIfAborted();
      const listener = Deno.listen({ transport: "unix", path });
      try {
        // Between bind and chmod the socket has the umask's mode; the 0700 folder covers that.
        if (Deno.build.os !== "windows") secure(path, mode);
        return new UnixListener(listener, options);
      } catch (error) {
        listener.close();
        throw error;
      }
    });
  } catch (error) {
    throw translate(error, path, "listened on");
  }
}

/**
 * Dials a Unix socket.
 *
 * @param path The socket's path.
 * @param options A signal to give up.
 * @throws {PatchbayError} `not_found`: there is no socket; `closed`: there is, but its process is
 *   gone; `forbidden`: the operating system does not let this user in; `unavailable`: Deno was
 *   started without the permission (the remedy names the exact flags).
 */
export async function dialUnix(
  path: string,
  options: DialUnixOptions = {},
): Promise<Deno.UnixConn> {
  checkSocketPath(path);
  const { signal } = options;
  signal?.throwIfAborted();
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path });
  } catch (error) {
    throw translate(error, path, "dialled");
  }
  if (signal?.aborted) {
    connection.close();
    signal.throwIfAborted();
  }
  return connection;
}

function inodeOf(path: string): string | undefined {
  try {
    const info = Deno.lstatSync(path);
    return `${info.dev}/${info.ino}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function closeQuietly(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // It was closed by whoever threw.
  }
}

function secure(path: string, mode: number): void {
  Deno.chmodSync(path, mode);
  const got = (Deno.lstatSync(path).mode ?? 0) & 0o777;
  if (got === mode) return;
  throw new PatchbayError(
    "forbidden",
    `the socket ${path} has mode ${got.toString(8)}, and ${mode.toString(8)} cannot be set`,
    { remedy: "choose a runtimeDirectory on a file system that keeps modes" },
  );
}

/** Removes a stale socket; throws if what is there may not be removed. Under the folder's lock. */
async function clearTheWay(path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  // Windows shows its sockets as plain files.
  if (Deno.build.os !== "windows" && !info.isSocket) {
    throw new PatchbayError("unavailable", `${path} is in the way: it is not a socket`, {
      retryable: false,
      remedy: `look at it, and remove it: rm ${path}`,
    });
  }
  const uid = currentUid() ?? Deno.lstatSync(dirname(path)).uid;
  if (info.uid !== uid) {
    throw new PatchbayError("forbidden", `the socket ${path} belongs to user ${info.uid}`, {
      remedy: "set runtimeDirectory to one of your own, or pass another instance",
    });
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (error instanceof Deno.errors.ConnectionRefused) return remove(path);
    if (error instanceof Deno.errors.NotCapable) throw error;
    // A full backlog and whatever else is no proof of death.
    throw taken(path, error);
  }
  throw taken(path);
}

function taken(path: string, cause?: unknown): PatchbayError {
  return new PatchbayError("unavailable", `a live process listens on ${path}`, {
    retryable: false,
    remedy: "stop it, or choose another path; of a module: another instance name",
    details: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}

function translate(error: unknown, path: string, what: string): unknown {
  if (error instanceof PatchbayError) return error;
  const folder = dirname(path);
  const known = fromNotCapable(error, `the socket ${path} cannot be ${what}`, [
    `--allow-net=unix:${path}`,
    `--allow-read=${folder}`,
    `--allow-write=${folder}`,
  ]);
  if (known instanceof PatchbayError) return known;
  const details = { path };
  if (error instanceof Deno.errors.NotFound && what === "listened on") {
    return new PatchbayError("not_found", `there is no folder ${folder} for the socket ${path}`, {
      remedy: `make it: mkdir -m 700 ${folder}`,
      details,
      cause: error,
    });
  }
  if (error instanceof Deno.errors.NotFound) {
    return new PatchbayError("not_found", `there is no socket ${path}`, {
      retryable: true,
      remedy: "start the module that listens there; see patchbay list",
      details,
      cause: error,
    });
  }
  if (
    error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.ConnectionReset
  ) {
    return new PatchbayError("closed", `nobody listens on ${path} any more`, {
      remedy: "start the module that listened there again",
      details,
      cause: error,
    });
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new PatchbayError("forbidden", `the socket ${path} cannot be ${what} by this user`, {
      remedy: `look at its rights and those of its folder: ls -la ${folder}`,
      details,
      cause: error,
    });
  }
  if (error instanceof Deno.errors.AddrInUse) return taken(path, error);
  return error;
}
