/**
 * Paths as strings. Our own, because `node:path` takes 7 ms of the 30 that opening a bay may take
 * (it starts Deno's Node layer), and `@std/path` from npm 16.
 *
 * Both separators are understood where the system is Windows; what is made has `/`, which Windows
 * takes as well.
 *
 * @module
 */

const WINDOWS = Deno.build.os === "windows";
const DRIVE = /^[A-Za-z]:/;

function slashes(path: string): string {
  return WINDOWS ? path.replaceAll("\\", "/") : path;
}

/** Whether a path begins at a root. */
export function isAbsolute(path: string): boolean {
  const text = slashes(path);
  return text.startsWith("/") || (WINDOWS && /^[A-Za-z]:\//.test(text));
}

/** Takes out `.`, `..` and doubled separators, as far as that can be done without a look at files. */
export function normalize(path: string): string {
  const text = slashes(path);
  const drive = WINDOWS ? DRIVE.exec(text)?.[0] ?? "" : "";
  const rest = text.slice(drive.length);
  const rooted = rest.startsWith("/");
  const parts: string[] = [];
  for (const part of rest.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!rooted) parts.push(part);
  }
  return drive + (rooted ? "/" : "") + parts.join("/") || ".";
}

/** Joins parts with separators, and normalizes. */
export function join(...parts: readonly string[]): string {
  return normalize(parts.filter((part) => part !== "").join("/"));
}

/** The path seen from the working directory; a later absolute part begins anew. */
export function resolve(...parts: readonly string[]): string {
  const begin = parts.findLastIndex(isAbsolute);
  const used = parts.slice(Math.max(0, begin));
  return begin >= 0 ? join(...used) : join(Deno.cwd(), ...used);
}

/** The folder that a path lies in. */
export function dirname(path: string): string {
  const text = slashes(path).replace(/(?<=.)\/+$/, "");
  const at = text.lastIndexOf("/");
  if (at < 0) return ".";
  return at === 0 ? "/" : text.slice(0, at);
}

/**
 * The last part of a path.
 *
 * @param path The path.
 * @param suffix An ending to take off.
 */
export function basename(path: string, suffix = ""): string {
  const text = slashes(path).replace(/\/+$/, "");
  const name = text.slice(text.lastIndexOf("/") + 1);
  return suffix !== "" && name !== suffix && name.endsWith(suffix)
    ? name.slice(0, -suffix.length)
    : name;
}

/** The ending of a path from its last point on; empty if there is none. */
export function extname(path: string): string {
  const name = basename(path);
  const at = name.lastIndexOf(".");
  return at <= 0 ? "" : name.slice(at);
}

/** The URL of an absolute path. */
export function toFileUrl(path: string): URL {
  const text = slashes(path);
  const encoded = text.split("/").map((part) =>
    WINDOWS && DRIVE.test(part) ? part : encodeURIComponent(part)
  ).join("/");
  return new URL(`file://${encoded.startsWith("/") ? "" : "/"}${encoded}`);
}

/**
 * The path of a `file:` URL.
 *
 * @throws {TypeError} Another kind of URL.
 */
export function fromFileUrl(url: string | URL): string {
  const { protocol, pathname } = new URL(url);
  if (protocol !== "file:") throw new TypeError(`${url} is no file URL`);
  const path = decodeURIComponent(pathname);
  return WINDOWS ? path.replace(/^\/(?=[A-Za-z]:)/, "") : path;
}
