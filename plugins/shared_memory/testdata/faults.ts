/**
 * Ends this process at a named step, as SIGKILL does: between two instructions, with nothing tidied.
 *
 * @module
 */

import { RingConsumer, RingProducer, SlotReader, SlotWriter } from "@patchbay/core";
import { type Step, STEPS } from "../control.ts";
import type { SharedMemoryHooks } from "../plugin.ts";

/** What has just been done of a transfer, or of closing. */
export const TRANSFER_STEPS = [
  // The side that writes.
  "claimed",
  "half written",
  "described",
  "published",
  "before the bell",
  "after the bell",
  // The side that reads.
  "found",
  "read",
  "released",
  "asleep",
] as const;

/** What has just been done of writing a newest value into its slot, and of reading it there. */
export const SLOT_STEPS = ["slot half written", "slot written", "slot told", "slot read"] as const;

/** What has just been done of closing. */
export const CLOSE_STEPS = ["closing", "before hanging up", "hung up", "freed"] as const;

/** Where a process can end. */
export type Fault =
  | Step
  | typeof TRANSFER_STEPS[number]
  | typeof SLOT_STEPS[number]
  | typeof CLOSE_STEPS[number];

/** The steps of the side that dials, and those of the side that is dialled. */
export const DIALLER_STEPS: readonly Step[] = STEPS.slice(0, STEPS.indexOf("accepted"));
export const ACCEPTOR_STEPS: readonly Step[] = STEPS.slice(STEPS.indexOf("accepted"));

/** Ends this process now. */
export function die(): never {
  Deno.kill(Deno.pid, "SIGKILL");
  throw new Error("SIGKILL has not ended this process");
}

/**
 * Hooks that end the process.
 *
 * @param fault Where.
 * @param count At which time that it is there, from 1.
 */
export function dieAt(fault: Fault, count: number): SharedMemoryHooks {
  let left = count;
  const reached = (step: Fault) => step === fault && --left === 0;
  const at = (step: Fault) => {
    if (reached(step)) die();
  };
  if (SLOT_STEPS.some((step) => step === fault)) watchSlots(reached, at);
  return {
    onStep: at,
    onRings(producer, consumer) {
      watchProducer(producer, reached, at);
      watchConsumer(consumer, at);
    },
    onConnection(connection) {
      const close = connection.close.bind(connection);
      connection.close = () => {
        at("before hanging up");
        close();
        at("hung up");
      };
    },
    onLink(link) {
      const close = link.close.bind(link);
      link.close = (abrupt) => {
        at("closing");
        return close(abrupt);
      };
      link.freed.then(() => at("freed"));
    },
  };
}

/**
 * Hooks of a peer that breaks the rules: it writes at random into what it has published, while the
 * other side reads it, and now and then into the ring's counters.
 */
export function scribble(): SharedMemoryHooks {
  const random = (below: number) => Math.floor(Math.random() * below);
  return {
    onRings(producer) {
      const { claim, commit } = RingProducer.prototype;
      const header = new Int32Array(producer.bytes.buffer, producer.bytes.byteOffset - 640, 160);
      let claimed = 0;
      producer.claim = (bytes) => claimed = claim.call(producer, bytes);
      producer.commit = (bytes, type) => {
        const from = claimed - 8;
        commit.call(producer, bytes, type);
        // The length, the type, and what the session has written are as likely as all the rest.
        for (let n = random(8); n > 0; n--) {
          const near = random(2) === 0 ? random(48) : random(bytes + 8);
          producer.bytes[from + Math.min(near, bytes + 7)] = random(256);
        }
        if (random(500) === 0) header[[0, 1, 2, 3, 32, 64][random(6)]] = random(2 ** 32) | 0;
      };
    },
  };
}

// The ring's own methods are shadowed, so that nothing of this is in the ring.

function watchProducer(
  producer: RingProducer,
  reached: (step: Fault) => boolean,
  at: (step: Fault) => void,
): void {
  const { claim, commit, wakes } = RingProducer.prototype;
  let claimed = -1;
  let rings = false;
  producer.claim = (bytes) => {
    if (rings) at("after the bell");
    rings = false;
    const begin = claim.call(producer, bytes);
    if (begin < 0) return begin;
    claimed = begin;
    at("claimed");
    return begin;
  };
  producer.commit = (bytes, type = 0) => {
    if (reached("half written")) {
      // What was not written yet is whatever lay there before.
      crypto.getRandomValues(producer.bytes.subarray(claimed + (bytes >>> 1), claimed + bytes));
      die();
    }
    if (reached("described")) {
      // As commit does, up to the store that publishes.
      producer.view.setInt32(claimed - 8, bytes, true);
      producer.view.setInt32(claimed - 4, type, true);
      die();
    }
    commit.call(producer, bytes, type);
    at("published");
  };
  producer.wakes = () => {
    if (!wakes.call(producer)) return false;
    at("before the bell");
    return rings = true;
  };
}

function watchConsumer(consumer: RingConsumer, at: (step: Fault) => void): void {
  const { peek, release, sleep } = RingConsumer.prototype;
  consumer.peek = () => {
    const found = peek.call(consumer);
    if (found >= 0) at("found");
    return found;
  };
  consumer.release = () => {
    at("read");
    release.call(consumer);
    at("released");
  };
  consumer.sleep = () => {
    const asleep = sleep.call(consumer);
    if (asleep) at("asleep");
    return asleep;
  };
}

/** The slots of this process, all of them. */
function watchSlots(reached: (step: Fault) => boolean, at: (step: Fault) => void): void {
  const { write, tells } = SlotWriter.prototype;
  const { read } = SlotReader.prototype;
  SlotWriter.prototype.write = function (value) {
    if (reached("slot half written")) {
      // Read byte by byte as it is written, so that the second half never comes.
      const half = new Proxy(value, {
        get(_, key) {
          if (key === "length") return value.length;
          if (typeof key !== "string" || !(Number(key) >= 0)) return undefined;
          return Number(key) < value.length / 2 ? value[Number(key)] : die();
        },
      });
      write.call(this, half);
      throw new Error("it was written otherwise");
    }
    write.call(this, value);
    at("slot written");
  };
  SlotWriter.prototype.tells = function () {
    const told = tells.call(this);
    if (told) at("slot told");
    return told;
  };
  SlotReader.prototype.read = function (target) {
    const bytes = read.call(this, target);
    if (bytes >= 0) at("slot read");
    return bytes;
  };
}
