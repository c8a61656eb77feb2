/**
 * What stands in HTTP headers: deadline, priority, who calls, the job's id; and which headers are
 * the user's own.
 *
 * @module
 */

import { type Headers as UserHeaders, PatchbayError } from "@patchbay/core";

/** How long the caller still waits, in milliseconds. */
export const TIMEOUT = "patchbay-timeout-ms";
/** 0–255; absent: 128. */
export const PRIORITY = "patchbay-priority";
/** Who calls: its module's name and its bay's id, with a blank between. Proves nothing. */
export const FROM = "patchbay-from";
/** The id that a job's owner has chosen: 32 hexadecimal digits. */
export const JOB_ID = "patchbay-id";

/**
 * Headers of HTTP itself, of browsers and of proxies: no handler is given them as the user's.
 * Credentials are among them, so that no handler passes them on by mistake.
 */
const MECHANICS: ReadonlySet<string> = new Set([
  "accept",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "access-control-request-headers",
  "access-control-request-method",
  "authorization",
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "cookie",
  "date",
  "dnt",
  "expect",
  "forwarded",
  "host",
  "http2-settings",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-unmodified-since",
  "keep-alive",
  "last-event-id",
  "origin",
  "pragma",
  "priority",
  "proxy-authorization",
  "proxy-connection",
  "referer",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "upgrade-insecure-requests",
  "user-agent",
  "via",
  "x-api-key",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

/** What only the connection may set. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const NONE: UserHeaders = Object.freeze({});
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible ASCII and blanks between: what every HTTP program passes on as it is (RFC 9110 §5.5). */
const PLAIN = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;
/** How a value that is not {@link PLAIN} begins: the form of RFC 8187 §3.2. */
const EXTENDED = "UTF-8''";

/**
 * Adds the user's headers to those of a request.
 *
 * @param headers The user's.
 * @param target What to add them to.
 * @throws {PatchbayError} `invalid`: a name that HTTP does not allow, or that is not the user's.
 */
export function addUserHeaders(headers: UserHeaders, target: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase();
    if (!TOKEN.test(name) || FORBIDDEN.has(key) || key.startsWith("patchbay-")) {
      throw new PatchbayError("invalid", `headers.${name}: this header cannot be sent over HTTP`, {
        details: { path: `headers.${name}` },
        remedy: "use letters, digits and `-`, and none that the connection or Patchbay sets",
      });
    }
    target[key] = PLAIN.test(value) && !value.startsWith(EXTENDED)
      ? value
      : EXTENDED + encodeURIComponent(value.toWellFormed());
  }
}

/**
 * The user's headers among those of a request.
 *
 * @param headers All.
 * @param apiKeyHeader The header that holds a key, which is not the user's.
 */
export function userHeaders(headers: Headers, apiKeyHeader: string): UserHeaders {
  let found: Record<string, string> | undefined;
  const extended = headers.has(FROM);
  for (const [name, value] of headers) {
    if (MECHANICS.has(name) || name === apiKeyHeader) continue;
    if (name.startsWith("patchbay-") || name.startsWith("sec-") || name === "__proto__") continue;
    (found ??= {})[name] = extended && value.startsWith(EXTENDED) ? readExtended(value) : value;
  }
  return found ?? NONE;
}

function readExtended(value: string): string {
  try {
    return decodeURIComponent(value.slice(EXTENDED.length));
  } catch {
    return value;
  }
}

/** Who a request says it is from. */
export interface Sender {
  /** The module's name; empty for a program without Patchbay. */
  readonly module: string;
  /** The bay's id; empty for a program without Patchbay. */
  readonly bay: string;
}

const NOBODY: Sender = { module: "", bay: "" };
const SENDER = /^([a-z0-9][a-z0-9_-]{0,63}) ([0-9a-f]{16})$/;

/**
 * Reads who a request is from.
 *
 * @param from The value of {@link FROM}.
 */
export function readSender(from: string | null): Sender {
  const match = from === null ? null : SENDER.exec(from);
  return match === null ? NOBODY : { module: match[1], bay: match[2] };
}

/**
 * Reads how long a caller still waits, in milliseconds; `undefined` if it does not say.
 *
 * @param timeout The value of {@link TIMEOUT}.
 */
export function readTimeout(timeout: string | null): number | undefined {
  if (timeout === null) return undefined;
  const ms = Number(timeout);
  return ms >= 0 && timeout.trim() !== "" ? ms : undefined;
}

/**
 * Reads a priority; 128 if there is none, or none that can be read.
 *
 * @param priority The value of {@link PRIORITY}.
 */
export function readPriority(priority: string | null): number {
  const number = priority === null ? 128 : Number(priority);
  return Number.isInteger(number) && number >= 0 && number <= 255 ? number : 128;
}
