/**
 * Values as Server-Sent Events and back: one event a value, what belongs to it in a comment, which
 * other programs pass over (HTML Living Standard §9.2).
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { Bodies, Body } from "./bodies.ts";

/** The media type of event streams. */
export const EVENT_STREAM = "text/event-stream";

/** How the comment begins that holds what belongs to the next event. */
const MARK = "patchbay ";

/** What belongs to an event besides its value; a foreign program needs none of it. */
export interface EventFacts {
  /** Where it was shouted. */
  readonly address?: string;
  /** Its number at its speaker. */
  readonly sequence?: number;
  /** The bay it comes from. */
  readonly origin?: string;
  /** 0–255; absent: 128. */
  readonly priority?: number;
  /** What was sent along. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it is a retained value. */
  readonly retained?: true;
  /** The media type of the data, in Base64; absent: the data is JSON. */
  readonly type?: string;
  /** The value is `undefined`; the data says `null`. */
  readonly nothing?: true;
  /** The stream ends because of this error. */
  readonly failed?: unknown;
}

const encoder = new TextEncoder();

interface Base64Bytes {
  toBase64?(): string;
}

/** Bytes in Base64: RFC 4648 §4. */
export function toBase64(bytes: Uint8Array): string {
  const quick = (bytes as Base64Bytes).toBase64;
  if (quick !== undefined) return quick.call(bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const NEWLINES = encoder.encode("\n\n");
const NULL = encoder.encode("null");

/**
 * One event, ready to be sent.
 *
 * @param event The event's name; `undefined`: `message`.
 * @param id What a client sends back as `Last-Event-ID`.
 * @param body The encoded value.
 * @param facts What belongs to it.
 */
export function encodeEvent(
  event: string | undefined,
  id: string | undefined,
  body: Body,
  facts: EventFacts,
): Uint8Array {
  const { bytes, type } = body;
  const isJson = type === "application/json";
  let all = facts;
  if (bytes === undefined) all = { ...facts, nothing: true };
  else if (!isJson) all = { ...facts, type };
  let head = "";
  for (const _ in all) {
    head = `: ${MARK}${JSON.stringify(all)}\n`;
    break;
  }
  if (event !== undefined) head += `event: ${event}\n`;
  if (id !== undefined) head += `id: ${id}\n`;
  head += "data: ";
  if (bytes !== undefined && !isJson) {
    return encoder.encode(`${head}${toBase64(bytes)}\n\n`);
  }
  // What JSON.stringify writes has no line break in it.
  const data = bytes ?? NULL;
  const start = encoder.encode(head);
  const whole = new Uint8Array(start.length + data.length + NEWLINES.length);
  whole.set(start);
  whole.set(data, start.length);
  whole.set(NEWLINES, start.length + data.length);
  return whole;
}

/** What tells a client where it stands before the first event: it is dispatched by nobody. */
export function encodePosition(id: string): Uint8Array {
  return encoder.encode(`id: ${id}\n\n`);
}

/** A comment by which a quiet stream says that it lives. */
export const PING: Uint8Array = encoder.encode(":\n\n");

/** The last words of a stream that ends because of an error. */
export function encodeFailure(error: PatchbayError): Uint8Array {
  return encoder.encode(`: ${MARK}${JSON.stringify({ failed: error.toWire() })}\n\n`);
}

/**
 * Reads the facts out of a comment; `undefined` if it is somebody else's.
 *
 * @param comment The comment, without its colon.
 */
export function readFacts(comment: string): EventFacts | undefined {
  if (!comment.startsWith(MARK)) return undefined;
  try {
    const facts: unknown = JSON.parse(comment.slice(MARK.length));
    return typeof facts === "object" && facts !== null ? facts as EventFacts : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads the value of an event.
 *
 * @param data Its data.
 * @param facts What came with it; `undefined` from a foreign stream, whose data is JSON or a text.
 * @param bodies How bodies are read.
 * @throws {PatchbayError} `protocol`.
 */
export function decodeEvent(data: string, facts: EventFacts | undefined, bodies: Bodies): unknown {
  if (facts?.nothing === true) return undefined;
  if (facts?.type !== undefined) {
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = fromBase64(data);
    } catch (cause) {
      throw new PatchbayError("protocol", "the event's data is no Base64", { cause });
    }
    return bodies.decodeResponse(bytes, facts.type);
  }
  try {
    return bodies.decodeResponse(
      encoder.encode(data) as Uint8Array<ArrayBuffer>,
      "application/json",
    );
  } catch (error) {
    if (facts !== undefined) throw error;
    return data;
  }
}
