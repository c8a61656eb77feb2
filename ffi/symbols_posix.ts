/**
 * The C functions that have the same form on every supported system, as FFI symbols.
 *
 * @module
 */

/** Names and types are C's. POSIX.1-2017, and `flock` of 4.4BSD. */
export const POSIX = {
  getpid: {
    parameters: [], // pid_t getpid(void);
    result: "i32", // pid_t
  },
  getuid: {
    parameters: [], // uid_t getuid(void);
    result: "u32", // uid_t
  },
  geteuid: {
    parameters: [], // uid_t geteuid(void);
    result: "u32", // uid_t
  },
  kill: {
    parameters: [
      "i32", // pid_t pid
      "i32", // int sig
    ],
    result: "i32", // int
  },
  sched_yield: {
    parameters: [], // int sched_yield(void);
    result: "i32", // int
  },
  close: {
    parameters: [
      "i32", // int fildes
    ],
    result: "i32", // int
  },
  flock: {
    parameters: [
      "i32", // int fd
      "i32", // int operation
    ],
    result: "i32", // int
  },
  ftruncate: {
    parameters: [
      "i32", // int fildes
      "i64", // off_t length
    ],
    result: "i32", // int
  },
  mmap: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t len
      "i32", // int prot
      "i32", // int flags
      "i32", // int fildes
      "i64", // off_t off
    ],
    result: "pointer", // void *
  },
  munmap: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t len
    ],
    result: "i32", // int
  },
  shm_unlink: {
    parameters: [
      "buffer", // const char *name
    ],
    result: "i32", // int
  },
  sem_close: {
    parameters: [
      "pointer", // sem_t *sem
    ],
    result: "i32", // int
  },
  sem_unlink: {
    parameters: [
      "buffer", // const char *name
    ],
    result: "i32", // int
  },
  sem_post: {
    parameters: [
      "pointer", // sem_t *sem
    ],
    result: "i32", // int
  },
  sem_trywait: {
    parameters: [
      "pointer", // sem_t *sem
    ],
    result: "i32", // int
  },
  // Stops the whole thread: the safe classes never call it.
  sem_wait: {
    parameters: [
      "pointer", // sem_t *sem
    ],
    result: "i32", // int
  },
  socket: {
    parameters: [
      "i32", // int domain
      "i32", // int type
      "i32", // int protocol
    ],
    result: "i32", // int
  },
  connect: {
    parameters: [
      "i32", // int socket
      "buffer", // const struct sockaddr *address
      "u32", // socklen_t address_len
    ],
    result: "i32", // int
  },
  send: {
    parameters: [
      "i32", // int socket
      "buffer", // const void *buffer
      "usize", // size_t length
      "i32", // int flags
    ],
    result: "isize", // ssize_t
  },
} as const satisfies Deno.ForeignLibraryInterface;
