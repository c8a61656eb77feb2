/**
 * What stands in the metadata of calls: who calls, the priority, and the user's own headers.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import { type Headers, PatchbayError } from "@patchbay/core";

/** Who calls: its module's name and its bay's id, with a blank between. Proves nothing. */
export const FROM = "patchbay-from";
/** 0–255; absent: 128. */
export const PRIORITY = "patchbay-priority";
/** An error, in the trailer: JSON. */
export const ERROR = "patchbay-error-bin";

/** What only the connection may set, or what is no handler's business. */
const MECHANICS: ReadonlySet<string> = new Set([
  "accept-encoding",
  "authorization",
  "connection",
  "content-length",
  "content-type",
  "date",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
]);

const NONE: Headers = Object.freeze({});
/** The names that gRPC allows (its HTTP/2 mapping, "Custom-Metadata"). */
const NAME = /^[0-9a-z_.-]+$/;
/** What goes as it is; all else goes as UTF-8 in a header that ends in `-bin`. */
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const BINARY = "-bin";

/** The most bytes of the user's headers: a connection whose headers are too large is cut as a whole. */
const MAX_HEADERS_BYTES = 64 * 1024;
/** What each header counts besides its name and value: RFC 9113 §6.5.2. */
const ROUND_HEADER_BYTES = 32;

/** Whether a secret can be sent as `authorization: Bearer …`. */
export function isToken(secret: unknown): secret is string {
  return typeof secret === "string" && PLAIN.test(secret);
}

function reserved(name: string): boolean {
  return MECHANICS.has(name) || name.startsWith("grpc-") || name.startsWith("patchbay-");
}

/**
 * Adds the user's headers.
 *
 * @param headers The user's.
 * @param metadata What to add them to.
 * @throws {PatchbayError} `invalid`: a name that gRPC does not allow, or that is not the user's;
 * `too_large`.
 */
export function addHeaders(headers: Headers, metadata: Metadata): void {
  let size = 0;
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase();
    if (!NAME.test(key) || reserved(key)) {
      throw new PatchbayError("invalid", `headers.${name}: this header cannot be sent over gRPC`, {
        details: { path: `headers.${name}` },
        remedy: "use letters, digits, `-`, `_`, `.`, and none that gRPC or Patchbay sets",
      });
    }
    size += key.length + ROUND_HEADER_BYTES;
    if (PLAIN.test(value) && !key.endsWith(BINARY)) {
      metadata.set(key, value);
      size += value.length;
    } else {
      const bytes = Buffer.from(value, "utf8");
      metadata.set(key + BINARY, bytes);
      // It goes as Base64.
      size += BINARY.length + Math.ceil(bytes.length / 3) * 4;
    }
  }
  const max = MAX_HEADERS_BYTES;
  if (size > max) {
    throw new PatchbayError("too_large", `the headers have ${size} bytes, the limit is ${max}`, {
      details: { size, max },
      remedy: "send it as the value",
    });
  }
}

/**
 * The user's headers among the metadata of a call.
 *
 * @param metadata All of it.
 */
export function readHeaders(metadata: Metadata): Headers {
  let found: Record<string, string> | undefined;
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (reserved(name) || name.startsWith(":") || name === "__proto__") continue;
    found ??= {};
    if (typeof value === "string") found[name] = value;
    else found[name.slice(0, -BINARY.length)] = value.toString("utf8");
  }
  return found ?? NONE;
}

/** Who a call says it is from. */
export interface Sender {
  /** The module's name; empty for a program without Patchbay. */
  readonly module: string;
  /** The bay's id; empty for a program without Patchbay. */
  readonly bay: string;
}

const NOBODY: Sender = { module: "", bay: "" };
const SENDER = /^([a-z0-9][a-z0-9_-]{0,63}) ([0-9a-f]{16})$/;

/** Reads who a call is from. */
export function readSender(metadata: Metadata): Sender {
  const match = SENDER.exec(textOf(metadata, FROM) ?? "");
  return match === null ? NOBODY : { module: match[1], bay: match[2] };
}

/** Reads a priority; 128 if there is none, or none that can be read. */
export function readPriority(metadata: Metadata): number {
  const text = textOf(metadata, PRIORITY);
  const number = text === undefined ? 128 : Number(text);
  return Number.isInteger(number) && number >= 0 && number <= 255 ? number : 128;
}

/** One header as a text. */
export function textOf(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : undefined;
}
