/**
 * The C library of this machine, opened on demand: process ids, liveness of processes, `errno`.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { errnoError, errnoName } from "./errno.ts";

/** What every supported C library has. Names and types are C's. */
const POSIX = {
  getpid: {
    parameters: [], // pid_t getpid(void);
    result: "i32", // pid_t
  },
  getuid: {
    parameters: [], // uid_t getuid(void);
    result: "u32", // uid_t
  },
  kill: {
    parameters: [
      "i32", // pid_t pid
      "i32", // int sig
    ],
    result: "i32", // int
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Linux: glibc and musl. */
const LINUX = {
  ...POSIX,
  __errno_location: {
    parameters: [], // int *__errno_location(void);
    result: "pointer", // int *
  },
  // glibc only.
  gnu_get_libc_version: {
    parameters: [], // const char *gnu_get_libc_version(void);
    result: "pointer", // const char *
    optional: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** macOS. Written from documentation, not run. */
const DARWIN = {
  ...POSIX,
  __error: {
    parameters: [], // int *__error(void);
    result: "pointer", // int *
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Where the C library is found, in the order of trying. */
function candidates(): string[] {
  switch (Deno.build.os) {
    case "linux":
      // musl's name carries the architecture; written from documentation, not run.
      // "" is the program itself, which has a libc in it.
      return ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`, ""];
    case "darwin":
      // Written from documentation, not run.
      return ["libSystem.dylib", "/usr/lib/libSystem.B.dylib"];
    default:
      return [];
  }
}

/** An opened library and what differs between systems. */
interface Opened {
  library: string;
  version: string;
  symbols: Deno.DynamicLibrary<typeof POSIX>["symbols"];
  errnoLocation: Deno.PointerObject;
  close(): void;
}

function openLinux(library: string): Opened {
  const opened = Deno.dlopen(library, LINUX);
  try {
    const { symbols } = opened;
    const errnoLocation = symbols.__errno_location();
    if (errnoLocation === null) throw new Error("__errno_location returned no address");
    const glibc = symbols.gnu_get_libc_version?.() ?? null;
    return {
      library: library === "" ? "the program itself" : library,
      version: glibc === null ? "" : `glibc ${new Deno.UnsafePointerView(glibc).getCString()}`,
      symbols,
      errnoLocation,
      close: () => opened.close(),
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** Written from documentation, not run. */
function openDarwin(library: string): Opened {
  const opened = Deno.dlopen(library, DARWIN);
  try {
    const { symbols } = opened;
    const errnoLocation = symbols.__error();
    if (errnoLocation === null) throw new Error("__error returned no address");
    return { library, version: "", symbols, errnoLocation, close: () => opened.close() };
  } catch (error) {
    opened.close();
    throw error;
  }
}

const FFI_REMEDY = "pass --allow-ffi (a path after it is not enough: pointers need it whole)";

/** Why FFI cannot be used, before anything is opened; undefined when it can. */
function refusal(): { reason: string; remedy: string } | undefined {
  if (candidates().length === 0) {
    return {
      reason: `no C library is known for ${Deno.build.os}`,
      remedy: "use a wire that needs no FFI, such as uds or websocket",
    };
  }
  // Asked, not requested: a question on the terminal is nothing that a library may cause.
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  if (state === "granted") return undefined;
  return { reason: "the permission for FFI is not granted", remedy: FFI_REMEDY };
}

function open(): Opened {
  const refused = refusal();
  if (refused !== undefined) {
    throw new PatchbayError("unavailable", `the C library cannot be opened: ${refused.reason}`, {
      remedy: refused.remedy,
      retryable: false,
    });
  }
  const failures: string[] = [];
  for (const library of candidates()) {
    try {
      return Deno.build.os === "darwin" ? openDarwin(library) : openLinux(library);
    } catch (error) {
      failures.push(`${JSON.stringify(library)}: ${(error as Error).message}`);
    }
  }
  throw new PatchbayError(
    "unavailable",
    `the C library cannot be opened: ${failures.join("; ")}`,
    { remedy: "install the system's C library (glibc or musl)", retryable: false },
  );
}

/** Whether the C library can be used: what was found, or why not and what to do about it. */
export type LibcAvailability =
  | { available: true; detail: string }
  | { available: false; reason: string; remedy: string };

/**
 * Says whether {@link openLibc} will work. Never throws, never asks for a permission, and leaves
 * nothing open.
 *
 * @example
 * ```ts
 * import { libcAvailability } from "@patchbay/ffi";
 *
 * const libc = libcAvailability();
 * console.log(libc.available ? libc.detail : `${libc.reason}: ${libc.remedy}`);
 * ```
 */
export function libcAvailability(): LibcAvailability {
  try {
    const opened = open();
    opened.close();
    const { library, version } = opened;
    return { available: true, detail: version === "" ? library : `${library} (${version})` };
  } catch (error) {
    const { message, remedy } = error as PatchbayError;
    return { available: false, reason: message, remedy: remedy ?? FFI_REMEDY };
  }
}

/**
 * An open C library. Dispose of it when done; a second disposal does nothing, and any other use
 * after the first throws `closed`.
 *
 * It belongs to the thread that opened it: `errno` is a variable of the thread.
 *
 * @example
 * ```ts
 * import { openLibc } from "@patchbay/ffi";
 *
 * using libc = openLibc();
 * if (libc.getpid() !== Deno.pid) throw new Error("unexpected");
 * if (!libc.processAlive(Deno.pid)) throw new Error("unexpected");
 * ```
 */
export class Libc implements Disposable {
  /** What was opened, such as `libc.so.6`. */
  readonly library: string;
  readonly #opened: Opened;
  readonly #errno: Deno.UnsafePointerView;
  #closed = false;

  /** @ignore */
  constructor(opened: Opened) {
    this.library = opened.library;
    this.#opened = opened;
    // The address stays the same for the life of the thread, so reading errno later costs no call
    // and no allocation, either of which could overwrite it.
    this.#errno = new Deno.UnsafePointerView(opened.errnoLocation);
  }

  /** The id of this process. */
  getpid(): number {
    return this.#symbols.getpid();
  }

  /** The real user id of this process. */
  getuid(): number {
    return this.#symbols.getuid();
  }

  /**
   * The thread's `errno`: why the last call failed. Right only directly after a synchronous call
   * that said it failed; after a `nonblocking` one it is another thread's.
   */
  errno(): number {
    void this.#symbols;
    return this.#errno.getInt32();
  }

  /**
   * Whether a process with this id exists (`kill(pid, 0)`), also one of another user.
   *
   * A process that has ended but whose parent has not asked for its exit code yet (a zombie) counts
   * as alive, and an id may have been given to a new process since: where it matters who it is, hold
   * a lock that dies with the process.
   *
   * @param pid A process id, 1 or higher.
   * @throws PatchbayError `invalid` for anything else: 0 and negative numbers mean groups to C.
   */
  processAlive(pid: number): boolean {
    if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff) {
      throw new PatchbayError("invalid", `${pid} is no process id: it must be an integer from 1`);
    }
    if (this.#symbols.kill(pid, 0) === 0) return true;
    const errno = this.#errno.getInt32();
    switch (errnoName(errno)) {
      case "ESRCH":
        return false;
      case "EPERM":
        return true; // It exists, and belongs to somebody else.
      default:
        throw errnoError("kill", errno, `process ${pid}`);
    }
  }

  /** Closes the library. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opened.close();
  }

  get #symbols(): Opened["symbols"] {
    if (this.#closed) throw new PatchbayError("closed", `${this.library} was closed`);
    return this.#opened.symbols;
  }
}

/**
 * Opens the C library. Nothing is opened before this is called, and importing this package needs
 * no permission.
 *
 * @throws PatchbayError `unavailable` without `--allow-ffi`, on an unsupported system, or when no C
 * library is found; its `remedy` says what to do.
 */
export function openLibc(): Libc {
  return new Libc(open());
}
