/**
 * What a worker and its parent say to each other before there is a link, and how a link is closed.
 *
 * Whatever else goes over the same port is not ours: it is neither answered nor disturbed.
 *
 * @module
 */

import { ringBytes } from "@patchbay/core";

// 1. The parent that has adopted a worker knocks: { patchbay: "worker.v1", say: "adopted" }. Nobody
//    may be there to hear it; a worker that waits for its parent then dials.
// 2. The worker dials: "dial", with one end of a new MessageChannel. Everything else goes over that
//    channel, so that two bays and a program of its own can share the worker's port.
// 3. The parent answers there: "accept", with the memory of two rings if both sides can share it.
// 4. The worker answers "ready", and says whether it has the rings. From then on there is a link.
// 5. Either side ends it with "bye".

/** Which version of this greeting is spoken. */
const VERSION = "worker.v1";

/** How a side waits for rings and for the death of the other. */
export interface Abilities {
  /** Whether memory can be shared here. */
  readonly shares: boolean;
  /** Whether it waits by `Atomics.waitAsync`; otherwise it is woken by a message. */
  readonly waits: boolean;
  /** The Web Lock that it holds as long as it lives. */
  readonly lock?: string;
}

/** What is said. */
export type Greeting =
  | { readonly say: "adopted" }
  | { readonly say: "dial"; readonly abilities: Abilities }
  | {
    readonly say: "accept";
    readonly abilities: Abilities;
    readonly rings?: SharedArrayBuffer;
    readonly capacity?: number;
  }
  | { readonly say: "ready"; readonly shared: boolean }
  | { readonly say: "bye" };

/** Something that messages can be posted to and heard from: a worker, a port, a worker's scope. */
export interface Port extends EventTarget {
  /** Posts a message. */
  postMessage(message: unknown, transfer?: Transferable[]): void;
  /** Begins to deliver; a `MessagePort` alone needs it. */
  start?(): void;
  /** Closes it; a `MessagePort` alone can. */
  close?(): void;
}

/**
 * Says something.
 *
 * @param port To whom.
 * @param greeting What.
 * @param transfer What goes over with it.
 */
export function say(port: Port, greeting: Greeting, transfer: Transferable[] = []): void {
  port.postMessage({ patchbay: VERSION, ...greeting }, transfer);
}

/**
 * What a message says, if it is one of ours.
 *
 * @param data Anything.
 */
export function heard(data: unknown): Greeting | undefined {
  if (!isRecord(data) || data.patchbay !== VERSION) return undefined;
  switch (data.say) {
    case "adopted":
    case "bye":
      return { say: data.say };
    case "ready":
      return { say: "ready", shared: data.shared === true };
    case "dial":
      return { say: "dial", abilities: abilities(data.abilities) };
    case "accept": {
      const { rings, capacity } = data;
      const plain = { say: "accept", abilities: abilities(data.abilities) } as const;
      if (typeof SharedArrayBuffer === "undefined" || !(rings instanceof SharedArrayBuffer)) {
        return plain;
      }
      return { ...plain, rings, capacity: typeof capacity === "number" ? capacity : 0 };
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function abilities(given: unknown): Abilities {
  if (!isRecord(given)) return { shares: false, waits: false };
  const { shares, waits, lock } = given;
  return {
    shares: shares === true,
    waits: waits === true,
    lock: typeof lock === "string" ? lock : undefined,
  };
}

/** Whether memory can be shared here: a page must be isolated from other origins. */
export function canShare(): boolean {
  return typeof SharedArrayBuffer !== "undefined" &&
    Reflect.get(globalThis, "crossOriginIsolated") !== false;
}

/** Whether one can wait for memory here without blocking the thread. */
export function canWait(): boolean {
  return typeof Atomics.waitAsync === "function";
}

/** A doorbell for each side, on lines of their own; then the rings. */
const BELLS_BYTES = 256;

/** Where the parts of the shared memory lie. */
export interface RingMemory {
  /** The bell of the parent, as an index of 32-bit words. */
  readonly parentBell: number;
  /** The bell of the worker. */
  readonly workerBell: number;
  /** The ring that the parent writes, in bytes. */
  readonly toWorker: number;
  /** The ring that the worker writes. */
  readonly toParent: number;
  /** How large all of it is. */
  readonly bytes: number;
}

/**
 * Where the parts of the shared memory lie.
 *
 * @param capacity How many bytes each ring holds.
 */
export function ringMemory(capacity: number): RingMemory {
  const each = ringBytes(capacity);
  return {
    parentBell: 0,
    workerBell: BELLS_BYTES / 2 / 4,
    toWorker: BELLS_BYTES,
    toParent: BELLS_BYTES + each,
    bytes: BELLS_BYTES + 2 * each,
  };
}
