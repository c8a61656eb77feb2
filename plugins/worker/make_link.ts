/**
 * Makes the link that both sides have agreed on.
 *
 * @module
 */

import { createRing, PatchbayError } from "@patchbay/core";
import { type Abilities, canShare, canWait, ringMemory } from "./greeting.ts";
import type { Watch } from "./life.ts";
import type { PortLink } from "./port_link.ts";
import { PostLink } from "./post_link.ts";
import { RingLink } from "./ring_link.ts";

/** What one side wants of links. */
export interface LinkWishes {
  /** Whether memory is to be shared where it may be. */
  readonly shared: boolean;
  /** How many bytes the ring of each direction holds. */
  readonly ringBytes: number;
  /** How long to look for more before sleeping, in microseconds. */
  readonly spinUs: number;
  /** How long dialling may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** For tests: called with each link. */
  readonly onLink?: (link: PortLink) => void;
}

/** The memory of two rings. */
export interface Rings {
  /** The memory. */
  readonly memory: SharedArrayBuffer;
  /** How many bytes each ring holds. */
  readonly capacity: number;
}

/**
 * What this side can do.
 *
 * @param wishes What it wants.
 * @param life Its lock.
 */
export function abilitiesOf(
  wishes: LinkWishes,
  life: { readonly name: string } | undefined,
): Abilities {
  return { shares: wishes.shared && canShare(), waits: canWait(), lock: life?.name };
}

/**
 * Makes the memory of two rings.
 *
 * @param wishes How large they are to be.
 */
export function makeRings(wishes: LinkWishes): Rings {
  const capacity = 2 ** Math.ceil(Math.log2(wishes.ringBytes));
  const { bytes, toWorker, toParent } = ringMemory(capacity);
  const memory = new SharedArrayBuffer(bytes);
  createRing(memory, capacity, { offset: toWorker });
  createRing(memory, capacity, { offset: toParent });
  return { memory, capacity };
}

/**
 * Makes a link.
 *
 * @param port The channel, on which nothing but this link goes.
 * @param parent Whether this side is the parent.
 * @param rings The memory that both sides have; `undefined`: messages.
 * @param peer What the other side can do.
 * @param life This side's lock.
 * @param wishes What this side wants.
 * @throws {PatchbayError} `protocol`: there are no rings in the memory.
 */
export function makeLink(
  port: MessagePort,
  parent: boolean,
  rings: Rings | undefined,
  peer: Abilities,
  life: Watch | undefined,
  wishes: LinkWishes,
): PortLink {
  const parts = { port, life, peerLife: peer.lock };
  const link = rings === undefined ? new PostLink(parts) : new RingLink({
    ...parts,
    ...rings,
    parent,
    peerWaits: peer.waits,
    spinMs: wishes.spinUs / 1000,
  });
  wishes.onLink?.(link);
  return link;
}

/**
 * Takes the next message of a port that is not in use yet.
 *
 * @param port The port.
 * @param signal Gives up.
 * @param take What to do with it, before another message can come.
 * @throws {PatchbayError} `protocol`: what came cannot be read in this thread; what `take` threw.
 */
export function nextMessage<T>(
  port: MessagePort,
  signal: AbortSignal,
  take: (data: unknown) => T,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onMessage = ({ data }: MessageEvent) => {
    leave();
    try {
      resolve(take(data));
    } catch (error) {
      reject(error);
    }
  };
  const onUnreadable = () =>
    reject(new PatchbayError("protocol", "memory cannot be shared with the other side"));
  const onAbort = () => reject(signal.reason);
  const leave = () => {
    port.removeEventListener("message", onMessage);
    port.removeEventListener("messageerror", onUnreadable);
    signal.removeEventListener("abort", onAbort);
  };
  port.addEventListener("message", onMessage);
  port.addEventListener("messageerror", onUnreadable);
  signal.addEventListener("abort", onAbort);
  port.start();
  if (signal.aborted) onAbort();
  return promise.finally(leave);
}
