/**
 * The messages of `patchbay.json.v1`: their fields, and how they are read. See
 * `docs/json_protocol.md`.
 *
 * @module
 */

import { checkAddress } from "../address.ts";
import { PatchbayError } from "../errors.ts";

/** One message: a JSON object with a `type`. */
export type Message = { readonly type: string; readonly [field: string]: unknown };

/** Ids from here on are this side's own: the peer's are smaller. */
export const OWN_IDS: number = 2 ** 31;
/** What a call may take whose message does not say, in milliseconds: as for bays on a network. */
export const CALL_MS = 5000;
/** What a job may be silent for whose message does not say, in milliseconds. */
export const JOB_MS = 30_000;

function wrong(type: string, field: string, what: string): PatchbayError {
  return new PatchbayError("invalid", `${type}.${field} must be ${what}`, {
    details: { path: field },
    remedy: "see docs/json_protocol.md",
  });
}

/**
 * Reads one message.
 *
 * @param text What came.
 * @throws {PatchbayError} `protocol`: no JSON object with a type.
 */
export function readMessage(text: string): Message {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PatchbayError("protocol", `the peer sent a text that is no JSON: ${why}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new PatchbayError("protocol", "the peer sent JSON that is no object");
  }
  if (typeof (value as Message).type !== "string") {
    throw new PatchbayError("protocol", "the peer sent a message without a type");
  }
  return value as Message;
}

/**
 * The id of a message: 1 to 2³¹ − 1.
 *
 * @param message The message.
 */
export function readId({ type, id }: Message): number {
  if (Number.isInteger(id) && (id as number) > 0 && (id as number) < OWN_IDS) return id as number;
  throw wrong(type, "id", "a whole number from 1 to 2147483647");
}

/**
 * The id of something that this side has begun.
 *
 * @param message The message.
 */
export function readTheirId({ type, id }: Message): number {
  if (Number.isInteger(id) && (id as number) > 0 && (id as number) < 2 ** 32) return id as number;
  throw wrong(type, "id", "that of what it answers");
}

/**
 * The address of a message.
 *
 * @param message The message.
 */
export function readAddress({ type, address }: Message): string {
  if (typeof address !== "string") throw wrong(type, "address", "a text such as arm/move");
  return checkAddress(address);
}

/**
 * A number of milliseconds: `null` stands for no limit.
 *
 * @param message The message.
 * @param absent What holds where it says nothing.
 */
export function readMs({ type, timeoutMs }: Message, absent: number): number {
  if (timeoutMs === undefined) return absent;
  if (timeoutMs === null) return Infinity;
  if (typeof timeoutMs === "number" && timeoutMs >= 0) return timeoutMs;
  throw wrong(type, "timeoutMs", "milliseconds, or null");
}

/**
 * A count.
 *
 * @param message The message.
 * @param field Which.
 */
export function readCount(message: Message, field: string): number {
  const value = message[field];
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw wrong(message.type, field, "a whole number");
}

/**
 * The priority: 0 to 255, 128 where it says nothing.
 *
 * @param message The message.
 */
export function readPriority({ type, priority = 128 }: Message): number {
  if (Number.isInteger(priority) && (priority as number) >= 0 && (priority as number) <= 255) {
    return priority as number;
  }
  throw wrong(type, "priority", "a whole number from 0 to 255");
}

/**
 * The headers, if there are any.
 *
 * @param message The message.
 */
export function readHeaders({ type, headers }: Message): Record<string, string> | undefined {
  if (headers === undefined) return undefined;
  if (typeof headers === "object" && headers !== null && !Array.isArray(headers)) {
    return headers as Record<string, string>;
  }
  throw wrong(type, "headers", "an object of texts");
}

/**
 * A job's id: 32 hexadecimal digits.
 *
 * @param message The message.
 */
export function readJob({ type, job }: Message): string | undefined {
  if (job === undefined) return undefined;
  if (typeof job === "string" && /^[0-9a-f]{32}$/.test(job)) return job;
  throw wrong(type, "job", "32 hexadecimal digits in lower case");
}

/**
 * An optional text.
 *
 * @param message The message.
 * @param field Which.
 */
export function readText(message: Message, field: string): string | undefined {
  const value = message[field];
  if (value === undefined || typeof value === "string") return value;
  throw wrong(message.type, field, "a text");
}

const encoder = new TextEncoder();

/** The encoded value of a message, and its codec. */
export interface Content {
  /** Which. */
  readonly codec: "json" | "raw";
  /** The bytes. */
  readonly body: Uint8Array;
}

/** No value at all. */
export const NOTHING: Content = { codec: "json", body: new Uint8Array(0) };

/**
 * The value of a message: `value`, or `bytes` in base64.
 *
 * @param message The message.
 */
export function readContent(message: Message): Content {
  const { type, value, bytes } = message;
  if (bytes === undefined) {
    return value === undefined
      ? NOTHING
      : { codec: "json", body: encoder.encode(JSON.stringify(value)) };
  }
  if (value !== undefined) throw wrong(type, "bytes", "absent where there is a value");
  if (typeof bytes !== "string") throw wrong(type, "bytes", "base64");
  try {
    return { codec: "raw", body: Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)) };
  } catch {
    throw wrong(type, "bytes", "base64");
  }
}

/** So many bytes become text at once: arguments of a function are limited. */
const PART_BYTES = 8192;

/**
 * Bytes in base64.
 *
 * @param bytes The bytes.
 */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PART_BYTES) {
    text += String.fromCharCode(...bytes.subarray(at, at + PART_BYTES));
  }
  return btoa(text);
}

/**
 * A job's id as bytes.
 *
 * @param job 32 hexadecimal digits.
 */
export function jobBytes(job: string): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(job.slice(2 * i, 2 * i + 2), 16));
}

/**
 * A job's id as text.
 *
 * @param bytes 16 bytes.
 */
export function jobText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The error for a message over the limit.
 *
 * @param size Its size, in bytes.
 * @param max The limit.
 */
export function tooLarge(size: number, max: number): PatchbayError {
  return new PatchbayError("too_large", `the message has ${size} bytes, the limit is ${max}`, {
    details: { size, max },
    remedy: "send less at once, or raise maxMessageBytes of the hub",
  });
}
