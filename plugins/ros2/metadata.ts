/**
 * What goes along with a message beside its payload: a parameter of our own in its inline QoS, which
 * other implementations pass over.
 *
 * The parameter's id is 0x8b50 (of the ids that vendors may choose themselves, RTPS 2.5, 9.6.4.1);
 * its value is JSON with short keys, padded with zeros.
 *
 * @module
 */

import { type Headers, PatchbayError } from "@patchbay/core";

/** The parameter's id. */
const PID = 0x8b50;
/** What fits into a datagram beside a payload's beginning. */
const MAX_BYTES = 24_000;

/** What goes along. */
export interface Metadata {
  /** Of a shout or feedback: its number, if it is not the sample's own. */
  readonly n?: number;
  /** The priority, if it is not 128. */
  readonly p?: number;
  /** Headers. */
  readonly h?: Headers;
  /** Of a request: how long its caller waits, in milliseconds. */
  readonly t?: number;
  /** Of a message to a server of ours: the number of the request that is taken back. */
  readonly c?: string;
  /** Of a cancel: why. */
  readonly r?: string;
  /** Of a cancel: the owner has given up, and the goal may not have come yet. */
  readonly a?: 1;
  /** Of a reply: an error, in its form on the wire. */
  readonly e?: ReturnType<PatchbayError["toWire"]>;
  /** Of feedback: how far it has got, 0–1, instead of a value. */
  readonly g?: number;
  /** Of a result: the number of the last feedback. */
  readonly l?: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * The parameter.
 *
 * @param metadata What goes along.
 * @throws {PatchbayError} `too_large`: headers that fit into no datagram.
 */
export function writeMetadata(metadata: Metadata): Map<number, Uint8Array> {
  let bytes = encoder.encode(JSON.stringify(metadata));
  if (bytes.length > MAX_BYTES && metadata.e !== undefined) {
    const { code, message } = metadata.e;
    const e = { code, message: message.slice(0, 2000) };
    bytes = encoder.encode(JSON.stringify({ ...metadata, e }));
  }
  if (bytes.length > MAX_BYTES) {
    throw new PatchbayError("too_large", `the headers have ${bytes.length} bytes`, {
      details: { size: bytes.length, max: MAX_BYTES },
      remedy: "send less in headers: they travel in one datagram",
    });
  }
  const padded = new Uint8Array((bytes.length + 3) & ~3);
  padded.set(bytes);
  return new Map([[PID, padded]]);
}

const NONE: Metadata = Object.freeze({});

/**
 * Reads the parameter; what is not as it should be is left out.
 *
 * @param inline The parameters of a sample.
 */
export function readMetadata(inline: ReadonlyMap<number, Uint8Array> | undefined): Metadata {
  const bytes = inline?.get(PID);
  if (bytes === undefined) return NONE;
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes.subarray(0, end)));
  } catch {
    return NONE;
  }
  if (typeof value !== "object" || value === null) return NONE;
  const { n, p, h, t, c, r, a, e, g, l } = value as Record<string, unknown>;
  const amount = (x: unknown) => Number.isFinite(x) && (x as number) >= 0 ? x as number : undefined;
  const count = (x: unknown) => Number.isSafeInteger(x) ? amount(x) : undefined;
  const text = (x: unknown) => typeof x === "string" ? x : undefined;
  return {
    n: count(n),
    p: typeof p === "number" && p >= 0 && p <= 255 ? Math.floor(p) : undefined,
    h: isHeaders(h) ? h : undefined,
    t: amount(t),
    c: text(c),
    r: text(r),
    a: a === 1 ? 1 : undefined,
    e: isError(e) ? e : undefined,
    g: amount(g),
    l: count(l),
  };
}

function isHeaders(value: unknown): value is Headers {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.entries(value).every(([name, each]) => name !== "__proto__" && typeof each === "string");
}

function isError(value: unknown): value is NonNullable<Metadata["e"]> {
  const error = value as { code?: unknown; message?: unknown } | null | undefined;
  return typeof error === "object" && error !== null && typeof error.code === "string" &&
    typeof error.message === "string";
}
