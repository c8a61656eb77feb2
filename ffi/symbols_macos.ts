/**
 * What macOS's C library has beyond the common symbols, and the numbers and structures of its
 * kernel. Written from documentation (the SDK's headers, and "Writing ARM64 code for Apple
 * platforms"), not run.
 *
 * @module
 */
import { POSIX } from "./symbols_posix.ts";
import type { System } from "./system.ts";

const COMMON = {
  ...POSIX,
  __error: {
    parameters: [], // int *__error(void);
    result: "pointer", // int *
  },
  // FIOCLEX, which has no third argument: sockets there take no SOCK_CLOEXEC.
  ioctl: {
    parameters: [
      "i32", // int fildes
      "u64", // unsigned long request
    ],
    result: "i32", // int
  },
  // SO_NOSIGPIPE: MSG_NOSIGNAL is younger than the oldest macOS that Deno runs on.
  setsockopt: {
    parameters: [
      "i32", // int socket
      "i32", // int level
      "i32", // int option_name
      "buffer", // const void *option_value
      "u32", // socklen_t option_len
    ],
    result: "i32", // int
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Intel: variadic arguments travel like others; `stat` with 64-bit inodes has a name of its own. */
export const MACOS_X86_64 = {
  ...COMMON,
  fstat: {
    name: "fstat$INODE64",
    parameters: [
      "i32", // int fildes
      "buffer", // struct stat *buf
    ],
    result: "i32", // int
  },
  open: {
    parameters: [
      "buffer", // const char *path
      "i32", // int oflag
      "u32", // mode_t mode (variadic)
    ],
    result: "i32", // int
  },
  shm_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u32", // mode_t mode (variadic)
    ],
    result: "i32", // int
  },
  sem_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u32", // mode_t mode (variadic)
      "u32", // unsigned value (variadic)
    ],
    result: "pointer", // sem_t *
  },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Apple silicon passes variadic arguments on the stack, 8 bytes each: the six arguments between
 * fill the registers x2 to x7 and mean nothing.
 */
export const MACOS_ARM64 = {
  ...COMMON,
  fstat: {
    parameters: [
      "i32", // int fildes
      "buffer", // struct stat *buf
    ],
    result: "i32", // int
  },
  open: {
    parameters: [
      "buffer", // const char *path
      "i32", // int oflag
      "u64", // (x2)
      "u64", // (x3)
      "u64", // (x4)
      "u64", // (x5)
      "u64", // (x6)
      "u64", // (x7)
      "u64", // mode_t mode (variadic)
    ],
    result: "i32", // int
  },
  shm_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u64", // (x2)
      "u64", // (x3)
      "u64", // (x4)
      "u64", // (x5)
      "u64", // (x6)
      "u64", // (x7)
      "u64", // mode_t mode (variadic)
    ],
    result: "i32", // int
  },
  sem_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u64", // (x2)
      "u64", // (x3)
      "u64", // (x4)
      "u64", // (x5)
      "u64", // (x6)
      "u64", // (x7)
      "u64", // mode_t mode (variadic)
      "u64", // unsigned value (variadic)
    ],
    result: "pointer", // sem_t *
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** xnu: bsd/sys/fcntl.h, socket.h, stat.h (64-bit inodes), un.h, posix_shm.h, posix_sem.h. */
export const MACOS_SYSTEM: System = {
  name: "macos",
  O_RDWR: 0x2,
  O_CREAT: 0x200,
  O_EXCL: 0x800,
  O_NONBLOCK: 0x4,
  O_NOFOLLOW: 0x100,
  O_CLOEXEC: 0x100_0000,
  SOCK_NONBLOCK: 0, // no such flag
  SOCK_CLOEXEC: 0, // no such flag
  MSG_DONTWAIT: 0x80,
  MSG_NOSIGNAL: 0, // SO_NOSIGPIPE instead
  F_OFD_SETLK: undefined, // shared memory objects take no locks there
  stat: { bytes: 144, mode: 4, modeBytes: 2, links: 6, linksBytes: 2, uid: 16, size: 96 },
  direntName: 21, // unused: segments are in no folder there
  sockaddr: { bytes: 106, path: 2, pathBytes: 104, lengthFirst: true },
  maxSharedMemoryName: 31, // PSHMNAMLEN
  maxSemaphoreName: 31, // PSEMNAMLEN
  semaphoreBytes: undefined, // sem_init is not implemented there
};
