/**
 * Deno FFI to the C library, for the wires that need the kernel itself: error numbers with names
 * and meanings, and a library that is opened only when it is used.
 *
 * Importing this opens nothing and needs no permission; {@link openLibc} needs `--allow-ffi`.
 *
 * @example Ask first, then use
 * ```ts
 * import { libcAvailability, openLibc } from "@patchbay/ffi";
 *
 * if (libcAvailability().available) {
 *   using libc = openLibc();
 *   console.log(libc.getpid(), libc.processAlive(libc.getpid()));
 * }
 * ```
 *
 * @module
 */
export { errnoError, errnoName, errnoNumber, type ErrnoOs } from "./errno.ts";
export { Libc, type LibcAvailability, libcAvailability, openLibc } from "./libc.ts";
