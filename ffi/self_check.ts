/**
 * Asks an opened C library some things whose answers are known: whether the numbers and structures
 * of `System` are those of this machine. Most were written from documentation.
 *
 * @module
 */
import { cString } from "./names.ts";
import { statOf } from "./segment_owner.ts";
import type { Calls } from "./system.ts";

const EBADF = 9; // errno.h, the same on Linux and macOS
// sys/stat.h, the same on Linux and macOS.
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const O_RDONLY = 0;

/**
 * What is not as it was written down; `undefined`: all is.
 *
 * @param calls The library's functions, and what is believed of its system.
 */
export function strangeness(calls: Calls): string | undefined {
  const pid = calls.posix.getpid();
  if (pid !== Deno.pid) return `getpid says ${pid}, and this is process ${Deno.pid}`;
  const closed = calls.posix.close(-1);
  const errno = calls.errno();
  if (closed !== -1 || errno !== EBADF) {
    return `closing what is not open gives ${closed} and errno ${errno}, not -1 and ${EBADF}`;
  }
  // A place that every system has; where it may not be opened, nothing is learnt.
  const fd = calls.open(cString("/"), O_RDONLY | calls.system.O_CLOEXEC, 0);
  if (fd >= 0) {
    try {
      const { mode, links, size } = statOf(calls, fd, "/");
      if ((mode & S_IFMT) !== S_IFDIR || links < 1 || size < 0) {
        return `struct stat of "/" reads as mode ${
          mode.toString(8)
        }, ${links} links, ${size} bytes`;
      }
    } finally {
      calls.posix.close(fd);
    }
  }
  return strangeEntries(calls);
}

/** Every folder lists itself. */
function strangeEntries({ opendir, readdir, closedir, system }: Calls): string | undefined {
  if (opendir === undefined || readdir === undefined || closedir === undefined) return undefined;
  const folder = opendir(cString("/"));
  if (folder === null) return undefined;
  try {
    for (let entry = readdir(folder); entry !== null; entry = readdir(folder)) {
      if (new Deno.UnsafePointerView(entry).getCString(system.direntName) === ".") return undefined;
    }
    return 'struct dirent: "/" does not list "."';
  } finally {
    closedir(folder);
  }
}
