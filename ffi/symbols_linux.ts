/**
 * What Linux's C libraries (glibc and musl, x86-64 and arm64) have beyond the common symbols, and
 * the numbers and structures that the kernel gives them. arm64 and musl: written from
 * documentation, not run.
 *
 * @module
 */
import { POSIX } from "./symbols_posix.ts";
import type { System } from "./system.ts";

/**
 * Names and types are C's. Variadic functions stand with the arguments that are passed: both
 * processors' calling conventions for Linux pass them like any other (System V AMD64 ABI §3.2.3;
 * AAPCS64 §6.4.2, for integers).
 */
export const LINUX = {
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
  open: {
    parameters: [
      "buffer", // const char *path
      "i32", // int oflag
      "u32", // mode_t mode
    ],
    result: "i32", // int
  },
  // A symbol of its own since glibc 2.33; older ones have __fxstat.
  fstat: {
    parameters: [
      "i32", // int fildes
      "buffer", // struct stat *buf
    ],
    result: "i32", // int
    optional: true,
  },
  __fxstat: {
    parameters: [
      "i32", // int vers
      "i32", // int fildes
      "buffer", // struct stat *buf
    ],
    result: "i32", // int
    optional: true,
  },
  fcntl: {
    parameters: [
      "i32", // int fildes
      "i32", // int cmd
      "buffer", // struct flock *lock
    ],
    result: "i32", // int
  },
  shm_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u32", // mode_t mode
    ],
    result: "i32", // int
  },
  posix_fallocate: {
    parameters: [
      "i32", // int fd
      "i64", // off_t offset
      "i64", // off_t len
    ],
    result: "i32", // int: the error number itself
  },
  opendir: {
    parameters: [
      "buffer", // const char *dirname
    ],
    result: "pointer", // DIR *
  },
  readdir: {
    parameters: [
      "pointer", // DIR *dirp
    ],
    result: "pointer", // struct dirent *
  },
  closedir: {
    parameters: [
      "pointer", // DIR *dirp
    ],
    result: "i32", // int
  },
  sem_open: {
    parameters: [
      "buffer", // const char *name
      "i32", // int oflag
      "u32", // mode_t mode
      "u32", // unsigned value
    ],
    result: "pointer", // sem_t *
  },
  sem_init: {
    parameters: [
      "pointer", // sem_t *sem
      "i32", // int pshared
      "u32", // unsigned value
    ],
    result: "i32", // int
  },
  sem_destroy: {
    parameters: [
      "pointer", // sem_t *sem
    ],
    result: "i32", // int
  },
  sem_timedwait: {
    parameters: [
      "pointer", // sem_t *restrict sem
      "buffer", // const struct timespec *restrict abstime
    ],
    result: "i32", // int
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const ARM64 = Deno.build.arch === "aarch64";

/** Linux: include/uapi/asm-generic/fcntl.h, mman-common.h, linux/socket.h, asm/stat.h. */
export const LINUX_SYSTEM: System = {
  name: "linux",
  O_RDWR: 0o2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NONBLOCK: 0o4000,
  // arch/arm64/include/uapi/asm/fcntl.h gives it another number than the generic one.
  O_NOFOLLOW: ARM64 ? 0o100000 : 0o400000,
  O_CLOEXEC: 0o2000000,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  F_OFD_SETLK: 37,
  stat: ARM64
    ? { bytes: 128, mode: 16, modeBytes: 4, links: 20, linksBytes: 4, uid: 24, size: 48 }
    : { bytes: 144, mode: 24, modeBytes: 4, links: 16, linksBytes: 8, uid: 28, size: 48 },
  // d_ino and d_off of 8 bytes, d_reclen of 2, d_type of 1 (readdir(3)).
  direntName: 19,
  // struct sockaddr_un: sa_family_t of two bytes, then 108 bytes of path (unix(7)).
  sockaddr: { bytes: 110, path: 2, pathBytes: 108, lengthFirst: false },
  maxSharedMemoryName: 255, // NAME_MAX, with the slash: shm_overview(7)
  maxSemaphoreName: 251, // NAME_MAX - 4: sem_overview(7)
  semaphoreBytes: 32, // sizeof(sem_t): glibc bits/semaphore.h (64 bits), musl alltypes.h
};
