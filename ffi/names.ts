/**
 * The rules for names of kernel objects, and texts as C takes them.
 *
 * @module
 */
import { PatchbayError } from "@patchbay/core/errors";

/**
 * A text as C takes it: UTF-8 with a zero byte at its end.
 *
 * @param text The text, without a zero byte inside.
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * The name of a segment or semaphore as C takes it, or why it is none: a slash, then anything but
 * slashes (shm_overview(7), sem_overview(7)). One rule for all systems but the length.
 *
 * @param kind What it names, for people.
 * @param name The name.
 * @param maxBytes The longest that this system takes, with its slash.
 * @throws PatchbayError `invalid`.
 */
export function objectName(kind: string, name: string, maxBytes: number): Uint8Array<ArrayBuffer> {
  const refuse = (why: string, remedy: string) =>
    new PatchbayError("invalid", `${JSON.stringify(name)} cannot name a ${kind}: ${why}`, {
      remedy,
    });
  if (!/^\/[^/\0]+$/.test(name) || name === "/." || name === "/..") {
    throw refuse(
      "it must be a slash and then one or more characters, none of them a slash or zero byte",
      'write it like "/camera"',
    );
  }
  const bytes = cString(name);
  if (bytes.length - 1 > maxBytes) {
    throw refuse(
      `it has ${bytes.length - 1} bytes, and this system takes ${maxBytes}`,
      "choose a shorter name; 31 bytes are taken everywhere",
    );
  }
  return bytes;
}
