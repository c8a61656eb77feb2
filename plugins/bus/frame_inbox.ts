/**
 * What a comm does with frames that arrive: lets them wait, calls back, or hands them to a loop;
 * and answers to those who have asked.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { AskOptions } from "./comm.ts";
import type { FrameClass, FrameValue } from "./frames/frame.ts";
import type { ReceivedFrame } from "./received_frame.ts";

/**
 * What happens to a frame that finds the inbox full: `drop_oldest` drops the one of the lowest lane that
 * has waited longest, or the new one if all that wait are more urgent.
 */
export type InboxOverflow = "drop_oldest" | "drop_newest";

interface Question {
  readonly type: number;
  resolve(value: FrameValue): void;
  reject(reason: unknown): void;
}

/** Frames that have arrived. */
export class FrameInbox {
  /** Frames that were accepted. */
  received = 0;
  /** Frames that were taken or handed to a callback. */
  taken = 0;
  readonly #drops = new Map<string, number>();
  readonly #lanes = new Map<number, ReceivedFrame[]>();
  readonly #maxQueue: number;
  readonly #overflow: InboxOverflow;
  readonly #report: (error: PatchbayError) => void;
  readonly #questions = new Set<Question>();
  #length = 0;
  #callback: ((frame: ReceivedFrame) => void | Promise<void>) | undefined;
  #arrived: PromiseWithResolvers<void> | undefined;
  #closed = false;

  /**
   * @param maxQueue How many frames may wait.
   * @param overflow What happens to one more.
   * @param report Told what a callback threw.
   */
  constructor(
    maxQueue: number,
    overflow: InboxOverflow,
    report: (error: PatchbayError) => void,
  ) {
    this.#maxQueue = maxQueue;
    this.#overflow = overflow;
    this.#report = report;
  }

  /** How many frames were lost, by reason. */
  get dropped(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#drops);
  }

  /** How many wait. */
  get length(): number {
    return this.#length;
  }

  /** Counts frames that were lost. */
  drop(reason: string, count = 1): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + count);
  }

  /** A frame has arrived. */
  push(frame: ReceivedFrame, wanted: boolean): void {
    if (this.#closed) return;
    if (!frame.request && !frame.origin.retained) {
      for (const question of this.#questions) {
        if (question.type === frame.type) question.resolve(frame.value);
      }
    }
    if (!wanted) return; // It was listened for by a question only.
    this.received++;
    if (this.#callback !== undefined) {
      this.taken++;
      return this.#call(this.#callback, frame);
    }
    if (this.#length >= this.#maxQueue) {
      this.drop("overflow");
      if (this.#overflow === "drop_newest" || !this.#makeRoom(frame.origin.priority)) return;
    }
    let lane = this.#lanes.get(frame.origin.priority);
    if (lane === undefined) this.#lanes.set(frame.origin.priority, lane = []);
    lane.push(frame);
    this.#length++;
    this.#arrived?.resolve();
    this.#arrived = undefined;
  }

  /** Takes the oldest frame of the highest lane; `undefined` if none waits. */
  take(): ReceivedFrame | undefined {
    let best: ReceivedFrame[] | undefined;
    let highest = -1;
    for (const [priority, lane] of this.#lanes) {
      if (priority > highest && lane.length > 0) [highest, best] = [priority, lane];
    }
    if (best === undefined) return undefined;
    this.#length--;
    this.taken++;
    return best.shift();
  }

  /** The same, or `not_found`. */
  takeOrThrow(): ReceivedFrame {
    const frame = this.take();
    if (frame !== undefined) return frame;
    throw new PatchbayError("not_found", "no frame waits", {
      remedy: "ask comm.hasData() first, or read with for await (const frame of comm)",
    });
  }

  /** Calls back with each frame from now on, those that wait first. */
  onFrame(callback: ((frame: ReceivedFrame) => void | Promise<void>) | undefined): void {
    this.#callback = callback;
    if (callback === undefined) return;
    // A callback may take itself out, or put another in its place, or stop the comm.
    while (this.#callback === callback && !this.#closed) {
      const frame = this.take();
      if (frame === undefined) return;
      this.#call(callback, frame);
    }
  }

  /** Frames as they come, until the comm stops. */
  async *frames(): AsyncGenerator<ReceivedFrame, void> {
    while (!this.#closed || this.#length > 0) {
      const frame = this.take();
      if (frame !== undefined) yield frame;
      else await this.arrival();
    }
  }

  /** Resolves with true when a frame waits, with false when none comes any more. */
  async arrival(): Promise<boolean> {
    if (this.#length === 0 && !this.#closed) {
      await (this.#arrived ??= Promise.withResolvers()).promise;
    }
    return this.#length > 0;
  }

  /** The next frame of a class. */
  async answer<T extends FrameValue>(frame: FrameClass<T>, options: AskOptions): Promise<T> {
    const { timeoutMs = 1000, signal } = options;
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<FrameValue>();
    const question: Question = { type: frame.type, resolve, reject };
    this.#questions.add(question);
    const late = setTimeout(() =>
      reject(
        new PatchbayError(
          "deadline_exceeded",
          `nobody sent ${frame.frameName} within ${timeoutMs} ms`,
          { remedy: "start the module that answers to it, or give it more time: timeoutMs" },
        ),
      ), timeoutMs);
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise as T;
    } finally {
      clearTimeout(late);
      signal?.removeEventListener("abort", abort);
      this.#questions.delete(question);
    }
  }

  /** No more frames come. */
  close(): void {
    this.#closed = true;
    for (const question of this.#questions) {
      question.reject(new PatchbayError("closed", "the comm has been stopped"));
    }
    this.#arrived?.resolve();
    this.#arrived = undefined;
  }

  #call(callback: (frame: ReceivedFrame) => void | Promise<void>, frame: ReceivedFrame): void {
    try {
      const done = callback(frame);
      if (done !== undefined) done.catch((error) => this.#report(PatchbayError.fromThrown(error)));
    } catch (error) {
      this.#report(PatchbayError.fromThrown(error));
    }
  }

  /**
   * Drops the oldest of the lowest lane, unless all that wait are in higher lanes than the new one.
   */
  #makeRoom(priority: number): boolean {
    let worst: ReceivedFrame[] | undefined;
    let lowest = Infinity;
    for (const [each, lane] of this.#lanes) {
      if (each < lowest && lane.length > 0) [lowest, worst] = [each, lane];
    }
    if (worst === undefined || lowest > priority) return false;
    worst.shift();
    this.#length--;
    return true;
  }
}
