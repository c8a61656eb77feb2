/**
 * The C functions and numbers that the safe classes use, in one form for every system, and the
 * opening of the library that has them.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";
import { strangeness } from "./self_check.ts";
import { LINUX, LINUX_SYSTEM } from "./symbols_linux.ts";
import { MACOS_ARM64, MACOS_SYSTEM, MACOS_X86_64 } from "./symbols_macos.ts";
import type { POSIX } from "./symbols_posix.ts";

/** What differs between systems in numbers and structures. Names are C's; offsets in bytes. */
export interface System {
  /** Which one. */
  readonly name: "linux" | "macos";
  /** Open for reading and writing. */
  readonly O_RDWR: number;
  /** Create what is not there. */
  readonly O_CREAT: number;
  /** Fail if it is there. */
  readonly O_EXCL: number;
  /** Do not wait for somebody on the other end. */
  readonly O_NONBLOCK: number;
  /** Fail if it is a symbolic link. */
  readonly O_NOFOLLOW: number;
  /** Closed in programs that are started from here. */
  readonly O_CLOEXEC: number;
  /** A socket that does not wait; 0 where there is no such flag. */
  readonly SOCK_NONBLOCK: number;
  /** A socket that is closed in programs started from here; 0 where there is no such flag. */
  readonly SOCK_CLOEXEC: number;
  /** Send without waiting. */
  readonly MSG_DONTWAIT: number;
  /** No SIGPIPE if the peer is gone; 0 where it is a socket option. */
  readonly MSG_NOSIGNAL: number;
  /** Locks that belong to an open file and cover a range; undefined where memory has none. */
  readonly F_OFD_SETLK: number | undefined;
  /** `struct stat`. */
  readonly stat: {
    readonly bytes: number;
    readonly mode: number;
    readonly modeBytes: 2 | 4;
    readonly links: number;
    readonly linksBytes: 2 | 4 | 8;
    readonly uid: number;
    readonly size: number;
  };
  /** Where the name begins in `struct dirent`. */
  readonly direntName: number;
  /** `struct sockaddr_un`. */
  readonly sockaddr: {
    readonly bytes: number;
    readonly path: number;
    readonly pathBytes: number;
    readonly lengthFirst: boolean;
  };
  /** The longest name of a segment, in bytes with its slash. */
  readonly maxSharedMemoryName: number;
  /** The longest name of a semaphore, in bytes with its slash. */
  readonly maxSemaphoreName: number;
  /** `sizeof(sem_t)`; undefined where a semaphore cannot lie in shared memory. */
  readonly semaphoreBytes: number | undefined;
}

/**
 * The raw C functions: what they take and return is C's, and nothing is checked. A wrong pointer
 * ends the process. `undefined`: this system does not have it.
 */
export interface Calls {
  /** Its numbers and structures. */
  readonly system: System;
  /** The functions of the same form everywhere. */
  readonly posix: Deno.DynamicLibrary<typeof POSIX>["symbols"];
  /** The thread's `errno`; right only directly after a synchronous call that failed. */
  errno(): number;
  /** `int open(const char *path, int oflag, mode_t mode)`. */
  open(path: Uint8Array<ArrayBuffer>, oflag: number, mode: number): number;
  /** `int fstat(int fildes, struct stat *buf)`. */
  fstat(fd: number, stat: Uint8Array<ArrayBuffer>): number;
  /** `int shm_open(const char *name, int oflag, mode_t mode)`. */
  shm_open(name: Uint8Array<ArrayBuffer>, oflag: number, mode: number): number;
  /** `sem_t *sem_open(const char *name, int oflag, mode_t mode, unsigned value)`. */
  sem_open(
    name: Uint8Array<ArrayBuffer>,
    oflag: number,
    mode: number,
    value: number,
  ): Deno.PointerValue;
  /** `int fcntl(int fildes, int cmd, struct flock *lock)`. */
  readonly fcntl?: (fd: number, cmd: number, lock: Uint8Array<ArrayBuffer>) => number;
  /** `int posix_fallocate(int fd, off_t offset, off_t len)`: returns the error number. */
  readonly posix_fallocate?: (fd: number, offset: bigint, length: bigint) => number;
  /** `DIR *opendir(const char *dirname)`. */
  readonly opendir?: (dirname: Uint8Array<ArrayBuffer>) => Deno.PointerValue;
  /** `struct dirent *readdir(DIR *dirp)`. */
  readonly readdir?: (dirp: Deno.PointerValue) => Deno.PointerValue;
  /** `int closedir(DIR *dirp)`. */
  readonly closedir?: (dirp: Deno.PointerValue) => number;
  /** `int sem_init(sem_t *sem, int pshared, unsigned value)`. */
  readonly sem_init?: (sem: Deno.PointerValue, pshared: number, value: number) => number;
  /** `int sem_destroy(sem_t *sem)`. */
  readonly sem_destroy?: (sem: Deno.PointerValue) => number;
  /** `int sem_timedwait(sem_t *sem, const struct timespec *abstime)`, on another thread. */
  readonly sem_timedwait?: (
    sem: Deno.PointerValue,
    abstime: Uint8Array<ArrayBuffer>,
  ) => Promise<number>;
  /** `int ioctl(int fildes, unsigned long request)`. */
  readonly ioctl?: (fd: number, request: bigint) => number;
  /** `int setsockopt(int socket, int level, int name, const void *value, socklen_t length)`. */
  readonly setsockopt?: (
    socket: number,
    level: number,
    name: number,
    value: Uint8Array<ArrayBuffer>,
    length: number,
  ) => number;
}

/** An opened library. */
export interface Opened {
  /** What was opened, for people. */
  library: string;
  /** Its version, where it says so; else empty. */
  version: string;
  calls: Calls;
  close(): void;
}

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

/**
 * Reads `errno`. Its address stays the same for the life of the thread, so reading it costs no call
 * and no allocation, either of which could overwrite it.
 */
function errnoReader(location: Deno.PointerValue): () => number {
  if (location === null) throw new Error("the address of errno is not known");
  const view = new Deno.UnsafePointerView(location);
  return () => view.getInt32();
}

function openLinux(library: string): Opened {
  const opened = Deno.dlopen(library, LINUX);
  try {
    const { symbols } = opened;
    const glibc = symbols.gnu_get_libc_version?.() ?? null;
    const { fstat, __fxstat } = symbols;
    // _STAT_VER of bits/stat.h: 1 on x86-64, 0 on arm64.
    const version = Deno.build.arch === "aarch64" ? 0 : 1;
    const calls: Calls = {
      system: LINUX_SYSTEM,
      posix: symbols,
      errno: errnoReader(symbols.__errno_location()),
      open: symbols.open,
      fstat: fstat ?? ((fd, stat) => {
        if (__fxstat === null) throw new Error("this C library has no fstat");
        return __fxstat(version, fd, stat);
      }),
      shm_open: symbols.shm_open,
      sem_open: symbols.sem_open,
      fcntl: symbols.fcntl,
      posix_fallocate: symbols.posix_fallocate,
      opendir: symbols.opendir,
      readdir: symbols.readdir,
      closedir: symbols.closedir,
      sem_init: symbols.sem_init,
      sem_destroy: symbols.sem_destroy,
      sem_timedwait: symbols.sem_timedwait,
    };
    return {
      library: library === "" ? "the program itself" : library,
      version: glibc === null ? "" : `glibc ${new Deno.UnsafePointerView(glibc).getCString()}`,
      calls,
      close: () => opened.close(),
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** Written from documentation, not run. */
function openMacosArm64(library: string): Opened {
  const opened = Deno.dlopen(library, MACOS_ARM64);
  try {
    const { symbols } = opened;
    const calls: Calls = {
      system: MACOS_SYSTEM,
      posix: symbols,
      errno: errnoReader(symbols.__error()),
      open: (path, oflag, mode) => symbols.open(path, oflag, 0n, 0n, 0n, 0n, 0n, 0n, BigInt(mode)),
      fstat: symbols.fstat,
      shm_open: (name, oflag, mode) =>
        symbols.shm_open(name, oflag, 0n, 0n, 0n, 0n, 0n, 0n, BigInt(mode)),
      sem_open: (name, oflag, mode, value) =>
        symbols.sem_open(name, oflag, 0n, 0n, 0n, 0n, 0n, 0n, BigInt(mode), BigInt(value)),
      ioctl: symbols.ioctl,
      setsockopt: symbols.setsockopt,
    };
    return { library, version: "", calls, close: () => opened.close() };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** Written from documentation, not run. */
function openMacosX86(library: string): Opened {
  const opened = Deno.dlopen(library, MACOS_X86_64);
  try {
    const { symbols } = opened;
    const calls: Calls = {
      system: MACOS_SYSTEM,
      posix: symbols,
      errno: errnoReader(symbols.__error()),
      open: symbols.open,
      fstat: symbols.fstat,
      shm_open: symbols.shm_open,
      sem_open: symbols.sem_open,
      ioctl: symbols.ioctl,
      setsockopt: symbols.setsockopt,
    };
    return { library, version: "", calls, close: () => opened.close() };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** The remedy for a permission that is missing. */
export const FFI_REMEDY =
  "pass --allow-ffi (a path after it is not enough: pointers need it whole)";

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

/** Opens the C library, or says why not and what to do about it. */
export function openCalls(): Opened {
  const refused = refusal();
  if (refused !== undefined) {
    throw new PatchbayError("unavailable", `the C library cannot be opened: ${refused.reason}`, {
      remedy: refused.remedy,
      retryable: false,
    });
  }
  const openHere = Deno.build.os !== "darwin"
    ? openLinux
    : Deno.build.arch === "aarch64"
    ? openMacosArm64
    : openMacosX86;
  const failures: string[] = [];
  let strange = false;
  for (const library of candidates()) {
    try {
      const opened = openHere(library);
      const what = strangeness(opened.calls);
      if (what === undefined) return opened;
      opened.close();
      strange = true;
      failures.push(`${JSON.stringify(library)} is not as expected: ${what}`);
    } catch (error) {
      failures.push(`${JSON.stringify(library)}: ${(error as Error).message}`);
    }
  }
  throw new PatchbayError(
    "unavailable",
    `the C library cannot be opened: ${failures.join("; ")}`,
    {
      remedy: strange
        ? "use a wire that needs no FFI, such as uds, and report this message as a defect"
        : "install the system's C library (glibc or musl)",
      retryable: false,
    },
  );
}
