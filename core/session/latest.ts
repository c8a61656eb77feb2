/**
 * Values of which only the newest counts, written into slots of memory that both sides share
 * instead of being sent: the publisher's side.
 *
 * @module
 */

import type { Codec } from "../codec.ts";
import type { SlotWriter } from "../latest_slot.ts";
import type { LinkSlots } from "../link.ts";
import { HEADER_BYTES, Kind, writeHeader } from "./envelope.ts";
import type { SpeakerSource } from "./publication.ts";
import type { FrameHead, Sender } from "./sender.ts";

interface Taken {
  readonly index: number;
  readonly writer: SlotWriter;
  /** What the slot had seen before it was taken. */
  readonly before: number;
}

/** The slots of one subscription, one for each speaker. */
export class LatestSlots {
  readonly #slots: LinkSlots;
  readonly #sender: Sender;
  readonly #frame: Uint8Array;
  readonly #view: DataView;
  /** `undefined`: there was no slot left. */
  readonly #taken = new Map<SpeakerSource, Taken | undefined>();
  /** Of speakers that have gone: for the next ones, as soon as the listener has read the last value. */
  readonly #left: Taken[] = [];

  /**
   * @param slots Those of the link.
   * @param sender Tells the reader that there is something new.
   */
  constructor(slots: LinkSlots, sender: Sender) {
    this.#slots = slots;
    this.#sender = sender;
    this.#frame = new Uint8Array(slots.capacity);
    this.#view = new DataView(this.#frame.buffer);
  }

  /**
   * Writes a value into its speaker's slot.
   *
   * @returns False if it has to be sent instead: no slot is left, it is too large, or has headers.
   * @throws {PatchbayError} `invalid`: the value.
   */
  publish(speaker: SpeakerSource, head: FrameHead, codec: Codec, value: unknown): boolean {
    if (head.headers !== undefined) return false;
    let taken = this.#taken.get(speaker);
    if (taken === undefined) {
      if (this.#taken.has(speaker) && this.#left.length === 0) return false;
      taken = this.#take();
      this.#taken.set(speaker, taken);
      if (taken === undefined) return false;
    }
    const bytes = this.#sender.encodeInto(codec, value, this.#frame, HEADER_BYTES);
    if (bytes < 0) return false;
    const { flags, priority, id, route, number } = head;
    const codecNumber = this.#sender.codecs.indexOf(codec);
    const kind = Kind.event;
    writeHeader(this.#view, 0, kind, flags, codecNumber, priority, 0, id, route, number);
    taken.writer.write(this.#frame.subarray(0, HEADER_BYTES + bytes));
    this.#sender.passedBy(HEADER_BYTES + bytes, speaker.statistics, bytes);
    if (taken.writer.tells()) {
      this.#sender.control(Kind.latest, id, taken.index, undefined, taken.before >>> 0);
    }
    return true;
  }

  /** A speaker has gone. */
  leave(speaker: SpeakerSource): void {
    const taken = this.#taken.get(speaker);
    this.#taken.delete(speaker);
    if (taken !== undefined) this.#left.push(taken);
  }

  #take(): Taken | undefined {
    const free = this.#left.findIndex(({ writer }) => writer.wasRead);
    if (free >= 0) return this.#left.splice(free, 1)[0];
    const index = this.#slots.take();
    if (index === undefined) return undefined;
    const writer = this.#slots.writer(index);
    return { index, writer, before: writer.count };
  }

  /** Gives the slots back. */
  end(): void {
    for (const taken of [...this.#taken.values(), ...this.#left]) {
      if (taken !== undefined) this.#slots.give(taken.index);
    }
    this.#taken.clear();
    this.#left.length = 0;
  }
}
