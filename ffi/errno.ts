/**
 * The error numbers of the C library: their names, and what they mean as a `PatchbayError`.
 *
 * @module
 */
import { type ErrorCode, PatchbayError } from "@patchbay/core/errors";

// In order from 1; "-" is a number without meaning.
// Linux: include/uapi/asm-generic/errno-base.h and errno.h, as on x86-64 and arm64.
const LINUX =
  "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES " +
  "EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY " +
  "EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS " +
  "ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT " +
  "EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG " +
  "EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD " +
  "EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK " +
  "EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP " +
  "EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET " +
  "ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT " +
  "ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL " +
  "EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED " +
  "EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";

// macOS: bsd/sys/errno.h of xnu. Written from documentation, not run.
const DARWIN = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EDEADLK ENOMEM " +
  "EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY " +
  "ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EAGAIN EINPROGRESS EALREADY " +
  "ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT " +
  "ENOTSUP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET " +
  "ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT " +
  "ECONNREFUSED ELOOP ENAMETOOLONG EHOSTDOWN EHOSTUNREACH ENOTEMPTY EPROCLIM EUSERS EDQUOT " +
  "ESTALE EREMOTE EBADRPC ERPCMISMATCH EPROGUNAVAIL EPROGMISMATCH EPROCUNAVAIL ENOLCK ENOSYS " +
  "EFTYPE EAUTH ENEEDAUTH EPWROFF EDEVERR EOVERFLOW EBADEXEC EBADARCH ESHLIBVERS EBADMACHO " +
  "ECANCELED EIDRM ENOMSG EILSEQ ENOATTR EBADMSG EMULTIHOP ENODATA ENOLINK ENOSR ENOSTR EPROTO " +
  "ETIME EOPNOTSUPP ENOPOLICY ENOTRECOVERABLE EOWNERDEAD EQFULL";

/** Operating systems whose error numbers are known here. */
export type ErrnoOs = "linux" | "darwin";

const NAMES: Readonly<Record<ErrnoOs, readonly string[]>> = {
  linux: ["-", ...LINUX.split(" ")],
  darwin: ["-", ...DARWIN.split(" ")],
};

/** The operating system this process runs on, as far as its numbers are known. */
function currentOs(): ErrnoOs | undefined {
  const os = Deno.build.os;
  return os === "linux" || os === "darwin" ? os : undefined;
}

/**
 * The name of an error number, such as `ENOENT`; `errno 4242` for a number without a name.
 *
 * @param errno The number, as C's `errno` holds it.
 * @param os Whose numbers they are. Default: those of this machine.
 *
 * @example
 * ```ts
 * import { errnoName } from "@patchbay/ffi";
 *
 * if (errnoName(2) !== "ENOENT") throw new Error("unexpected");
 * if (errnoName(35, "darwin") !== "EAGAIN") throw new Error("unexpected");
 * ```
 */
export function errnoName(errno: number, os: ErrnoOs | undefined = currentOs()): string {
  const name = os === undefined ? undefined : NAMES[os][errno];
  return name === undefined || name === "-" ? `errno ${errno}` : name;
}

/**
 * The number of an error name on this machine or another; undefined where it has none.
 *
 * @param name Such as `EAGAIN`.
 * @param os Whose numbers they are. Default: those of this machine.
 */
export function errnoNumber(
  name: string,
  os: ErrnoOs | undefined = currentOs(),
): number | undefined {
  // Two names that Linux gives to numbers which have another one already.
  const alias = os === "linux" && name === "ENOTSUP"
    ? "EOPNOTSUPP"
    : name === "EWOULDBLOCK"
    ? "EAGAIN"
    : name;
  const number = os === undefined || alias === "-" ? -1 : NAMES[os].indexOf(alias);
  return number < 0 ? undefined : number;
}

interface Meaning {
  code: ErrorCode;
  says: string;
  remedy?: string;
  /** Where it differs from the code's own answer. */
  retryable?: boolean;
}

const NO_MEMORY_REMEDY = "free memory, or raise the limit (ulimit -v, cgroup)";
const NO_SPACE_REMEDY = "free space on that file system (df -h; for shared memory: /dev/shm)";
const TOO_MANY_FILES_REMEDY = "raise the limit of open files (ulimit -n), or close some";
const PERMISSION_REMEDY = "run as the user that owns it, or have its owner share it";
const IN_USE_REMEDY = "choose another name, or remove it if nothing uses it any more";

const MEANINGS: Readonly<Record<string, Meaning>> = {
  EACCES: { code: "forbidden", says: "permission denied", remedy: PERMISSION_REMEDY },
  EPERM: { code: "forbidden", says: "operation not permitted", remedy: PERMISSION_REMEDY },
  EROFS: {
    code: "forbidden",
    says: "read-only file system",
    remedy: "choose a folder on a writable file system",
  },

  ENOENT: { code: "not_found", says: "no such file or object" },
  ESRCH: { code: "not_found", says: "no such process" },
  ENXIO: { code: "not_found", says: "no such device or nobody on the other end" },
  ENODEV: { code: "not_found", says: "no such device" },
  ENOTDIR: { code: "not_found", says: "a part of the path is not a folder" },

  ENOSPC: { code: "unavailable", says: "no space left", remedy: NO_SPACE_REMEDY },
  EDQUOT: { code: "unavailable", says: "disk quota exceeded", remedy: NO_SPACE_REMEDY },
  ENOMEM: { code: "unavailable", says: "out of memory", remedy: NO_MEMORY_REMEDY },
  ENOBUFS: { code: "unavailable", says: "no buffer space left", remedy: NO_MEMORY_REMEDY },
  EMFILE: {
    code: "unavailable",
    says: "this process has too many open files",
    remedy: TOO_MANY_FILES_REMEDY,
  },
  ENFILE: {
    code: "unavailable",
    says: "the system has too many open files",
    remedy: TOO_MANY_FILES_REMEDY,
  },
  EEXIST: {
    code: "unavailable",
    says: "it exists already",
    remedy: IN_USE_REMEDY,
    retryable: false,
  },
  EADDRINUSE: {
    code: "unavailable",
    says: "the address is in use",
    remedy: IN_USE_REMEDY,
    retryable: false,
  },
  ENOSYS: {
    code: "unavailable",
    says: "this kernel does not have it",
    remedy: "use another wire on this machine, or a newer kernel",
    retryable: false,
  },
  EOPNOTSUPP: {
    code: "unavailable",
    says: "not supported here",
    remedy: "use another wire on this machine, or another file system",
    retryable: false,
  },
  ECONNREFUSED: {
    code: "unavailable",
    says: "nobody listens there",
    remedy: "start the process that should listen there",
  },

  ECONNRESET: { code: "closed", says: "the peer broke the connection" },
  ECONNABORTED: { code: "closed", says: "the connection was given up" },
  EPIPE: { code: "closed", says: "the other end is closed" },
  ENOTCONN: { code: "closed", says: "not connected" },
  ESHUTDOWN: { code: "closed", says: "the connection was shut down" },
  EOWNERDEAD: { code: "closed", says: "its owner died" },

  EAGAIN: { code: "overloaded", says: "it would have to wait" },
  EBUSY: { code: "overloaded", says: "it is busy" },
  EINTR: { code: "overloaded", says: "interrupted by a signal" },
  ETIMEDOUT: { code: "deadline_exceeded", says: "timed out" },

  EMSGSIZE: { code: "too_large", says: "the message is too long" },
  EFBIG: { code: "too_large", says: "the file would be too large" },
  EOVERFLOW: { code: "too_large", says: "the value does not fit" },

  EINVAL: { code: "invalid", says: "invalid argument" },
  ENAMETOOLONG: { code: "invalid", says: "the name is too long", remedy: "choose a shorter name" },
  EISDIR: { code: "invalid", says: "it is a folder" },
  ELOOP: { code: "invalid", says: "too many symbolic links" },
};

/**
 * The error that a failed call of the C library means, with number, name and symbol in `details`.
 *
 * | errno | code |
 * |---|---|
 * | `EACCES`, `EPERM`, `EROFS` | `forbidden` |
 * | `ENOENT`, `ESRCH`, `ENXIO`, `ENODEV`, `ENOTDIR` | `not_found` |
 * | `ENOSPC`, `EDQUOT`, `ENOMEM`, `ENOBUFS`, `EMFILE`, `ENFILE`, `ECONNREFUSED` | `unavailable` |
 * | `EEXIST`, `EADDRINUSE`, `ENOSYS`, `ENOTSUP`, `EOPNOTSUPP` | `unavailable`, not retryable |
 * | `ECONNRESET`, `ECONNABORTED`, `EPIPE`, `ENOTCONN`, `ESHUTDOWN`, `EOWNERDEAD` | `closed` |
 * | `EAGAIN`, `EBUSY`, `EINTR` | `overloaded` |
 * | `ETIMEDOUT` | `deadline_exceeded` |
 * | `EMSGSIZE`, `EFBIG`, `EOVERFLOW` | `too_large` |
 * | `EINVAL`, `ENAMETOOLONG`, `EISDIR`, `ELOOP` | `invalid` |
 * | anything else | `internal` |
 *
 * @param symbol The C function that failed.
 * @param errno The number, read directly after the call.
 * @param what What it was done to, as the reader knows it.
 * @param os Whose numbers they are. Default: those of this machine.
 *
 * @example
 * ```ts
 * import { errnoError } from "@patchbay/ffi";
 *
 * const error = errnoError("shm_open", 2, "segment /camera");
 * if (error.code !== "not_found") throw new Error("unexpected");
 * if (error.message !== "shm_open of segment /camera failed: no such file or object (ENOENT)") {
 *   throw new Error("unexpected");
 * }
 * ```
 */
export function errnoError(
  symbol: string,
  errno: number,
  what: string,
  os: ErrnoOs | undefined = currentOs(),
): PatchbayError {
  const name = errnoName(errno, os);
  // One meaning under two numbers on macOS, and under two names of one number on Linux.
  const meaning = MEANINGS[name === "ENOTSUP" ? "EOPNOTSUPP" : name];
  const why = meaning === undefined ? name : `${meaning.says} (${name})`;
  return new PatchbayError(meaning?.code ?? "internal", `${symbol} of ${what} failed: ${why}`, {
    details: { errno, name, symbol },
    remedy: meaning?.remedy,
    retryable: meaning?.retryable,
  });
}
