/**
 * The session's binary envelope, version 1: a fixed header of 24 bytes, then a header block, then
 * the body. All numbers are little-endian. See `docs/protocol.md`.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 1 | kind |
 * | 1 | 1 | flags |
 * | 2 | 1 | codec: index into the list of the hello-ack |
 * | 3 | 1 | priority |
 * | 4 | 1 | ttl: hops left |
 * | 5 | 1 | reserved, 0 |
 * | 6 | 2 | length of the header block (UTF-8 JSON object of strings) |
 * | 8 | 4 | id: of the request, subscription or job, chosen by the side that began it |
 * | 12 | 4 | route: the number that stands for an address on this connection |
 * | 16 | 8 | number, a double: remaining ms, sequence, or credit, by kind |
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";

/** The lowest and highest version of the envelope that this side speaks. */
export const VERSIONS: readonly [number, number] = [1, 1];

/** The size of the fixed header, in bytes. */
export const HEADER_BYTES = 24;
/** The largest body of a frame that is not a fragment; larger ones are cut. */
export const FRAGMENT_BYTES = 16 * 1024;
/** The smallest window that a peer may announce: a smaller one could not hold the lanes' reserves. */
export const MIN_WINDOW_BYTES = 64 * 1024;
/** The largest hello, in bytes. */
export const MAX_HELLO_BYTES = 16 * 1024;
/** The largest header block, in bytes. */
export const MAX_HEADERS_BYTES = 8 * 1024;
/** The largest frame: a whole message with header block, or a fragment. */
export const MAX_FRAME_BYTES: number = HEADER_BYTES + MAX_HEADERS_BYTES + FRAGMENT_BYTES;
/** A message may pass so many bays. */
export const DEFAULT_TTL = 8;

/** What a frame is. Below 16: control. */
export const Kind: {
  readonly hello: 1;
  readonly helloAck: 2;
  readonly goodbye: 3;
  readonly heartbeat: 4;
  readonly credit: 5;
  readonly route: 6;
  readonly fragment: 7;
  readonly register: 8;
  readonly registerAck: 9;
  readonly unregister: 10;
  readonly find: 11;
  readonly presence: 12;
  readonly watch: 13;
  readonly request: 16;
  readonly response: 17;
  readonly error: 18;
  readonly cancel: 19;
  readonly send: 20;
  readonly subscribe: 32;
  readonly subscribeAck: 33;
  readonly unsubscribe: 34;
  readonly event: 35;
  readonly broadcast: 36;
  readonly latest: 37;
  readonly goal: 48;
  readonly accepted: 49;
  readonly feedback: 50;
  readonly result: 51;
  readonly cancelJob: 52;
  readonly attach: 53;
  readonly detach: 54;
} = {
  hello: 1,
  helloAck: 2,
  goodbye: 3,
  heartbeat: 4,
  credit: 5,
  route: 6,
  fragment: 7,
  register: 8,
  registerAck: 9,
  unregister: 10,
  find: 11,
  presence: 12,
  watch: 13,
  request: 16,
  response: 17,
  error: 18,
  cancel: 19,
  send: 20,
  subscribe: 32,
  subscribeAck: 33,
  unsubscribe: 34,
  event: 35,
  broadcast: 36,
  latest: 37,
  goal: 48,
  accepted: 49,
  feedback: 50,
  result: 51,
  cancelJob: 52,
  attach: 53,
  detach: 54,
};

/** A kind's number. */
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Bits of the flags byte. */
export const Flag: {
  /** The body is compressed by the negotiated compressor. */
  readonly compressed: 1;
  /** The event is the speaker's retained last value. */
  readonly retained: 2;
  /** The fragment is the last of its message. */
  readonly last: 4;
  /** The feedback is a progress report: the body is a JSON number. */
  readonly progress: 8;
  /** The job is abandoned: no outcome is wanted. */
  readonly abandon: 16;
  /** The error needed credit: it ends a job, and keeps its place behind the feedback. */
  readonly paid: 32;
} = {
  compressed: 1,
  retained: 2,
  last: 4,
  progress: 8,
  abandon: 16,
  paid: 32,
};

/** The four lanes by priority: 192–255, 128–191, 64–127, 0–63. */
export const LANES = 4;

/**
 * The lane of a priority: 3 is the most urgent.
 *
 * @param priority 0–255.
 */
export function laneOf(priority: number): number {
  return (priority >> 6) & 3;
}

/**
 * Writes the fixed header.
 *
 * @param view Where.
 * @param at Its first byte.
 */
export function writeHeader(
  view: DataView,
  at: number,
  kind: number,
  flags: number,
  codec: number,
  priority: number,
  headersLength: number,
  id: number,
  route: number,
  number: number,
  ttl: number = DEFAULT_TTL,
): void {
  // Two 32-bit writes are cheaper than seven small ones.
  view.setUint32(at, kind | flags << 8 | codec << 16 | priority << 24, true);
  view.setUint32(at + 4, ttl | headersLength << 16, true);
  view.setUint32(at + 8, id, true);
  view.setUint32(at + 12, route, true);
  view.setFloat64(at + 16, number, true);
}

/** The first bytes of a hello's body: whoever speaks something else is found out at once. */
export const MAGIC: Uint8Array = new Uint8Array([0x50, 0x42, 0x41, 0x59]); // "PBAY"

/** Who is at one end of a session. */
export interface HelloBay {
  /** The bay's id: 16 hexadecimal digits. */
  readonly id: string;
  /** The module's name. */
  readonly module: string;
  /** The instance's name. */
  readonly instance: string;
}

/** What the dialling side says first. */
export interface Hello {
  /** The lowest and highest version it speaks. */
  readonly versions: readonly [number, number];
  /** Who it is. */
  readonly bay: HelloBay;
  /** The codecs it knows, the preferred one first. */
  readonly codecs: readonly string[];
  /** The compressors it knows, the preferred one first. */
  readonly compression: readonly string[];
  /** The largest message it takes, in bytes. */
  readonly maxMessageBytes: number;
  /** How many bytes it takes before it has returned credit. */
  readonly windowBytes: number;
  /** The patterns it has. */
  readonly capabilities: readonly string[];
  /** Anything the application wants to say. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What proves who it is, where that is asked for. */
  readonly credentials?: string;
}

/** The answer: what holds from now on. */
export interface HelloAck extends Omit<Hello, "versions" | "credentials"> {
  /** The version both speak. */
  readonly version: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

function text(value: unknown, max: number): value is string {
  return typeof value === "string" && value.length <= max;
}

function texts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= 64 && value.every((v) => text(v, 255));
}

function positive(value: unknown): value is number {
  return typeof value === "number" && value > 0;
}

function object(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function common(o: Record<string, unknown>): boolean {
  const bay = o.bay as Partial<HelloBay> | null | undefined;
  const metadata = o.metadata ?? {};
  return object(bay) && text(bay.id, 64) && text(bay.module, 64) &&
    text(bay.instance, 64) && texts(o.codecs) && texts(o.compression) &&
    positive(o.maxMessageBytes) && positive(o.windowBytes) && texts(o.capabilities) &&
    object(metadata) && Object.values(metadata).every((v) => text(v, 4096));
}

/**
 * The body of a hello or hello-ack.
 *
 * @param hello What to say.
 */
export function encodeHello(hello: Hello | HelloAck): Uint8Array {
  const json = encoder.encode(JSON.stringify(hello));
  const body = new Uint8Array(MAGIC.length + json.length);
  body.set(MAGIC);
  body.set(json, MAGIC.length);
  return body;
}

function decode(body: Uint8Array, what: string): Record<string, unknown> {
  if (body.length > MAX_HELLO_BYTES) {
    throw new PatchbayError("protocol", `the ${what} has ${body.length} bytes`);
  }
  if (!MAGIC.every((byte, i) => body[i] === byte)) {
    throw new PatchbayError(
      "protocol",
      `the peer does not speak Patchbay: no magic in its ${what}`,
    );
  }
  try {
    const value: unknown = JSON.parse(decoder.decode(body.subarray(MAGIC.length)));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through: the reason is the same.
  }
  throw new PatchbayError("protocol", `the peer's ${what} is not JSON`);
}

/**
 * The highest version that both sides speak; `undefined` where their ranges do not meet.
 *
 * @param theirs The lowest and highest version of the peer.
 * @param ours The lowest and highest version of this side.
 */
export function commonVersion(
  theirs: readonly [number, number],
  ours: readonly [number, number] = VERSIONS,
): number | undefined {
  const version = Math.min(theirs[1], ours[1]);
  return version >= theirs[0] && version >= ours[0] ? version : undefined;
}

function checkWindow(o: Record<string, unknown>): void {
  if ((o.windowBytes as number) >= MIN_WINDOW_BYTES) return;
  throw new PatchbayError(
    "protocol",
    `the peer announced a window of ${o.windowBytes} bytes, the least is ${MIN_WINDOW_BYTES}`,
  );
}

/**
 * Reads a hello.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `protocol`.
 */
export function decodeHello(body: Uint8Array): Hello {
  const o = decode(body, "hello");
  const v = o.versions;
  if (!Array.isArray(v) || v.length !== 2 || !v.every(Number.isInteger)) {
    throw new PatchbayError("protocol", "the peer's hello has no version range");
  }
  // Nothing else is read before the versions are known to meet.
  const [low, high] = v as [number, number];
  if (commonVersion([low, high]) === undefined) {
    throw new PatchbayError(
      "protocol",
      `the peer speaks versions ${low} to ${high}, this side ${VERSIONS[0]} to ${VERSIONS[1]}`,
      {
        details: { theirs: v, ours: VERSIONS },
        remedy: "update the older of the two programs",
      },
    );
  }
  if (!common(o) || (o.credentials !== undefined && !text(o.credentials, 8192))) {
    throw new PatchbayError("protocol", "the peer's hello lacks a field or has a wrong one");
  }
  checkWindow(o);
  return { metadata: {}, ...o } as unknown as Hello;
}

/**
 * Reads a hello-ack.
 *
 * @param body The frame's body.
 * @throws {PatchbayError} `protocol`.
 */
export function decodeHelloAck(body: Uint8Array): HelloAck {
  const o = decode(body, "hello-ack");
  const version = o.version;
  if (
    typeof version !== "number" || !Number.isInteger(version) ||
    commonVersion([version, version]) === undefined
  ) {
    throw new PatchbayError("protocol", `the peer chose version ${String(version)}`);
  }
  if (!common(o) || (o.codecs as string[]).length === 0) {
    throw new PatchbayError("protocol", "the peer's hello-ack lacks a field or has a wrong one");
  }
  checkWindow(o);
  return { metadata: {}, ...o } as unknown as HelloAck;
}

/**
 * The bytes of a header block.
 *
 * @param headers What is sent along.
 * @throws {PatchbayError} `invalid`: not strings; `too_large`: over 8 KiB.
 */
export function encodeHeaders(headers: Readonly<Record<string, string>>): Uint8Array {
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") {
      throw new PatchbayError("invalid", `header ${name}: must be a string`, {
        details: { path: `headers.${name}` },
      });
    }
  }
  const bytes = encoder.encode(JSON.stringify(headers));
  if (bytes.length > MAX_HEADERS_BYTES) {
    throw new PatchbayError(
      "too_large",
      `the headers have ${bytes.length} bytes, the limit is ${MAX_HEADERS_BYTES}`,
      {
        details: { size: bytes.length, max: MAX_HEADERS_BYTES },
        remedy: "headers are for small things: send it in the value",
      },
    );
  }
  return bytes;
}

/**
 * Reads a header block.
 *
 * @param bytes The block.
 * @throws {PatchbayError} `protocol`.
 */
export function decodeHeaders(bytes: Uint8Array): Readonly<Record<string, string>> {
  try {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    if (
      typeof value === "object" && value !== null && !Array.isArray(value) &&
      Object.values(value).every((v) => typeof v === "string")
    ) return value as Record<string, string>;
  } catch {
    // Falls through: the reason is the same.
  }
  throw new PatchbayError("protocol", "the header block is not a JSON object of strings");
}

/**
 * Reads a small JSON body of a control frame.
 *
 * @param bytes The body.
 * @throws {PatchbayError} `protocol`.
 */
export function decodeControl(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through: the reason is the same.
  }
  throw new PatchbayError("protocol", "the body of a control frame is not a JSON object");
}

/**
 * The JSON body of a control frame.
 *
 * @param value What to say.
 */
export function encodeControl(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}
