/**
 * What is said over the socket before it is a doorbell: where the rings lie, and whether both sides
 * have them.
 *
 * The dialler announces a segment, makes it, and says so; the acceptor maps it, removes its name and
 * answers. Since the name is known before the segment exists, whoever survives can remove it.
 *
 * @module
 */

import {
  createRing,
  PatchbayError,
  ringBytes,
  RingConsumer,
  RingProducer,
  type WireError,
} from "@patchbay/core";
import { type Libc, SharedMemory } from "@patchbay/ffi";
import type { Bells } from "./bells.ts";
import { NAME } from "./names.ts";
import { removeAfter } from "./orphans.ts";
import { RingLink } from "./ring_link.ts";
import { Slots, SLOTS_BYTES } from "./slots.ts";

// A message: the magic number, the version and the length of the rest, then JSON. The form of a
// refusal is the same in every version.
const MAGIC = 0x4d53_4250; // "PBSM", little-endian
const HEADER_BYTES = 8;
/** The version of what is said here. */
export const CONTROL_VERSION = 2;
const MAX_BODY_BYTES = 4096;
/** The segment exists now. */
const MADE = new Uint8Array([0x4d]);

/** The smallest ring: the largest frame takes less than half of it. */
export const MIN_RING_BYTES: number = 64 * 1024;
/** The largest ring. */
export const MAX_RING_BYTES: number = 64 * 1024 * 1024;

/**
 * What has just been done of handing a segment over; in this order, the dialler's and then the
 * acceptor's. Tests end the process there.
 */
export const STEPS = [
  "dialled",
  "announced",
  "created",
  "half made",
  "made",
  "told",
  "answered",
  "shared",
  "accepted",
  "heard",
  "mapped",
  "unlinked",
  "answer sent",
] as const;

/** A step of handing a segment over. */
export type Step = (typeof STEPS)[number];

/** What tests may hang into the handing over. */
export interface ControlHooks {
  /** Called after each step. */
  readonly onStep?: (step: Step) => void;
  /** Called with the rings of each link, before it uses them. */
  readonly onRings?: (producer: RingProducer, consumer: RingConsumer) => void;
}

/** Where the rings are. */
export interface Offer {
  /** The segment's name. */
  readonly segment: string;
  /** How many bytes of messages each ring holds. */
  readonly capacity: number;
  /** Tells this segment from earlier ones of its name. */
  readonly epoch: number;
  /** Whose it is. */
  readonly pid: number;
  /** The semaphore that wakes the dialler; without one the socket does. */
  readonly bell?: string;
}

/** Where the slots begin, behind the first ring: at a line of the cache. */
function slotsAt(capacity: number): number {
  return Math.ceil(ringBytes(capacity) / 128) * 128;
}

/** Where the second ring begins. */
function secondAt(capacity: number): number {
  return slotsAt(capacity) + SLOTS_BYTES;
}

/** The size of a segment with two rings and the slots, in bytes. */
export function segmentBytes(capacity: number): number {
  return secondAt(capacity) + ringBytes(capacity);
}

/**
 * The bytes of one message.
 *
 * @param body What it says.
 * @param version Its version.
 */
export function encodeMessage(body: unknown, version: number = CONTROL_VERSION): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(body));
  const bytes = new Uint8Array(HEADER_BYTES + json.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, version, true);
  view.setUint16(6, json.length, true);
  bytes.set(json, HEADER_BYTES);
  return bytes;
}

async function write(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Reads exactly so many bytes; `undefined` if the peer ends before the first. */
async function read(conn: Deno.Conn, count: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const more = await conn.read(bytes.subarray(at));
    if (more === null) {
      if (at === 0) return undefined;
      throw new PatchbayError("closed", "the peer left in the middle of a message");
    }
    at += more;
  }
  return bytes;
}

interface Message {
  readonly version: number;
  readonly body: Record<string, unknown>;
}

/** Reads one message; `undefined` if the peer ends instead. */
async function readMessage(conn: Deno.Conn): Promise<Message | undefined> {
  const header = await read(conn, HEADER_BYTES);
  if (header === undefined) return undefined;
  const view = new DataView(header.buffer);
  const length = view.getUint16(6, true);
  if (view.getUint32(0, true) !== MAGIC || length > MAX_BODY_BYTES) {
    throw new PatchbayError("protocol", "what came over the socket is not of shared_memory");
  }
  const version = view.getUint16(4, true);
  // Another version may say anything, and it need not be waited for.
  if (version !== CONTROL_VERSION) return { version, body: {} };
  const json = await read(conn, length);
  try {
    const body: unknown = JSON.parse(new TextDecoder().decode(json));
    if (typeof body === "object" && body !== null) {
      return { version, body: body as Record<string, unknown> };
    }
  } catch {
    // Told below.
  }
  throw new PatchbayError("protocol", "what came over the socket is not JSON of an object");
}

function otherVersion(theirs: number): PatchbayError {
  return new PatchbayError(
    "protocol",
    `the peer speaks version ${theirs} of shared_memory, this side version ${CONTROL_VERSION}`,
    { remedy: "use one version of Patchbay on both sides" },
  );
}

/** The error that an answer says; `undefined` if it agrees. */
function refusal({ version, body }: Message): PatchbayError | undefined {
  if (version !== CONTROL_VERSION) return otherVersion(version);
  return body.error === undefined ? undefined : PatchbayError.fromWire(body.error as WireError);
}

/** Says something to a peer that may have refused and left already: what it has said can be read. */
async function say(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  try {
    await write(conn, bytes);
  } catch (error) {
    const answer = await readMessage(conn).catch(() => undefined);
    throw (answer && refusal(answer)) ?? error;
  }
}

function readOffer({ segment, capacity, epoch, pid, bell }: Record<string, unknown>): Offer {
  if (
    typeof segment === "string" && NAME.test(segment) &&
    typeof capacity === "number" && Number.isInteger(capacity) &&
    capacity >= MIN_RING_BYTES && capacity <= MAX_RING_BYTES && (capacity & (capacity - 1)) === 0 &&
    typeof epoch === "number" && Number.isInteger(epoch) &&
    typeof pid === "number" && Number.isInteger(pid) && pid > 0 && pid <= 0x7fff_ffff &&
    (bell === undefined || typeof bell === "string")
  ) return { segment, capacity, epoch, pid, bell };
  throw new PatchbayError("protocol", "the peer offers a segment that cannot be", {
    details: { segment, capacity, epoch, pid },
  });
}

/** A link over a segment that is mapped; the dialler writes into the first ring. */
function link(
  conn: Deno.Conn,
  memory: SharedMemory,
  offer: Offer,
  libc: Libc,
  dialler: boolean,
  hooks: ControlHooks,
  bells: Bells | undefined,
): RingLink {
  const { capacity, epoch } = offer;
  const places = [{ epoch, capacity }, { epoch, capacity, offset: secondAt(capacity) }];
  const [mine, theirs] = dialler ? places : places.reverse();
  const { sched_yield: yieldCore } = libc.calls.posix;
  const producer = RingProducer.attach(memory.buffer, mine);
  const consumer = RingConsumer.attach(memory.buffer, theirs);
  hooks.onRings?.(producer, consumer);
  return new RingLink({
    conn,
    producer,
    consumer,
    slots: new Slots(memory.buffer, slotsAt(capacity), dialler),
    yieldCore: () => void yieldCore(),
    hear: bells === undefined ? undefined : (wake) => bells.listen(wake),
    free: () => memory[Symbol.dispose](),
  });
}

/**
 * Offers a new segment to a peer that was dialled.
 *
 * @param conn The socket; the link owns it if there is one in the end.
 * @param offer What to make. The name must not be in use.
 * @param libc The C library.
 * @param hooks What tests hang into it.
 * @param bells The bay's bell, and the way to the peer's.
 * @throws {PatchbayError} `closed`: the peer left; `protocol`; why the segment cannot be made; what
 *   the peer refuses it with.
 */
export async function offerLink(
  conn: Deno.Conn,
  offer: Offer,
  libc: Libc,
  hooks: ControlHooks = {},
  bells?: Bells,
): Promise<RingLink> {
  const { segment, capacity, epoch } = offer;
  hooks.onStep?.("dialled");
  await say(conn, encodeMessage(offer));
  hooks.onStep?.("announced");
  const memory = SharedMemory.create(segment, segmentBytes(capacity), { libc });
  try {
    hooks.onStep?.("created");
    createRing(memory.buffer, capacity, { epoch });
    hooks.onStep?.("half made");
    createRing(memory.buffer, capacity, { epoch, offset: secondAt(capacity) });
    const made = link(conn, memory, offer, libc, true, hooks, bells);
    hooks.onStep?.("made");
    await say(conn, MADE);
    hooks.onStep?.("told");
    const answer = await readMessage(conn);
    hooks.onStep?.("answered");
    if (answer === undefined) throw new PatchbayError("closed", "the peer left without an answer");
    const refused = refusal(answer);
    if (refused !== undefined) throw refused;
    if (answer.body.bell !== undefined && bells !== undefined) {
      made.ringWith(bells.open(answer.body.bell));
    }
    memory.unlink();
    hooks.onStep?.("shared");
    return made;
  } catch (error) {
    memory.unlink();
    memory[Symbol.dispose]();
    throw error;
  }
}

/**
 * Maps the segment that a dialler offers, and removes its name. Tells the peer if it cannot.
 *
 * @param conn The socket; the link owns it if there is one in the end.
 * @param libc The C library.
 * @param hooks What tests hang into it.
 * @param bells The bay's bell, and the way to the peer's.
 * @returns `undefined` if the peer left without a word.
 * @throws {PatchbayError} `protocol`, `forbidden`, `not_found`: the segment is not what was offered.
 */
export async function acceptLink(
  conn: Deno.Conn,
  libc: Libc,
  hooks: ControlHooks = {},
  bells?: Bells,
): Promise<RingLink | undefined> {
  let offer: Offer | undefined;
  try {
    hooks.onStep?.("accepted");
    const message = await readMessage(conn);
    if (message === undefined) return undefined;
    if (message.version !== CONTROL_VERSION) throw otherVersion(message.version);
    offer = readOffer(message.body);
    hooks.onStep?.("heard");
    if ((await read(conn, 1))?.[0] !== MADE[0]) {
      throw new PatchbayError("closed", "the peer left before its segment was made");
    }
    const made = map(conn, offer, libc, hooks, bells);
    try {
      if (offer.bell !== undefined && bells !== undefined) made.ringWith(bells.open(offer.bell));
      await write(conn, encodeMessage({ bell: bells?.name }));
    } catch (error) {
      await made.close(true);
      throw error;
    }
    hooks.onStep?.("answer sent");
    return made;
  } catch (error) {
    const known = PatchbayError.fromThrown(error);
    const told = await write(conn, encodeMessage({ error: known.toWire() })).then(
      () => true,
      () => false,
    );
    if (offer !== undefined) {
      await removeAfter(offer.segment, libc, !told || known.code === "closed");
    }
    throw known;
  }
}

/**
 * Tells whoever has dialled that there will be no memory, and why.
 *
 * @param conn The socket; it stays the caller's.
 * @param error Why.
 */
export async function refuse(conn: Deno.Conn, error: PatchbayError): Promise<void> {
  await write(conn, encodeMessage({ error: error.toWire() }));
}

function map(
  conn: Deno.Conn,
  offer: Offer,
  libc: Libc,
  hooks: ControlHooks,
  bells: Bells | undefined,
): RingLink {
  const { segment, capacity } = offer;
  const memory = SharedMemory.open(segment, { libc, bytes: segmentBytes(capacity) });
  try {
    const made = link(conn, memory, offer, libc, false, hooks, bells);
    hooks.onStep?.("mapped");
    memory.unlink();
    hooks.onStep?.("unlinked");
    return made;
  } catch (error) {
    memory[Symbol.dispose]();
    throw error;
  }
}
